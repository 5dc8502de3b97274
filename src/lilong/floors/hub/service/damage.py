"""Plain files of large contents whose bytes are no longer those of their names: found, named, and handed out no more.

A damaged blob is put aside, so that the same bytes may come again; a damaged copy of a Xet file is thrown away.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from lilong.ground.errors import Conflict, Corrupt, NotFound
from lilong.ground.house import House

from . import rebuilding

log = structlog.get_logger("lilong.hub")

_STEP = 1 << 30  # bytes read in one step of the chore
_EVERY = 3600.0


class FileDamaged(Conflict):
    """The bytes of {digest} are not what was written there, so they are not handed out. Upload the file again, or restore the house."""


def start(house: House) -> None:
    house.chore("hub-blobs-read", _EVERY, Rounds().step)


def found(house: House, digest: str, path: Path) -> None:
    """What was read from this file had another digest. It is read once more; if that is so again, the file goes."""
    if house.blobs.path(digest) == path:
        if house.blobs.condemn(digest):
            log.error("damaged blob", digest=digest)
    elif rebuilding.of(house).drop(digest):
        log.error("damaged copy", digest=digest)


class Rounds:
    """Reads all plain files in turn, a GiB an hour, so that damage is known before somebody needs what is damaged. A restart begins anew."""

    def __init__(self) -> None:
        self._last = ""

    def step(self, house: House) -> None:
        read = 0
        for digest in sorted({*house.blobs.digests(), *rebuilding.of(house).digests()}):
            if digest <= self._last:
                continue
            read += check(house, digest)
            self._last = digest
            if read >= _STEP:
                return
        self._last = ""


def check(house: House, digest: str) -> int:
    """Read what plain files there are of a content; how many bytes."""
    size = 0
    for path in (house.blobs.path(digest), rebuilding.of(house).file(digest)):
        if path is None:
            continue
        try:
            size += path.stat().st_size
            house.blobs.check(digest, path)
        except Corrupt:
            found(house, digest, path)
        except (FileNotFoundError, NotFound):
            continue
    return size
