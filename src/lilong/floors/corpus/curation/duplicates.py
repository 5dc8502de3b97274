"""Near duplicates: candidate pairs by MinHash bands, verified by the signatures, joined into clusters.

Nothing is deleted here. The answer is a component per document; who stays is another decision (`representatives`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation import kernels
from lilong.floors.corpus.curation.recipe import Banding

Signatures = npt.NDArray[np.uint32]
Indices = npt.NDArray[np.int64]


def band_keys(signatures: Signatures, banding: Banding) -> npt.NDArray[np.uint64]:
    """(n, bands) 64-bit keys: equal where all rows of a band are (and, once in 2^64, where they are not)."""
    parts = signatures[:, : banding.bands * banding.rows].reshape(len(signatures), banding.bands, banding.rows).astype(np.uint64)
    keys = np.full(parts.shape[:2], np.uint64(banding.rows))
    for row in range(banding.rows):
        keys = (keys ^ parts[:, :, row]) * np.uint64(0xBF58476D1CE4E5B9)
        keys ^= keys >> np.uint64(29)
    return keys


def clusters(signatures: Signatures, banding: Banding) -> Indices:
    """For each document the smallest index in its cluster.

    Inside a bucket every document is compared with the first and with the one before it, so a bucket of k costs 2k comparisons.
    """
    count = len(signatures)
    keys = band_keys(signatures, banding)
    left, right = [], []
    for band in range(banding.bands):
        order = np.argsort(keys[:, band], kind="stable")
        ordered = keys[order, band]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if count else np.zeros(0, np.int64)
        first = np.repeat(starts, np.diff(np.append(starts, count)))
        at = np.arange(count)
        inside = at > first
        left += [order[first[inside]], order[at[inside] - 1]]
        right += [order[inside], order[inside]]
    pairs = np.unique(np.stack([np.concatenate(left), np.concatenate(right)], axis=1), axis=0) if left else np.zeros((0, 2), np.int64)
    close = similarity(signatures, pairs[:, 0], pairs[:, 1]) >= banding.similarity
    return kernels.components(count, np.ascontiguousarray(pairs[close, 0]), np.ascontiguousarray(pairs[close, 1]))


def similarity(signatures: Signatures, left: Indices, right: Indices) -> npt.NDArray[np.float64]:
    """Estimated Jaccard index of each pair: the share of equal signature entries. Taken in slices, to bound memory."""
    out = np.zeros(len(left))
    for start in range(0, len(left), 65_536):
        part = slice(start, start + 65_536)
        out[part] = (signatures[left[part]] == signatures[right[part]]).mean(axis=1)
    return out


def joined(fine: Indices, coarse: Indices) -> Indices:
    """The components of two groupings taken together, so that a coarse group never parts a fine one."""
    count = len(fine)
    here = np.arange(count)
    return kernels.components(count, np.concatenate([here, here]), np.concatenate([fine, coarse]))


def grouped(names: Sequence[str]) -> Indices:
    """For each document the first one with the same name: a grouping to be `joined` with another."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(name, index) for index, name in enumerate(names)], np.int64)


def representatives(cluster: Indices, preference: Sequence[tuple[Any, ...]]) -> Indices:
    """For each document the one that speaks for its cluster: the smallest `preference`, compared as tuples.

    Preferences must differ (end them with the document's id), so that the choice never depends on the order of the input.
    """
    best: dict[int, int] = {}
    for index, group in enumerate(cluster.tolist()):
        if group not in best or preference[index] < preference[best[group]]:
            best[group] = index
    return np.array([best[group] for group in cluster.tolist()], np.int64)
