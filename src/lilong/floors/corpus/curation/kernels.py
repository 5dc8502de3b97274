"""The loops over bytes, compiled by numba. Arrays in, arrays out; nothing here knows what a column means.

Tokens are this project's own: a run of letters, marks and digits is one token, and so is each single Han or kana character; blanks and punctuation part tokens. ASCII letters count as their small ones. Explicit signatures and
`cache=True` keep the compile time to once per NUMBA_CACHE_DIR.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation.profile import NGRAMS_DUP, NGRAMS_TOP

LETTER, DIGIT, PUNCTUATION, SYMBOL, BLANK, HAN, KANA, UPPER = 1, 2, 4, 8, 16, 32, 64, 128
CONTROL = SYMBOL | BLANK
COUNTS = (
    "characters", "letters", "digits", "punctuation", "symbols", "blanks", "han", "kana", "upper", "control", "replacement",
    "lines", "longest_line", "short_lines", "bullet_lines", "ellipsis_lines", "ended_lines",
    "dup_lines", "dup_line_characters", "line_characters", "paragraphs", "dup_paragraphs", "dup_paragraph_characters",
)  # fmt: skip
"""What `count` counts, column by column. Lines are the ones that are not blank; a paragraph is what blank lines part."""
_FIRST_UNKNOWN = 0x32400
F = TypeVar("F", bound=Callable[..., Any])


_BYTES = numba.types.Array(numba.types.uint8, 1, "C", readonly=True)
_U8, _U32M, _U64, _I32, _I64, _F64M = (
    numba.types.Array(kind, dimensions, "C")
    for kind, dimensions in (
        (numba.types.uint8, 1), (numba.types.uint32, 2), (numba.types.uint64, 1), (numba.types.int32, 1), (numba.types.int64, 1),
        (numba.types.float64, 2),
    )
)  # fmt: skip
_int, _word, _void = numba.types.int64, numba.types.uint64, numba.types.void


def _compiled(signature: Any) -> Callable[[F], F]:
    return cast("Callable[[F], F]", numba.njit(signature, cache=True, nogil=True, error_model="numpy", boundscheck=False))


@cache
def character_classes() -> npt.NDArray[np.uint8]:
    """A bit set per code point below U+32400; above that is private and unassigned ground. 205 kB."""
    table = np.zeros(_FIRST_UNKNOWN, np.uint8)
    kinds = {"L": LETTER, "M": LETTER, "N": DIGIT, "P": PUNCTUATION, "S": SYMBOL, "Z": BLANK}
    for code in range(_FIRST_UNKNOWN):
        category = unicodedata.category(chr(code))
        bits = kinds.get(category[0], 0)
        if category == "Lu":
            bits |= UPPER
        table[code] = CONTROL if category == "Cc" else bits
    for code in (0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85):
        table[code] = BLANK
    for first, last in ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)):
        table[first : last + 1] |= HAN
    table[0x3041:0x30FF] |= KANA
    return table


@_compiled(numba.types.UniTuple(_int, 2)(_BYTES, _int, _int))
def _decode(data: Any, at: int, end: int) -> tuple[int, int]:
    """The code point at `at` and where the next one starts. The bytes are known to be valid UTF-8."""
    first = data[at]
    if first < 0x80:
        return first, at + 1
    if first < 0xE0 and at + 1 < end:
        return ((first & 0x1F) << 6) | (data[at + 1] & 0x3F), at + 2
    if first < 0xF0 and at + 2 < end:
        return ((first & 0x0F) << 12) | ((data[at + 1] & 0x3F) << 6) | (data[at + 2] & 0x3F), at + 3
    if at + 3 < end:
        return ((first & 0x07) << 18) | ((data[at + 1] & 0x3F) << 12) | ((data[at + 2] & 0x3F) << 6) | (data[at + 3] & 0x3F), at + 4
    return 0xFFFD, end


@_compiled(_word(_word, _word))
def _mix(h: Any, value: Any) -> Any:
    """One step of a 64-bit multiply-xorshift hash (constants of splitmix64; Steele, Lea and Flood 2014)."""
    h = (h ^ value) * np.uint64(0xBF58476D1CE4E5B9)
    return h ^ (h >> np.uint64(29))


@_compiled(numba.types.boolean(_word, _U64, _I64, _int))
def _seen(key: Any, keys: Any, stamps: Any, stamp: int) -> bool:
    """Put `key` into an open-addressed set; was it there already? Slots with an older stamp count as empty.
    The set is never more than half full, so the probe ends."""
    mask = len(keys) - 1
    slot = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)) & mask
    while stamps[slot] == stamp:
        if keys[slot] == key:
            return True
        slot = (slot + 1) & mask
    stamps[slot] = stamp
    keys[slot] = key
    return False


@_compiled(_void(_BYTES, _I64, _U8, _U64, _I64, _F64M))
def _count(data: Any, offsets: Any, classes: Any, keys: Any, stamps: Any, out: Any) -> None:
    seed = np.uint64(0x9E3779B97F4A7C15)
    for document in range(len(offsets) - 1):
        at, end = offsets[document], offsets[document + 1]
        row = out[document]
        line_hash = seed
        paragraph_hash = seed ^ np.uint64(1)
        line, visible, paragraph = 0, 0, 0
        first_visible, last_visible, before_last, third_last = 0, 0, 0, 0
        while at <= end:
            code = 10
            if at < end:
                code, at = _decode(data, at, end)
                row[0] += 1
            else:
                at += 1
            if code == 10:
                blank_line = visible == 0
                if not blank_line:
                    row[11] += 1
                    row[12] = max(row[12], line)
                    row[13] += line < 30
                    row[14] += first_visible in (0x2022, 0x2D, 0x2A, 0x25AA, 0x25CF, 0xB7, 0x2023, 0x25E6, 0x2043)
                    row[15] += last_visible == 0x2026 or (last_visible == 46 and before_last == 46 and third_last == 46)
                    row[16] += last_visible in (0x2E, 0x21, 0x3F, 0x22, 0x3A, 0x3B, 0x29, 0x3002, 0xFF01, 0xFF1F, 0xFF1B, 0xFF1A, 0x201D)
                    row[19] += visible
                    if _seen(line_hash, keys, stamps, 2 * document + 1):
                        row[17] += 1
                        row[18] += visible
                    paragraph_hash = _mix(paragraph_hash, line_hash)
                    paragraph += visible
                if (blank_line or at > end) and paragraph > 0:
                    row[20] += 1
                    if _seen(paragraph_hash, keys, stamps, 2 * document + 1):
                        row[21] += 1
                        row[22] += paragraph
                    paragraph, paragraph_hash = 0, seed ^ np.uint64(1)
                line, visible, line_hash = 0, 0, seed
                if at <= end:
                    row[5] += 1
                continue
            line += 1
            bits = classes[code] if code < len(classes) else 0
            row[1] += bits & 1
            row[2] += (bits >> 1) & 1
            row[3] += (bits >> 2) & 1
            row[6] += (bits >> 5) & 1
            row[7] += (bits >> 6) & 1
            row[8] += (bits >> 7) & 1
            row[10] += code == 0xFFFD
            if (bits & 24) == 24:
                row[9] += 1
            else:
                row[4] += (bits >> 3) & 1
                row[5] += (bits >> 4) & 1
            if not bits & 16:
                visible += 1
                if visible == 1:
                    first_visible = code
                third_last, before_last, last_visible = before_last, last_visible, code
                line_hash = _mix(line_hash, np.uint64(code))


@_compiled(_int(_BYTES, _I64, _U8, _U64, _I32, _I64))
def _tokenise(data: Any, offsets: Any, classes: Any, hashes: Any, lengths: Any, bounds: Any) -> int:
    found = 0
    for document in range(len(offsets) - 1):
        bounds[document] = found
        at, end = offsets[document], offsets[document + 1]
        h, length = np.uint64(0), 0
        while at < end:
            code, at = _decode(data, at, end)
            bits = classes[code] if code < len(classes) else 0
            single = (bits & 96) != 0
            word = (bits & 3) != 0 and not single
            if length > 0 and not word:
                hashes[found], lengths[found] = h, length
                found += 1
                h, length = np.uint64(0), 0
            if word:
                h = _mix(h, np.uint64(code + 32 if 65 <= code <= 90 else code))
                length += 1
            elif single:
                hashes[found], lengths[found] = _mix(np.uint64(0), np.uint64(code)), 1
                found += 1
        if length > 0:
            hashes[found], lengths[found] = h, length
            found += 1
    bounds[len(offsets) - 1] = found
    return found


@_compiled(_void(_U64, _I32, _I64, _U64, _I64, _I64, _F64M))
def _repetition(hashes: Any, lengths: Any, bounds: Any, keys: Any, stamps: Any, tally: Any, out: Any) -> None:
    stamp = 0
    mask = len(keys) - 1
    for document in range(len(bounds) - 1):
        first, last = bounds[document], bounds[document + 1]
        row = out[document]
        stamp += 1
        for at in range(first, last):
            row[0] += lengths[at]
            row[1] = max(row[1], lengths[at])
            row[2] += not _seen(hashes[at], keys, stamps, stamp)
        if row[0] == 0:
            continue
        for n in range(2, 5):
            stamp += 1
            best = 0
            for at in range(first, last - n + 1):
                key, size = np.uint64(n), 0
                for step in range(n):
                    key = _mix(key, hashes[at + step])
                    size += lengths[at + step]
                slot = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)) & mask
                while stamps[slot] == stamp and keys[slot] != key:
                    slot = (slot + 1) & mask
                if stamps[slot] != stamp:
                    stamps[slot], keys[slot], tally[slot] = stamp, key, 0
                tally[slot] += size
                if tally[slot] > size and tally[slot] > best:
                    best = tally[slot]
            row[1 + n] = min(1.0, best / row[0])
        for n in range(5, 11):
            stamp += 1
            covered, upto = 0, first
            for at in range(first, last - n + 1):
                key = np.uint64(n)
                for step in range(n):
                    key = _mix(key, hashes[at + step])
                if _seen(key, keys, stamps, stamp):
                    for token in range(max(at, upto), at + n):
                        covered += lengths[token]
                    upto = at + n
            row[1 + n] = covered / row[0]
            if covered == 0:
                break  # no repeated n-gram, so no repeated longer one either


@_compiled(_void(_U64, _I64, _I64, _U64, _U64, _U32M))
def _minhash(hashes: Any, bounds: Any, widths: Any, multipliers: Any, addends: Any, out: Any) -> None:
    for document in range(len(bounds) - 1):
        first, last = bounds[document], bounds[document + 1]
        width = min(widths[document], last - first)
        row = out[document]
        if width == 0:
            continue
        for at in range(first, last - width + 1):
            key = np.uint64(0)
            for step in range(width):
                key = _mix(key, hashes[at + step])
            low = key >> np.uint64(32)
            for k in range(len(multipliers)):
                value = np.uint32((multipliers[k] * low + addends[k]) >> np.uint64(32))
                row[k] = min(row[k], value)


@_compiled(_I64(_int, _I64, _I64))
def _components(count: int, left: Any, right: Any) -> Any:
    parent = np.arange(count)
    for edge in range(len(left)):
        a, b = left[edge], right[edge]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        else:
            parent[a] = b
    for node in range(count):  # a parent is never greater than its child, so one pass in order flattens
        parent[node] = parent[parent[node]]
    return parent


def _table(entries: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    size = 1 << max(4, int(2 * entries + 1).bit_length())
    return np.zeros(size, np.uint64), np.zeros(size, np.int64)


def count(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(n, len(COUNTS)) counts of characters, lines and paragraphs of n documents."""
    out = np.zeros((len(offsets) - 1, len(COUNTS)))
    # A document has at most one line and one paragraph for every two bytes, and one more.
    keys, stamps = _table(int(np.diff(offsets).max(initial=0)) + 2)
    _count(data, offsets, character_classes(), keys, stamps, out)
    return out


