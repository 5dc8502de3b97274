"""What a run has done so far, so that a power cut or `kill -9` at any moment loses at most the batches in flight."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lilong.ground.errors import Conflict

_TEMPORARY = ".part-"


class AlreadyRunning(Conflict):
    """Another process is curating into {folder}. Wait for it, or end it first."""


def write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Make or replace a file whole: written beside, synced, renamed, and the folder synced."""
    beside = path.with_name(f"{_beside()}-{path.name}")
    try:
        with beside.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """A JSON file for people and programs: keys in order, a line each."""
    content = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    write(path, lambda file: _fill(file, content))


def _fill(file: IO[bytes], content: bytes) -> None:
    file.write(content)


def write_named(folder: Path, fill: Callable[[IO[bytes]], object]) -> str:
    """Write a file that is called by the sha256 of its bytes; answers that name."""
    beside = folder / _beside()
    try:
        with beside.open("w+b") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            name = hashlib.file_digest(file, "sha256").hexdigest()
        os.replace(beside, folder / name)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    sync_folder(folder)
    return name


def _beside() -> str:
    """A name that no process of this machine, nor of another one that shares the folder, has taken."""
    return f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}"


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what an interrupted write left."""
    for file in folder.glob(f"{_TEMPORARY}*"):
        file.unlink(missing_ok=True)


@contextmanager
def folder_beside(out: Path) -> Iterator[Path]:
    """A folder for files that go into `out`, which is made: all of them at the end, or none where something went wrong."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=_TEMPORARY) as part:
        yield Path(part)
        for file in sorted(Path(part).iterdir(), key=lambda one: (one.suffix == ".json", one.name)):  # the report comes last
            file.replace(out / file.name)
    sync_folder(out)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one process at a time. Raises AlreadyRunning. The lock goes with the process, however it ends."""
    handle = os.open(folder, os.O_RDONLY)
    _locks.add(handle)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(folder=folder) from None
        yield
    finally:
        _locks.discard(handle)
        os.close(handle)


_locks: set[int] = set()


def _leave_locks() -> None:
    """In a copy of a process, which would hold its locks as long as it lives."""
    for handle in _locks:
        os.close(handle)
    _locks.clear()


os.register_at_fork(after_in_child=_leave_locks)


@dataclass(frozen=True, slots=True)
class Done:
    """A measured batch: its files by what they hold, and how much was in it."""

    key: str
    files: dict[str, str]
    documents: int
    problems: int


@dataclass(slots=True)
class Journal:
    """The batches that are done, a line of JSON each. A last line that was not finished does not count."""

    path: Path
    files: Path
    done: dict[str, Done] = field(default_factory=dict)
    _end: int = 0

    @classmethod
    def open(cls, folder: Path) -> Journal:
        """What is listed and still there, whole. Files that no line lists are left alone: they may be listed again."""
        journal = cls(folder / "journal.jsonl", folder / "batches")
        journal.files.mkdir(parents=True, exist_ok=True)
        sweep(journal.files)
        lines = journal.path.read_bytes().splitlines(keepends=True) if journal.path.exists() else []
        for line in lines:
            try:
                one = Done(**json.loads(line))
            except (ValueError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            journal._end += len(line)
            if all(intact(journal.files / name, name) for name in one.files.values()):
                journal.done[one.key] = one
        return journal

    def add(self, one: Done) -> None:
        line = json.dumps({"key": one.key, "files": one.files, "documents": one.documents, "problems": one.problems}) + "\n"
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._end += len(line)
        self.done[one.key] = one


def intact(path: Path, name: str) -> bool:
    """Whether a file that is called by its digest is there, whole."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == name


def digest(value: Any) -> str:
    """sha256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
