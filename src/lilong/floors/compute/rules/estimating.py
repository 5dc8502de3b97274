"""When a waiting job will start, told as two quantiles, and how well such words have held. Pure.

Run times are drawn from what earlier jobs used of their limits: those of the same user and family of programs where there are enough,
else those of the tenant, else all (cf. Tsafrir et al., TPDS 2007, §3, who take the user's last two). Jobs that still run count as well,
as having used more than they have so far (Kaplan & Meier, JASA 1958): those that end first are the short ones. Each future weighs the
history anew (the Bayesian bootstrap: Rubin, Annals of Statistics 1981), so that little history makes wide estimates. An estimate is never
used to end a job.

In the futures nobody comes any more, so real starts are later where later jobs go first. How much later they were so far is known: by that
much the next waits are stretched (split conformal prediction: Angelopoulos & Bates 2021, §1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

RUNS = 20  # futures that are played for an estimate
ENOUGH = 5  # runs of a user's family, or of a tenant, before its history stands for itself
HORIZONS = ((60, "up to 1 min"), (600, "1–10 min"), (3600, "10–60 min"), (21_600, "1–6 h"), (86_400, "6–24 h"), (None, "over 24 h"))
JUDGED_BY = 100  # the last estimates whose time has come, by which the next are stretched; not before there are
ENOUGH_JUDGED = 30
STRETCH = (0.5, 4.0)  # the least and the most
_EVERY_S = 60  # added to waits before they are compared: so long apart are the looks at the queue
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True, slots=True)
class Ran:
    """One job that has run. `used`: the part of its limit that it took, 0 to 1; so far, if it has not `ended`."""

    tenant: str
    user: str
    family: str
    used: float
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Ahead:
    """A job whose run time is to be drawn. `ran`: seconds that it has run already."""

    tenant: str
    user: str
    family: str
    limit: int
    ran: int = 0


class History:
    """What part of their limits jobs use, by whom."""

    def __init__(self, runs: Iterable[Ran]) -> None:
        found: dict[tuple[str, ...], list[tuple[float, bool]]] = {(): []}
        for run in runs:
            one = (min(max(run.used, 0.0), 1.0), not run.ended)  # of equal ones those that have ended come first
            for key in _keys(run):
                found.setdefault(key, []).append(one)
        self._found = {key: _weighed(sorted(values)) for key, values in found.items()}

    def of(self, job: Ahead) -> tuple[tuple[str, ...], Sequence[float], Sequence[float]]:
        """The history that stands for a job: its name, parts of a limit, ascending, and their weights, of which the last part, the whole
        limit, has what the others leave."""
        nothing: tuple[list[float], list[float]] = ([1.0], [1.0])
        for key in _keys(job)[:-1]:
            known = self._found.get(key, nothing)
            if len(known[0]) > ENOUGH:
                return key, *known
        return (), *self._found[()]


def _weighed(used: Sequence[tuple[float, bool]]) -> tuple[list[float], list[float]]:
    """Kaplan and Meier's estimate: the weight of one that runs still is shared out among those that have used more."""
    parts, weights, left = [], [], 1.0
    for at, (part, runs_still) in enumerate(used):
        if not runs_still:
            parts.append(part)
            weights.append(left / (len(used) - at))
            left -= weights[-1]
    return [*parts, 1.0], [*weights, max(left, 0.0)]


def _keys(one: Ran | Ahead) -> tuple[tuple[str, ...], ...]:
    return (one.tenant, one.user, one.family), (one.tenant,), ()


def drawn(history: History, jobs: Sequence[Ahead], runs: int, seed: int) -> Any:
    """Runs × jobs: seconds that each job runs in each future, at least one, never over its limit; of one that runs, more than it has.

    What has run longer than all before it is thought to run to its limit.
    """
    import numpy as np

    groups: dict[tuple[str, ...], tuple[Sequence[float], Sequence[float], list[int]]] = {}
    for at, job in enumerate(jobs):
        key, parts, weights = history.of(job)
        groups.setdefault(key, (parts, weights, []))[2].append(at)
    random = np.random.default_rng(seed)
    chance = random.random((runs, len(jobs)))
    limit = np.array([job.limit for job in jobs], np.int64)
    ran = np.array([job.ran for job in jobs], np.int64)
    found = np.zeros((runs, len(jobs)), np.int64)
    for key in sorted(groups):
        used, weighs, members = np.array(groups[key][0]), np.array(groups[key][1]), groups[key][2]
        so_far = np.searchsorted(used[:-1], ran[members] / np.maximum(limit[members], 1), side="right")
        for future in range(runs):
            upto = np.append(0.0, np.cumsum(weighs * random.standard_exponential(used.size)))
            began = upto[so_far]
            chosen = np.searchsorted(upto[1:], began + chance[future, members] * (upto[-1] - began), side="right")
            found[future, members] = np.ceil(used[np.minimum(np.maximum(chosen, so_far), used.size - 1)] * limit[members])
    return np.maximum(np.minimum(found, limit), ran + 1)


