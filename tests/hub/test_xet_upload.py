"""Sending xorbs: the real client without any flag, and everything that a client may get wrong."""

from __future__ import annotations

import hashlib
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lilong.floors.hub.service import direct
from lilong.floors.hub.xet import hashes, shards, xorbs

from .xet_server import HARBOUR, LANTERN, Cas, Made, client, flip, kept, made, serving


@pytest.fixture(scope="module")
def cas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cas]:
    with serving(tmp_path_factory.mktemp("xet") / "house") as server:
        yield server


def test_the_real_client_uploads_without_any_flag(cas: Cas, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    draw = random.Random(7)
    files = {
        "random.bin": draw.randbytes(3_000_000),
        "text.bin": b"the tide comes in, the tide goes out. " * 60_000,  # LZ4
        "floats.bin": struct.pack("<400000f", *(draw.gauss(0, 1) for _ in range(400_000))),  # bytes grouped by four, and LZ4
        "notes.txt": b"small",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    found = client(cas, tmp_path / "cache", "dataset", f"{LANTERN}/swell", str(folder))
    for name, content in files.items():
        size, digest, xet = found[name]
        assert size == len(content)
        if name != "notes.txt":
            assert digest == hashlib.sha256(content).hexdigest()
            assert (
                cas.house.db.read(lambda tx, xet=xet: tx.value("SELECT digest FROM hub_xet_files WHERE hash = :h", h=xet))
                == f"sha256:{digest}"
            )
    assert cas.left_over() == []


def test_what_is_there_already_is_not_sent_again(cas: Cas, tmp_path: Path) -> None:
    draw = random.Random(8)
    one, more = draw.randbytes(24 << 20), draw.randbytes(1 << 20)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.bin").write_bytes(one)
    client(cas, tmp_path / "cache", "dataset", f"{LANTERN}/ebb", str(tmp_path / "one"))
    before = kept(cas)
    client(cas, tmp_path / "cache", "dataset", f"{LANTERN}/flow", str(tmp_path / "one"))
    assert kept(cas) == before
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "b.bin").write_bytes(one[: 12 << 20] + more + one[12 << 20 :])
    client(cas, tmp_path / "cache", "dataset", f"{LANTERN}/ebb", str(tmp_path / "two"))
    assert 1 << 20 <= kept(cas) - before < 3 << 20
    before = kept(cas)
    (tmp_path / "two" / "b.bin").write_bytes(one[: 18 << 20] + more + one[18 << 20 :])  # asked of the server: this client has no cache
    client(cas, tmp_path / "empty cache", "dataset", f"{LANTERN}/ebb", str(tmp_path / "two"))
    assert kept(cas) - before < 3 << 20
    # Who may not read it gets no hint that it is there, and sends it all. It is the same, so it is kept once.
    before, senders = kept(cas), "SELECT COUNT(*) FROM hub_xorb_uploads WHERE user_name = 'tom'"
    told = cas.house.db.read(lambda tx: tx.value(senders))
    client(cas, tmp_path / "their cache", "dataset", f"{HARBOUR}/flow", str(tmp_path / "one"), user="tom")
    assert kept(cas) == before
    assert cas.house.db.read(lambda tx: tx.value(senders)) > told


# --- xorbs --------------------------------------------------------------------------------------------------------------


def test_a_xorb_and_its_file_are_registered(cas: Cas) -> None:
    token, it = cas.grant("mei"), made()
    assert cas.send(token, it.hash, it.body).json() == {"was_inserted": True}
    assert cas.register(token, it.file).text == '{"type": "result"}\n'
    assert cas.register(token, it.file, version=1).json() == {"result": 0}
    assert cas.house.blobs.size(it.file.digest or "") == len(it.content)
    assert cas.left_over() == []


LIES: list[tuple[str, Callable[[Made], tuple[str, bytes]], int, str]] = [
    ("a flipped bit in a chunk", lambda it: (hashes.text(it.hash), flip(it.body, 5000)), 400, "other-xorb"),
    ("another name", lambda it: ("ab" * 32, it.body), 400, "other-xorb"),
    ("cut off", lambda it: (hashes.text(it.hash), it.body[:-1]), 400, "no-xorb"),
    ("a chunk too few", lambda it: (hashes.text(it.hash), it.body[:9008]), 400, "other-xorb"),
    ("nothing", lambda it: (hashes.text(it.hash), b""), 400, "no-xorb"),
    ("too many chunks", lambda it: (hashes.text(it.hash), (xorbs.header(0, 1, 1) + b"x") * 8193), 400, "no-xorb"),
    ("no hash", lambda it: ("..%5c..%5ckeys", it.body), 400, "no-xet-hash"),
    ("upper case", lambda it: (hashes.text(it.hash).upper(), it.body), 400, "no-xet-hash"),
]


@pytest.mark.parametrize(("lie", "status", "code"), [pytest.param(lie, status, code, id=name) for name, lie, status, code in LIES])
def test_a_xorb_that_is_not_what_it_is_called_leaves_nothing(
    cas: Cas, lie: Callable[[Made], tuple[str, bytes]], status: int, code: str
) -> None:
    it = made()
    name, body = lie(it)
    answer = cas.send(cas.grant("mei"), name, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert cas.rows("hub_xorbs", it.hash) == cas.rows("hub_xorb_uploads", it.hash) == 0
    assert cas.left_over() == []


def test_a_xorb_that_is_too_large_is_refused(cas: Cas) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(70):
            yield (xorbs.header(0, 65_536, 65_536) + bytes(65_536)) * 16

    token = cas.grant("mei")
    with socket.create_connection(("127.0.0.1", int(cas.url.rsplit(":", 1)[1]))) as line:
        head = f"POST /xet/v1/xorbs/default/{'ab' * 32} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 99999999\r\n\r\n"
        line.sendall(head.encode() + b"x" * 1000)
        assert line.recv(100).startswith(b"HTTP/1.1 413")
    answer = cas.send(token, "ab" * 32, body())  # chunked: its length comes last
    assert (answer.status_code, answer.json()["code"]) == (400, "no-xorb")
    assert cas.left_over() == []


def test_a_client_that_goes_away_leaves_nothing(cas: Cas) -> None:
    it, token = made(), cas.grant("mei")
    with socket.create_connection(("127.0.0.1", int(cas.url.rsplit(":", 1)[1]))) as line:
        head = f"POST /xet/v1/xorbs/default/{hashes.text(it.hash)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        line.sendall(f"{head}Content-Length: {len(it.body)}\r\n\r\n".encode() + it.body[:-500])
        while not cas.left_over():
            time.sleep(0.01)
    while cas.left_over():
        time.sleep(0.01)
    assert cas.rows("hub_xorbs", it.hash) == 0


def test_of_two_tenants_who_send_the_same_none_learns_of_the_other(cas: Cas) -> None:
    it = made()
    mine, theirs = cas.grant("mei"), cas.grant("tom", repository=f"{HARBOUR}/reef")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda token: cas.send(token, it.hash, it.body), [mine, theirs] * 4))
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"was_inserted": True})] * 8
    assert (cas.rows("hub_xorbs", it.hash), cas.rows("hub_xorb_uploads", it.hash)) == (1, 2)
    assert cas.left_over() == []
    assert cas.send(theirs, it.hash, flip(it.body, 10_000)).status_code == 400  # what is there is hashed all the same


