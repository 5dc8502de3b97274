"""Is a test item in the training text? An exact search for windows of words and of characters, in one pass over the text.

Both sides are reduced to letters and digits by the corpus floor's definition (`overlap_letter`, `OWN_WORDS`), so that layout, case and
punctuation hide nothing, and what is decontaminated there is what is found here. Two kinds of window are looked for:

- `words`: so many words in a row (13 is the usual choice since GPT-3); an item of fewer words is searched whole;
- `characters`: so many letters and digits in a row, gaps left out (50 letters are about 9 English words).

Windows are found by polynomial hashes modulo 2^64 of a prefix-sum kind, computed with numpy for a whole slice of text at once, and
every hit is compared letter by letter before it counts: no false alarms, and nothing is missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lilong.floors.corpus.contract import OWN_WORDS, overlap_letter
from lilong.floors.evaluation.contract import OverlapRule

Codes = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

SLICE_CHARACTERS = 1 << 20
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_FILTER_BITS = 22


@dataclass(frozen=True, slots=True)
class Hit:
    """One window of an item that stands in the training document `document`, as it reads there."""

    method: str
    document: str
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What the search says of one item: of `windows` distinct windows, `found` stand in the training text. 0 windows: too short."""

    item: str
    windows: Mapping[str, int]
    found: Mapping[str, int]
    hits: tuple[Hit, ...]

    @property
    def contaminated(self) -> bool:
        return any(self.found.values())

    @property
    def searched(self) -> bool:
        return any(self.windows.values())

    @property
    def share(self) -> float:
        """The larger share of found windows of the two methods."""
        return max((self.found[method] / count for method, count in self.windows.items() if count), default=0.0)


@dataclass(slots=True)
class _Text:
    """Letters of a slice of text without gaps; `places` in the raw text; word starts as indices into letters, with an end mark."""

    letters: Codes
    places: Places
    starts: Places


class OverlapSearch:
    """Searches documents, one after the other, for windows of items. `items` maps an item's name to the texts to look for."""

    def __init__(self, items: Mapping[str, Sequence[str]], rule: OverlapRule) -> None:
        self._rule = rule
        self._tables: dict[tuple[str, int], _Table] = {}
        self._windows: dict[str, dict[str, list[tuple[_Table, int]]]] = {}
        for name, texts in items.items():
            self._windows[name] = {"words": [], "characters": []}
            for text in texts:
                self._add(name, _reduce(text))
        for table in self._tables.values():
            table.seal()
        self.documents = 0
        self.characters = 0
        self._slice: list[tuple[str, str]] = []
        self._waiting = 0

    def _add(self, name: str, text: _Text) -> None:
        words = len(text.starts) - 1
        length = min(self._rule.words, words)
        for method, size in (("words", length if words >= self._rule.least_words else 0), ("characters", self._rule.characters)):
            hashes, spans = _windows(text, method, size)
            table = self._tables.setdefault((method, size), _Table()) if len(hashes) else _Table()
            seen = {number for other, number in self._windows[name][method] if other is table}
            for value, (start, end) in zip(hashes.tolist(), spans, strict=True):
                number = table.add(value, _signature(text, method, start, end))
                if number not in seen:
                    self._windows[name][method].append((table, number))
                    seen.add(number)

    def feed(self, document: str, text: str) -> None:
        """Search one more document."""
        self._slice.append((document, text))
        self._waiting += len(text) + 1
        self.documents += 1
        self.characters += len(text)
        if self._waiting >= SLICE_CHARACTERS:
            self._search()

    def feed_all(self, documents: Iterable[tuple[str, str]]) -> None:
        for document, text in documents:
            self.feed(document, text)

    def findings(self, most_hits: int = 3) -> list[Finding]:
        """The findings so far, an item each, in the order of the items."""
        self._search()
        found = []
        for name, methods in self._windows.items():
            hits = [table.hits[number] for windows in methods.values() for table, number in windows if number in table.hits]
            found.append(
                Finding(
                    name,
                    {method: len(windows) for method, windows in methods.items()},
                    {method: sum(number in table.hits for table, number in windows) for method, windows in methods.items()},
                    tuple(hits[:most_hits]),
                )
            )
        return found

    def _search(self) -> None:
        if not self._slice:
            return
        raw = "\0".join(text for _, text in self._slice)
        text = _reduce(raw)
        ends = np.cumsum([len(each) + 1 for _, each in self._slice])
        hashed = _letter_sums(text.letters)
        for (method, size), table in self._tables.items():
            hashes = _window_hashes(text, method, size, hashed)
            for at in table.candidates(hashes).tolist():
                number = table.numbers[int(hashes[at])]
                if number in table.hits:
                    continue
                start, end = (at, at + size) if method == "characters" else (int(text.starts[at]), int(text.starts[at + size]))
                first, last = int(text.places[start]), int(text.places[end - 1])
                document = int(np.searchsorted(ends, first, side="right"))
                inside = document == int(np.searchsorted(ends, last, side="right"))
                if inside and _signature(text, method, start, end) == table.signatures[number]:
                    table.hits[number] = Hit(method, self._slice[document][0], raw[first : last + 1])
        self._slice, self._waiting = [], 0


