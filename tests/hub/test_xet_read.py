"""Xet files read back: by the real client, by plain HTTP, by other floors, and by whoever tries what is not theirs."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.hub import service
from lilong.floors.hub.backends import conformance, s3
from lilong.floors.hub.backends.local import LocalXorbs
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.rules import nginx
from lilong.floors.hub.service import commits, rebuilding, xet_checking, xet_read, xet_tokens, xorb_store
from lilong.floors.hub.service.xorb_store import StoreUnavailable
from lilong.floors.hub.xet import chunker, hashes, xorbs
from lilong.floors.hub.xet.reader import BadXorbBytes, Contents, Reader, Term
from lilong.floors.hub.xet.reconstruction import reconstruction, touched
from lilong.floors.hub.xet.xorbs import Table
from lilong.ground.access import Actor
from lilong.ground.config import load
from lilong.ground.errors import BadInput, Corrupt
from lilong.ground.house import open_house
from lilong.ground.migrations import migrate

from .conftest import LANTERN, answering, hub_alone, populate, tokens_of
from .sender import MEI, Clock, Sender

TIDE = f"{LANTERN}/tide"


class Place:
    """A house with a server on a socket, a private dataset in it, and one Xet file of it, `big.bin`."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.clock = Clock()
        settings_ = load(folder, options, environment={})
        self.house = open_house(settings_, clock=self.clock)
        migrate(self.house.db, [("ground", "lilong.ground"), ("hub", "lilong.floors.hub")], self.house.clock)
        service.start(self.house)
        self.house.db.write(lambda tx: populate(self.house, tx))
        self.tokens = tokens_of(self.house)
        commits.create(self.house, MEI, Kind.DATASET, TIDE, private=True)
        draw = random.Random(1)
        self.blocks = [draw.randbytes(draw.randrange(9000, 90_000)) for _ in range(60)]
        self.content = b"".join(self.blocks)
        self.sender = Sender(self.house)
        self.sender.send_xorb(self.blocks[:20])  # so that the file lies in two xorbs
        self.digest, self.hash = self.sender.send(TIDE, self.blocks)
        self.sender.commit(TIDE, {"big.bin": (self.digest, len(self.content))})
        self._serve()

    def _serve(self) -> None:
        self._answering = answering(hub_alone(self.house))
        self.url = self._answering.__enter__()

    def close(self) -> None:
        self._answering.__exit__(None, None, None)
        self.house.close()

    def get(self, path: str, user: str = "mei", **headers: str) -> httpx.Response:
        word = {"authorization": f"Bearer {self.tokens[user]}"} if user else {}
        return httpx.get(f"{self.url}{path}", headers={**word, **headers}, timeout=20)

    def cas_token(self, user: str = "mei") -> str:
        return str(self.get(f"/api/datasets/{TIDE}/xet-read-token/main", user).json()["accessToken"])

    def reconstruct(self, token: str, version: int = 2, hash: str = "", **headers: str) -> httpx.Response:
        word = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"{self.url}/xet/v{version}/reconstructions/{hash or self.hash}", headers={**word, **headers})

    def fetched(self, told: dict[str, Any]) -> bytes:
        """What a client puts together from an answer of version 2, by the links and ranges in it alone."""
        parts: dict[str, dict[int, bytes]] = {}
        for xorb, links in told["xorbs"].items():
            for link in links:
                for span in link["ranges"]:
                    ask = f"bytes={span['bytes']['start']}-{span['bytes']['end']}"
                    answer = httpx.get(link["url"], headers={"range": ask}, follow_redirects=True)
                    assert answer.status_code == 206, answer.text
                    for at, content in enumerate(xorbs.contents(answer.content), span["chunks"]["start"]):
                        parts.setdefault(xorb, {})[at] = bytes(content)
        content = b"".join(parts[term["hash"]][at] for term in told["terms"] for at in range(term["range"]["start"], term["range"]["end"]))
        return content[told["offset_into_first_range"] :]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("read") / "house")
    yield made
    made.close()


