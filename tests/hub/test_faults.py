"""What goes wrong below and around the server: full disks, flipped bytes, clients that never end, and many at once."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from huggingface_hub import hf_hub_download

from lilong.floors.hub.api import door
from lilong.floors.hub.service import damage, git_fetch, git_program, rebuilding, rechunking, xet_checking, xet_read, xorb_store
from lilong.ground.blobs import hexadecimal
from lilong.ground.chores import run_chore
from lilong.ground.config import load
from lilong.ground.house import Chore, open_house
from lilong.ground.migrations import migrate
from lilong.ground.seams import SystemClock

from .conftest import LANTERN, Served

chance = random.Random(11)


class Writer:
    """mei at work in a repository of her own, by bare HTTP."""

    def __init__(self, served: Served) -> None:
        self.served, self.name = served, f"{LANTERN}/fault-{chance.randrange(10**9)}"
        self.http = httpx.Client(
            base_url=served.url, headers={"authorization": f"Bearer {served.tokens['mei']}"}, follow_redirects=True, timeout=60
        )
        made = self.http.post("/api/repos/create", json={"name": self.name, "type": "dataset", "visibility": "private"})
        assert made.status_code == 200, made.text

    def commit(self, *lines: tuple[str, object]) -> httpx.Response:
        body = [{"key": "header", "value": {"summary": "s"}}, *({"key": key, "value": value} for key, value in lines)]
        return self.http.post(
            f"/api/datasets/{self.name}/commit/main",
            content="\n".join(map(json.dumps, body)),
            headers={"content-type": "application/x-ndjson"},
        )

    def small(self, path: str, content: bytes) -> httpx.Response:
        return self.commit(("file", {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}))

    def link(self, digest: str, size: int) -> str:
        asked = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": digest, "size": size}]}
        answer = self.http.post(f"/datasets/{self.name}.git/info/lfs/objects/batch", json=asked)
        return str(answer.json()["objects"][0]["actions"]["upload"]["href"])

    def large(self, path: str, content: bytes) -> str:
        """Send a file by LFS; its digest."""
        name = hashlib.sha256(content).hexdigest()
        assert httpx.put(self.link(name, len(content)), content=content).status_code == 200
        assert self.commit(("lfsFile", {"path": path, "algo": "sha256", "oid": name, "size": len(content)})).status_code == 200
        return f"sha256:{name}"

    def xet(self, path: str, content: bytes) -> str:
        """The same, and into xorbs at once; its digest."""
        digest = self.large(path, content)
        rechunking.chunk(self.served.house, digest)
        blob = self.served.house.blobs.path(digest)
        assert blob is not None
        blob.unlink()
        return digest

    def read(self, path: str) -> httpx.Response:
        return self.http.get(f"/datasets/{self.name}/resolve/main/{path}")

    def clone(self, folder: Path) -> int:
        address = self.served.url.replace("://", f"://mei:{self.served.tokens['mei']}@")
        environment = {**os.environ, "GIT_LFS_SKIP_SMUDGE": "1", "GIT_TERMINAL_PROMPT": "0"}
        argv = ["git", "clone", "-q", f"{address}/datasets/{self.name}", str(folder)]
        return subprocess.run(argv, capture_output=True, env=environment, check=False).returncode

    def git_folder(self) -> Path:
        row = self.served.house.db.read(
            lambda tx: tx.row("SELECT id FROM hub_repositories WHERE name = :name", name=self.name.partition("/")[2])
        )
        assert row is not None
        return git_fetch.root(self.served.house) / f"{row['id']}.git"


@pytest.fixture
def mei_at_work(served: Served) -> Iterator[Writer]:
    writer = Writer(served)
    yield writer
    writer.http.close()


def flip(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


# --- full disks ---------------------------------------------------------------------------------------------------------


def test_a_full_database_is_said_once_and_with_room_again_the_same_commit_succeeds(mei_at_work: Writer) -> None:
    mei_at_work.served.house.db.write(lambda tx: tx.run("PRAGMA max_page_count = 1"))
    refused = mei_at_work.small("a.bin", chance.randbytes(500_000))
    assert refused.status_code == 507, refused.text  # clients try 503 again and again
    assert "full" in refused.json()["error"]
    assert mei_at_work.small("a.bin", b"small").status_code == 200


def test_a_full_disk_under_git_leaves_nothing_and_a_fetch_succeeds_once_there_is_room(
    mei_at_work: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path) -> None:
        (folder / "config").write_text("")
        raise OSError(errno.ENOSPC, "No space left on device")

    incoming = git_fetch.incoming(mei_at_work.served.house)
    before = set(incoming.iterdir()) if incoming.exists() else set()
    with monkeypatch.context() as patched:
        patched.setattr(git_program, "lay_out", full)
        refused = mei_at_work.http.get(f"/datasets/{mei_at_work.name}/info/refs", params={"service": "git-upload-pack"})
    assert refused.status_code == 507
    assert set(incoming.iterdir()) == before
    assert mei_at_work.clone(tmp_path / "clone") == 0


def test_a_full_disk_where_nobody_looks_for_it_is_said_too(mei_at_work: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    content = chance.randbytes(1000)
    link = mei_at_work.link(hashlib.sha256(content).hexdigest(), len(content))
    with monkeypatch.context() as patched:
        patched.setattr("lilong.ground.blobs.tempfile.mkstemp", full)
        assert httpx.put(link, content=content).status_code == 507
    assert httpx.put(link, content=content).status_code == 200


def test_a_log_on_a_full_disk_loses_lines_not_requests() -> None:
    script = "from lilong.ground import logs; import structlog; logs.configure('info'); [structlog.get_logger().info('x' * 9000) for _ in range(9)]; print('on')"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.stdout == b"on\n"


# --- slow clients -------------------------------------------------------------------------------------------------------


def test_uploads_that_never_end_keep_nobody_else_waiting(mei_at_work: Writer, tmp_path: Path) -> None:
    host, port = mei_at_work.served.url.removeprefix("http://").split(":")
    target = mei_at_work.link("ab" * 32, 50_000_000).removeprefix(mei_at_work.served.url)
    begun = []
    for _ in range(80):
        slow = socket.create_connection((host, int(port)))
        slow.sendall(f"PUT {target} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 50000000\r\n\r\n".encode() + b"x" * 100)
        begun.append(slow)
    try:
        assert mei_at_work.small("a.txt", b"hello").status_code == 200
        mei_at_work.large("a.bin", chance.randbytes(300_000))
        assert mei_at_work.clone(tmp_path / "clone") == 0
    finally:
        for slow in begun:
            slow.close()


def test_who_sends_nothing_more_is_told_so_and_let_go(mei_at_work: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_STALLED", 0.3)
    host, port = mei_at_work.served.url.removeprefix("http://").split(":")
    for sent in (100, 300_000):  # before a thread waits for the body, and while one does
        target = mei_at_work.link("cd" * 32, 50_000_000).removeprefix(mei_at_work.served.url)
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(f"PUT {target} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 50000000\r\n\r\n".encode() + b"x" * sent)
            slow.settimeout(60)
            answer = b""
            while piece := slow.recv(65536):  # to the end: the connection is closed
                answer += piece
        assert answer.startswith(b"HTTP/1.1 408"), answer[:200]
    assert not list((mei_at_work.served.house.settings.blobs / "incoming").iterdir())


# --- many at once -------------------------------------------------------------------------------------------------------


def test_of_many_who_commit_to_one_branch_without_a_parent_all_arrive(mei_at_work: Writer) -> None:
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda number: mei_at_work.small(f"n/{number}.txt", b"%d" % number).status_code, range(96)))
    assert answers == [200] * 96
    listed = mei_at_work.http.get(f"/api/datasets/{mei_at_work.name}/tree/main/n").json()
    assert len(listed) == 96


# --- bytes that have changed on the disk --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [300_000, 3_000_000])
def test_a_damaged_plain_file_is_named_and_refused_and_comes_back_by_an_upload(mei_at_work: Writer, size: int) -> None:
    content = chance.randbytes(size)
    digest = mei_at_work.large("a.bin", content)
    path = mei_at_work.served.house.blobs.path(digest)
    assert path is not None
    flip(path)
    try:
        first = mei_at_work.read("a.bin")
        assert first.status_code == 409
    except httpx.RemoteProtocolError:  # of a long file some has been sent when it is found: the answer breaks off
        assert size > 1 << 20
    again = mei_at_work.http.get(f"/datasets/{mei_at_work.name}/resolve/main/a.bin", headers={"range": "bytes=5-9"})
    assert again.status_code == 409
    assert digest in again.json()["error"]
    assert httpx.put(mei_at_work.link(hexadecimal(digest), size), content=content).status_code == 200
    assert mei_at_work.read("a.bin").content == content


def test_a_damaged_file_is_found_without_anybody_reading_it(mei_at_work: Writer) -> None:
    house = mei_at_work.served.house
    digest, well = mei_at_work.large("a.bin", chance.randbytes(200_000)), mei_at_work.large("b.bin", chance.randbytes(200_000))
    path = house.blobs.path(digest)
    assert path is not None
    flip(path)
    damage.Rounds().step(house)
    assert house.blobs.path(digest) is None
    assert house.blobs.path(well) is not None


def test_a_damaged_copy_of_a_xet_file_is_thrown_away(mei_at_work: Writer) -> None:
    house, content = mei_at_work.served.house, chance.randbytes(3_000_000)
    digest = mei_at_work.xet("a.bin", content)
    file = xet_read.file_of(house, digest)
    assert file is not None
    rebuilding.of(house).build(file)
    copy = rebuilding.of(house).path(digest)
    assert copy is not None
    flip(copy)
    with pytest.raises(httpx.RemoteProtocolError):
        mei_at_work.read("a.bin")
    assert mei_at_work.read("a.bin").content == content


def test_a_damaged_xorb_never_reaches_a_client_that_does_not_look_at_hashes(mei_at_work: Writer, tmp_path: Path) -> None:
    house, served = mei_at_work.served.house, mei_at_work.served
    digest = mei_at_work.xet("a.bin", chance.randbytes(3_000_000))
    file = xet_read.file_of(house, digest)
    assert file is not None
    path = xorb_store.of(house).path(file.terms[0].xorb)
    assert path is not None
    flip(path)
    with pytest.raises(Exception, match="409"):
        hf_hub_download(mei_at_work.name, "a.bin", repo_type="dataset", endpoint=served.url, token=served.tokens["mei"], cache_dir=tmp_path)
    row = house.db.read(lambda tx: tx.row("SELECT state FROM hub_xorbs WHERE hash = :hash", hash=file.terms[0].xorb))
    assert row is not None
    assert row["state"] == "damaged"
    flip(path)  # mended
    xet_checking.Rounds().step(house)
    fetched = hf_hub_download(
        mei_at_work.name, "a.bin", repo_type="dataset", endpoint=served.url, token=served.tokens["mei"], cache_dir=tmp_path
    )
    assert "sha256:" + hashlib.sha256(Path(fetched).read_bytes()).hexdigest() == digest


def test_any_range_of_a_xorb_is_sent_as_it_is_stored(mei_at_work: Writer) -> None:
    house = mei_at_work.served.house
    file = xet_read.file_of(house, mei_at_work.xet("a.bin", chance.randbytes(1_500_000) + bytes(1_500_000)))
    assert file is not None
    xorb = file.terms[0].xorb
    path = xorb_store.of(house).path(xorb)
    assert path is not None
    whole = path.read_bytes()
    for _ in range(30):
        first, stop = sorted(chance.sample(range(len(whole) + 1), 2))
        assert b"".join(xet_read.stored(house, xorb, first, stop)) == whole[first:stop]


def test_a_flipped_byte_in_the_database_is_named_and_not_served(mei_at_work: Writer) -> None:
    content = chance.randbytes(2000)
    assert mei_at_work.small("a.txt", content).status_code == 200
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    with sqlite3.connect(mei_at_work.served.house.settings.house / "lilong.db", timeout=30) as tables:
        tables.execute("UPDATE hub_inline SET content = ? WHERE digest = ?", (content[:-1] + b"\0", digest))
    tables.close()
    answer = mei_at_work.read("a.txt")
    assert answer.status_code == 500
    assert digest in answer.json()["error"]
    with sqlite3.connect(mei_at_work.served.house.settings.house / "lilong.db", timeout=30) as tables:
        tables.execute("UPDATE hub_inline SET content = ? WHERE digest = ?", (content, digest))
    tables.close()


@pytest.mark.parametrize("kind", ["pack", "idx"])
def test_a_damaged_folder_of_gits_is_made_anew(mei_at_work: Writer, tmp_path: Path, kind: str) -> None:
    mei_at_work.commit(
        *(("file", {"path": f"{n}", "content": base64.b64encode(chance.randbytes(900)).decode(), "encoding": "base64"}) for n in range(20))
    )
    assert mei_at_work.clone(tmp_path / "before") == 0
    for path in (mei_at_work.git_folder() / "objects/pack").glob(f"*.{kind}"):
        flip(path)
    mei_at_work.clone(tmp_path / "meanwhile")
    git_fetch.tidy(mei_at_work.served.house)
    assert mei_at_work.clone(tmp_path / "after") == 0


# --- clocks -------------------------------------------------------------------------------------------------------------


class Wound(SystemClock):
    """A clock that somebody sets."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 22, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


def test_chores_go_on_when_the_clock_is_set_back_by_a_day(tmp_path: Path) -> None:
    clock, ran = Wound(), list[datetime]()
    house = open_house(load(tmp_path / "house", environment={}), clock=clock)
    try:
        migrate(house.db, [("ground", "lilong.ground")], clock)
        chore = Chore("often", 1.0, lambda _: ran.append(clock.at))
        for step in (1, -1, 1):
            assert run_chore(house, chore)
            clock.at += timedelta(days=step)
        nested = Chore("often", 1.0, lambda _: ran.append(clock.at) if run_chore(house, chore) else None)
        assert run_chore(house, nested)  # and two never run at a time
    finally:
        house.close()
    assert len(ran) == 3
