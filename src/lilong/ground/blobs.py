"""Content-addressed bytes. A blob's name is `sha256:<64 hex>` of its content; once `put` has answered, it survives a power cut."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from .errors import BadInput, Corrupt, NotFound, Unavailable

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str
    size: int  # bytes
    fresh: bool = field(default=True, compare=False)  # as an answer of `put`: these bytes were not here before


class StorageFull(Unavailable):
    """The disk that holds {place} is full. Nothing was kept of what was being written; free some space and try again."""

    status = 507  # clients try 503 again and again, and a disk is not emptied in seconds


def storage_full(problem: BaseException, place: Path) -> StorageFull | None:
    """The error that says so, where this one means that the disk is full."""
    return StorageFull(place=place) if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT) else None


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Raises StorageFull where the disk is."""
    try:
        yield
    except OSError as problem:
        if (full := storage_full(problem, place)) is not None:
            raise full from problem
        raise


class Source(Protocol):
    """Bytes that a floor keeps in a way of its own, known by the same digests."""

    def size(self, digest: str) -> int | None:
        """Bytes; None where this source does not have them."""

    def open(self, digest: str) -> BinaryIO | None:
        """A seekable reader; None where this source does not have them."""


class Blobs(Protocol):
    """A store of blobs: local files here; an object store can take its place."""

    def beyond(self, source: Source, *, first: bool = False) -> None:
        """Ask this source too for what is not here; sources are asked in the order in which they came. `first`: ask it also for what is here."""

    def put(self, chunks: bytes | Iterable[bytes]) -> Blob:
        """Keep these bytes. Idempotent; returns when they are durable."""

    def put_file(self, path: Path) -> Blob: ...

    def open(self, digest: str) -> BinaryIO:
        """A seekable reader. Raises NotFound."""

    def read(self, digest: str) -> bytes: ...

    def size(self, digest: str) -> int:
        """Bytes. Raises NotFound."""

    def has(self, digest: str) -> bool: ...

    def verify(self, digest: str) -> None:
        """Read all of it. Raises Corrupt if the bytes are not those that the digest names, NotFound if there are none."""

    def place(self, digest: str, target: Path, *, share: bool = False) -> None:
        """Lay the blob down as the file `target`; with `share`, the reader promises never to write to it (a hard link will do)."""

    def path(self, digest: str) -> Path | None:
        """The file with the bytes, where they are kept as a file of their own."""

    def drop(self, digest: str, as_of: float) -> bool:
        """Take the file away, if nobody has put the same bytes after `as_of` (seconds since 1970); whether it went.

        For a floor that put the blob as the first, and keeps the bytes in a way of its own now.
        """

    def check(self, digest: str, path: Path) -> None:
        """Read a file that shall hold these bytes. Raises Corrupt."""

    def condemn(self, digest: str) -> bool:
        """Put the file aside if its bytes are not those of its name, so that they may be put again; whether they were not."""

    def digests(self) -> Iterator[str]: ...

    def collect(self, live: Container[str]) -> int:
        """Drop every blob that is not in `live`; bytes freed."""


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of_file(path: Path) -> Blob:
    """Digest and size of a file, read once."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Blob("sha256:" + digest, file.tell())


def hexadecimal(digest: str) -> str:
    """The 64 hex digits of `sha256:…`. Raises BadInput for anything else: no user string ever becomes a path."""
    algorithm, _, name = digest.partition(":")
    if algorithm != "sha256" or len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise BadInput(
            field="digest", problem=f"{digest[:80]!r} is not sha256:<64 hex digits>", way_out="Give the digest as the house printed it."
        )
    return name


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that a rename inside it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a small file so that after a crash it holds the old bytes or the new ones, never a mixture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


class LocalBlobs:
    """Files under `root/ab/cdef…`: written beside, fsynced, renamed, and the folder fsynced, in that order."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._synced: set[Path] = set()  # folders whose own names are known to be on the disk
        self._beyond: list[Source] = []
        self._before: list[Source] = []
        self._door = threading.Lock()  # between looking whether a file is there and acting on it
        for left_over in self._incoming.iterdir():  # a crash came between write and rename: nobody was told of these
            left_over.unlink()

    def _path(self, digest: str) -> Path:
        name = hexadecimal(digest)
        return self.root / name[:2] / name[2:]

    def put(self, chunks: bytes | Iterable[bytes]) -> Blob:
        if isinstance(chunks, bytes):
            chunks = (chunks,)
        handle, name = tempfile.mkstemp(dir=self._incoming)
        try:
            hasher = hashlib.sha256()
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    hasher.update(chunk)
                    file.write(chunk)
                size = file.tell()
                file.flush()
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            digest = "sha256:" + hasher.hexdigest()
            fresh = self._settle(Path(name), digest)
        except OSError as problem:
            Path(name).unlink(missing_ok=True)
            if problem.errno in (28, 122):  # ENOSPC, EDQUOT
                raise StorageFull(place=self.root) from problem
            raise
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return Blob(digest, size, fresh)

    def put_file(self, path: Path) -> Blob:
        with path.open("rb") as file:
            return self.put(iter(lambda: file.read(_CHUNK), b""))

    def _settle(self, file: Path, digest: str) -> bool:
        target = self._path(digest)
        target.parent.mkdir(exist_ok=True)
        if target.parent not in self._synced:
            sync_folder(self.root)
            self._synced.add(target.parent)
        with self._door:
            fresh = not target.exists()
            if fresh:
                os.replace(file, target)
            else:
                os.utime(target)  # one more has put these bytes: see `drop`
                file.unlink()
        sync_folder(target.parent)  # also where it was there: another thread may have renamed it and not have come to this yet
        return fresh

    def beyond(self, source: Source, *, first: bool = False) -> None:
        (self._before if first else self._beyond).append(source)

    def open(self, digest: str) -> BinaryIO:
        for source in self._before:
            if (found := source.open(digest)) is not None:
                return found
        try:
            return self._path(digest).open("rb")
        except FileNotFoundError:
            for source in self._beyond:
                if (found := source.open(digest)) is not None:
                    return found
            raise NotFound(kind="blob", name=digest) from None

    def read(self, digest: str) -> bytes:
        with self.open(digest) as file:
            return file.read()

    def size(self, digest: str) -> int:
        for source in self._before:
            if (found := source.size(digest)) is not None:
                return found
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            for source in self._beyond:
                if (found := source.size(digest)) is not None:
                    return found
            raise NotFound(kind="blob", name=digest) from None

    def has(self, digest: str) -> bool:
        return self._path(digest).exists() or any(source.size(digest) is not None for source in self._beyond)

    def verify(self, digest: str) -> None:
        with self.open(digest) as file:
            _check(digest, file)

    def check(self, digest: str, path: Path) -> None:
        with path.open("rb") as file:
            _check(digest, file)

    def condemn(self, digest: str) -> bool:
        path = self._path(digest)
        try:
            self.check(digest, path)
        except FileNotFoundError:
            return False
        except Corrupt:
            aside = self.root / "damaged"
            aside.mkdir(exist_ok=True)
            with self._door:
                path.replace(aside / hexadecimal(digest))
            return True
        return False

    def place(self, digest: str, target: Path, *, share: bool = False) -> None:
        path = self._path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        if share and path.exists():
            try:
                os.link(path, target)
                return
            except OSError:
                pass  # another file system: copy instead
        with self.open(digest) as file, target.open("wb") as copy:
            shutil.copyfileobj(file, copy, _CHUNK)

    def path(self, digest: str) -> Path | None:
        path = self._path(digest)
        return path if path.exists() else None

    def drop(self, digest: str, as_of: float) -> bool:
        path = self._path(digest)
        with self._door:
            if not path.exists() or path.stat().st_mtime > as_of:
                return False
            path.unlink()
        return True

    def digests(self) -> Iterator[str]:
        for folder in sorted(self.root.iterdir()):
            if len(folder.name) == 2:
                for file in sorted(folder.iterdir()):
                    yield f"sha256:{folder.name}{file.name}"

    def collect(self, live: Container[str]) -> int:
        freed = 0
        for digest in list(self.digests()):
            if digest not in live:
                path = self._path(digest)
                freed += path.stat().st_size
                path.unlink()
        return freed


def _check(digest: str, file: BinaryIO) -> None:
    hasher = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        hasher.update(chunk)
    found = "sha256:" + hasher.hexdigest()
    if found != digest:
        raise Corrupt(place=f"blob {digest}", problem=f"its bytes are those of {found}")
