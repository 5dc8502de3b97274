"""Plain copies of Xet files that clients without Xet ask for again and again, so that they are put together once.

Copies are cache: `settings.house / "rebuilt"`, the one used longest ago goes first, nothing is lost with them.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from pathlib import Path

import structlog

from lilong.floors.hub.store.xet import XetFile
from lilong.ground.blobs import StorageFull, hexadecimal
from lilong.ground.errors import Corrupt, LilongError
from lilong.ground.house import House

from .direct import BLOCK, DirectFile, buffer
from .xet_read import contents, file_of

log = structlog.get_logger("lilong.hub")

_BUFFER = 4 << 20  # bytes written at a time
_WORTH = 2  # built when a half of it has been asked for: a reader of headers does not cost a copy
_SAFE = 120.0  # seconds after its last use for which a copy is left alone: nginx may not have opened it yet


class Rebuilt:
    """The copies of one house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._root = house.settings.house / "rebuilt"
        self._limit = house.settings.rebuilt_mib << 20
        self._door = threading.Lock()
        self._building: set[str] = set()
        self._asked: OrderedDict[str, int] = OrderedDict()  # digest -> bytes of it that were asked for while there was no copy
        self._copies: OrderedDict[str, tuple[int, float]] = OrderedDict()  # digest -> bytes, last use; the one used longest ago first
        self._work = threading.Lock()  # one is built at a time
        self.closed = False
        for left_over in (self._root / "incoming").glob("*"):
            left_over.unlink()
        for file in sorted(self._root.glob("??/*"), key=lambda file: file.stat().st_mtime):
            self._copies[f"sha256:{file.parent.name}{file.name}"] = (file.stat().st_size, -_SAFE)

    def _file(self, digest: str) -> Path:
        name = hexadecimal(digest)
        return self._root / name[:2] / name[2:]

    def path(self, digest: str) -> Path | None:
        """The copy, used now; None where there is none."""
        with self._door:
            found = self._copies.get(digest)
            if found is None:
                return None
            self._copies[digest] = (found[0], self._house.clock.monotonic())
            self._copies.move_to_end(digest)
        path = self._file(digest)
        if path.exists():
            return path
        with self._door:  # somebody has tidied up by hand
            self._copies.pop(digest, None)
        return None

    def digests(self) -> list[str]:
        with self._door:
            return list(self._copies)

    def file(self, digest: str) -> Path | None:
        """The copy, without using it."""
        with self._door:
            return self._file(digest) if digest in self._copies else None

    def drop(self, digest: str) -> bool:
        """Throw a copy away; whether there was one."""
        with self._door:
            self._file(digest).unlink(missing_ok=True)
            return self._copies.pop(digest, None) is not None

    def asked(self, file: XetFile, count: int) -> None:
        """So many bytes of a file are being put together for a client; its copy is begun when that becomes worth it."""
        if not 0 < file.size <= self._limit:
            return
        with self._door:
            total = self._asked.pop(file.digest, 0) + count
            self._asked[file.digest] = total
            if len(self._asked) > 1000:
                self._asked.popitem(last=False)
            if total * _WORTH < file.size or file.digest in self._building or file.digest in self._copies or self.closed:
                return
            self._building.add(file.digest)
        threading.Thread(target=self._build, args=(file,), name="hub rebuilding", daemon=True).start()

    def _build(self, file: XetFile) -> None:
        try:
            with self._work:
                self.build(file)
        except (LilongError, OSError) as problem:
            log.warning("no plain copy", digest=file.digest, error=str(problem))
        finally:
            with self._door:
                self._building.discard(file.digest)

    def build(self, file: XetFile) -> None:
        """Make the copy now. Raises Corrupt, StorageFull, StoreUnavailable."""
        self._make_room(file.size)
        copy = DirectFile(self._root / "incoming")
        try:
            found = self._written(file, copy)
            if found is None:
                return
            if found != file.digest:
                raise Corrupt(place=f"The Xet file {file.hash}", problem=f"its bytes are those of {found}, not of {file.digest}")
            copy.finish(file.size)
            target = self._file(file.digest)
            target.parent.mkdir(exist_ok=True)
            copy.path.replace(target)
            with self._door:
                self._copies[file.digest] = (file.size, self._house.clock.monotonic())
                self._asked.pop(file.digest, None)
        finally:
            copy.drop()

    def _written(self, file: XetFile, copy: DirectFile) -> str | None:
        """The digest of what was written; None when the house closes meanwhile."""
        hasher = hashlib.sha256()
        with buffer(_BUFFER) as memory, memoryview(memory) as whole:
            filled = 0
            for piece in contents(self._house, file).pieces(0, file.size):
                if self.closed:
                    return None
                hasher.update(piece)
                left = memoryview(piece)
                while left.nbytes:
                    count = min(left.nbytes, _BUFFER - filled)
                    whole[filled : filled + count] = left[:count]
                    filled, left = filled + count, left[count:]
                    if filled == _BUFFER:
                        copy.write(whole)
                        filled = 0
            if filled:
                copy.write(whole[: -(-filled // BLOCK) * BLOCK])
        return "sha256:" + hasher.hexdigest()

    def close(self) -> None:
        self.closed = True
        with self._work:  # the one being built has seen it
            return

    def tidy(self) -> None:
        """Copies of files that were collected go too."""
        with self._door:
            known = list(self._copies)
        for digest in known:
            if file_of(self._house, digest) is None:
                with self._door:
                    self._copies.pop(digest, None)
                    self._file(digest).unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        """Raises StorageFull where all that is there is in use."""
        now = self._house.clock.monotonic()
        with self._door:
            used = sum(bytes_ for bytes_, _ in self._copies.values())
            for digest, (bytes_, last) in list(self._copies.items()):
                if used + size <= self._limit:
                    return
                if now - last >= _SAFE:
                    self._file(digest).unlink(missing_ok=True)
                    del self._copies[digest]
                    used -= bytes_
            if used + size > self._limit:
                raise StorageFull(place=self._root)


def start(house: House) -> None:
    copies = Rebuilt(house)
    house.provide(Rebuilt, copies)
    house.closing.append(copies.close)


def of(house: House) -> Rebuilt:
    return house.port(Rebuilt)
