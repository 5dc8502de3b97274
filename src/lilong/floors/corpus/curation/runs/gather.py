"""The end of a run: what batches left is merged by document id, bucket by bucket, decided, clustered and written.

Memory holds one bucket's rows, and of every different text its id and its place in a cluster; the keys of near duplicates lie on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lilong.floors.corpus.curation.dedup import clusters
from lilong.floors.corpus.curation.policies.evaluation import DECISION, decide
from lilong.floors.corpus.curation.policies.policy import READING, Policy
from lilong.floors.corpus.curation.runs import batch, durable
from lilong.floors.corpus.curation.runs.profiles import Profile
from lilong.floors.corpus.curation.runs.progress import Progress
from lilong.floors.corpus.curation.runs.report import Tally
from lilong.floors.corpus.curation.writing.tables import TableFile

TABLES = ("decisions", "signals", "clusters", "documents", "problems")
DECISIONS = pa.schema(
    [("id", pa.string()), ("source", pa.string()), *((field.name, field.type) for field in DECISION), ("uri", pa.string())]
)
CLUSTERS = pa.schema(
    [(name, pa.string()) for name in ("id", "source", "uri", "cluster")]
    + [("size", pa.int64()), ("representative", pa.string()), ("kept", pa.bool_()), ("why", pa.string()), ("bands", pa.int16())]
)
_STAGE = pa.schema([*DECISION, ("language", pa.string())])
_DOCUMENT = ("id", "text", "source", "uri", "licence", "retrieved_at", "language")
Mask = npt.NDArray[np.bool_]
COPIES = "duplicates"
"""The step of exact and near duplicates in decisions."""


@dataclass(frozen=True, slots=True)
class Job:
    work: Path
    out: Path
    buckets: int
    profile: Profile
    policy: Policy
    run: dict[str, Any]


def gather(job: Job, done: Sequence[durable.Done], progress: Progress) -> None:
    """Write the run's tables and its report. The report comes last: where it stands, all else does."""
    final = job.work / "final"
    final.mkdir(exist_ok=True)
    documents = sum(one.documents for one in done)
    progress.begin("deciding", documents)
    distinct = _decide(job, done, final, progress)
    progress.begin("looking for near duplicates", distinct.count)
    found = _cluster(job, distinct)
    progress.begin("writing", documents)
    tally = Tally()
    _write(job, done, distinct, found, final, tally, progress)
    _problems(job, done, final, tally)
    for name in TABLES:
        (final / f"{name}.parquet").replace(job.out / f"{name}.parquet")
    durable.sync_folder(job.out)
    report = tally.report(job.run, job.policy, job.out, TABLES)
    durable.write(job.out / "report.json", lambda file: _put(file, report))