def test_a_collected_xorb_may_come_again(cas: Cas) -> None:
    it, token = made(), cas.grant("mei")
    cas.send(token, it.hash, it.body)
    cas.house.db.write(lambda tx: tx.run("UPDATE hub_xorbs SET state = 'gone' WHERE hash = :h", h=hashes.text(it.hash)))
    (cas.house.settings.house / "xorbs" / hashes.text(it.hash)[:2] / hashes.text(it.hash)).unlink()
    assert cas.register(token, it.file).json()["code"] == "xorb-not-known"
    assert cas.send(token, it.hash, it.body).status_code == 200
    assert cas.register(token, it.file).status_code == 200


@pytest.mark.parametrize("place", [Path("/dev/shm"), None])  # a file system in memory takes no direct writes
def test_what_is_written_past_the_page_cache_is_read_back_in_any_ranges(tmp_path: Path, place: Path | None) -> None:
    draw = random.Random(12)
    for size in (0, 1, 4096, 100_000, 300_001):
        content = draw.randbytes(size)
        memory = direct.buffer(1 << 20)
        memory[:size] = content
        file = direct.DirectFile(place or tmp_path)
        try:
            file.write(memoryview(memory)[: -(-size // direct.BLOCK) * direct.BLOCK])
            file.finish(size)
            assert file.path.read_bytes() == content
            reader = direct.DirectReader(file.path, 1 << 20)
            for _ in range(20):
                start, end = sorted((draw.randint(0, size + 9), draw.randint(0, size + 9)))
                assert bytes(reader.read(start, end)) == content[start:end]
            reader.close()
        finally:
            file.drop()


def test_a_full_disk_is_said_at_once_and_leaves_nothing(cas: Cas, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    it = made()
    with monkeypatch.context() as patch:
        patch.setattr("lilong.floors.hub.service.direct.os.pwrite", full)
        answer = cas.send(cas.grant("mei"), it.hash, it.body)
    assert (answer.status_code, answer.json()["code"]) == (413, "storage-full")
    assert cas.left_over() == []
    assert cas.rows("hub_xorbs", it.hash) == 0


# --- whatever comes -----------------------------------------------------------------------------------------------------


def test_what_the_cas_does_not_have_is_404_and_other_methods_are_405(cas: Cas) -> None:
    token = cas.grant("mei")
    assert cas.ask("POST", f"/v1/xorb-grants/default/{'ab' * 32}", token).status_code == 404
    assert cas.ask("GET", "/v9/anything", token).status_code == 404
    assert cas.ask("DELETE", "/v2/shards", token).status_code == 405
    assert cas.ask("GET", "/v1/chunks/default/%00%ff", token).status_code == 400


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_broken_xorb_or_shard_is_a_fault_of_the_server(cas: Cas, data: st.DataObject) -> None:
    it, token = made(), cas.grant("mei")
    body = bytearray(data.draw(st.sampled_from([it.body[: 9008 + 200], shards.registering([it.file])])))
    for at in data.draw(st.lists(st.integers(0, len(body) * 8 - 1), min_size=1, max_size=4)):
        body[at // 8] ^= 1 << at % 8
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    assert cas.send(token, it.hash, cut).status_code == 400
    for version in (1, 2):
        answer = cas.ask("POST", f"/v{version}/shards", token, cut)
        assert answer.status_code in (200, 400, 413)
        assert cas.rows("hub_xet_files", it.file.hash) == 0
