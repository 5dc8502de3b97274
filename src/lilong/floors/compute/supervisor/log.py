"""A program's output on the disk, within a cap: its beginning and its end.

The file `log` holds the first half of the cap. What follows goes into pieces of a quarter each, named by where in the output they
begin (`log.16777216`), of which the last two are kept. So a place in the output stays the same for all who read it, and a crash at
any point leaves pieces that are right by themselves.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def pieces(path: Path) -> list[tuple[int, int, Path]]:
    """(begins, ends, file) of what is there of the output that begins in the file `path`, in its order."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(path.parent):
            name, _, begins = entry.name.partition(f"{path.name}.") if entry.name != path.name else ("", "", "0")
            if not name and begins.isdecimal():
                with contextlib.suppress(FileNotFoundError):  # it was one too many
                    found.append((int(begins), int(begins) + entry.stat().st_size, path.parent / entry.name))
    return sorted(found)


class Log:
    """For one who writes. `end`: how many bytes there have been."""

    def __init__(self, path: Path, cap: int) -> None:
        self._path = path
        self._room = (max(cap // 2, 1), max(cap // 4, 1))  # of the first piece, of each later one
        self._open: dict[int, int] = {}  # where a piece begins -> its descriptor
        self.end = 0

    def resume(self, end: int) -> None:
        """Go on with what is there; what lies beyond `end` is forgotten."""
        for begins, ends, file in pieces(self._path):
            if begins and begins >= end:
                file.unlink()
            else:
                os.truncate(file, min(ends, end) - begins)
                self._open[begins] = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self.end = end

    def write(self, data: bytes) -> None:
        """Raises OSError, such as of a full disk; what was written until then counts."""
        left = memoryview(data)
        while left:
            begins = max(self._open, default=None)
            room = 0 if begins is None else begins + self._room[begins > 0] - self.end
            if begins is None or room <= 0:
                begins, room = self._next()
            written = os.write(self._open[begins], left[:room])
            self.end += written
            left = left[written:]

    def _next(self) -> tuple[int, int]:
        begins = self.end
        file = self._path.with_name(f"{self._path.name}.{begins}") if begins else self._path
        self._open[begins] = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        for old in sorted(self._open)[1:-2]:
            os.close(self._open.pop(old))
            self._path.with_name(f"{self._path.name}.{old}").unlink(missing_ok=True)
        return begins, self._room[begins > 0]

    def sync(self) -> None:
        for descriptor in self._open.values():
            os.fsync(descriptor)

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