# --- chunks -------------------------------------------------------------------------------------------------------------


def test_files_are_cut_and_hashed_as_the_client_does_it(tmp_path: Path) -> None:
    hf_xet = pytest.importorskip("hf_xet")
    draw, files, mine = random.Random(2), [], []
    for size in (1, 8191, 8192, 8193, 131_072, 131_073, 300_000, 1_500_000):
        for content in (draw.randbytes(size), bytes(size), bytes(draw.choices((0, 1, 7), k=size))):
            file = tmp_path / str(len(files))
            file.write_bytes(content)
            files.append(str(file))
            cuts = (chunker.chunks([content], cut) for cut in (chunker.compiled(), chunker.vectorised()))
            mine.append({hashes.text(hashes.file([(hashes.chunk(piece), len(piece)) for piece in pieces])) for pieces in cuts})
    assert mine == [{found.hash} for found in hf_xet.hash_files(files)]


@given(st.binary(max_size=300_000), st.lists(st.integers(1, 90_000), max_size=9))
@settings(max_examples=20, deadline=None)
def test_a_file_is_cut_alike_in_whatever_pieces_it_comes(content: bytes, steps: list[int]) -> None:
    content, pieces, at = content * 7, [], 0
    for step in steps:
        pieces.append(content[at : at + step])
        at += step
    pieces.append(content[at:])
    assert list(chunker.chunks(pieces)) == list(chunker.chunks([content], chunker.vectorised()))


# --- reading ------------------------------------------------------------------------------------------------------------


def kept_in_xorbs(lengths: list[list[int]]) -> tuple[list[bytes], dict[str, Table], dict[str, bytes]]:
    draw, chunks, tables, bodies = random.Random(3), [], {}, {}
    for run in lengths:
        made = [draw.randbytes(length) for length in run]
        hash, body, table = xorbs.built(made)
        tables[hashes.text(hash)], bodies[hashes.text(hash)] = table, body
        chunks += made
    return chunks, tables, bodies


@given(
    st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=12), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 11), st.integers(1, 12)), min_size=1, max_size=6),
    st.integers(0, 3000),
    st.integers(0, 3000),
)
@settings(max_examples=80, deadline=None)
def test_any_range_of_any_terms_reads_as_the_whole_does(
    lengths: list[list[int]], chosen: list[tuple[int, int, int]], first: int, count: int
) -> None:
    _, tables, bodies = kept_in_xorbs(lengths)
    names, runs, whole = list(tables), [], b""
    for which, begin, more in chosen:
        name = names[which % len(names)]
        begin %= len(tables[name])
        end = min(begin + more, len(tables[name]))
        run = b"".join(bytes(part) for part in list(xorbs.contents(bodies[name]))[begin:end])
        runs.append(Term(name, begin, end, len(run)))
        whole += run

    def fetch(xorb: str, start: int, end: int) -> bytes:
        return bodies[xorb][start:end]

    contents = Contents(runs, tables.__getitem__, fetch)
    assert b"".join(contents.pieces(first, count)) == whole[first : first + count]
    file = io.BufferedReader(Reader(contents), 64)
    file.seek(first)
    assert file.read(count) == whole[first : first + count]
    assert file.seek(-min(count, len(whole)), io.SEEK_END) == len(whole) - min(count, len(whole))
    assert file.read() == whole[len(whole) - min(count, len(whole)) :]
    last = min(first + count, len(whole))
    if first < last:
        told = reconstruction(touched(runs, first, last), tables, first, last)
        put = b"".join(b"".join(bytes(part) for part in list(xorbs.contents(bodies[run.xorb]))[run.begin : run.end]) for run in told.runs)
        assert put[told.skip :][: last - first] == whole[first:last]
        assert all(any(p.xorb == r.xorb and p.begin <= r.begin and r.end <= p.end for p in told.pieces) for r in told.runs)
        assert len(put) - (last - first) < 2 * 60  # no chunk more than the range needs


