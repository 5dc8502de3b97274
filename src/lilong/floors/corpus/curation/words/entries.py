"""Kernels over the entries of a memo's arena (see `lookup.py`): to list, order and unite them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.words.hashing import signed
from lilong.floors.corpus.curation.words.lookup import LONGEST_CHUNK, find, key_of

_types = numba.types
_WORDS_IN = _types.Array(_types.uint64, 1, "C", readonly=True)
_I64, _U64, _U8 = (_types.Array(kind, 1, "C") for kind in (_types.int64, _types.uint64, _types.uint8))
_int = _types.int64
_0, _8, _32, _BYTE = (np.uint64(n) for n in (0, 8, 32, 0xFF))


@compiled(_int(_types.uint64))
def _extent(header: Any) -> Any:
    """Words that an entry takes."""
    return 1 + ((signed(header & _BYTE) + 7) >> 3) + 2 * signed((header >> _8) & _BYTE)


@compiled(_int(_WORDS_IN, _int, _I64, _I64))
def places(arena: Any, used: int, found: Any, offsets: Any) -> int:
    """Where the entries of arena[1:used] lie, and the bounds of their chunks when written one after the other. Answers their number,
    or -1 where the arena does not part into entries."""
    place, count = 1, 0
    while place < used:
        if count == len(found) or arena[place] & _BYTE == _0 or (arena[place] >> _8) & _BYTE == _0:
            return -1
        found[count] = place
        offsets[count + 1] = offsets[count] + signed(arena[place] & _BYTE)
        place += _extent(arena[place])
        count += 1
    return count if place == used else -1


@compiled(_types.void(_WORDS_IN, _I64, _I64, _U8))
def chunks(arena: Any, found: Any, offsets: Any, data: Any) -> None:
    """The bytes of the chunks, written to data[offsets[i]:offsets[i + 1]]."""
    for entry in range(len(found)):
        first = offsets[entry]
        for at in range(offsets[entry + 1] - first):
            data[first + at] = (arena[found[entry] + 1 + (at >> 3)] >> np.uint64(8 * (at & 7))) & _BYTE


@compiled(_int(_WORDS_IN, _I64, _U64, _int))
def copied(arena: Any, found: Any, out: Any, used: int) -> int:
    """Copy the entries to out[used:] in the order given; answers how far it then reaches, and `found` then says where they lie there."""
    for entry in range(len(found)):
        place, extent = found[entry], _extent(arena[found[entry]])
        for at in range(extent):
            out[used + at] = arena[place + at]
        found[entry] = used
        used += extent
    return used


@compiled(_types.void(_U64, _WORDS_IN, _I64))
def index(slots: Any, arena: Any, found: Any) -> None:
    """Put the entries, which are not in the table, into it."""
    words = np.zeros(LONGEST_CHUNK // 8 + 1, np.uint64)
    for place in found:
        size = signed(arena[place] & _BYTE)
        for at in range((size + 7) >> 3):
            words[at] = arena[place + 1 + at]
        key = key_of(words, size)
        slot = signed(key) & (len(slots) - 1)
        while slots[slot] != _0:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = (key >> _32) << _32 | np.uint64(place)


@compiled(_int(_WORDS_IN, _WORDS_IN, _WORDS_IN, _I64))
def unknown(slots: Any, arena: Any, other: Any, found: Any) -> int:
    """Move the places of those entries of another arena that this memo does not hold to the front; answers their number."""
    words = np.zeros(LONGEST_CHUNK // 8 + 1, np.uint64)
    count = 0
    for place in found:
        size = signed(other[place] & _BYTE)
        for at in range((size + 7) >> 3):
            words[at] = other[place + 1 + at]
        if find(slots, arena, key_of(words, size), words, size) < 0:
            found[count] = place
            count += 1
    return count
