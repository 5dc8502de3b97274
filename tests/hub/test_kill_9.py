"""The real server, killed at random moments under uploads, commits and merges of the real client."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from lilong.app import open_house_with_floors
from lilong.ground.config import load
from tests.conftest import LiveServer

KILLS = 52
KINDS = ("xet", "lfs", "small", "merge")
REPOSITORY = "lantern-works/ordeal"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def acknowledged(folder: Path) -> list[tuple[str, str, str]]:
    return [tuple(json.loads(line)) for kind in KINDS if (folder / kind).exists() for line in (folder / kind).read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_52_kills_lose_no_acknowledged_commit_and_leave_no_ref_without_its_bytes(tmp_path: Path) -> None:
    chance = random.Random(7)
    server = LiveServer(tmp_path / "house", options=("--port", str(free_port()))).start()
    token = tmp_path / "house" / "keys" / "operator.token"
    headers = {"authorization": f"Bearer {token.read_text().strip()}"}
    server.client.post("/api/house/organisations", {"name": "lantern-works", "title": "Lantern Works"})
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
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.0, 0.6))
            server.kill_9()
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
    server.stop()
    house = open_house_with_floors(load(tmp_path / "house", environment={}))
    try:
        assert [problem for check in house.checks for problem in check(house)] == []
    finally:
        house.close()
