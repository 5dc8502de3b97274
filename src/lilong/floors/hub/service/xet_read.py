"""Xet files read back: for every floor by their SHA-256, for Xet clients as runs of bytes of xorbs under signed links."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import structlog

from lilong.floors.hub import store as hub_store
from lilong.floors.hub.service import keys, reading, xorb_store
from lilong.floors.hub.service.xet_tokens import Grant
from lilong.floors.hub.store import xet, xet_read
from lilong.floors.hub.store.xet import XetFile
from lilong.floors.hub.xet import reader
from lilong.floors.hub.xet.reader import BadXorbBytes, Contents, Reader
from lilong.floors.hub.xet.reconstruction import Piece, Reconstruction, reconstruction, touched
from lilong.floors.hub.xet.xorbs import Table
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Conflict, Corrupt, Forbidden, NotFound
from lilong.ground.house import House

log = structlog.get_logger("lilong.hub")

_LIVES = 3600  # seconds that a link to a xorb can be used; clients ask for new ones when it has ended
_SENDERS = ("", "nginx", "s3")
_TABLES = 256  # of xorbs that one open file remembers


class XetFileNotFound(NotFound):
    """There is no file {name} that you may read with this token."""


class XorbDamaged(Conflict):
    """Bytes of xorb {name} are not what was written there, so files that need it are not handed out. Upload the file again, or restore the house."""


class LinkToXorbNotUsable(Forbidden):
    """This link to a xorb has expired, was changed on its way, or is for other bytes. Ask for the file's reconstruction again."""


class RangeNotSatisfiable(BadInput):
    """The file has {size} bytes; the range begins behind them."""

    status = 416


def start(house: House) -> None:
    """Raises BadInput for settings that cannot be used."""
    if house.settings.accel not in _SENDERS:
        way_out = "Leave it empty, or write nginx or s3."
        raise BadInput(field="accel", problem=f"{house.settings.accel[:50]!r} is none of those who can send files", way_out=way_out)
    xorb_store.of(house)  # before anything comes in
    house.blobs.beyond(XetSource(house))


class XetSource:
    """Every floor reads Xet files as blobs."""

    def __init__(self, house: House) -> None:
        self._house = house

    def size(self, digest: str) -> int | None:
        return self._house.db.read(lambda tx: xet_read.size_of(tx, digest))

    def open(self, digest: str) -> BinaryIO | None:
        file = file_of(self._house, digest)
        return None if file is None else cast(BinaryIO, io.BufferedReader(Reader(contents(self._house, file)), 1 << 18))


def file_of(house: House, digest: str) -> XetFile | None:
    return house.db.read(lambda tx: xet_read.by_digest(tx, digest))


def contents(house: House, file: XetFile) -> Contents:
    """A file's content, each chunk checked as it is read. A xorb in which one is wrong is named, and marked as damaged."""
    store, known = xorb_store.of(house), dict[str, Table]()

    def table(xorb: str) -> Table:
        if xorb not in known:
            if len(known) >= _TABLES:
                known.clear()
            ahead = {xorb, *([term.xorb for term in file.terms] if len(file.terms) <= _TABLES else ())}
            known.update(house.db.read(lambda tx: xet_read.tables(tx, ahead)))
        if xorb not in known:
            raise Corrupt(place=f"file {file.digest}", problem=f"its xorb {xorb} is not known")
        return known[xorb]

    return Contents(file.terms, table, store.read, lambda found: note_damage(house, found))


def note_damage(house: House, found: BadXorbBytes) -> None:
    xorb = str(found.details["xorb"])
    log.error("damaged xorb", xorb=xorb, detail=str(found))
    house.db.write(lambda tx: xet_read.mark_damaged(tx, xorb))


# --- for Xet clients ----------------------------------------------------------------------------------------------------


