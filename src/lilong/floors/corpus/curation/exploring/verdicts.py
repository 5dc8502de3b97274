"""Why a document was kept or dropped; and, over all of them, what was dropped for which reason from which source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lilong.floors.corpus.curation.exploring import SHOWN
from lilong.floors.corpus.curation.exploring.documents import Version
from lilong.floors.corpus.curation.exploring.tables import key_of
from lilong.floors.corpus.curation.policies.evaluation import decide
from lilong.floors.corpus.curation.policies.policy import Policy
from lilong.ground.errors import BadInput, NotFound


class NoSuchDocument(NotFound):
    """This version has read no document '{name}'. Give an id as its tables have it, or the first six digits of one at least."""


class SeveralDocuments(BadInput):
    """'{name}' is the beginning of {count} ids: {ids}. Give more digits."""


@dataclass(frozen=True, slots=True)
class SourceRate:
    """What became of the documents of one source: every reading counted."""

    source: str
    documents: int
    kept: int
    reasons: list[tuple[str, int]]  # the most frequent first

    @property
    def rate(self) -> float:
        return self.kept / self.documents if self.documents else 0.0


@dataclass(frozen=True, slots=True)
class RuleShown:
    """A rule with the document's own number; `drops`: whether it holds; `decided`: whether it is the one that dropped it."""

    step: str
    reason: str
    says: str
    when: list[str]
    value: float | str | None
    drops: bool
    decided: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """Why a document was kept or dropped. `text` is None for whom it may not be shown, or where nobody kept it; `cut`: it goes on."""

    id: str
    keep: bool
    step: str
    reason: str
    detail: str
    readings: list[dict[str, Any]]
    rules: list[RuleShown]
    signals: dict[str, Any]
    cluster: str | None
    text: str | None
    cut: bool
    metadata: dict[str, Any]


TEXT = 64 << 10
"""Characters of a text on its own page."""


def identity(version: Version, name: str) -> str:
    """The whole id of a document by the beginning of it. Raises NoSuchDocument, SeveralDocuments."""
    if not re.fullmatch(r"[0-9a-f]{6,64}", name):
        raise NoSuchDocument(name=name[:100])
    keys = version.signals.keys()
    low, high = int(key_of(name)), int(key_of(name[:16].ljust(16, "f")))
    rows = np.arange(np.searchsorted(keys, np.uint64(low)), np.searchsorted(keys, np.uint64(high), "right"), dtype=np.int64)
    ids = [one["id"] for _, one in version.signals.take(rows[:SHOWN], ["id"]) if one["id"].startswith(name)]
    if len(ids) > 1:
        raise SeveralDocuments(name=name, count=len(rows), ids=", ".join(one[: len(name) + 6] for one in ids[:5]))
    if not ids:
        raise NoSuchDocument(name=name[:100])
    return str(ids[0])


def explain(version: Version, name: str) -> Explained:
    """Raises NoSuchDocument, SeveralDocuments."""
    whole = identity(version, name)
    readings = [one for _, one in version.decisions.take(version.decisions.find(whole), version.decisions.names)]
    row = version.signals.find(whole)
    signals = next(one for _, one in version.signals.take(row, version.signals.names))
    verdict = readings[0]
    alike = [one["cluster"] for _, one in version.clusters.take(version.clusters.find(whole), ["cluster"])]
    text, metadata = text_of(version, whole)
    return Explained(
        whole, verdict["keep"], verdict["step"], verdict["reason"], verdict["detail"], readings, _rules(version, signals, verdict), {k: v for k, v in signals.items() if k != "id"},
        alike[0] if alike else None, None if text is None else text[:TEXT], text is not None and len(text) > TEXT, metadata,
    )  # fmt: skip


def _rules(version: Version, signals: Mapping[str, Any], verdict: Mapping[str, Any]) -> list[RuleShown]:
    row = pa.Table.from_pylist([dict(signals)], version.signals.metadata.schema.to_arrow_schema())
    found = []
    decided = not verdict["keep"]
    for rule in version.policy.rules:
        drops = not decide(Policy("", "", "", (rule,)), row).keep[0]
        own = drops and decided and (rule.step, rule.reason) == (verdict["step"], verdict["reason"])
        found.append(
            RuleShown(rule.step, rule.reason, str(rule.drop), [str(one) for one in rule.when], signals[rule.drop.signal], drops, own)
        )
        decided = decided and not own
    return found


def text_of(version: Version, whole: str) -> tuple[str | None, dict[str, Any]]:
    """A document's text and what else its row says; (None, {}) where it is not there to be shown."""
    for table in (*version.kept_texts, *version.dropped_texts):
        for _, one in table.take(table.find(whole), table.names):
            return one.pop("text"), {key: value for key, value in one.items() if key != "id" and value not in (None, "")}
    return None, {}


def rates(version: Version) -> list[SourceRate]:
    """Pass rates by source, the largest source first."""
    source, reason = version.decisions.coded("source"), version.decisions.coded("reason")
    width = max(len(reason.names), 1)
    counted = np.bincount(source.codes.astype(np.int64) * width + reason.codes, minlength=len(source.names) * width).reshape(-1, width)
    found = []
    for number, name in enumerate(source.names):
        of = {word: int(count) for word, count in zip(reason.names, counted[number].tolist(), strict=True) if count}
        kept = of.pop("", 0)
        found.append(SourceRate(name, kept + sum(of.values()), kept, sorted(of.items(), key=lambda one: (-one[1], one[0]))))
    return sorted(found, key=lambda one: (-one.documents, one.source))


def reasons(version: Version) -> list[tuple[str, str, int]]:
    """(step, reason, documents) of what was dropped, in the order in which the policy asks; duplicates stand first and last."""
    step, reason = version.decisions.coded("step"), version.decisions.coded("reason")
    width = max(len(reason.names), 1)
    pairs, counts = np.unique(step.codes.astype(np.int64) * width + reason.codes, return_counts=True)
    left = {
        (step.names[pair // width], reason.names[pair % width]): count for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True)
    }
    left.pop(("", ""), None)
    order = [
        ("duplicates", "exact_duplicate"),
        *((rule.step, rule.reason) for rule in version.policy.rules),
        ("duplicates", "near_duplicate"),
    ]
    found = [(*pair, left.pop(pair)) for pair in dict.fromkeys(order) if pair in left]
    return [*found, *((*pair, left[pair]) for pair in sorted(left))]
