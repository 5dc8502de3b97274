"""The small files of a run folder: how they are claimed, said and read."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import IO, Any

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
_ROOM = 1024  # bytes of a claim, blanks included


def read(path: Path) -> dict[str, Any] | None:
    """None where there is none; {} where a crash has cut it short."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def claim(path: Path, value: dict[str, Any]) -> bool:
    """Make a file that was not there, and have it on the disk; False if somebody else was first, on whatever machine."""
    try:
        handle = os.open(path, _WRITE | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(handle, json.dumps(value).encode().ljust(_ROOM))
        os.fsync(handle)
    finally:
        os.close(handle)
    _sync(path.parent)
    return True


def amend(path: Path, value: dict[str, Any]) -> None:
    """Write over what was claimed, in one piece and in place: no second file, and no wait for the disk. After a power cut it may be {}."""
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, json.dumps(value).encode().ljust(_ROOM))
    finally:
        os.close(handle)


def say(path: Path, value: dict[str, Any], *, durable: bool = True, mode: int = 0o644) -> None:
    """Replace a file of which this process is the one writer: whoever reads sees the old one or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    handle = os.open(fresh, _WRITE | os.O_TRUNC, mode)
    try:
        os.write(handle, json.dumps(value).encode())
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)
    fresh.replace(path)
    if durable:
        _sync(path.parent)


def append(path: str, line: str) -> None:
    """One short line at the end of a file that many write: such a write is never mixed with another's on one machine's disk."""
    handle = os.open(path, _WRITE | os.O_APPEND, 0o600)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def nameless(content: bytes) -> IO[bytes]:
    """A file of memory that no path leads to, at its beginning; where there is no such thing, one on the disk that has lost its name."""
    file: IO[bytes] = os.fdopen(os.memfd_create("handed"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()  # noqa: SIM115
    file.write(content)
    file.seek(0)
    return file
