"""A house of all floors with repositories in every state, on a socket: what the tests of the pages look at."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from lilong.app import build, open_house_with_floors
from lilong.floors.hub import service
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import access_requests, discussions, pull_requests, settings
from lilong.floors.hub.service.commits import Ask, kept
from lilong.ground.access import Actor
from lilong.ground.config import load
from lilong.ground.house import House

from .conftest import LANTERN, answering, populate, tokens_of

TIDE, SECRET, GATED, TABLES = f"{LANTERN}/tide", f"{LANTERN}/secret", f"{LANTERN}/gated", f"{LANTERN}/tables"
ODD = "docs/a b #1 100%?é中.md"  # each of its characters means something in an address
CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags: [tides]
---
# Tide

See [the notes](docs/notes.md), [elsewhere](https://example.org/x) and <b onclick="alert(1)">raw</b>.

![curve](images/curve.png) ![far](https://example.org/pixel.png)

#### A heading two levels too deep

[run](javascript:alert(1)) <script>alert(1)</script>
"""


def png(width: int = 64, height: int = 32) -> bytes:
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in (x * 4 % 256, y * 8 % 256, 120)) for y in range(height))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def safetensors(names: list[str]) -> bytes:
    header = {name: {"dtype": "F32", "shape": [4, 8], "data_offsets": [i * 128, i * 128 + 128]} for i, name in enumerate(names)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(128 * len(names))


@dataclass
class Furnished:
    house: House
    url: str
    sessions: dict[str, str] = field(default_factory=dict)

    def client(self, user: str | None) -> httpx.Client:
        """A browser without scripts, signed in or not."""
        cookies = {"lilong_session": self.sessions[user]} if user else {}
        return httpx.Client(
            base_url=self.url, cookies=cookies, headers={"accept": "text/html", "sec-fetch-site": "same-origin"}, timeout=60
        )

    def commit(self, user: str, name: str, files: dict[str, bytes], message: str, kind: Kind = Kind.MODEL, branch: str = "main") -> str:
        puts = {path: kept(self.house, content) for path, content in files.items()}
        return service.commit(self.house, Actor(user), kind, name, branch, Ask(puts, message)).id


@contextmanager
def furnished(folder: Path) -> Iterator[Furnished]:
    house = open_house_with_floors(load(folder / "house", environment={}))

    house.db.write(lambda tx: populate(house, tx))
    sessions = tokens_of(house, "session")
    try:
        with answering(build(house)) as url:
            made = Furnished(house, url, sessions)
            furnish(made)
            yield made
    finally:
        house.close()


def furnish(at: Furnished) -> None:
    house, mei, tom = at.house, Actor("mei"), Actor("tom")
    service.create(house, mei, Kind.MODEL, TIDE, private=False)
    files = {
        "README.md": CARD.encode(), "config.json": b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}', "images/curve.png": png(),
        "model.safetensors": safetensors(["one.weight", "two.weight"]), "docs/notes.md": b"# Notes\n", "run.py": b"".join(b"print(%d)\n" % i for i in range(60)),
        ODD: b"odd\n",
    }  # fmt: skip
    at.commit("mei", TIDE, files, "Add the model\n\nTrained on two harbours.")
    service.add_tag(house, mei, Kind.MODEL, TIDE, "v1")
    service.add_branch(house, mei, Kind.MODEL, TIDE, "try/longer")
    at.commit("jun", TIDE, {"run.py": b"".join(b"print(%d)\n" % (i if i != 30 else -i) for i in range(60))}, "Turn one around")
    service.create(house, mei, Kind.MODEL, SECRET, private=True)
    at.commit("mei", SECRET, {"notes.txt": b"nobody else's\n"}, "Notes")
    service.create(house, mei, Kind.MODEL, GATED, private=False)
    card = b"---\nextra_gated_fields:\n  Company: text\n  I agree: checkbox\n---\n# Gated\n"
    at.commit("mei", GATED, {"README.md": card, "notes.txt": b"for those let in\n"}, "Notes")
    settings.change(house, mei, Kind.MODEL, GATED, gated="manual")
    service.create(house, mei, Kind.DATASET, TABLES, private=False)
    rows = b"harbour,metres\n" + b"".join(b"%s,%d.5\n" % ((b"North", b"South")[i % 2], i) for i in range(120))
    at.commit("mei", TABLES, {"data/train.csv": rows}, "Tables", Kind.DATASET)
    discussions.open_new(house, tom, Kind.MODEL, TIDE, "Does it know about storms?", "I would like to *know*. <script>alert(1)</script>")
    storms = Ask(
        {"docs/storms.md": kept(house, b"# Storms\n\nNo.\n"), "run.py": kept(house, b"print(1)\n")}, "Say more about storms\n\nPeople ask."
    )
    pull_requests.commit_new(house, tom, Kind.MODEL, TIDE, "main", storms)


def asked_for(at: Furnished, user: str) -> None:
    access_requests.ask(at.house, Actor(user), Kind.MODEL, GATED, {"Company": "Harbour Lab", "I agree": True})
