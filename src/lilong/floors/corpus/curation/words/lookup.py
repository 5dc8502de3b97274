"""From bytes to tokens in one pass: parts chunks, looks each up in the memo, and splits and remembers those that are not in it.

The memo is two arrays of uint64. `slots` is an open-addressed table, 0 where empty: half of a chunk's hash, and where its entry lies.
`arena` holds the entries one after the other: a header (bytes of the chunk, number of tokens, whether special cases regrouped them), the
chunk's bytes in words of eight, and for each token a record of two words: its hash, and size | length << 28 | flags << 56. An entry found
by its hash counts only if its bytes are the chunk's.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.words import affixes, hashing
from lilong.floors.corpus.curation.words.affixes import CODES, RULES
from lilong.floors.corpus.curation.words.hashing import signed
from lilong.floors.corpus.curation.words.rules import BITS, LONGEST
from lilong.floors.corpus.curation.words.tokens import BLANK_BEFORE, CHUNK_START, LETTER, PUNCTUATION, SENTENCE_END, STOP, STOP_WORDS, WORDY

_types = numba.types
_DATA = _types.Array(_types.uint8, 1, "C", readonly=True)
_BOUNDS = _types.Array(_types.int64, 1, "C", readonly=True)
_I32, _I64, _U64, _U8 = (_types.Array(kind, 1, "C") for kind in (_types.int32, _types.int64, _types.uint64, _types.uint8))
_KNOWN = _types.Array(_types.uint64, 1, "C", readonly=True)
_I32S = _types.Array(_types.int32, 2, "C")
_int, _word, _bool = _types.int64, _types.uint64, _types.boolean

LONGEST_CHUNK = 48
"""Bytes of the longest chunk that is remembered. Longer ones are addresses, encoded data and logs, which seldom come again."""
_WORDS = LONGEST_CHUNK // 8

DOCUMENT, AT, FOUND, ENTRIES, USED, ROOM, REASON, NEEDED, MISSES, CHUNKS, STATE = range(11)
"""Places in the state of a run: the document and byte to go on from, tokens written, entries and words of the arena in use, entries that
may still be added, why the run stopped and what it needs, chunks not found in the memo, and chunks seen; STATE is the number of places."""
DONE, OUT_FULL, MEMO_FULL = range(3)

_ASCII_BLANKS = np.uint64(sum(1 << code for code in (9, 10, 11, 12, 13, 28, 29, 30, 31, 32)))
_SEED, _MULTIPLIER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_0, _1, _8, _16, _28, _32, _56, _63, _BYTE = (np.uint64(n) for n in (0, 1, 8, 16, 28, 32, 56, 63, 0xFF))
_SIZE, _LOW = np.uint64((1 << 28) - 1), np.uint64(0xFFFF_FFFF)
_STOPS = tuple(np.uint64(hashing.of(word)) for word in STOP_WORDS)
_ALL = np.uint32(0xFFFF_FFFF)
_LETTER, _WORDY, _PUNCTUATION, _SENTENCE_END = (np.uint32(BITS[name]) for name in ("letter", "wordy", "punctuation", "sentence_end"))


@compiled(_int(_DATA, _int, _int))
def _blank(data: Any, at: int, end: int) -> Any:
    """How many bytes the blank takes that starts here (str.isspace), or 0."""
    first = data[at]
    if first <= 32:
        return signed((_ASCII_BLANKS >> np.uint64(first)) & _1)
    if first < 0xC2 or first > 0xE3:
        return 0
    second = data[at + 1] if at + 1 < end else 0
    if first == 0xC2:
        return 2 if second in (0x85, 0xA0) else 0
    third = data[at + 2] if at + 2 < end else 0
    if first == 0xE1:
        return 3 if second == 0x9A and third == 0x80 else 0
    if first == 0xE2:
        if second == 0x80:
            return 3 if third <= 0x8A or third in (0xA8, 0xA9, 0xAF) else 0
        return 3 if second == 0x81 and third == 0x9F else 0
    if first == 0xE3:
        return 3 if second == 0x80 and third == 0x80 else 0
    return 0


@compiled(_int(_DATA, _int, _int))
def _blank_before(data: Any, at: int, begin: int) -> int:
    """How many bytes the blank takes that ends before `at`, or 0."""
    if at <= begin:
        return 0
    start = at - 1
    while start > begin and at - start < 4 and data[start] & 0xC0 == 0x80:
        start -= 1
    return at - start if _blank(data, start, at) == at - start else 0


@compiled(_int(_DATA, _int, _int, CODES, _int))
def _decoded(data: Any, at: int, end: int, codes: Any, count: int) -> int:
    """Code points of valid UTF-8, written to codes[count:]; answers the new count."""
    while at < end:
        first = data[at]
        if first < 0x80:
            codes[count] = first
            at += 1
        elif first < 0xE0 and at + 1 < end:
            codes[count] = ((first & 0x1F) << 6) | (data[at + 1] & 0x3F)
            at += 2
        elif first < 0xF0 and at + 2 < end:
            codes[count] = ((first & 0x0F) << 12) | ((data[at + 1] & 0x3F) << 6) | (data[at + 2] & 0x3F)
            at += 3
        elif at + 3 < end:
            code = ((first & 0x07) << 18) | ((data[at + 1] & 0x3F) << 12) | ((data[at + 2] & 0x3F) << 6) | (data[at + 3] & 0x3F)
            codes[count] = min(code, 0x10FFFF)
            at += 4
        else:
            codes[count] = 0xFFFD
            at = end
        count += 1
    return count


@compiled(_types.void(RULES, CODES, _int, _int, _U64, _int))
def _describe(rules: Any, codes: Any, low: int, high: int, records: Any, token: int) -> None:
    """Write the record of the token codes[low:high]."""
    some, every, size = np.uint32(0), _ALL, 0
    hashed = _0
    for at in range(low, high):
        code = codes[at]
        bits = rules[code]
        some |= bits
        every &= bits
        hashed = hashing.appended(hashed, np.uint64(code))
        size += 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)
    flags = (LETTER if some & _LETTER else 0) | (WORDY if some & _WORDY else 0) | (PUNCTUATION if every & _PUNCTUATION else 0)
    if high - low == 1 and some & _SENTENCE_END:
        flags |= SENTENCE_END
    if high - low <= 4:
        for stop in _STOPS:
            if stop == hashed:
                flags |= STOP
    records[2 * token] = hashed
    records[2 * token + 1] = np.uint64(size) | np.uint64(high - low) << _28 | np.uint64(flags) << _56


@compiled(_types.Tuple((_int, _bool))(_DATA, _int, _int, RULES, _I32S, _U64))
def _split(data: Any, at: int, end: int, rules: Any, scratch: Any, records: Any) -> tuple[int, bool]:
    """The records of one chunk by itself; answers their number, and whether special cases regrouped them."""
    codes, ends = scratch[0], scratch[1]
    length = _decoded(data, at, end, codes, 0)
    count = affixes.split(rules, codes, 0, length, ends, 0, scratch[2])
    changed = False
    if count > 1:
        regrouped, changed = affixes.regroup(rules, codes, scratch[5], ends, count, scratch[2], scratch[3])
        if changed:
            count, ends = regrouped, scratch[3]
    low = 0
    for token in range(count):
        _describe(rules, codes, low, ends[token], records, token)
        low = ends[token]
    return count, changed


@compiled(_int(_DATA, _int, _int, _int, _int, RULES, _I32S, _U64))
def _split_among(data: Any, begin: int, at: int, end: int, limit: int, rules: Any, scratch: Any, records: Any) -> int:
    """The records of a chunk in sight of the neighbours that one space joins to it: a special case that runs over a border keeps out
    those that it overlaps. Chunks further away than the longest special case are out of sight."""
    codes, ends, borders = scratch[0], scratch[1], scratch[4]
    first, beyond = at, 0
    while beyond < LONGEST and first - 1 > begin and data[first - 1] == 32 and not _blank_before(data, first - 1, begin):
        first -= 1
        while first > begin and _blank_before(data, first, begin) == 0:
            first -= 1
            beyond += data[first] & 0xC0 != 0x80
    count = length = low = high = 0
    place = first
    while place <= at or length - high < LONGEST:
        stop = place
        while stop < limit and _blank(data, stop, limit) == 0:
            stop += 1
        previous = length
        length = _decoded(data, place, stop, codes, length)
        for position in range(previous, length):
            borders[position] = 0
        borders[previous] = 1
        count = affixes.split(rules, codes, previous, length, ends, count, scratch[2])
        if place == at:
            low, high = previous, length
        if stop + 1 >= limit or data[stop] != 32 or _blank(data, stop + 1, limit):
            break
        place = stop + 1
    regrouped, changed = affixes.regroup(rules, codes, borders, ends, count, scratch[2], scratch[3])
    if changed:
        count, ends = regrouped, scratch[3]
    written = 0
    for token in range(count):
        if low < ends[token] <= high:
            _describe(rules, codes, low, ends[token], records, written)
            low = ends[token]
            written += 1
    return written


@compiled(_int(_KNOWN, _KNOWN, _word, _U64, _int))
def find(slots: Any, arena: Any, key: Any, words: Any, size: int) -> Any:
    """Where the chunk's entry lies in the arena, or -1 - slot, where it could be put. The table is never more than half full."""
    mask = len(slots) - 1
    slot = signed(key) & mask
    count = (size + 7) >> 3
    while slots[slot] != _0:
        held = slots[slot]
        if (held ^ key) >> _32 == _0:
            place = signed(held & _LOW)
            same = signed(arena[place] & _BYTE) == size
            for at in range(count):
                same &= arena[place + 1 + at] == words[at]
            if same:
                return place
        slot = (slot + 1) & mask
    return -1 - slot


