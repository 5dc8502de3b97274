"""One signal over all documents: how it is spread, and what a limit on it would drop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lilong.floors.corpus.curation.exploring.documents import Line, Mask, Version, lines
from lilong.floors.corpus.curation.exploring.tables import Rows
from lilong.floors.corpus.curation.policies.evaluation import decide
from lilong.floors.corpus.curation.policies.policy import Comparison, Policy, Rule
from lilong.ground.errors import BadInput

BINS = 40
MOST_WORDS = 30
"""Values of a signal that is a text which are shown by themselves."""
SAMPLES = 6
_SKEWED = 50.0  # how many times the median the largest value is from which on the bins grow with the values


@dataclass(frozen=True, slots=True)
class Bin:
    """Documents with low ≤ value < high (the last one: ≤ high); of a text, those that have it."""

    low: float
    high: float
    kept: int
    dropped: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """`bins` grow with the values where `log`. `quantiles`: (share, value). `missing`: documents without a value."""

    signal: str
    bins: list[Bin]
    log: bool
    documents: int
    missing: int
    quantiles: list[tuple[float, float]]
    rules: list[Rule]  # of the policy, that look at this signal


@dataclass(frozen=True, slots=True)
class Moved:
    source: str
    documents: int
    kept_before: int
    kept_after: int

    @property
    def change(self) -> int:
        return self.kept_after - self.kept_before


@dataclass(frozen=True, slots=True)
class Threshold:
    """What dropping where `drop` holds would do. `caught`: documents that this comparison alone drops. Kept is what all rules together
    keep, before near duplicates are looked at. `instead_of`: the rule of the policy whose limit it replaces; None: it comes on top."""

    drop: Comparison
    instead_of: Rule | None
    documents: int
    caught: int
    kept_before: int
    kept_after: int
    newly_dropped: int
    newly_kept: int
    sources: list[Moved]
    lost: list[Line]
    gained: list[Line]


def spread(version: Version, signal: str, bins: int = BINS) -> Spread:
    """How a signal is spread, kept and dropped apart. Raises BadInput."""
    version.check_signal(signal)
    keep = version.frame.keep
    rules = [rule for rule in version.policy.rules if rule.drop.signal == signal]
    if signal not in version.number_names:
        return _of_words(version, signal, keep, rules)
    values = version.signals.numbers(signal)
    there = ~np.isnan(values)
    every, of_kept = values[there], values[there & keep]
    if not len(every):
        return Spread(signal, [], False, len(values), len(values), [], rules)
    edges, log = cuts(every, bins)
    counted, kept = _counted(every, edges), _counted(of_kept, edges)
    boxes = [
        Bin(float(edges[n]), float(edges[n + 1]), int(kept[n]), int(counted[n] - kept[n])) for n in range(len(edges) - 1)
    ]  # fmt: skip
    shares = (0.01, 0.25, 0.5, 0.75, 0.99)
    quantiles = [(share, float(value)) for share, value in zip(shares, np.quantile(every, shares, method="lower").tolist(), strict=True)]
    return Spread(signal, boxes, log, len(values), int(len(values) - len(every)), quantiles, rules)


def cuts(values: npt.NDArray[np.float64], bins: int) -> tuple[npt.NDArray[np.float64], bool]:
    """Edges of at most `bins` bins over all of the values, and whether they grow with them: few values far out would else leave the
    rest in one bin. Whole numbers get edges that are whole."""
    low, high = float(values.min()), float(values.max())
    whole = low.is_integer() and high.is_integer() and bool((values[:10_000] % 1 == 0).all())
    if high == low:
        return np.array([low, low + 1.0]), False
    log = low >= 0 and high > 10 and high > _SKEWED * max(float(np.median(values)), 0.1)
    edges = np.expm1(np.linspace(np.log1p(low), np.log1p(high), bins + 1)) if log else np.linspace(low, high, bins + 1)
    edges[0], edges[-1] = low, high
    if whole:
        edges = np.unique(np.concatenate([np.ceil(edges[:-1]), [high + 1]]))
    return edges, log


def _counted(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    at = np.clip(np.searchsorted(edges, values, "right") - 1, 0, len(edges) - 2)
    return np.bincount(at, minlength=len(edges) - 1).astype(np.int64)


def _of_words(version: Version, signal: str, keep: Mask, rules: list[Rule]) -> Spread:
    coded = version.signals.coded(signal)
    counted = np.bincount(coded.codes, minlength=len(coded.names))
    kept = np.bincount(coded.codes[keep], minlength=len(coded.names))
    order = sorted(range(len(coded.names)), key=lambda n: (-int(counted[n]), coded.names[n]))
    boxes = [Bin(0, 0, int(kept[n]), int(counted[n] - kept[n]), coded.names[n] or "–") for n in order[:MOST_WORDS]]
    rest = order[MOST_WORDS:]
    if rest:
        boxes.append(Bin(0, 0, int(kept[rest].sum()), int(counted[rest].sum() - kept[rest].sum()), "…"))
    return Spread(signal, boxes, False, len(coded.codes), 0, [], rules)


# --- limits --------------------------------------------------------------------------------------------------------------


def threshold(version: Version, signal: str, operator: str, limit: float, samples: int = SAMPLES) -> Threshold:
    """What the policy would decide with this limit: in the place of its own first rule that compares this signal so, else as a rule on
    top. Raises BadInput."""
    version.check_signal(signal, number=True)
    if operator not in ("<", ">", "<=", ">="):
        raise BadInput(field="operator", problem=f"{operator[:20]!r} is none", way_out="Use <, <=, > or >=.")
    if not np.isfinite(limit):
        raise BadInput(field="limit", problem="it is not a number", way_out="Give a number, such as 0.3.")
    before, drop = version.policy, Comparison(signal, operator, float(limit))
    number = _own_rule(before, signal, operator)
    own = before.rules[number] if number is not None else None
    rule = replace(own, drop=drop) if own else Rule("tried", signal, drop)
    after = replace(
        before, rules=(*before.rules[:number], rule, *before.rules[number + 1 :]) if number is not None else (*before.rules, rule)
    )
    table = looked_at(version, (*before.signals(), signal))
    old, new = decide(before, table).keep, decide(after, table).keep
    alone = decide(replace(before, rules=(rule,)), table).keep
    lost, gained = np.flatnonzero(old & ~new), np.flatnonzero(~old & new)
    return Threshold(
        drop, own, len(old), int((~alone).sum()), int(old.sum()), int(new.sum()), len(lost), len(gained), moved(version, old, new),
        lines(version, _some(lost, samples), signal), lines(version, _some(gained, samples), signal),
    )  # fmt: skip


def _own_rule(policy: Policy, signal: str, operator: str) -> int | None:
    same = [number for number, rule in enumerate(policy.rules) if rule.drop.signal == signal and rule.drop.operator == operator]
    return same[0] if same else None


def looked_at(version: Version, names: Sequence[str]) -> pa.Table:
    """Columns of the signals as a table that `decide` takes, without reading again what is kept."""
    columns = {}
    for name in dict.fromkeys(names):
        if name in version.number_names:
            columns[name] = pa.array(version.signals.numbers(name))
        else:
            coded = version.signals.coded(name)
            columns[name] = pa.DictionaryArray.from_arrays(pa.array(coded.codes), pa.array(coded.names, pa.string()))
    return pa.table(columns)


def _some(rows: npt.NDArray[np.intp], samples: int) -> Rows:
    """Neighbours in the order of ids, so that they lie in few row groups; ids are hashes, so they are a fair sample."""
    return rows[:samples].astype(np.int64)


def moved(version: Version, old: Mask, new: Mask) -> list[Moved]:
    """By source, those first that lose or gain most."""
    source = version.frame.source
    count = len(source.names)
    every, before, after = (np.bincount(source.codes[which], minlength=count) for which in (slice(None), old, new))
    found = [Moved(name, int(every[n]), int(before[n]), int(after[n])) for n, name in enumerate(source.names) if every[n]]
    return sorted(found, key=lambda one: (-abs(one.change), -one.documents, one.source))
