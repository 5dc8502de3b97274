"""A house is copied while people work in it, and stands up again elsewhere."""

from __future__ import annotations

import json
import stat
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lilong.client import Client, compute
from lilong.floors.compute.contract import PYTHON, JobAsk, JobState
from lilong.ground.config import load
from lilong.ground.db import Database
from lilong.operations.backup import backup
from lilong.operations.restore import DatabaseNotEmpty, NotEmpty, restore
from tests import postgres as postgres_server
from tests.command_line import lilong, refused
from tests.conftest import ORGANISATION, LiveServer

SERVICE = """
import os, socket
listening = socket.socket(socket.AF_UNIX)
listening.bind(os.environ["LILONG_STATE"] + "/service.sock")
listening.listen()
while True:
    caller, _ = listening.accept()
    caller.recv(4096)
    caller.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    caller.close()
"""
SHORT = "import json, os; print('said once'); json.dump(1, open(os.environ['LILONG_OUT'] + '/result.json', 'w'))"
LONG = "import time; time.sleep(300)"


def ask(program: str, key: str, **options: object) -> JobAsk:
    return replace(JobAsk("test.program", ORGANISATION, (PYTHON, "-c", program), memory_mib=128, key=key), **options)  # type: ignore[arg-type]


class Writers:
    """Clients that write all the time; what each was told is kept, is noted down with it."""

    def __init__(self, server: LiveServer) -> None:
        self.titles: list[str] = []
        self.digests: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(server.client, n)) for n in range(3)]
        for thread in self._threads:
            thread.start()

    def _write(self, client: Client, writer: int) -> None:
        number = 0
        while not self._stop.is_set():
            title = f"{writer}-{number}"
            client.post("/api/house/tokens", {"title": title, "scopes": ["hub.read"]})
            self.titles.append(title)
            text = f"Text {number} of writer {writer}. ".encode() * 200
            self.digests.append(json.loads(client.send("POST", "/api/corpus/texts", text, {"organisation": ORGANISATION})[1])["digest"])
            if number % 8 == 0:
                compute.submit(client, ask(SHORT, f"short-{title}"))
            number += 1

    def until(self, writes: int) -> tuple[list[str], list[str]]:
        """What was acknowledged once there are so many."""
        while len(self.digests) < writes:
            assert all(thread.is_alive() for thread in self._threads)
            time.sleep(0.02)
        return list(self.titles), list(self.digests)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[LiveServer]:
    server = LiveServer(folder, options).start()
    try:
        yield server
    finally:
        server.stop()


def titles_in(url: str) -> list[str]:
    db = Database(url)
    try:
        return [row["title"] for row in db.read(lambda tx: tx.rows("SELECT title FROM ground_tokens"))]
    finally:
        db.close()


def blob(house: Path, digest: str) -> Path:
    name = digest.removeprefix("sha256:")
    return house / "blobs" / name[:2] / name[2:]


def wait_until(client: Client, job: str, state: JobState, *, attempt: int) -> None:
    end = time.monotonic() + 60
    while ((found := compute.job(client, job)).state, found.attempt) != (state, attempt):
        assert time.monotonic() < end, found
        time.sleep(0.1)


@pytest.mark.slow
def test_a_backup_under_load_stands_up_elsewhere_with_the_same_log(live: LiveServer, tmp_path: Path) -> None:
    live.client.post("/api/house/organisations", {"name": ORGANISATION, "title": "Lantern Works"})
    live.client.post("/api/house/tokens", {"title": "before", "scopes": ["hub.read"]})
    service = compute.submit(live.client, ask(SERVICE, "service", service=True, attempts=3))
    once = compute.submit(live.client, ask(LONG, "long"))
    finished = compute.wait(live.client, compute.submit(live.client, ask(SHORT, "first")).id, 60)
    compute.wait(live.client, service.id, 60)
    (live.folder / "profiles").mkdir()
    (live.folder / "profiles" / "own.toml").write_text("# a profile of this house\n")
    writers = Writers(live)
    titles, digests = writers.until(40)
    told = lilong("backup", "--house", live.folder, "--out", tmp_path / "b.tar", "--json").json
    writers.stop()
    assert stat.S_IMODE((tmp_path / "b.tar").stat().st_mode) == 0o600
    restored = tmp_path / "restored"
    assert lilong("restore", tmp_path / "b.tar", "--house", restored, "--json").json["log_root"] == told["log_root"]
    checked = lilong("verify", "--house", restored, "--json").json
    assert (checked["problems"], checked["events"]) == ([], told["events"])
    status = lilong("status", "--house", restored, "--json").json
    assert (status["log_root"], status["events"]) == (told["log_root"], told["events"])
    assert set(titles) <= set(titles_in(load(restored, environment={}).database_url))
    assert all(blob(restored, digest).read_bytes() == blob(live.folder, digest).read_bytes() for digest in digests)
    assert (restored / "profiles" / "own.toml").exists()
    live.stop()
    with serving(restored) as again:
        wait_until(again.client, service.id, JobState.READY, attempt=2)
        assert compute.job(again.client, finished.id).outputs == finished.outputs
        assert compute.logs(again.client, finished.id).text == "said once\n"
        assert compute.wait(again.client, once.id, 60).state is JobState.LOST
        for job in compute.jobs(again.client, limit=200):
            if job.ask.key.startswith("short-"):
                assert compute.wait(again.client, job.id, 60).state in (JobState.SUCCEEDED, JobState.LOST)
        compute.cancel(again.client, service.id)
        wait_until(again.client, service.id, JobState.CANCELLED, attempt=2)


