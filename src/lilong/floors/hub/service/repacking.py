"""Xorbs of which little is still in use are written anew with that little; the old ones then go as garbage does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lilong.floors.hub.store import repacking, xet
from lilong.floors.hub.store.xet import Xorb
from lilong.floors.hub.xet import hashes
from lilong.floors.hub.xet.reader import BadXorbBytes, Term
from lilong.floors.hub.xet.xorbs import BadXorb, Scan, Table
from lilong.ground.db import Tx
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import xorb_store
from .xet_read import note_damage

_LIVE = 0.3  # of its stored bytes: below it a xorb is written anew
_MOST = 64  # xorbs in one run

Span = tuple[int, int]  # first chunk, chunk after the last


def repack(house: House, cutoff: str) -> int:
    """Those that nobody has touched since `cutoff`: clients still build upon the others. How many were written anew."""
    done = 0
    for hash, spans in house.db.read(lambda tx: _worth_it(tx, cutoff)):
        try:
            done += _repack(house, hash, spans)
        except BadXorbBytes as found:
            note_damage(house, found)
    return done


def _worth_it(tx: Tx, cutoff: str) -> list[tuple[str, list[Span]]]:
    sizes = repacking.untouched(tx, cutoff)
    used: dict[str, set[Span]] = {}
    for terms in repacking.all_terms(tx):
        for term in terms:
            if term.xorb in sizes:
                used.setdefault(term.xorb, set()).add((term.begin, term.end))
    found: list[tuple[str, list[Span]]] = []
    for hash, spans in sorted(used.items()):
        if len(found) == _MOST:
            break
        table, merged = xet.xorbs(tx, (hash,))[hash].chunks, _merged(spans)
        if sum(table.start(end) - table.start(begin) for begin, end in merged) < _LIVE * sizes[hash]:
            found.append((hash, merged))
    return found


def _merged(spans: set[Span]) -> list[Span]:
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _repack(house: House, old: str, spans: Sequence[Span]) -> bool:
    """Raises BadXorbBytes."""
    store = xorb_store.of(house)
    known = house.db.read(lambda tx: xet.xorb(tx, old))
    if known is None or not known.live or any(end > len(known.chunks) for _, end in spans):
        return False
    body = b"".join(store.read(old, known.chunks.start(begin), known.chunks.start(end)) for begin, end in spans)
    new, table = _checked(old, known.chunks, spans, body)
    if new == old:
        return False
    now = stamp(house.clock.now())
    fresh = Xorb(new, len(body), table.content_length(), table, "live", now)
    moved = dict(zip((at for begin, end in spans for at in range(begin, end)), range(len(table)), strict=True))
    with xorb_store.turn(house, new):
        there = house.db.read(lambda tx: xet.xorb(tx, new))
        kept = there is not None and there.live and store.has(new)
        if not kept:
            store.put(new, body)
        house.db.write(lambda tx: _record(tx, old, None if kept else fresh, new, moved, now))
    return True


def _checked(old: str, table: Table, spans: Sequence[Span], body: bytes) -> tuple[str, Table]:
    scan = Scan()
    try:
        found, packed = scan.finish(len(body) - scan.take(memoryview(body)))
    except BadXorb as problem:
        raise BadXorbBytes(xorb=old, problem=str(problem)) from problem
    if packed.hashes(0, len(packed)) != b"".join(table.hashes(begin, end) for begin, end in spans):
        raise BadXorbBytes(xorb=old, problem="the bytes of its chunks are not those that their hashes name")
    return hashes.text(found), packed


def _record(tx: Tx, old: str, fresh: Xorb | None, new: str, moved: dict[int, int], now: str) -> None:
    """All files at once that lie in what was moved; one that has come since with other chunks keeps the old xorb."""
    if fresh is not None:
        xet.put_xorb(tx, fresh)
    else:
        xet.touch(tx, (new,), now)
    repacking.copy_senders(tx, old, new)
    xet.add_chunks(tx, ((chunk, new, moved[at]) for chunk, at in repacking.chunks_of(tx, old) if at in moved))
    for file in repacking.files_with(tx, old):
        terms = tuple(_moved(file.terms, old, new, moved))
        if terms != file.terms:
            xet.put_file(tx, replace(file, terms=terms), now)


def _moved(terms: Sequence[Term], old: str, new: str, moved: dict[int, int]) -> Iterator[Term]:
    for term in terms:
        if term.xorb == old and all(at in moved for at in range(term.begin, term.end)):
            yield Term(new, moved[term.begin], moved[term.end - 1] + 1, term.length)
        else:
            yield term
