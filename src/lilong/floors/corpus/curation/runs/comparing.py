"""Questions to documents.parquet of finished runs: what is in them twice, whether a text is in them, and whether test items are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lilong.floors.corpus.curation.contamination import Answer, Builder, EvaluationSet, Index
from lilong.floors.corpus.curation.dedup.shingles import Near
from lilong.floors.corpus.curation.dedup.standing import Contribution, Standing
from lilong.floors.corpus.curation.runs import durable
from lilong.floors.corpus.curation.runs.engine import REPORT
from lilong.floors.corpus.curation.runs.items import items_in
from lilong.floors.corpus.curation.runs.ladder import Ladder, climb, write
from lilong.floors.corpus.curation.runs.merging import SCHEMA, documents, text_bytes
from lilong.floors.corpus.curation.runs.progress import Progress, Silent
from lilong.floors.corpus.curation.texts import Texts
from lilong.floors.corpus.curation.writing.tables import TableFile
from lilong.ground.errors import Conflict, NotFound

INDEX = "index"
"""Folder, inside a run's, of its membership index."""
MATCHES = pa.schema(
    [(name, pa.string()) for name in ("id", "item", "method")] + [(name, pa.int64()) for name in ("found", "windows", "start", "end")]
)
_DOCUMENT = ("id", "source", "uri", "licence", "retrieved_at")


class NotIndexed(NotFound):
    """The run in {folder} has no membership index. Make one with `lilong corpus index --run {folder}`."""


class NoStanding(NotFound):
    """There is no standing corpus in {name}. Check the path, or begin one there: add --add."""


class OfAnother(Conflict):
    """The folder {folder} holds {what}, which would be written over. Give another folder with {option}."""


def keyed(paths: Sequence[Path], progress: Progress | None = None) -> tuple[pa.Table, Any]:
    """All documents without their texts but with their bytes; and the (n, 14) keys by which near duplicates meet."""
    near = Near()
    progress = progress or Silent()
    progress.begin("comparing", sum(map(text_bytes, paths)))
    tables, keys = [], [np.zeros((0, near.banding.bands), np.uint64)]
    for path in paths:
        for table in documents(path):
            keys.append(near.keys(Texts.of(table.column("text"))))
            sizes = pc.binary_length(table.column("text")).cast(pa.int64())
            progress.advance(pc.sum(sizes).as_py() or 0, table.num_rows)
            tables.append(table.select(_DOCUMENT).append_column("bytes", sizes))
    columns = [(name, pa.string()) for name in _DOCUMENT]
    empty = pa.schema([*columns, ("bytes", pa.int64())]).empty_table()
    return pa.concat_tables([empty, *tables]), np.concatenate(keys)


def dedup(paths: Sequence[Path], ladder: Ladder, out: Path | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """What several runs have in common, by the rungs of a ladder. With `out`, the documents that are left are written there, the tables of
    what was found, and the report. Raises OfAnother, and what ladder.climb raises."""
    if out is not None:
        _free(out, paths)
    found = climb(paths, ladder, progress)
    if out is not None:
        write(found, out)
    return found.report


def _free(out: Path, paths: Sequence[Path]) -> None:
    """Raises OfAnother for a folder with a run, or with a file that is read."""
    if (out / REPORT).exists():
        raise OfAnother(folder=out, what="a curation run", option="--out")
    for path in paths:
        file = path / "documents.parquet" if path.is_dir() else path
        if file.resolve() == (out / "documents.parquet").resolve():
            raise OfAnother(folder=out, what="the documents that are read", option="--out")


def contribute(paths: Sequence[Path], standing: Path, add: bool, progress: Progress | None = None) -> Contribution:
    """What the documents of some runs add to a standing corpus; with `add`, they are added, and it is made where there is none.

    Raises NoStanding, OfAnother, OtherBanding, AlreadyRunning."""
    corpus = Standing(standing)
    if corpus.version is None:
        if not add:
            raise NoStanding(kind="standing corpus", name=standing)
        if standing.is_dir() and {one.name for one in standing.iterdir()} - {"objects"}:
            raise OfAnother(folder=standing, what="something else", option="--standing")
    table, keys = keyed(paths, progress)
    return corpus.add(table, keys) if add else corpus.compare(table, keys)


def index(folder: Path, progress: Progress | None = None) -> str:
    """Make the membership index of a run; answers its digest. Raises NoDocuments."""
    progress = progress or Silent()
    progress.begin("indexing", text_bytes(folder))
    with Builder(folder / INDEX) as builder:
        for table in documents(folder):
            texts = Texts.of(table.column("text"))
            builder.add(table.column("id").to_pylist(), texts)
            progress.advance(len(texts.data), table.num_rows)
        return builder.finish()


def contains(folder: Path, text: str) -> Answer:
    """What of a text stands in a run's documents. Raises NoDocuments, NotIndexed, NoIndex, BadIndex."""
    if not (folder / INDEX / "index.json").is_file():
        text_bytes(folder)
        raise NotIndexed(folder=folder)
    return Index.open(folder / INDEX).ask(text)


def decontaminate(folder: Path, against: Path, out: Path | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Which items of an evaluation set stand in a run's documents. With `out`, documents.parquet without those documents, and
    contamination.parquet with every match, are written there, both when both are whole. `items_too_short`: items without a window to look for.
    Raises NoSuchInput, NothingToRead, BadItems, NoItems, NoDocuments, OfAnother."""
    items = EvaluationSet.of(items_in(against))
    if out is not None:
        _free(out, [folder])
    matched: list[dict[str, Any]] = []
    count = 0
    progress = progress or Silent()
    progress.begin("looking for test items", text_bytes(folder))
    with ExitStack() as stack:
        part = kept = None
        if out is not None:
            part = stack.enter_context(durable.folder_beside(out))
            kept = stack.enter_context(TableFile(part / "documents.parquet", sized="text"))
            kept.write(SCHEMA.empty_table())
        for table in documents(folder):
            ids, texts = table.column("id").to_pylist(), Texts.of(table.column("text"))
            found = items.matches(items.search(texts))
            matched += [{**asdict(one), "id": ids[one.document]} for one in found]
            count += table.num_rows
            progress.advance(len(texts.data), table.num_rows)
            if kept is not None:
                hit = {one.document for one in found}
                kept.write(table.filter(pa.array([row not in hit for row in range(table.num_rows)], pa.bool_())))
        if part is not None:
            with TableFile(part / "contamination.parquet") as file:
                file.write(pa.Table.from_pylist([{name: one[name] for name in MATCHES.names} for one in matched], schema=MATCHES))
    by_item = Counter(one["item"] for one in matched)
    return {
        "documents": count,
        "contaminated": len({one["id"] for one in matched}),
        "items": len(items.names),
        "items_found": len(by_item),
        "items_too_short": int((items.counts.sum(axis=1) == 0).sum()),
        "methods": dict(sorted(Counter(one["method"] for one in matched).items())),
        "matches": matched,
    }
