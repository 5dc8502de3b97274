"""A Xet client in this process, which remembers what it has sent as the real one does, and a clock that can be set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import commits, reading, xet_register, xet_upload
from lilong.floors.hub.service.commits import Ask, Put
from lilong.floors.hub.service.xet_tokens import Grant
from lilong.floors.hub.store import Commit
from lilong.floors.hub.xet import hashes, shards, xorbs
from lilong.floors.hub.xet.shards import File, Term
from lilong.ground.access import Actor
from lilong.ground.house import House

MEI = Actor("mei")
REMEMBERS = timedelta(days=21)  # for which hf_xet believes that the server still has what it once had


@dataclass
class Clock:
    at: datetime = field(default_factory=lambda: datetime(2026, 11, 22, tzinfo=UTC))
    ticks: float = 0.0

    def now(self) -> datetime:
        self.at += timedelta(microseconds=1)
        return self.at

    def monotonic(self) -> float:
        self.ticks += 0.001
        return self.ticks

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass
class Sender:
    """`memory`: chunk -> where it is, and when the server was last heard to have it."""

    house: House
    actor: Actor = MEI
    memory: dict[bytes, tuple[bytes, int, int, datetime]] = field(default_factory=dict)

    def grant(self, name: str, verb: str = "write") -> Grant:
        held = self.house.db.read(lambda tx: reading.opened(self.house, tx, self.actor, Kind.DATASET, name))
        return Grant(self.actor, "dataset", held.id, verb, int(self.house.clock.now().timestamp()) + 3600)  # type: ignore[arg-type]

    def send(self, name: str, blocks: Sequence[bytes]) -> tuple[str, str]:
        """Send a file made of these chunks; its digest and its Xet hash."""
        now = self.house.clock.now()
        known = {chunk for chunk in map(hashes.chunk, blocks) if chunk in self.memory and now - self.memory[chunk][3] < REMEMBERS}
        new = [block for block in dict.fromkeys(blocks) if hashes.chunk(block) not in known]
        if new:
            self.send_xorb(new)
        terms = []
        for block in blocks:
            xorb, at, length, _ = self.memory[hashes.chunk(block)]
            if terms and terms[-1][0] == xorb and terms[-1][2] == at:
                terms[-1] = (xorb, terms[-1][1], at + 1, terms[-1][3] + length)
            else:
                terms.append((xorb, at, at + 1, length))
        leaves = [(hashes.chunk(block), len(block)) for block in blocks]
        content = b"".join(blocks)
        position, made = 0, []
        for xorb, begin, end, length in terms:
            run = b"".join(hash for hash, _ in leaves[position : position + end - begin])
            made.append(Term(xorb, length, begin, end, hashes.verification(run)))
            position += end - begin
        file = File(hashes.file(leaves), tuple(made), digest_of(content))
        xet_register.register(self.house, self.grant(name), shards.registering([file]))
        for hash, _ in leaves:  # the shard was taken: the server has these
            xorb, at, length, _ = self.memory[hash]
            self.memory[hash] = (xorb, at, length, now)
        return digest_of(content), hashes.text(file.hash)

    def send_xorb(self, chunks: Sequence[bytes]) -> bytes:
        hash, body, table = xorbs.built(chunks)
        incoming = xet_upload.incoming(self.house)
        incoming.mkdir(parents=True, exist_ok=True)
        file = Path(incoming / f"sent-{hashes.text(hash)}")
        file.write_bytes(body)
        xet_upload.register(self.house, [self.actor], hashes.text(hash), table, lambda store: store.adopt(hashes.text(hash), file))
        file.unlink(missing_ok=True)
        now = self.house.clock.now()
        for at, (leaf, length) in enumerate(table.leaves()):
            self.memory[leaf] = (hash, at, length, now)
        return hash

    def commit(self, name: str, files: dict[str, tuple[str, int]], removed: Sequence[str] = (), branch: str = "main") -> Commit:
        """`files`: path -> digest and bytes."""
        puts = {path: Put(digest, size, large=True) for path, (digest, size) in files.items()}
        return commits.commit(self.house, self.actor, Kind.DATASET, name, branch, Ask(puts, "Change files", removed_files=removed))
