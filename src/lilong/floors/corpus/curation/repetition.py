"""Repeated passages: n-grams over tokens, where each Han or kana character is one, as is each run of other letters and digits (ASCII
capitals count as small letters). Marks and blanks part tokens and are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import types

from lilong.floors.corpus.curation.characters import (
    BYTES,
    DIGIT,
    FIRST_UNKNOWN,
    HAN,
    HANGUL,
    KANA,
    LATIN,
    LETTER,
    OFFSETS,
    OTHER,
    WIDE_FORM,
    array,
    classes,
    decode,
    mix,
    signed,
)  # fmt: skip
from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.layout import seen

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts

_U64, _I64 = array(types.uint64), array(types.int64)

BASE = np.uint64(0x9E3779B97F4A7C15)


@compiled(types.UniTuple(types.int64, 2)(BYTES, types.int64, types.int64, array(types.uint8), _U64, _I64))
def tokens_of(data: Any, at: int, end: int, table: Any, sums: Any, sizes: Any) -> tuple[int, int]:
    """Running polynomial hashes into `sums` and running character counts into `sizes`; how many tokens, and how many different ones at most."""
    found, run, length = 0, np.uint64(0), 0
    while at <= end:
        code, kind = 0, OTHER
        if at < end:
            code, at = decode(data, at, end)
            kind = signed(table[code]) if code < FIRST_UNKNOWN else OTHER
        else:
            at += 1
        in_run = kind in (LATIN, LETTER, HANGUL, DIGIT, WIDE_FORM)
        if in_run:
            run = mix(run + np.uint64(code | 32 if 65 <= code <= 90 else code))
            length += 1
            continue
        if length > 0:
            sums[found + 1] = sums[found] * BASE + run
            sizes[found + 1] = sizes[found] + length
            found, run, length = found + 1, np.uint64(0), 0
        if kind in (HAN, KANA):
            sums[found + 1] = sums[found] * BASE + mix(np.uint64(code))
            sizes[found + 1] = sizes[found] + 1
            found += 1
    return found, sizes[found]


@compiled(types.void(BYTES, OFFSETS, array(types.uint8), _I64, _I64, _U64, _I64, _I64, _U64, _I64, array(types.float64, 2)))
def _repetition(
    data: Any, offsets: Any, table: Any, tops: Any, duplicates: Any, keys: Any, stamps: Any, tally: Any, sums: Any, sizes: Any, out: Any
) -> None:
    stamp = 0
    for document in range(len(offsets) - 1):
        count, total = tokens_of(data, offsets[document], offsets[document + 1], table, sums, sizes)
        row = out[document]
        row[0], row[1] = count, total
        size = 16
        while size < 2 * count + 2:
            size *= 2
        stamp += 1
        for at in range(count):
            row[2] += not seen(mix(sums[at + 1] - sums[at] * BASE), keys, stamps, stamp, size)
        for column in range(len(tops)):
            n = tops[column]
            power = np.uint64(1)
            for _ in range(n):
                power *= BASE
            stamp += 1
            best = 0
            for at in range(count - n + 1):
                key = mix(sums[at + n] - sums[at] * power)
                weight = sizes[at + n] - sizes[at]
                slot = signed(key >> np.uint64(20)) & (size - 1)
                while stamps[slot] == stamp and keys[slot] != key:
                    slot = (slot + 1) & (size - 1)
                if stamps[slot] != stamp:
                    stamps[slot], keys[slot], tally[slot] = stamp, key, 0
                tally[slot] += weight
                if tally[slot] > weight and tally[slot] > best:
                    best = tally[slot]
            row[3 + column] = min(1.0, best / total) if total else 0.0
        for column in range(len(duplicates)):
            n = duplicates[column]
            power = np.uint64(1)
            for _ in range(n):
                power *= BASE
            stamp += 1
            covered, upto = 0, 0
            for at in range(count - n + 1):
                if seen(mix(sums[at + n] - sums[at] * power), keys, stamps, stamp, size):
                    covered += sizes[at + n] - sizes[max(at, upto)]
                    upto = at + n
            row[3 + len(tops) + column] = covered / total if total else 0.0
            if covered == 0:
                break  # no repeated n-gram, so no longer one either


def repetition(texts: Texts, tops: Sequence[int], duplicates: Sequence[int]) -> npt.NDArray[np.float64]:
    """(n, 3 + len(tops) + len(duplicates)): tokens, characters in them, different tokens; the share of those characters in the weightiest
    repeated n-gram for n of `tops` (overlaps counted, at most 1); their share in n-grams that occurred before, for n of `duplicates`,
    which ascend."""
    out = np.zeros((len(texts), 3 + len(tops) + len(duplicates)))
    longest = int(np.diff(texts.offsets).max(initial=0))
    size = 1 << max(4, (2 * longest + 2).bit_length())
    _repetition(
        texts.data, texts.offsets, classes(), np.array(tops, np.int64), np.array(duplicates, np.int64), np.zeros(size, np.uint64),
        np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(longest + 2, np.uint64), np.zeros(longest + 2, np.int64), out,
    )  # fmt: skip
    return out
