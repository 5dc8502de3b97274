"""Lines, paragraphs and signs of texts, per document."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.fineweb.characters import TERMINAL, classes
from lilong.floors.corpus.curation.fineweb.utf8 import (
    BOUNDS,
    BYTES,
    COUNTS,
    TABLE,
    after_spaces,
    before_spaces,
    characters,
    cleared,
    decode,
    hash_of,
    int_,
    seen,
    void,
)
from lilong.floors.corpus.curation.texts import Texts

SIGNS = ("hashes", "ellipses", "lines", "bullet_lines", "ellipsis_lines")
"""Signs # and ellipses ("..." or …); lines as str.splitlines parts them, those that start with a bullet, that end with an ellipsis."""
COPIES = (
    "characters", "paragraphs", "repeated_paragraphs", "repeated_paragraph_characters",
    "segments", "repeated_segments", "repeated_segment_characters",
)  # fmt: skip
"""Code points; paragraphs of the stripped text (parted by two line feeds or more) and segments (parted by one or more), those that
occurred before, and their characters."""
LEFT = ("characters", "line_feeds", "lines", "ended_lines", "short_lines", "repeated_line_characters")
"""Of a text that line rules left: code points, line feeds, lines that are not blank; those that end in a terminal sign, those of at
most 30 characters, the characters of those that occurred before."""
SHORT = 30
_HASH, _DOT, _BREAK, _LATIN, _GENERAL = 1, 2, 3, 4, 5


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    """Which bytes end or count for a line, or may start what does."""
    kinds = np.zeros(256, np.uint8)
    for kind, found in ((_HASH, b"#"), (_DOT, b"."), (_BREAK, b"\n\r\v\f\x1c\x1d\x1e"), (_LATIN, b"\xc2"), (_GENERAL, b"\xe2")):
        kinds[list(found)] = kind
    return kinds


@compiled(numba.types.UniTuple(int_, 4)(BYTES, BYTES, int_, int_))
def _line(data: Any, kinds: Any, at: int, end: int) -> tuple[int, int, int, int]:
    """Of the line at `at`: where it ends, where the next one starts, its signs #, its ellipses."""
    hashes, ellipses = 0, 0
    while at < end:
        kind = kinds[data[at]]
        if kind == 0:
            at += 1
        elif kind == _DOT:
            run = at
            while at < end and data[at] == 0x2E:
                at += 1
            ellipses += (at - run) // 3
        elif kind == _BREAK:
            return at, at + 2 if data[at] == 13 and at + 1 < end and data[at + 1] == 10 else at + 1, hashes, ellipses
        elif kind == _HASH:
            hashes += 1
            at += 1
        elif kind == _LATIN:
            if at + 1 < end and data[at + 1] == 0x85:
                return at, at + 2, hashes, ellipses
            at += 2
        else:
            if at + 2 < end and data[at + 1] == 0x80:
                if data[at + 2] == 0xA8 or data[at + 2] == 0xA9:
                    return at, at + 3, hashes, ellipses
                ellipses += data[at + 2] == 0xA6
            at += 3
    return end, end, hashes, ellipses


@compiled(void(BYTES, BOUNDS, BYTES, COUNTS))
def _signs(data: Any, offsets: Any, kinds: Any, out: Any) -> None:
    for document in range(len(offsets) - 1):
        at, end = offsets[document], offsets[document + 1]
        row = out[document]
        while at < end:
            stop, following, hashes, ellipses = _line(data, kinds, at, end)
            row[0] += hashes
            row[1] += ellipses
            row[2] += 1
            start = after_spaces(data, at, stop)
            if start < stop:
                bullet = start + 2 < stop and data[start] == 0xE2 and data[start + 1] == 0x80 and data[start + 2] == 0xA2
                row[3] += bullet or data[start] == 0x2D
                last = before_spaces(data, start, stop)
                if last - start >= 3:
                    a, b, c = data[last - 3], data[last - 2], data[last - 1]
                    row[4] += (a == 0x2E and b == 0x2E and c == 0x2E) or (a == 0xE2 and b == 0x80 and c == 0xA6)
            at = following


@compiled(int_(BYTES, int_, int_))
def _line_feeds(data: Any, at: int, end: int) -> int:
    found = 0
    for position in range(at, end):
        found += data[position] == 10
    return found


@compiled(void(BYTES, BOUNDS, TABLE, COUNTS))
def _copies(data: Any, offsets: Any, table: Any, out: Any) -> None:
    for document in range(len(offsets) - 1):
        start, end = offsets[document], offsets[document + 1]
        row = out[document]
        row[0] = characters(data, start, end)
        entries = _line_feeds(data, start, end) + 2
        bits = cleared(table, entries)
        at = start
        while at <= end:  # segments
            stop = at
            while stop < end and data[stop] != 10:
                stop += 1
            row[4] += 1
            if seen(hash_of(data, at, stop), table, bits):
                row[5] += 1
                row[6] += characters(data, at, stop)
            at = stop + 1
            while stop < end and at < end and data[at] == 10:
                at += 1
        bits = cleared(table, entries)
        at = after_spaces(data, start, end)
        end = before_spaces(data, at, end)
        while at <= end:  # paragraphs
            stop = at
            while stop < end and not (data[stop] == 10 and data[stop + 1] == 10):
                stop += 1
            row[1] += 1
            if seen(hash_of(data, at, stop), table, bits):
                row[2] += 1
                row[3] += characters(data, at, stop)
            at = stop + 1
            while stop < end and data[at] == 10:
                at += 1


@compiled(void(BYTES, BOUNDS, BYTES, TABLE, COUNTS))
def _left(data: Any, offsets: Any, classes: Any, table: Any, out: Any) -> None:
    for document in range(len(offsets) - 1):
        at, end = offsets[document], offsets[document + 1]
        row = out[document]
        row[0] = characters(data, at, end)
        row[1] = _line_feeds(data, at, end)
        bits = cleared(table, row[1] + 2)
        while at < end:
            stop = at
            while stop < end and data[stop] != 10:
                stop += 1
            if after_spaces(data, at, stop) < stop:
                row[2] += 1
                last = stop - 1
                while data[last] & 0xC0 == 0x80:
                    last -= 1
                code, _ = decode(data, last, stop)
                row[3] += (classes[min(code, len(classes) - 1)] & TERMINAL) != 0
                length = characters(data, at, stop)
                row[4] += length <= SHORT
                if seen(hash_of(data, at, stop), table, bits):
                    row[5] += length
            at = stop + 1


def _table(offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Room for the lines of any one document at half load; what no document touches is never given by the system."""
    return np.empty(1 << max(4, (2 * (int(np.diff(offsets).max(initial=0)) + 2)).bit_length()), np.uint64)


def signs(texts: Texts) -> npt.NDArray[np.int64]:
    """(n, len(SIGNS)) of n documents."""
    out = np.zeros((len(texts), len(SIGNS)), np.int64)
    _signs(texts.data, texts.offsets, _kinds(), out)
    return out


def copies(texts: Texts) -> npt.NDArray[np.int64]:
    """(n, len(COPIES)) of n documents."""
    out = np.zeros((len(texts), len(COPIES)), np.int64)
    _copies(texts.data, texts.offsets, _table(texts.offsets), out)
    return out


def left(texts: Texts) -> npt.NDArray[np.int64]:
    """(n, len(LEFT)) of n documents."""
    out = np.zeros((len(texts), len(LEFT)), np.int64)
    _left(texts.data, texts.offsets, classes(), _table(texts.offsets), out)
    return out
