"""E-mail and IP addresses, recognised where the scanner stops. An answer of 0 is none."""

from __future__ import annotations

from typing import Any

from numba import types

from lilong.floors.corpus.curation.characters import BYTES, array, signed
from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.personal.kinds import (
    DIGIT,
    HEX,
    LETTER,
    LOCAL,
    WORD,
)
from lilong.floors.corpus.curation.personal.reading import byte_at, named, number, run_end

_int, _bool = types.int64, types.boolean
_U8, _U8M, _U64, _I64, _I64M = array(types.uint8), array(types.uint8, 2), array(types.uint64), array(types.int64), array(types.int64, 2)


@compiled(types.UniTuple(_int, 2)(BYTES, _int, _int, _int, _U8, _U64))
def email(data: Any, at: int, start: int, end: int, flags: Any, reserved: Any) -> tuple[int, int]:
    """Start and end of the address around the @ at `at`: a dot-atom of at most 64 bytes and two or more host labels (RFC 5321)."""
    first = at
    while first > start and flags[data[first - 1]] & LOCAL and at - first <= 64:
        first -= 1
    while first < at and (data[first] == 46 or data[first] == 45 or data[first] == 43 or data[first] == 37):
        first += 1
    if first == at or at - first > 64 or data[at - 1] == 46:
        return 0, 0
    for place in range(first + 1, at):
        if data[place] == 46 and data[place - 1] == 46:
            return 0, 0
    user = first
    if byte_at(data, user - 1, start, end) == 58:
        user -= 1
        while user > start and flags[data[user - 1]] & LOCAL and first - user <= 64:
            user -= 1
    # //user@host and //user:password@host are addresses of servers, mailto:user@host is none; git@host: is one of a repository.
    if byte_at(data, user - 1, start, end) == 47 and byte_at(data, user - 2, start, end) == 47:
        return 0, 0
    if at - first == 3 and data[first] == 103 and data[first + 1] == 105 and data[first + 2] == 116:
        return 0, 0
    label, place, labels, previous = at + 1, at + 1, 0, at + 1
    last = 0
    while place <= end:
        byte = byte_at(data, place, start, end)
        if (flags[byte] & WORD and byte != 95) or byte == 45:
            place += 1
            continue
        if place == label or place - label > 63 or data[label] == 45 or data[place - 1] == 45:
            break
        labels += 1
        previous, last = label, place
        if byte != 46:
            break
        place += 1
        label = place
    if labels < 2 or last - at > 254 or byte_at(data, last, start, end) in (95, 64):
        return 0, 0
    if label == place and data[place - 1] == 46:
        label = previous  # the last dot ends a sentence
    size = last - previous
    if size < 2 or size > 24 or named(data, previous, last, reserved):
        return 0, 0
    for place in range(previous, last):
        if not flags[data[place]] & LETTER and not (size > 4 and data[previous] == 120 and data[previous + 1] == 110):
            return 0, 0
    if named(data, at + 1, last, reserved):
        return 0, 0
    for place in range(at + 1, last):
        if data[place] == 46 and named(data, place + 1, last, reserved):
            return 0, 0
    return first, last


@compiled(_int(BYTES, _int, _int, _int, _U8))
def ipv4(data: Any, at: int, start: int, end: int, flags: Any) -> int:
    """Four octets of a routed address. What reads like a version, a section or an object identifier is none: three octets below 32, or
    the first below 10 and the second below 32 (together 1.2 % of all addresses)."""
    place, small = at, 0
    octets = signed(0)
    for octet in range(4):
        close = run_end(data, place, min(end, place + 4), flags, DIGIT)
        size = close - place
        if size == 0 or size > 3 or (size > 1 and data[place] == 48):
            return 0
        value = number(data, place, close)
        if value > 255:
            return 0
        small += value < 32
        octets = octets << 8 | value
        place = close
        if octet < 3:
            if byte_at(data, place, start, end) != 46:
                return 0
            place += 1
    following = byte_at(data, place, start, end)
    if flags[following] & WORD or following == 45 or (following == 46 and flags[byte_at(data, place + 1, start, end)] & WORD):
        return 0
    a, b, c = octets >> 24, octets >> 16 & 255, octets >> 8 & 255
    if small > 2 or (a < 10 and b < 32) or (octets & 255) == 0:
        return 0  # a version, or a network rather than a host
    if a in (0, 10, 127) or a >= 224 or (a == 100 and 64 <= b < 128) or (a == 169 and b == 254) or (a == 172 and 16 <= b < 32):
        return 0
    if (a == 192 and (b == 168 or (b == 0 and (c in (0, 2))) or (b == 88 and c == 99))) or (
        a == 198 and (b in (18, 19) or (b == 51 and c == 100))
    ):
        return 0
    return 0 if a == 203 and b == 0 and c == 113 else place


@compiled(_int(BYTES, _int, _int, _int, _U8))
def ipv6(data: Any, at: int, start: int, end: int, flags: Any) -> int:
    """An address of 2000::/3 outside the documentation prefixes (RFC 3849, 9637) and the protocol assignments 2001::/23."""
    place, groups, gap, first, second = at, 0, False, 0, 0
    while groups < 8:
        value, size = 0, 0
        while place < end and flags[data[place]] & HEX and size < 5:
            byte = signed(data[place])
            value = value << 4 | (byte - 48 if byte < 58 else (byte | 32) - 87)
            place += 1
            size += 1
        if size > 4:
            return 0
        if size == 0:
            break
        groups += 1
        if groups == 1:
            first = value
        elif groups == 2 and not gap:
            second = value
        if byte_at(data, place, start, end) != 58:
            break
        if byte_at(data, place + 1, start, end) == 58:
            if gap:
                return 0
            gap = True
            place += 2
        elif groups == 8 or not flags[byte_at(data, place + 1, start, end)] & HEX:
            break
        else:
            place += 1
    following = byte_at(data, place, start, end)
    if flags[following] & WORD or (following == 58 and flags[byte_at(data, place + 1, start, end)] & WORD):
        return 0
    if (following == 46 and flags[byte_at(data, place + 1, start, end)] & WORD) or groups < 2 or gap == (groups == 8):
        return 0
    if (
        first < 0x2000
        or first >= 0x4000
        or (first == 0x2001 and (second == 0xDB8 or second < 0x200))
        or (first == 0x3FFF and second < 0x1000)
    ):
        return 0
    return place
