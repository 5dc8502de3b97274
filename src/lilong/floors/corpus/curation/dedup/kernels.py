"""The loops of deduplication, compiled by numba. Arrays in, arrays out; what they mean is said where they are called."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from lilong.floors.corpus.curation.compiling import compiled

PLAIN, BLANK, DROPPED, MAPPED, DIGIT = 0, 1, 2, 3, 4
SYMBOL, SIGMA, MARK = 8, 16, 32
"""What simplification does with a code point (low three bits), and what else it means for its word or its document."""
KNOWN = 0x30000
"""Code points from here on are private, unassigned, or variation selectors."""
DONE, MISSING, REWRITE = 0, 1, 2
"""State of a simplified document: it is right; it has a piece that the table of pieces lacks; it must be rewritten first."""

_BYTES = numba.types.Array(numba.types.uint8, 1, "C", readonly=True)
_U8, _I32, _U64, _I64, _U16 = (
    numba.types.Array(kind, 1, "C") for kind in (numba.types.uint8, numba.types.int32, numba.types.uint64, numba.types.int64, numba.types.uint16)
)  # fmt: skip
_OFFSETS = numba.types.Array(numba.types.int64, 1, "C", readonly=True)
_KEYS = numba.types.Array(numba.types.uint64, 1, "C", readonly=True)
_U64M, _I64M = numba.types.Array(numba.types.uint64, 2, "C"), numba.types.Array(numba.types.int64, 2, "C")
_int, _word, _void = numba.types.int64, numba.types.uint64, numba.types.void
_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(prime)
    for prime in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
)  # fmt: skip
_MERSENNE = np.uint64((1 << 61) - 1)


@compiled()
def _read64(data: Any, at: int) -> Any:
    value = np.uint64(0)
    for byte in range(8):
        value |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
    return value


@compiled()
def _round(lane: Any, value: Any) -> Any:
    lane = lane + value * _P2
    return ((lane << np.uint64(31)) | (lane >> np.uint64(33))) * _P1


@compiled()
def xxh64(data: Any, at: int, end: int, seed: Any) -> Any:
    """XXH64 of data[at:end] (github.com/Cyan4973/xxHash, doc/xxhash_spec.md)."""
    size = np.uint64(end - at)
    if end - at >= 32:
        a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while at + 32 <= end:
            a, b = _round(a, _read64(data, at)), _round(b, _read64(data, at + 8))
            c, d = _round(c, _read64(data, at + 16)), _round(d, _read64(data, at + 24))
            at += 32
        h = (
            ((a << np.uint64(1)) | (a >> np.uint64(63))) + ((b << np.uint64(7)) | (b >> np.uint64(57)))
            + ((c << np.uint64(12)) | (c >> np.uint64(52))) + ((d << np.uint64(18)) | (d >> np.uint64(46)))
        )  # fmt: skip
        for lane in (a, b, c, d):
            h = (h ^ _round(np.uint64(0), lane)) * _P1 + _P4
    else:
        h = seed + _P5
    h += size
    while at + 8 <= end:
        h ^= _round(np.uint64(0), _read64(data, at))
        h = ((h << np.uint64(27)) | (h >> np.uint64(37))) * _P1 + _P4
        at += 8
    if at + 4 <= end:
        value = np.uint64(data[at]) | np.uint64(data[at + 1]) << np.uint64(8) | np.uint64(data[at + 2]) << np.uint64(16)
        h ^= (value | np.uint64(data[at + 3]) << np.uint64(24)) * _P1
        h = ((h << np.uint64(23)) | (h >> np.uint64(41))) * _P2 + _P3
        at += 4
    while at < end:
        h ^= np.uint64(data[at]) * _P5
        h = ((h << np.uint64(11)) | (h >> np.uint64(53))) * _P1
        at += 1
    h = (h ^ (h >> np.uint64(33))) * _P2
    h = (h ^ (h >> np.uint64(29))) * _P3
    return h ^ (h >> np.uint64(32))


@compiled()
def _find(data: Any, at: int, end: int, slots: Any, entries: Any, pool: Any) -> Any:
    """The entry of the table of pieces whose key is data[at:end], or -1. The table is at most half full, so the probe ends."""
    mask = len(slots) - 1
    size = end - at
    slot = np.int64(xxh64(data, at, end, np.uint64(0)) & np.uint64(mask))
    while slots[slot] != 0:
        entry = slots[slot] - 1
        if entries[entry, 1] == size:
            key, same = entries[entry, 0], 0
            while same < size and pool[key + same] == data[at + same]:
                same += 1
            if same == size:
                return np.int64(entry)
        slot = (slot + 1) & mask
    return -1


@compiled(_void(_int, _int, _I32, _I64M, _U8))
def enter(first: int, last: int, slots: Any, entries: Any, pool: Any) -> None:
    """Put entries[first:last] into the slots. Their keys differ from each other and from all that is there."""
    mask = len(slots) - 1
    for entry in range(first, last):
        start = entries[entry, 0]
        slot = np.int64(xxh64(pool, start, start + entries[entry, 1], np.uint64(0)) & np.uint64(mask))
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = entry + 1


@compiled()
def _parted(out: Any, piece: int, at: int, entry: int, entries: Any, pool: Any, starts: Any, found: int) -> tuple[int, int]:
    """Write the words of a table entry at out[at:]; the first of them began at `piece`. Where the next piece goes, and how many words there are."""
    starts[found] = piece
    found += 1
    for byte in pool[entries[entry, 2] : entries[entry, 2] + entries[entry, 3]]:
        out[at] = byte
        at += 1
        if byte == 32:
            starts[found] = at
            found += 1
    out[at] = 32
    return at + 1, found


@compiled()
def _code(data: Any, at: int) -> tuple[Any, int]:
    first = np.int64(data[at])
    if first < 0x80:
        return first, at + 1
    if first < 0xE0:
        return ((first & 0x1F) << 6) | (data[at + 1] & 0x3F), at + 2
    if first < 0xF0:
        return ((first & 0x0F) << 12) | ((data[at + 1] & 0x3F) << 6) | (data[at + 2] & 0x3F), at + 3
    return ((first & 0x07) << 18) | ((data[at + 1] & 0x3F) << 12) | ((data[at + 2] & 0x3F) << 6) | (data[at + 3] & 0x3F), at + 4


@compiled()
def _number(data: Any, at: int, end: int, kinds: Any) -> int:
    """Where the number ends whose first digit ends at `at`: digits, and one separator with digits behind it."""
    separated = False
    while at < end:
        code, after = _code(data, at)
        if code < KNOWN and kinds[code] & 7 == DIGIT:
            at = after
            continue
        if separated or after >= end or code not in (0x2E, 0x2C, 0x60C, 0x66B, 0x2396, 0x2397, 0x2398):
            return at
        code, after = _code(data, after)
        if code >= KNOWN or kinds[code] & 7 != DIGIT:
            return at
        separated = True
        at = after
    return at


@compiled()
def _gated(gate: Any, first: Any, second: Any, size: int) -> Any:
    """May a word of so many bytes that begins with these two be one of the exceptions?"""
    return 97 <= first <= 122 and 97 <= second <= 122 and gate[(first - 97) * 26 + second - 97] >> size & 1


@compiled(numba.types.UniTuple(_int, 2)(_BYTES, _OFFSETS, _I64, _U8, _I32, _BYTES, _U16, _I32, _I64M, _U8, _U8, _I64, _I64, _U8, _I64M))
def simplify(
    data: Any, offsets: Any, rows: Any, kinds: Any, targets: Any, maps: Any, gate: Any, slots: Any, entries: Any, pool: Any,
    out: Any, starts: Any, bounds: Any, state: Any, misses: Any,
) -> tuple[int, int]:  # fmt: skip
    """Words of documents offsets[rows] after simplification, each followed by a blank in `out`. How many words, and how many misses."""
    found, missed, o = 0, 0, 0
    for index in range(len(rows)):
        bounds[index] = found
        state[index] = DONE
        at, end = offsets[rows[index]], offsets[rows[index] + 1]
        piece, zero, symbol, rank = o, -1, False, False
        while at <= end:
            while at < end and 97 <= data[at] | 32 <= 122:  # letters of ASCII, most of most texts
                out[o] = data[at] | 32
                o, at = o + 1, at + 1
                rank = False
            kind, code = BLANK, np.int64(32)
            if at < end:
                code, at = _code(data, at)
                kind = kinds[code] if code < KNOWN else (DROPPED if 0xE0100 <= code <= 0xE01EF else PLAIN)
            else:
                at += 1
            what = kind & 7
            if what == MAPPED:
                target = np.int64(targets[code])
                for byte in range(target + 1, target + 1 + maps[target]):
                    out[o] = maps[byte]
                    o += 1
            elif what == PLAIN:
                for byte in range(at - (2 if code < 0x800 else 3 if code < 0x10000 else 4), at):
                    out[o] = data[byte]
                    o += 1
            elif what == DIGIT:
                at = _number(data, at, end, kinds)
                out[o] = 48
                o += 1
                zero = o
            elif what == BLANK and o > piece:
                entry = -1
                if symbol:
                    entry = _find(out, piece, o, slots, entries, pool)
                    if entry < 0:
                        state[index] = max(state[index], MISSING)
                        if missed < len(misses):
                            misses[missed, 0], misses[missed, 1] = piece, o
                            missed += 1
                elif zero > piece:
                    if zero < o <= zero + 12:
                        entry = _find(out, zero - 1, o, slots, entries, pool)
                elif o - piece < 16 and _gated(gate, out[piece], out[piece + 1], o - piece):
                    entry = _find(out, piece, o, slots, entries, pool)
                if entry >= 0:
                    o, found = _parted(out, piece, zero - 1 if zero > piece and not symbol else piece, entry, entries, pool, starts, found)
                else:
                    starts[found] = piece
                    found += 1
                    out[o] = 32
                    o += 1
                piece, zero, symbol = o, -1, False
            if kind >= SYMBOL:
                symbol = symbol or (kind & SYMBOL) != 0
                if kind & SIGMA or (kind & MARK and rank):
                    state[index] = REWRITE
            rank = (kind & MARK) != 0 or (rank and what == DROPPED)
    bounds[len(rows)] = found
    starts[found] = o
    return found, missed


@compiled(_void(_U8, _I64, _I64, _I64, _U8, _int, _U64, _U64, _U64M, _I64))
def minhash(
    data: Any, starts: Any, bounds: Any, rows: Any, state: Any, width: int, multipliers: Any, addends: Any, out: Any, shingles: Any
) -> None:
    """The least (h a + b mod 2^64) mod (2^61 - 1) over the shingles' XXH64 h, for each a and b, into out[rows]; and how many shingles.
    Rows without shingles, and those whose state is not DONE, stay as they are."""
    for index in range(len(rows)):
        if state[index] != DONE:
            continue
        row = out[rows[index]]
        shingles[rows[index]] = max(0, bounds[index + 1] - bounds[index] - width + 1)
        for word in range(bounds[index], bounds[index + 1] - width + 1):
            h = xxh64(data, starts[word], starts[word + width] - 1, np.uint64(0))
            for k in range(len(multipliers)):
                value = h * multipliers[k] + addends[k]
                value = (value & _MERSENNE) + (value >> np.uint64(61))
                row[k] = min(row[k], value, value - _MERSENNE)


@compiled(_void(_BYTES, _int, _U64M))
def band_keys(signatures: Any, size: int, out: Any) -> None:
    """XXH64 of each band of `size` bytes, seeded with the band's number; never 0."""
    at = 0
    for row in range(len(out)):
        for band in range(out.shape[1]):
            out[row, band] = max(xxh64(signatures, at, at + size, np.uint64(band)), np.uint64(1))
            at += size


