"""The unmodified clients, old and new, against a real server: on SQLite and a folder, and on PostgreSQL and an S3 server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres as postgres_server
from tests.conftest import LiveServer

OLDER = sorted((Path(sys.prefix) / "clients").glob("*/bin/python"))
SMOKE = Path(__file__).with_name("smoke.py")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server with the bucket `xorbs`."""
    import httpx

    port = free_port()
    argv = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            assert httpx.put(f"{url}/xorbs").status_code == 200
            break
        except httpx.TransportError:
            time.sleep(0.1)
    yield url
    process.terminate()
    process.wait()


@pytest.fixture(scope="module", params=["SQLite and a folder", "PostgreSQL and S3"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    house = tmp_path_factory.mktemp("smoke") / "house"
    if request.param == "PostgreSQL and S3":
        url = request.getfixturevalue("s3")
        (house / "keys").mkdir(parents=True, mode=0o700)
        keys = house / "keys" / "s3.json"
        keys.write_text(json.dumps({"access_key_id": "lantern", "secret_access_key": "lantern-secret"}))
        keys.chmod(0o600)
        database = postgres_server.new_database(request.getfixturevalue("postgres"))
        settings = f'database = "{database}"\nxorbs = "s3://xorbs/house"\nxorbs_endpoint = "{url}"\nxorbs_region = "us-east-1"\n'
        (house / "lilong.toml").write_text(settings)
    made = LiveServer(house).start()
    client = made.client
    client.post("/api/house/organisations", {"name": "lantern-works", "title": "Lantern Works"})
    for name in ("mei", "tom"):
        client.post("/api/house/users", {"name": name, "title": name})
        (house / f"{name}.token").write_text(client.post("/api/house/tokens", {"title": "smoke", "user": name})["secret"])
    client.post("/api/house/grants", {"user": "mei", "role": "owner", "organisation": "lantern-works"})
    yield made
    made.stop()


def test_the_older_clients_are_installed() -> None:
    assert [path.parent.parent.name for path in OLDER] == ["0.36.0", "1.10.2"], "`make test` installs them"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("python", [Path(sys.executable), *OLDER], ids=lambda path: path.parent.parent.name)
def test_all_that_a_team_does_in_its_first_week_works(server: LiveServer, python: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(server.folder.parent), "HF_ENDPOINT": server.url, "HF_TOKEN": (server.folder / "mei.token").read_text(),
        "OMP_NUM_THREADS": "2",
    }  # fmt: skip
    stranger = (server.folder / "tom.token").read_text()
    done = subprocess.run(
        [str(python), str(SMOKE), "lantern-works", stranger], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "all as expected" in done.stdout
    left_out = [line for line in done.stdout.splitlines() if "left out" in line]
    assert python != Path(sys.executable) or left_out == []


@pytest.mark.slow
def test_what_the_clients_sent_lies_where_the_settings_say(server: LiveServer, request: pytest.FixtureRequest) -> None:
    here = [path for path in (server.folder / "xorbs").rglob("*") if path.is_file()]
    if "xorbs = " not in ((server.folder / "lilong.toml").read_text() if (server.folder / "lilong.toml").exists() else ""):
        assert here
        return
    import httpx

    assert here == []
    assert "<Key>house/" in httpx.get(f"{request.getfixturevalue('s3')}/xorbs?list-type=2").text
