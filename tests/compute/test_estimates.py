"""When jobs will start, and how well what was said held."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.compute.rules.estimating import (
    ENOUGH,
    ENOUGH_JUDGED,
    JUDGED_BY,
    STRETCH,
    Ahead,
    History,
    Ran,
    Told,
    by_horizon,
    calibration,
    drawn,
    quantile,
    stretch,
    stretched,
    wilson,
)

parts = st.floats(0, 1.5, allow_nan=False)


def ran(used: float, tenant: str = "lantern-works", user: str = "mei", family: str = "train") -> Ran:
    return Ran(tenant, user, family, used)


@given(
    used=st.lists(parts, max_size=30),
    limits=st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1.2)), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_a_drawn_run_is_never_longer_than_its_limit_nor_shorter_than_it_has_run(
    used: list[float], limits: list[tuple[int, float]], seed: int
) -> None:
    jobs = [Ahead("lantern-works", "mei", "train", limit, int(limit * part)) for limit, part in limits]
    runs = drawn(History(map(ran, used)), jobs, 7, seed)
    for at, job in enumerate(jobs):
        assert ((runs[:, at] >= 1) & (runs[:, at] > job.ran)).all()
        assert (runs[:, at] <= max(job.limit, job.ran + 1)).all()
    assert (runs == drawn(History(map(ran, used)), jobs, 7, seed)).all()


def test_the_history_that_stands_for_a_job_is_the_nearest_with_enough_runs() -> None:
    mine = [ran(0.1)] * ENOUGH
    tenants = [ran(0.5, user="tom")] * ENOUGH
    others = [ran(0.9, tenant="harbour-lab", user="ada")] * (2 * ENOUGH)
    job = Ahead("lantern-works", "mei", "train", 1000)
    assert set(History([*mine, *tenants, *others]).of(job)[1]) == {0.1, 1.0}
    assert set(History([*mine[1:], *tenants, *others]).of(job)[1]) == {0.1, 0.5, 1.0}
    assert set(History(others).of(job)[1]) == {0.9, 1.0}
    assert History([]).of(job)[1:] == ([1.0], [1.0])
    assert (drawn(History([]), [job], 4, 0) == 1000).all()


def test_what_has_run_longer_than_all_before_it_is_thought_to_run_to_its_limit() -> None:
    history = History([ran(0.2)] * 9 + [ran(0.4)])
    assert set(drawn(history, [Ahead("lantern-works", "mei", "train", 1000, 300)], 20, 1)[:, 0].tolist()) == {400}
    assert set(drawn(history, [Ahead("lantern-works", "mei", "train", 1000, 500)], 20, 1)[:, 0].tolist()) == {1000}


def test_a_job_that_still_runs_says_that_jobs_run_longer() -> None:
    """Kaplan and Meier's estimate by hand: of five, one runs after 0.2 and is shared out among the three that ran longer."""
    used = [ran(0.1), replace(ran(0.2), ended=False), ran(0.3), ran(0.3), ran(0.6)]
    _, parts, weights = History(used).of(Ahead("elsewhere", "", "", 1000))
    assert parts == [0.1, 0.3, 0.3, 0.6, 1.0]
    assert np.allclose(weights, [0.2, 0.8 / 3, 0.8 / 3, 0.8 / 3, 0.0])
    _, parts, weights = History([ran(0.1), replace(ran(0.2), ended=False)]).of(Ahead("elsewhere", "", "", 1000))
    assert (parts, weights) == ([0.1, 1.0], [0.5, 0.5])


def test_with_a_history_the_middle_lies_below_the_limit_and_below_the_later_quantile() -> None:
    chance = random.Random(3)
    history = History([ran(min(chance.lognormvariate(-2.5, 0.8), 1.0)) for _ in range(50)])
    futures = drawn(history, [Ahead("lantern-works", "mei", "train", 3600)], 20, 1)[:, 0].tolist()
    p50, p90 = quantile(futures, 0.5, 10**9), quantile(futures, 0.9, 10**9)
    assert p50 is not None and p90 is not None and p50 < p90 < 3600 and p50 < 900


def test_less_history_makes_wider_estimates_of_the_same_middle() -> None:
    def spread(many: int) -> float:
        used = [0.1, 0.2, 0.3, 0.4, 0.5] * many
        jobs = [Ahead("lantern-works", "mei", "train", 1000)] * 50
        return float(drawn(History(map(ran, used)), jobs, 200, 2).sum(axis=1).std())

    assert spread(1) > 2 * spread(20)


