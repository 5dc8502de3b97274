"""Files written and read past the page cache, where the system can do that.

A page-cache write costs more processor time than hashing the same bytes, and what is written here is read again once, by whoever
works out its SHA-256, and then perhaps never.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import tempfile
from pathlib import Path

from lilong.ground.blobs import storage_full

BLOCK = 4096  # what offsets, lengths and addresses have to be multiples of
_AHEAD = 1 << 20  # bytes
_DIRECT = getattr(os, "O_DIRECT", 0)


def buffer(size: int) -> mmap.mmap:
    """Memory that begins where a page does."""
    return mmap.mmap(-1, -(-size // BLOCK) * BLOCK)


def _buffered(handle: int) -> bool:
    """Let a file go through the page cache from now on; whether it did not before. Some file systems refuse only when asked to read or write."""
    flags = fcntl.fcntl(handle, fcntl.F_GETFL)
    if not flags & _DIRECT:
        return False
    fcntl.fcntl(handle, fcntl.F_SETFL, flags & ~_DIRECT)
    return True


class DirectFile:
    """A new file in `folder`, written in order in whole blocks from memory that begins at one; gone unless it is finished."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        handle, name = tempfile.mkstemp(dir=folder)
        self.path = Path(name)
        self._written = 0
        if _DIRECT:
            with contextlib.suppress(OSError):  # a file system in memory knows no such thing
                direct = os.open(name, os.O_WRONLY | _DIRECT)
                os.close(handle)
                handle = direct
        self._handle = handle

    def write(self, data: memoryview) -> None:
        """Raises StorageFull."""
        while data.nbytes:
            try:
                count = os.pwrite(self._handle, data, self._written)
            except OSError as problem:
                if problem.errno == errno.EINVAL and _buffered(self._handle):
                    continue
                raise storage_full(problem, self._folder) or problem from None
            self._written += count
            data = data[count:]

    def finish(self, size: int) -> None:
        """Cut it to its size; durable in its place when this returns."""
        os.ftruncate(self._handle, size)
        os.fchmod(self._handle, 0o444)
        os.fsync(self._handle)
        os.close(self._handle)
        self._handle = -1

    def drop(self) -> None:
        """Close and remove it, unless somebody has moved it on."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self.path.unlink(missing_ok=True)


class DirectReader:
    """Reads ranges of one file into one buffer: what a call gives out holds until the next."""

    def __init__(self, path: Path, longest: int) -> None:
        """Raises FileNotFoundError."""
        self._longest = longest
        self._buffer = buffer(longest + 2 * BLOCK)
        self._view = memoryview(self._buffer)
        self._first, self._count = 0, 0  # what of the file is in the buffer
        try:
            self._handle = os.open(path, os.O_RDONLY | _DIRECT)
        except FileNotFoundError:
            raise
        except OSError:
            self._handle = os.open(path, os.O_RDONLY)

    def read(self, start: int, end: int) -> memoryview:
        """The bytes from `start` to before `end`; fewer where the file is shorter. A little more is read: what comes next is often asked next."""
        if not self._first <= start <= end <= self._first + self._count:
            self._fill(start, max(end, start + min(_AHEAD, self._longest)))
        stop = max(min(end - self._first, self._count), start - self._first)
        return self._view[start - self._first : stop]

    def _fill(self, start: int, end: int) -> None:
        self._first, self._count = start // BLOCK * BLOCK, 0
        wanted = -(-(end - self._first) // BLOCK) * BLOCK
        while self._count < wanted:
            try:
                more = os.preadv(self._handle, [self._view[self._count : wanted]], self._first + self._count)
            except OSError as problem:
                if problem.errno == errno.EINVAL and _buffered(self._handle):
                    continue
                raise
            self._count += more
            if more == 0 or self._count % BLOCK:
                return  # the end of the file

    def close(self) -> None:
        os.close(self._handle)
