"""A source that lies: what it says of a file's digest opens nobody else's bytes, and does not find out who has them."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from lilong.floors.hub import store
from lilong.floors.hub.contract import Hub as HubPort
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.pages import views
from lilong.floors.hub.service import headers, import_work, imports, reading, transfer, trust, viewer
from lilong.floors.hub.service.imports import Ask
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.errors import Conflict, LilongError
from lilong.operations import evidence_service

from .pair import Hub, serving

TOM = Actor("tom")
_ATTRIBUTES = b"*.md filter=lfs\n*.csv filter=lfs\n*.json filter=lfs\n*.safetensors filter=lfs\n"
_SECRET = b"# Plans\nThe tide turns at seven, tell nobody.\n"
_ROWS = b"harbour,depth\nHull,seventeen-secret\n"
_CONFIG = b'{"model_type": "secret-type"}'
_WEIGHTS_HEADER = json.dumps({"secret.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
_WEIGHTS = struct.pack("<Q", len(_WEIGHTS_HEADER)) + _WEIGHTS_HEADER + b"\0" * 16
_OTHER_HEADER = json.dumps({"other.weigh": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode().ljust(len(_WEIGHTS_HEADER))
_OTHERS = {"weights.safetensors": struct.pack("<Q", len(_OTHER_HEADER)) + _OTHER_HEADER + b"\0" * 16}  # what the liar shows in their place


@dataclass
class Liar:
    """Says that it has files of these digests, and shows other bytes of the same length."""

    url: str
    claims: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def liar() -> Iterator[Liar]:
    state = Liar("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            state.asked.append((path.rsplit("/", 1)[-1], self.headers.get("range", "")))
            status, body = 200, b""
            if "/revision/" in path:
                body = json.dumps({"sha": "a" * 40}).encode()
            elif "/tree/" in path:
                body = json.dumps(_listing(state.claims)).encode()
            elif path.endswith("/.gitattributes"):
                body = _ATTRIBUTES
            else:
                name = path.rsplit("/", 1)[-1]
                body = _OTHERS.get(name, b"x" * len(state.claims[name]))
                first, _, last = self.headers.get("range", "").removeprefix("bytes=").partition("-")
                if last:
                    whole, body, status = len(body), body[int(first) : int(last) + 1], 206
            self.send_response(status)
            if status == 206:
                self.send_header("content-range", f"bytes {first}-{last}/{whole}")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()


def _listing(claims: dict[str, bytes]) -> list[dict[str, object]]:
    attributes = hashlib.sha1(b"blob %d\0" % len(_ATTRIBUTES) + _ATTRIBUTES, usedforsecurity=False).hexdigest()
    found: list[dict[str, object]] = [{"type": "file", "path": ".gitattributes", "size": len(_ATTRIBUTES), "oid": attributes}]
    for path, content in claims.items():
        digest = hashlib.sha256(content).hexdigest()
        found.append({"type": "file", "path": path, "size": len(content), "oid": "0" * 40, "lfs": {"oid": digest, "size": len(content)}})
    return found


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(import_work, "PAUSES", ())
    with serving(tmp_path / "house", import_hosts="127.0.0.1") as hub:
        yield hub


def mirrored(target: Hub, liar: Liar, kind: Kind, claims: dict[str, bytes]) -> None:
    liar.claims = claims
    prefix = "datasets/" if kind is Kind.DATASET else ""
    found = imports.ask(target.house, TOM, Ask(f"{liar.url}/{prefix}lantern-works/tide", "harbour-lab/tide", mode="mirror"))
    import_work.carry_out(target.house, found.id)
    done = imports.get(target.house, TOM, found.id)[0]
    assert (done.state, done.error) == ("done", "")


def kept_by_others(target: Hub, kind: Kind, files: dict[str, bytes]) -> None:
    """Another tenant commits these for itself, privately."""
    api = HfApi(target.url, target.tokens["mei"])
    api.create_repo("lantern-works/secret", repo_type=kind.value, private=True)
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    api.create_commit("lantern-works/secret", operations, commit_message="Keep", repo_type=kind.value)


def test_a_claimed_card_shows_nobody_elses_words(target: Hub, liar: Liar) -> None:
    claims = {"README.md": _SECRET, "config.json": _CONFIG}
    mirrored(target, liar, Kind.MODEL, claims)
    kept_by_others(target, Kind.MODEL, claims)
    assert "tell nobody" not in reading.show(target.house, TOM, Kind.MODEL, "harbour-lab/tide").card
    shown = views.file(target.house, TOM, Kind.MODEL, "harbour-lab/tide", "main", "README.md")
    assert (shown.how, shown.text) == ("away", "")
    held, commit = reading.pinned(target.house, TOM, Kind.MODEL, "harbour-lab/tide", "main")
    assert "secret-type" not in json.dumps(trust.facts_now(target.house, held, commit))
    assert "secret-type" not in json.dumps(trust.scan(target.house, held, commit))
    answer = httpx.get(f"{target.url}/api/models/harbour-lab/tide", headers={"authorization": f"Bearer {target.tokens['tom']}"})
    assert answer.status_code == 200
    assert "secret-type" not in answer.text


def test_a_claimed_table_has_nobody_elses_rows(target: Hub, liar: Liar) -> None:
    mirrored(target, liar, Kind.DATASET, {"rows.csv": _ROWS})
    kept_by_others(target, Kind.DATASET, {"rows.csv": _ROWS})
    target.house.blobs.put(_ROWS)
    with pytest.raises(LilongError) as refused:
        viewer.rows(target.house, TOM, "harbour-lab/tide", "main", "rows.csv")
    assert "seventeen-secret" not in str(refused.value)


def test_claimed_weights_have_nobody_elses_header(target: Hub, liar: Liar) -> None:
    claims = {"weights.safetensors": _WEIGHTS}
    mirrored(target, liar, Kind.MODEL, claims)
    kept_by_others(target, Kind.MODEL, claims)
    with pytest.raises(LilongError):
        headers.of_index(target.house, TOM, "harbour-lab/tide", "weights.safetensors")
    shown = views.file(target.house, TOM, Kind.MODEL, "harbour-lab/tide", "main", "weights.safetensors")
    assert (shown.how, shown.tensors, shown.status) == ("away", (), "queued")
    held, commit = reading.pinned(target.house, TOM, Kind.MODEL, "harbour-lab/tide", "main")
    assert not trust.scan(target.house, held, commit)["securityRepoStatus"]["scansDone"]


def test_no_other_floor_is_given_claimed_files_that_others_have(target: Hub, liar: Liar) -> None:
    claims = {"weights.safetensors": _WEIGHTS}
    mirrored(target, liar, Kind.MODEL, claims)
    hub = target.house.port(HubPort)  # type: ignore[type-abstract]
    for _ in range(2):  # nor what they may come to have before a job reads it
        with pytest.raises(Conflict):
            target.house.db.read(lambda tx: hub.revision(tx, TOM, Kind.MODEL, "harbour-lab/tide"))
        if target.house.db.read(lambda tx: store.repository(tx, Kind.MODEL, "lantern-works/secret")) is None:
            kept_by_others(target, Kind.MODEL, claims)


def test_evidence_takes_along_no_claimed_files(target: Hub, liar: Liar) -> None:
    claims = {"weights.safetensors": _WEIGHTS}
    mirrored(target, liar, Kind.MODEL, claims)
    kept_by_others(target, Kind.MODEL, claims)
    _, commit = reading.pinned(target.house, TOM, Kind.MODEL, "harbour-lab/tide", "main")
    whole = reading.manifest_of(target.house, commit)
    assert target.house.db.read(lambda tx: evidence_service._held(target.house, tx, TOM, whole)) is None


def test_a_source_does_not_learn_from_a_mirror_what_the_house_has(target: Hub, liar: Liar) -> None:
    claims = {"weights.safetensors": _WEIGHTS}
    kept_by_others(target, Kind.MODEL, claims)
    mirrored(target, liar, Kind.MODEL, claims)
    assert [name for name, span in liar.asked if name in claims and not span] == []
    with pytest.raises(LilongError):
        headers.of_index(target.house, TOM, "harbour-lab/tide", "weights.safetensors")


def test_an_import_takes_nothing_from_where_its_token_may_not_have_reached(target: Hub, liar: Liar) -> None:
    """It runs in its asker's name, long after the token by which it was asked for: what others of their organisations have stays there."""
    house = target.house
    house.db.write(lambda tx: house.access.grant(tx, SYSTEM, "tom", "reader", "lantern-works"))
    liar.claims = {"weights.safetensors": _WEIGHTS}
    kept_by_others(target, Kind.MODEL, liar.claims)
    found = imports.ask(house, TOM, Ask(f"{liar.url}/lantern-works/tide", "harbour-lab/tide"))
    import_work.carry_out(house, found.id)
    assert imports.get(house, TOM, found.id)[0].state == "failed"


