"""What Ray Data carries out: functions from an Arrow table to an Arrow table, in any process of any node.

Rows that name files are handed from stage to stage; rows of documents go through the engine's shuffle, parted by the column PART. A file is
called by the digest of its bytes, and its bytes depend on its rows alone.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lilong.floors.corpus.curation.dedup import clusters, stars
from lilong.floors.corpus.curation.policies.evaluation import decide
from lilong.floors.corpus.curation.policies.policy import Policy
from lilong.floors.corpus.curation.reading import cutting
from lilong.floors.corpus.curation.runs import batch, bucket, durable
from lilong.floors.corpus.curation.runs.report import Tally
from lilong.floors.corpus.curation.writing.tables import TableFile

PART = "_part"
_BANDS = "_keys"
_PREFER = "prefer_"
_ORDER_BITS = 23  # of the number of a row within its batch


@dataclass(frozen=True, slots=True)
class Shared:
    """What every task of a run knows. `buckets` (by id) and `parts` (by hash) say how finely the shuffles part the rows."""

    task: batch.Task
    files: Path
    policy: Policy
    buckets: int
    parts: int
    batch_bytes: int
    review: bool = False

    @property
    def done(self) -> Path:
        return self.task.folder / "done"


def measure(table: pa.Table, shared: Shared) -> Iterator[pa.Table]:
    """Groups of inputs to measured batches: a row each, with the names of its files. What another try finished is not measured again."""
    cutting.PART_BYTES = shared.batch_bytes  # nothing but the size of files and of this process depends on it
    for group, reading in zip(table.column("group").to_pylist(), table.column("reading").to_pylist(), strict=True):
        for number, one in enumerate(pickle.loads(reading).batches()):  # noqa: S301  the driver of this run wrote it
            outcome = _measured(one, shared)
            row = {"place": group << 16 | number, "read": one.read, "first": "", "failed": "", "no_room": False}
            if isinstance(outcome, batch.Failed):
                row |= {"key": outcome.key, "first": outcome.first, "failed": outcome.problem, "no_room": outcome.no_room, "documents": 0}
                files = {}
            else:
                row |= {"key": outcome.key, "documents": outcome.documents}
                files = outcome.files
            yield pa.Table.from_pylist([row | {f"{kind}_file": files.get(kind, "") for kind in ("signals", "texts", "problems")}])


def _measured(one: cutting.Batch, shared: Shared) -> durable.Done | batch.Failed:
    key = one.key()
    mark = shared.done / key[:2] / key
    if mark.is_file():
        before = durable.Done(**json.loads(mark.read_bytes()))
        if all(durable.intact(shared.files / name, name) for name in before.files.values()):
            return before
    outcome = batch.carry_out(one, key, shared.task)
    if isinstance(outcome, durable.Done):
        mark.parent.mkdir(parents=True, exist_ok=True)
        durable.write(mark, lambda file: file.write(json.dumps(asdict(outcome)).encode()))
    return outcome


def signals(table: pa.Table, shared: Shared) -> pa.Table:
    """A batch's signals, parted by id."""
    return _parted(_read(shared, table, "signals_file"), table, shared)


def texts(table: pa.Table, shared: Shared) -> pa.Table:
    """A batch's texts, parted by id; those that the policy drops have gone, so that they need not travel."""
    rows = _read(shared, table, "texts_file")
    if not shared.review:
        lost, nothing = ~decide(shared.policy, _read(shared, table, "signals_file")).keep, pa.scalar(None, pa.large_string())
        text = pc.replace_with_mask(rows.column("text").combine_chunks(), pa.array(lost), nothing)
        rows = rows.set_column(rows.column_names.index("text"), "text", text)
    return _parted(rows, table, shared)


def _parted(rows: pa.Table, table: pa.Table, shared: Shared) -> pa.Table:
    place = (table.column("place")[0].as_py() << _ORDER_BITS) + np.arange(rows.num_rows)
    part = batch.bucket_of(bucket.ids_of(rows), shared.buckets).astype(np.int32)
    return rows.append_column(bucket.PLACE, pa.array(place)).append_column(PART, pa.array(part))


def distinct(table: pa.Table, shared: Shared) -> pa.Table:
    """The signals of a bucket to its different texts, decided: a row with the names of two files."""
    part = _part(table)
    found = bucket.distinct(table.drop_columns([PART]), shared.policy)
    width = found.keys.shape[1]
    columns = {
        "id": pa.FixedSizeBinaryArray.from_buffers(batch.ID, len(found.ids), [None, pa.py_buffer(np.ascontiguousarray(found.ids))]),
        "readings": pa.array(found.readings),
        "kept": pa.array(found.keep),
        _BANDS: pa.FixedSizeListArray.from_arrays(pa.array(found.keys.reshape(-1)), width),
        **{f"{_PREFER}{name}": found.preferences.column(name) for name in found.preferences.column_names},
        **{name: found.verdict.column(name) for name in found.verdict.column_names},
    }
    texts_ = _write(shared, pa.table(columns))
    return _row(bucket=part, texts_file=texts_, signals_file=_write(shared, found.signals), documents=len(found.ids))


