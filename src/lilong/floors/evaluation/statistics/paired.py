"""Two models on the same right-or-wrong items: the test and the interval for the difference of their rates."""

from __future__ import annotations

import math

from scipy import optimize, special

from lilong.floors.evaluation.statistics.intervals import Interval, normal_quantile


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided p of McNemar's exact test: items that only the new (gained) or only the base model (lost) got right.

    Under equal models each changed item is a fair coin, so this is the doubled binomial tail; 1.0 when nothing changed.
    """
    changed = gained + lost
    if changed == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(gained, lost), changed, 0.5)))


def tango(gained: int, lost: int, n: int, alpha: float) -> Interval:
    """Score interval for the difference of two rates on the same n items, (gained - lost) / n (Tango 1998, Stat. Med. 17:891).

    Keeps its coverage for small n and few changed items, where the Wald interval has none; excludes 0 exactly when the score
    form of McNemar's test rejects. With n = 0 the interval is [-1, 1].
    """
    if min(gained, lost) < 0 or gained + lost > n:
        raise ValueError(f"{gained} gained and {lost} lost of {n} items is not a table")
    if n == 0:
        return Interval(-1.0, float("nan"), 1.0, "tango score")
    z = normal_quantile(1 - alpha / 2)
    estimate = (gained - lost) / n

    def excess(difference: float) -> float:
        return _score(gained, lost, n, difference)

    # The score falls as the supposed difference rises; the limits are where it passes +z and -z.
    nearly = 1 - 1e-12
    low = -1.0 if excess(-nearly) <= z else optimize.brentq(lambda d: excess(d) - z, -nearly, estimate, xtol=1e-12)
    high = 1.0 if excess(nearly) >= -z else optimize.brentq(lambda d: excess(d) + z, estimate, nearly, xtol=1e-12)
    return Interval(float(low), estimate, float(high), "tango score")


def _score(gained: int, lost: int, n: int, difference: float) -> float:
    """Standardised distance of the observed from a supposed difference, the nuisance rate at its constrained maximum likelihood."""
    b = (2 * n - gained + lost) * difference - gained - lost
    c = -lost * difference * (1 - difference)
    lost_rate = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * lost_rate + difference * (1 - difference))
    distance = gained - lost - n * difference
    if variance <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)