@pytest.mark.slow
def test_a_house_moves_from_sqlite_to_postgresql_and_back(live: LiveServer, tmp_path: Path, postgres: Path) -> None:
    live.client.post("/api/house/organisations", {"name": ORGANISATION, "title": "Lantern Works"})
    compute.wait(live.client, compute.submit(live.client, ask(SHORT, "first")).id, 60)
    writers = Writers(live)
    titles, _ = writers.until(12)
    first = backup(live.folder, tmp_path / "first.tar")
    writers.stop()
    live.stop()
    url = postgres_server.new_database(postgres)
    assert lilong("restore", tmp_path / "first.tar", "--house", tmp_path / "second", "--database", url, "--json").json["database"] == "postgresql"
    assert set(titles) <= set(titles_in(url))
    assert lilong("verify", "--house", tmp_path / "second", "--json").json["problems"] == []
    with serving(tmp_path / "second") as second:
        assert second.client.get("/api/house/status")["database"] == "postgresql"
        writers = Writers(second)
        writers.until(12)
        moved = backup(second.folder, tmp_path / "second.tar")
        writers.stop()
    assert moved["events"] > first["events"]
    with pytest.raises(DatabaseNotEmpty):
        restore(tmp_path / "second.tar", tmp_path / "third", url)
    assert restore(tmp_path / "second.tar", tmp_path / "third")["log_root"] == moved["log_root"]
    assert lilong("status", "--house", tmp_path / "third", "--json").json["database"] == "sqlite"
    assert lilong("verify", "--house", tmp_path / "third", "--json").json["problems"] == []


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A backup of a house with one blob in it."""
    from lilong.app import open_house_with_floors

    house = open_house_with_floors(load(tmp_path / "house", environment={}))
    house.blobs.put(b"text " * 1000)
    house.close()
    backup(tmp_path / "house", tmp_path / "small.tar")
    return tmp_path / "small.tar"


def test_a_backup_cut_anywhere_restores_nothing(small: Path, tmp_path: Path) -> None:
    data = small.read_bytes()
    for size in {0, 100, 512, 2048, *range(0, len(data) - 10240, max(1, len(data) // 16) // 512 * 512 or 512)}:
        (tmp_path / "cut.tar").write_bytes(data[:size])
        refused("restore", tmp_path / "cut.tar", "--house", tmp_path / "new") if size == 2048 else None
        with pytest.raises(Exception, match=r"does not hold what was written there"):
            restore(tmp_path / "cut.tar", tmp_path / "new")
        assert not (tmp_path / "new").exists()
    assert [path.name for path in tmp_path.iterdir() if "restoring" in path.name] == []


def test_a_flipped_byte_of_a_blob_in_the_backup_is_named(small: Path, tmp_path: Path) -> None:
    data = bytearray(small.read_bytes())
    data[data.index(b"text text")] ^= 1
    (tmp_path / "bent.tar").write_bytes(data)
    said = refused("restore", tmp_path / "bent.tar", "--house", tmp_path / "new", saying=("blob sha256:",))
    assert said.code == 8
    assert not (tmp_path / "new").exists()


def test_a_damaged_house_is_backed_up_as_it_is_and_the_damage_is_named(small: Path, tmp_path: Path) -> None:
    (file,) = (tmp_path / "house" / "blobs").glob("??/*")
    file.chmod(0o600)
    file.write_bytes(b"other")
    assert backup(tmp_path / "house", tmp_path / "second.tar")["damaged"] == [file.parent.name + file.name]
    assert restore(tmp_path / "second.tar", tmp_path / "new")["damaged"] == [file.parent.name + file.name]


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "keys/../../outside", "anything", "blobs/../x"])
def test_a_backup_cannot_write_outside_its_house(small: Path, tmp_path: Path, name: str) -> None:
    hostile = tmp_path / "hostile.tar"
    hostile.write_bytes(small.read_bytes())
    with tarfile.open(hostile, "a") as tar:
        info = tarfile.TarInfo(name)
        tar.addfile(info)
    with pytest.raises(Exception, match="has no place in a backup"):
        restore(hostile, tmp_path / "new")
    assert not (tmp_path / "outside").exists()


def test_a_link_in_a_backup_is_refused(small: Path, tmp_path: Path) -> None:
    with tarfile.open(small, "a") as tar:
        info = tarfile.TarInfo("keys/link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(Exception, match="has no place in a backup"):
        restore(small, tmp_path / "new")


def test_a_backup_that_fails_leaves_nothing(small: Path, tmp_path: Path) -> None:
    database = tmp_path / "house" / "lilong.db"
    data = bytearray(database.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    database.write_bytes(data)
    refused("backup", "--house", tmp_path / "house", "--out", tmp_path / "b.tar")
    refused("backup", "--house", tmp_path / "house", "--out", tmp_path / "none" / "b.tar", saying=("there is no folder",))
    refused("backup", "--house", tmp_path / "house", "--out", small, saying=("out", "Name a new file."))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["house", "small.tar"]


def test_a_killed_restore_does_not_stand_in_the_way_of_the_next(small: Path, tmp_path: Path) -> None:
    (tmp_path / ".new.restoring" / "keys").mkdir(parents=True)
    (tmp_path / ".new.restoring" / "keys" / "half").write_text("half a key")
    restore(small, tmp_path / "new")
    assert not (tmp_path / "new" / "keys" / "half").exists()
    with pytest.raises(NotEmpty):
        restore(small, tmp_path / "new")


def test_the_old_house_s_database_is_never_the_restored_one_s(small: Path, tmp_path: Path) -> None:
    old = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    restore(small, tmp_path / "moved", old)
    assert load(tmp_path / "moved", environment={}).database_url == old
    backup(tmp_path / "moved", tmp_path / "second.tar")
    restore(tmp_path / "second.tar", tmp_path / "new")
    assert load(tmp_path / "new", environment={}).database == ""
