from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lilong.floors.evaluation.statistics import power
from lilong.floors.evaluation.statistics.intervals import clustered_bootstrap, clustered_t, normal_quantile, wilson
from lilong.floors.evaluation.statistics.paired import mcnemar_exact, tango

SLEEP = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
DIFFERENCES = [0.12, -0.05, 0.31, 0.08, 0.22, -0.14, 0.05, 0.4, 0.17, 0.02, -0.09, 0.26]
CLUSTERS = [0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 5]


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int]:
    """(gained, lost, n) of a paired table with at least one item."""
    gained, lost, same = (draw(st.integers(0, 60)) for _ in range(3))
    return gained, lost, max(1, gained + lost + same)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe 1998, Stat. Med. 17:857, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_newcombes_table(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson(successes, n, 0.05)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@given(n=st.integers(1, 500), share=st.floats(0, 1), alpha=st.floats(0.001, 0.3))
def test_wilson_holds_its_estimate_and_mirrors(n: int, share: float, alpha: float) -> None:
    successes = round(n * share)
    interval, mirrored = wilson(successes, n, alpha), wilson(n - successes, n, alpha)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirrored.high, abs=1e-12)


def test_wilson_of_nothing_knows_nothing() -> None:
    assert (wilson(0, 0, 0.05).low, wilson(0, 0, 0.05).high) == (0, 1)


def test_clusters_of_one_give_students_interval() -> None:
    # Student 1908, the sleep data: t = -4.0621, 95 % interval -2.4598858 to -0.7001142
    interval = clustered_t([a - b for a, b in zip(*SLEEP, strict=True)], range(10), 0.05)
    assert (interval.low, interval.estimate, interval.high) == pytest.approx((-2.4598858, -1.58, -0.7001142), abs=1e-7)


def test_clustered_t_agrees_with_statsmodels() -> None:
    # OLS and WLS on a constant, cov_type="cluster", use_t=True, statsmodels 0.14
    plain = clustered_t(DIFFERENCES, CLUSTERS, 0.05)
    assert (plain.low, plain.high) == pytest.approx((0.01573259, 0.20926741), abs=1e-8)
    weights = [100, 200, 300, 150, 120, 90, 400, 80, 60, 500, 210, 130]
    weighted = clustered_t(DIFFERENCES, CLUSTERS, 0.05, weights)
    assert (weighted.low, weighted.estimate, weighted.high) == pytest.approx((0.00648801, 0.0888461538, 0.1712043), abs=1e-7)


def test_one_cluster_alone_tells_nothing() -> None:
    interval = clustered_t([1.0, 2.0], ["a", "a"], 0.05)
    assert (interval.low, interval.high) == (-math.inf, math.inf)


def test_clustered_t_covers_where_the_naive_interval_does_not() -> None:
    draw, naive, clustered, rounds = np.random.default_rng(5), 0, 0, 400
    clusters = np.repeat(np.arange(15), 12)
    for _ in range(rounds):
        values = (draw.normal(size=15)[clusters] * 0.6 + draw.normal(size=180)).tolist()
        naive += abs(np.mean(values)) <= stats.t.ppf(0.975, 179) * stats.sem(values)
        interval = clustered_t(values, clusters.tolist(), 0.05)
        clustered += interval.low <= 0 <= interval.high
    assert naive / rounds < 0.8
    assert clustered / rounds == pytest.approx(0.95, abs=0.03)


def test_the_bootstrap_agrees_with_t_for_many_clusters_and_repeats_itself() -> None:
    draw = np.random.default_rng(2)
    clusters = np.repeat(np.arange(120), 3).tolist()
    values = (draw.normal(size=120).repeat(3) + draw.normal(size=360)).tolist()
    first, second = (clustered_bootstrap(values, clusters, 0.05, seed=9) for _ in range(2))
    exact = clustered_t(values, clusters, 0.05)
    assert first == second
    assert (first.low, first.high) == pytest.approx((exact.low, exact.high), abs=0.03)


def test_mcnemar_agrees_with_the_published_example() -> None:
    # Agresti's approval ratings as in the R package exact2x2: 121 and 59 changed
    assert mcnemar_exact(121, 59) == pytest.approx(4.434449e-06, rel=1e-6)
    assert mcnemar_exact(0, 0) == 1.0


