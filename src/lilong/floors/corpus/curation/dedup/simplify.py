"""The words that near duplicates are compared by: text in small letters, numbers as 0, without punctuation and diacritics.

Answers what datatrove 0.10.1 answers for `word_tokenize(simplify_text(text))` in English: simplification maps each code point by itself, and
what it leaves of most words is one token whatever stands around it. Words with symbols in them are split once, by the English
tokeniser, and remembered. `english.json` holds the facts (made by tests/corpus/data/dedup_oracle.py), with the Unicode tables of Python 3.11.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation.dedup import kernels
from lilong.floors.corpus.curation.texts import Texts

T = TypeVar("T", bound=np.generic)
Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
_REMEMBERED = 32 << 20  # bytes of pieces after which a table begins anew


@dataclass(frozen=True, slots=True)
class Words:
    """Words of n documents: word j is `data[starts[j]:starts[j + 1] - 1]` (a blank follows each), document i has words
    bounds[i] to bounds[i + 1]. `starts` has one entry more than there are words."""

    data: Bytes
    starts: Integers
    bounds: Integers

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def of(self, document: int) -> list[str]:
        first, last = self.bounds[document], self.bounds[document + 1]
        return bytes(self.data[self.starts[first] : self.starts[last]]).decode().split(" ")[:-1]


@dataclass(frozen=True, slots=True)
class _Facts:
    kinds: Bytes
    kinds_rewritten: Bytes  # without what calls for rewriting
    targets: npt.NDArray[np.int32]
    maps: Bytes
    gate: npt.NDArray[np.uint16]
    pieces: dict[str, str]


@cache
def _facts() -> _Facts:
    facts = json.loads((files(__package__) / "english.json").read_text())
    kinds, targets, maps = np.zeros(kernels.KNOWN, np.uint8), np.zeros(kernels.KNOWN, np.int32), bytearray()
    for name, kind in (("digits", kernels.DIGIT), ("blanks", kernels.BLANK), ("dropped", kernels.DROPPED)):
        for first, last in facts[name]:
            kinds[first : last + 1] = kind
    hangul = (chr(code) + unicodedata.normalize("NFD", chr(code)) for code in range(0xAC00, 0xD7A4))
    for pair in (*facts["maps"], *hangul):
        target = pair[1:].encode()
        kinds[ord(pair[0])], targets[ord(pair[0])] = kernels.MAPPED, len(maps)
        maps += bytes([len(target)]) + target
    for name, bit in (("symbols", kernels.SYMBOL), ("marks", kernels.MARK)):
        for first, last in facts[name]:
            kinds[first : last + 1] |= bit
    kinds[ord("Σ")] |= kernels.SIGMA
    gate = np.zeros(26 * 26, np.uint16)
    for text in facts["exceptions"]:
        gate[(ord(text[0]) - 97) * 26 + ord(text[1]) - 97] |= 1 << len(text)
    pieces = facts["exceptions"] | {f"0{unit}": f"0 {unit}" for unit in facts["units"]}
    return _Facts(kinds, kinds & ~np.uint8(kernels.SIGMA | kernels.MARK), targets, np.frombuffer(bytes(maps), np.uint8), gate, pieces)


@dataclass(slots=True)
class Simplifier:
    """Simplifies texts and remembers how odd words are split. Keep one per worker; what it answers does not depend on what it has seen."""

    _slots: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    _entries: Integers = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    _pool: Bytes = field(default_factory=lambda: np.zeros(0, np.uint8))
    _count: int = 0
    _used: int = 0

    def words(self, texts: Texts) -> Words:
        """The words of each text."""
        again = False
        while True:
            found, state = self.attempt(texts, np.arange(len(texts)), again)
            if not state.any():
                return found
            if (state == kernels.REWRITE).any():
                texts = Texts.of([rewritten(text) if odd else text for text, odd in zip(texts, state == kernels.REWRITE, strict=True)])
                again = True

    def attempt(self, texts: Texts, rows: Integers, again: bool = False) -> tuple[Words, Bytes]:
        """Words of some of the texts, and per row kernels.DONE where they are right. MISSING ones come right when asked again, once or
        more often; REWRITE ones when their texts are `rewritten`, which `again` says of the texts given."""
        if self._used > _REMEMBERED or not self._count:
            self._forget()
        facts = _facts()
        size = int((texts.offsets[rows + 1] - texts.offsets[rows]).sum())
        out, starts = np.empty(4 * size + 16, np.uint8), np.empty(size + len(rows) + 2, np.int64)
        bounds, state = np.zeros(len(rows) + 1, np.int64), np.zeros(len(rows), np.uint8)
        misses = np.empty((1 << 14, 2), np.int64)
        found, missed = kernels.simplify(
            texts.data, texts.offsets, rows, facts.kinds_rewritten if again else facts.kinds, facts.targets, facts.maps, facts.gate,
            self._slots, self._entries, self._pool, out, starts, bounds, state, misses,
        )  # fmt: skip
        if missed:
            self._learn({bytes(out[first:last]) for first, last in misses[:missed].tolist()})
        return Words(out, starts[: found + 1], bounds), state

    def _forget(self) -> None:
        self._count, self._used = 0, 0
        self._slots = np.zeros(1 << 12, np.int32)
        self._entries, self._pool = np.zeros((1 << 11, 4), np.int64), np.zeros(1 << 16, np.uint8)
        self._enter((text.encode(), words.encode()) for text, words in sorted(_facts().pieces.items()))

    def _learn(self, pieces: set[bytes]) -> None:
        from lilong.floors.corpus.curation.words import Vocabulary

        ordered = sorted(pieces)
        texts = Texts.of([piece.decode() for piece in ordered])
        tokens = Vocabulary().tokens(texts)
        words = [bytes(texts.data[start : start + size]) for start, size in zip(tokens.start.tolist(), tokens.size.tolist(), strict=True)]
        bounds = tokens.bounds.tolist()
        self._enter((piece, b" ".join(words[bounds[i] : bounds[i + 1]])) for i, piece in enumerate(ordered))

    def _enter(self, pieces: Iterable[tuple[bytes, bytes]]) -> None:
        first, rows, pool = self._count, [], bytearray()
        for piece, words in pieces:
            at = self._used + len(pool)
            rows.append((at, len(piece), at + len(piece), len(words)))
            pool += piece + words
        self._count, self._used = first + len(rows), self._used + len(pool)
        self._entries = _with_room(self._entries, self._count)
        self._pool = _with_room(self._pool, self._used)
        self._entries[first : self._count] = rows
        self._pool[self._used - len(pool) : self._used] = np.frombuffer(bytes(pool), np.uint8)
        if 2 * self._count > len(self._slots):
            self._slots, first = np.zeros(1 << (4 * self._count).bit_length(), np.int32), 0
        kernels.enter(first, self._count, self._slots, self._entries, self._pool)


def rewritten(text: str) -> str:
    """A text that simplifies to the same words and needs no look at more than one code point: small letters (a final sigma is known
    by its neighbours) and combining marks in canonical order."""
    lowered, out, run = text.lower(), [], ""
    for c in lowered:
        if unicodedata.combining(c):
            run += c
            continue
        if run:
            out.append(unicodedata.normalize("NFD", run))
            run = ""
        out.append(c)
    return "".join(out) + unicodedata.normalize("NFD", run)


def _with_room(array: npt.NDArray[T], used: int) -> npt.NDArray[T]:
    if used <= len(array):
        return array
    grown = np.zeros((2 * used, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
