"""Reading single things out of bytes: what the recognisers share. `at` is a place in `data`, the text is data[start:end]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from lilong.floors.corpus.curation.characters import BYTES, array, signed
from lilong.floors.corpus.curation.compiling import compiled

_int, _bool = types.int64, types.boolean
_U8, _U8M, _U64, _I64, _I64M = array(types.uint8), array(types.uint8, 2), array(types.uint64), array(types.int64), array(types.int64, 2)


@compiled(_int(BYTES, _int, _int, _int))
def byte_at(data: Any, at: int, start: int, end: int) -> int:
    """The byte at `at`, a blank beyond either end."""
    return signed(data[at]) if start <= at < end else 32


@compiled(_int(BYTES, _int, _int, _U8, _int))
def run_end(data: Any, at: int, end: int, flags: Any, wanted: int) -> int:
    """Where the run of bytes that have one of the wanted flags ends."""
    while at < end and flags[data[at]] & wanted:
        at += 1
    return at


@compiled(_int(BYTES, _int, _int))
def number(data: Any, at: int, end: int) -> int:
    value = 0
    for place in range(at, end):
        value = value * 10 + signed(data[place]) - 48
    return value


@compiled(_bool(BYTES, _int, _int, _U64))
def named(data: Any, at: int, end: int, names: Any) -> bool:
    """Is the name, small letters or capitals, one of the hashed ones?"""
    value = np.uint64(0xCBF29CE484222325)
    for place in range(at, end):
        byte = np.uint64(data[place])
        if 65 <= byte <= 90:
            byte += np.uint64(32)
        value = (value ^ byte) * np.uint64(0x100000001B3)
    slot = np.searchsorted(names, value)
    return bool(slot < len(names) and names[slot] == value)
