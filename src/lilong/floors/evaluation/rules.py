"""Pure decisions of the evaluation floor: what a protocol says, which items it takes, and what an interval answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar, get_args

import rfc8785

from lilong.floors.evaluation.contract import (
    DTYPES,
    PROTOCOL_SCHEMA,
    Answer,
    BadEvaluationRecipe,
    BadProtocol,
    Better,
    ComparisonRule,
    Estimate,
    EvaluationProtocol,
    EvaluationRecipe,
    IntervalMethod,
    Item,
    OverlapRule,
    Power,
    Role,
    TaskFigures,
    TaskKind,
    TaskPlan,
)
from lilong.ground.blobs import digest_of
from lilong.ground.errors import BadInput

Thing = TypeVar("Thing")


def no_worse(low: float, high: float, margin: float, better: Better) -> Answer:
    """Is the new model no worse than the base by more than `margin` (≥ 0)? [low, high] is the interval of new - base.

    Yes when the whole interval is on the good side of the margin, no when the whole of it is on the bad side, else cannot tell.
    With margin 0: is it better? A limit that touches the margin cannot tell. At a 1-α interval each answer is wrong with
    probability ≤ α/2 (the confidence-interval form of a non-inferiority test).
    """
    if better == "lower":
        low, high = -high, -low
    if low > -margin:
        return "yes"
    if high < -margin:
        return "no"
    return "cannot tell"


def canonical(value: Any) -> bytes:
    """RFC 8785 canonical JSON: the bytes that a digest is taken of."""
    return rfc8785.dumps(value)


def choose(things: Iterable[Thing], keys: Sequence[str], n: int, seed: int) -> list[Thing]:
    """`n` of the things, or all, by the order of SHA-256(seed, key): the same choice anywhere, whatever order they came in."""
    drawn = sorted(zip(keys, things, strict=True), key=lambda pair: hashlib.sha256(f"{seed}\0{pair[0]}".encode()).digest())
    return [thing for _, thing in drawn[:n]]


def protocol_document(protocol: EvaluationProtocol) -> dict[str, Any]:
    """The protocol as JSON values; `canonical` of it is the artifact that is signed."""
    return {"schema": PROTOCOL_SCHEMA, **asdict(protocol)}


def protocol_digest(protocol: EvaluationProtocol) -> str:
    return digest_of(canonical(protocol_document(protocol)))


def read_protocol(content: bytes) -> EvaluationProtocol:
    """The protocol in `content`. Raises BadProtocol for anything missing, unknown, of another type or without sense."""
    try:
        document = json.loads(content)
    except ValueError as error:
        raise BadProtocol("protocol", f"is not JSON ({error})") from error
    if not isinstance(document, dict) or document.pop("schema", None) != PROTOCOL_SCHEMA:
        raise BadProtocol("schema", f"is not {PROTOCOL_SCHEMA}")
    values = _fields(EvaluationProtocol, document, "protocol")
    values["overlap"] = OverlapRule(**_fields(OverlapRule, values["overlap"], "overlap"))
    values["tasks"] = tuple(_task(task, f"tasks[{index}]") for index, task in enumerate(_expect(values["tasks"], list, "tasks")))
    protocol = EvaluationProtocol(**values)
    _check(protocol)
    return protocol


def _task(document: Any, place: str) -> TaskPlan:
    values = _fields(TaskPlan, document, place)
    values["rule"] = ComparisonRule(**_fields(ComparisonRule, values["rule"], f"{place}.rule"))
    values["power"] = Power(**_fields(Power, values["power"], f"{place}.power"))
    items = _expect(values["items"], list, f"{place}.items")
    values["items"] = tuple(Item(**_fields(Item, item, f"{place}.items[{index}]")) for index, item in enumerate(items))
    return TaskPlan(**values)


_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "TaskKind": get_args(TaskKind),
    "Role": get_args(Role),
    "Better": get_args(Better),
    "IntervalMethod": get_args(IntervalMethod),
}


def _fields(kind: type[Any], document: Any, place: str) -> dict[str, Any]:
    _expect(document, dict, place)
    wanted = {field.name: str(field.type) for field in fields(kind)}
    for name in [*(wanted.keys() - document.keys()), *(document.keys() - wanted.keys())]:
        raise BadProtocol(f"{place}.{name}", "is missing" if name in wanted else "is unknown")
    for name, type_name in wanted.items():
        expected = dict if type_name.startswith("Mapping") else _TYPES.get(type_name)
        if isinstance(expected, tuple) and isinstance(expected[0], str):
            if document[name] not in expected:
                raise BadProtocol(f"{place}.{name}", f"is not one of {', '.join(expected)}")
        elif expected is not None:
            _expect(document[name], expected, f"{place}.{name}")
    return dict(document)


def _expect(value: Any, kind: Any, place: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        names = " or ".join(each.__name__ for each in kind) if isinstance(kind, tuple) else kind.__name__
        raise BadProtocol(place, f"is not of type {names}")
    return value


def _check(protocol: EvaluationProtocol) -> None:
    if not 0 < protocol.alpha < 0.5:
        raise BadProtocol("alpha", "is not between 0 and 0.5")
    if {"base", "new"} - protocol.models.keys():
        raise BadProtocol("models", "does not name both base and new")
    if [task.role for task in protocol.tasks].count("primary") != 1:
        raise BadProtocol("tasks", "do not have exactly one primary task")
    if len({task.name for task in protocol.tasks}) != len(protocol.tasks):
        raise BadProtocol("tasks", "have one name twice")
    for task in protocol.tasks:
        if not task.items:
            raise BadProtocol(task.name, "has no items")
        if len({item.id for item in task.items}) != len(task.items):
            raise BadProtocol(task.name, "has one item twice")
        if task.rule.margin < 0:
            raise BadProtocol(task.name, "has a negative margin")


_RANGES: dict[str, tuple[float, float]] = {
    "alpha": (0.0001, 0.4),
    "documents": (2, 100_000),
    "most_bytes": (16, 1_000_000),
    "least_bytes": (1, 1_000_000),
    "questions": (0, 100_000),
    "margin": (0, 1),
    "assumed_spread": (1e-6, 100),
    "assumed_changed": (0.001, 1),
    "words": (3, 100),
    "characters": (10, 1000),
    "least_words": (1, 100),
}


def read_recipe(document: Mapping[str, Any]) -> EvaluationRecipe:
    """The recipe in `document`; what it does not say keeps its default. Raises BadEvaluationRecipe for the first thing wrong."""
    known = {field.name: field for field in fields(EvaluationRecipe)}
    for name, value in document.items():
        if name not in known:
            raise BadEvaluationRecipe(name, "is unknown", f"Known are: {', '.join(sorted(known))}.")
        expected = _TYPES[str(known[name].type)]
        if not isinstance(value, expected) or isinstance(value, bool):
            raise BadEvaluationRecipe(name, f"is {value!r}", f"Give a value like {known[name].default!r}.")
        low, high = _RANGES.get(name, (None, None))
        if low is not None and not low <= value <= (high or low):
            raise BadEvaluationRecipe(name, f"is {value}", f"Give a value from {low:g} to {high:g}.")
    recipe = EvaluationRecipe(**document)
    if recipe.least_bytes > recipe.most_bytes:
        raise BadEvaluationRecipe("least_bytes", "is above most_bytes", "Lower it.")
    if recipe.dtype not in DTYPES:
        raise BadEvaluationRecipe("dtype", f"is {recipe.dtype!r}", f"Give one of {', '.join(DTYPES)}.")
    return recipe


def split_reference(reference: str, field: str) -> tuple[str, str]:
    """`organisation/name@ref` → (organisation/name, ref); without a ref it is `main`. Raises BadInput."""
    name, _, ref = reference.partition("@")
    if name.count("/") != 1 or not all(name.split("/")):
        raise BadInput(field=field, problem=f"{reference!r} is not a revision", way_out="Write organisation/name@commit.")
    return name, ref or "main"


_MODEL_FILES = (".safetensors", ".json", ".jinja", ".model", ".txt")


def model_files(files: Mapping[str, str]) -> dict[str, str]:
    """Of a model's files (path → digest) those that scoring reads: no other formats of the same weights, no card."""
    return {path: digest for path, digest in files.items() if "/" not in path and path.endswith(_MODEL_FILES)}


