"""Intervals for one rate and for a mean over clusters.

Evaluation sets are small and their items come in families (documents of one source, questions about one passage), so the usual
"mean ± 1.96 standard errors" is wrong twice: it collapses near 0 and 100 %, and it takes dependent items for independent ones.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval around an estimate; `method` names how it was made. Infinite ends say that nothing can be known."""

    low: float
    estimate: float
    high: float
    method: str


def wilson(successes: int, n: int, alpha: float) -> Interval:
    """The score interval of a rate (Wilson 1927), which keeps its coverage for small n and at 0 and 100 %.

    With n = 0 the interval is [0, 1]. Raises ValueError unless 0 ≤ successes ≤ n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is not a rate")
    if n == 0:
        return Interval(0.0, float("nan"), 1.0, "wilson")
    z2 = normal_quantile(1 - alpha / 2) ** 2
    rate = successes / n
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At the ends the exact limits are 0 and 1; rounding must not push the estimate out of its own interval.
    low = 0.0 if successes == 0 else max(0.0, float(centre - half))
    high = 1.0 if successes == n else min(1.0, float(centre + half))
    return Interval(low, rate, high, "wilson")


def clustered_t(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    alpha: float,
    weights: Sequence[float] | None = None,
) -> Interval:
    """The (weighted) mean of `values` with an interval that takes each cluster, not each value, as independent.

    Variance G/(G-1) · Σ_g (Σ_{i∈g} w_i (x_i - mean))² / (Σ w)², Student's t with G-1 degrees of freedom (Liang & Zeger 1986;
    Miller 2024, arXiv 2411.00640, §2.2). With clusters of one and equal weights this is the one-sample t interval. With the bytes
    of each document as weights and bits per byte as values the mean is the pooled ratio, and this its linearised interval.
    One cluster alone gives an infinite interval.
    """
    totals, sizes = _cluster_sums(values, clusters, weights)
    groups, weight = len(sizes), float(sizes.sum())
    mean = float(totals.sum() / weight)
    if groups < 2:
        return Interval(-np.inf, mean, np.inf, "clustered t")
    residual = totals - mean * sizes
    error = np.sqrt(groups / (groups - 1) * float(residual @ residual)) / weight
    half = t_quantile(1 - alpha / 2, groups - 1) * float(error)
    return Interval(mean - half, mean, mean + half, "clustered t")


def clustered_bootstrap(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    alpha: float,
    seed: int,
    *,
    weights: Sequence[float] | None = None,
    resamples: int = 4000,
) -> Interval:
    """The (weighted) mean with a percentile interval from resampling whole clusters (Davison & Hinkley 1997, §3.8).

    Narrower than it should be for fewer than about 20 clusters: a check on `clustered_t`, not its replacement.
    """
    totals, sizes = _cluster_sums(values, clusters, weights)
    groups = len(sizes)
    mean = float(totals.sum() / sizes.sum())
    if groups < 2:
        return Interval(-np.inf, mean, np.inf, "clustered bootstrap")
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    means = (drawn @ totals) / (drawn @ sizes)
    low, high = np.quantile(means, [alpha / 2, 1 - alpha / 2])
    return Interval(float(low), mean, float(high), "clustered bootstrap")


def normal_quantile(probability: float) -> float:
    return float(special.ndtri(probability))


def t_quantile(probability: float, degrees: float) -> float:
    return float(special.stdtrit(degrees, probability))


def _cluster_sums(
    values: Sequence[float], clusters: Sequence[Hashable], weights: Sequence[float] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Per cluster the sum of weight · value, and the sum of weights; clusters in order of first appearance."""
    if not values or len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} clusters: need as many of one as of the other, and at least one")
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(cluster, len(number)) for cluster in clusters])
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weight.shape != (len(values),) or not (weight > 0).all():
        raise ValueError("weights must be positive, one for each value")
    totals = np.bincount(index, weight * np.asarray(values, dtype=np.float64))
    return totals.astype(np.float64), np.bincount(index, weight).astype(np.float64)
