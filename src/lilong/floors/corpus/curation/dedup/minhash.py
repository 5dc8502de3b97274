"""MinHash signatures as datatrove 0.10.1 computes them, bit for bit, and the band keys by which near duplicates meet.

A shingle is `words` successive words (see simplify.py) joined by blanks, hashed by XXH64. Entry k of a signature is the least of
(h a_k + b_k mod 2^64) mod (2^61 - 1) over its shingles h (Broder 1997; the wrap-around at 2^64 is part of the definition). Texts with fewer
words than a shingle have no signature and are near to nothing. Two texts meet where a whole band of `rows` entries is equal: with
probability 1 - (1 - s^rows)^bands if their shingle sets have the Jaccard index s (Leskovec, Rajaraman and Ullman 2014, section 3.4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation.dedup import kernels
from lilong.floors.corpus.curation.dedup.banding import FINEWEB, Banding
from lilong.floors.corpus.curation.dedup.simplify import Simplifier, rewritten
from lilong.floors.corpus.curation.texts import Texts

Signatures = npt.NDArray[np.uint64]
Keys = npt.NDArray[np.uint64]
__all__ = ["Banding", "Keys", "Signatures", "Signer", "band_keys"]
_PRIME = (1 << 61) - 1
_BATCH = 8 << 20  # bytes of text per call of the kernels


@dataclass(slots=True)
class Signer:
    """Signs texts. Keep one per worker: it remembers how odd words are split. What it answers depends on texts and banding alone."""

    banding: Banding = FINEWEB
    _simplifier: Simplifier = field(default_factory=Simplifier)

    def signatures(self, texts: Texts, again: bool = False) -> tuple[Signatures, npt.NDArray[np.int64]]:
        """(n, bands * rows) signatures, all bits set for a text without one; and how many shingles each text has.
        `again`: the texts are `simplify.rewritten`."""
        multipliers, addends = _permutations(self.banding)
        out = np.full((len(texts), len(multipliers)), np.iinfo(np.uint64).max, np.uint64)
        shingles = np.zeros(len(texts), np.int64)
        rows = np.arange(len(texts))
        while len(rows):
            words, state = self._simplifier.attempt(texts, rows, again)
            kernels.minhash(words.data, words.starts, words.bounds, rows, state, self.banding.words, multipliers, addends, out, shingles)
            if (state == kernels.REWRITE).any():
                odd = rows[state == kernels.REWRITE]
                out[odd], shingles[odd] = self.signatures(Texts.of([rewritten(texts[row]) for row in odd.tolist()]), again=True)
            rows = rows[state == kernels.MISSING]
        return out, shingles

    def keys(self, texts: Texts) -> Keys:
        """(n, bands) band keys; a row of zeros for a text without a signature. A text's row depends on nothing but the text."""
        out = np.zeros((len(texts), self.banding.bands), np.uint64)
        start = 0
        while start < len(texts):
            end = int(np.searchsorted(texts.offsets, texts.offsets[start] + _BATCH, side="right")) - 1
            end = min(max(end, start + 1), len(texts))
            signatures, shingles = self.signatures(Texts(texts.data, texts.offsets[start : end + 1]))
            out[start:end] = band_keys(signatures, self.banding) * (shingles > 0)[:, None]
            start = end
        return out

    def same_words(self, texts: Texts) -> npt.NDArray[np.uint64]:
        """A key per text, equal where the words are, whatever their number: exact copies but for case, numbers, punctuation and blanks.
        0 for a text without words. To be used as one more band."""
        words = self._simplifier.words(texts)
        out = np.zeros(len(texts), np.uint64)
        kernels.shingle_hashes(words.data, words.starts, words.bounds, 0, out)
        return out

    def jaccard(self, texts: Texts, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The true Jaccard index of the shingle sets of pairs of texts, by their rows: what signatures only estimate."""
        rows, inverse = np.unique(np.concatenate([left, right]), return_inverse=True)
        words = self._simplifier.words(Texts.of([texts[row] for row in rows.tolist()]))
        hashes = np.zeros(len(words.starts), np.uint64)
        kernels.shingle_hashes(words.data, words.starts, words.bounds, self.banding.words, hashes)
        ends = words.bounds[:-1].copy()
        for row, (first, last) in enumerate(zip(words.bounds[:-1], words.bounds[1:], strict=True)):
            distinct = np.unique(hashes[first : max(first, last - self.banding.words + 1)])
            hashes[first : first + len(distinct)] = distinct
            ends[row] += len(distinct)
        out = np.zeros(len(left))
        kernels.jaccard(hashes, words.bounds, ends, inverse[: len(left)], inverse[len(left) :], out)
        return out


def band_keys(signatures: Signatures, banding: Banding) -> Keys:
    """(n, bands) 64-bit keys, equal where all entries of a band are: XXH64 of its little-endian bytes, seeded with the band's number.

    Never 0. Two different bands share a key with probability 2^-64: among 100 million texts somewhere in one run of 260.
    """
    keys = np.empty((len(signatures), banding.bands), np.uint64)
    flat = np.ascontiguousarray(signatures, "<u8").view(np.uint8).reshape(-1)
    kernels.band_keys(flat, 8 * banding.rows, keys)
    return keys


@cache
def _permutations(banding: Banding) -> tuple[Signatures, Signatures]:
    # NumPy keeps the stream of RandomState as it is for ever (NEP 19), so these constants are as good as written down.
    generator = np.random.RandomState(banding.seed)
    count = banding.bands * banding.rows
    return generator.randint(1, _PRIME, count, dtype=np.uint64), generator.randint(0, _PRIME, count, dtype=np.uint64)
