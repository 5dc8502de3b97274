"""Is an evaluation set in a corpus? Exact windows of words and of letters, and near copies, with what matched where.

- `words`: 13 words in a row (the usual choice since GPT-3); an item of fewer is looked for whole, if it has at least `least_words`;
- `characters`: 50 letters and digits in a row, gaps left out;
- `near`: at least `near_share` of the item's different word 4-grams, and at least six, within a stretch twice as long as the item. That
  finds items with names replaced or every tenth word changed, in any order of sentences; not items of fewer than nine words.

Hits are found by 64-bit hashes and compared letter by letter before they count: no false alarms. Two different windows of the set itself with
one hash would hide one of them (3e-6 for ten million windows).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import types

from lilong.floors.corpus.contract import OVERLAP_CHARACTERS, OVERLAP_LEAST_WORDS, OVERLAP_WORDS
from lilong.floors.corpus.curation.characters import BYTES, OFFSETS, array, folding, mix, signed
from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.contamination.reduction import I64, U32, U64, Reduced, power, reduce, spread

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts

METHODS = ("words", "characters", "near")
WORDS, CHARACTERS, NEAR = range(3)
COLUMNS = {
    "contaminated_items": "test items with 13 words or 50 letters in a row in the document",
    "near_items": "test items of which the document has a near copy",
    "contaminated_share": "bytes in what matched exactly",
}
Integers = npt.NDArray[np.int64]
_COMMON = 64
"""A 4-gram of more items than this is a phrase of the set's form ("which of the following"), and says nothing about an item."""


_LEAST_NEAR = 6
"""Fewer 4-grams in common are a phrase of the trade."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Lengths in words and letters; `near_share` 0 looks for no near copies."""

    words: int = OVERLAP_WORDS
    characters: int = OVERLAP_CHARACTERS
    least_words: int = OVERLAP_LEAST_WORDS
    near_words: int = 4
    near_share: float = 0.2


@dataclass(frozen=True, slots=True)
class Match:
    """What an item and a document have in common by one method: `found` of the item's `windows`, between two bytes of the document."""

    item: str
    document: int
    method: str
    found: int
    windows: int
    start: int
    end: int

    @property
    def share(self) -> float:
        return self.found / self.windows


@dataclass(frozen=True, slots=True)
class Hits:
    """Windows that stand in documents, one row each: document, window, start and end in the document's bytes, and its place in words."""

    rows: Integers
    documents: int


@compiled(
    types.int64(
        BYTES, OFFSETS, U32, array(types.int64, 2), U64, array(types.uint8), array(types.int32), U64, I64, U32, I64, array(types.int64, 2)
    )
)
def _search(
    data: Any, offsets: Any, fold: Any, sizes: Any, powers: Any, likely: Any, slots: Any, hashes: Any, windows: Any, set_letters: Any,
    room_size: Any, out: Any,
) -> int:  # fmt: skip
    """Rows (document, window, start, end, word) into `out`; how many there are. sizes: (method is characters, length, salt)."""
    room = room_size[0]
    letters, places, starts = np.empty(room, np.uint32), np.empty(room, np.int64), np.empty(room, np.int64)
    letter_sums, word_sums = np.empty(room, np.uint64), np.empty(room, np.uint64)
    shift, mask = np.uint64(room_size[1]), len(slots) - 1
    found = 0
    for document in range(len(offsets) - 1):
        base = offsets[document]
        count, words = reduce(data, base, offsets[document + 1], fold, letters, places, starts, letter_sums, word_sums)
        for kind in range(len(sizes)):
            by_letters, length, salt = sizes[kind, 0] == 1, sizes[kind, 1], np.uint64(sizes[kind, 2])
            sums = letter_sums if by_letters else word_sums
            for at in range((count if by_letters else words) - length + 1):
                value = mix(sums[at + length] - sums[at] * powers[kind] + salt)
                if not likely[value >> shift]:
                    continue
                slot = signed(value) & mask
                while slots[slot] >= 0 and hashes[slots[slot]] != value:
                    slot = (slot + 1) & mask
                if slots[slot] < 0:
                    continue
                window = signed(slots[slot])
                first, last = (at, at + length) if by_letters else (starts[at], starts[at + length])
                theirs = windows[window]
                same = True
                for step in range(last - first):
                    same = same and letters[first + step] == set_letters[theirs + step]
                if same:
                    if found < len(out):
                        end = places[last - 1]
                        width = 1 if data[end] < 0x80 else 2 if data[end] < 0xE0 else 3 if data[end] < 0xF0 else 4
                        out[found, 0], out[found, 1], out[found, 2] = document, window, places[first] - base
                        out[found, 3], out[found, 4] = end + width - base, at
                    found += 1
    return found


