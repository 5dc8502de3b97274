"""Which rule of a policy drops which document, for many documents at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lilong.floors.corpus.curation.policies.policy import BadPolicy, Comparison, Policy, shown

KEPT = -1
Rules = npt.NDArray[np.int16]
Mask = npt.NDArray[np.bool_]
DECISION = pa.schema([("keep", pa.bool_()), ("step", pa.string()), ("reason", pa.string()), ("detail", pa.string())])


@dataclass(frozen=True, slots=True)
class Decisions:
    """Per document the number of the rule that drops it, or KEPT."""

    policy: Policy
    rule: Rules

    @property
    def keep(self) -> Mask:
        kept: Mask = self.rule == KEPT
        return kept

    def table(self, signals: pa.Table) -> pa.Table:
        """DECISION, row by row; of a kept document, step, reason and detail are empty. `signals` are the ones that it was made from."""
        rules = [("", ""), *((rule.step, rule.reason) for rule in self.policy.rules)]
        index = pa.array(self.rule.astype(np.int32) + 1)
        steps = pa.DictionaryArray.from_arrays(index, [step for step, _ in rules]).cast(pa.string())
        reasons = pa.DictionaryArray.from_arrays(index, [reason for _, reason in rules]).cast(pa.string())
        return pa.table([pa.array(self.keep), steps, reasons, _details(self, signals)], schema=DECISION)


def decide(policy: Policy, signals: pa.Table) -> Decisions:
    """Decide about every row of `signals` (a column per signal; others are not looked at). Raises BadPolicy."""
    rule = np.full(signals.num_rows, KEPT, np.int16)
    columns = _Columns(signals)
    for number in reversed(range(len(policy.rules))):  # the first rule that holds has the last word
        one = policy.rules[number]
        holds = columns.holds(f"rules[{number}].drop", one.drop)
        for condition in one.when:
            holds &= columns.holds(f"rules[{number}].when", condition)
        rule[holds] = number
    return Decisions(policy, rule)


class _Columns:
    """The columns of a table as arrays that can be compared, each converted once."""

    def __init__(self, signals: pa.Table) -> None:
        self._signals = signals
        self._ready: dict[str, Any] = {}

    def holds(self, field: str, comparison: Comparison) -> Mask:
        values = self._column(field, comparison.signal)
        if isinstance(values, pa.DictionaryArray):
            return _text_holds(field, values, comparison)
        limit = comparison.limit
        if not isinstance(limit, float):
            way_out = "Compare it with a number."
            raise BadPolicy(field=field, problem=f"'{comparison.signal}' is a number and {shown(limit)} is none", way_out=way_out)
        return _number_holds(values, comparison.operator, limit)

    def _column(self, field: str, name: str) -> Any:
        if name not in self._ready:
            if name not in self._signals.column_names:
                known = ", ".join(sorted(self._signals.column_names))
                raise BadPolicy(field=field, problem=f"the table has no signal '{name}'", way_out=f"It has: {known}.")
            self._ready[name] = _comparable(self._signals.column(name).combine_chunks())
        return self._ready[name]


def _comparable(column: pa.Array) -> Any:
    """Texts as one dictionary, numbers as numpy."""
    if isinstance(column, pa.ChunkedArray):  # a table of no rows
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        return column
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.dictionary_encode()
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return column.to_numpy(zero_copy_only=False)


def _number_holds(values: npt.NDArray[Any], operator: str, limit: float) -> Mask:
    found: Mask
    if operator == "<":
        found = values < limit
    elif operator == "<=":
        found = values <= limit
    elif operator == ">":
        found = values > limit
    elif operator == ">=":
        found = values >= limit
    elif operator == "==":
        found = values == limit
    else:
        found = (values != limit) & ~np.isnan(values)
    return found


def _text_holds(field: str, values: pa.DictionaryArray, comparison: Comparison) -> Mask:
    limit, operator = comparison.limit, comparison.operator
    if operator not in ("==", "!=", "in", "not in") or isinstance(limit, float):
        raise BadPolicy(field=field, problem=f"'{comparison.signal}' is a text", way_out="Compare it with ==, !=, in or not in, and texts.")
    wanted = {limit} if isinstance(limit, str) else set(limit)
    negative = operator in ("!=", "not in")
    hit = np.array([(word in wanted) != negative for word in values.dictionary.to_pylist()] + [False], bool)
    index = values.indices.fill_null(len(hit) - 1).to_numpy(zero_copy_only=False)
    found: Mask = hit[index]
    return found


def _details(decisions: Decisions, signals: pa.Table) -> pa.Array:
    """`signal value operator limit` of each dropped document: both numbers, and whether they differ can be seen."""
    order = np.argsort(decisions.rule, kind="stable")
    bounds = np.searchsorted(decisions.rule[order], np.arange(KEPT, len(decisions.policy.rules) + 1))
    parts = [pa.array([""] * int(bounds[1]), pa.string())]
    for number, rule in enumerate(decisions.policy.rules):
        rows = order[bounds[number + 1] : bounds[number + 2]]
        if len(rows):
            said = _words(signals.column(rule.drop.signal).take(pa.array(rows)), rule.drop)
            end = f"{rule.drop.operator} {shown(rule.drop.limit)}"
            parts.append(pc.binary_join_element_wise(pa.scalar(rule.drop.signal), said, pa.scalar(end), " "))
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return pa.concat_arrays(parts).take(pa.array(back))


def _words(column: pa.ChunkedArray, comparison: Comparison) -> pa.Array:
    values = _comparable(column.combine_chunks())
    if isinstance(values, pa.DictionaryArray):
        return values.cast(pa.string())
    if values.dtype.kind in "iu":
        return pa.array(values).cast(pa.string())
    exact = values.astype(np.float64)
    short = np.round(exact, 4)  # unless that hides on which side of the limit it lies
    limit = comparison.limit if isinstance(comparison.limit, float) else 0.0
    hidden = _number_holds(short, comparison.operator, limit) != _number_holds(exact, comparison.operator, limit)
    return pc.replace_substring_regex(pa.array(np.where(hidden, exact, short)).cast(pa.string()), r"\.0$", "")
