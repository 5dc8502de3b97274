"""How much a test of this size can see, and how large it must be to see enough. Asked before a run, shown on its report."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import optimize, special

from lilong.floors.evaluation.statistics.intervals import normal_quantile, t_quantile

MOST_ITEMS = 10_000_000


def paired_mean_power(effect: float, spread: float, n: int, alpha: float) -> float:
    """Power of the two-sided paired t test: true mean difference `effect`, standard deviation `spread` of the differences."""
    if n < 2:
        return 0.0
    shift, degrees = abs(effect) / spread * math.sqrt(n), n - 1
    critical = t_quantile(1 - alpha / 2, degrees)
    # Far in its tails the noncentral t function gives no number: there the two probabilities are 0.
    missed, wrong_way = (float(special.nctdtr(degrees, shift, limit)) for limit in (critical, -critical))
    return 1 - (0.0 if math.isnan(missed) else missed) + (0.0 if math.isnan(wrong_way) else wrong_way)


def paired_mean_detectable(spread: float, n: int, alpha: float, power: float = 0.8) -> float:
    """Smallest true mean difference that n pairs show with this power. Infinite for n < 2."""
    if n < 2:
        return math.inf
    if spread == 0:
        return 0.0
    reach = 10 * (t_quantile(1 - alpha / 2, n - 1) + abs(t_quantile(power, n - 1))) / math.sqrt(n)
    effect = optimize.brentq(lambda e: paired_mean_power(e * spread, spread, n, alpha) - power, 0.0, reach, xtol=1e-9)
    return float(effect) * spread


def paired_mean_required(effect: float, spread: float, alpha: float, power: float = 0.8) -> int:
    """Fewest pairs with which a true mean difference `effect` shows with this power, at most MOST_ITEMS."""
    return _fewest(lambda n: paired_mean_power(effect, spread, n, alpha) >= power, 2)


def paired_rate_power(difference: float, changed: float, n: int, alpha: float) -> float:
    """Power of McNemar's test: true rate difference, `changed` = share of items on which the models differ (Connor 1987)."""
    spread = changed - difference * difference
    if spread < 0:
        raise ValueError(f"models that differ on {changed:.3f} of the items cannot differ by {difference:.3f}")
    need = normal_quantile(1 - alpha / 2) * math.sqrt(changed)
    if spread == 0:
        return float(abs(difference) * math.sqrt(n) > need)
    return float(special.ndtr((abs(difference) * math.sqrt(n) - need) / math.sqrt(spread)))


def paired_rate_detectable(changed: float, n: int, alpha: float, power: float = 0.8) -> float:
    """Smallest true rate difference that n items show with this power; `changed` when even that is not enough."""
    if n == 0 or paired_rate_power(changed, changed, n, alpha) < power:
        return changed
    return float(optimize.brentq(lambda d: paired_rate_power(d, changed, n, alpha) - power, 0.0, changed, xtol=1e-9))


def paired_rate_required(difference: float, changed: float, alpha: float, power: float = 0.8) -> int:
    """Fewest items with which a true rate difference shows with this power, at most MOST_ITEMS."""
    return _fewest(lambda n: paired_rate_power(difference, changed, n, alpha) >= power, 1)


def _fewest(enough: Callable[[int], bool], start: int) -> int:
    high = start
    while high < MOST_ITEMS and not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return min(high, MOST_ITEMS)
