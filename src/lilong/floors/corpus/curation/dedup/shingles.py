"""MinHash over tokens of any script: a Han or kana character is one token, as is each run of other letters and digits.

`minhash` splits words as English does, which in Chinese and Japanese leaves whole clauses; here such texts are compared by characters. The
same signatures tell relatives from afar, in any language, which a split must not part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from lilong.floors.corpus.curation import characters as kinds
from lilong.floors.corpus.curation.characters import BYTES, OFFSETS, array, mix
from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.dedup.banding import FINEWEB, Banding
from lilong.floors.corpus.curation.dedup.minhash import Keys, Signer
from lilong.floors.corpus.curation.languages import SCRIPT_SHARE
from lilong.floors.corpus.curation.repetition import BASE, tokens_of
from lilong.floors.corpus.curation.texts import Texts

Signatures = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]
_U64, _I64 = array(types.uint64), array(types.int64)


@dataclass(slots=True)
class Near:
    """Keys by which near duplicates meet: those of `minhash`, and of texts in Han or kana keys of their `characters` in a row; 0 characters:
    every text is taken as English. Keep one per worker."""

    banding: Banding = FINEWEB
    characters: int = 8
    _signer: Signer | None = None

    def keys(self, texts: Texts) -> Keys:
        """(n, bands) keys, 0 for none. A text's row depends on nothing but the text."""
        self._signer = self._signer or Signer(self.banding)
        found = self._signer.keys(texts)
        rows = np.flatnonzero(ideographic(texts)) if self.characters else np.zeros(0, np.int64)
        if len(rows):
            some = Texts.of([texts[row] for row in rows.tolist()])
            found[rows] = band_keys(signatures(some, self.banding, self.characters), self.banding)
        return found


def ideographic(texts: Texts) -> npt.NDArray[np.bool_]:
    """Which texts are written in Han or kana: a quarter of their letters, as `languages` takes them."""
    found = kinds.counts(texts)
    here = found[:, kinds.HAN] + found[:, kinds.KANA]
    letters = found[:, [kinds.LATIN, kinds.LETTER, kinds.HAN, kinds.KANA, kinds.HANGUL]].sum(axis=1)
    answer: npt.NDArray[np.bool_] = (here >= SCRIPT_SHARE * letters) & (here > 0)
    return answer


def signatures(texts: Texts, banding: Banding, characters: int) -> Signatures:
    """(n, permutations) signatures over shingles of `banding.words` tokens, of `characters` tokens where the text is ideographic. A shorter text
    is one shingle; one without tokens has all bits set.

    Multiply-shift hashing of 32-bit shingle keys (Dietzfelbinger 1996); equal entries estimate the Jaccard index (Broder 1997).
    """
    multipliers, addends = _permutations(banding)
    widths = np.where(ideographic(texts), characters, banding.words).astype(np.int64)
    out = np.full((len(texts), banding.permutations), np.iinfo(np.uint32).max, np.uint32)
    longest = int(np.diff(texts.offsets).max(initial=0))
    sums, sizes = np.zeros(longest + 2, np.uint64), np.zeros(longest + 2, np.int64)
    _minhash(texts.data, texts.offsets, kinds.classes(), widths, multipliers, addends, sums, sizes, out)
    return out


def similarity(signed: Signatures, left: Rows, right: Rows) -> npt.NDArray[np.float64]:
    """Estimated Jaccard index of each pair of rows: the share of equal entries. Taken in slices, so that signatures may lie on disk."""
    out = np.zeros(len(left))
    for start in range(0, len(left), 1 << 14):
        part = slice(start, start + (1 << 14))
        out[part] = (signed[left[part]] == signed[right[part]]).mean(axis=1)
    return out


def band_keys(signed: Signatures, banding: Banding) -> Keys:
    """(n, bands) 64-bit keys, equal where all entries of a band are; 0 for a text without tokens."""
    keys = np.empty((len(signed), banding.bands), np.uint64)
    for band in range(banding.bands):
        keys[:, band] = band_key(signed, banding, band)
    return keys


def band_key(signed: Signatures, banding: Banding, band: int) -> npt.NDArray[np.uint64]:
    """One column of `band_keys`."""
    part = np.asarray(signed[:, band * banding.rows : (band + 1) * banding.rows], np.uint64)
    key = np.full(len(part), np.uint64(0x9E3779B97F4A7C15) + np.uint64(band))
    for row in range(banding.rows):
        key = (key ^ part[:, row]) * np.uint64(0xBF58476D1CE4E5B9)
        key ^= key >> np.uint64(29)
    empty = (part == np.iinfo(np.uint32).max).all(axis=1)
    answer: npt.NDArray[np.uint64] = np.where(empty, np.uint64(0), np.maximum(key, np.uint64(1)))
    return answer


@cache
def _permutations(banding: Banding) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    # NumPy keeps the stream of RandomState as it is for ever (NEP 19).
    generator = np.random.RandomState(banding.seed)
    odd = generator.randint(0, 1 << 63, banding.permutations, np.uint64) * np.uint64(2) + np.uint64(1)
    return odd, generator.randint(0, 1 << 63, banding.permutations, np.uint64)


@compiled(types.void(BYTES, OFFSETS, array(types.uint8), _I64, _U64, _U64, _U64, _I64, array(types.uint32, 2)))
def _minhash(data: Any, offsets: Any, table: Any, widths: Any, multipliers: Any, addends: Any, sums: Any, sizes: Any, out: Any) -> None:
    for document in range(len(offsets) - 1):
        count, _ = tokens_of(data, offsets[document], offsets[document + 1], table, sums, sizes)
        width = min(widths[document], count)
        if width == 0:
            continue
        power = np.uint64(1)
        for _ in range(width):
            power *= BASE
        row = out[document]
        for at in range(count - width + 1):
            low = mix(sums[at + width] - sums[at] * power) >> np.uint64(32)
            for k in range(len(multipliers)):
                value = np.uint32((multipliers[k] * low + addends[k]) >> np.uint64(32))
                row[k] = min(row[k], value)