@compiled()
def _join(parent: Any, a: int, b: int) -> None:
    while parent[a] != a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    while parent[b] != b:
        parent[b] = parent[parent[b]]
        b = parent[b]
    if a < b:
        parent[b] = a
    elif b < a:
        parent[a] = b


@compiled(_void(_KEYS, _I64, _I64))
def join_equal(keys: Any, order: Any, parent: Any) -> None:
    """Union-find (path halving; Tarjan and van Leeuwen 1984) over rows with equal keys other than 0; `order` sorts the keys.
    A root is the least row of its tree."""
    for at in range(1, len(order)):
        key = keys[order[at]]
        if key != 0 and key == keys[order[at - 1]]:
            _join(parent, order[at - 1], order[at])


@compiled(_void(_OFFSETS, _OFFSETS, _I64))
def join_pairs(left: Any, right: Any, parent: Any) -> None:
    for at in range(len(left)):
        _join(parent, left[at], right[at])


@compiled(_void(_I64))
def flatten(parent: Any) -> None:
    """Every row's parent is its root afterwards. One pass is enough, since no parent is greater than its child."""
    for row in range(len(parent)):
        parent[row] = parent[parent[row]]


@compiled(_int(_BYTES, _OFFSETS, numba.types.boolean, _U64, _I64M, _I64))
def part(data: Any, offsets: Any, paragraphs: bool, hashes: Any, spans: Any, bounds: Any) -> int:
    """Lines or paragraphs with a visible byte: XXH64 of each from its first visible byte to its last, and its span (first, last, next)."""
    found = 0
    for document in range(len(offsets) - 1):
        bounds[document] = found
        at, end = offsets[document], offsets[document + 1]
        while at < end:
            first, last = -1, at  # of the piece
            blank = True  # the line so far
            while at < end:
                byte = data[at]
                at += 1
                if byte > 32:
                    if first < 0:
                        first = at - 1
                    last, blank = at, False
                elif byte == 10:
                    if not paragraphs or (blank and first >= 0):
                        break
                    blank = True
            if first >= 0:
                hashes[found] = xxh64(data, first, last, np.uint64(0))
                spans[found, 0], spans[found, 1], spans[found, 2] = first, last, at
                found += 1
    bounds[len(offsets) - 1] = found
    return found


