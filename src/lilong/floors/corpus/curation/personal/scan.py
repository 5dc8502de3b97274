"""The scanner: one pass over the bytes, which stops only at digits, @, + and a few rare bytes, and confirms on the spot.

It is compiled by numba and asks nothing of the processor, so there is one scanner and one answer on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from lilong.floors.corpus.curation.characters import BYTES, OFFSETS, array, signed
from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.personal.addresses import email, ipv4, ipv6
from lilong.floors.corpus.curation.personal.keys import private_key, secret
from lilong.floors.corpus.curation.personal.kinds import (
    BANK_CARD,
    DIGIT,
    EMAIL,
    HEX,
    IBAN,
    IP,
    PHONE,
    RESIDENT_ID,
    SECRET,
    UPPER,
    WORD,
)
from lilong.floors.corpus.curation.personal.numbers import bank_card, domestic, iban_end, international, joined, resident
from lilong.floors.corpus.curation.personal.reading import byte_at, run_end

_int, _bool = types.int64, types.boolean
_U8, _U8M, _U64, _I64, _I64M = array(types.uint8), array(types.uint8, 2), array(types.uint64), array(types.int64), array(types.int64, 2)
_TABLES = (_U8, _U8, _U8, _U64, _U8M, _I64M, _I64, _U8, _U8, _U8)


@compiled(types.UniTuple(_int, 3)(BYTES, _int, _int, _int, _U8, _I64, _U8, _U8, _I64))
def _digits(
    data: Any, at: int, start: int, end: int, flags: Any, iban: Any, mobile: Any, provinces: Any, digits: Any
) -> tuple[int, int, int]:
    """Kind, start and end of what begins with the run of digits at `at`; kind -1 and the end of the run where it is nothing."""
    close = run_end(data, at, end, flags, DIGIT)
    before, before_that = byte_at(data, at - 1, start, end), byte_at(data, at - 2, start, end)
    size = close - at
    if flags[before] & UPPER:
        if size >= 2 and flags[before_that] & UPPER and not flags[byte_at(data, at - 3, start, end)] & WORD:
            found = iban_end(data, at - 2, start, end, flags, iban)
            if found:
                return IBAN, at - 2, found
        return -1, at, close
    if flags[before] & WORD or (before == 46 and flags[before_that] & WORD):
        return -1, at, close
    following = byte_at(data, close, start, end)
    if size < 4 and following not in (32, 41, 45, 46) and not flags[following] & HEX and not (following == 0xEF and data[at] == 48):
        return -1, at, close
    if size <= 4 and data[at] in (50, 51) and byte_at(data, at + 4, start, end) == 58 and before != 58:
        found = ipv6(data, at, start, end, flags)
        if found:
            return IP, at, found
    if size <= 3 and following == 46 and before not in (45, 46):
        found = ipv4(data, at, start, end, flags)
        return (IP, at, found) if found else (-1, at, close)
    eighteen = (size == 18 or (size == 17 and following in (88, 120))) and not flags[byte_at(data, at + 18, start, end)] & WORD
    if eighteen and before != 46 and resident(data, at, provinces):
        return RESIDENT_ID, at, at + 18
    found = domestic(data, at, close, start, end, flags, mobile, digits)
    if found:
        return PHONE, at, found
    if data[at] >= 50 and data[at] <= 54 and (before == 38 or not joined(data, at, start, end, flags)):
        found = bank_card(data, at, start, end, flags, digits)
        if found:
            return BANK_CARD, at, found
    return -1, at, close


@compiled(_int(BYTES, OFFSETS, *_TABLES, _I64M))
def scan(
    data: Any, offsets: Any, flags: Any, triggers: Any, pairs: Any, reserved: Any, prefixes: Any, shapes: Any, iban: Any, calling: Any, mobile: Any,
    provinces: Any, out: Any,
) -> int:  # fmt: skip
    """Rows (document, start, end, kind) of `out` in order, without overlaps; how many there are, which may be more than `out` holds."""
    digits = np.zeros(24, np.int64)
    count = 0
    for document in range(len(offsets) - 1):
        start, end = offsets[document], offsets[document + 1]
        at, free = start, start
        while at < end:
            if at + 4 <= end and not (triggers[data[at]] | triggers[data[at + 1]] | triggers[data[at + 2]] | triggers[data[at + 3]]):
                at += 4
                continue
            what = triggers[data[at]]
            if what == 0:
                at += 1
                continue
            kind, first, last = -1, at, 0
            if what == 1:
                kind, first, last = _digits(data, at, start, end, flags, iban, mobile, provinces, digits)
                if kind < 0:
                    at = last
                    continue
            elif what == 2:
                first, last = email(data, at, free, end, flags, reserved)
                kind = EMAIL
            elif what == 3:
                before = byte_at(data, at - 1, start, end)
                if not flags[before] & WORD and before != 126 and flags[byte_at(data, at + 1, start, end)] & DIGIT:
                    last = international(data, at, start, end, flags, calling, mobile, digits)
                    kind = PHONE
            else:
                before = byte_at(data, at - 1, start, end)
                if data[at] == 45 and before != 45 and byte_at(data, at + 5, start, end) == 66:
                    last = private_key(data, at, start, end, flags)
                likely = signed(pairs[before << 8 | data[at]]) - 1
                if last == 0 and likely >= 0:
                    first, last = secret(data, at, free, end, likely, flags, prefixes, shapes)
                kind = SECRET
            if last <= free or first < free:
                at += 1
                continue
            if count < len(out):
                out[count, 0], out[count, 1], out[count, 2], out[count, 3] = document, first - start, last - start, kind
            count += 1
            at = free = last
    return count
