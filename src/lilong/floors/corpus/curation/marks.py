"""Marks that tell what a file is: phrases at its beginning, and runs of encoded data anywhere in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import types

from lilong.floors.corpus.curation.characters import BYTES, OFFSETS, array
from lilong.floors.corpus.curation.compiling import compiled

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts

_U8, _I64 = array(types.uint8), array(types.int64)


@compiled(types.void(BYTES, OFFSETS, types.int64, BYTES, OFFSETS, _U8, array(types.uint8, 2)))
def _phrases(data: Any, offsets: Any, window: int, phrase_bytes: Any, phrase_offsets: Any, first: Any, out: Any) -> None:
    for document in range(len(offsets) - 1):
        end = min(offsets[document + 1], offsets[document] + window)
        for at in range(offsets[document], end):
            if not first[data[at]]:
                continue
            for phrase in range(len(phrase_offsets) - 1):
                start, size = phrase_offsets[phrase], phrase_offsets[phrase + 1] - phrase_offsets[phrase]
                same = at + size <= end
                step = 0
                while same and step < size:
                    byte = data[at + step]
                    same = (byte | 32 if 65 <= byte <= 90 else byte) == phrase_bytes[start + step]
                    step += 1
                if same:
                    out[document, phrase] = 1


def phrases(texts: Texts, wanted: Sequence[str], window: int) -> npt.NDArray[np.int64]:
    """(n,): how many different ones of the phrases (ASCII, small letters) stand in the first `window` bytes of each text."""
    first = np.zeros(256, np.uint8)
    for phrase in wanted:
        first[ord(phrase[0])] = first[ord(phrase[0].upper())] = 1
    offsets = np.zeros(len(wanted) + 1, np.int64)
    np.cumsum([len(phrase) for phrase in wanted], out=offsets[1:])
    out = np.zeros((len(texts), len(wanted)), np.uint8)
    _phrases(texts.data, texts.offsets, window, np.frombuffer("".join(wanted).encode(), np.uint8), offsets, first, out)
    found: npt.NDArray[np.int64] = out.sum(axis=1, dtype=np.int64)
    return found


_DIGIT, _LOWER, _UPPER, _HEX, _BASE64, _GAP = 1, 2, 4, 8, 16, 32
_BASE64_RUN, _HEX_PAIRS, _ESCAPES = 64, 8, 8


def _kinds() -> npt.NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for bit, members in (
        (_DIGIT, b"0123456789"), (_LOWER, bytes(range(97, 123))), (_UPPER, bytes(range(65, 91))), (_HEX, b"0123456789abcdefABCDEF"),
        (_GAP, b" \t\r\n,;\"'{}"),
    ):  # fmt: skip
        for member in members:
            table[member] |= bit
            if bit in (_DIGIT, _LOWER, _UPPER):
                table[member] |= _BASE64
    for member in b"+/=":
        table[member] |= _BASE64
    return table


@compiled(types.int64(BYTES, types.int64, types.int64, _U8))
def _base64(data: Any, at: int, end: int, kinds: Any) -> int:
    """Where a run of 64 or more base64 characters ends (line ends after 32 or more of them allowed) that has both cases and digits, or is
    all hexadecimal with digits and letters; 0 for none."""
    place, size, used, hexadecimal, last, line = at, 0, 0, True, at, at
    while place < end:
        kind = kinds[data[place]]
        if kind & 16:
            used |= kind
            hexadecimal = hexadecimal and kind & 8 != 0
            size += 1
            last = place + 1
        elif data[place] == 10 and place - line >= 32:
            line = place + 1
        else:
            break
        place += 1
    mixed = used & 7 == 7 or (hexadecimal and used & 1 and used & 6)
    return last if size >= _BASE64_RUN and mixed else 0


@compiled(types.int64(BYTES, types.int64, types.int64, _U8))
def _hex_items(data: Any, at: int, end: int, kinds: Any) -> int:
    r"""Where a list of 8 or more of 0x12, \x12 (or bare 12 with a letter or in a list of these), or \u1234 ends; 0 for none."""
    place, items, marked, last = at, 0, 0, at
    while place + 1 < end:
        start = place
        wanted = 2
        if (data[place] == 92 and data[place + 1] in (120, 88)) or (data[place] == 48 and data[place + 1] in (120, 88)):
            marked += 1
            place += 2
        elif data[place] == 92 and data[place + 1] == 117:
            marked += 1
            wanted = 4
            place += 2
        digits = 0
        while place < end and digits < 8 and kinds[data[place]] & 8:
            place += 1
            digits += 1
        if digits < wanted or (place - start == digits and digits != 2):
            break
        items += 1
        last = place
        while place < end and kinds[data[place]] & 32 and place - last < 40:
            place += 1
        if place == last and (place >= end or data[place] != 92):
            break
    return last if items >= _HEX_PAIRS and (marked >= items - 1 or (marked == 0 and items >= 16)) else 0


@compiled(types.void(BYTES, OFFSETS, _U8, array(types.int64, 2)))
def _encoded(data: Any, offsets: Any, kinds: Any, out: Any) -> None:
    for document in range(len(offsets) - 1):
        at, end = offsets[document], offsets[document + 1]
        while at < end:
            kind = kinds[data[at]]
            found = 0
            if kind & 8 or data[at] == 92:
                found = _hex_items(data, at, end, kinds)
            if found == 0 and kind & 16:
                found = _base64(data, at, end, kinds)
            if found:
                out[document, 0] += found - at
                out[document, 1] = max(out[document, 1], found - at)
                at = found
            elif kind & 16:
                while at < end and kinds[data[at]] & 16:  # nothing begins inside a run
                    at += 1
            else:
                at += 1


def encoded(texts: Texts) -> npt.NDArray[np.int64]:
    r"""(n, 2): bytes in runs of encoded data and bytes of the longest such run.

    As in StarCoder 2 (Lozhkov et al. 2024, appendix A): 64 or more base64 or hexadecimal characters, 8 or more of 0x12, \x12 or \u1234.
    A base64 run must have both cases and digits, so that a path or a long name is none.
    """
    out = np.zeros((len(texts), 2), np.int64)
    _encoded(texts.data, texts.offsets, _kinds(), out)
    return out
