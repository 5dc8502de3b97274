"""Small compiled steps over UTF-8 that the measures share. Inputs are valid UTF-8; ranges are half-open byte positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lilong.floors.corpus.curation.compiling import compiled

BYTES, BOUNDS, LENGTHS, WORDS = (types.Array(kind, 1, "C", readonly=True) for kind in (types.uint8, types.int64, types.int32, types.uint64))
"""Arrays that a kernel only reads; a writable one is taken as well."""
OUT, COUNTS, TABLE = types.Array(types.uint8, 1, "C"), types.Array(types.int64, 2, "C"), types.Array(types.uint64, 1, "C")
INTS = types.Array(types.int64, 1, "C")
int_, word, bool_, void = types.int64, types.uint64, types.boolean, types.void
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Knuth's multiplicative hashing
_MIX = np.uint64(0xBF58476D1CE4E5B9)  # of splitmix64 (Steele, Lea and Flood 2014)


def _eight_bytes(_context: Any, array: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(view.data, [arguments[1]]), context.get_value_type(types.uint64).as_pointer())
        value = builder.load(pointer)
        value.align = 1
        return value

    return types.uint64(array, at), generate


def _run_of_bytes(_context: Any, target: Any, to: Any, source: Any, start: Any, size: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, data = (context.make_array(signature.args[at])(context, builder, arguments[at]).data for at in (0, 2))
        cgutils.raw_memcpy(builder, builder.gep(out, [arguments[1]]), builder.gep(data, [arguments[3]]), arguments[4], 1)
        return context.get_dummy_value()

    return types.void(target, to, source, start, size), generate


_load = intrinsic(_eight_bytes)
"""(array, position): eight bytes from any position as one number."""
_memcpy = intrinsic(_run_of_bytes)


@compiled(int_(BYTES, int_, int_, OUT, int_))
def copied(data: Any, at: int, end: int, out: Any, to: int) -> int:
    """Copies a run of bytes to another array; where it ends there."""
    _memcpy(out, to, data, at, end - at)
    return to + end - at


@compiled(word(BYTES, int_, int_))
def hash_of(data: Any, at: int, end: int) -> Any:
    """64-bit hash of a run of bytes, never 0: the empty slot of a table."""
    h = np.uint64(end - at) * _FACTOR
    if end - at >= 8:
        while at + 8 <= end:
            h = (h ^ _load(data, at)) * _MIX
            h ^= h >> np.uint64(29)
            at += 8
        rest = _load(data, end - 8)
    else:
        rest = np.uint64(0)
        while at < end:
            rest = (rest << np.uint64(8)) | np.uint64(data[at])
            at += 1
    h = (h ^ rest) * _MIX
    return h ^ (h >> np.uint64(29)) | np.uint64(1)


@compiled(bool_(word, TABLE, int_))
def seen(key: Any, table: Any, bits: int) -> bool:
    """Put `key` (not 0) into the set in the first 2^bits entries, which are at most half full. Was it there before?"""
    mask = (1 << bits) - 1
    slot = np.int64((key * _FACTOR) >> np.uint64(64 - bits))
    while table[slot] != 0:
        if table[slot] == key:
            return True
        slot = (slot + 1) & mask
    table[slot] = key
    return False


@compiled(int_(TABLE, int_))
def cleared(table: Any, entries: int) -> int:
    """Empties as much of the table as `entries` need at half load; the bits of that size."""
    bits = 4
    while (1 << bits) < 2 * entries:
        bits += 1
    table[: 1 << bits] = 0
    return bits


@compiled(int_(BYTES, int_, int_))
def characters(data: Any, at: int, end: int) -> int:
    """Code points: bytes that continue none."""
    found = 0
    for position in range(at, end):
        found += (data[position] & 0xC0) != 0x80
    return found


@compiled(int_(BYTES, int_, int_))
def space(data: Any, at: int, end: int) -> int:
    """Bytes of the blank (str.isspace) at `at`, or 0 if there is none."""
    if at >= end:
        return 0
    first = data[at]
    if first < 0x80:
        return int(first == 0x20 or 9 <= first <= 13 or 0x1C <= first <= 0x1F)
    if first == 0xC2:
        return 2 if at + 1 < end and (data[at + 1] == 0x85 or data[at + 1] == 0xA0) else 0
    if at + 2 >= end:
        return 0
    second, third = data[at + 1], data[at + 2]
    if first == 0xE2:
        if second == 0x80:
            return 3 if third <= 0x8A or third in (0xA8, 0xA9, 0xAF) else 0
        return 3 if second == 0x81 and third == 0x9F else 0
    if first == 0xE3:
        return 3 if second == 0x80 and third == 0x80 else 0
    return 3 if first == 0xE1 and second == 0x9A and third == 0x80 else 0


@compiled(int_(BYTES, int_, int_))
def after_spaces(data: Any, at: int, end: int) -> int:
    """Where the first character that is no blank starts; `end` if all are blank."""
    if at < end and 0x20 < data[at] < 0x80:
        return at
    size = space(data, at, end)
    while size > 0:
        at += size
        size = space(data, at, end)
    return at


@compiled(int_(BYTES, int_, int_))
def before_spaces(data: Any, start: int, end: int) -> int:
    """Where the last character that is no blank ends; `start` if all are blank."""
    if end > start and 0x20 < data[end - 1] < 0x80:
        return end
    while end > start:
        if data[end - 1] < 0x80:
            size = 1
        else:
            size = 2 if end - 2 >= start and data[end - 2] == 0xC2 else 3
        if end - size < start or space(data, end - size, end) != size:
            break
        end -= size
    return end


@compiled(types.UniTuple(int_, 2)(BYTES, int_, int_))
def decode(data: Any, at: int, end: int) -> tuple[int, int]:
    """The code point at `at` and where the next one starts."""
    first: Any = np.int64(data[at])
    if first < 0x80:
        return first, at + 1
    size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    code = first & (0x7F >> size)
    for step in range(1, min(size, end - at)):
        code = (code << 6) | np.int64(data[at + step] & 0x3F)
    return code, at + size
