"""API keys and private-key blocks, recognised where the scanner stops. An answer of 0 is none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from lilong.floors.corpus.curation.characters import BYTES, array, signed
from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.personal.kinds import (
    BASE64,
    DIGIT,
    LETTER,
    WORD,
)
from lilong.floors.corpus.curation.personal.reading import byte_at, run_end

_int, _bool = types.int64, types.boolean
_U8, _U8M, _U64, _I64, _I64M = array(types.uint8), array(types.uint8, 2), array(types.uint64), array(types.int64), array(types.int64, 2)


@compiled(_int(BYTES, _int, _int, _int, _U8))
def private_key(data: Any, at: int, start: int, end: int, flags: Any) -> int:
    """A PEM block of a private key (RFC 7468) with at least 64 base64 characters in it; through its END line."""
    for place in range(11):
        if byte_at(data, at + place, start, end) != (45, 45, 45, 45, 45, 66, 69, 71, 73, 78, 32)[place]:
            return 0
    close = at + 11
    while close < min(end, at + 64) and data[close] != 45 and data[close] != 10:
        close += 1
    private = False
    for place in range(at + 11, close - 10):
        if data[place] == 80 and data[place + 1] == 82 and data[place + 2] == 73 and data[place + 7] == 32 and data[place + 8] == 75:
            private = True  # "PRI....  K"
    place, encoded = close + 5, 0
    while place < end and place - close < 20_000:
        if data[place] == 45 and byte_at(data, place + 1, start, end) == 45:  # one alone is of a header, such as Proc-Type
            break
        encoded += flags[data[place]] & BASE64 != 0
        place += 1
    if not private or encoded < 64 or byte_at(data, place, start, end) != 45 or byte_at(data, place + 5, start, end) != 69:
        return 0
    place += 5
    while place < end and data[place] != 45 and data[place] != 10:
        place += 1
    while place < end and data[place] == 45:
        place += 1
    return place


@compiled(types.UniTuple(_int, 2)(BYTES, _int, _int, _int, _int, _U8, _U8M, _I64M))
def secret(data: Any, at: int, start: int, end: int, likely: int, flags: Any, prefixes: Any, shapes: Any) -> tuple[int, int]:
    """Start and end of a key whose prefix has its rare byte at `at`, as those from row `likely` on may. Placeholders (few different bytes,
    EXAMPLE) are none."""
    for row in range(likely, len(shapes)):
        if shapes[row, 5] != shapes[likely, 5]:
            break
        size, first = shapes[row, 0], at - shapes[row, 1]
        if first < start or flags[byte_at(data, first - 1, start, end)] & WORD:
            continue
        same = first + size <= end
        for place in range(size):
            same = same and data[first + place] == prefixes[row, place]
        if not same:
            continue
        close = run_end(data, first + size, end, flags, shapes[row, 4])
        if close - first - size < shapes[row, 2] or close - first - size > shapes[row, 3] or flags[byte_at(data, close, start, end)] & WORD:
            continue
        low, high, different = np.uint64(0), np.uint64(0), 0
        longest, piece, numerals, letters = 0, 0, 0, 0
        for place in range(first + size, close):
            byte = signed(data[place])
            bit = np.uint64(1) << np.uint64(byte & 63)
            different += not ((high if byte & 64 else low) & bit)
            if byte & 64:
                high |= bit
            else:
                low |= bit
            if flags[byte] & (DIGIT | LETTER):
                piece += 1
                numerals += flags[byte] & DIGIT != 0
                letters += flags[byte] & LETTER != 0
                longest = max(longest, piece)
            else:
                piece = 0
        sample = data[close - 1] == 69 and data[close - 2] == 76 and data[close - 3] == 80 and data[close - 4] == 77
        if different < 8 or sample or longest < 16 or letters < 2:
            continue
        # sk- also starts names of style classes, which are words between hyphens.
        if size == 3 and data[first + 2] == 45 and (longest < 20 or numerals < 2):
            continue
        return first, close
    return 0, 0
