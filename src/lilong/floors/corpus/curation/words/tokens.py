"""The words of texts, one row per occurrence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LETTER, WORDY, STOP, SENTENCE_END, PUNCTUATION, CHUNK_START, BLANK_BEFORE = (1 << bit for bit in range(7))
"""Bits of `Tokens.flags`.

LETTER: some character is a letter (str.isalpha). WORDY: some character is outside datatrove's PUNCTUATION_SET. STOP: one of Gopher's eight
stop words. SENTENCE_END: the token is one of the characters at which spaCy's sentencizer looks for the end of a sentence. PUNCTUATION:
every character is of a category P (spaCy's is_punct). CHUNK_START: blanks or the document's start stand before it. BLANK_BEFORE: and spaCy
makes a token of these blanks, as of any but one single space.
"""

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words of n texts in order, as datatrove's `word_tokenize` gives them: those of text i are rows bounds[i]:bounds[i + 1].

    `start` and `size` are bytes: a word is `texts.data[start:start + size]`. `length` counts code points. `hash` is that of `hashing.py`.
    """

    bounds: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    size: npt.NDArray[np.int32]
    length: npt.NDArray[np.int32]
    hash: npt.NDArray[np.uint64]
    flags: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.start)