@dataclass(frozen=True)
class EvaluationSet:
    """Test items as windows. A window that several items have is one window; `owners[bounds[w]:bounds[w + 1]]` are its items."""

    names: tuple[str, ...]
    rule: Rule
    counts: Integers = field(repr=False)  # (items, methods): different windows of each item
    item_words: Integers = field(repr=False)
    method: npt.NDArray[np.int8] = field(repr=False)  # of each window
    bounds: Integers = field(repr=False)
    owners: Integers = field(repr=False)
    _letters: npt.NDArray[np.uint32] = field(repr=False)
    _windows: Integers = field(repr=False)
    _hashes: npt.NDArray[np.uint64] = field(repr=False)
    _sizes: Integers = field(repr=False)

    @classmethod
    def of(cls, items: Mapping[str, str | Sequence[str]], rule: Rule | None = None) -> EvaluationSet:
        """`items`: name → the text, or the texts, to look for."""
        rule = rule or Rule()
        gathered = _Gathered(rule)
        for number, texts in enumerate(items.values()):
            for text in [texts] if isinstance(texts, str) else texts:
                gathered.add(number, Reduced.of(text))
        return gathered.sealed(tuple(items))

    @cached_property
    def _tables(self) -> tuple[int, npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
        """A filter by the first bits of a hash, an open-addressed table of windows, and the power of the base for each length."""
        bits = max(16, min(26, (8 * len(self._hashes)).bit_length()))
        likely = np.zeros(1 << bits, np.uint8)
        likely[self._hashes >> np.uint64(64 - bits)] = 1
        slots = np.full(1 << max(4, (2 * len(self._hashes)).bit_length()), -1, np.int32)
        _fill(self._hashes, slots)
        return bits, likely, slots, np.array([power(int(length)) for length in self._sizes[:, 1]], np.uint64)

    def search(self, texts: Texts) -> Hits:
        """Every place of these texts where a window of the set stands."""
        if not len(self._hashes) or not len(texts):
            return Hits(np.zeros((0, 5), np.int64), len(texts))
        bits, likely, slots, powers = self._tables
        room = np.array([int(np.diff(texts.offsets).max()) + 2, 64 - bits], np.int64)
        out = np.empty((4096, 5), np.int64)
        while True:
            found = _search(
                texts.data,
                texts.offsets,
                folding(),
                self._sizes,
                powers,
                likely,
                slots,
                self._hashes,
                self._windows,
                self._letters,
                room,
                out,
            )
            if found <= len(out):
                return Hits(out[:found].copy(), len(texts))
            out = np.empty((found, 5), np.int64)

    def matches(self, hits: Hits) -> list[Match]:
        """One for each document, item and method that match, in this order. Near copies are told only where nothing matches exactly."""
        rows = hits.rows
        sizes = np.diff(self.bounds)[rows[:, 1]]
        at = np.repeat(np.arange(len(rows)), sizes)
        within = np.arange(len(at)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        item = self.owners[self.bounds[rows[at, 1]] + within]
        method = self.method[rows[at, 1]]
        exact: list[Match] = []
        near: list[Match] = []
        order = np.lexsort((rows[at, 4], method, item, rows[at, 0]))
        keys = np.stack([rows[at, 0], item, method])[:, order]
        edges = np.flatnonzero(np.any(np.diff(keys, axis=1) != 0, axis=0)) + 1
        for group in np.split(order, edges) if len(order) else []:
            chosen, number, kind = rows[at[group]], int(item[group[0]]), int(method[group[0]])
            found, first, last = len(np.unique(chosen[:, 1])), 0, len(chosen) - 1
            windows = int(self.counts[number, kind])
            if kind == NEAR:
                if found < max(_LEAST_NEAR, self.rule.near_share * windows):
                    continue
                found, first, last = _densest(chosen[:, 4].tolist(), chosen[:, 1].tolist(), 2 * int(self.item_words[number]))
                if found < max(_LEAST_NEAR, self.rule.near_share * windows):
                    continue
            start, end = int(chosen[first : last + 1, 2].min()), int(chosen[first : last + 1, 3].max())
            match = Match(self.names[number], int(chosen[0, 0]), METHODS[kind], found, windows, start, end)
            (near if kind == NEAR else exact).append(match)
        known = {(match.document, match.item) for match in exact}
        return sorted(
            exact + [match for match in near if (match.document, match.item) not in known],
            key=lambda match: (match.document, match.item, METHODS.index(match.method)),
        )

    def measure(self, texts: Texts) -> dict[str, npt.NDArray[Any]]:
        """The columns COLUMNS."""
        hits = self.search(texts)
        matches = self.matches(hits)
        exact = {(match.document, match.item) for match in matches if match.method != "near"}
        near = {(match.document, match.item) for match in matches if match.method == "near"}
        rows = hits.rows[self.method[hits.rows[:, 1]] != NEAR]
        covered = np.zeros(len(texts), np.int64)
        for document in np.unique(rows[:, 0]).tolist():
            spans = rows[rows[:, 0] == document]
            marks = np.zeros(int(spans[:, 3].max()) + 1, np.int64)
            np.add.at(marks, spans[:, 2], 1)
            np.add.at(marks, spans[:, 3], -1)
            covered[document] = int((np.cumsum(marks) > 0).sum())
        return {
            "contaminated_items": np.bincount([document for document, _ in exact], minlength=len(texts)).astype(np.int64),
            "near_items": np.bincount([document for document, _ in near], minlength=len(texts)).astype(np.int64),
            "contaminated_share": np.round(covered / np.maximum(np.diff(texts.offsets), 1), 6),
        }


def recall(matches: Iterable[Match], planted: Mapping[str, int]) -> float:
    """The share of planted items (name → document) that were found where they are."""
    found = {(match.item, match.document) for match in matches}
    return sum((item, document) in found for item, document in planted.items()) / max(len(planted), 1)


class _Gathered:
    """Windows of items on their way into an EvaluationSet."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._letters: list[npt.NDArray[np.uint32]] = []
        self._count = 0
        self._sizes: dict[tuple[int, int], None] = {}
        self._parts: list[tuple[int, int, npt.NDArray[np.uint64], Integers]] = []
        self._words: dict[int, int] = {}

    def add(self, item: int, text: Reduced) -> None:
        words, rule = len(text.starts) - 1, self._rule
        self._words[item] = self._words.get(item, 0) + words
        if words >= rule.least_words:
            self._windows(item, text, WORDS, min(rule.words, words))
            if rule.near_share:
                self._windows(item, text, NEAR, rule.near_words)
        self._windows(item, text, CHARACTERS, rule.characters)
        self._letters.append(text.letters)
        self._count += len(text.letters)

    def _windows(self, item: int, text: Reduced, method: int, size: int) -> None:
        sums = text.letter_sums if method == CHARACTERS else text.word_sums
        count = len(sums) - size
        if count < 1:
            return
        self._sizes[method, size] = None
        values = spread(sums[size:] - sums[:-size] * power(size) + np.uint64(_salt(method, size)))
        first = np.arange(count) if method == CHARACTERS else text.starts[:count]
        self._parts.append((item, method, values, first + self._count))

    def sealed(self, names: tuple[str, ...]) -> EvaluationSet:
        hashes = np.concatenate([part[2] for part in self._parts] or [np.zeros(0, np.uint64)])
        starts = np.concatenate([part[3] for part in self._parts] or [np.zeros(0, np.int64)])
        lengths = [len(part[2]) for part in self._parts]
        item = np.repeat(np.array([part[0] for part in self._parts], np.int64), lengths)
        kind = np.repeat(np.array([part[1] for part in self._parts], np.int8), lengths)
        different, first, number = np.unique(hashes, return_index=True, return_inverse=True)
        pairs = np.unique(number.astype(np.int64) * max(len(names), 1) + item)  # each item once per window
        window, owner = pairs // max(len(names), 1), pairs % max(len(names), 1)
        method = kind[first]
        common = np.bincount(window, minlength=len(different)) > _COMMON
        kept = ~(common & (method == NEAR))[window]
        window, owner = window[kept], owner[kept]
        counts = np.zeros((len(names), len(METHODS)), np.int64)
        np.add.at(counts, (owner, method[window]), 1)
        bounds = np.searchsorted(window, np.arange(len(different) + 1)).astype(np.int64)
        sizes = np.array([(key[0] == CHARACTERS, key[1], _salt(*key)) for key in self._sizes], np.int64).reshape(-1, 3)
        words = np.array([self._words.get(number, 0) for number in range(len(names))], np.int64)
        letters = np.concatenate([*self._letters, np.zeros(1, np.uint32)])
        return EvaluationSet(names, self._rule, counts, words, method, bounds, owner, letters, starts[first], different, sizes)


def _salt(method: int, size: int) -> int:
    return (method + 1) << 32 | size


@compiled(types.void(U64, array(types.int32)))
def _fill(hashes: Any, slots: Any) -> None:
    mask = len(slots) - 1
    for number in range(len(hashes)):
        slot = signed(hashes[number]) & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = number


def _densest(places: Sequence[int], windows: Sequence[int], width: int) -> tuple[int, int, int]:
    """The stretch of `width` words with the most different windows: how many, and the first and last hit in it. Places ascend."""
    seen: dict[int, int] = {}
    best, first = (0, 0, 0), 0
    for last, window in enumerate(windows):
        seen[window] = seen.get(window, 0) + 1
        while places[last] - places[first] > width:
            seen[windows[first]] -= 1
            if not seen[windows[first]]:
                del seen[windows[first]]
            first += 1
        if len(seen) > best[0]:
            best = (len(seen), first, last)
    return best
