"""The card of a repository: README.md with YAML front matter, read without trusting it."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lilong.floors.hub.contract import Kind
from lilong.ground.errors import BadInput

PATH = "README.md"
LIMIT = 1 << 20  # bytes of a card that are read
_FRONT = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?$\n?", re.DOTALL | re.MULTILINE)
_MATTER_LIMIT = 256 << 10
_DEPTH = 20


class BadCard(BadInput):
    """The front matter of README.md cannot be used: {problem}. It is the YAML between the first two lines of three hyphens."""

    status = 400


@dataclass(frozen=True, slots=True)
class Card:
    text: str  # the Markdown below the front matter
    metadata: Mapping[str, Any]
    problem: str = ""  # why the front matter of a stored card is left out


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _check(matter: str) -> None:
    """No aliases (a few lines of them stand for gigabytes) and no deep nesting, seen before anything is built. Raises ValueError."""
    depth = 0
    for event in yaml.parse(matter, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases (*name) are not taken")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEPTH:
                raise ValueError("it is nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def parse(text: str) -> Card:
    """Raises BadCard."""
    found = _FRONT.match(text)
    if not found:
        return Card(text, {})
    matter, above = found[1], text[: found.start(1)].count("\n")
    if len(matter) > _MATTER_LIMIT:
        raise BadCard(problem=f"it is longer than {_MATTER_LIMIT >> 10} KiB")
    value = document(matter, above)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BadCard(problem="it is not a mapping of names to values")
    return Card(text[found.end() :], value)


def document(text: str, above: int = 0) -> Any:
    """YAML from outside, as JSON can hold it; `above`: lines before it in its file. Raises BadCard."""
    try:
        _check(text)
        return _plain(yaml.load(text, _Loader))  # noqa: S506 - it is a safe loader
    except yaml.MarkedYAMLError as bad:
        mark = bad.problem_mark or bad.context_mark
        where = f"line {mark.line + 1 + above}, column {mark.column + 1}: " if mark else ""
        raise BadCard(problem=where + " ".join(f"{bad.context or ''} {bad.problem or ''}".split())) from bad
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise BadCard(problem=" ".join(str(problem).split())) from problem


def read(text: str) -> Card:
    """Like `parse`, for a card that is already stored: metadata that cannot be used are left out."""
    try:
        return parse(text)
    except BadCard as problem:
        found = _FRONT.match(text)
        return Card(text[found.end() :] if found else text, {}, str(problem))


def _plain(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


# What a data set's card says under these names are tags with the name before them; clients filter by them so.
TYPED = (
    "task_categories", "task_ids", "language", "size_categories", "multilinguality", "language_creators", "annotations_creators",
    "source_datasets",
)  # fmt: skip


def tags(metadata: Mapping[str, Any], kind: Kind) -> list[str]:
    """The tags that the public Hub derives from a card's metadata, in its order of importance."""
    found = [str(metadata[key]) for key in ("library_name", "pipeline_tag") if isinstance(metadata.get(key), str)]
    found += _words(metadata.get("tags"))
    found += [f"license:{word}" for word in _words(metadata.get("license"))]
    found += [f"base_model:{word}" for word in _words(metadata.get("base_model"))]
    found += [f"dataset:{word}" for word in _words(metadata.get("datasets"))]
    if kind is Kind.DATASET:
        found += [f"{name}:{word}" for name in TYPED for word in _words(metadata.get(name))]
    else:
        found += _words(metadata.get("language"))
    return list(dict.fromkeys(found))


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
