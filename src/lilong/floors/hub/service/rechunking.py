"""Plain blobs that LFS clients, git and imports have sent, put into xorbs in the background.

They are served from the first moment as they came. Once their bytes lie in xorbs, and were read back from there with the right
SHA-256, the plain file goes after a day; but only where the hub was the one who put it, and nobody has put the same bytes since: what
jobs and other floors keep stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from lilong.floors.hub.store import collecting, rechunking, xet
from lilong.floors.hub.store.xet import XetFile
from lilong.floors.hub.xet import chunker, hashes, xorbs
from lilong.floors.hub.xet.hashes import Leaf
from lilong.floors.hub.xet.reader import Term
from lilong.floors.hub.xet.xorbs import Scan
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Corrupt, LilongError
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

from . import xet_upload
from .xet_read import contents

log = structlog.get_logger("lilong.hub")

LEAST = 1 << 20  # bytes from which a file is worth it
_STAYS = timedelta(days=1)  # for which the plain file is kept beside the xorbs
_STEP_S = 20.0  # seconds after which a run of the chore begins no other file
_PIECE = 1 << 20
_SAMPLE = 4 << 10  # bytes at the beginning and in the middle of a chunk that are compressed on trial
_GAIN = 0.95
_NEIGHBOURS = 32  # xorbs of the uploader's in which chunks are looked for


def step(house: House) -> None:
    """The chore: some files into xorbs, and the plain files of earlier ones away."""
    began, after = house.clock.monotonic(), ""
    while house.clock.monotonic() - began < _STEP_S:
        found = house.db.read(lambda tx, after=after: rechunking.plain_and_large(tx, LEAST, after, 1))  # type: ignore[misc]
        if not found:
            break
        after = found[0][0]
        try:
            chunk(house, after)
        except LilongError as problem:
            log.warning("not chunked", digest=after, error=str(problem))
    before = stamp(house.clock.now() - _STAYS)
    for digest, at in house.db.read(lambda tx: rechunking.chunked_before(tx, before, 100)):
        house.blobs.drop(digest, parse_stamp(at).timestamp())
        house.db.write(lambda tx, digest=digest: collecting.forget_plain(tx, digest))  # type: ignore[misc]


def chunk(house: House, digest: str) -> bool:
    """Put one blob into xorbs; whether there was something to do. Raises Corrupt, StorageFull, StoreUnavailable."""
    path = house.blobs.path(digest)
    if path is None:
        house.db.write(lambda tx: collecting.forget_plain(tx, digest))
        return False
    with path.open("rb") as file:
        leaves = [(hashes.chunk(piece), len(piece)) for piece in chunker.chunks(iter(lambda: file.read(_PIECE), b""))]
    senders = house.db.read(lambda tx: rechunking.uploaders(tx, digest))
    known = house.db.read(lambda tx: _known(house, tx, senders, leaves))
    packing = _Packing(house, senders, known)
    with path.open("rb") as file:
        for leaf, piece in zip(leaves, chunker.chunks(iter(lambda: file.read(_PIECE), b"")), strict=True):
            packing.add(leaf, piece)
    packing.close()
    made = XetFile(hashes.text(hashes.file(leaves)), digest, sum(length for _, length in leaves), tuple(_terms(leaves, packing.places)))
    hasher = hashlib.sha256()
    for content in contents(house, made).pieces(0, made.size):
        hasher.update(content)
    if f"sha256:{hasher.hexdigest()}" != digest:
        raise Corrupt(place=f"blob {digest}", problem=f"its bytes in xorbs are those of sha256:{hasher.hexdigest()}")
    return house.db.write(lambda tx: _record(tx, made, stamp(house.clock.now())))


Places = dict[bytes, tuple[str, int]]  # hash of a chunk -> xorb, position


def _known(house: House, tx: Tx, senders: list[Actor], leaves: list[Leaf]) -> Places:
    """Chunks in xorbs that all who sent the file have sent, or may read: what others have is not theirs to build upon."""
    asked = {hash for at, (hash, _) in enumerate(leaves) if at == 0 or hashes.eligible(hash)}
    found = list(dict.fromkeys(xorb for hash in sorted(asked) for xorb in xet.with_chunk(tx, hashes.text(hash), 4)))[:_NEIGHBOURS]
    usable = set(found)
    for actor in senders:
        usable &= xet.usable(tx, actor, usable, house.access.visible(actor, "hub.read", "r.organisation", "r.name"))
    wanted, places = {hash for hash, _ in leaves}, Places()
    for hash, xorb in xet.xorbs(tx, usable if senders else ()).items():
        for at, (leaf, _) in enumerate(xorb.chunks.leaves()):
            if leaf in wanted and xorb.live:
                places.setdefault(leaf, (hash, at))
    return places


def _terms(leaves: list[Leaf], places: Places) -> Iterator[Term]:
    """Runs of chunks that lie one behind another."""
    run: Term | None = None
    for hash, length in leaves:
        xorb, at = places[hash]
        if run is not None and run.xorb == xorb and run.end == at:
            run = Term(xorb, run.begin, at + 1, run.length + length)
            continue
        if run is not None:
            yield run
        run = Term(xorb, at, at + 1, length)
    if run is not None:
        yield run


@dataclass(slots=True)
class _Packing:
    """Chunks that are in no xorb yet, packed into new ones."""

    house: House
    senders: list[Actor]
    places: Places
    _stored: list[bytes] = field(default_factory=list)
    _open: list[bytes] = field(default_factory=list)  # hashes of the chunks of the xorb that is being packed
    _size: int = 0

    def add(self, leaf: Leaf, content: bytes) -> None:
        if leaf[0] in self.places:
            return
        stored = self._encoded(content)
        if self._size + len(stored) > xorbs.LIMIT or len(self._open) == xorbs.MOST_CHUNKS:
            self.close()
        self.places[leaf[0]] = ("", len(self._open))  # the xorb has its name once it is closed
        self._open.append(leaf[0])
        self._stored.append(stored)
        self._size += len(stored)

    def _encoded(self, content: bytes) -> bytes:
        from lz4 import frame

        sample = content[:_SAMPLE] + content[len(content) // 2 :][:_SAMPLE]
        if len(frame.compress(sample)) < _GAIN * len(sample):
            packed: bytes = frame.compress(content)
            if len(packed) < _GAIN * len(content):
                return xorbs.header(xorbs.LZ4, len(packed), len(content)) + packed
        return xorbs.header(xorbs.PLAIN, len(content), len(content)) + content

    def close(self) -> None:
        """Keep the xorb that is being packed, with its row. Raises StorageFull, StoreUnavailable."""
        if not self._open:
            return
        body = b"".join(self._stored)
        scan = Scan()
        found, table = scan.finish(len(body) - scan.take(memoryview(body)))
        hash = hashes.text(found)
        xet_upload.register(self.house, self.senders, hash, table, lambda store: store.put(hash, body))
        for at, chunk in enumerate(self._open):
            self.places[chunk] = (hash, at)
        self._stored, self._open, self._size = [], [], 0


def _record(tx: Tx, file: XetFile, now: str) -> bool:
    """Whether all its xorbs were still there."""
    used = {term.xorb for term in file.terms}
    if xet.touch(tx, used, now) != len(used):
        return False
    xet.put_file(tx, file, now)
    first = file.terms[0]
    table = next(iter(xet.xorbs(tx, (first.xorb,)).values())).chunks
    xet.add_chunks(tx, [(hashes.text(table.hash(first.begin)), first.xorb, first.begin)])
    return True