def quantile(starts: Sequence[int], part: float, never: int) -> int | None:
    """Of a few futures, by the rank that a further one has the chance `part` not to exceed; None if it lies beyond what was played."""
    ordered = sorted(starts)
    found = ordered[min(ceil(part * (len(ordered) + 1)), len(ordered)) - 1]
    return None if found >= never else int(found)


def stretch(told: Sequence[Told], now: float, part: float) -> float:
    """By what factor waits have to be stretched to hold with the chance `part`: that quantile of what waits were, against what futures made of
    them, over the last estimates whose time has come; 1 as long as these are few. A job that has not started yet has waited at least so long.

    `part`: 0.5 or 0.9.
    """
    ratios: list[float] = []
    for one in sorted(told, key=lambda one: one.made, reverse=True):
        played = (one.p50 if one.played50 is None else one.played50) if part == 0.5 else (one.p90 if one.played90 is None else one.played90)
        never = one.started is None and one.ended is not None and one.ended < played
        if played <= now and not never and len(ratios) < JUDGED_BY:
            until = next(at for at in (one.started, one.ended, now) if at is not None)
            ratios.append((until - one.made + _EVERY_S) / (max(played - one.made, 0) + _EVERY_S))
    if len(ratios) < ENOUGH_JUDGED:
        return 1.0
    ratios.sort()
    return min(max(ratios[min(ceil(part * (len(ratios) + 1)), len(ratios)) - 1], STRETCH[0]), STRETCH[1])


def stretched(now: int, played: int, factor: float) -> int:
    """A start that futures came to, its wait that much longer or shorter."""
    return max(ceil(now - _EVERY_S + (played - now + _EVERY_S) * factor), now)


# --- how well they held ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """An estimate with what became of it, in unix seconds. `started` None: it has not, or never will (`ended`)."""

    made: float
    p50: float
    p90: float
    started: float | None
    ended: float | None = None  # cancelled or given up before it started
    played50: float | None = None  # what the futures alone came to; None: the same
    played90: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """`held` of `n`, with the 95 % interval of Wilson (JASA 1927)."""

    n: int
    held: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Only estimates whose time has come count: those whose P50 (or P90) has passed, whether the job has started or not, so that jobs
    that start early do not flatter. `pinball`: mean loss in seconds (Koenker & Bassett 1978) over those that have started.
    """

    n: int
    pending: int
    by_p50: Share
    by_p90: Share
    pinball_p50_s: float | None
    pinball_p90_s: float | None


def calibration(told: Sequence[Told], now: float) -> Calibration:
    def share(due: Callable[[Told], float]) -> Share:
        past = [one for one in told if due(one) <= now and not (one.started is None and one.ended is not None and one.ended < due(one))]
        return wilson(sum(one.started is not None and one.started <= due(one) for one in past), len(past))

    # Losses count where the later quantile is due too: of younger ones only the lucky have started.
    settled = [one for one in told if one.started is not None and one.p90 <= now]
    pending = sum(one.started is None and one.ended is None for one in told)
    late = [(one.started - one.p50, one.started - one.p90) for one in settled if one.started is not None]
    losses = [sum(_pinball(pair[at], part) for pair in late) / len(late) if late else None for at, part in enumerate((0.5, 0.9))]
    return Calibration(len(told), pending, share(lambda one: one.p50), share(lambda one: one.p90), losses[0], losses[1])


def by_horizon(told: Sequence[Told], now: float) -> Mapping[str, Calibration]:
    """The same for near and far estimates: by how long after it was made the P50 lies."""
    parts: dict[str, list[Told]] = {name: [] for _, name in HORIZONS}
    for one in told:
        ahead = one.p50 - one.made
        parts[next(name for upto, name in HORIZONS if upto is None or ahead <= upto)].append(one)
    return {name: calibration(part, now) for name, part in parts.items() if part}


def _pinball(late: float, part: float) -> float:
    return late * part if late >= 0 else -late * (1 - part)


def wilson(held: int, n: int) -> Share:
    if n == 0:
        return Share(0, 0, None, None, None)
    share, square = held / n, _Z * _Z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = _Z / (1 + square / n) * sqrt(share * (1 - share) / n + square / (4 * n * n))
    return Share(n, held, share, max(middle - half, 0.0), min(middle + half, 1.0))