def test_every_floor_reads_a_xet_file_by_its_sha256(place: Place, tmp_path: Path) -> None:
    blobs = place.house.blobs
    assert blobs.has(place.digest) and blobs.size(place.digest) == len(place.content)
    assert blobs.read(place.digest) == place.content
    blobs.verify(place.digest)
    blobs.place(place.digest, tmp_path / "input", share=True)
    assert (tmp_path / "input").read_bytes() == place.content
    with blobs.open(place.digest) as file:
        file.seek(123_456)
        assert file.read(1000) == place.content[123_456:124_456]


# --- the CAS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "last"), [(0, None), (0, 0), (123_456, 1_000_000), (1_900_000, 99_999_999)])
def test_a_reconstruction_leads_to_the_bytes_that_were_asked_for(place: Place, first: int, last: int | None) -> None:
    asked = {"range": f"bytes={first}-{'' if last is None else last}"}
    told = place.reconstruct(place.cas_token(), **asked)
    assert told.status_code == 200
    wanted = place.content[first : None if last is None else last + 1]
    assert place.fetched(told.json())[: len(wanted)] == wanted
    older = place.reconstruct(place.cas_token(), version=1, **asked).json()
    assert older["terms"] == told.json()["terms"]
    spans = {(x, p["range"]["start"], p["url_range"]["start"], p["url_range"]["end"]) for x, ps in older["fetch_info"].items() for p in ps}
    assert spans == {
        (x, r["chunks"]["start"], r["bytes"]["start"], r["bytes"]["end"])
        for x, ls in told.json()["xorbs"].items()
        for p in ls
        for r in p["ranges"]
    }


def test_wrong_questions_get_exact_answers(place: Place) -> None:
    token = place.cas_token()
    assert place.reconstruct(token, range=f"bytes={len(place.content)}-").status_code == 416
    assert place.reconstruct(token, hash="0a" * 32).status_code == 404
    assert place.reconstruct(token, hash="nonsense").status_code in (400, 404, 422)
    assert place.reconstruct("", hash="0a" * 32).status_code == 401
    assert place.get("/xet/xorb/" + "0a" * 32, "").status_code == 403


def test_a_token_for_one_repository_opens_no_file_of_another(place: Place) -> None:
    commits.create(place.house, Actor("tom"), Kind.DATASET, "harbour-lab/reef", private=True)
    held = place.house.db.read(lambda tx: service.opened(place.house, tx, Actor("tom"), Kind.DATASET, "harbour-lab/reef"))
    grant = xet_tokens.granted(place.house, Actor("tom"), "dataset", held.id, "write")
    assert place.reconstruct(xet_tokens.issue(place.house, grant)).status_code == 404


def test_a_link_to_a_xorb_is_good_for_its_bytes_its_user_and_its_hour_only(place: Place) -> None:
    told = place.reconstruct(place.cas_token(), range="bytes=0-100000").json()
    link = next(iter(told["xorbs"].values()))[0]
    start, stop = (int(parse_qs(urlsplit(link["url"]).query)[name][0]) for name in ("start", "stop"))
    assert httpx.get(link["url"], headers={"range": f"bytes={start}-{stop - 1}"}).status_code == 206
    assert httpx.get(link["url"]).content == httpx.get(link["url"], headers={"range": f"bytes={start}-{stop - 1}"}).content
    for asked in (
        f"bytes={start}-{stop}",
        f"bytes={stop}-",
        "bytes=0-99999999",
        f"bytes={stop + 5}-{stop + 10}",
        "bytes=5-",
        "bytes=-5",
        "bytes=0-1,3-4",
    ):
        assert httpx.get(link["url"], headers={"range": asked}).status_code == 403, asked
    for old, new in (
        (f"stop={stop}", f"stop={stop + 1}"),
        ("user=mei", "user=tom"),
        ("expires=", "expires=9"),
        ("signature=", "signature=0"),
    ):
        assert httpx.get(link["url"].replace(old, new)).status_code == 403, new
    other = [name for name in told["xorbs"] if name != urlsplit(link["url"]).path.rsplit("/", 1)[-1]] or ["0a" * 32]
    assert httpx.get(link["url"].replace(urlsplit(link["url"]).path.rsplit("/", 1)[-1], other[0])).status_code == 403
    place.clock.at += timedelta(hours=2)
    assert httpx.get(link["url"], headers={"range": f"bytes={start}-{stop - 1}"}).status_code == 403


