"""What every reader gives, and how lines that cannot be used are told."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lilong.floors.compute.scheduler.jobs import Job
from lilong.floors.compute.scheduler.state import Node
from lilong.ground.errors import BadInput

NAMED = 20  # broken lines that are named; all are counted
MOST_PROCESSORS = 10_000_000  # that a job may have had: no machine has more, and sums over all jobs must stay within 64 bits
MOST_NODES = 100_000  # of a trace
LONGEST_RUN_S = 10 * 366 * 86_400
LATEST_S = 100 * 366 * 86_400  # a job may have come after the first


class UnreadableTrace(BadInput):
    """{file} is no {format} trace: {problem}. {way_out}"""


@dataclass(slots=True)
class Trace:
    """`broken`: lines that could not be read. `left_out`: lines that say nothing of a job that ran, by reason."""

    jobs: list[Job] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    tenants: list[str] = field(default_factory=list)
    pools: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    broken_count: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def break_at(self, file: Path, line: int, problem: str) -> None:
        self.broken_count += 1
        if len(self.broken) < NAMED:
            self.broken.append(f"{file.name}:{line}: {problem}")


def lines(file: Path, format: str) -> Iterator[tuple[int, str]]:
    """Line numbers and lines, unpacked if the file is gzip's."""
    try:
        with file.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(file, "rb") if packed else file.open("rb") as source:
            for number, line in enumerate(io.TextIOWrapper(source, "utf-8", "replace"), 1):
                yield number, line.rstrip("\r\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise UnreadableTrace(
            file=file, format=format, problem=f"it cannot be unpacked ({problem})", way_out="Fetch it again."
        ) from problem


def whole(word: str) -> int:
    """A number that is whole, however it is written (66.0 is); ValueError for anything else."""
    try:
        return int(word)
    except ValueError:
        value = float(word)
        if not math.isfinite(value):
            raise ValueError(f"{word!r} is no number") from None
        return round(value)


def within(word: str, what: str, most: int, least: int = 0) -> int:
    """A whole number in these bounds; ValueError names `what` it is."""
    value = whole(word)
    if not least <= value <= most:
        raise ValueError(f"{what} is {value:,}, and not from {least:,} to {most:,}")
    return value


def index_of(names: list[str], known: dict[str, int], name: str) -> int:
    if name not in known:
        known[name] = len(names)
        names.append(name)
    return known[name]
