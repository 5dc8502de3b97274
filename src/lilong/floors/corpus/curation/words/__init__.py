"""The words of English as datatrove 0.10.1 has them, exactly and fast. See `vocabulary.py`; kernels that join hashes are in `hashing.py`."""

from lilong.floors.corpus.curation.words.tokens import (
    BLANK_BEFORE,
    CHUNK_START,
    LETTER,
    PUNCTUATION,
    SENTENCE_END,
    STOP,
    WORDY,
    Tokens,
)
from lilong.floors.corpus.curation.words.vocabulary import Vocabulary

__all__ = ["BLANK_BEFORE", "CHUNK_START", "LETTER", "PUNCTUATION", "SENTENCE_END", "STOP", "WORDY", "Tokens", "Vocabulary"]
