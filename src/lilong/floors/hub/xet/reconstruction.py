"""What a client has to fetch to put a file, or a range of it, together.

As in the Xet protocol specification, "Download protocol": runs of chunks in the file's order, and for each xorb the runs of stored
bytes that hold them, each fetched once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lilong.floors.hub.xet.reader import BadXorbBytes, Term
from lilong.floors.hub.xet.xorbs import Table


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive chunks of one xorb, and the bytes in which they are stored."""

    xorb: str
    begin: int
    end: int  # the chunk after the last
    start: int  # first byte
    stop: int  # byte after the last


@dataclass(frozen=True, slots=True)
class Reconstruction:
    skip: int  # bytes of the first run before what was asked for
    runs: tuple[Term, ...]  # in the file's order
    pieces: tuple[Piece, ...]  # all that is to be fetched, by xorb and place, without overlaps


def touched(terms: Sequence[Term], first: int, last: int) -> list[tuple[int, Term]]:
    """The terms that hold bytes `first` to before `last`, each with the place in the file where it begins."""
    found, start = list[tuple[int, Term]](), 0
    for term in terms:
        if start < last and start + term.length > first:
            found.append((start, term))
        start += term.length
    return found


def reconstruction(terms: Iterable[tuple[int, Term]], tables: Mapping[str, Table], first: int, last: int) -> Reconstruction:
    """For bytes `first` to before `last`; `terms` as `touched` found them. Raises BadXorbBytes."""
    skip, runs = 0, list[Term]()
    for start, term in terms:
        table = tables.get(term.xorb)
        if table is None or term.end > len(table):
            raise BadXorbBytes(xorb=term.xorb, problem=f"a file needs its chunk {term.end - 1}, which is not there")
        begin, end, position = term.begin, term.end, start
        leaves = table.leaves(term.begin, term.end)
        for _, length in leaves:  # chunks before the range
            if position + length > first:
                break
            position += length
            begin += 1
        if not runs:
            skip = first - position
        stop = position
        for at, (_, length) in enumerate(leaves[begin - term.begin :]):
            if stop >= last:
                end = begin + at
                break
            stop += length
        runs.append(Term(term.xorb, begin, end, stop - position))
    return Reconstruction(skip, tuple(runs), tuple(_pieces(runs, tables)))


def _pieces(runs: Iterable[Term], tables: Mapping[str, Table]) -> list[Piece]:
    spans: dict[str, list[tuple[int, int]]] = {}
    for run in runs:
        spans.setdefault(run.xorb, []).append((run.begin, run.end))
    found = list[Piece]()
    for xorb, all_spans in spans.items():
        merged = list[tuple[int, int]]()
        for begin, end in sorted(all_spans):
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        table = tables[xorb]
        found += [Piece(xorb, begin, end, table.start(begin), table.start(end)) for begin, end in merged]
    return found
