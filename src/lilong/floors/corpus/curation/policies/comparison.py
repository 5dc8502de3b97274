"""What would change: between two policies over the same signals, and between limits of one rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lilong.floors.corpus.curation.policies.evaluation import KEPT, Decisions, decide
from lilong.floors.corpus.curation.policies.policy import BadPolicy, Policy

SAMPLES = 5
"""Documents shown of each kind of change."""


@dataclass(frozen=True, slots=True)
class Change:
    """Documents that went from one reason to another; '' stands for kept. `samples`: the first few, with both details."""

    before: str
    after: str
    documents: int
    samples: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class SourceChange:
    source: str
    documents: int
    kept_before: int
    kept_after: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What a policy would change, before duplicates are looked at."""

    documents: int
    kept_before: int
    kept_after: int
    newly_dropped: int
    newly_kept: int
    reasons: list[Change]
    sources: list[SourceChange]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Tried:
    """What one limit of a rule does: documents that the rule alone would drop, and documents that the whole policy would keep."""

    limit: float
    caught: int
    kept: int


def difference(before: Policy, after: Policy, signals: pa.Table, documents: pa.Table, samples: int = SAMPLES) -> Difference:
    """What `after` decides otherwise than `before`. `documents`: one row of id and source for each row of `signals`."""
    old, new = decide(before, signals), decide(after, signals)
    old_reason, old_names = _reasons(old)
    new_reason, new_names = _reasons(new)
    moved = _changes(old_reason, old_names, new_reason, new_names)
    reasons = []
    for (left, right), rows in moved.items():
        shown = rows[:samples]
        part = signals.take(pa.array(shown))
        was, will = (Decisions(one.policy, one.rule[shown]).table(part).column("detail").to_pylist() for one in (old, new))
        named = documents.select(["id", "source"]).take(pa.array(shown)).to_pylist()
        told = [{**name, "before": first, "after": second} for name, first, second in zip(named, was, will, strict=True)]
        reasons.append(Change(left, right, len(rows), told))
    return Difference(
        signals.num_rows,
        int(old.keep.sum()),
        int(new.keep.sum()),
        int((old.keep & ~new.keep).sum()),
        int((~old.keep & new.keep).sum()),
        sorted(reasons, key=lambda one: (-one.documents, one.before, one.after)),
        _sources(documents, old, new),
    )


def explore(policy: Policy, reason: str, limits: Sequence[float], signals: pa.Table) -> list[Tried]:
    """What other limits of the first rule with this reason would do. Raises BadPolicy where there is none, or its limit is no number."""
    number = next((number for number, rule in enumerate(policy.rules) if rule.reason == reason), None)
    if number is None:
        known = ", ".join(dict.fromkeys(rule.reason for rule in policy.rules))
        raise BadPolicy(field="reason", problem=f"no rule has the reason '{reason}'", way_out=f"There are: {known}.")
    rule = policy.rules[number]
    if not isinstance(rule.drop.limit, float):
        raise BadPolicy(field=reason, problem="its limit is not a number", way_out="Explore a rule that compares with a number.")
    tried = []
    for limit in limits:
        other = replace(rule, drop=replace(rule.drop, limit=float(limit)))
        alone = decide(replace(policy, rules=(other,)), signals)
        whole = decide(replace(policy, rules=(*policy.rules[:number], other, *policy.rules[number + 1 :])), signals)
        tried.append(Tried(float(limit), int((~alone.keep).sum()), int(whole.keep.sum())))
    return tried


def _reasons(decisions: Decisions) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Per document an index into the reasons, of which the first is '', kept."""
    names = list(dict.fromkeys(["", *(rule.reason for rule in decisions.policy.rules)]))
    of_rule = np.array([0, *(names.index(rule.reason) for rule in decisions.policy.rules)], np.int64)
    return of_rule[decisions.rule.astype(np.int64) - KEPT], names


def _changes(
    old: npt.NDArray[np.int64], old_names: list[str], new: npt.NDArray[np.int64], new_names: list[str]
) -> dict[tuple[str, str], npt.NDArray[np.int64]]:
    pair = old * len(new_names) + new
    found = {}
    for value in np.unique(pair).tolist():
        left, right = old_names[value // len(new_names)], new_names[value % len(new_names)]
        if left != right:
            found[left, right] = np.flatnonzero(pair == value)
    return found


def _sources(documents: pa.Table, old: Decisions, new: Decisions) -> list[SourceChange]:
    table = pa.table({"source": documents.column("source"), "before": old.keep.astype(np.int64), "after": new.keep.astype(np.int64)})
    counted = table.group_by("source").aggregate([("source", "count"), ("before", "sum"), ("after", "sum")]).sort_by("source")
    rows = zip(*(counted.column(name).to_pylist() for name in ("source", "source_count", "before_sum", "after_sum")), strict=True)
    return [SourceChange(*row) for row in rows]
