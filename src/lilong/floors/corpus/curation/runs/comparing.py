"""Questions to documents.parquet of finished runs: what is in them twice, whether a text is in them, and whether test items are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lilong.floors.corpus.curation.contamination import Answer, Builder, EvaluationSet, Index
from lilong.floors.corpus.curation.dedup import clusters
from lilong.floors.corpus.curation.dedup.minhash import Signer
from lilong.floors.corpus.curation.dedup.standing import Contribution, Standing
from lilong.floors.corpus.curation.reading import cutting, inputs
from lilong.floors.corpus.curation.texts import Texts
from lilong.floors.corpus.curation.writing.tables import TableFile
from lilong.ground.errors import BadInput, NotFound

INDEX = "index"
"""Folder, inside a run's, of its membership index."""
MATCHES = pa.schema(
    [(name, pa.string()) for name in ("id", "item", "method")] + [(name, pa.int64()) for name in ("found", "windows", "start", "end")]
)
_ROWS = 2_048
_DOCUMENT = ("id", "source", "uri", "text", "licence", "retrieved_at")


class NoDocuments(BadInput):
    """There are no documents in {path}: {problem}. Give the --out folder of a curation run, or a Parquet file with id and text."""


class NotIndexed(NotFound):
    """The run in {folder} has no membership index. Make one with `lilong corpus index --run {folder}`."""


class NoItems(BadInput):
    """The evaluation set {path} holds no text. Give JSON lines, a Parquet file, or text files."""


def documents(path: Path) -> Iterator[pa.Table]:
    """The documents of a run's folder or of a Parquet file, some at a time, with id, source, uri, text, licence and retrieved_at. Raises NoDocuments."""
    file = path / "documents.parquet" if path.is_dir() else path
    try:
        opened = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as problem:
        raise NoDocuments(path=path, problem=str(problem)) from None
    there = opened.schema_arrow.names
    if not {"id", "text"} <= set(there):
        raise NoDocuments(path=path, problem="it has no columns id and text")
    for batch in opened.iter_batches(_ROWS, columns=[name for name in _DOCUMENT if name in there], use_threads=False):
        table = pa.Table.from_batches([batch])
        for name in _DOCUMENT:
            if name not in there:
                empty = "" if name in ("source", "uri") else None
                table = table.append_column(name, pa.array([empty] * table.num_rows, pa.string()))
        yield table


def keyed(paths: Sequence[Path]) -> tuple[pa.Table, Any]:
    """All documents without their texts but with their bytes; and the (n, 14) keys by which near duplicates meet."""
    signer = Signer()
    tables, keys = [], [np.zeros((0, signer.banding.bands), np.uint64)]
    for path in paths:
        for table in documents(path):
            keys.append(signer.keys(Texts.of(table.column("text"))))
            sizes = pc.binary_length(table.column("text")).cast(pa.int64())
            tables.append(table.drop_columns(["text"]).append_column("bytes", sizes))
    columns = [(name, pa.string()) for name in _DOCUMENT if name != "text"]
    empty = pa.schema([*columns, ("bytes", pa.int64())]).empty_table()
    return pa.concat_tables([empty, *tables]), np.concatenate(keys)


def dedup(paths: Sequence[Path], out: Path | None = None) -> dict[str, Any]:
    """Exact and near duplicates over the documents of several runs. With `out`, the table of clusters is written there."""
    table, keys = keyed(paths)
    found, giants = clusters.cluster(table, keys, clusters.parse_preferences([{"column": "bytes", "best": "most"}]))
    sizes = dict(zip(table.column("id").to_pylist(), table.column("bytes").to_pylist(), strict=True))
    gone = found.filter(pc.invert(found.column("kept")))
    why = Counter(gone.column("why").to_pylist())
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        with TableFile(out / "clusters.parquet") as file:
            file.write(found.filter(pc.greater(found.column("size"), 1)))
    return {
        "documents": table.num_rows,
        "bytes": sum(table.column("bytes").to_pylist()),
        "exact": why["exact"],
        "near": why["near"],
        "duplicate_bytes": sum(sizes[one] for one in gone.column("id").to_pylist()),
        "clusters": len(set(found.filter(pc.greater(found.column("size"), 1)).column("cluster").to_pylist())),
        "giants": [asdict(giant) for giant in giants],
    }


