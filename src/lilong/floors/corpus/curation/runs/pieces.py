"""Lines and paragraphs that documents share, gathered over all documents and taken out of all but the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lilong.floors.corpus.curation.dedup import clusters, lines
from lilong.floors.corpus.curation.texts import Texts

NAMED = tuple((name, pa.string()) for name in clusters.KEY)
PIECES = pa.schema(
    [("unit", pa.string()), ("text", pa.string()), *((name, pa.int64()) for name in ("documents", "places", "bytes")), *NAMED]
)
_SHOWN = 400


@dataclass(frozen=True, slots=True)
class Shared:
    """Lines or paragraphs that documents share (`hashes` ascend): the first document of each, its places, the bytes of all but the first,
    and how it begins."""

    unit: lines.Unit
    hashes: npt.NDArray[np.uint64]
    first: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]
    said: dict[int, str]

    @classmethod
    def of(cls, batches: Iterator[tuple[npt.NDArray[np.int64], Texts]], unit: lines.Unit, hashes: npt.NDArray[np.uint64]) -> Shared:
        count = len(hashes)
        shared = cls(unit, hashes, np.full(count, -1, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64), {})
        for rows, texts in batches:
            found = lines.pieces(texts, unit)
            hit, which, document = shared.hits(found)
            sizes = found.spans[hit, 1] - found.spans[hit, 0]
            np.add.at(shared.places, which, 1)
            np.add.at(shared.bytes, which, sizes)
            new, at = np.unique(which, return_index=True)
            new, at = new[shared.first[new] < 0], at[shared.first[new] < 0]
            shared.first[new] = rows[document[at]]
            shared.bytes[new] -= sizes[at]
            for number, place in zip(new.tolist(), hit[at].tolist(), strict=True):
                shared.said[number] = beginning(texts.data[slice(*found.spans[place, :2])])
        return shared

    def hits(self, found: lines.Pieces) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Pieces that are shared, which one each is, and the text that it stands in."""
        hit = np.flatnonzero(lines.among(found, self.hashes))
        return hit, np.searchsorted(self.hashes, found.hashes[hit]), np.searchsorted(found.bounds, hit, side="right") - 1

    def cut(self, rows: npt.NDArray[np.int64], texts: Texts) -> Texts:
        """The texts without shared pieces, but for the first place of each in all documents."""
        found = lines.pieces(texts, self.unit)
        hit, which, document = self.hits(found)
        _, at = np.unique(which, return_index=True)
        stays = at[rows[document[at]] == self.first[which[at]]]
        gone = np.zeros(len(found.hashes), bool)
        gone[hit] = True
        gone[hit[stays]] = False
        return lines.without(texts, found, gone)

    def table(self, documents: npt.NDArray[np.int64], rows: pa.Table) -> pa.Table:
        """PIECES, the most frequent first."""
        order = np.lexsort((self.hashes, -documents))
        where = rows.select(clusters.KEY).take(pa.array(self.first[order]))
        columns: dict[str, Any] = dict(zip(where.column_names, where.columns, strict=True))
        columns |= {"unit": pa.array([self.unit] * len(order), pa.string())}
        columns |= {"text": pa.array([self.said[one] for one in order.tolist()], pa.string())}
        columns |= {"documents": documents[order], "places": self.places[order], "bytes": self.bytes[order]}
        return pa.table({name: columns[name] for name in PIECES.names}, schema=PIECES)


def beginning(data: npt.NDArray[np.uint8]) -> str:
    return bytes(data[:_SHOWN]).decode("utf-8", "ignore")
