"""From the scores of two models on the same items to numbers with intervals, and from these to answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lilong.floors.evaluation.contract import Answer, EvaluationProtocol, TaskPlan
from lilong.floors.evaluation.rules import no_worse
from lilong.floors.evaluation.scoring.bits_per_byte import TextScore
from lilong.floors.evaluation.scoring.multiple_choice import ChoiceScore, Question
from lilong.floors.evaluation.scoring.overlap import Finding
from lilong.floors.evaluation.statistics import power
from lilong.floors.evaluation.statistics.intervals import Interval, clustered_bootstrap, clustered_t, wilson
from lilong.floors.evaluation.statistics.paired import mcnemar_exact, tango

CLEAN_SHARE = 0.1
"""A held-out document counts as clean when less than this share of its windows stands in the training text."""


def compare_texts(
    protocol: EvaluationProtocol,
    task: TaskPlan,
    base: Sequence[TextScore],
    new: Sequence[TextScore],
    languages: Sequence[str],
    findings: Sequence[Finding],
) -> dict[str, Any]:
    """Bits per byte, pooled over bytes; differences are new - base, paired by document, clusters resampled or summed together."""
    clusters = [item.cluster for item in task.items]
    weights = [float(score.bytes) for score in base]
    levels = {name: [score.bits_per_byte for score in scores] for name, scores in (("base", base), ("new", new))}
    differences = [after - before for after, before in zip(levels["new"], levels["base"], strict=True)]
    decisive = clustered_t(differences, clusters, protocol.alpha, weights)
    spread = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0

    def part(indices: Sequence[int]) -> dict[str, Any]:
        chosen = ([differences[i] for i in indices], [clusters[i] for i in indices], protocol.alpha, [weights[i] for i in indices])
        return {"n": len(indices), "difference": shown(clustered_t(*chosen))}

    clean = [index for index, finding in enumerate(findings) if finding.share < CLEAN_SHARE]
    by_language: dict[str, list[int]] = {}
    for index, language in enumerate(languages):
        by_language.setdefault(language or "unknown", []).append(index)
    return {
        **_heading(task),
        "unit": "bits per byte",
        "n": len(differences),
        "clusters": len(set(clusters)),
        "bytes": sum(score.bytes for score in base),
        "tokens": {"base": sum(score.tokens for score in base), "new": sum(score.tokens for score in new)},
        "models": {name: shown(clustered_t(values, clusters, protocol.alpha, weights)) for name, values in levels.items()},
        "difference": shown(decisive),
        "other_intervals": [
            {"of": "the same", **shown(clustered_bootstrap(differences, clusters, protocol.alpha, protocol.seed, weights=weights))},
            {"of": "the mean over documents", **shown(clustered_t(differences, clusters, protocol.alpha))},
        ],
        "better_documents": shown(wilson(sum(value < 0 for value in differences), len(differences), protocol.alpha)),
        "groups": {language: part(indices) for language, indices in sorted(by_language.items())},
        "clean": part(clean) if clean else {"n": 0, "difference": None},
        "seen": {
            "spread": spread,
            "detectable": power.paired_mean_detectable(spread, len(differences), protocol.alpha, task.power.power),
        },
        "verdict": verdict(task, decisive, protocol.alpha, len(differences), "documents"),
    }


def compare_choices(
    protocol: EvaluationProtocol,
    task: TaskPlan,
    base: Sequence[ChoiceScore],
    new: Sequence[ChoiceScore],
    questions: Sequence[Question],
    findings: Sequence[Finding],
) -> dict[str, Any]:
    """Accuracy by log-likelihood; differences are new - base on the same questions. The rule's metric decides, the other is shown."""
    metrics: dict[str, Any] = {}
    for metric in ("acc", "acc_norm"):
        right = {name: right_answers(scores, questions, metric) for name, scores in (("base", base), ("new", new))}
        metrics[metric] = _paired_rates(right["base"], right["new"], protocol.alpha)
    right = {name: right_answers(scores, questions, task.rule.metric) for name, scores in (("base", base), ("new", new))}
    gained, lost = _changes(right["base"], right["new"])
    decisive = tango(gained, lost, len(questions), protocol.alpha)
    clean = [index for index, finding in enumerate(findings) if not finding.contaminated]
    changed = (gained + lost) / len(questions)
    required = (
        power.paired_rate_required(task.rule.margin, changed, protocol.alpha, task.power.power) if 0 < task.rule.margin <= changed else None
    )
    return {
        **_heading(task),
        "unit": "share of questions",
        "n": len(questions),
        "clusters": len(questions),
        "models": metrics[task.rule.metric]["models"],
        "difference": shown(decisive),
        "metrics": metrics,
        "chance": sum(1 / len(question.choices) for question in questions) / len(questions),
        "clean": _paired_rates([right["base"][i] for i in clean], [right["new"][i] for i in clean], protocol.alpha),
        "seen": {
            "spread": changed,
            "detectable": power.paired_rate_detectable(max(changed, 1 / len(questions)), len(questions), protocol.alpha, task.power.power),
            "required": required,
        },
        "verdict": verdict(task, decisive, protocol.alpha, len(questions), "questions"),
    }


