"""Xorbs in a folder: written beside, fsynced, renamed, and the folder fsynced, in that order."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lilong.floors.hub.service.xorb_store import Pieces, XorbMissing, hash_of
from lilong.ground.blobs import sync_folder, writing

_PIECE = 1 << 20  # bytes read at a time


class LocalXorbs:
    """Files `root/ab/abcd…`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._synced: set[Path] = set()  # folders whose own names are known to be on the disk

    def _path(self, hash: str) -> Path:
        return self.root / hash_of(hash)[:2] / hash

    def put(self, hash: str, pieces: Pieces) -> int:
        target = self._path(hash)
        handle, name = tempfile.mkstemp(dir=self._incoming)
        with writing(self.root):
            try:
                with os.fdopen(handle, "wb", buffering=0) as file:
                    size = 0
                    for piece in (pieces,) if isinstance(pieces, bytes) else pieces:
                        left = memoryview(piece)
                        size += left.nbytes
                        while left.nbytes:  # a raw write may be short
                            left = left[file.write(left) :]
                    os.fchmod(file.fileno(), 0o444)
                    os.fsync(file.fileno())
                self._settle(Path(name), target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        return size

    def adopt(self, hash: str, file: Path) -> int:
        target = self._path(hash)
        size = file.stat().st_size
        file.chmod(0o444)
        self._settle(file, target)
        return size

    def _settle(self, file: Path, target: Path) -> None:
        target.parent.mkdir(exist_ok=True)
        if target.parent not in self._synced:
            sync_folder(self.root)
            self._synced.add(target.parent)
        file.replace(target)
        sync_folder(target.parent)

    def read(self, hash: str, start: int, end: int) -> bytes:
        return b"".join(self.open_range(hash, start, end))

    def open_range(self, hash: str, start: int, end: int) -> Iterator[bytes]:
        try:
            handle = os.open(self._path(hash), os.O_RDONLY)
        except FileNotFoundError:
            raise XorbMissing(name=hash) from None
        return _pieces(handle, start, end)

    def path(self, hash: str) -> Path | None:
        return self._path(hash)

    def size(self, hash: str) -> int | None:
        try:
            return self._path(hash).stat().st_size
        except FileNotFoundError:
            return None

    def has(self, hash: str) -> bool:
        return self._path(hash).exists()

    def delete(self, hash: str) -> bool:
        path = self._path(hash)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        sync_folder(path.parent)
        return True

    def hashes(self) -> Iterator[str]:
        for folder in sorted(self.root.glob("??")):
            for file in sorted(folder.iterdir()):
                yield file.name

    def presign(self, hash: str, seconds: int, start: int, end: int) -> str | None:
        return None


def _pieces(handle: int, start: int, end: int) -> Iterator[bytes]:
    try:
        while start < end:
            piece = os.pread(handle, min(_PIECE, end - start), start)
            if not piece:
                return
            start += len(piece)
            yield piece
    finally:
        os.close(handle)
