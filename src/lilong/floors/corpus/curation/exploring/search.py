"""Words in the texts of a version: text by text until enough is found or a bound is reached, and what that came to is said."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from lilong.floors.corpus.curation.exploring import LONGEST, SHOWN
from lilong.floors.corpus.curation.exploring.documents import Line, Version, Wanted, lines, mask
from lilong.floors.corpus.curation.exploring.tables import Keys, key_of
from lilong.ground.errors import BadInput

SEARCHED_BYTES = 256 << 20
"""Bytes of text that one search unpacks and looks through before it says how far it came."""
_CONTEXT = 110  # characters around what was found
_LONGEST_WORD = 20


@dataclass(frozen=True, slots=True)
class Searched:
    """`looked` of `of` texts were looked through before enough was found or the bound was reached; `next`: where to go on, None at the end."""

    lines: list[Line]
    looked: int
    of: int
    bytes: int
    next: int | None


def search(version: Version, words: str, wanted: Wanted, start: int = 0, limit: int = SHOWN, most_bytes: int = SEARCHED_BYTES) -> Searched:
    """Documents whose text has these words, upper and lower case alike, text by text in the order of ids from the `start`-th on, until
    `limit` are found or `most_bytes` of text were looked through. Raises BadInput."""
    if not words.strip() or len(words) > LONGEST:
        raise BadInput(field="q", problem=f"it must have 1 to {LONGEST} characters", way_out="Give the words to look for.")
    tables = [*(version.kept_texts if wanted.verdict != "dropped" else ()), *(version.dropped_texts if wanted.verdict != "kept" else ())]
    fits, known = mask(version, wanted), version.frame
    of = sum(table.rows for table in tables)
    found: list[tuple[int, str]] = []
    looked = at = spent = 0
    for table in tables:
        for group in range(len(table.starts) - 1):
            first, end = at + int(table.starts[group]), at + int(table.starts[group + 1])
            if end <= start:
                continue
            if spent and spent + table.bytes_of(group, "text") > most_bytes:
                return Searched(_around(version, found, words), looked, of, spent, first)
            part = table.group(group, ["id", "text"])
            spent += table.bytes_of(group, "text")
            for row in np.flatnonzero(pc.match_substring(part.column("text"), words, ignore_case=True).to_numpy()).tolist():
                if first + row < start:
                    continue
                place = _place(known.keys, part.column("id")[row].as_py())
                if place is not None and fits[place]:
                    found.append((place, part.column("text")[row].as_py()))
                if len(found) == limit and first + row + 1 < of:
                    return Searched(
                        _around(version, found, words), looked + first + row + 1 - max(first, start), of, spent, first + row + 1
                    )
            looked += end - max(first, start)
        at += table.rows
    return Searched(_around(version, found, words), looked, of, spent, None)


def _place(keys: Keys, identity: str) -> int | None:
    key = key_of(identity)
    at = int(np.searchsorted(keys, key))
    return at if at < len(keys) and keys[at] == key else None


def _from_a_word(text: str) -> str:
    """Without the part of a word that it begins with; languages that do not part words by blanks keep it all."""
    part, blank, rest = text.partition(" ")
    return rest if blank and len(part) <= _LONGEST_WORD else text


def _around(version: Version, found: list[tuple[int, str]], words: str) -> list[Line]:
    """The documents with what stands around the first place of the words."""
    order = sorted(found)
    told = lines(version, np.array([row for row, _ in order], np.int64), open_texts=False)
    pattern = re.compile(re.escape(words), re.IGNORECASE)
    shown = []
    for line, (_, text) in zip(told, order, strict=True):
        hit = pattern.search(text)
        begin, end = hit.span() if hit else (0, 0)
        before, after = text[max(0, begin - _CONTEXT) : begin], text[end : end + _CONTEXT]
        cut = "… " + _from_a_word(before) if begin > _CONTEXT else before
        after = _from_a_word(after[::-1])[::-1] + " …" if end + _CONTEXT < len(text) else after
        shown.append(
            Line(
                line.id,
                line.source,
                line.uri,
                line.keep,
                line.reason,
                line.detail,
                None,
                cut + text[begin:end] + after,
                (len(cut), len(cut) + end - begin),
            )
        )
    return shown