def scoring_memory(sizes: Mapping[str, int]) -> int:
    """MiB for scoring models of these files (path → bytes), one at a time: weights on disk may be half as wide as in float32."""
    stored = sum(size for path, size in sizes.items() if path.endswith(".safetensors"))
    return 1536 + 3 * (stored >> 20)


def task_files(outputs: Mapping[str, str]) -> dict[str, str]:
    """Of a fetch job's outputs (path → digest) the test items, named as the next job wants them."""
    return {path.removeprefix("tasks/"): digest for path, digest in outputs.items() if path.startswith("tasks/")}


def protocol_figures(protocol: EvaluationProtocol) -> dict[str, Any]:
    """What a list or a statement says of a protocol without its items."""
    return {
        task.name: {"role": task.role, "n": len(task.items), "data": task.data, "rule": asdict(task.rule), "power": asdict(task.power)}
        for task in protocol.tasks
    }


_RESULTS: dict[Answer, tuple[str, str]] = {
    "yes": ("PASSED", "passedTests"),
    "cannot tell": ("WARNED", "warnedTests"),
    "no": ("FAILED", "failedTests"),
}


def test_result(report: Mapping[str, Any], configuration: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The in-toto test-result predicate v0.1 of a report: a question that cannot be answered at this n is a warning."""
    tests: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for task in report["tasks"]:
        tests[_RESULTS[task["verdict"]["answer"]][1]].append(task["task"])
    return {"result": _RESULTS[report["answer"]][0], "configuration": list(configuration), **tests}


def run_figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Per task n, both models, their difference and the verdict; and of how many items the training text holds a part."""
    found = {each["task"]: each for each in report["overlap"]["tasks"]}
    kept = ("role", "unit", "n", "clusters", "models", "difference", "verdict")
    return {
        task["task"]: {
            **{name: task[name] for name in kept},
            "metric": task["rule"]["metric"],
            "overlap": {name: found[task["task"]][name] for name in ("items", "searched", "found")},
        }
        for task in report["tasks"]
    }


def work_done(report: Mapping[str, Any], weights: Mapping[str, int]) -> float:
    """Bytes of weights times items scored, over both models: the work of a run, to be set beside the time that it took."""
    return float(sum(weights.values()) * sum(task["n"] for task in report["tasks"]))


def task_figures(report: Mapping[str, Any]) -> tuple[TaskFigures, ...]:
    """A report's tasks, flat, as pages and tables show them."""
    overlaps = {each["task"]: each for each in report["overlap"]["tasks"]}
    return tuple(
        TaskFigures(
            task=task["task"],
            role=task["role"],
            data=task["data"],
            metric=task["rule"]["metric"],
            unit=task["unit"],
            better=task["rule"]["better"],
            n=task["n"],
            clusters=task["clusters"],
            base=_estimate(task["models"]["base"]),
            new=_estimate(task["models"]["new"]),
            difference=_estimate(task["difference"]),
            method=task["difference"]["method"],
            question=task["verdict"]["question"],
            answer=task["verdict"]["answer"],
            reason=task["verdict"]["reason"],
            overlap=_overlap(overlaps[task["task"]]),
        )
        for task in report["tasks"]
    )


def _estimate(interval: Mapping[str, Any]) -> Estimate:
    return Estimate(interval["low"], interval["estimate"], interval["high"])


def _overlap(found: Mapping[str, Any]) -> str:
    short = f", {found['too_short']} too short to search" if found["too_short"] else ""
    return f"{found['found']} of {found['searched']} items share a passage with the training text ({found['more_than_half']} more than half){short}"


def overall(answers: Mapping[str, Answer]) -> Answer:
    """The answer of a set of questions: no if one is no, else cannot tell if one cannot, else yes."""
    values = set(answers.values())
    return "no" if "no" in values else "cannot tell" if "cannot tell" in values else "yes"
