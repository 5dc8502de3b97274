"""Where xorbs lie: a folder of the house, or a bucket of an S3 server. See `backends/`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

from lilong.ground.errors import BadInput, NotFound, Unavailable
from lilong.ground.house import House

Pieces = bytes | Iterable[bytes | memoryview]


class XorbStore(Protocol):
    """Immutable bytes under the hash of their chunks. A hash says what the chunks hold, not how they were compressed.

    So the same hash may come again in other bytes, and the row in `hub_xorbs` belongs to the bytes that were put last before it was
    written. Whoever writes either holds `turn(house, hash)` from looking at the row until both are written; one process at a time holds
    a house, so a lock in this process is enough, and nothing is asked of S3 but to answer a PUT when it is kept.
    """

    def put(self, hash: str, pieces: Pieces) -> int:
        """Keep these bytes under this hash, in place of any before; how many they are. They are durable when this returns.

        When `pieces` raises, nothing is kept: a check may come last. Raises StorageFull, StoreUnavailable.
        """

    def adopt(self, hash: str, file: Path) -> int:
        """The same for a finished, fsynced file in `settings.house / "xorbs" / "incoming"`, which is moved or removed."""

    def read(self, hash: str, start: int, end: int) -> bytes:
        """The bytes from `start` up to, not including, `end`. Raises XorbMissing, StoreUnavailable."""

    def open_range(self, hash: str, start: int, end: int) -> Iterator[bytes]:
        """The same in pieces; the first comes before this returns, so that what is missing is known at once."""

    def path(self, hash: str) -> Path | None:
        """The file, where there is one on this machine."""

    def size(self, hash: str) -> int | None:
        """Bytes; None where there are none under this hash."""

    def has(self, hash: str) -> bool: ...

    def delete(self, hash: str) -> bool:
        """Whether there was something to delete."""

    def hashes(self) -> Iterator[str]:
        """Of all that is kept, known to the tables or not."""

    def presign(self, hash: str, seconds: int, start: int, end: int) -> str | None:
        """A URL by which anybody may get these bytes for so long, if the Range header of the request names just them.

        None where the server has to send them itself.
        """


class XorbMissing(NotFound):
    """The bytes of xorb {name} are not in the store."""


class StoreUnavailable(Unavailable):
    """The store of xorbs is not available: {problem}. Nothing was kept of what was being written; try again when it answers."""


def hash_of(word: str) -> str:
    """A hash as Xet writes it. Raises BadInput for anything else: no user string ever becomes a path."""
    if len(word) != 64 or not set(word) <= set("0123456789abcdef"):
        raise BadInput(field="hash", problem=f"{word[:80]!r} is not 64 hex digits", way_out="Give the hash as the house printed it.")
    return word


_stores: WeakKeyDictionary[object, XorbStore] = WeakKeyDictionary()
_turns: WeakValueDictionary[tuple[int, str], threading.Lock] = WeakValueDictionary()
_door = threading.Lock()


def of(house: House) -> XorbStore:
    """The store of this house, opened once, when the house is. Raises BadInput for settings that name none."""
    with _door:
        found = _stores.get(house.db)
        if found is None:
            found = _stores[house.db] = _opened(house)
        return found


def _opened(house: House) -> XorbStore:
    incoming = house.settings.house / "xorbs" / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    for left_over in incoming.iterdir():  # a crash came before it was in its place: nobody was told of these
        left_over.unlink()
    place = house.settings.xorbs
    if not place:
        from lilong.floors.hub.backends.local import LocalXorbs

        return LocalXorbs(house.settings.house / "xorbs")
    if place.startswith("s3://"):
        from lilong.floors.hub.backends.s3 import S3Xorbs

        return S3Xorbs.of(place, house.settings.xorbs_endpoint, house.settings.xorbs_region, house.settings.keys / "s3.json")
    raise BadInput(field="xorbs", problem=f"{place[:100]!r} is no place for xorbs", way_out="Leave it empty, or write s3://BUCKET/PREFIX.")


@contextlib.contextmanager
def turn(house: House, hash: str) -> Iterator[None]:
    """Nobody else puts, registers, moves or deletes this xorb meanwhile. Not to be held across two xorbs."""
    key = (id(house.db), hash)
    with _door:
        lock = _turns.get(key)
        if lock is None:
            lock = _turns[key] = threading.Lock()
    with lock:
        yield