def band_keys(table: pa.Table, shared: Shared) -> pa.Table:
    """The keys of a bucket's texts, a row for each band, parted by key."""
    rows = _read(shared, table, "texts_file", _BANDS)
    keys = _bands_of(rows)
    documents = np.arange(len(keys)) + table.column("start")[0].as_py()
    bands = np.broadcast_to(np.arange(keys.shape[1], dtype=np.int16), keys.shape).reshape(-1)
    flat = keys.reshape(-1)
    there = flat != 0
    columns = {"band": bands[there], "key": flat[there], "document": np.repeat(documents, keys.shape[1])[there]}
    return pa.table({**columns, PART: (flat[there] % np.uint64(shared.parts)).astype(np.int32)})


def meet(table: pa.Table, shared: Shared) -> pa.Table:
    """Documents that share a key in a band to edges."""
    edges = stars.meeting(*(table.column(name).to_numpy() for name in ("band", "key", "document")))
    return _edges(shared, _part(table), edges, 0)


def ends(table: pa.Table, shared: Shared, star: stars.Star) -> pa.Table:
    """Edges by the node that an operation gathers them by."""
    edges = read_edges(shared, table)
    if star is stars.large_star:
        edges = stars.both_ways(edges)
    return pa.table({"node": edges[0], "other": edges[1], PART: (_mixed(edges[0]) % np.uint64(shared.parts)).astype(np.int32)})


def pull(table: pa.Table, shared: Shared, star: stars.Star) -> pa.Table:
    """An operation on the edges of the nodes of a part."""
    children, parents, moved = star(table.column("node").to_numpy(), table.column("other").to_numpy())
    return _edges(shared, _part(table), (children, parents), moved)


def end_at_once(table: pa.Table, shared: Shared) -> pa.Table:
    """All edges to stars, in this process."""
    files = [read_edges(shared, table.slice(row, 1)) for row in range(table.num_rows)]
    joined = (np.concatenate([one[0] for one in files]), np.concatenate([one[1] for one in files]))
    return _edges(shared, 0, stars.finished(joined), 0)


def members(table: pa.Table, shared: Shared, starts: Any, buckets: Any) -> pa.Table:
    """The documents of stars, their centres too, parted by the bucket that holds them."""
    children, parents = read_edges(shared, table)
    centres = np.unique(parents)
    documents = np.concatenate([children, centres])
    part = buckets[np.searchsorted(starts, documents, side="right") - 1]
    return pa.table({"document": documents, "root": np.concatenate([parents, centres]), PART: part})


def with_texts(table: pa.Table, shared: Shared, files: dict[int, tuple[str, int]]) -> pa.Table:
    """What the choice within a cluster asks for, to each of its documents of one bucket; parted by cluster."""
    name, start = files[_part(table)]
    documents, first = np.unique(table.column("document").to_numpy(), return_index=True)
    roots = table.column("root").to_numpy()[first]
    rows = _opened(shared, name)
    wanted = ["id", "readings", _BANDS, *(one for one in rows.column_names if one.startswith(_PREFER))]
    rows = rows.select(wanted).take(pa.array(documents - start))
    part = (_mixed(roots) % np.uint64(shared.parts)).astype(np.int32)
    return rows.append_column("document", pa.array(documents)).append_column("root", pa.array(roots)).append_column(PART, pa.array(part))


def represent(table: pa.Table, shared: Shared, starts: Any, buckets: Any) -> pa.Table:
    """Of the documents of whole clusters, who speaks for each; parted by bucket again."""
    table = table.sort_by([("root", "ascending"), ("document", "ascending")]).combine_chunks()
    roots = table.column("root").to_numpy()
    _, first, cluster = np.unique(roots, return_index=True, return_inverse=True)
    component = first[cluster].astype(np.int64)
    told = {name.removeprefix(_PREFER): table.column(name) for name in table.column_names if name.startswith(_PREFER)}
    chosen = clusters.representatives(component, pa.table(told), shared.policy.prefer)
    sizes = np.bincount(component, table.column("readings").to_numpy(), table.num_rows).astype(np.int64)[component]
    keys, ids = _bands_of(table), table.column("id").combine_chunks()
    shared_bands = np.full(table.num_rows, keys.shape[1], np.int16)
    moved = np.flatnonzero(chosen != np.arange(table.num_rows))
    shared_bands[moved] = bucket.bands_shared(keys[moved], keys[chosen[moved]])
    documents = table.column("document").to_numpy()
    part = buckets[np.searchsorted(starts, documents, side="right") - 1]
    return pa.table({
        "document": documents, "cluster": ids.take(pa.array(component)), "representative": ids.take(pa.array(chosen)),
        "other": chosen != np.arange(table.num_rows), "size": sizes, "shared": shared_bands, PART: part,
    })  # fmt: skip