@compiled(_void(_BYTES, _OFFSETS, _I64M, _I64, _U8, _I64))
def cut(data: Any, offsets: Any, spans: Any, bounds: Any, out: Any, bounds_out: Any) -> None:
    """The texts without spans[bounds[i]:bounds[i + 1], (0, 2)] of document i, which are ascending."""
    o = 0
    for document in range(len(offsets) - 1):
        at = offsets[document]
        for span in range(bounds[document], bounds[document + 1] + 1):
            stop = spans[span, 0] if span < bounds[document + 1] else offsets[document + 1]
            while at < stop:
                out[o] = data[at]
                o, at = o + 1, at + 1
            if span < bounds[document + 1]:
                at = max(at, spans[span, 2])
        bounds_out[document + 1] = o


@compiled(_void(_I32, _I32, _OFFSETS, _int, _I32))
def repeated(suffixes: Any, shared: Any, starts: Any, least: int, first: Any) -> None:
    """first[i]: where the `least` bytes from i on occur first, for each i where that is earlier and they lie in one text; else it stays.
    shared[i] is what suffixes i and i + 1 have in common."""
    at = 0
    while at < len(suffixes):
        stop, low = at + 1, np.int64(suffixes[at])
        while stop < len(suffixes) and shared[stop - 1] >= least:
            low = min(low, np.int64(suffixes[stop]))
            stop += 1
        if stop > at + 1:
            document = np.searchsorted(starts, low, side="right")
            if low + least < starts[document]:  # the last byte of a text is its end mark; equal passages all have it at the same place
                for place in range(at, stop):
                    if suffixes[place] != low:
                        first[suffixes[place]] = low
        at = stop


