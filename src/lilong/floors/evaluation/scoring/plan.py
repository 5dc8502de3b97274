"""Writes an evaluation protocol: which documents and questions, in which form, judged by which rule, and what that can show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lilong.floors.evaluation.contract import (
    ENGINE,
    ComparisonRule,
    EvaluationProtocol,
    EvaluationRecipe,
    Item,
    OverlapRule,
    Power,
    TaskPlan,
    TooFewItems,
)
from lilong.floors.evaluation.rules import choose
from lilong.floors.evaluation.scoring.bits_per_byte import excerpt
from lilong.floors.evaluation.scoring.corpus_text import documents, shard_digests
from lilong.floors.evaluation.scoring.multiple_choice import read_questions
from lilong.floors.evaluation.scoring.tasks import data_names
from lilong.floors.evaluation.statistics import power
from lilong.ground.blobs import digest_of

WANTED_POWER = 0.8
HELD_OUT = "held-out-text"


def make_protocol(recipe: EvaluationRecipe, models: Mapping[str, str], version: str, corpus: Path, tasks: Path) -> EvaluationProtocol:
    """The protocol for these models on corpus `version`, whose files lie in `corpus`, and the questions in `tasks`.

    Raises TooFewItems when fewer than two held-out documents are long enough.
    """
    plans = [held_out_text(recipe, corpus, version)]
    for name, data in data_names(tasks).items():
        if recipe.questions:
            plans.append(multiple_choice(recipe, name, data, tasks))
    files = {"version": version, **shard_digests(corpus, "heldout"), **shard_digests(corpus, "train")}
    overlap = OverlapRule(recipe.words, recipe.characters, recipe.least_words)
    return EvaluationProtocol(recipe.title, dict(models), files, ENGINE, recipe.dtype, recipe.alpha, recipe.seed, overlap, tuple(plans))


def held_out_text(recipe: EvaluationRecipe, corpus: Path, version: str) -> TaskPlan:
    """The primary task: bits per byte of excerpts of held-out documents. Two documents with one excerpt count once."""
    found: dict[str, Item] = {}
    for document in documents(corpus, "heldout"):
        content = excerpt(document.text, recipe.most_bytes).encode()
        if len(content) >= recipe.least_bytes:
            digest = digest_of(content)
            found.setdefault(digest, Item(document.id, digest, document.cluster))
    items = choose(found.values(), list(found), recipe.documents, recipe.seed)
    if len(items) < 2:
        raise TooFewItems(f"the held-out split (documents of at least {recipe.least_bytes} bytes)", len(items), 2)
    return TaskPlan(
        name=HELD_OUT,
        kind="bits-per-byte",
        role="primary",
        data=f"held-out documents of {version}",
        rule=ComparisonRule("bits_per_byte", "lower", 0.0, "clustered t"),
        settings={
            "most_bytes": recipe.most_bytes,
            "least_bytes": recipe.least_bytes,
            "condition_of_first_token": "begin token, else end token",
        },
        power=Power(
            recipe.assumed_spread,
            WANTED_POWER,
            power.paired_mean_detectable(recipe.assumed_spread, len(items), recipe.alpha, WANTED_POWER),
            0,
        ),
        items=tuple(items),
    )


def multiple_choice(recipe: EvaluationRecipe, name: str, data: str, tasks: Path) -> TaskPlan:
    """A secondary task: does the new model still answer as well as the base?"""
    questions = read_questions(tasks / f"{name}.jsonl")
    chosen = choose(questions, [item.digest for item in questions], recipe.questions, recipe.seed)
    if not chosen:
        raise TooFewItems(data, 0, recipe.questions)
    required = power.paired_rate_required(min(recipe.margin, recipe.assumed_changed), recipe.assumed_changed, recipe.alpha, WANTED_POWER)
    return TaskPlan(
        name=name,
        kind="multiple-choice",
        role="secondary",
        data=data,
        rule=ComparisonRule("acc_norm", "higher", recipe.margin, "tango score"),
        settings={"delimiter": " ", "shots": 0, "template": "{question}{delimiter}{choice}", "acc_norm": "log-likelihood per UTF-8 byte"},
        power=Power(
            recipe.assumed_changed,
            WANTED_POWER,
            power.paired_rate_detectable(recipe.assumed_changed, len(chosen), recipe.alpha, WANTED_POWER),
            required if recipe.margin else 0,
        ),
        items=tuple(Item(item.id, item.digest, item.id) for item in chosen),
    )