def placed(table: pa.Table, shared: Shared) -> pa.Table:
    """The places of a bucket's documents among near duplicates."""
    rows = table.drop_columns([PART]).sort_by("document").combine_chunks()
    return _row(bucket=_part(table), placed_file=_write(shared, rows), documents=rows.num_rows)


def written(table: pa.Table, shared: Shared, files: dict[int, tuple[str, str, int]]) -> pa.Table:
    """The texts of a bucket to its rows of the tables."""
    part = _part(table)
    texts_, places, start = files[part]
    found = _opened(shared, texts_)
    ids = bucket.ids_of(found)
    near = _placed(found, ids, _opened(shared, places) if places else None, start)
    verdict = found.select(bucket.VERDICT.names)
    made, sizes = bucket.tables(table.drop_columns([PART]), verdict, near, shared.review)
    tally = Tally()
    tally.count(made.decisions, sizes, made.documents, near.counts(ids))
    wanted = ("decisions", "clusters", "documents", *(["dropped"] if shared.review else []))
    names = {f"{name}_file": _write(shared, getattr(made, name)) for name in wanted}
    return _row(bucket=part, readings=table.num_rows, tally=json.dumps(tally.counts()), **names)


def _placed(found: pa.Table, ids: bucket.Ids, places: pa.Table | None, start: int) -> bucket.Placed:
    keys = _bands_of(found)
    cluster, representative = ids.copy(), ids.copy()
    other, sizes = np.zeros(len(ids), bool), found.column("readings").to_numpy().astype(np.int64)
    shares = np.full(len(ids), keys.shape[1], np.int16)
    if places is not None:
        at = places.column("document").to_numpy() - start
        cluster[at] = bucket.ids_of(places.select(["cluster"]).rename_columns(["id"]))
        representative[at] = bucket.ids_of(places.select(["representative"]).rename_columns(["id"]))
        other[at], sizes[at] = places.column("other").to_numpy(), places.column("size").to_numpy()
        shares[at] = places.column("shared").to_numpy()
    return bucket.Placed(cluster, representative, other, sizes, shares, keys.shape[1])


def put_together(table: pa.Table, shared: Shared, final: Path, files: dict[str, list[str]]) -> pa.Table:
    """One of the run's tables, or a file of it, from its buckets' files in order."""
    name, path = table.column("table")[0].as_py(), final / table.column("path")[0].as_py()
    beside = path.with_name(f".part-{path.name}")
    with TableFile(beside, sized="text" if name in ("documents", "dropped") else None) as out:
        for one in files[name][table.column("first")[0].as_py() : table.column("end")[0].as_py()]:
            out.write(_opened(shared, one))
    beside.replace(path)
    return table.select(["path"])


def read_edges(shared: Shared, table: pa.Table) -> stars.Edges:
    rows = _read(shared, table, "edges_file")
    return rows.column("child").to_numpy(), rows.column("parent").to_numpy()


def _edges(shared: Shared, part: int, edges: stars.Edges, moved: int) -> pa.Table:
    return _row(part=part, edges_file=_write(shared, pa.table({"child": edges[0], "parent": edges[1]})), edges=len(edges[0]), moved=moved)


def _mixed(nodes: stars.Nodes) -> Any:
    """Successive numbers to numbers that are not (the finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        found = nodes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return found ^ (found >> np.uint64(31))


def _bands_of(rows: pa.Table) -> Any:
    column = batch.one_batch(rows.select([_BANDS])).column(0)
    return column.flatten().to_numpy().reshape(-1, column.type.list_size)


def _part(table: pa.Table) -> int:
    return int(table.column(PART)[0].as_py()) if table.num_rows else 0


def _row(**values: Any) -> pa.Table:
    return pa.Table.from_pylist([values])


def _read(shared: Shared, table: pa.Table, column: str, *wanted: str) -> pa.Table:
    rows = _opened(shared, table.column(column)[0].as_py())
    return rows.select(list(wanted)) if wanted else rows


def _opened(shared: Shared, name: str) -> pa.Table:
    with pa.OSFile(str(shared.files / name)) as file:
        return pa.ipc.open_file(file).read_all()


def _write(shared: Shared, table: pa.Table) -> str:
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)

    def fill(file: IO[bytes]) -> None:
        with pa.ipc.new_file(file, table.schema, options=options) as writer:
            writer.write_table(table.combine_chunks())

    return durable.write_named(shared.files, fill)