def test_in_a_burst_half_start_by_the_earlier_time_and_nine_of_ten_by_the_later() -> None:
    """One queue, first come first served; while little has ended, what ended are the short ones."""
    chance = random.Random(11)
    told = []
    for seed in range(60):
        runs = [min(max(round(600 * chance.lognormvariate(-0.3, 0.8)), 1), 3600) for _ in range(60)]
        starts = _one_after_another([0, 0, 0, 0], runs)
        now = starts[chance.randrange(14, 24)] + 1
        begun = [job for job in range(60) if starts[job] < now]
        running = [job for job in begun if starts[job] + runs[job] > now]
        used = [replace(ran(min(runs[job], now - starts[job]) / 3600), ended=job not in running) for job in begun]
        waiting = range(len(begun), 60)
        ahead = [Ahead("lantern-works", "mei", "train", 3600, now - starts[job] if job in running else 0) for job in (*running, *waiting)]
        futures = []
        for drawing in drawn(History(used), ahead, 20, seed).tolist():
            free = [starts[job] + ends for job, ends in zip(running, drawing, strict=False)]
            futures.append(_one_after_another(free, drawing[len(running) :]))
        for at, job in enumerate(waiting):
            p50, p90 = (quantile([future[at] for future in futures], part, 10**9) for part in (0.5, 0.9))
            assert p50 is not None and p90 is not None
            told.append(Told(now, p50, p90, starts[job]))
    held = calibration(told, now=10**9)
    assert held.by_p50.share is not None and held.by_p90.share is not None
    assert 0.4 < held.by_p50.share < 0.7
    assert 0.8 < held.by_p90.share < 0.97


def _one_after_another(free: list[int], runs: Sequence[int]) -> list[int]:
    """When each starts; `free`: when each place is."""
    places, starts = sorted(free), []
    for run in runs:
        starts.append(heapq.heappop(places))
        heapq.heappush(places, starts[-1] + run)
    return starts


@given(st.lists(st.integers(0, 100), min_size=1, max_size=40), st.integers(50, 101))
def test_the_earlier_quantile_is_never_after_the_later_one(starts: list[int], never: int) -> None:
    p50, p90 = quantile(starts, 0.5, never), quantile(starts, 0.9, never)
    assert p90 is None or (p50 is not None and p50 <= p90 < never)


def test_drawn_quantiles_hold_as_often_as_they_say() -> None:
    """Futures and what really happens drawn from the same: a further draw exceeds the P90 of 20 about once in ten."""
    chance = random.Random(7)
    told = []
    for _ in range(4000):
        futures = [int(chance.expovariate(1 / 1000)) for _ in range(20)]
        p50, p90 = quantile(futures, 0.5, 10**9), quantile(futures, 0.9, 10**9)
        assert p50 is not None and p90 is not None
        told.append(Told(0, p50, p90, int(chance.expovariate(1 / 1000))))
    held = calibration(told, now=10**9)
    assert held.by_p50.share is not None and held.by_p90.share is not None
    assert 0.48 < held.by_p50.share < 0.56
    assert 0.88 < held.by_p90.share < 0.94


def test_the_figures_of_a_known_case() -> None:
    told = [
        Told(0, 100, 200, 90),  # by both
        Told(0, 100, 200, 150),  # by P90 only
        Told(0, 100, 200, 300),  # by neither
        Told(0, 100, 200, None),  # it should have started long ago
        Told(0, 100, 200, None, ended=50),  # cancelled before its time: says nothing
        Told(0, 100, 5000, 80),  # its P90 has not come
        Told(0, 900, 5000, None),  # neither has come
    ]
    held = calibration(told, now=1000)
    assert (held.n, held.pending) == (7, 2)
    assert (held.by_p50.held, held.by_p50.n) == (2, 6)
    assert (held.by_p90.held, held.by_p90.n) == (2, 4)
    assert held.pinball_p50_s is not None and held.pinball_p90_s is not None
    assert math.isclose(held.pinball_p50_s, (5 + 25 + 100) / 3)
    assert math.isclose(held.pinball_p90_s, (0.1 * 110 + 0.1 * 50 + 0.9 * 100) / 3)
    assert set(by_horizon(told, 1000)) == {"1–10 min", "10–60 min"}


