"""What two texts have in common whatever their layout: letters and digits, and where words begin.

The definition is contract.py's (`overlap_letter`, `OWN_WORDS`), which evaluation has for its test items too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from lilong.floors.corpus.contract import OWN_WORDS
from lilong.floors.corpus.curation.characters import BYTES, array, decode, folding, mix, signed
from lilong.floors.corpus.curation.compiling import compiled

U32, U64, I64 = array(types.uint32), array(types.uint64), array(types.int64)
BASE = 0x9E3779B97F4A7C15
_BASE = np.uint64(BASE)


@compiled(types.boolean(types.int64))
def own_word(letter: int) -> bool:
    for first, last in OWN_WORDS:  # noqa: SIM110, any() is not compiled
        if first <= letter < last:
            return True
    return False


@compiled(types.UniTuple(types.int64, 2)(BYTES, types.int64, types.int64, U32, U32, I64, I64, U64, U64))
def reduce(
    data: Any, at: int, end: int, fold: Any, letters: Any, places: Any, starts: Any, letter_sums: Any, word_sums: Any
) -> tuple[int, int]:
    """How many letters and words data[at:end] has. Into `letters` and `places` (where each begins in data), `starts` (the first letter of
    each word, then the number of letters), and running polynomial sums over letters and over words, each with one entry more than there are."""
    count, words, gap, alone, word = 0, 0, True, False, np.uint64(0)
    letter_sums[0] = word_sums[0] = np.uint64(0)
    while at < end:
        place = at
        code, at = decode(data, at, end)
        letter = signed(fold[code]) if code < 0x10000 else code
        if letter == 0:
            gap = True
            continue
        was_alone, alone = alone, own_word(letter)
        if gap or alone or was_alone:
            if count > 0:
                word_sums[words] = word_sums[words - 1] * _BASE + mix(word)
            starts[words] = count
            words += 1
            gap, word = False, np.uint64(0)
        spread = mix(np.uint64(letter))
        letters[count], places[count] = letter, place
        letter_sums[count + 1] = letter_sums[count] * _BASE + spread
        word = word * _BASE + spread
        count += 1
    if words > 0:
        word_sums[words] = word_sums[words - 1] * _BASE + mix(word)
    starts[words] = count
    return count, words


class Room:
    """Working space for `reduce` on texts of at most `size` bytes, in the order of its arguments."""

    def __init__(self, size: int) -> None:
        kinds = (np.uint32, np.int64, np.int64, np.uint64, np.uint64)
        self.arrays: tuple[npt.NDArray[Any], ...] = tuple(np.empty(size + 2, kind) for kind in kinds)


@dataclass(frozen=True, slots=True)
class Reduced:
    """A text's letters, where each begins in its UTF-8, the first letter of each word (and the number of letters), and the sums."""

    letters: npt.NDArray[np.uint32]
    places: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    letter_sums: npt.NDArray[np.uint64]
    word_sums: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, text: str) -> Reduced:
        data = np.frombuffer(text.encode() or b" ", np.uint8)
        room = Room(len(data)).arrays
        count, words = reduce(data, 0, len(data), folding(), *room)
        letters, places, starts, letter_sums, word_sums = room
        return cls(letters[:count], places[:count], starts[: words + 1], letter_sums[: count + 1], word_sums[: words + 1])


def power(exponent: int) -> np.uint64:
    return np.uint64(pow(BASE, exponent, 1 << 64))


def spread(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """`mix` over an array."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
