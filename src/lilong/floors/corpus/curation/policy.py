"""A policy: named limits over signals. Pure, so that a threshold can be tried, explained and audited without reading a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lilong.floors.corpus.contract import BadRecipe
from lilong.floors.corpus.curation.profile import SIGNALS

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Rule:
    """Keep documents whose signal lies in [least, most]; with `languages`, the rule speaks only of documents in these."""

    signal: str
    least: float | None = None
    most: float | None = None
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    version: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a document is dropped: a stable reason (the signal's name, or `language`) and the comparison that failed."""

    reason: str
    detail: str


def parse_policy(value: Mapping[str, Any]) -> Policy:
    """A policy from a recipe: {name, version, rules: [{signal, min?, max?, languages?}]}. Raises BadRecipe."""
    unknown = set(value) - {"name", "version", "rules"}
    if unknown:
        raise BadRecipe(field=f"policy.{min(unknown)}", problem="there is no such key", way_out="Use name, version and rules.")
    rules = tuple(_rule(number, rule) for number, rule in enumerate(value.get("rules", ())))
    return Policy(str(value.get("name", "unnamed")), str(value.get("version", "0")), rules)


def _rule(number: int, value: Mapping[str, Any]) -> Rule:
    field = f"policy.rules[{number}]"
    unknown = set(value) - {"signal", "min", "max", "languages"}
    if unknown:
        raise BadRecipe(field=f"{field}.{min(unknown)}", problem="there is no such key", way_out="Use signal, min, max and languages.")
    signal = value.get("signal")
    if signal not in SIGNALS:
        raise BadRecipe(field=f"{field}.signal", problem=f"'{signal}' is not a signal", way_out=f"Use one of {', '.join(SIGNALS)}.")
    if "min" not in value and "max" not in value:
        raise BadRecipe(field=field, problem="it has no limit", way_out="Give min, max or both.")
    for key in ("min", "max"):
        if key in value and (isinstance(value[key], bool) or not isinstance(value[key], int | float)):
            raise BadRecipe(field=f"{field}.{key}", problem=f"{value[key]!r} is not a number", way_out="Give a number.")
    return Rule(str(signal), value.get("min"), value.get("max"), tuple(value.get("languages", ())))


def decide(policy: Policy, languages: Sequence[str], signals: pa.Table) -> list[Verdict | None]:
    """Per row of the signals: None to keep, or the first reason to drop, in the order of the rules.

    `languages` are the ones that are wanted (none given: all are); a document in another is dropped before any rule is asked.
    """
    import numpy as np

    found: list[str] = signals.column("language").to_pylist()
    verdicts: list[Verdict | None] = [None] * signals.num_rows
    if languages:
        for row, language in enumerate(found):
            if language not in languages:
                verdicts[row] = Verdict("language", f"language {language} is not among {', '.join(languages)}")
    spoken = np.array(found, dtype=object)
    for rule in policy.rules:
        values = signals.column(rule.signal).to_numpy()
        asked = np.isin(spoken, rule.languages) if rule.languages else np.ones(len(values), bool)
        low = asked & (values < rule.least) if rule.least is not None else np.zeros(len(values), bool)
        high = asked & (values > rule.most) if rule.most is not None else np.zeros(len(values), bool)
        for row in np.flatnonzero(low | high).tolist():
            if verdicts[row] is None:
                sign, limit = ("<", rule.least) if low[row] else (">", rule.most)
                verdicts[row] = Verdict(rule.signal, f"{rule.signal} {_compared(float(values[row]), sign, float(limit or 0))}")
    return verdicts


def _compared(value: float, sign: str, limit: float) -> str:
    """Both numbers with as few digits as still show them to differ."""
    for digits in range(2, 17):
        left, right = f"{value:.{digits}g}", f"{limit:.{digits}g}"
        if float(right) == limit and float(left) != limit:
            break
    return f"{left if 'e' not in left else format(value, '.0f')} {sign} {right if 'e' not in right else format(limit, '.0f')}"