def test_wilsons_interval_is_the_published_one() -> None:
    found = wilson(8, 10)  # 0.4902 to 0.9433: Newcombe, Statistics in Medicine 1998
    assert found.low is not None and found.high is not None
    assert np.allclose((found.low, found.high), (0.4902, 0.9433), atol=5e-5)
    assert wilson(0, 0).share is None
    assert wilson(0, 20).low == 0.0


# --- stretched by how earlier ones held ------------------------------------------------------------------------------------


def test_nothing_is_stretched_until_enough_is_known() -> None:
    late = [Told(at, at + 100, at + 200, at + 420) for at in range(ENOUGH_JUDGED)]
    assert stretch(late[1:], now=10**6, part=0.9) == 1.0
    assert stretch(late, now=100, part=0.9) == 1.0  # of none of them has the time come
    assert stretch(late, now=10**6, part=0.5) == 3.0  # (420 + 60) / (100 + 60)
    assert stretch(late, now=10**6, part=0.9) == 480 / 260
    assert stretched(1000, 1100, 3.0) == 1000 + 3 * 160 - 60
    assert stretched(1000, 1100, 1.0) == 1100


def test_what_was_played_is_compared_and_not_what_was_told() -> None:
    """Or else what held because it was stretched would be stretched no longer."""
    held = [Told(at, at + 420, at + 500, at + 420, played50=at + 100, played90=at + 200) for at in range(ENOUGH_JUDGED)]
    assert stretch(held, now=10**6, part=0.5) == 3.0


def test_who_waits_still_has_waited_at_least_so_long_and_who_gave_up_before_says_nothing() -> None:
    waits = [Told(0, 100, 200, None)] * ENOUGH_JUDGED
    assert stretch(waits, now=260, part=0.5) == 2.0
    assert stretch([Told(0, 100, 200, None, ended=50)] * ENOUGH_JUDGED, now=260, part=0.5) == 1.0


@given(
    told=st.lists(
        st.builds(
            lambda made, p50, more, wait: Told(made, made + p50, made + p50 + more, None if wait is None else made + wait),
            st.integers(0, 1000), st.integers(0, 10**5), st.integers(0, 10**5), st.none() | st.integers(0, 10**6),
        ),
        max_size=2 * JUDGED_BY,
    ),
    now=st.integers(1000, 10**6),
    part=st.sampled_from([0.5, 0.9]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_stretch_keeps_its_bounds_and_hangs_on_the_last_ones_alone(told: list[Told], now: int, part: float) -> None:
    found = stretch(told, now, part)
    assert found == 1.0 or STRETCH[0] <= found <= STRETCH[1]
    older = [Told(-10, -5, -5, -1)] * (2 * JUDGED_BY)
    due = sum((one.p50 if part == 0.5 else one.p90) <= now for one in told)
    assert due < JUDGED_BY or stretch([*older, *told], now, part) == found


def _house(seed: int, overtaken: float) -> tuple[float, float]:
    """How often the P90 held of futures in which nobody comes, alone and stretched, where later jobs make waits so much longer."""
    chance = random.Random(seed)
    told: list[Told] = []
    for made in range(0, 300 * 120, 120):
        mean = chance.choice([60, 600, 6000])
        futures = [made + round(chance.expovariate(1 / mean)) for _ in range(20)]
        p50, p90 = quantile(futures, 0.5, 10**9), quantile(futures, 0.9, 10**9)
        assert p50 is not None and p90 is not None
        start = made + round(chance.expovariate(1 / mean) * overtaken)
        known = [one if one.started is not None and one.started <= made else replace(one, started=None) for one in told[-150:]]
        told.append(Told(made, p50, stretched(made, p90, stretch(known, made, 0.9)), start, None, p50, p90))
    late = told[100:]
    alone = sum(one.started <= one.played90 for one in late if one.started is not None and one.played90 is not None)
    return alone / len(late), sum(one.started <= one.p90 for one in late if one.started is not None) / len(late)


def test_where_later_jobs_go_first_nine_of_ten_hold_once_enough_is_known() -> None:
    """Twenty houses; and where futures are right, stretching spoils nothing."""
    overtaken = [_house(seed, 2.0) for seed in range(10)]
    right = [_house(seed, 1.0) for seed in range(10)]
    assert max(alone for alone, _ in overtaken) < 0.8
    assert min(held for _, held in overtaken) > 0.8
    assert 0.86 < sum(held for _, held in overtaken) / 10 < 0.95
    assert 0.86 < sum(held for _, held in right) / 10 < 0.95
