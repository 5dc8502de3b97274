"""How a text is laid out: lines, paragraphs, sentences, what repeats. Counts that the profiles for Chinese, code and documentation share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import types

from lilong.floors.corpus.curation.characters import (
    ASCII_MARK,
    BLANK,
    BYTES,
    CONTROL,
    FIRST_UNKNOWN,
    HAN,
    NEWLINE,
    OFFSETS,
    OTHER,
    WIDE_MARK,
    array,
    classes,
    decode,
    mix,
    signed,
)  # fmt: skip
from lilong.floors.corpus.curation.compiling import compiled

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts

LAYOUT = (
    "characters", "visible", "lines", "longest_line", "short_lines", "list_lines", "ended_lines", "nav_lines", "ellipsis_lines",
    "indented_lines", "code_lines", "dup_lines", "dup_line_characters", "paragraphs", "dup_paragraphs", "dup_paragraph_characters",
    "sentences", "half_width_after_han", "wide_after_han", "spaced_han", "numeric_lines",
)  # fmt: skip
"""The columns of `layout`. Lines are those with something visible; characters of lines and paragraphs are visible ones.

short: narrower than 30 columns (a Han character takes two) · list: begins with a bullet or a number and a mark · ended: ends with a mark
that ends or opens something · nav: short, not indented, no list, not ended · code: ends or begins as code does · paragraphs: parted by blank
lines · sentences: ended by 。！？ or by .!? before a blank · half_width_after_han, wide_after_han: punctuation right after a Han character ·
spaced_han: a single blank between two Han characters · numeric: four digits or more, and more of them than letters.
"""
_SHORT = 30

_END, _BULLET, _SENTENCE, _CODE_END, _CODE_START = 1, 2, 4, 8, 16
_ROLES = (
    (_END, ".!?\"':;)。！？；：）”’…」』》】"),
    (_BULLET, "-*•·▪●‣◦⁃○■□◆◇★☆※→"),
    (_SENTENCE, "。！？!?."),
    (_CODE_END, ";{}[](,\\=|&+"),
    (_CODE_START, "#$<>%}{@/|\\+~)]"),
)


def _role_table() -> npt.NDArray[np.uint8]:
    table = np.zeros(0x10000, np.uint8)
    for bit, members in _ROLES:
        for member in members:
            table[ord(member)] |= bit
    return table


@compiled(types.boolean(types.uint64, array(types.uint64), array(types.int64), types.int64, types.int64))
def seen(key: Any, keys: Any, stamps: Any, stamp: int, size: int) -> bool:
    """Put `key` into an open-addressed set of the first `size` slots (a power of two, at most half used); was it there already?
    Slots with another stamp are empty."""
    slot = signed(key >> np.uint64(20)) & (size - 1)
    while stamps[slot] == stamp:
        if keys[slot] == key:
            return True
        slot = (slot + 1) & (size - 1)
    stamps[slot] = stamp
    keys[slot] = key
    return False


@compiled(
    types.void(BYTES, OFFSETS, array(types.uint8), array(types.uint8), array(types.uint64), array(types.int64), array(types.int64, 2))
)
def _layout(data: Any, offsets: Any, table: Any, roles: Any, keys: Any, stamps: Any, out: Any) -> None:
    for document in range(len(offsets) - 1):
        at, end = offsets[document], offsets[document + 1]
        row = out[document]
        size = 16
        while size < end - at + 3:
            size *= 2
        line_hash, paragraph_hash = np.uint64(1), np.uint64(2)
        length, width, visible, indent, paragraph, digits, letters = 0, 0, 0, 0, 0, 0, 0
        first, second, third, last, before_last, third_last = 0, 0, 0, 0, 0, 0
        previous, before, before_code = OTHER, OTHER, 0
        while at <= end:
            code, kind = 10, NEWLINE
            if at < end:
                code, at = decode(data, at, end)
                kind = signed(table[code]) if code < FIRST_UNKNOWN else OTHER
                row[0] += 1
            else:
                at += 1
            if before_code in (33, 46, 63) and (kind in (BLANK, NEWLINE)):
                row[16] += 1
            if code in (0x3002, 0xFF01, 0xFF1F):
                row[16] += 1
            if previous == HAN:
                row[17] += kind == ASCII_MARK and code in (33, 44, 46, 58, 59, 63)
                row[18] += kind == WIDE_MARK
            if kind == HAN and previous == BLANK and before == HAN:
                row[19] += 1
            before, previous, before_code = previous, kind, code
            if kind == NEWLINE:
                if visible > 0:
                    role = signed(roles[last]) if last < 0x10000 else 0
                    ellipsis = last == 0x2026 or (last == 46 and before_last == 46 and third_last == 46)
                    is_list = (roles[first] & 2 != 0) if first < 0x10000 else False
                    if 48 <= first <= 57:
                        mark = third if 48 <= second <= 57 else second
                        is_list = mark in (46, 41, 0x3001, 0xFF0E, 0xFF09)
                    elif first in (40, 0xFF08) and 48 <= second <= 57:
                        is_list = third in (41, 0xFF09)
                    ended = role & 1 != 0
                    row[1] += visible
                    row[2] += 1
                    row[3] = max(row[3], length)
                    row[4] += width < _SHORT
                    row[5] += is_list
                    row[6] += ended
                    row[7] += width < _SHORT and indent == 0 and not is_list and not ended
                    row[8] += ellipsis
                    row[9] += indent >= 4
                    starts = first < 0x10000 and roles[first] & 16 != 0
                    row[10] += role & 8 != 0 or starts
                    row[20] += digits >= 4 and digits > letters
                    if seen(line_hash, keys, stamps, document + 1, size):
                        row[11] += 1
                        row[12] += visible
                    paragraph_hash = mix(paragraph_hash ^ line_hash)
                    paragraph += visible
                if (visible == 0 or at > end) and paragraph > 0:
                    row[13] += 1
                    if seen(paragraph_hash, keys, stamps, document + 1, size):
                        row[14] += 1
                        row[15] += paragraph
                    paragraph, paragraph_hash = 0, np.uint64(2)
                length, width, visible, indent, digits, letters, line_hash = 0, 0, 0, 0, 0, 0, np.uint64(1)
                first, second, third = 0, 0, 0
                continue
            length += 1
            width += 2 if HAN <= kind <= HAN + 2 or kind == WIDE_MARK else 1
            if kind in (BLANK, CONTROL):
                if visible == 0:
                    indent += 4 if code == 9 else 1
                continue
            visible += 1
            digits += 48 <= code <= 57
            letters += 1 <= kind <= 5
            if visible == 1:
                first = code
            elif visible == 2:
                second = code
            elif visible == 3:
                third = code
            third_last, before_last, last = before_last, last, code
            line_hash = mix(line_hash ^ np.uint64(code))


def layout(texts: Texts) -> dict[str, npt.NDArray[np.int64]]:
    """The counts LAYOUT of n texts, each an array of n."""
    out = np.zeros((len(texts), len(LAYOUT)), np.int64)
    # A text has at most one line and one paragraph for every two bytes, and one more.
    size = 1 << max(4, int(np.diff(texts.offsets).max(initial=0) + 2).bit_length() + 1)
    _layout(texts.data, texts.offsets, classes(), _role_table(), np.zeros(size, np.uint64), np.zeros(size, np.int64), out)
    return {name: out[:, number] for number, name in enumerate(LAYOUT)}


def share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """part / whole, 0 where there is no whole, rounded so that the last bits of a division are not data."""
    found = np.zeros(len(whole))
    np.divide(part, whole, out=found, where=whole > 0)
    return np.round(found, 6)
