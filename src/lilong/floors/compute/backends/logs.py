"""Reading logs by offset, in pieces, without ever holding a whole one in memory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from lilong.floors.compute.contract import LogPart
from lilong.floors.compute.supervisor import files

_PIECE = 1 << 20


def part(path: Path, offset: int, limit: int) -> LogPart:
    """At most `limit` bytes from byte `offset` on; a negative one counts from the end. No character is cut in two."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if offset >= size:
            return LogPart(offset, offset, "")
        offset = file.seek(max(0, size + offset) if offset < 0 else offset)
        data = file.read(limit)
        whole = _whole_characters(data) if len(data) == limit else data
        return LogPart(offset, offset + len(whole), whole.decode("utf-8", errors="replace"))
    return LogPart(offset, offset, "")


def merge(folder: Path, ranks: Sequence[Path], *, done: bool) -> None:
    """Bring what the ranks have written since the last look into `folder/log`, whole lines at a time, each marked with its [rank].

    What was read once stays where it was: the order of lines is the order in which they were found. `merged.json` says how far each
    log was read, and how long the result was then; what lies beyond that, a crash left. `done`: no more comes, so the last line counts.
    """
    target = os.open(folder / "log", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(target, fcntl.LOCK_EX)
        state = files.read(folder / "merged.json") or {}
        size, at = int(state.get("size", 0)), [int(value) for value in state.get("at", [0] * len(ranks))]
        os.ftruncate(target, size)
        os.lseek(target, size, os.SEEK_SET)
        before = size
        for number, rank in enumerate(ranks):
            lines, read = _lines(rank / "log", at[number], done=done)
            if lines:
                size += os.write(target, b"".join(b"[%d] " % number + line for line in lines))
                at[number] += read
        if size != before:
            files.say(folder / "merged.json", {"size": size, "at": at}, durable=False)
    finally:
        os.close(target)


def _lines(path: Path, offset: int, *, done: bool) -> tuple[list[bytes], int]:
    """Whole lines of one piece of a log, and how many bytes of it they are."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(_PIECE)
    except FileNotFoundError:
        return [], 0
    cut = data.rfind(b"\n") + 1
    if (done and len(data) < _PIECE) or (cut == 0 and len(data) == _PIECE):
        cut = len(data)
    lines = data[:cut].splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    return lines, cut


def _whole_characters(data: bytes) -> bytes:
    """Without a UTF-8 character that is cut off at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return data[:-back] if length > back else data
    return data
