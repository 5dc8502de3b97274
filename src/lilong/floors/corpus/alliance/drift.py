"""How far the kept documents of two versions lie apart: pure, over their tables.

The population stability index (Siddiqi 2006, *Credit Risk Scorecards*, chapter 10) of shares p before and q after is the sum of
(q - p) ln(q / p); below 0.1 little has changed, above 0.25 much. The Jensen–Shannon divergence (Lin 1991) is symmetric and between 0 and 1 bit.
A signal's values are put into the tenths of both versions together, so that the answer does not depend on which is asked first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from lilong.floors.corpus.alliance.holding import Opened
from lilong.floors.corpus.alliance.shapes import Drift, ShareDrift, SharesDrift, SignalDrift
from lilong.ground.errors import Corrupt

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import pyarrow.parquet as pq

Values: TypeAlias = "npt.NDArray[np.float64]"
TENTHS = 10
_ROWS = 1 << 16
"""Read at once."""
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
class Kept:
    """A version's kept documents: how many there are, how many have each label, and which signals they have. `values`: those of one signal."""

    documents: int
    labels: Mapping[str, Mapping[str, int]]
    signals: Sequence[str]
    values: Callable[[str], Values]


def read(paths: Iterable[str], opened: Opened, signals: str, decisions: str) -> Kept:
    """One column is read at a time, a batch of rows after the other: what stays in memory is a byte for each different text, and what is asked
    for, 8 bytes for each kept document. Raises Corrupt, and what `opened` does for a file that is not there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = sorted(path for path in paths if path.startswith("data/") and path.endswith(".parquet"))
    counts: dict[str, Counter[str]] = {label: Counter() for label in _LABELS}
    documents = 0
    for path in data:
        for batch in _batches(pq.ParquetFile(opened(path)), _LABELS):
            documents += len(batch)
            for label in _LABELS:
                counts[label].update({str(one["values"]): int(one["counts"]) for one in batch.column(label).value_counts().to_pylist()})
    kept = _kept(pq.ParquetFile(opened(decisions)))
    file = pq.ParquetFile(opened(signals))
    if file.metadata.num_rows != len(kept):
        raise Corrupt(place=signals, problem=f"it has {file.metadata.num_rows:,} rows, but {decisions} decides about {len(kept):,} texts")
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    names = [field.name for field in file.schema_arrow if any(kind(field.type) for kind in kinds)]
    return Kept(documents, counts, names, lambda name: _values(file, name, kept))


def _batches(file: pq.ParquetFile, columns: Iterable[str]) -> Iterator[pa.RecordBatch]:
    return file.iter_batches(_ROWS, columns=list(columns), use_threads=False)  # type: ignore[no-any-return]


def _kept(decisions: pq.ParquetFile) -> npt.NDArray[np.bool_]:
    """Of each different text whether it is kept, in the order of the signals: that of the decisions about documents, copies left out."""
    import numpy as np
    import pyarrow.compute as pc

    parts = [np.zeros(0, bool)]
    for batch in _batches(decisions, ("id", "keep", "reason")):
        texts = pc.and_(pc.is_valid(batch.column("id")), pc.not_equal(batch.column("reason"), "exact_duplicate"))
        parts.append(batch.column("keep").filter(texts).to_numpy(zero_copy_only=False).astype(bool))
    return np.concatenate(parts)


def _values(file: pq.ParquetFile, name: str, kept: npt.NDArray[np.bool_]) -> Values:
    """Those of kept documents that are numbers."""
    import numpy as np
    import pyarrow as pa

    parts, at = [np.zeros(0)], 0
    for batch in _batches(file, (name,)):
        column = batch.column(0).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)  # null becomes NaN
        parts.append(column[kept[at : at + len(column)] & np.isfinite(column)])
        at += len(column)
    return np.concatenate(parts)


def between(before: str, after: str, first: Kept, second: Kept) -> Drift:
    """`before` and `after` name the versions. Signals that only one of them has are left out."""
    signals = [_signal(name, first.values(name), second.values(name)) for name in first.signals if name in second.signals]
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


def _signal(name: str, first: Values, second: Values) -> SignalDrift:
    import numpy as np

    both = np.concatenate([first, second])
    edges = np.unique(np.quantile(both, np.arange(1, TENTHS) / TENTHS)) if len(both) else np.zeros(0)
    # A bin's upper edge belongs to it: values that stand at an edge in both versions then stay together.
    bins = len(edges) + 1
    p, q = (np.bincount(np.searchsorted(edges, values, "left"), minlength=bins).tolist() for values in (first, second))
    means = [round(float(values.mean()), 6) if len(values) else 0.0 for values in (first, second)]
    return SignalDrift(name, round(psi(p, q), 6), round(divergence(p, q), 6), means[0], means[1])
