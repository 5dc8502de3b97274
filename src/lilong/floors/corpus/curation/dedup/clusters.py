"""Clusters of documents that are alike, and who speaks for each. Nothing is deleted here: the answer is a table.

The order in which documents are taken is that of (id, source, uri), whatever order they came in, so the same set of documents gives the
same table. `bands` are any columns of 64-bit keys (minhash.py, semantic.py): rows that share a key in a column are in one cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lilong.ground.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Band = Callable[[int], Keys]
GIANT = 10_000
"""Documents in one bucket from which it is reported: boilerplate, or an extraction that failed alike many times."""

KEY = ("id", "source", "uri")
CLUSTER_COLUMNS: Mapping[str, str] = {
    "id": "sha256 of the text",
    "source": "where the document comes from",
    "uri": "its name there",
    "cluster": "the smallest id in its cluster",
    "size": "documents in the cluster, copies counted",
    "representative": "id of the document that speaks for the cluster",
    "kept": "whether this row is that document",
    "why": "representative, exact (the same text as the representative) or near",
    "bands": "bands shared with the representative; 0: alike through other documents of the cluster only",
}


@dataclass(frozen=True, slots=True)
class Preference:
    """Which value of a column speaks for a cluster: the least, the most, or the first in `order` (others come after these). A missing
    value comes last."""

    column: str
    best: str = "least"
    order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Giant:
    """A bucket that is larger than it should be. It is joined like any other, in time proportional to its size."""

    band: int
    documents: int
    example: int  # row of its first document


def parse_preferences(value: Sequence[Mapping[str, Any]]) -> tuple[Preference, ...]:
    """From a policy: [{column, best = "least" | "most"} or {column, order = [...]}], the weightiest first. Raises BadInput."""
    found = []
    for number, one in enumerate(value):
        field = f"prefer[{number}]"
        unknown = set(one) - {"column", "best", "order"}
        if unknown or "column" not in one:
            problem = f"'{min(unknown)}' is not known" if unknown else "it names no column"
            raise BadInput(field=field, problem=problem, way_out="Give column, and best or order.")
        best = str(one.get("best", "least"))
        if best not in ("least", "most") or ("best" in one and "order" in one):
            raise BadInput(
                field=field, problem=f"best = {best!r} means nothing here", way_out='Give best = "least" or "most", or an order.'
            )
        found.append(Preference(str(one["column"]), best, tuple(map(str, one.get("order", ())))))
    return tuple(found)


def components(count: int, bands: int, band: Band, ids: npt.NDArray[np.generic] | None = None) -> tuple[Rows, list[Giant]]:
    """For each of `count` rows the least row of its cluster, and buckets of GIANT rows or more.

    `band(i)` gives column i, one key a row, 0 for none. Equal neighbours in `ids` (sorted) are joined too. Takes 24 bytes a row besides
    the one column at a time: columns may lie on disk.
    """
    from lilong.floors.corpus.curation.dedup import kernels

    parent = np.arange(count)
    giants = []
    if ids is not None and count:
        again = np.flatnonzero(ids[1:] == ids[:-1])
        kernels.join_pairs(again, again + 1, parent)
    for number in range(bands):
        keys = np.ascontiguousarray(band(number))
        order = np.argsort(keys)
        kernels.join_equal(keys, order, parent)
        giants += _giants(number, keys, order)
    kernels.flatten(parent)
    return parent, giants


def pairs(bands: int, band: Band, near: int = 64) -> tuple[Rows, Rows]:
    """Rows that share a key, each pair once and the lesser row first: to be verified before they are `joined`.

    In a bucket every row is paired with the `near` rows that follow it and with the first row, so a bucket of k rows gives all pairs up
    to k = near + 1 and about near * k beyond: the cap on giant buckets.
    """
    found = [np.zeros((0, 2), np.int64)]
    for number in range(bands):
        keys = np.ascontiguousarray(band(number))
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        new = np.ones(len(order), bool)
        new[1:] = ordered[1:] != ordered[:-1]
        first = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0)) if len(order) else np.zeros(0, np.int64)
        distance = np.where(ordered != 0, np.arange(len(order)) - first, 0)
        far = np.flatnonzero(distance > near)
        found.append(np.stack([order[first[far]], order[far]], axis=1))
        for step in range(1, min(near, int(distance.max(initial=0))) + 1):
            at = np.flatnonzero(distance >= step)
            found.append(np.stack([order[at - step], order[at]], axis=1))
    unique = np.unique(np.concatenate(found), axis=0)
    return np.ascontiguousarray(unique[:, 0]), np.ascontiguousarray(unique[:, 1])


def joined(count: int, left: Rows, right: Rows) -> Rows:
    """For each of `count` rows the least row that pairs connect it with."""
    from lilong.floors.corpus.curation.dedup import kernels

    parent = np.arange(count)
    kernels.join_pairs(left, right, parent)
    kernels.flatten(parent)
    return parent


def _giants(band: int, keys: Keys, order: Rows) -> list[Giant]:
    """Only rows GIANT - 1 apart in sorted order are compared, so this costs next to nothing."""
    step = max(1, GIANT // 2)
    probes = keys[order[::step]]
    found = []
    for key in np.unique(probes[1:][probes[1:] == probes[:-1]]):
        low, high = int(np.searchsorted(keys, key, "left", sorter=order)), int(np.searchsorted(keys, key, "right", sorter=order))
        if key and high - low >= GIANT:
            found.append(Giant(band, high - low, int(order[low:high].min())))
    return found


def representatives(component: Rows, documents: pa.Table, prefer: Sequence[Preference] = ()) -> Rows:
    """For each row the row that speaks for its cluster: the best by `prefer`, and by the order of rows where that leaves several.

    Raises BadInput for a column that the documents do not have.
    """
    answer = component.copy()
    sizes = np.bincount(component, minlength=len(component))
    shared = np.flatnonzero(sizes[component] > 1)
    ranks = [_rank(documents, one, shared) for one in prefer if documents.num_rows]
    if not prefer or not len(shared):
        return answer
    order = np.lexsort((shared, *reversed(ranks), component[shared]))
    ordered = component[shared[order]]
    first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    best = np.arange(len(component))
    best[ordered[first]] = shared[order[first]]
    answer[shared] = best[component[shared]]
    return answer


def bands_shared(chosen: Rows, bands: int, band: Band) -> npt.NDArray[np.int16]:
    """For each row in how many bands its key is that of the row that speaks for it, and not 0: in all, where it is itself."""
    others = np.flatnonzero(chosen != np.arange(len(chosen)))
    shared = np.full(len(chosen), bands, np.int16)
    shared[others] = 0
    for number in range(bands if len(others) else 0):
        keys = band(number)
        shared[others] += (keys[others] == keys[chosen[others]]) & (keys[others] != 0)
    return shared


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _number(given: str) -> bool:
    try:
        float(given)
    except ValueError:
        return False
    return True


def _rank(documents: pa.Table, one: Preference, rows: Rows) -> Rows:
    import pyarrow as pa
    import pyarrow.compute as pc

    if one.column not in documents.column_names:
        known = ", ".join(documents.column_names)
        raise BadInput(field=f"prefer.{one.column}", problem="the documents have no such column", way_out=f"They have: {known}.")
    column: Any = documents.column(one.column).take(pa.array(rows)).combine_chunks()
    if one.order and _is_number(column.type) and not all(map(_number, one.order)):
        problem = f"its values are numbers, and {', '.join(one.order)} is no order of these"
        raise BadInput(field=f"prefer.{one.column}", problem=problem, way_out="Say least or most.")
    if one.order:
        place = pc.index_in(column.cast(pa.string()), pa.array(one.order, pa.string()))
        return np.asarray(pc.fill_null(place, len(one.order)), np.int64)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    order = "ascending" if one.best == "least" else "descending"
    return np.asarray(pc.rank(column, sort_keys=order, tiebreaker="dense"), np.int64)


def in_order(documents: pa.Table) -> Rows:
    """The order of (id, source, uri), in which every function here wants its rows."""
    import pyarrow.compute as pc

    return np.asarray(pc.sort_indices(documents, sort_keys=[(name, "ascending") for name in KEY]), np.int64)


def tabulate(documents: pa.Table, component: Rows, bands: int, band: Band, prefer: Sequence[Preference] = ()) -> pa.Table:
    """The table of clusters (CLUSTER_COLUMNS) of documents that are `in_order`: (id, source, uri) and what `prefer` asks for."""
    import pyarrow as pa

    chosen = representatives(component, documents, prefer)
    ids = documents.column("id").combine_chunks()
    rows = np.arange(len(component))
    others = np.flatnonzero(chosen != rows)
    shared = bands_shared(chosen, bands, band)
    same = np.asarray(_equal(ids, chosen, others), bool)
    shared[others[same]] = bands
    why = np.zeros(len(component), np.int8)
    why[others] = 2 - same
    names = pa.DictionaryArray.from_arrays(pa.array(why), pa.array(["representative", "exact", "near"]))
    return pa.table({
        **{name: documents.column(name).combine_chunks() for name in KEY},
        "cluster": ids.take(pa.array(component)), "size": pa.array(np.bincount(component, minlength=len(component))[component]),
        "representative": ids.take(pa.array(chosen)), "kept": pa.array(chosen == rows), "why": names.cast(pa.string()), "bands": pa.array(shared),
    })  # fmt: skip


def _equal(ids: Any, chosen: Rows, others: Rows) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.equal(ids.take(pa.array(others)), ids.take(pa.array(chosen[others]))).to_numpy(zero_copy_only=False)


def cluster(documents: pa.Table, keys: Keys, prefer: Sequence[Preference] = ()) -> tuple[pa.Table, list[Giant]]:
    """The table of clusters of documents (id, source, uri, and what `prefer` asks for) with their (n, bands) keys, in any order; and
    buckets that are suspiciously large (their `example` is a row of the table)."""
    import pyarrow as pa

    order = in_order(documents)
    documents = documents.take(pa.array(order))
    ids = numbered(documents.column("id"))
    component, giants = components(len(order), keys.shape[1], lambda band: keys[order, band], ids)
    return tabulate(documents, component, keys.shape[1], lambda band: keys[order, band], prefer), giants


def numbered(ids: Any) -> Rows:
    """A number per id, equal where the ids are."""
    import pyarrow.compute as pc

    return np.asarray(pc.rank(ids.combine_chunks(), tiebreaker="dense"), np.int64)
