"""Population stability index and Jensen–Shannon divergence, against what their definitions give by hand."""

from __future__ import annotations

import hashlib
import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.corpus.alliance import drift
from lilong.ground.errors import Corrupt

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=12).filter(any)


def columns(values: dict[str, list[float]]) -> drift.Kept:
    size = len(next(iter(values.values())))
    return drift.Kept(
        size, {"language": {"en": size}, "source": {"tides": size}}, list(values), lambda name: finite(np.array(values[name], float))
    )


def finite(values: drift.Values) -> drift.Values:
    return values[np.isfinite(values)]


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


class Files:
    """A version of `rows` different texts, of which every third is dropped, and one copy of each tenth."""

    def __init__(self, folder: Path, rows: int, signals: int) -> None:
        self.folder, pick = folder, np.random.default_rng(rows)
        for name in ("data", "tables"):
            (folder / name).mkdir(parents=True)
        ids = sorted(hashlib.sha256(b"%d" % number).hexdigest() for number in range(rows))
        kept = [number % 3 > 0 for number in range(rows)]
        self.values = {f"signal{number}": pick.normal(size=rows) for number in range(signals)}
        self.write("tables/signals", {"id": ids, "language": ["en"] * rows, **self.values, "holes": [None if n % 2 else n for n in range(rows)]})
        decided = [(one, keep, "" if keep else "too_short") for one, keep in zip(ids, kept, strict=True)]
        copies = [(one, False, "exact_duplicate") for one in ids[::10]]
        found = [*sorted(decided + copies), (None, False, "broken")]
        self.write("tables/decisions", {name: [row[at] for row in found] for at, name in enumerate(("id", "keep", "reason"))})
        self.kept = np.array(kept)
        names = [one for one, keep in zip(ids, kept, strict=True) if keep]
        self.write("data/train-00000", {"id": names, "language": ["en"] * len(names), "source": ["tides"] * len(names)})

    def write(self, name: str, columns: dict[str, Any]) -> None:
        pq.write_table(pa.table(columns), self.folder / f"{name}.parquet", row_group_size=10_000)

    def read(self) -> drift.Kept:
        paths = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.parquet")]
        return drift.read(paths, lambda path: str(self.folder / path), "tables/signals.parquet", "tables/decisions.parquet")


def test_the_signals_of_kept_documents_are_read_each_for_itself(tmp_path: Path) -> None:
    files = Files(tmp_path / "v", 900, 2)
    found = files.read()
    assert (found.documents, found.labels) == (600, {"language": {"en": 600}, "source": {"tides": 600}})
    assert found.signals == ["signal0", "signal1", "holes"]
    assert np.array_equal(found.values("signal1"), files.values["signal1"][files.kept])
    assert found.values("holes").tolist() == [float(n) for n in range(900) if n % 3 and not n % 2]


def test_decisions_that_are_not_about_the_texts_that_were_measured_are_no_basis(tmp_path: Path) -> None:
    files = Files(tmp_path / "v", 90, 1)
    files.write("tables/signals", {"id": ["a"], "signal0": [1.0]})
    with pytest.raises(Corrupt, match=r"it has 1 rows, but tables/decisions\.parquet decides about 90 texts"):
        files.read()


def test_of_many_signals_no_more_than_one_is_in_memory_at_once(tmp_path: Path) -> None:
    rows, signals = 60_000, 24
    one = Files(tmp_path / "v", rows, signals).read  # both versions are this one
    pool, before = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        drift.between("a", "b", one(), one())
        peak = tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    assert peak < rows * 8 * signals


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
