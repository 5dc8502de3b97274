"""Code points, looked at by compiled loops: what kind each is, and what it folds to where layout and case must not matter.

The tables come from Python's `unicodedata`; what a text is made of is the same on every machine with the same Unicode version.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import types

from lilong.floors.corpus.contract import overlap_letter
from lilong.floors.corpus.curation.compiling import compiled

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts

signed: Any = np.int64
"""Conversion to a signed integer in compiled code, where it is a plain number; mypy knows it as a numpy scalar."""

CLASSES = (
    "other", "latin", "letter", "han", "kana", "hangul", "digit", "ascii_mark", "wide_mark", "mark", "symbol",
    "blank", "newline", "control", "private", "wide_form",
)  # fmt: skip
"""Kinds of code points, by number. `latin` includes its combining marks; `letter` is every other script; `ascii_mark` is punctuation or
symbol below U+0080; `wide_mark` is CJK and full-width punctuation; `wide_form` is a full-width letter or digit; `private` includes
U+FFFD, which a wrong decoding leaves."""
OTHER, LATIN, LETTER, HAN, KANA, HANGUL, DIGIT, ASCII_MARK, WIDE_MARK, MARK, SYMBOL, BLANK, NEWLINE, CONTROL, PRIVATE, WIDE_FORM = range(16)
FIRST_UNKNOWN = 0x32400
"""Above this are only private and unassigned code points, and variation selectors."""

_KINDS = {"L": LETTER, "M": LETTER, "N": DIGIT, "P": MARK, "S": SYMBOL, "Z": BLANK}
_HAN = ((0x2E80, 0x2FD5), (0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
_KANA = ((0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D))
_HANGUL = ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97C), (0xAC00, 0xD7A3), (0xD7B0, 0xD7FB))
_WIDE_MARKS = ((0x3001, 0x3003), (0x3008, 0x3020), (0x3030, 0x3030), (0x30FB, 0x30FB), (0xFE10, 0xFE19), (0xFE30, 0xFE6B))


def array(kind: Any, dimensions: int = 1, *, readonly: bool = False) -> Any:
    """A numba type: C-ordered array."""
    return types.Array(kind, dimensions, "C", readonly=readonly)


BYTES, OFFSETS = array(types.uint8, readonly=True), array(types.int64, readonly=True)


def _class_of(code: int) -> int:
    character = chr(code)
    category = unicodedata.category(character)
    if category == "Cn":
        return OTHER
    if code == 0x0A:
        return NEWLINE
    if code in (0x09, 0x0B, 0x0C, 0x0D, 0x85):
        return BLANK
    if category in ("Co", "Cs") or code == 0xFFFD:
        return PRIVATE
    if category == "Cc":
        return CONTROL
    if code < 0x80 and category[0] in "PS":
        return ASCII_MARK
    if category in ("Ll", "Lu") or category in ("Lm", "Lt", "Lo", "Mn"):
        name = unicodedata.name(character, "")
        if name.startswith("FULLWIDTH"):
            return WIDE_FORM
        if name.startswith("LATIN") or 0x300 <= code < 0x370:
            return LATIN
    if category == "Nd" and 0xFF10 <= code <= 0xFF19:
        return WIDE_FORM
    if 0xFF01 <= code <= 0xFF65 and category[0] in "PS":
        return WIDE_MARK
    return _KINDS.get(category[0], OTHER)


@cache
def classes() -> npt.NDArray[np.uint8]:
    """The class of each code point below FIRST_UNKNOWN. 205 kB."""
    table = np.zeros(FIRST_UNKNOWN, np.uint8)
    for ranges, number in ((_HAN, HAN), (_KANA, KANA), (_HANGUL, HANGUL), (_WIDE_MARKS, WIDE_MARK)):
        for first, last in ranges:
            table[first : last + 1] = number
    rest = np.flatnonzero(table == 0)
    table[rest] = np.fromiter(map(_class_of, rest.tolist()), np.uint8, len(rest))
    return table


@cache
def folding() -> npt.NDArray[np.uint32]:
    """contract.overlap_letter of each code point of the Basic Multilingual Plane. 256 kB."""
    return np.fromiter(map(overlap_letter, range(0x10000)), np.uint32, 0x10000)


@compiled(types.UniTuple(types.int64, 2)(BYTES, types.int64, types.int64))
def decode(data: Any, at: int, end: int) -> tuple[int, int]:
    """The code point at `at` and where the next one starts. The bytes are known to be valid UTF-8; a cut one reads as U+FFFD."""
    first = signed(data[at])
    if first < 0x80:
        return first, at + 1
    if first < 0xE0 and at + 1 < end:
        return ((first & 0x1F) << 6) | (data[at + 1] & 0x3F), at + 2
    if first < 0xF0 and at + 2 < end:
        return ((first & 0x0F) << 12) | ((data[at + 1] & 0x3F) << 6) | (data[at + 2] & 0x3F), at + 3
    if at + 3 < end:
        return ((first & 0x07) << 18) | ((data[at + 1] & 0x3F) << 12) | ((data[at + 2] & 0x3F) << 6) | (data[at + 3] & 0x3F), at + 4
    return 0xFFFD, end


@compiled(types.uint64(types.uint64))
def mix(value: Any) -> Any:
    """Spread small numbers over 64 bits (the finaliser of splitmix64; Steele, Lea and Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled(types.void(BYTES, OFFSETS, array(types.uint8), array(types.int64, 2)))
def _count(data: Any, offsets: Any, table: Any, out: Any) -> None:
    for document in range(len(offsets) - 1):
        at, end = offsets[document], offsets[document + 1]
        row = out[document]
        while at < end:
            if data[at] < 0x80:
                row[table[data[at]] & 15] += 1
                at += 1
                continue
            code, at = decode(data, at, end)
            kind = table[code] if code < FIRST_UNKNOWN else OTHER
            row[kind & 15] += 1
            row[16] += kind >> 4 & 1
            row[17] += kind >> 5 & 1


@cache
def _classes_and_variants() -> npt.NDArray[np.uint8]:
    """`classes`, with bit 16 for a simplified Han character and bit 32 for a traditional one: what only one of the character sets of the
    mainland (GB 2312) and of Taiwan (Big5) holds."""
    table = classes().copy()
    here, there = _han_of("gb2312"), _han_of("big5")
    table[list(here - there)] |= 16
    table[list(there - here)] |= 32
    return table


def _han_of(coding: str) -> set[int]:
    """The code points from U+4E00 to U+9FFF that a character set of pairs of bytes holds."""
    pairs = b"\n".join(bytes((first, second)) for first in range(0xA1, 0xFF) for second in range(0x40, 0xFF))
    return {ord(sign) for sign in pairs.decode(coding, "ignore") if "\u4e00" <= sign <= "\u9fff"}


def counts(texts: Texts) -> npt.NDArray[np.int64]:
    """(n, 18): code points of each of CLASSES, then simplified and traditional Han characters (those that tell the two apart)."""
    out = np.zeros((len(texts), 18), np.int64)
    _count(texts.data, texts.offsets, _classes_and_variants(), out)
    return out
