"""The items of an evaluation set, from its files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lilong.floors.corpus.curation.reading import cutting, inputs, records
from lilong.ground.errors import BadInput

_NAMES = ("task_id", "id", "name")
_ROWS = 2_048
_SHOWN = 80


class BadItems(BadInput):
    """The evaluation set {path} cannot be read: {problem}. Give JSON lines, a Parquet file, or documents in any format that `curate` reads."""


class NoItems(BadInput):
    """The evaluation set {path} holds no text. Give JSON lines, a Parquet file, or documents in any format that `curate` reads."""


def items_in(path: Path) -> dict[str, list[str]]:
    """Of each item its texts: all that stand in a record (question, answers …); a document is one item. A record's own name is a text where it
    has several words and no other record has it too, as a subject may be. Raises BadItems, NoItems, and what inputs.find raises."""
    items: dict[str, list[str]] = {}
    for file in inputs.find([str(path)]):
        records_ = list(_records(file))
        named = Counter(name for name, _ in records_)
        for number, (name, texts) in enumerate(records_, 1):
            alone = named[name] == 1
            wanted = [name, *texts] if alone and len(name.split()) > 1 else texts
            if wanted:
                called = name if alone and 0 < len(name) <= _SHOWN else f"{name[:_SHOWN]}.{number}".removeprefix(".")
                items.setdefault(f"{file.uri}#{called}", []).extend(wanted)
    if not items:
        raise NoItems(path=path)
    return items


def _records(file: inputs.File) -> Iterator[tuple[str, list[str]]]:
    if file.kind == "parquet":
        try:
            for batch in pq.ParquetFile(file.path).iter_batches(_ROWS, use_threads=False):
                yield from map(_item, batch.to_pylist())
        except (pa.ArrowException, OSError) as problem:
            raise BadItems(path=file.path, problem=str(problem).rstrip(".")) from None
        return
    for part in cutting.cut(file):
        if isinstance(part, cutting.Problem):
            raise BadItems(path=file.path, problem=part.problem)
        yield from _lines(part, file) if part.kind == "jsonl" else _documents(part, file)


def _lines(part: cutting.Part, file: inputs.File) -> Iterator[tuple[str, list[str]]]:
    for line in part.data.splitlines():
        if line.strip():
            try:
                yield _item(json.loads(line))
            except (ValueError, RecursionError) as problem:
                raise BadItems(path=file.path, problem=f"it holds a line that is not JSON ({problem})") from None


def _documents(part: cutting.Part, file: inputs.File) -> Iterator[tuple[str, list[str]]]:
    found, problems = records.read([part])
    for problem in problems:
        if problem.lost or not problem.skipped or part.kind == "converted":
            raise BadItems(path=file.path, problem=problem.problem)
    for uri, text in zip(found.column("uri").to_pylist(), found.column("text").to_pylist(), strict=True):
        yield uri.removeprefix(file.uri).removeprefix("#"), [text]


def _item(record: Any) -> tuple[str, list[str]]:
    """Its name, and its other texts."""
    named = record if isinstance(record, dict) else {}
    key = next((key for key in _NAMES if named.get(key) is not None), "")
    return str(named.get(key, "")), list(_strings({other: value for other, value in named.items() if other != key} if key else record))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)