def _put(file: Any, value: Any) -> None:
    file.write(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")


def _buckets(job: Job, done: Sequence[durable.Done], kind: str) -> Iterator[pa.Table]:
    """The rows of all batches, one bucket after the other."""
    paths = [job.work / "batches" / one.files[kind] for one in done]
    for bucket in range(job.buckets if paths else 0):
        rows = []
        for path in paths:  # opened each time: a run may have more batches than a process may have open files
            with pa.OSFile(str(path)) as file:
                rows.append(pa.ipc.open_file(file).get_batch(bucket))
        yield pa.Table.from_batches(rows)


@dataclass(slots=True)
class _Distinct:
    """Of every different text, sorted by id: its id, how often it was read, whether the policy keeps it, the keys by which near duplicates
    meet (0 where it is dropped), and what the choice among them asks for; and a file with a record batch per bucket of what was decided
    (DECISION and language)."""

    ids: npt.NDArray[np.uint8]  # (n, 32)
    readings: npt.NDArray[np.int64]
    keep: npt.NDArray[np.bool_]
    keys: npt.NDArray[np.uint64]  # (n, k), on disk
    preferences: pa.Table
    decided: Path

    @property
    def count(self) -> int:
        return len(self.ids)


def _decide(job: Job, done: Sequence[durable.Done], final: Path, progress: Progress) -> _Distinct:
    """Decide about each different text, and write signals.parquet."""
    ids, readings, keep = [np.zeros((0, 32), np.uint8)], [np.zeros(0, np.int64)], [np.zeros(0, np.bool_)]
    asked = list(dict.fromkeys(one.column for one in job.policy.prefer))
    preferences: list[pa.Table] = []
    decided, drawn = job.work / "decided.arrow", job.work / "keys"
    width = 1
    with TableFile(final / "signals.parquet") as out, pa.ipc.new_file(str(decided), _STAGE) as said, drawn.open("wb") as keys:
        for rows in _buckets(job, done, "signals"):
            order = [("id", "ascending"), ("_source", "ascending"), ("_uri", "ascending")]
            rows = rows.sort_by(order).combine_chunks()
            first = _firsts(_ids(rows))
            readings.append(np.diff(np.flatnonzero(np.append(first, True))))
            rows = rows.filter(pa.array(first)).combine_chunks()
            found = decide(job.policy, rows)
            ids.append(_ids(rows))
            keep.append(found.keep)
            column = batch.one_batch(rows.select([batch.KEYS])).column(0)
            width = column.type.list_size
            (column.flatten().to_numpy().reshape(-1, width) * found.keep[:, None]).tofile(keys)
            if asked:
                preferences.append(_named(rows, asked))
            said.write_batch(batch.one_batch(found.table(rows).append_column("language", rows.column("language")).cast(_STAGE)))
            signals = [name for name in rows.column_names if name != "id" and not name.startswith("_")]
            out.write(rows.select(signals).add_column(0, "id", _hex(ids[-1])))
            progress.advance(rows.num_rows, rows.num_rows)
    every = np.concatenate(ids)
    mapped = np.memmap(drawn, np.uint64, "r", shape=(len(every), width)) if len(every) else np.zeros((0, width), np.uint64)
    told = pa.concat_tables(preferences).combine_chunks() if preferences else pa.table({})
    return _Distinct(every, np.concatenate(readings), np.concatenate(keep), mapped, told, decided)


def _named(rows: pa.Table, columns: list[str]) -> pa.Table:
    """Columns of the signals' files, by the names that a policy has for them."""
    return pa.table({name: rows.column(f"_{name}" if name in READING else name) for name in columns})


@dataclass(frozen=True, slots=True)
class _Clusters:
    """Of every different text: the first one of its cluster, the one that speaks for it, and how many readings the cluster has."""

    component: npt.NDArray[np.int64]
    representative: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


def _cluster(job: Job, distinct: _Distinct) -> _Clusters:
    """Near duplicates among the texts that the policy keeps."""
    component, _ = clusters.components(distinct.count, distinct.keys.shape[1], lambda band: distinct.keys[:, band])
    chosen = clusters.representatives(component, distinct.preferences, job.policy.prefer)
    sizes = np.bincount(component, distinct.readings, distinct.count).astype(np.int64)[component]
    return _Clusters(component, chosen, sizes)


@dataclass(slots=True)
class _Rows:
    """One bucket of readings, sorted by id, source and uri: which one is the first of its text, and the text's place among all."""

    rows: pa.Table
    ids: pa.Array
    first: Mask
    place: npt.NDArray[np.int64]
    verdict: pa.Table


def _write(
    job: Job, done: Sequence[durable.Done], distinct: _Distinct, found: _Clusters, final: Path, tally: Tally, progress: Progress
) -> None:
    """Write decisions.parquet, a row for each reading; clusters.parquet, for each that has duplicates; documents.parquet, for each kept."""
    start = 0
    with ExitStack() as stack:
        decisions, alike = (stack.enter_context(TableFile(final / f"{name}.parquet")) for name in ("decisions", "clusters"))
        documents = stack.enter_context(TableFile(final / "documents.parquet", sized="text"))
        said = pa.ipc.open_file(stack.enter_context(pa.OSFile(str(distinct.decided))))
        for bucket, rows in enumerate(_buckets(job, done, "texts")):
            rows = rows.sort_by([("id", "ascending"), ("source", "ascending"), ("uri", "ascending")]).combine_chunks()
            ids = _ids(rows)
            first = _firsts(ids)
            within = np.cumsum(first) - 1
            verdict = pa.Table.from_batches([said.get_batch(bucket)]).take(pa.array(within))
            some = _Rows(rows, _hex(ids), first, within + start, verdict)
            table = _decided(some, distinct, found)
            decisions.write(table)
            alike.write(_shared(some, distinct, found))
            text = pc.coalesce(rows.column("rewritten"), rows.column("text"))
            columns = {"id": some.ids, "text": text, "language": verdict.column("language")}
            kept = pa.table({name: columns[name] if name in columns else rows.column(name) for name in _DOCUMENT}).filter(
                table.column("keep")
            )
            documents.write(kept)
            tally.count(table, rows)
            tally.kept(kept)
            start += int(first.sum())
            progress.advance(rows.num_rows, rows.num_rows)
    _, counts = np.unique(found.component[found.sizes > 1], return_counts=True)
    sizes = found.sizes[found.component == np.arange(distinct.count)]
    tally.clusters = {"clusters": len(counts), "documents": int(sizes[sizes > 1].sum()), "largest": int(sizes.max(initial=0))}


def _decided(some: _Rows, distinct: _Distinct, found: _Clusters) -> pa.Table:
    """DECISIONS of one bucket. Of equal texts the first by source and uri stands for all; then the policy decides, then clusters."""
    keeps = some.verdict.column("keep").to_numpy()
    other = found.representative[some.place]
    near = some.first & keeps & (other != some.place)
    original = some.rows.select(["source", "uri"]).take(pa.array(np.flatnonzero(some.first)[some.place - some.place[:1]]))
    same = pc.binary_join_element_wise("the same text as", original.column("source"), original.column("uri"), " ")
    shared = pa.array(_bands(distinct, found, some.place)).cast(pa.string())
    alike = pc.binary_join_element_wise(shared, f"of {distinct.keys.shape[1]} bands as in", _hex(distinct.ids[other]), " ")
    said = {"step": (COPIES, COPIES), "reason": ("exact_duplicate", "near_duplicate"), "detail": (same, alike)}
    columns = {
        "id": some.ids,
        "source": some.rows.column("source"),
        "keep": pa.array(some.first & keeps & ~near),
        "uri": some.rows.column("uri"),
    }
    for name, (of_copy, of_near) in said.items():
        columns[name] = pc.if_else(pa.array(~some.first), of_copy, pc.if_else(pa.array(near), of_near, some.verdict.column(name)))
    return pa.table([columns[name] for name in DECISIONS.names], schema=DECISIONS)


def _bands(distinct: _Distinct, found: _Clusters, place: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
    """Bands that each text shares with the one that speaks for its cluster."""
    other = found.representative[place]
    shared = np.full(len(place), distinct.keys.shape[1], np.int16)
    rows = np.flatnonzero(other != place)
    mine, theirs = distinct.keys[place[rows]], distinct.keys[other[rows]]
    shared[rows] = ((mine == theirs) & (mine != 0)).sum(axis=1)
    return shared


def _shared(some: _Rows, distinct: _Distinct, found: _Clusters) -> pa.Table:
    """CLUSTERS of the readings of one bucket that have duplicates, exact or near."""
    rows = np.flatnonzero(found.sizes[some.place] > 1)
    place, first = some.place[rows], some.first[rows]
    other = found.representative[place]
    speaks = first & (other == place)
    why = pa.DictionaryArray.from_arrays(
        pa.array(np.where(speaks, 0, np.where(other == place, 1, 2)).astype(np.int8)), ["representative", "exact", "near"]
    )
    named = some.rows.select(["source", "uri"]).take(pa.array(rows))
    columns = {
        "id": some.ids.take(pa.array(rows)), "source": named.column("source"), "uri": named.column("uri"),
        "cluster": _hex(distinct.ids[found.component[place]]), "size": pa.array(found.sizes[place]), "representative": _hex(distinct.ids[other]),
        "kept": pa.array(speaks), "why": why.cast(pa.string()), "bands": pa.array(_bands(distinct, found, place)),
    }  # fmt: skip
    return pa.table([columns[name] for name in CLUSTERS.names], schema=CLUSTERS)


def _problems(job: Job, done: Sequence[durable.Done], final: Path, tally: Tally) -> None:
    tables = [batch.PROBLEMS.empty_table()]
    for one in done:
        if "problems" in one.files:
            with pa.OSFile(str(job.work / "batches" / one.files["problems"])) as file:
                tables.append(pa.ipc.open_file(file).read_all())
    table = pa.concat_tables(tables).sort_by([(name, "ascending") for name in ("source", "uri", "problem")])
    with TableFile(final / "problems.parquet") as out:
        out.write(table)
    tally.problems = table


def _ids(rows: pa.Table) -> npt.NDArray[np.uint8]:
    column = batch.one_batch(rows.select(["id"])).column(0)
    whole = np.frombuffer(column.buffers()[1] or b"", np.uint8)
    return whole[column.offset * 32 : (column.offset + len(column)) * 32].reshape(-1, 32)


def _firsts(ids: npt.NDArray[np.uint8]) -> Mask:
    """Of rows sorted by id, which one is the first of its id."""
    first = np.ones(len(ids), bool)
    first[1:] = (ids[1:] != ids[:-1]).any(axis=1)
    return first


_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def _hex(ids: npt.NDArray[np.uint8]) -> pa.Array:
    """Ids as people write them."""
    letters = np.empty((len(ids), 64), np.uint8)
    letters[:, 0::2] = _DIGITS[ids >> 4]
    letters[:, 1::2] = _DIGITS[ids & 15]
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * 64
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(letters))
