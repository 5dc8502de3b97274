"""One bucket of a run: its readings merged by document id and decided, and later turned into rows of the tables.

A bucket holds all readings of its documents, so what is done here needs nothing but the bucket: the same functions serve one machine
(`gather`) and many (`ray_data`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lilong.floors.corpus.curation.policies.evaluation import DECISION, decide
from lilong.floors.corpus.curation.policies.policy import READING, Policy
from lilong.floors.corpus.curation.runs import batch

DECISIONS = pa.schema(
    [("id", pa.string()), ("source", pa.string()), *((field.name, field.type) for field in DECISION), ("uri", pa.string())]
)
CLUSTERS = pa.schema(
    [(name, pa.string()) for name in ("id", "source", "uri", "cluster")]
    + [("size", pa.int64()), ("representative", pa.string()), ("kept", pa.bool_()), ("why", pa.string()), ("bands", pa.int16())]
)
VERDICT = pa.schema([*DECISION, ("language", pa.string())])
DOCUMENT = ("id", "text", "source", "uri", "licence", "retrieved_at", "format", "transforms", "language", "cluster")
SHOWN_BYTES = 64 << 10
"""Of the text of a dropped document, what is kept for people to look at."""
PLACE = "_place"
"""Column of readings that came out of order: where they stood in the input, which settles what id, source and uri leave open."""
COPIES = "duplicates"
"""The step of exact and near duplicates in decisions."""
Ids = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Distinct:
    """Of every different text of a bucket, sorted by id: its id, how often it was read, whether the policy keeps it, the keys by which near
    duplicates meet (0 where it is dropped), what the choice among them asks for, what was decided (VERDICT), and its row of signals."""

    ids: Ids  # (n, 32)
    readings: npt.NDArray[np.int64]
    keep: Mask
    keys: npt.NDArray[np.uint64]  # (n, k)
    preferences: pa.Table
    verdict: pa.Table
    signals: pa.Table


@dataclass(frozen=True, slots=True)
class Placed:
    """Of every different text of a bucket, its place among near duplicates: the ids of the first one of its cluster and of the one that speaks
    for it, whether that is another one, how many readings the cluster has, and how many bands it shares with the one that speaks."""

    cluster: Ids
    representative: Ids
    other: Mask
    sizes: npt.NDArray[np.int64]
    shared: npt.NDArray[np.int16]
    bands: int

    def counts(self, ids: Ids) -> dict[str, int]:
        """Clusters whose first document is here, their readings, and the largest one's."""
        sizes = self.sizes[(self.cluster == ids).all(axis=1)]
        several = sizes[sizes > 1]
        return {"clusters": len(several), "documents": int(several.sum()), "largest": int(sizes.max(initial=0))}


@dataclass(frozen=True, slots=True)
class Tables:
    """`dropped`: id and text, SHOWN_BYTES of it at most, of each different text that is not kept, where they are to be reviewed."""

    decisions: pa.Table
    clusters: pa.Table
    documents: pa.Table
    dropped: pa.Table


def distinct(rows: pa.Table, policy: Policy) -> Distinct:
    """Decide about each different text among the rows of the batches' signals."""
    rows = rows.take(_order(rows, "_"))
    ids = ids_of(rows)
    first = _firsts(ids)
    readings = np.diff(np.flatnonzero(np.append(first, True)))
    rows = rows.filter(pa.array(first)).combine_chunks()
    found = decide(policy, rows)
    column = batch.one_batch(rows.select([batch.KEYS])).column(0)
    keys = column.flatten().to_numpy().reshape(-1, column.type.list_size) * found.keep[:, None]
    asked = dict.fromkeys(one.column for one in policy.prefer)
    preferences = pa.table({name: rows.column(f"_{name}" if name in READING else name) for name in asked})
    verdict = found.table(rows).append_column("language", rows.column("language")).cast(VERDICT)
    names = [name for name in rows.column_names if name != "id" and not name.startswith("_")]
    signals = rows.select(names).add_column(0, "id", as_hex(ids[first]))
    return Distinct(ids[first], readings, found.keep, keys, preferences, verdict, signals)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Readings, sorted by id, source and uri: their ids, which one is the first of its text, and the text's place in the bucket."""

    rows: pa.Table
    ids: pa.Array
    first: Mask
    within: npt.NDArray[np.int64]


def tables(rows: pa.Table, verdict: pa.Table, placed: Placed, review: bool) -> tuple[Tables, pa.Array]:
    """The rows of the tables from the rows of the batches' texts, a decision for each reading; and each reading's bytes."""
    order, texts = _order(rows, ""), rows.column("text").combine_chunks()
    rows = rows.drop_columns(["text"]).take(order)
    ids = ids_of(rows)
    first = _firsts(ids)
    some = _Rows(rows, as_hex(ids), first, np.cumsum(first) - 1)
    verdict = verdict.take(pa.array(some.within))
    decisions = _decided(some, verdict, placed)
    cluster = as_hex(placed.cluster[some.within])
    columns = {"id": some.ids, "language": verdict.column("language"), "cluster": cluster}
    keep = decisions.column("keep").combine_chunks()
    lost = pa.array(first & review & ~keep.to_numpy(zero_copy_only=False))
    kept = pa.table({name: columns[name] if name in columns else rows.column(name) for name in DOCUMENT if name != "text"}).filter(keep)
    kept = kept.add_column(DOCUMENT.index("text"), "text", texts.take(order.filter(keep)))
    dropped = pa.table({"id": some.ids.filter(lost), "text": _shortened(texts.take(order.filter(lost)))})
    return Tables(decisions, _shared(some, placed), kept, dropped), rows.column("_bytes")


