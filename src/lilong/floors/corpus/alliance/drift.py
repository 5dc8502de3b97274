"""How far the kept documents of two versions lie apart: pure, over their tables.

The population stability index (Siddiqi 2006, *Credit Risk Scorecards*, chapter 10) of shares p before and q after is the sum of
(q - p) ln(q / p); below 0.1 little has changed, above 0.25 much. The Jensen–Shannon divergence (Lin 1991) is symmetric and between 0 and 1 bit.
A signal's values are put into the tenths of both versions together, so that the answer does not depend on which is asked first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lilong.floors.corpus.alliance.holding import Opened
from lilong.floors.corpus.alliance.shapes import Drift, ShareDrift, SharesDrift, SignalDrift

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

TENTHS = 10
_LEAST = 1e-4
"""The share that stands for none: the logarithm needs one."""
_LABELS = ("language", "source")


def psi(before: Sequence[float], after: Sequence[float]) -> float:
    """Population stability index of two lists of counts or shares of the same bins. 0 where both are empty."""
    p, q = _shares(before), _shares(after)
    return sum((b - a) * math.log(b / a) for a, b in ((max(x, _LEAST), max(y, _LEAST)) for x, y in zip(p, q, strict=True)))


def divergence(before: Sequence[float], after: Sequence[float]) -> float:
    """Jensen–Shannon divergence in bits: 0 for equal shares, 1 for shares that have no bin in common."""
    p, q = _shares(before), _shares(after)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return max(0.0, (_relative(p, middle) + _relative(q, middle)) / 2)


def _relative(p: Sequence[float], q: Sequence[float]) -> float:
    return sum(a * math.log2(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts)
    return [count / total for count in counts] if total else [0.0] * len(counts)


@dataclass(frozen=True, slots=True)
class Columns:
    """Of a version's kept documents: their signals, and how many have each label."""

    documents: int
    signals: pa.Table
    labels: Mapping[str, Mapping[str, int]]


def read(paths: Iterable[str], opened: Opened, signals: str) -> Columns:
    """Raises what `opened` does for a file that is not there."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    data = sorted(path for path in paths if path.startswith("data/") and path.endswith(".parquet"))
    kept = pa.concat_tables([pq.read_table(opened(path), columns=["id", *_LABELS]) for path in data])
    file = pq.ParquetFile(opened(signals))
    numbers = [
        field.name
        for field in file.schema_arrow
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_boolean(field.type)
    ]
    rows = file.read(columns=["id", *numbers])
    rows = rows.filter(pc.is_in(rows.column("id"), value_set=kept.column("id").combine_chunks()))
    return Columns(kept.num_rows, rows.select(numbers), {label: _counts(kept.column(label)) for label in _LABELS})


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {str(one["values"]): int(one["counts"]) for one in column.value_counts().to_pylist()}


def between(before: str, after: str, first: Columns, second: Columns) -> Drift:
    """`before` and `after` name the versions. Signals that only one of them has are left out."""
    common = [name for name in first.signals.column_names if name in second.signals.column_names]
    signals = [_signal(name, _values(first.signals, name), _values(second.signals, name)) for name in common]
    languages, sources = (shares(first.labels[label], second.labels[label]) for label in _LABELS)
    return Drift(
        before, after, first.documents, second.documents, sorted(signals, key=lambda one: (-one.psi, one.signal)), languages, sources
    )


def shares(before: Mapping[str, int], after: Mapping[str, int]) -> SharesDrift:
    """Of two counts by name."""
    names = sorted({*before, *after})
    p, q = _shares([before.get(name, 0) for name in names]), _shares([after.get(name, 0) for name in names])
    found = [ShareDrift(name, round(a, 6), round(b, 6)) for name, a, b in zip(names, p, q, strict=True)]
    return SharesDrift(
        round(psi(p, q), 6), round(divergence(p, q), 6), sorted(found, key=lambda one: (-round(abs(one.after - one.before), 6), one.name))
    )


def _values(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    import numpy as np
    import pyarrow as pa

    values: Any = table.column(name).drop_null().cast(pa.float64()).to_numpy()
    return np.asarray(values[np.isfinite(values)], np.float64)


def _signal(name: str, first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> SignalDrift:
    import numpy as np

    both = np.concatenate([first, second])
    edges = np.unique(np.quantile(both, np.arange(1, TENTHS) / TENTHS)) if len(both) else np.zeros(0)
    # A bin's upper edge belongs to it: values that stand at an edge in both versions then stay together.
    bins = len(edges) + 1
    p, q = (np.bincount(np.searchsorted(edges, values, "left"), minlength=bins).tolist() for values in (first, second))
    means = [round(float(values.mean()), 6) if len(values) else 0.0 for values in (first, second)]
    return SignalDrift(name, round(psi(p, q), 6), round(divergence(p, q), 6), means[0], means[1])
