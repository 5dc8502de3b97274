"""Population stability index and Jensen–Shannon divergence, against what their definitions give by hand."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.corpus.alliance import drift

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=12).filter(any)


def columns(values: dict[str, list[float]], labels: dict[str, dict[str, int]] | None = None) -> drift.Columns:
    size = len(next(iter(values.values())))
    return drift.Columns(size, pa.table(values), labels or {"language": {"en": size}, "source": {"tides": size}})


def test_the_index_is_the_sum_of_its_definition() -> None:
    assert drift.psi([10, 90], [50, 50]) == pytest.approx((0.5 - 0.1) * math.log(5) + (0.5 - 0.9) * math.log(5 / 9))


def test_the_divergence_of_what_has_nothing_in_common_is_one_bit() -> None:
    assert drift.divergence([7, 0], [0, 3]) == pytest.approx(1.0)
    assert drift.divergence([1, 1], [1, 3]) == pytest.approx(0.048795, abs=1e-6)


@given(COUNTS)
def test_equal_shares_lie_nowhere_apart(counts: list[int]) -> None:
    doubled = [2 * count for count in counts]
    assert drift.psi(counts, doubled) == pytest.approx(0) and drift.divergence(counts, doubled) == pytest.approx(0, abs=1e-12)


@given(COUNTS, st.data())
def test_both_are_symmetric_and_never_negative(before: list[int], data: st.DataObject) -> None:
    after = data.draw(st.lists(st.integers(0, 1000), min_size=len(before), max_size=len(before)).filter(any))
    assert drift.psi(before, after) == pytest.approx(drift.psi(after, before)) and drift.psi(before, after) >= 0
    assert (
        drift.divergence(before, after) == pytest.approx(drift.divergence(after, before))
        and 0 <= drift.divergence(before, after) <= 1 + 1e-12
    )


def test_a_moved_signal_comes_first_and_an_unmoved_one_stays_at_nothing() -> None:
    steady = [float(n % 10) for n in range(200)]
    found = drift.between(
        "a", "b", columns({"steady": steady, "moved": steady}), columns({"steady": steady, "moved": [n + 5 for n in steady]})
    )
    assert [one.signal for one in found.signals] == ["moved", "steady"]
    assert found.signals[0].psi > 0.25 and (found.signals[0].mean_before, found.signals[0].mean_after) == (4.5, 9.5)
    assert found.signals[1].psi == 0 == found.signals[1].divergence


@pytest.mark.parametrize("values", [[0.0] * 50, [math.nan] * 50, [math.inf] * 3, []])
def test_signals_with_one_value_or_none_are_no_drift(values: list[float]) -> None:
    found = drift.between("a", "b", columns({"flat": values}), columns({"flat": values}))
    assert (found.signals[0].psi, found.signals[0].divergence) == (0, 0)


def test_the_order_of_the_question_changes_no_number() -> None:
    pick = np.random.default_rng(3)
    first, second = (columns({"length": pick.lognormal(mean, 1, 500).tolist()}) for mean in (5, 6))
    forth, back = drift.between("a", "b", first, second), drift.between("b", "a", second, first)
    assert (forth.signals[0].psi, forth.signals[0].divergence) == (back.signals[0].psi, back.signals[0].divergence)


def test_shares_name_the_largest_change_first() -> None:
    found = drift.shares({"en": 80, "zh": 20}, {"en": 50, "zh": 20, "de": 30})
    assert [one.name for one in found.shares] == ["de", "en", "zh"]
    assert found.shares[0].before == 0 and found.shares[0].after == pytest.approx(0.3)
