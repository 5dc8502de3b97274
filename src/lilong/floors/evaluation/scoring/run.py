"""Carries out a protocol: checks that the items are the planned ones, scores both models, searches the training text."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lilong.floors.evaluation.contract import ENGINE, DepartsFromProtocol, EvaluationProtocol, TaskPlan
from lilong.floors.evaluation.scoring import bits_per_byte, multiple_choice
from lilong.floors.evaluation.scoring.corpus_text import count, documents, shard_digests
from lilong.floors.evaluation.scoring.multiple_choice import Question
from lilong.floors.evaluation.scoring.overlap import Finding, OverlapSearch
from lilong.floors.evaluation.scoring.results import KeptResults, result_keys
from lilong.ground.blobs import digest_of

MODELS = ("base", "new")
OVERLAP_COST = 20_000
"""The search of the training text counts like the scoring of so many bytes (for the progress bar only)."""

Scores = dict[tuple[str, str], list[dict[str, Any]]]
Tell = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Material:
    """The items of one task as they will be scored, in the protocol's order; `languages` for held-out text."""

    task: TaskPlan
    texts: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()

    @property
    def costs(self) -> list[int]:
        """Characters to be read by a model, item by item."""
        return [len(text) for text in self.texts] or [len(item.question) + sum(map(len, item.choices)) for item in self.questions]

    @property
    def cost(self) -> int:
        return sum(self.costs)


def gather(protocol: EvaluationProtocol, corpus: Path, tasks: Path) -> list[Material]:
    """The planned items from the inputs. Raises DepartsFromProtocol when one is missing or is not what was planned."""
    if protocol.engine != ENGINE:
        raise DepartsFromProtocol("The engine", f"the protocol names {protocol.engine}, this is {ENGINE}")
    for split in ("heldout", "train"):
        found = shard_digests(corpus, split)
        planned = {name: digest for name, digest in protocol.corpus.items() if name.startswith(f"data/{split}-")}
        if found != planned:
            raise DepartsFromProtocol(f"The corpus split '{split}'", "its files have other names or digests")
    return [_held_out(task, corpus) if task.kind == "bits-per-byte" else _questions(task, tasks) for task in protocol.tasks]


def _held_out(task: TaskPlan, corpus: Path) -> Material:
    wanted = {item.id: item for item in task.items}
    found: dict[str, tuple[str, str]] = {}
    for document in documents(corpus, "heldout"):
        if document.id in wanted:
            text = bits_per_byte.excerpt(document.text, int(task.settings["most_bytes"]))
            if digest_of(text.encode()) != wanted[document.id].digest or document.cluster != wanted[document.id].cluster:
                raise DepartsFromProtocol(f"Held-out document {document.id}", "its text or its cluster is another one")
            found[document.id] = (text, document.language)
    _none_missing(task, set(found))
    chosen = [found[item.id] for item in task.items]
    return Material(task, tuple(text for text, _ in chosen), tuple(language for _, language in chosen))


def _questions(task: TaskPlan, tasks: Path) -> Material:
    path = tasks / f"{task.name}.jsonl"
    found = {item.id: item for item in multiple_choice.read_questions(path)} if path.is_file() else {}
    _none_missing(task, set(found))
    for item in task.items:
        if found[item.id].digest != item.digest:
            raise DepartsFromProtocol(f"The question {item.id}", f"its content has the digest {found[item.id].digest}")
    return Material(task, questions=tuple(found[item.id] for item in task.items))


def _none_missing(task: TaskPlan, found: set[str]) -> None:
    missing = [item.id for item in task.items if item.id not in found]
    if missing:
        raise DepartsFromProtocol(f"The task {task.name}", f"{len(missing)} of its items are not there, {missing[0]} among them")


def score_all(
    protocol: EvaluationProtocol, materials: Sequence[Material], folders: Mapping[str, Path], kept: KeptResults, tell: Tell
) -> tuple[Scores, dict[str, dict[str, str]]]:
    """Results of every (task, model), in the protocol's order of items, and the files of each model with their digests."""
    from lilong.floors.evaluation.scoring.language_model import LanguageModel, files_digest, folder_files

    whole = OVERLAP_COST + len(MODELS) * sum(material.cost for material in materials)
    done = OVERLAP_COST
    scores: Scores = {}
    files = {name: folder_files(folders[name]) for name in MODELS}
    for name in MODELS:
        model = None
        for material in materials:
            task = material.task
            keys = result_keys(protocol, task, files_digest(files[name]), [item.digest for item in task.items])
            if not kept.has(keys):
                if model is None:
                    tell(done, whole, f"loading the {name} model")
                    model = LanguageModel(folders[name], protocol.dtype)
                for reached in _score(model, material, keys, kept):
                    tell(done + reached, whole, f"scoring {task.name} with the {name} model")
            scores[task.name, name] = [kept.get(key) for key in keys]
            done += material.cost
        del model
        gc.collect()
    return scores, files


def _score(model: Any, material: Material, keys: Sequence[str], kept: KeptResults) -> Iterator[int]:
    """Score what is not known yet; yields after each batch how much of the material's cost is done."""
    reached = 0
    for batch, score in _batches(model, material):
        if not kept.has([keys[index] for index in batch]):
            kept.keep({keys[index]: asdict(result) for index, result in zip(batch, score(), strict=True)})
        reached += sum(material.costs[index] for index in batch)
        yield reached


def _batches(model: Any, material: Material) -> Iterator[tuple[list[int], Callable[[], list[Any]]]]:
    """Batches in their fixed order, each with what scores it: a batch that is known already need not be scored."""
    if material.texts:
        yield from bits_per_byte.text_batches(model, material.texts)
    else:
        yield from multiple_choice.question_batches(model, material.questions)


def search_overlap(
    protocol: EvaluationProtocol, materials: Sequence[Material], corpus: Path, tell: Tell
) -> tuple[dict[str, list[Finding]], int]:
    """Per task the findings of its items in the training text, in the protocol's order, and the number of documents searched.

    Of a question both the question alone and the question with its right answer are looked for.
    """
    texts: dict[str, Sequence[str]] = {}
    for number, material in enumerate(materials):
        for item, text in zip(material.task.items, material.texts, strict=False):
            texts[f"{number}/{item.id}"] = (text,)
        for question in material.questions:
            texts[f"{number}/{question.id}"] = (question.question, f"{question.question} {question.choices[question.answer]}")
    search = OverlapSearch(texts, protocol.overlap)
    whole = count(corpus, "train")
    share = OVERLAP_COST / (OVERLAP_COST + len(MODELS) * sum(material.cost for material in materials))
    for number, document in enumerate(documents(corpus, "train")):
        search.feed(document.id, document.text)
        if number % 2000 == 0:
            tell(int(number * share), whole, "searching the training text for test items")
    found = iter(search.findings())
    return {material.task.name: [next(found) for _ in material.task.items] for material in materials}, search.documents
