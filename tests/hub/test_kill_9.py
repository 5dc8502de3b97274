"""The real server, killed at random moments under uploads, commits and merges of the real client."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lilong.app import open_house_with_floors
from lilong.ground.config import load
from lilong.ground.presence import running

KILLS = 52
KINDS = ("xet", "lfs", "small", "merge")
REPOSITORY = "lantern-works/ordeal"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def acknowledged(folder: Path) -> list[tuple[str, str, str]]:
    return [tuple(json.loads(line)) for kind in KINDS if (folder / kind).exists() for line in (folder / kind).read_text().splitlines()]


class Reborn:
    """The server of a house, killed and started many times: a second of loading code for each would be most of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        argv = [sys.executable, str(Path(__file__).with_name("nursery.py"))]
        with (folder.parent / "server.log").open("ab") as log:
            self._nursery = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self._pid = 0
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        assert self._nursery.stdin is not None and self._nursery.stdout is not None
        self._nursery.stdin.write("\t".join(("up", "--house", str(self.folder), "--port", str(self._port))) + "\n")
        self._nursery.stdin.flush()
        self._pid = int(self._nursery.stdout.readline())
        while (server := running(self.folder)) is None or server.pid != self._pid:
            assert self._alive(), (self.folder.parent / "server.log").read_text()[-3000:]
            time.sleep(0.02)

    def _alive(self) -> bool:
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return True

    def end(self, how: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, how)
        while self._alive():
            time.sleep(0.01)

    def close(self) -> None:
        self.end(signal.SIGTERM)
        self._nursery.communicate()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Reborn]:
    made = Reborn(tmp_path / "house")
    (tmp_path / "house").mkdir()
    made.start()
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_52_kills_lose_no_acknowledged_commit_and_leave_no_ref_without_its_bytes(server: Reborn, tmp_path: Path) -> None:
    chance = random.Random(7)
    token = tmp_path / "house" / "keys" / "operator.token"
    headers = {"authorization": f"Bearer {token.read_text().strip()}"}
    organisation = {"name": "lantern-works", "title": "Lantern Works"}
    assert httpx.post(f"{server.url}/api/house/organisations", headers=headers, json=organisation).is_success
    made = httpx.post(
        f"{server.url}/api/repos/create", headers=headers, json={"name": REPOSITORY, "type": "dataset", "visibility": "private"}
    )
    assert made.status_code == 200, made.text
    argv = [sys.executable, str(Path(__file__).with_name("writer.py")), server.url, str(token), REPOSITORY]
    writers = [subprocess.Popen([*argv, kind, str(number), str(tmp_path / kind)]) for number, kind in enumerate(KINDS)]
    try:
        while {path.split("/")[0] for path, _, _ in acknowledged(tmp_path)} != set(KINDS):  # each has begun
            assert all(writer.poll() is None for writer in writers)
            time.sleep(0.2)
        for number in range(KILLS):
            while len(acknowledged(tmp_path)) <= number:  # there is something to lose, however slow the machine
                time.sleep(0.02)
            time.sleep(chance.uniform(0.0, 0.6))
            server.end(signal.SIGKILL)
            server.start()
        before = {kind: len((tmp_path / kind).read_text().splitlines()) for kind in KINDS}
        deadline = time.monotonic() + 240
        while any(len((tmp_path / kind).read_text().splitlines()) < before[kind] + 2 for kind in KINDS):  # nothing is stuck
            assert time.monotonic() < deadline, {kind: (tmp_path / f"{kind}.problems").read_text()[-600:] for kind in KINDS}
            time.sleep(0.2)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    promised = acknowledged(tmp_path)
    assert len(promised) > KILLS
    lost = []
    with httpx.Client(base_url=server.url, headers=headers, follow_redirects=True) as http:
        for path, digest, commit in promised:
            for revision in {commit, "main"}:
                answer = http.get(f"/datasets/{REPOSITORY}/resolve/{revision}/{path}")
                if answer.status_code != 200 or hashlib.sha256(answer.content).hexdigest() != digest:
                    lost.append((path, revision, answer.status_code))
    assert lost == []
    server.end(signal.SIGTERM)
    house = open_house_with_floors(load(tmp_path / "house", environment={}))
    try:
        assert [problem for check in house.checks for problem in check(house)] == []
    finally:
        house.close()
