"""Comparing two stacks' logits, in float64 on blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
Table = NDArray[np.float64]

BLOCK = 32  # rows at a time: 32 x 50,000 float64 stay near the cache


def log_softmax(logits: NDArray[np.floating]) -> Table:
    """Log-probabilities along the last axis, float64."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


@dataclass(frozen=True, slots=True)
class Comparison:
    """Per position, [n] each. See `rules.Position` for the units."""

    kl: Table
    reference_top: NDArray[np.intp]
    got_top: NDArray[np.intp]
    margin: Table
    gap: Table


def compare(reference: Logits, got: Logits) -> Comparison:
    """Compare logits [n, vocabulary] of the same positions. Both must be finite and of one shape.

    KL is never negative: rounding may leave it at -1e-17, which is clipped.
    """
    parts = [_compare(reference[rows], got[rows]) for rows in _blocks(len(reference))]
    return Comparison(*(np.concatenate([getattr(part, name) for part in parts]) for name in Comparison.__dataclass_fields__))


def _compare(reference: Logits, got: Logits) -> Comparison:
    p, q = log_softmax(reference), log_softmax(got)
    rows = np.arange(len(p))
    top, other = p.argmax(axis=1), q.argmax(axis=1)
    best_two = np.partition(p, -2, axis=1)[:, -2:]
    kl = np.maximum((np.exp(p) * (p - q)).sum(axis=1), 0.0)
    return Comparison(kl, top, other, best_two[:, 1] - best_two[:, 0], p[rows, top] - p[rows, other])


class Information:
    """What context tells a model: the mean KL of its predictions from their own average, in nats per token.

    Fed text by text; 0 for a model that always predicts the same.
    """

    def __init__(self) -> None:
        self._sum: Table | None = None
        self._negative_entropy = 0.0
        self._n = 0

    def feed(self, logits: Logits) -> None:
        for rows in _blocks(len(logits)):
            p = log_softmax(logits[rows])
            probability = np.exp(p)
            self._negative_entropy += float((probability * p).sum())
            total = probability.sum(axis=0)
            self._sum = total if self._sum is None else self._sum + total
            self._n += len(p)

    def nats(self) -> float:
        if self._sum is None:
            return 0.0
        mean = self._sum / self._n
        seen = mean[mean > 0]
        return max(0.0, self._negative_entropy / self._n - float((seen * np.log(seen)).sum()))


def malformed(got: Logits, shape: tuple[int, int]) -> str:
    """Why these are not logits of the expected shape, or nothing."""
    if got.shape != shape:
        return f"it answered logits of shape {list(got.shape)} where {list(shape)} was expected"
    bad = int(got.size - np.isfinite(got).sum())
    if bad:
        row = int(np.flatnonzero(~np.isfinite(got).all(axis=1))[0])
        return f"{bad} of {got.size} logits are not finite, the first at token {row}"
    return ""


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, n, BLOCK))
