"""Personal data and secrets in texts: found with their places, counted as signals, masked or made a reason to drop.

`find(texts) -> Spans`, `counts(spans, n) -> columns`, `masked(texts, spans, kinds)` and `cleaned(texts, kinds) -> Texts`; `rules(kinds)` are a policy's rules that drop.
What is looked for stands in `kinds`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation.personal.kinds import COLUMNS, KINDS, PLACEHOLDERS, tables

if TYPE_CHECKING:
    import pyarrow as pa

    from lilong.floors.corpus.curation.texts import Texts

__all__ = ["COLUMNS", "KINDS", "PLACEHOLDERS", "Spans", "cleaned", "counts", "find", "masked", "measure", "rules"]

Integers = npt.NDArray[np.int64]
_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class Spans:
    """Finds in the order of the texts, without overlaps: document number, start and end in its UTF-8 bytes, number in KINDS."""

    document: Integers
    start: Integers
    end: Integers
    kind: Integers

    def __len__(self) -> int:
        return len(self.document)

    def table(self) -> pa.Table:
        """Columns document, start, end (int64) and kind (its name)."""
        import pyarrow as pa

        names = pa.DictionaryArray.from_arrays(pa.array(self.kind, pa.int8()), pa.array(KINDS)).dictionary_decode()
        return pa.table({"document": self.document, "start": self.start, "end": self.end, "kind": names})


def find(texts: Texts) -> Spans:
    """Everything that `kinds` names, confirmed by its rules and checksums."""
    from lilong.floors.corpus.curation.personal.scan import scan

    found = np.empty((1024, 4), np.int64)
    while (count := scan(texts.data, texts.offsets, *tables(), found)) > len(found):
        found = np.empty((count, 4), np.int64)
    columns = found[:count].T.copy()
    return Spans(columns[0], columns[1], columns[2], columns[3])


def counts(spans: Spans, documents: int) -> dict[str, Integers]:
    """Finds per document and kind: the columns COLUMNS."""
    cells = np.bincount(spans.document * len(KINDS) + spans.kind, minlength=documents * len(KINDS)).reshape(documents, len(KINDS))
    return {name: np.ascontiguousarray(cells[:, number]) for number, name in enumerate(COLUMNS)}


def measure(texts: Texts) -> dict[str, Integers]:
    return counts(find(texts), len(texts))


def rules(kinds: Collection[str]) -> list[dict[str, str]]:
    """Rules for a policy file that drop a text with a find of one of these kinds."""
    return [{"step": "personal", "reason": f"pii_{kind}", "drop": f"pii_{kind} > 0"} for kind in KINDS if kind in kinds]


def masked(texts: Texts, spans: Spans, kinds: Collection[str] = KINDS) -> Texts:
    """The texts with PLACEHOLDERS in the place of the finds of these kinds. A placeholder itself is nothing that is looked for."""
    from lilong.floors.corpus.curation.texts import Texts as Made

    chosen = np.flatnonzero(np.isin(spans.kind, [KINDS.index(kind) for kind in kinds]))
    marks = [np.frombuffer(text.encode(), np.uint8) for text in PLACEHOLDERS]
    pieces: list[npt.NDArray[np.uint8]] = []
    at = int(texts.offsets[0])
    base = texts.offsets[spans.document[chosen]]
    starts, ends, which = (base + spans.start[chosen]).tolist(), (base + spans.end[chosen]).tolist(), spans.kind[chosen].tolist()
    for start, end, kind in zip(starts, ends, which, strict=True):
        pieces += [texts.data[at:start], marks[kind]]
        at = end
    pieces.append(texts.data[at : int(texts.offsets[-1])])
    lengths = np.array([len(mark) for mark in marks], np.int64)
    growth = np.zeros(len(texts), np.int64)
    np.add.at(growth, spans.document[chosen], lengths[spans.kind[chosen]] - (spans.end[chosen] - spans.start[chosen]))
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.diff(texts.offsets) + growth, out=offsets[1:])
    return Made(np.concatenate(pieces), offsets)


def cleaned(texts: Texts, kinds: Collection[str] = KINDS) -> Texts:
    """The texts with PLACEHOLDERS in the place of all finds of these kinds, and of what is one only now that its neighbour is masked: a number
    before a slash is no part of a path any more where [IP] stands behind it. Cleaning what is clean changes nothing."""
    from lilong.floors.corpus.curation.texts import Texts as Made

    wanted = [KINDS.index(kind) for kind in kinds]
    spans = find(texts)
    made, later = masked(texts, spans, kinds), dict[int, str]()
    rows = np.unique(spans.document[np.isin(spans.kind, wanted)])
    for _ in range(_ROUNDS):
        held = Made.of([later.get(row, made[row]) for row in rows.tolist()])
        spans = find(held)
        places = np.unique(spans.document[np.isin(spans.kind, wanted)])
        if not len(places):
            break
        again, rows = masked(held, spans, kinds), rows[places]
        later |= {row: again[place] for row, place in zip(rows.tolist(), places.tolist(), strict=True)}
    return Made.of([later.get(row, text) for row, text in enumerate(made)]) if later else made