def test_a_merge_of_a_claimed_file_is_no_proof_of_having_it(target: Hub, liar: Liar, tmp_path: Path) -> None:
    claims = {"weights.safetensors": _WEIGHTS}
    mirrored(target, liar, Kind.MODEL, claims)
    kept_by_others(target, Kind.MODEL, claims)
    target.house.blobs.put(_WEIGHTS)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
    env |= {f"GIT_{who}_{what}": "tom@x.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=tmp_path, env=env, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("fetch", "-q", f"http://tom:{target.tokens['tom']}@{target.host}/harbour-lab/tide", "main")
    empty = git("commit-tree", git("mktree"), "-m", "Nothing")
    merge = git("commit-tree", "FETCH_HEAD^{tree}", "-p", empty, "-p", "FETCH_HEAD", "-m", "Everything")
    git("push", "-q", f"http://tom:{target.tokens['tom']}@{target.host}/harbour-lab/tide", f"{merge}:refs/heads/merged")
    digest = "sha256:" + hashlib.sha256(_WEIGHTS).hexdigest()
    with pytest.raises(transfer.BytesNotKnown):
        transfer.sizes_of(target.house, TOM, {digest})


def test_a_gate_holds_for_other_floors_too(target: Hub) -> None:
    api = HfApi(target.url, target.tokens["mei"])
    api.create_repo("lantern-works/gated", private=False)
    api.update_repo_settings("lantern-works/gated", gated="manual")
    hub = target.house.port(HubPort)  # type: ignore[type-abstract]
    assert target.house.db.read(lambda tx: hub.revision(tx, Actor("jun"), Kind.MODEL, "lantern-works/gated"))
    with pytest.raises(LilongError) as refused:
        target.house.db.read(lambda tx: hub.revision(tx, TOM, Kind.MODEL, "lantern-works/gated"))
    assert refused.value.status == 403