def right_answers(scores: Sequence[ChoiceScore], questions: Sequence[Question], metric: str) -> list[bool]:
    return [
        (score.acc_choice if metric == "acc" else score.acc_norm_choice) == question.answer
        for score, question in zip(scores, questions, strict=True)
    ]


def _changes(base: Sequence[bool], new: Sequence[bool]) -> tuple[int, int]:
    pairs = list(zip(base, new, strict=True))
    return pairs.count((False, True)), pairs.count((True, False))


def _paired_rates(base: Sequence[bool], new: Sequence[bool], alpha: float) -> dict[str, Any]:
    gained, lost = _changes(base, new)
    return {
        "n": len(base),
        "models": {name: shown(wilson(sum(right), len(right), alpha)) for name, right in (("base", base), ("new", new))},
        "difference": shown(tango(gained, lost, len(base), alpha)),
        "gained": gained,
        "lost": lost,
        "mcnemar_p": mcnemar_exact(gained, lost),
    }


def _heading(task: TaskPlan) -> dict[str, Any]:
    rule = {"metric": task.rule.metric, "better": task.rule.better, "margin": task.rule.margin, "method": task.rule.method}
    planned = {"spread": task.power.assumed_spread, "detectable": task.power.detectable, "required": task.power.required or None}
    return {"task": task.name, "kind": task.kind, "role": task.role, "data": task.data, "rule": rule, "planned": planned}


def verdict(task: TaskPlan, interval: Interval, alpha: float, n: int, things: str) -> dict[str, str]:
    """The question that the protocol asked, its answer, and in words why."""
    answer: Answer = no_worse(interval.low, interval.high, task.rule.margin, task.rule.better)
    unit = "bits per byte" if task.kind == "bits-per-byte" else "points"
    scale = 1 if task.kind == "bits-per-byte" else 100
    margin = task.rule.margin * scale
    if task.rule.margin:
        question = f"Is the new model no worse than the base by more than {margin:g} {unit}?"
        limit = f"{'-' if task.rule.better == 'higher' else '+'}{margin:g}"
    else:
        question, limit = "Is the new model better than the base?", "0"
    place = {"yes": f"the whole of it is better than {limit}", "no": f"the whole of it is worse than {limit}"}.get(
        answer, f"{limit} lies in it"
    )
    low, high = interval.low * scale, interval.high * scale
    reason = f"The {100 * (1 - alpha):g} % interval of new - base on {n} {things} is {low:+.4g} to {high:+.4g} {unit}: {place}."
    return {"question": question, "answer": answer, "reason": reason}


def overlap_summary(task: TaskPlan, findings: Sequence[Finding], most_examples: int = 5) -> dict[str, Any]:
    """How many items have a window in the training text, and examples. Items too short to be searched are counted apart."""
    dirty = [finding for finding in findings if finding.contaminated]
    names = {f"{finding.item}": item for finding, item in zip(findings, task.items, strict=True)}
    searched = [finding for finding in findings if finding.searched]
    return {
        "task": task.name,
        "items": len(findings),
        "searched": len(searched),
        "too_short": len(findings) - len(searched),
        "found": len(dirty),
        "found_by": {method: sum(1 for finding in dirty if finding.found[method]) for method in ("words", "characters")},
        "more_than_half": sum(finding.share > 0.5 for finding in findings),
        "examples": [
            {"item": names[finding.item].id, "share": finding.share, "document": hit.document, "method": hit.method, "text": hit.text[:300]}
            for finding in sorted(dirty, key=lambda finding: -finding.share)[:most_examples]
            for hit in finding.hits[:1]
        ],
    }


def shown(interval: Interval) -> Mapping[str, Any]:
    """An interval as JSON values; what is not finite becomes null."""
    numbers = {"low": interval.low, "estimate": interval.estimate, "high": interval.high}
    return {**{name: value if math.isfinite(value) else None for name, value in numbers.items()}, "method": interval.method}