@compiled(_int(_U8, _I32, _OFFSETS, _int, _I64M))
def passages(joined: Any, first: Any, starts: Any, least: int, out: Any) -> int:
    """Unions of [i, i + least) where first[i] >= 0, cut to whole characters: (document, start, end, document before, start there)."""
    found = 0
    for document in range(len(starts) - 1):
        base, stop = starts[document], starts[document + 1] - 1
        at = base
        while at < stop:
            if first[at] < 0:
                at += 1
                continue
            start, before, end = at, np.int64(first[at]), at + least
            while at < end and at < stop:
                if first[at] >= 0:
                    end = at + least
                at += 1
            at = end
            while start < end and joined[start] & 0xC0 == 0x80:
                start, before = start + 1, before + 1
            while end > start and end < stop and joined[end] & 0xC0 == 0x80:
                end -= 1
            if end > start:
                of = np.searchsorted(starts, before, side="right") - 1
                out[found, 0], out[found, 1], out[found, 2] = document, start - base, end - base
                out[found, 3], out[found, 4] = of, before - starts[of]
                found += 1
    return found


@compiled(_void(_U8, _I64, _I64, _int, _U64))
def shingle_hashes(data: Any, starts: Any, bounds: Any, width: int, out: Any) -> None:
    """XXH64 of each run of `width` words; one of `width` 0 is the whole document. out[bounds[i]:] holds document i's, or out[i] its whole."""
    for document in range(len(bounds) - 1):
        first, last = bounds[document], bounds[document + 1]
        if width == 0:
            out[document] = xxh64(data, starts[first], starts[last], np.uint64(0)) if last > first else np.uint64(0)
        for word in range(first, last - width + 1 if width else first):
            out[word] = xxh64(data, starts[word], starts[word + width] - 1, np.uint64(0))


@compiled(_void(_U64, _OFFSETS, _OFFSETS, _OFFSETS, _OFFSETS, numba.types.Array(numba.types.float64, 1, "C")))
def jaccard(hashes: Any, bounds: Any, ends: Any, left: Any, right: Any, out: Any) -> None:
    """The Jaccard index of the ascending sets hashes[bounds[i]:ends[i]] of each pair; 0 where both are empty."""
    for pair in range(len(left)):
        a, b = bounds[left[pair]], bounds[right[pair]]
        both, size = 0, ends[left[pair]] - a + ends[right[pair]] - b
        while a < ends[left[pair]] and b < ends[right[pair]]:
            one, other = hashes[a], hashes[b]
            both += one == other
            a += one <= other
            b += other <= one
        out[pair] = both / (size - both) if size else 0.0
