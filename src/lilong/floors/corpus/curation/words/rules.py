"""What the affix kernel knows of characters and special cases: `english.json` as a flat array. See `record.py` for its recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

NAMES = (
    "space", "prefix", "suffix", "infix", "alpha", "before_dot", "after_dot", "upper", "before_end_dot", "after_digit",
    "host", "top", "scheme", "decimal", "letter", "wordy", "punctuation", "sentence_end", "unit_end",
    "sign",
)  # fmt: skip
BITS = {name: 1 << place for place, name in enumerate(NAMES)}
"""The bit of each class in the table of code points.

`space` parts chunks (str.isspace). `prefix`, `suffix` and `infix` hold characters that are one wherever they stand. `alpha`, `before_dot`
and `after_dot` are what infixes look at on either side; `upper`, `before_end_dot`, `after_digit` and `unit_end` what suffixes look at;
`host`, `top`, `scheme` and `decimal` what addresses are made of; `letter` to `sentence_end` are for `Tokens.flags`. Every infix and
every address holds a `sign`.
"""

LONGEST = 12
"""Code points in the longest special case."""

SIGNS = ".,-–—~:<>=/+*^"
"""Characters of infixes that look at what stands on either side; an address has a dot."""

MULTIPLIER = 0x9E3779B97F4A7C15
SLOTS = 4096
_CODES = 0x110000
_LAYOUT = 1
"""Raised when entries (see `lookup.py`), the flags of tokens or the kernel of affixes change."""
SLOT = _CODES
"""Where the table of special cases begins in the array of rules: for each slot, 0 or where the special case lies."""
PAIRS, PAIR = 4096, SLOT + SLOTS
"""How many marks for the first two code points of special cases that are found again among tokens, and where they begin."""
UNIT = PAIR + PAIRS
"""Where the number of units stands, and the units after it."""


@cache
def source() -> str:
    """The versions of spaCy, datatrove and Unicode whose behaviour these rules are."""
    return str(_recorded()["source"])


@cache
def digest() -> str:
    """What a remembered tokenisation depends on: these rules, the hash of words and the layout of entries."""
    from lilong.floors.corpus.curation.words import hashing

    return hashlib.sha256(_bytes() + f"{hashing.BASE} {_LAYOUT}".encode()).hexdigest()


@cache
def load() -> npt.NDArray[np.uint32]:
    """All rules in one flat array, since kernels pass it on many times for each chunk.

    The classes of each code point; then the open-addressed slots of special cases; then the marks of pairs; then how many units of two characters or more there
    are, and each as its length and code points; then each special case as its length, the mask of its tokens, the mask of the tokens in which it
    is found again once affixes are split (0: it is not looked for), and its code points. Bit k of a mask: a token ends after k + 1 code points.
    """
    recorded = _recorded()
    specials, units = recorded["specials"], recorded["units"]
    alone = any(found and len(found) == 1 and found != split for _, split, found in specials)
    if alone or 2 * len(specials) > SLOTS or any(len(text) > LONGEST for text, _, _ in specials):
        raise AssertionError("english.json is of another shape than rules.py knows")
    tail = [len(units)]
    for unit in units:
        tail += [len(unit), *map(ord, unit)]
    slots, pairs = [0] * SLOTS, [0] * PAIRS
    for text, split, found in specials:
        slots[_free(slots, text)] = UNIT + len(tail)
        if found and len(found) > 1:  # one token found again as itself changes nothing
            pairs[(ord(text[0]) * 31 + ord(text[1])) % PAIRS] = 1
        tail += [len(text), _mask(split), _mask(found or ()), *map(ord, text)]
    return np.concatenate([_classes(recorded["classes"]), np.array(slots + pairs + tail, np.uint32)])


@cache
def _recorded() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(_bytes())
    return loaded


def _bytes() -> bytes:
    return files(__package__).joinpath("english.json").read_bytes()


def _classes(ranges: dict[str, str]) -> npt.NDArray[np.uint32]:
    table = np.zeros(_CODES, np.uint32)
    for name, runs in ranges.items():
        for run in runs.split():
            first, _, last = run.partition("-")
            table[int(first, 16) : int(last or first, 16) + 1] |= BITS[name]
    table[[ord(sign) for sign in SIGNS]] |= BITS["sign"]
    table[table & BITS["infix"] > 0] |= BITS["sign"]
    return table


def _mask(lengths: Sequence[int]) -> int:
    return sum(1 << (int(end) - 1) for end in np.cumsum(lengths))


def _free(slots: Sequence[int], text: str) -> int:
    """The slot for a special case, found as `affixes.special` looks for it."""
    key = 0
    for character in text:
        key = ((key ^ ord(character)) * MULTIPLIER) & 0xFFFF_FFFF_FFFF_FFFF
    slot = (key >> 40) & (SLOTS - 1)
    while slots[slot]:
        slot = (slot + 1) & (SLOTS - 1)
    return slot
