"""A chain file, read and checked; the order of its steps; the key of each. Pure.

    [chain]
    name = "first-chain"
    title = "From handbooks to an answer"
    organisation = "lantern-works"

    [step.corpus]
    uses = "corpus.build"
    why = "What the model will learn from"
    with = { sources = "${sources.id}", repository = "lantern-works/handbooks" }

`${step.field}` stands for an output of another step and makes this one wait for it. A step's key is the digest of what it uses
and of its inputs with every reference filled in, so a changed step runs again, and only what depends on its outputs with it.
`after = ["step"]` waits for a step without using its outputs; `as = "name"` has another person carry the step out.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import rfc8785

from lilong.ground import intake
from lilong.ground.errors import BadInput

# What a step may use, and where in the house that is done. `{…}` in a path is filled from the step's inputs.
VERBS: dict[str, str] = {
    "corpus.sources": "/api/corpus/sources",
    "corpus.build": "/api/corpus/versions",
    "training.import-base": "/api/training/bases",
    "training.run": "/api/training/runs",
    "evaluation.plan": "/api/evaluation/protocols",
    "evaluation.run": "/api/evaluation/runs",
    "compat.examine": "/api/compat/examinations",
    "governance.request": "/api/governance/registrations",
    "governance.review": "/api/governance/registrations/{registration}/reviews",
    "serving.deploy": "/api/serving/deployments",
    "serving.ask": "/v1/chat/completions",
}
_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_-]+)\.([A-Za-z0-9_.-]+)\}")
_STEP_KEYS = {"uses", "why", "with", "as", "after"}


class BadChain(BadInput):
    """{place}: {problem}. {way_out}"""

    def __init__(self, place: str, problem: str, way_out: str) -> None:
        super().__init__(field=place, place=place, problem=problem, way_out=way_out)


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    uses: str
    why: str
    inputs: Mapping[str, Any]  # references not yet filled in
    acts_as: str  # whose token carries it out; "" for the one who runs the chain
    after: tuple[str, ...] = ()  # steps to wait for whose outputs it does not name

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*_references(self.inputs), *self.after]))


@dataclass(frozen=True, slots=True)
class Chain:
    name: str
    title: str
    organisation: str
    steps: tuple[Step, ...]  # in an order in which each comes after what it needs
    source: str


def parse(source: str) -> Chain:
    """Read a chain file. Raises BadChain, which names the place, the mistake and the way out."""
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as problem:
        raise BadChain("the chain file", str(problem), "Mend the TOML there") from problem
    head = document.get("chain")
    if not isinstance(head, dict):
        raise BadChain("[chain]", "it is missing", "Begin with [chain] and its name and organisation")
    _only(document, {"chain", "step"}, "the chain file")
    _only(head, {"name", "title", "organisation"}, "[chain]")
    for field in ("name", "organisation"):
        if not isinstance(head.get(field), str):
            raise BadChain(f"[chain] {field}", "it is missing or not a text", f'Write {field} = "…"')
        intake.name(head[field], f"chain.{field}")
    tables = document.get("step")
    if not isinstance(tables, dict) or not tables:
        raise BadChain("[step]", "there are no steps", "Add at least one [step.NAME]")
    steps = {name: _step(name, table) for name, table in tables.items()}
    return Chain(head["name"], str(head.get("title", head["name"])), head["organisation"], _ordered(steps), source)


def _step(name: str, table: Any) -> Step:
    place = f"[step.{name}]"
    if not isinstance(table, dict):
        raise BadChain(place, "it is not a table", "Write [step.NAME] with uses = …")
    _only(table, _STEP_KEYS, place)
    uses = table.get("uses")
    if uses not in VERBS:
        raise BadChain(f"{place} uses", f"{uses!r} is nothing that the house can do", _nearest(str(uses), VERBS))
    inputs = table.get("with", {})
    if not isinstance(inputs, dict):
        raise BadChain(f"{place} with", "it is not a table", "Write with = { … }")
    after = table.get("after", [])
    if not isinstance(after, list) or not all(isinstance(item, str) for item in after):
        raise BadChain(f"{place} after", "it is not a list of steps", 'Write after = ["step"]')
    return Step(name, uses, str(table.get("why", "")), inputs, str(table.get("as", "")), tuple(after))


def _only(table: Mapping[str, Any], known: set[str], place: str) -> None:
    for key in table:
        if key not in known:
            raise BadChain(place, f"nobody knows the key {key!r}", _nearest(key, known))


def _nearest(word: str, known: Any) -> str:
    near = get_close_matches(word, list(known), 1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known))}"


def _ordered(steps: Mapping[str, Step]) -> tuple[Step, ...]:
    """The file's own order, but each step after what it needs. Raises BadChain for unknown steps and for circles."""
    done: dict[str, Step] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in done:
            return
        if name in path:
            raise BadChain(f"[step.{name}]", f"it needs itself: {' → '.join((*path[path.index(name) :], name))}", "Break the circle")
        for need in steps[name].needs:
            if need not in steps:
                raise BadChain(f"[step.{name}]", f"there is no step {need!r}", _nearest(need, steps))
            visit(need, (*path, name))
        done[name] = steps[name]

    for name in steps:
        visit(name, ())
    return tuple(done.values())


def _references(value: Any) -> list[str]:
    if isinstance(value, str):
        return [match.group(1) for match in _REFERENCE.finditer(value)]
    if isinstance(value, Mapping):
        return [name for item in value.values() for name in _references(item)]
    if isinstance(value, list):
        return [name for item in value for name in _references(item)]
    return []


def filled(step: Step, outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The step's inputs with each reference replaced by the output that it names. Raises BadChain where there is no such output."""

    def output(match: re.Match[str]) -> Any:
        value: Any = outputs[match.group(1)]
        for part in match.group(2).split("."):
            if not isinstance(value, Mapping) or part not in value:
                known = sorted(value) if isinstance(value, Mapping) else []
                raise BadChain(
                    f"[step.{step.name}] with", f"step {match.group(1)!r} has no output {match.group(2)!r}", f"It has: {', '.join(known)}"
                )
            value = value[part]
        return value

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            whole = _REFERENCE.fullmatch(value)
            return output(whole) if whole else _REFERENCE.sub(lambda match: str(output(match)), value)
        if isinstance(value, Mapping):
            return {key: fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [fill(item) for item in value]
        return value

    result: dict[str, Any] = fill(step.inputs)
    return result


def key(step: Step, inputs: Mapping[str, Any]) -> str:
    """The digest of what a step does: equal keys, equal work."""
    return hashlib.sha256(rfc8785.dumps({"uses": step.uses, "with": dict(inputs)})).hexdigest()
