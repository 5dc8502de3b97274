"""Lines and paragraphs that many documents share: menus, licence headers, navigation.

A *line* is what line feeds part, a *paragraph* what lines without a visible character part; both are compared without the blanks around them
(bytes up to U+0020), and what is empty then does not count. Hashes are XXH64: two different lines are taken for one with probability 2^-64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation.dedup import kernels
from lilong.floors.corpus.curation.texts import Texts

Unit = Literal["line", "paragraph"]
COLUMNS: Mapping[str, str] = {
    "shared_{unit}s": "{unit}s that occur in more documents than the limit",
    "shared_{unit}_bytes": "bytes in these",
}


@dataclass(frozen=True, slots=True)
class Pieces:
    """Lines or paragraphs of n documents: piece j is at data[spans[j, 0]:spans[j, 1]] (without blanks around it) and ends, with its line
    feeds, at spans[j, 2]; document i has pieces bounds[i] to bounds[i + 1]."""

    hashes: npt.NDArray[np.uint64]
    spans: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]


def pieces(texts: Texts, unit: Unit = "line") -> Pieces:
    """The lines or paragraphs of each text."""
    feeds = int(np.count_nonzero(texts.data[texts.offsets[0] : texts.offsets[-1]] == 10)) if len(texts) else 0
    hashes, spans = np.empty(feeds + len(texts), np.uint64), np.empty((feeds + len(texts), 3), np.int64)
    bounds = np.zeros(len(texts) + 1, np.int64)
    found = kernels.part(texts.data, texts.offsets, unit == "paragraph", hashes, spans, bounds)
    return Pieces(hashes[:found], spans[:found], bounds)


@dataclass(frozen=True, slots=True)
class Counted:
    """In how many documents each piece occurs. The same for any order of documents and any way of sharing them out."""

    hashes: npt.NDArray[np.uint64]  # ascending
    documents: npt.NDArray[np.int64]

    @classmethod
    def of(cls, found: Pieces) -> Counted:
        document = np.repeat(np.arange(len(found.bounds) - 1), np.diff(found.bounds))
        order = np.lexsort((document, found.hashes))
        hashes, document = found.hashes[order], document[order]
        new = np.ones(len(hashes), bool)
        new[1:] = (hashes[1:] != hashes[:-1]) | (document[1:] != document[:-1])
        return cls(*np.unique(hashes[new], return_counts=True))

    @classmethod
    def merged(cls, parts: Iterable[Counted]) -> Counted:
        """Of documents that were counted in parts."""
        taken = list(parts)
        hashes, inverse = np.unique(np.concatenate([np.zeros(0, np.uint64), *(one.hashes for one in taken)]), return_inverse=True)
        documents = np.zeros(len(hashes), np.int64)
        np.add.at(documents, inverse, np.concatenate([np.zeros(0, np.int64), *(one.documents for one in taken)]))
        return cls(hashes, documents)

    def shared(self, limit: int) -> npt.NDArray[np.uint64]:
        """The pieces that occur in more than `limit` documents, ascending."""
        return self.hashes[self.documents > limit]


def measure(found: Pieces, shared: npt.NDArray[np.uint64], unit: Unit = "line") -> dict[str, npt.NDArray[np.int64]]:
    """Per document the columns of COLUMNS."""
    hit = among(found, shared)
    sizes = (found.spans[:, 1] - found.spans[:, 0]) * hit
    return {f"shared_{unit}s": _sums(hit.astype(np.int64), found.bounds), f"shared_{unit}_bytes": _sums(sizes, found.bounds)}


def among(found: Pieces, shared: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which pieces are shared ones (these ascend)."""
    if not len(shared):
        return np.zeros(len(found.hashes), bool)
    at = np.minimum(np.searchsorted(shared, found.hashes), len(shared) - 1)
    return np.asarray(shared[at] == found.hashes)


def without(texts: Texts, found: Pieces, gone: npt.NDArray[np.bool_]) -> Texts:
    """The texts without these of their pieces and the line feeds behind them. All else stays as it is, to the byte."""
    spans = np.ascontiguousarray(found.spans[gone])
    counts = _sums(gone.astype(np.int64), found.bounds)
    out = np.empty(texts.bytes, np.uint8)
    offsets = np.zeros(len(texts) + 1, np.int64)
    kernels.cut(texts.data, texts.offsets, spans, np.concatenate([[0], np.cumsum(counts)]), out, offsets)
    return Texts(out[: offsets[-1]], offsets)


def _sums(values: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    total = np.concatenate([[0], np.cumsum(values)])
    return np.asarray(total[bounds[1:]] - total[bounds[:-1]])