def _shortened(texts: pa.Array) -> pa.Array:
    long = pc.greater(pc.binary_length(texts), SHOWN_BYTES)
    cut = [one.as_py().encode()[:SHOWN_BYTES].decode("utf-8", "ignore") for one in texts.filter(long)]
    return pc.replace_with_mask(texts, long, pa.array(cut, texts.type)) if cut else texts


def _order(rows: pa.Table, mark: str) -> pa.Array:
    keys = [("id", "ascending"), (f"{mark}source", "ascending"), (f"{mark}uri", "ascending")]
    if PLACE in rows.column_names:
        keys.append((PLACE, "ascending"))
    return pc.sort_indices(rows.select([name for name, _ in keys]), sort_keys=keys)


def _decided(some: _Rows, verdict: pa.Table, placed: Placed) -> pa.Table:
    """DECISIONS of the readings. Of equal texts the first by source and uri stands for all; then the policy decides, then clusters."""
    keeps = verdict.column("keep").to_numpy()
    near = some.first & keeps & placed.other[some.within]
    original = some.rows.select(["source", "uri"]).take(pa.array(np.flatnonzero(some.first)[some.within]))
    same = pc.binary_join_element_wise("the same text as", original.column("source"), original.column("uri"), " ")
    shared = pa.array(placed.shared[some.within]).cast(pa.string())
    alike = pc.binary_join_element_wise(shared, f"of {placed.bands} bands as in", as_hex(placed.representative[some.within]), " ")
    said = {"step": (COPIES, COPIES), "reason": ("exact_duplicate", "near_duplicate"), "detail": (same, alike)}
    columns = {
        "id": some.ids,
        "source": some.rows.column("source"),
        "keep": pa.array(some.first & keeps & ~near),
        "uri": some.rows.column("uri"),
    }
    for name, (of_copy, of_near) in said.items():
        columns[name] = pc.if_else(pa.array(~some.first), of_copy, pc.if_else(pa.array(near), of_near, verdict.column(name)))
    return pa.table([columns[name] for name in DECISIONS.names], schema=DECISIONS)


def _shared(some: _Rows, placed: Placed) -> pa.Table:
    """CLUSTERS of the readings that have duplicates, exact or near."""
    rows = np.flatnonzero(placed.sizes[some.within] > 1)
    place, first = some.within[rows], some.first[rows]
    other = placed.other[place]
    speaks = first & ~other
    why = pa.DictionaryArray.from_arrays(
        pa.array(np.where(speaks, 0, np.where(other, 2, 1)).astype(np.int8)), ["representative", "exact", "near"]
    )
    named = some.rows.select(["source", "uri"]).take(pa.array(rows))
    columns = {
        "id": some.ids.take(pa.array(rows)), "source": named.column("source"), "uri": named.column("uri"),
        "cluster": as_hex(placed.cluster[place]), "size": pa.array(placed.sizes[place]), "representative": as_hex(placed.representative[place]),
        "kept": pa.array(speaks), "why": why.cast(pa.string()), "bands": pa.array(placed.shared[place]),
    }  # fmt: skip
    return pa.table([columns[name] for name in CLUSTERS.names], schema=CLUSTERS)


def bands_shared(mine: npt.NDArray[np.uint64], theirs: npt.NDArray[np.uint64]) -> npt.NDArray[np.int16]:
    """How many keys of each row are equal and not 0."""
    found: npt.NDArray[np.int16] = ((mine == theirs) & (mine != 0)).sum(axis=1).astype(np.int16)
    return found


def ids_of(rows: pa.Table) -> Ids:
    """Ids as rows of bytes."""
    column = batch.one_batch(rows.select(["id"])).column(0)
    whole = np.frombuffer(column.buffers()[1] or b"", np.uint8)
    return whole[column.offset * 32 : (column.offset + len(column)) * 32].reshape(-1, 32)


def _firsts(ids: Ids) -> Mask:
    """Of rows sorted by id, which one is the first of its id."""
    first = np.ones(len(ids), bool)
    words = np.ascontiguousarray(ids).view(np.uint64)
    first[1:] = (words[1:] != words[:-1]).any(axis=1)
    return first


_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def as_hex(ids: Ids) -> pa.Array:
    """Ids as people write them."""
    letters = np.empty((len(ids), 64), np.uint8)
    letters[:, 0::2] = _DIGITS[ids >> 4]
    letters[:, 1::2] = _DIGITS[ids & 15]
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * 64
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets), pa.py_buffer(letters))