@dataclass(slots=True)
class _Table:
    """The distinct windows of one method and size: hash → number, and what a true hit looks like."""

    numbers: dict[int, int] = field(default_factory=dict)
    signatures: list[bytes] = field(default_factory=list)
    hits: dict[int, Hit] = field(default_factory=dict)
    _sorted: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    _filter: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    def add(self, value: int, signature: bytes) -> int:
        number = self.numbers.setdefault(value, len(self.signatures))
        if number == len(self.signatures):
            self.signatures.append(signature)
        elif self.signatures[number] != signature:
            # Two windows with one 64-bit hash (5e-12 for 10,000 windows): the search would miss one, so it must not go on.
            raise AssertionError("two windows of test items share a hash; choose another _BASE")
        return number

    def seal(self) -> None:
        self._sorted = np.sort(np.fromiter(self.numbers, np.uint64, len(self.numbers)))
        self._filter = np.zeros(1 << _FILTER_BITS, np.bool_)
        self._filter[self._sorted >> np.uint64(64 - _FILTER_BITS)] = True

    def candidates(self, hashes: Hashes) -> Places:
        """Indices of `hashes` that are in the table."""
        likely = np.flatnonzero(self._filter[hashes >> np.uint64(64 - _FILTER_BITS)])
        values = hashes[likely]
        at = np.minimum(np.searchsorted(self._sorted, values), len(self._sorted) - 1)
        found: Places = likely[self._sorted[at] == values]
        return found


@cache
def _folding() -> Codes:
    """What stands for each code point of the Basic Multilingual Plane, 0 for a gap."""
    return np.fromiter(map(overlap_letter, range(0x10000)), np.uint32, 0x10000)


def _reduce(raw: str) -> _Text:
    codes = np.frombuffer(raw.encode("utf-32-le", "surrogatepass"), np.uint32)
    # Beyond the BMP (rare Han, mathematical letters, emoji) every code point stands for itself.
    folded = np.where(codes < 0x10000, _folding()[np.minimum(codes, 0xFFFF)], codes)
    places = np.flatnonzero(folded)
    letters = folded[places]
    alone = _own_word(letters)
    starts = np.ones(len(letters), np.bool_)
    starts[1:] = (np.diff(places) > 1) | alone[1:] | alone[:-1]
    return _Text(letters, places, np.append(np.flatnonzero(starts), len(letters)))


def _own_word(letters: Codes) -> NDArray[np.bool_]:
    alone = np.zeros(len(letters), np.bool_)
    for first, last in OWN_WORDS:
        alone |= (letters >= first) & (letters < last)
    return alone


@cache
def _powers(base: int, exponent_bits: int) -> Hashes:
    """base^0 … base^(2^bits - 1) modulo 2^64."""
    powers = np.ones(1, np.uint64)
    for bit in range(exponent_bits):
        powers = np.concatenate([powers, powers * np.uint64(pow(base, 1 << bit, 1 << 64))])
    return powers


def _power_range(base: int, count: int) -> Hashes:
    return _powers(base, max(20, (count - 1).bit_length() if count > 1 else 0))[:count]


def _mix(values: Hashes) -> Hashes:
    """Spread small numbers over 64 bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _prefix_sums(values: Hashes) -> Hashes:
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * _power_range(_BASE, len(values)), out=sums[1:])
    return sums


def _letter_sums(letters: Codes) -> Hashes:
    return _prefix_sums(_mix(letters.astype(np.uint64) + np.uint64(1)))


def _spans(sums: Hashes, starts: Places, ends: Places) -> Hashes:
    """Hash of each span: its prefix-sum difference, moved to exponent 0 by the inverse power of its start."""
    inverse = _power_range(pow(_BASE, -1, 1 << 64), len(sums))
    return _mix((sums[ends] - sums[starts]) * inverse[starts])


def _window_hashes(text: _Text, method: str, size: int, letter_sums: Hashes) -> Hashes:
    if method == "characters":
        count = len(text.letters) - size + 1
        at = np.arange(max(count, 0))
        return _spans(letter_sums, at, at + size)
    words = _spans(letter_sums, text.starts[:-1], text.starts[1:])
    at = np.arange(max(len(words) - size + 1, 0))
    return _spans(_prefix_sums(words), at, at + size)


def _windows(text: _Text, method: str, size: int) -> tuple[Hashes, list[tuple[int, int]]]:
    """Hashes of all windows of an item, and their spans in its letters."""
    if size == 0:
        return np.zeros(0, np.uint64), []
    hashes = _window_hashes(text, method, size, _letter_sums(text.letters))
    if method == "characters":
        return hashes, [(at, at + size) for at in range(len(hashes))]
    return hashes, [(int(text.starts[at]), int(text.starts[at + size])) for at in range(len(hashes))]


def _signature(text: _Text, method: str, start: int, end: int) -> bytes:
    """What two equal windows have in common, exactly: their letters, and for words where these begin."""
    letters = text.letters[start:end].tobytes()
    if method == "characters":
        return letters
    low, high = np.searchsorted(text.starts, [start, end])
    return letters + (text.starts[low:high] - start).astype("<i8").tobytes()
