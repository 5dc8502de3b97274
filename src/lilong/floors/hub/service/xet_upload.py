"""Xorbs on their way in: every chunk is hashed as it comes, written once past the page cache, and durable before its row."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from pathlib import Path

from lilong.floors.hub.store import xet
from lilong.floors.hub.store.xet import Xorb
from lilong.floors.hub.xet import hashes, xorbs
from lilong.floors.hub.xet.xorbs import BadXorb, Scan, Table
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden, TooLarge
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import direct, quotas, xorb_store
from .direct import DirectFile
from .xet_tokens import Grant
from .xorb_store import XorbStore

_WINDOW = 2 << 20  # bytes that are hashed and written at a time
_SLACK = 256 << 10  # room before them for the chunk that the last window broke off in
MOST = xorbs.LIMIT + (4 << 20)  # bytes of a body: the chunks, and an index that some clients send behind them


class NoXorb(BadInput):
    """What was sent is no xorb: {problem}. Nothing of it was kept."""

    status = 400


class OtherXorb(BadInput):
    """The xorb that was sent is {found}, not {wanted}. Nothing of it was kept."""

    status = 400


class NoXetHash(BadInput):
    """{word} is no Xet hash: those have 64 hex digits."""

    status = 400


class TooMuchUnused(Forbidden):
    """{actor} has sent {unused} bytes that no file uses; {organisation} may keep {quota}. Finish the uploads that were begun, or wait until what they left is collected."""


def hash_of(word: str) -> bytes:
    """Raises NoXetHash."""
    try:
        return hashes.raw(word)
    except ValueError:
        raise NoXetHash(word=repr(word[:80])) from None


def incoming(house: House) -> Path:
    """Where what is not whole yet is written; emptied when the house is opened."""
    return house.settings.house / "xorbs" / "incoming"


class Arrival:
    """One xorb that somebody sends. `put` takes bytes; when it says so, `settle` hashes and writes them; `keep` ends it well.

    `put` only copies and may run in an event loop; the others block. `drop` leaves nothing behind, however far it came.
    """

    def __init__(self, house: House, grant: Grant, word: str) -> None:
        """Raises NoXetHash."""
        hash_of(word)
        self._house, self._grant, self._hash = house, grant, word
        self._scan = Scan()
        self._buffer = direct.buffer(_SLACK + _WINDOW)
        self._view = memoryview(self._buffer)
        self._begin = _SLACK  # where bytes begin that no chunk was found in yet
        self._end = _SLACK
        self._taken = 0
        self._file: DirectFile | None = None
        self._known = False  # the same chunks are kept already: what comes is hashed, to prove that the sender has it, not written

    def open(self) -> None:
        """Raises TooMuchUnused, StorageFull."""
        house, actor = self._house, self._grant.actor
        now = stamp(house.clock.now())
        store = xorb_store.of(house)  # opened before there is a file: it sweeps out what an earlier process left
        seen = house.access.visible(actor, "hub.read", "r.organisation", "r.name")

        def known(tx: Tx) -> bool:
            _check_unused(house, tx, self._grant)
            found = xet.xorb(tx, self._hash)
            # What somebody else has sent is written like anything new: how long it takes tells nothing.
            return found is not None and found.live and bool(xet.usable(tx, actor, (self._hash,), seen))

        if house.db.read(known) and store.has(self._hash):
            # Touched first: what was touched is not collected while the rest comes.
            self._known = house.db.write(lambda tx: xet.touch(tx, (self._hash,), now)) == 1
        if not self._known:
            self._file = DirectFile(incoming(house))

    def put(self, data: bytes) -> bytes:
        """What did not fit: `settle`, then put that. Raises TooLarge."""
        self._taken += len(data)
        if self._taken > MOST:
            raise TooLarge(what="The xorb", size=f"more than {MOST}", limit=xorbs.LIMIT)
        room = _SLACK + _WINDOW - self._end
        now, rest = (data, b"") if len(data) <= room else (data[:room], data[room:])
        self._view[self._end : self._end + len(now)] = now
        self._end += len(now)
        self._taken -= len(rest)
        return rest

    @property
    def full(self) -> bool:
        return self._end == _SLACK + _WINDOW

    def settle(self) -> None:
        """Raises NoXorb, StorageFull."""
        try:
            self._begin += self._scan.take(self._view[self._begin : self._end])
        except BadXorb as problem:
            raise NoXorb(problem=str(problem)) from problem
        if self._file is not None and not (self._scan.footer and self._begin == _SLACK):
            # The last window is written in whole blocks too; what is too much is cut off in the end.
            stop = -(-self._end // direct.BLOCK) * direct.BLOCK
            self._file.write(self._view[_SLACK:stop])
        left = 0 if self._scan.footer else self._end - self._begin
        self._view[_SLACK - left : _SLACK] = bytes(self._view[self._end - left : self._end])
        self._begin, self._end = _SLACK - left, _SLACK

    def keep(self) -> None:
        """The body has ended: register what came, if it is what it was called. Raises NoXorb, OtherXorb, StorageFull."""
        self.settle()
        try:
            found, table = self._scan.finish(_SLACK - self._begin)
        except BadXorb as problem:
            raise NoXorb(problem=str(problem)) from problem
        if hashes.text(found) != self._hash:
            raise OtherXorb(found=hashes.text(found), wanted=self._hash)
        if self._file is None:
            self._house.db.write(lambda tx: xet.add_sender(tx, self._hash, self._grant.actor))
            return
        self._file.finish(self._scan.size)
        path = self._file.path
        register(self._house, [self._grant.actor], self._hash, table, lambda store: store.adopt(self._hash, path))

    def drop(self) -> None:
        if self._file is not None:
            self._file.drop()
        self._view.release()
        with contextlib.suppress(BufferError):
            self._buffer.close()


def _check_unused(house: House, tx: Tx, grant: Grant) -> None:
    """What was sent and is part of no file counts for nobody: a quota bounds it for each user. Raises TooMuchUnused."""
    organisation = xet.organisation_of(tx, grant.kind, grant.repository)
    if organisation is None or (limit := quotas.limit(house, tx, organisation)) is None:
        return
    unused = xet.unused_by(tx, grant.actor)
    if unused > limit:
        raise TooMuchUnused(actor=grant.actor.user, unused=unused, organisation=organisation, quota=limit)


def register(house: House, senders: Collection[Actor], hash: str, table: Table, put: Callable[[XorbStore], int]) -> None:
    """Take verified bytes over as this xorb, sent by these. Of two that come with the same hash, one stays, and `put` is not called for the other."""
    store = xorb_store.of(house)
    now = stamp(house.clock.now())
    fresh = Xorb(hash, table.start(len(table)), table.content_length(), table, "live", now)
    with xorb_store.turn(house, hash):
        known = house.db.read(lambda tx: xet.xorb(tx, hash))
        kept = known is not None and known.live and store.has(hash)
        if not kept:
            put(store)

        def write(tx: Tx) -> None:
            if kept:
                xet.touch(tx, (hash,), now)
            else:
                xet.put_xorb(tx, fresh)
                asked_for = ((hashes.text(chunk), hash, at) for at, (chunk, _) in enumerate(table.leaves()) if hashes.eligible(chunk))
                xet.add_chunks(tx, asked_for)
            for actor in senders:
                xet.add_sender(tx, hash, actor)

        house.db.write(write)