def reconstruct(house: House, grant: Grant, hash: str, first: int, last: int | None) -> Reconstruction:
    """How to put together bytes `first` to before `last` (None: the end) of a file. Raises XetFileNotFound, RangeNotSatisfiable, XorbDamaged."""

    def read(tx: Tx) -> Reconstruction:
        file = xet_read.by_hash(tx, xorb_store.hash_of(hash))
        if file is None or not _may_read(house, tx, grant, file):
            raise XetFileNotFound(name=hash)
        end = file.size if last is None else min(last, file.size)
        if first >= end and (first or file.size):
            raise RangeNotSatisfiable(size=file.size)
        terms = touched(file.terms, first, end)
        xorbs = xet.xorbs(tx, {term.xorb for _, term in terms})
        for xorb in xorbs.values():
            if xorb.state == "damaged":  # clients need not look whether the bytes are right
                raise XorbDamaged(name=xorb.hash)
        try:
            return reconstruction(terms, {hash: xorb.chunks for hash, xorb in xorbs.items()}, first, end)
        except BadXorbBytes as problem:
            raise xorb_store.XorbMissing(name=problem.details["xorb"]) from problem

    return house.db.read(read)


def _may_read(house: House, tx: Tx, grant: Grant, file: XetFile) -> bool:
    """Of the repository or bucket that the token is for, if its bearer may still read there; or sent by themselves."""
    if grant.actor.user and xet_read.uploaded_by(tx, file, grant.actor.user):
        return True
    if grant.kind == "bucket":
        return xet_read.in_bucket(tx, file, grant.repository) and _in_bucket_still(house, tx, grant)
    held = hub_store.repository_by_id(tx, grant.repository) if xet_read.in_repository(tx, file, grant.repository) else None
    if held is None:
        return False
    return not reading.hidden(house, tx, grant.actor, held) and reading.may_read(house, tx, grant.actor, held)


def _in_bucket_still(house: House, tx: Tx, grant: Grant) -> bool:
    row = tx.row("SELECT organisation, name, private FROM hub_buckets WHERE id = :id", id=grant.repository)
    return row is not None and (not row["private"] or house.access.allowed(tx, grant.actor, "hub.read", row["organisation"], row["name"]))


def stored(house: House, hash: str, first: int, stop: int) -> Iterator[bytes | memoryview]:
    """Bytes of a xorb as they are stored, each chunk checked before any of it is given out. Raises XorbMissing, XorbDamaged."""
    known = house.db.read(lambda tx: xet.xorb(tx, hash))
    if known is None or known.state == "gone" or stop > known.size:
        raise xorb_store.XorbMissing(name=hash)
    if known.state == "damaged":
        raise XorbDamaged(name=hash)
    store = xorb_store.of(house)
    try:
        yield from reader.stored(hash, known.chunks, first, stop, lambda begin, end: store.open_range(hash, begin, end))
    except BadXorbBytes as found:
        note_damage(house, found)
        raise XorbDamaged(name=hash) from found


@dataclass(frozen=True, slots=True)
class XorbLink:
    """A capability in a URL: this user may get these bytes of this xorb until then. Needs no other sign-in."""

    xorb: str
    start: int  # first byte
    stop: int  # byte after the last
    user: str
    expires: int  # seconds since 1970

    def signature(self, house: House) -> str:
        return keys.signature(house, "xorb links", self.xorb, self.start, self.stop, self.user, self.expires)


def link(house: House, grant: Grant, piece: Piece) -> XorbLink:
    return XorbLink(piece.xorb, piece.start, piece.stop, grant.actor.user, int(house.clock.now().timestamp()) + _LIVES)


def check_link(house: House, link: XorbLink, signature: str, first: int, last: int) -> None:
    """Whether bytes `first` to before `last` may be had by it. Raises LinkToXorbNotUsable."""
    fresh = link.expires > house.clock.now().timestamp()
    if not (fresh and keys.equal(link.signature(house), signature) and link.start <= first < last <= link.stop):
        raise LinkToXorbNotUsable()
