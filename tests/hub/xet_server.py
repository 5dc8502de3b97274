"""A server that takes files through Xet, the real client in a process of its own, and files made of a few chunks."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from lilong.floors.hub import service
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import xet_tokens, xet_upload
from lilong.floors.hub.xet import hashes, shards, xorbs
from lilong.floors.hub.xet.shards import File, Term
from lilong.ground.access import Actor
from lilong.ground.house import House

from .conftest import HARBOUR, LANTERN, answering, hub_alone, hub_house, tokens_of


@dataclass
class Cas:
    """A server of a house on a socket, and whoever asks it."""

    house: House
    url: str
    tokens: dict[str, str]

    def grant(self, user: str, verb: str = "write", repository: str = f"{LANTERN}/tide") -> str:
        word = {"authorization": f"Bearer {self.tokens[user]}"}
        answer = httpx.get(f"{self.url}/api/models/{repository}/xet-{verb}-token/main", headers=word)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-xet-access-token"] == answer.json()["accessToken"]
        assert answer.headers["x-xet-cas-url"] == answer.json()["casUrl"] == f"{self.url}/xet"
        assert int(answer.headers["x-xet-token-expiration"]) == answer.json()["exp"]
        return str(answer.json()["accessToken"])

    def send(self, token: str, hash: bytes | str, body: Any) -> httpx.Response:
        name = hash if isinstance(hash, str) else hashes.text(hash)
        return self.ask("POST", f"/v1/xorbs/default/{name}", token, body)

    def register(self, token: str, *files: File, version: int = 2) -> httpx.Response:
        return self.ask("POST", f"/v{version}/shards", token, shards.registering(files))

    def ask(self, method: str, path: str, token: str, body: Any = None) -> httpx.Response:
        word = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.request(method, f"{self.url}/xet{path}", headers=word, content=body, timeout=20)

    def rows(self, table: str, hash: bytes) -> int:
        column = "xorb" if table == "hub_xorb_uploads" else "hash"
        return int(self.house.db.read(lambda tx: tx.value(f"SELECT COUNT(*) FROM {table} WHERE {column} = :h", h=hashes.text(hash))))

    def left_over(self) -> list[Path]:
        return list(xet_upload.incoming(self.house).iterdir())


@contextmanager
def serving(folder: Path) -> Iterator[Cas]:
    house = hub_house(folder)
    service.create(house, Actor("mei"), Kind.MODEL, f"{LANTERN}/tide", private=True)
    service.create(house, Actor("tom"), Kind.MODEL, f"{HARBOUR}/reef", private=True)
    with answering(hub_alone(house)) as url:
        yield Cas(house, url, tokens_of(house))
    house.close()


_seeds = iter(range(1_000_000))


@dataclass
class Made:
    """A file of three chunks, no two alike, in a xorb of its own."""

    content: bytes
    hash: bytes  # of the xorb
    body: bytes
    file: File


def made() -> Made:
    draw = random.Random(next(_seeds))
    chunks = [draw.randbytes(size) for size in (9000, 70_000, 20_000)]
    content = b"".join(chunks)
    hash, body, table = xorbs.built(chunks)
    term = Term(hash, len(content), 0, 3, hashes.verification(table.hashes(0, 3)))
    return Made(content, hash, body, File(hashes.file(table.leaves()), (term,), "sha256:" + hashlib.sha256(content).hexdigest()))


CLIENT = """
import json, sys
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
api = HfApi()
kind = sys.argv[1]
repository = sys.argv[2]
api.create_repo(repository, repo_type=kind, exist_ok=True, private=True)
info = api.upload_folder(repo_id=repository, repo_type=kind, folder_path=sys.argv[3])
print(json.dumps({entry.path: [entry.size, entry.lfs.sha256 if entry.lfs else None, entry.xet_hash]
    for entry in api.list_repo_tree(repository, repo_type=kind, recursive=True)}))
"""


def asked(cas: Cas, cache: Path, *words: str, user: str = "mei") -> subprocess.CompletedProcess[str]:
    settings = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings |= {"HF_ENDPOINT": cas.url, "HF_TOKEN": cas.tokens[user], "HF_HOME": str(cache)}
    return subprocess.run([sys.executable, "-c", CLIENT, *words], env=settings, capture_output=True, text=True, timeout=120, check=False)


def client(cas: Cas, cache: Path, *words: str, user: str = "mei") -> dict[str, Any]:
    done = asked(cas, cache, *words, user=user)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def kept(cas: Cas) -> int:
    return sum(file.stat().st_size for file in (cas.house.settings.house / "xorbs").rglob("*") if file.is_file())


def flip(body: bytes, at: int) -> bytes:
    return body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :]


def sent(house: House, grant: xet_tokens.Grant, it: Made) -> None:
    arrival = xet_upload.Arrival(house, grant, hashes.text(it.hash))
    try:
        arrival.open()
        rest = arrival.put(it.body)
        while arrival.full:
            arrival.settle()
            rest = arrival.put(rest)
        arrival.keep()
    finally:
        arrival.drop()


def term(**changed: Any) -> Callable[[File], File]:
    return lambda file: replace(file, terms=(replace(file.terms[0], **changed),))


@contextmanager
def quota(cas: Cas, organisation: str, most: int) -> Iterator[None]:
    add = "INSERT INTO hub_namespaces (organisation, quota_bytes) VALUES (:o, :m)"
    cas.house.db.write(lambda tx: tx.run(add, o=organisation, m=most))
    try:
        yield
    finally:
        cas.house.db.write(lambda tx: tx.run("DELETE FROM hub_namespaces WHERE organisation = :o", o=organisation))
