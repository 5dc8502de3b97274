"""The snapshot as a file: written whole or not at all, and read again only when it changed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from lilong.floors.serving.contract import Snapshot

_decoder = msgspec.json.Decoder(Snapshot)


def save(path: Path, snapshot: Snapshot) -> None:
    """Replace the file durably: the old one or the new one is there at any moment, and only the house's own user reads it."""
    fresh = path.with_name(path.name + ".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(snapshot))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path) -> Snapshot:
    """The snapshot in the file. Raises FileNotFoundError, or msgspec.DecodeError where the file holds something else."""
    return _decoder.decode(path.read_bytes())


class Watched:
    """A snapshot file that another process replaces; `poll` costs one stat where nothing changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None

    def poll(self) -> Snapshot | None:
        """The new snapshot, or None where the file is as it was, is absent or cannot be read (the last good one stays)."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return None
        mark = (now.st_ino, now.st_mtime_ns, now.st_size)
        if mark == self._seen:
            return None
        try:
            snapshot = load(self.path)
        except (OSError, msgspec.DecodeError):
            return None
        self._seen = mark
        return snapshot