@compiled(_word(_U64, _int))
def key_of(words: Any, size: int) -> Any:
    """A 64-bit hash of the chunk (multiply and xorshift, after SplitMix; a collision costs time only)."""
    key = _SEED ^ np.uint64(size)
    for at in range((size + 7) >> 3):
        key = (key ^ words[at]) * _MULTIPLIER
        key ^= key >> _32
    key *= _MULTIPLIER
    return key ^ (key >> _32)


@compiled(_types.void(_U64, _U64, _int, _word, _U64, _int, _bool, _U64, _int, _I64))
def _remember(
    slots: Any, arena: Any, slot: int, key: Any, words: Any, size: int, changed: bool, records: Any, count: int, state: Any
) -> None:
    place = state[USED]
    arena[place] = np.uint64(size) | np.uint64(count) << _8 | np.uint64(changed) << _16
    slots[slot] = (key >> _32) << _32 | np.uint64(place)
    place += 1
    for at in range((size + 7) >> 3):
        arena[place] = words[at]
        place += 1
    for at in range(2 * count):
        arena[place] = records[at]
        place += 1
    state[USED] = place
    state[ENTRIES] += 1
    state[ROOM] -= 1


@compiled(_types.void(_DATA, _BOUNDS, RULES, _U64, _U64, _I32S, _U64, _I64, _I32, _I32, _U64, _U8, _I64, _I64))
def run(
    data: Any, offsets: Any, rules: Any, slots: Any, arena: Any, scratch: Any, fresh: Any,
    start: Any, sizes: Any, lengths: Any, hashes: Any, flags: Any, bounds: Any, state: Any,
) -> None:  # fmt: skip
    """Go on with the texts from where `state` says, until all is done or something is full (state[REASON]).

    Token columns are written from row state[FOUND] on. `scratch` (6 rows, the last one zeros) and `fresh` need room for the longest text.
    """
    words = np.zeros(_WORDS + 1, np.uint64)
    room, row = len(start), state[FOUND]
    document, at = state[DOCUMENT], state[AT]
    state[REASON] = DONE
    while document < len(offsets) - 1:
        begin, limit = offsets[document], offsets[document + 1]
        before = at
        while at < limit:
            step = _blank(data, at, limit)
            if step == 0:
                break
            at += step
        if at >= limit:
            document += 1
            bounds[document] = row
            at = limit
            continue
        place_flags = CHUNK_START
        if at > before and (at - before > 1 or data[before] != 32 or before == begin):
            place_flags |= BLANK_BEFORE
        end, word, shift = at, _0, _0
        while end < limit:
            byte = data[end]
            if (byte <= 32 or 0xC2 <= byte <= 0xE3) and _blank(data, end, limit):
                break
            word |= np.uint64(byte) << shift
            end += 1
            shift = (shift + _8) & _63
            if shift == _0:
                if end - at <= LONGEST_CHUNK:
                    words[(end - at >> 3) - 1] = word
                word = _0
        size = end - at
        if room - row < size:
            state[REASON], state[NEEDED], at = OUT_FULL, row + size, before
            break
        place, key = -1, _0
        if size <= LONGEST_CHUNK:
            words[size >> 3] = word
            key = key_of(words, size)
            place = find(slots, arena, key, words, size)
        records, record = arena, 0
        if place >= 0:
            count, changed = signed((arena[place] >> _8) & _BYTE), (arena[place] >> _16) & _1 != _0
            record = place + 1 + ((size + 7) >> 3)
        else:
            learns = size <= LONGEST_CHUNK and state[ROOM] > 0
            if learns and (2 * (state[ENTRIES] + 1) > len(slots) or state[USED] + 4 * LONGEST_CHUNK > len(arena)):
                state[REASON], at = MEMO_FULL, before
                break
            count, changed = _split(data, at, end, rules, scratch, fresh)
            records = fresh
            state[MISSES] += 1
            if learns:
                _remember(slots, arena, -1 - place, key, words, size, changed, fresh, count, state)
        if changed and (
            (place_flags == CHUNK_START and at > begin) or (end + 1 < limit and data[end] == 32 and not _blank(data, end + 1, limit))
        ):
            count = _split_among(data, begin, at, end, limit, rules, scratch, fresh)
            records, record = fresh, 0
        state[CHUNKS] += 1
        for token in range(row, row + count):
            packed = records[record + 1]
            token_size = np.int32(packed & _SIZE)
            start[token], hashes[token], sizes[token] = at, records[record], token_size
            lengths[token], flags[token] = np.int32((packed >> _28) & _SIZE), np.uint8(packed >> _56)
            at += token_size
            record += 2
        flags[row] |= place_flags
        row += count
    state[DOCUMENT], state[AT], state[FOUND] = document, at, row