@given(table=tables())
def test_mcnemar_is_scipys_binomial_test(table: tuple[int, int, int]) -> None:
    gained, lost, _ = table
    if gained + lost:
        assert mcnemar_exact(gained, lost) == pytest.approx(stats.binomtest(gained, gained + lost).pvalue, rel=1e-9)


def test_tango_agrees_with_the_published_example() -> None:
    # Bentur et al. 2009 in Fagerland, Lydersen & Laake (2017), ch. 8: -0.517 to -0.026
    interval = tango(1, 7, 21, 0.05)
    assert (round(interval.low, 3), round(interval.high, 3)) == (-0.517, -0.026)


@given(table=tables(), alpha=st.sampled_from([0.01, 0.05, 0.2]))
def test_tangos_limits_are_roots_of_the_quartic_of_yang_sun_and_hardin(table: tuple[int, int, int], alpha: float) -> None:
    b, c, n = table
    interval, g = tango(b, c, n, alpha), normal_quantile(1 - alpha / 2) ** 2
    coefficients = (
        n**2 * (n / g + 1) ** 2,
        -n * (b - c) * (n / g + 1) * (4 * n / g + 1),
        2 * n * (b - c) ** 2 * (3 * n / g + 2) / g - n**2 * ((b + c) / g + 1),
        n * (b - c) * (2 * (b + c) / g + 1) - (b - c) ** 3 * (4 * n / g + 1) / g,
        (b - c) ** 2 * ((b - c) ** 2 / g - (b + c)) / g,
    )
    size = sum(map(abs, coefficients))
    for limit in (interval.low, interval.high):
        if abs(limit) < 1 and abs(limit - interval.estimate) > 1e-6:
            assert abs(np.polyval(coefficients, limit)) / size < 1e-6


@given(table=tables())
def test_tango_excludes_zero_exactly_when_the_score_test_rejects(table: tuple[int, int, int]) -> None:
    gained, lost, n = table
    interval, z = tango(gained, lost, n, 0.05), normal_quantile(0.975)
    rejects = abs(gained - lost) > z * math.sqrt(gained + lost)
    assert (interval.low > 1e-9 or interval.high < -1e-9) == rejects


@given(table=tables())
def test_tango_mirrors_when_the_models_change_places(table: tuple[int, int, int]) -> None:
    gained, lost, n = table
    one, other = tango(gained, lost, n, 0.05), tango(lost, gained, n, 0.05)
    assert one.low <= one.estimate <= one.high
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)


def test_tango_covers_a_small_difference_on_few_items() -> None:
    draw, covered, rounds, truth = np.random.default_rng(3), 0, 1500, 0.05
    for gained, lost, _ in draw.multinomial(60, [0.10, 0.05, 0.85], size=rounds):
        interval = tango(int(gained), int(lost), 60, 0.05)
        covered += interval.low <= truth <= interval.high
    assert 0.93 <= covered / rounds <= 0.985


def test_required_pairs_agree_with_published_power() -> None:
    # statsmodels' TTestPower and G*Power: 33.367 and 1491.26 pairs
    assert power.paired_mean_required(0.5, 1.0, 0.05, 0.8) == 34
    assert power.paired_mean_required(0.1, 1.0, 0.01, 0.9) == 1492


@given(n=st.integers(3, 3000), spread=st.floats(0.001, 10))
def test_a_detectable_mean_difference_is_seen_with_the_wanted_power(n: int, spread: float) -> None:
    effect = power.paired_mean_detectable(spread, n, 0.05)
    assert power.paired_mean_power(effect, spread, n, 0.05) == pytest.approx(0.8, abs=1e-4)


@given(difference=st.floats(0.01, 0.1), extra=st.floats(0, 0.3))
def test_required_questions_are_the_fewest_that_suffice(difference: float, extra: float) -> None:
    n = power.paired_rate_required(difference, difference + extra, 0.05)
    assert power.paired_rate_power(difference, difference + extra, n, 0.05) >= 0.8
    assert n == 1 or power.paired_rate_power(difference, difference + extra, n - 1, 0.05) < 0.8


def test_rate_power_is_what_a_simulation_sees() -> None:
    draw, rounds, n = np.random.default_rng(7), 2000, 600
    counts = draw.multinomial(n, [0.10, 0.05, 0.85], size=rounds)
    seen = np.mean(np.abs(counts[:, 0] - counts[:, 1]) > 1.96 * np.sqrt(counts[:, 0] + counts[:, 1]))
    assert power.paired_rate_power(0.05, 0.15, n, 0.05) == pytest.approx(float(seen), abs=0.04)