def tokenise(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Per token its 64-bit hash and its length in characters; and the (n + 1) bounds of the documents in these."""
    most = int(offsets[-1] - offsets[0]) + 1 if len(offsets) else 1
    hashes, lengths = np.empty(most, np.uint64), np.empty(most, np.int32)
    bounds = np.zeros(len(offsets), np.int64)
    found = _tokenise(data, offsets, character_classes(), hashes, lengths, bounds)
    return hashes[:found].copy(), lengths[:found].copy(), bounds


def repetition(hashes: npt.NDArray[np.uint64], lengths: npt.NDArray[np.int32], bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(n, 12): characters in tokens, longest token, distinct tokens; then shares of those characters: in the most weighty 2-, 3-
    and 4-gram that occurs more than once, and in 5- to 10-grams that occurred before (after Rae et al. 2021, A1)."""
    out = np.zeros((len(bounds) - 1, 3 + len(NGRAMS_TOP) + len(NGRAMS_DUP)))
    keys, stamps = _table(int(np.diff(bounds).max(initial=0)))
    _repetition(hashes, lengths, bounds, keys, stamps, np.zeros(len(keys), np.int64), out)
    return out


def minhash(
    hashes: npt.NDArray[np.uint64], bounds: npt.NDArray[np.int64], widths: npt.NDArray[np.int64], permutations: int, seed: int
) -> npt.NDArray[np.uint32]:
    """(n, permutations) signatures over shingles of widths[i] tokens (a shorter document is one shingle; an empty one is all ones).

    Multiply-shift hashing of 32-bit shingle keys (Dietzfelbinger 1996); equal entries estimate the Jaccard index (Broder 1997).
    """
    random = np.random.Generator(np.random.PCG64(seed))
    multipliers = random.integers(0, 1 << 63, permutations, np.uint64) * np.uint64(2) + np.uint64(1)
    addends = random.integers(0, 1 << 63, permutations, np.uint64)
    out = np.full((len(bounds) - 1, permutations), np.iinfo(np.uint32).max, np.uint32)
    _minhash(hashes, bounds, widths, multipliers, addends, out)
    return out


def components(count_: int, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The smallest node of each node's connected component (union-find with path halving; Tarjan and van Leeuwen 1984)."""
    return cast("npt.NDArray[np.int64]", _components(count_, left, right))


def versions() -> dict[str, str]:
    """What these kernels' answers depend on, besides this file."""
    return {"numba": numba.__version__, "numpy": np.__version__, "unicode": unicodedata.unidata_version, "python": sys.version.split()[0]}
