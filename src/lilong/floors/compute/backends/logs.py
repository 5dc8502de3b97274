"""Reading logs by offset, in pieces, without ever holding a whole one in memory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from lilong.floors.compute.contract import LogPart
from lilong.floors.compute.supervisor import files
from lilong.floors.compute.supervisor.log import Log, pieces

_PIECE = 1 << 20


def part(path: Path, offset: int, limit: int) -> LogPart:
    """At most `limit` bytes from byte `offset` of the output on; a negative one counts from the end. No character is cut in two.

    Where bytes are not there any more (see supervisor/log.py), a line in their place says how many.
    """
    if offset < 0:
        offset = max(0, max((ends for _, ends, _ in pieces(path)), default=0) + offset)
    data, following, full = _read(path, offset, limit)
    whole = _whole_characters(data) if full else data
    return LogPart(offset, following - len(data) + len(whole), whole.decode("utf-8", errors="replace"))


def _read(path: Path, offset: int, limit: int) -> tuple[bytes, int, bool]:
    """What is there from `offset` on, where the next begins, and whether there may be more."""
    found, at, room = [], offset, limit
    while room and (piece := next((one for one in pieces(path) if one[1] > at), None)) is not None:
        begins, _, file = piece
        try:
            with file.open("rb") as there:
                there.seek(max(at - begins, 0))
                data = there.read(room)
        except FileNotFoundError:  # it has just become one too many: the next one is there
            continue
        if begins > at:
            found.append(f"\n[{begins - at:,} bytes of the log are left out here]\n".encode())
            at = begins
        found.append(data)
        at += len(data)
        room -= len(data)
        if not data:
            break
    return b"".join(found), at, room == 0


def merge(folder: Path, ranks: Sequence[Path], cap: int, *, done: bool) -> None:
    """Bring what the ranks have written since the last look into `folder/log`, whole lines at a time, each marked with its [rank].

    What was read once stays where it was: the order of lines is the order in which they were found. `merged.json` says how far each
    log was read, and how long the result was then; what lies beyond that, a crash left. `cap`: bytes of the result that are kept.
    `done`: no more comes, so the last line counts, and all of it is brought.
    """
    target = os.open(folder / "log", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(target, fcntl.LOCK_EX)
        state = files.read(folder / "merged.json") or {}
        at = [int(value) for value in state.get("at", [0] * len(ranks))]
        merged = Log(folder / "log", cap)
        with contextlib.closing(merged):
            merged.resume(before := int(state.get("size", 0)))
            more = True
            while more:
                more = False
                for number, rank in enumerate(ranks):
                    lines, following, full = _lines(rank / "log", at[number], done=done)
                    merged.write(b"".join(b"[%d] " % number + line for line in lines))
                    more |= done and full
                    at[number] = following
            if merged.end != before:
                files.say(folder / "merged.json", {"size": merged.end, "at": at}, durable=False)
    finally:
        os.close(target)


def _lines(path: Path, offset: int, *, done: bool) -> tuple[list[bytes], int, bool]:
    """Whole lines of one piece of a log, where the next begins, and whether there may be more now."""
    data, following, full = _read(path, offset, _PIECE)
    cut = data.rfind(b"\n") + 1
    if (done and not full) or (cut == 0 and full):
        cut = len(data)
    lines = data[:cut].splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    return lines, following - len(data) + cut, full


def _whole_characters(data: bytes) -> bytes:
    """Without a UTF-8 character that is cut off at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return data[:-back] if length > back else data
    return data
