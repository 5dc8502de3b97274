"""Taking out what a sandboxed program left behind. Its folders are hostile ground: links, fifos, devices, endless files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from lilong.ground.errors import Refused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OutputRefused(Refused):
    """The job left '{path}' in its output folder: {problem}. {way_out}"""


@dataclass(frozen=True, slots=True)
class Caps:
    files: int = 100_000
    bytes: int = 1 << 40
    depth: int = 32


@dataclass(frozen=True, slots=True)
class Left:
    """A regular file found in an output folder."""

    path: PurePosixPath
    size: int


def collect(folder: Path, caps: Caps | None = None) -> list[Left]:
    """All regular files beneath `folder` by path, without following any link. Raises OutputRefused for anything else."""
    caps = caps or Caps()
    found: list[Left] = []
    total = 0
    top = os.open(folder, _FOLDER)
    try:
        for left in _walk(top, PurePosixPath(), caps.depth):
            found.append(left)
            total += left.size
            if len(found) > caps.files or total > caps.bytes:
                raise OutputRefused(
                    path=str(left.path),
                    problem=f"more than {caps.files} files or {caps.bytes} bytes in all",
                    way_out="Let the job write fewer or smaller files.",
                )
    finally:
        os.close(top)
    return sorted(found, key=lambda left: left.path.parts)


def _walk(folder: int, at: PurePosixPath, depth: int) -> Iterator[Left]:
    for name in sorted(os.listdir(folder)):
        path = at / name
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise _refused(ascii(str(path)), "a name that is not UTF-8") from None
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(facts.st_mode):
            if depth == 0:
                raise _refused(str(path), "folders nested too deeply")
            inner = os.open(name, _FOLDER, dir_fd=folder)
            try:
                yield from _walk(inner, path, depth - 1)
            finally:
                os.close(inner)
        elif not stat.S_ISREG(facts.st_mode):
            raise _refused(str(path), f"{_kind(facts.st_mode)}, and only regular files are collected")
        elif facts.st_nlink != 1:
            raise _refused(str(path), "a file with a second name (hard link)")
        else:
            yield Left(path, facts.st_size)


def _refused(path: str, problem: str) -> OutputRefused:
    return OutputRefused(path=path, problem=problem, way_out="Let the job write plain files and folders only.")


def _kind(mode: int) -> str:
    for test, word in (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a fifo"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISCHR, "a character device"),
    ):
        if test(mode):
            return word
    return "an unknown kind of file"


@contextmanager
def opened(folder: Path, path: PurePosixPath) -> Iterator[IO[bytes]]:
    """Open a collected file for reading, again without following a link at any step. Raises OutputRefused, OSError."""
    at = os.open(folder, _FOLDER)
    try:
        for part in path.parts[:-1]:
            inner = os.open(part, _FOLDER, dir_fd=at)
            os.close(at)
            at = inner
        number = os.open(path.name, _FILE, dir_fd=at)
    finally:
        os.close(at)
    with os.fdopen(number, "rb") as file:
        facts = os.fstat(number)
        if not stat.S_ISREG(facts.st_mode):
            raise _refused(str(path), f"{_kind(facts.st_mode)}, and only regular files are collected")
        yield file
