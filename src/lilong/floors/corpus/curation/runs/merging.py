"""The documents of several finished runs as one stream, in the order of (id, source, uri)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lilong.floors.corpus.curation.dedup import clusters
from lilong.ground.errors import BadInput

DOCUMENT = ("id", "text", "source", "uri", "licence", "retrieved_at", "language", "format", "transforms")
_TYPES = {name: pa.large_string() if name == "text" else pa.string() for name in DOCUMENT}
SCHEMA = pa.schema(list(_TYPES.items()))
_KEY = [(name, "ascending") for name in clusters.KEY]
_ROWS = 2_048


class NoDocuments(BadInput):
    """There are no documents in {path}: {problem}. Give the --out folder of a curation run, or a Parquet file with id and text."""


def documents(path: Path) -> Iterator[pa.Table]:
    """The documents of a run's folder or of a Parquet file, some at a time, with the columns DOCUMENT. An id of another kind than a run's is not
    trusted to tell texts apart: the text's sha256 takes its place, and it that of a uri that is missing. Raises NoDocuments."""
    opened = _opened(path)
    there = opened.schema_arrow.names
    for batch in opened.iter_batches(_ROWS, columns=[name for name in DOCUMENT if name in there], use_threads=False):
        yield _whole(pa.Table.from_batches([batch]))


def text_bytes(path: Path) -> int:
    """Bytes of all texts of a run's folder or of a Parquet file, as its metadata say. Raises NoDocuments."""
    opened = _opened(path)
    groups = (opened.metadata.row_group(number) for number in range(opened.metadata.num_row_groups))
    at = opened.schema_arrow.names.index("text")
    return sum(group.column(at).total_uncompressed_size for group in groups)


@dataclass(frozen=True, slots=True)
class Documents:
    """All documents of some runs. `rows`: id, source, uri, licence, retrieved_at, language, bytes, and the signals that were asked for."""

    paths: tuple[Path, ...]
    in_order: tuple[bool, ...]
    rows: pa.Table

    @classmethod
    def of(cls, paths: Sequence[Path], asked: Sequence[str] = ()) -> Documents:
        """`asked`: columns of the documents, or signals of their runs. Raises NoDocuments, BadInput."""
        in_order = tuple(map(_in_order, paths))
        parts = [_named(SCHEMA.empty_table())]
        parts += [_named(table) for table in _merged(paths, in_order)]
        rows = pa.concat_tables(parts).combine_chunks()
        for name in dict.fromkeys(asked):
            if name not in rows.column_names:
                rows = rows.append_column(name, _signal(name, paths, rows))
        return cls(tuple(paths), in_order, rows)

    def tables(self) -> Iterator[pa.Table]:
        """The documents with their texts, some at a time, in the order of `rows`."""
        return _merged(self.paths, self.in_order)


def _opened(path: Path) -> pq.ParquetFile:
    file = path / "documents.parquet" if path.is_dir() else path
    if not file.is_file():
        raise NoDocuments(path=path, problem=f"{file} is not there")
    try:
        opened = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as problem:
        raise NoDocuments(path=path, problem=str(problem).rstrip(".")) from None
    if not {"id", "text"} <= set(opened.schema_arrow.names):
        raise NoDocuments(path=path, problem="it has no columns id and text")
    return opened


def _whole(table: pa.Table) -> pa.Table:
    columns = {}
    for name in DOCUMENT:
        if name in table.column_names:
            columns[name] = table.column(name).cast(_TYPES[name])
        else:
            columns[name] = pa.array(["" if name in ("source", "uri") else None] * table.num_rows, _TYPES[name])
        if name in clusters.KEY:
            columns[name] = pc.fill_null(columns[name], "")
    foreign = pc.invert(_digests(columns["id"]))
    if pc.any(foreign).as_py():
        columns["uri"] = pc.if_else(pc.and_(foreign, pc.equal(columns["uri"], "")), columns["id"], columns["uri"])
        texts = zip(foreign.to_pylist(), columns["id"].to_pylist(), columns["text"].to_pylist(), strict=True)
        columns["id"] = pa.array([hashlib.sha256((text or "").encode()).hexdigest() if other else own for other, own, text in texts], pa.string())
    return pa.table(columns)


def _digests(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which ids are the sha256 of something."""
    return pc.match_substring_regex(ids, "^[0-9a-f]{64}$")


def _in_order(path: Path) -> bool:
    opened = _opened(path)
    names = [name for name in clusters.KEY if name in opened.schema_arrow.names]
    rows = opened.read(names, use_threads=False)
    if not pc.all(pc.fill_null(_digests(rows.column("id").cast(pa.string())), False), min_count=0).as_py():
        return False
    order = clusters.in_order(_whole(rows))
    return bool((order == np.arange(len(order))).all())


def _sorted(path: Path, in_order: bool) -> Iterator[pa.Table]:
    if in_order:
        yield from documents(path)
        return
    tables = list(documents(path))
    yield from map(pa.Table.from_batches, ([batch] for batch in pa.concat_tables(tables).sort_by(_KEY).to_batches(_ROWS)))


def _merged(paths: Sequence[Path], in_order: Sequence[bool]) -> Iterator[pa.Table]:
    """A step takes from every stream what comes before all that any of them may still bring."""
    streams = [_sorted(path, ordered) for path, ordered in zip(paths, in_order, strict=True)]
    held: list[pa.Table | None] = [next(stream, None) for stream in streams]
    open_ = [one is not None for one in held]
    while any(one is not None and one.num_rows for one in held):
        ends = [one.column("id")[-1].as_py() for one, more in zip(held, open_, strict=True) if one is not None and more]
        limit = min(ends) if ends else None
        taken = []
        for number, one in enumerate(held):
            if one is None:
                continue
            size = one.num_rows if limit is None else int(np.searchsorted(one.column("id").to_numpy(), limit))
            taken.append(one.slice(0, size))
            held[number] = one.slice(size)
            if open_[number] and one.column("id")[-1].as_py() == limit:
                more = next(streams[number], None)
                open_[number] = more is not None
                held[number] = one.slice(size) if more is None else pa.concat_tables([one.slice(size), more])
        some = pa.concat_tables(taken)
        if some.num_rows:
            yield some.combine_chunks() if len(paths) == 1 else some.sort_by(_KEY).combine_chunks()


def _named(table: pa.Table) -> pa.Table:
    return table.drop_columns(["text"]).append_column("bytes", pc.fill_null(pc.binary_length(table.column("text")), 0).cast(pa.int64()))


def _signal(name: str, paths: Sequence[Path], rows: pa.Table) -> pa.ChunkedArray:
    """A column of the documents' files, or a signal of their runs: it depends on the text alone, so the first run that has it will do."""
    beside = [path / "signals.parquet" for path in paths if (path / "signals.parquet").is_file()]
    files = [*(path / "documents.parquet" if path.is_dir() else path for path in paths), *beside]
    found = [pq.read_table(file, columns=["id", name]) for file in files if name in pq.read_schema(file).names]
    if not found:
        known = sorted({*rows.column_names, *(one for file in files for one in pq.read_schema(file).names)} - {"text"})
        raise BadInput(field=f"prefer.{name}", problem="the documents have no such column", way_out=f"They have: {', '.join(known)}.")
    table = pa.concat_tables(found, promote_options="permissive")
    return table.column(name).take(pc.index_in(rows.column("id"), table.column("id").combine_chunks()))