# --- plain HTTP ---------------------------------------------------------------------------------------------------------

FILE = f"/datasets/{TIDE}/resolve/main/big.bin"


def test_resolve_says_how_xet_clients_get_the_file(place: Place) -> None:
    word = {"authorization": f"Bearer {place.tokens['mei']}"}
    said = httpx.head(place.url + FILE, headers=word)
    assert said.headers["x-xet-hash"] == place.hash
    assert said.headers["etag"] == said.headers["x-linked-etag"] == f'"{place.digest.removeprefix("sha256:")}"'
    assert int(said.headers["content-length"]) == int(said.headers["x-linked-size"]) == len(place.content)
    route = said.links["xet-auth"]["url"]
    assert route == said.headers["x-xet-refresh-route"]
    assert httpx.get(route, headers=word).json()["casUrl"] == f"{place.url}/xet"


@pytest.mark.parametrize(
    ("asked", "first", "stop"),
    [("", 0, None), ("bytes=0-0", 0, 1), ("bytes=70000-900000", 70_000, 900_001), ("bytes=-100", -100, None), ("bytes=100-", 100, None)],
)
def test_plain_clients_get_any_range_of_it(place: Place, asked: str, first: int, stop: int | None) -> None:
    answer = place.get(FILE, **({"range": asked} if asked else {}))
    assert answer.status_code == (206 if asked else 200)
    assert answer.content == place.content[first:stop]


def test_a_range_behind_the_end_is_416(place: Place) -> None:
    answer = place.get(FILE, range=f"bytes={len(place.content)}-")
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(place.content)}")


def test_a_plain_copy_is_made_once_and_the_oldest_goes_when_there_is_no_room(place: Place) -> None:
    rebuilt = rebuilding.of(place.house)
    file = xet_read.file_of(place.house, place.digest)
    assert file is not None
    rebuilt.build(file)
    path = rebuilt.path(place.digest)
    assert path is not None and path.read_bytes() == place.content
    assert place.get(FILE).content == place.content
    place.clock.ticks += 1000
    rebuilt._limit, limit = len(place.content) + 10, rebuilt._limit
    other = place.sender.send(TIDE, place.blocks[5:25])[0]
    second = xet_read.file_of(place.house, other)
    assert second is not None
    rebuilt.build(second)
    assert rebuilt.path(other) is not None and rebuilt.path(place.digest) is None and not path.exists()
    rebuilt._limit = limit


# --- damage -------------------------------------------------------------------------------------------------------------


def test_a_damaged_xorb_is_named_refused_and_mended_by_whoever_sends_it_again(tmp_path: Path) -> None:
    place = Place(tmp_path / "house")
    hash = next(iter(place.house.db.read(lambda tx: [row["hash"] for row in tx.rows("SELECT hash FROM hub_xorbs")])))
    path = xorb_store.of(place.house).path(hash)
    assert path is not None
    good = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(good[:5000] + bytes([good[5000] ^ 1]) + good[5001:])
    assert list(xet_checking.problems(place.house)) == [f"xorb {hash}: bytes that are not its own are in it"]
    xet_checking.Rounds().step(place.house)
    assert place.house.db.read(lambda tx: tx.value("SELECT state FROM hub_xorbs WHERE hash = :hash", hash=hash)) == "damaged"
    with pytest.raises(BadXorbBytes, match=hash):
        place.house.blobs.read(place.digest)
    with pytest.raises(Corrupt, match=hash):
        place.house.blobs.verify(place.digest)
    refused = place.reconstruct(place.cas_token())
    assert refused.status_code == 409 and hash in refused.text
    chunks = [bytes(content) for content in xorbs.contents(good)]
    place.sender.send_xorb(chunks)
    assert place.fetched(place.reconstruct(place.cas_token()).json()) == place.content
    assert place.house.blobs.read(place.digest) == place.content and list(xet_checking.problems(place.house)) == []
    path.unlink()
    assert list(xet_checking.problems(place.house)) == [f"xorb {hash}: its bytes are missing"]
    place.close()