def contribute(paths: Sequence[Path], standing: Path, add: bool) -> Contribution:
    """What the documents of some runs add to a standing corpus; with `add`, they are added. Raises OtherBanding, AlreadyRunning."""
    table, keys = keyed(paths)
    corpus = Standing(standing)
    return corpus.add(table, keys) if add else corpus.compare(table, keys)


def index(folder: Path) -> str:
    """Make the membership index of a run; answers its digest."""
    with Builder(folder / INDEX) as builder:
        for table in documents(folder):
            builder.add(table.column("id").to_pylist(), Texts.of(table.column("text")))
        return builder.finish()


def contains(folder: Path, text: str) -> Answer:
    """What of a text stands in a run's documents. Raises NotIndexed, NoIndex, BadIndex."""
    if not (folder / INDEX).is_dir():
        raise NotIndexed(folder=folder)
    return Index.open(folder / INDEX).ask(text)


def decontaminate(folder: Path, against: Path, out: Path | None = None) -> dict[str, Any]:
    """Which items of an evaluation set stand in a run's documents. With `out`, documents.parquet without those documents, and
    contamination.parquet with every match, are written there. Raises NoSuchInput, NothingToRead, NoItems, NoDocuments."""
    items = EvaluationSet.of(evaluation_items(against))
    matched: list[dict[str, Any]] = []
    count = 0
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    kept = None if out is None else TableFile(out / "documents.parquet", sized="text")
    for table in documents(folder):
        ids = table.column("id").to_pylist()
        found = items.matches(items.search(Texts.of(table.column("text"))))
        matched += [{**asdict(one), "id": ids[one.document]} for one in found]
        count += table.num_rows
        if kept is not None:
            hit = {one.document for one in found}
            kept.write(table.filter(pa.array([row not in hit for row in range(table.num_rows)], pa.bool_())))
    if out is not None and kept is not None:
        kept.close()
        with TableFile(out / "contamination.parquet") as file:
            file.write(pa.Table.from_pylist([{name: one[name] for name in MATCHES.names} for one in matched], schema=MATCHES))
    by_item = Counter(one["item"] for one in matched)
    return {
        "documents": count,
        "contaminated": len({one["id"] for one in matched}),
        "items": len(items.names),
        "items_found": len(by_item),
        "methods": dict(sorted(Counter(one["method"] for one in matched).items())),
        "matches": matched,
    }


def evaluation_items(path: Path) -> dict[str, list[str]]:
    """The items of an evaluation set: every text in a record (question, answers …) belongs to its item; a text file is one item."""
    items: dict[str, list[str]] = {}
    for file in inputs.find([str(path)]):
        for number, (name, texts) in enumerate(_records(file), 1):
            if texts:
                items[f"{file.uri}#{name or number}"] = texts
    if not items:
        raise NoItems(path=path)
    return items


def _records(file: inputs.File) -> Iterator[tuple[str, list[str]]]:
    if file.kind == "parquet":
        for batch in pq.ParquetFile(file.path).iter_batches(_ROWS, use_threads=False):
            yield from (_item(row) for row in batch.to_pylist())
        return
    for part in cutting.cut(file):
        if isinstance(part, cutting.Problem):
            raise BadInput(field=str(file.path), problem=part.problem, way_out="Give an evaluation set that can be read.")
        if part.kind != "jsonl":
            yield "", [part.data.decode("utf-8", "replace")]
            continue
        for line in part.data.splitlines():
            if line.strip():
                try:
                    yield _item(json.loads(line))
                except ValueError as problem:
                    raise BadInput(
                        field=str(file.path), problem=f"it holds a line that is not JSON ({problem})", way_out="Correct it."
                    ) from None


def _item(record: Any) -> tuple[str, list[str]]:
    name = (
        next((str(record[key]) for key in ("task_id", "id", "name") if record.get(key) is not None), "") if isinstance(record, dict) else ""
    )
    return name, [text for text in _strings(record) if text.strip() and text != name]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)
