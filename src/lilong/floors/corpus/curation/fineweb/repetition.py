"""Words and repeated n-grams of words, per document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.fineweb.utf8 import (
    BOUNDS,
    BYTES,
    COUNTS,
    INTS,
    LENGTHS,
    TABLE,
    WORDS,
    cleared,
    int_,
    void,
    word,
)

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts
    from lilong.floors.corpus.curation.words import Tokens

TOP, REPEATED = (2, 3, 4), (5, 6, 7, 8, 9, 10)
COLUMNS = (
    "words", "plain_words", "plain_characters", "letter_words", "stop_words",
    *(f"top_{n}" for n in TOP), *(f"repeated_{n}" for n in REPEATED),
)  # fmt: skip
"""Words; words that are not punctuation alone, and their characters; words with a letter; distinct stop words; characters, with
blanks between words, of the most frequent n-gram times its count; characters of the n-grams that occurred before."""
_BASE = 0x5851F42D4C957F2D
"""Of a polynomial over bytes modulo 2^64, which tells joined words without their boundaries; odd, so that it has an inverse."""
_INVERSE = pow(_BASE, -1, 1 << 64)
_SMALL = 256
_LETTER, _WORDY, _STOP = 1, 2, 4


@compiled(word(word, int_))
def _power(base: Any, exponent: Any) -> Any:
    result = np.uint64(1)
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


@compiled(int_(BYTES, int_, int_))
def _stop_word(data: Any, at: int, size: Any) -> int:
    """A bit for each of Gopher's stop words: the, be, to, of, and, that, have, with."""
    first = data[at]
    if first == 0x74:  # t
        return int(1 << size)  # to, the, that
    return 1 if first == 0x62 else 2 if first == 0x6F else 32 if first == 0x61 else 64 if first == 0x68 else 128


@compiled(numba.types.UniTuple(int_, 2)(int_, int_, int_, INTS, INTS, TABLE, INTS))
def _top(n: int, count: int, alive: int, names: Any, ends: Any, table: Any, tally: Any) -> tuple[int, int]:
    """Characters of the most frequent of `count` n-grams (of equals, the first) times its count; and how many are not unique.

    names[i] comes as the class of the (n-1)-gram at i, or -1 if that occurs once, and becomes the same of the n-gram: one that is
    made of a unique part is unique too. `alive` is how many are not -1.
    """
    bits = cleared(table, alive + 1)
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    for at in range(count):
        left, right = names[at], names[at + 1]
        if left < 0 or right < 0:
            names[at] = -1
            continue
        key = np.uint64(left + 1) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(right) * np.uint64(0xD1342543DE82EF95)
        slot = np.int64((key ^ (key >> np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9) >> shift)
        while table[slot] != 0 and table[slot] != key:
            slot = (slot + 1) & mask
        if table[slot] == 0:
            table[slot], tally[slot] = key, 0
        tally[slot] += 1
        names[at] = slot
    best, first, alive = 1, 0, 0
    for at in range(count):
        slot = names[at]
        if slot >= 0:
            times = tally[slot]
            if times == 1:
                names[at] = -1
            else:
                alive += 1
                if times > best:
                    best, first = times, at
    return best * (ends[first + n] - ends[first] + n - 1), alive


@compiled(int_(int_, int_, INTS, WORDS, WORDS, TABLE))
def _repeated(n: int, words: int, ends: Any, sums: Any, inverses: Any, table: Any) -> int:
    """Characters of n-grams that occurred before. They are compared without their boundaries ("a bc" is "ab c"), and after a hit
    the search goes on behind it, as in datatrove; so a longer n-gram may be repeated where no shorter one is."""
    bits = cleared(table, words)
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    found, at = 0, 0
    while at + n <= words:
        key = (sums[at + n] - sums[at]) * inverses[at]
        if key == 0:
            key = np.uint64(1)
        slot = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> shift)
        while table[slot] != 0 and table[slot] != key:
            slot = (slot + 1) & mask
        if table[slot] == key:
            found += ends[at + n] - ends[at]
            at += n
        else:
            table[slot] = key
            at += 1
    return found


@compiled(void(BYTES, BOUNDS, BOUNDS, LENGTHS, LENGTHS, WORDS, BYTES, WORDS, WORDS, INTS, INTS, INTS, TABLE, TABLE, TABLE, COUNTS))
def _measure(data: Any, bounds: Any, starts: Any, sizes: Any, lengths: Any, hashes: Any, flags: Any, powers: Any, inverse_powers: Any,
             names: Any, ends: Any, tally: Any, sums: Any, inverses: Any, table: Any, out: Any) -> None:  # fmt: skip
    for document in range(len(bounds) - 1):
        first, words = bounds[document], bounds[document + 1] - bounds[document]
        row = out[document]
        power = np.uint64(1)
        sums[0], inverses[0], ends[0] = 0, 1, 0
        stops = 0
        for at in range(words):
            token = first + at
            start, size, flag = starts[token], np.int64(sizes[token]), np.int64(flags[token])
            row[1] += (flag & _WORDY) >> 1
            row[2] += lengths[token] * ((flag & _WORDY) >> 1)
            row[3] += flag & _LETTER
            if flag & _STOP:
                stops |= _stop_word(data, start, size)
            names[at] = hashes[token]
            ends[at + 1] = ends[at] + lengths[token]
            value = np.uint64(0)
            for position in range(start, start + size):
                value = value * np.uint64(_INVERSE) + np.uint64(data[position])
            # The sum runs from the right end of each word in inverse powers, so that words follow each other as their bytes do.
            if size < len(powers):
                power *= powers[size]
                inverses[at + 1] = inverses[at] * inverse_powers[size]
            else:
                power *= _power(powers[1], size)
                inverses[at + 1] = inverses[at] * _power(inverse_powers[1], size)
            sums[at + 1] = sums[at] + value * power
        row[0] = words
        while stops > 0:
            row[4] += stops & 1
            stops >>= 1
        alive = words
        for n in range(2, 5):
            if words >= n:
                row[3 + n], alive = _top(n, words - n + 1, alive, names, ends, table, tally)
        for n in range(5, 11):
            row[3 + n] = _repeated(n, words, ends, sums, inverses, table)


def measure(texts: Texts, tokens: Tokens) -> npt.NDArray[np.int64]:
    """(n, len(COLUMNS)) for n documents and their words."""
    out = np.zeros((len(texts), len(COLUMNS)), np.int64)
    most = int(np.diff(tokens.bounds).max(initial=0))
    names, ends = np.empty(most + 1, np.int64), np.empty(most + 1, np.int64)
    sums, inverses = np.empty(most + 1, np.uint64), np.empty(most + 1, np.uint64)
    table = np.empty(1 << max(4, (2 * most + 2).bit_length()), np.uint64)
    powers, inverse_powers = (np.full(_SMALL, base, np.uint64) for base in (_BASE, _INVERSE))
    for each in (powers, inverse_powers):
        each[0] = 1
        np.cumprod(each, out=each)
    tally = np.empty(len(table), np.int64)
    columns = tokens.bounds, tokens.start, tokens.size, tokens.length, tokens.hash, tokens.flags
    _measure(texts.data, *columns, powers, inverse_powers, names, ends, tally, sums, inverses, table, out)
    return out