# --- nginx --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def behind_nginx(tmp_path: Path) -> Iterator[tuple[Place, str]]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    place = Place(tmp_path / "house", accel="nginx")
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    site = nginx.config(str(place.house.settings.house), urlsplit(place.url).netloc, title="Test", user="test", listen=f"127.0.0.1:{port}")
    paths = "".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    who = "user root;" if os.getuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(
        f"{who} daemon off; worker_processes 1; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}} "
        f"http {{ access_log off; {paths} {site} }}"
    )
    process = subprocess.Popen([program, "-c", str(tmp_path / "nginx.conf")], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            httpx.get(f"{url}/api/whoami-v2")
            break
        except httpx.ConnectError:
            time.sleep(0.05)
    yield place, url
    process.terminate()
    process.wait(10)
    place.close()


def test_nginx_sends_the_bytes_itself_and_only_what_it_is_told_to(behind_nginx: tuple[Place, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from lilong.floors.hub.api import cas_read, content

    place, url = behind_nginx
    place.url = url
    token = place.cas_token()
    file = xet_read.file_of(place.house, place.digest)
    assert file is not None
    rebuilding.of(place.house).build(file)

    def passed(*_: object) -> object:
        raise AssertionError("these bytes pass through Python")

    for module in (cas_read, content):
        monkeypatch.setattr(module, "streamed", passed)
    told = place.reconstruct(token).json()
    assert all(link["url"].startswith(url) for links in told["xorbs"].values() for link in links)
    assert place.fetched(told) == place.content
    for asked, first, stop in ((None, 0, None), ("bytes=5-77777", 5, 77_778), ("bytes=-9", -9, None)):
        answer = place.get(FILE, **({"range": asked} if asked else {}))
        assert answer.content == place.content[first:stop]
        assert answer.headers["x-repo-commit"] and answer.headers["etag"] == f'"{place.digest.removeprefix("sha256:")}"'
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox" and "x-accel-redirect" not in answer.headers
    link = next(iter(told["xorbs"].values()))[0]["url"]
    for asked in ("bytes=0-99999999", "bytes=0-", "bytes=-5", "bytes=0-1,2-99999999", "bytes=x"):
        assert httpx.get(link, headers={"range": asked}).status_code == 403
    monkeypatch.undo()
    assert len(httpx.get(link, headers={"range": "bytes=0-9", "if-range": '"other"'}).content) == 10
    for folder in ("xorbs", "blobs", "rebuilt", "keys"):
        assert httpx.get(f"{url}/.lilong/{folder}/{file.hash[:2]}/{file.hash}").status_code == 404


# --- the real client ----------------------------------------------------------------------------------------------------


def test_the_real_client_downloads_it_by_xet_whole_and_in_ranges(place: Place, tmp_path: Path) -> None:
    program = (
        "import sys, hashlib; from huggingface_hub import hf_hub_download, HfFileSystem\n"
        "path = hf_hub_download(sys.argv[1], 'big.bin', repo_type='dataset')\n"
        "print(hashlib.sha256(open(path, 'rb').read()).hexdigest())\n"
        "with HfFileSystem().open('datasets/' + sys.argv[1] + '/big.bin', block_size=1 << 16) as file:\n"
        "    file.seek(500_000); print(hashlib.sha256(file.read(100_000)).hexdigest())\n"
    )
    told = {"HF_ENDPOINT": place.url, "HF_TOKEN": place.tokens["ada"], "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | told
    done = subprocess.run([sys.executable, "-c", program, TIDE], env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == [hashlib.sha256(part).hexdigest() for part in (place.content, place.content[500_000:600_000])]


# --- stores -------------------------------------------------------------------------------------------------------------


def credentials(folder: Path) -> Path:
    file = folder / "s3.json"
    file.write_text(json.dumps({"access_key_id": "lantern", "secret_access_key": "works-secret"}))
    file.chmod(0o600)
    return file


def test_xorbs_in_a_folder_keep_to_the_rules(tmp_path: Path) -> None:
    conformance.check(LocalXorbs(tmp_path / "xorbs"), tmp_path)


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """The URL of an S3 server with the bucket `xorbs`."""
    server = pytest.importorskip("moto.server")
    made = server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    httpx.put(f"http://{host}:{port}/xorbs")
    yield f"http://{host}:{port}"
    made.stop()


def test_xorbs_in_s3_keep_to_the_rules(bucket: str, tmp_path: Path) -> None:
    conformance.check(s3.S3Xorbs.of("s3://xorbs/some/prefix", bucket, "us-east-1", credentials(tmp_path)), tmp_path)


@pytest.mark.parametrize("accel", ["", "s3"])
def test_a_house_with_its_xorbs_in_s3_serves_them(bucket: str, tmp_path: Path, accel: str) -> None:
    (tmp_path / "house" / "keys").mkdir(parents=True)
    credentials(tmp_path / "house" / "keys")
    place = Place(tmp_path / "house", xorbs="s3://xorbs/house", xorbs_endpoint=bucket, accel=accel)
    told = place.reconstruct(place.cas_token()).json()
    assert place.fetched(told) == place.content
    link = next(iter(told["xorbs"].values()))[0]["url"]
    assert httpx.get(link).status_code == (302 if accel else 206)
    assert place.get(FILE).content == place.content and list(xet_checking.problems(place.house)) == []
    place.close()


def test_a_presigned_url_is_signed_as_s3_servers_expect_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same signature as obstore's for the same signed headers; the range is one header more."""
    obstore = pytest.importorskip("obstore")
    store = s3.S3Xorbs.of("s3://xorbs/pre", "http://127.0.0.1:9", "us-east-1", credentials(tmp_path))
    theirs = obstore.sign(store._store, "GET", store._key("0a" * 32), timedelta(seconds=60))
    from datetime import UTC, datetime

    at = datetime.strptime(parse_qs(urlsplit(theirs).query)["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert s3.signed(store._bucket, store._key("0a" * 32), 60, at, {}) == theirs
    mine = parse_qs(urlsplit(s3.signed(store._bucket, store._key("0a" * 32), 60, at, {"range": "bytes=0-9"})).query)
    assert mine["X-Amz-SignedHeaders"] == ["host;range"] and mine["X-Amz-Signature"] != parse_qs(urlsplit(theirs).query)["X-Amz-Signature"]


def test_s3_that_answers_503_is_asked_a_few_times_and_then_named(tmp_path: Path) -> None:
    asked: list[str] = []

    class Busy(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            asked.append(self.command)
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_PUT = do_HEAD = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    store = s3.S3Xorbs.of("s3://xorbs/pre", f"http://127.0.0.1:{server.server_port}", "us-east-1", credentials(tmp_path))
    calls: list[Callable[[], object]] = [lambda: store.put("0a" * 32, b"x" * 100), lambda: store.read("0a" * 32, 0, 10)]
    for call in calls:
        asked.clear()
        with pytest.raises(StoreUnavailable, match="503"):
            call()
        assert 2 <= len(asked) <= 10
    server.shutdown()
    server.server_close()


def test_credentials_that_others_may_read_are_refused(tmp_path: Path) -> None:
    file = credentials(tmp_path)
    file.chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        s3.S3Xorbs.of("s3://xorbs/pre", "http://127.0.0.1:9", "us-east-1", file)
    with pytest.raises(BadInput, match=r"s3\.json"):
        s3.S3Xorbs.of("s3://xorbs/pre", "http://127.0.0.1:9", "us-east-1", tmp_path / "missing.json")
