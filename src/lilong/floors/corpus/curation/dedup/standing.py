"""The standing corpus: what is there already, on disk, so that a contribution is compared with all of it in the time of its own size.

A folder of immutable files that are called by their sha256, memory-mapped when read:

    HEAD                     the digest of the manifest in force
    objects/<digest>         a manifest (JSON), or an Arrow file: rows, bands or components

A *segment* is documents in the order of (id, source, uri) (`rows`), and per band their keys in ascending order with the row of each
(`bands`; 12 bytes a key). `components` names for each row of all segments in turn the first row of its cluster. A contribution becomes a
segment; the last two are merged while the last is more than half of the one before, so there are few segments, and a document is
rewritten about log2 n times. Adding A and then B gives the table of clusters of adding both at once, and `compact` gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lilong.floors.corpus.curation.dedup import clusters, kernels
from lilong.floors.corpus.curation.dedup.clusters import KEY, Keys, Preference, Rows
from lilong.floors.corpus.curation.dedup.minhash import Banding
from lilong.floors.corpus.curation.runs import durable
from lilong.floors.corpus.curation.runs.progress import size
from lilong.ground.errors import BadInput, Conflict, Corrupt

FORMAT = "lilong-standing-1"


class OtherBanding(Conflict):
    """The standing corpus in {folder} was made with {theirs}, not {ours}. Use its banding, or a folder of its own for another."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a set of documents would add, or has added. Each document is counted once, in the first line that fits."""

    documents: int = 0
    bytes: int = 0
    exact_documents: int = 0  # the same text is in the standing corpus
    exact_bytes: int = 0
    near_documents: int = 0  # in one cluster with a document of the standing corpus
    near_bytes: int = 0
    repeated_documents: int = 0  # not there yet, but the same as, or near to, another document of the contribution
    repeated_bytes: int = 0

    @property
    def share(self) -> float:
        """The share of the bytes that is in the standing corpus already, exactly or nearly."""
        return (self.exact_bytes + self.near_bytes) / self.bytes if self.bytes else 0.0

    @property
    def new_bytes(self) -> int:
        """Bytes that no document of the standing corpus, and no earlier one of the contribution, has."""
        return self.bytes - self.exact_bytes - self.near_bytes - self.repeated_bytes

    def sentence(self) -> str:
        exact, near = (f"{part / max(1, self.bytes):.0%}" for part in (self.exact_bytes, self.near_bytes))
        return f"{self.share:.0%} of your {size(self.bytes)} is already here: {exact} word for word, {near} nearly; {size(self.new_bytes)} are new."


@dataclass(frozen=True, slots=True)
class _Segment:
    rows: str  # digests
    bands: str
    count: int


@dataclass(frozen=True, slots=True)
class _Manifest:
    banding: Banding
    segments: tuple[_Segment, ...]
    components: str

    def canonical(self) -> bytes:
        value = {"format": FORMAT, **asdict(self)}
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@dataclass(slots=True)
class _Joined:
    """A contribution put beside the standing corpus: its new rows in order, their bands, and the clusters of everything."""

    rows: pa.Table
    bands: list[tuple[Keys, npt.NDArray[np.uint32]]]
    parent: Rows
    contribution: Contribution


@dataclass(slots=True)
class Standing:
    """A standing corpus in a folder, which is made when first written. Raises OtherBanding, Corrupt."""

    folder: Path
    banding: Banding = field(default_factory=Banding)

    @property
    def version(self) -> str | None:
        """The digest of the manifest in force; it names the corpus, down to the byte. None while there is nothing."""
        head = self.folder / "HEAD"
        return head.read_text().strip() if head.exists() else None

    def __len__(self) -> int:
        return sum(segment.count for segment in self._manifest().segments)

    def compare(self, documents: pa.Table, keys: Keys) -> Contribution:
        """What `add` would answer, without adding."""
        return self._join(self._manifest(), documents, keys).contribution

    def add(self, documents: pa.Table, keys: Keys) -> Contribution:
        """Add documents (id, source, uri, bytes, and columns that a preference may ask for), with their (n, bands) keys.

        A document that is there already under the same id, source and uri is not added again. Raises AlreadyRunning if another
        process is adding.
        """
        (self.folder / "objects").mkdir(parents=True, exist_ok=True)
        with durable.alone(self.folder):
            durable.sweep(self.folder / "objects")
            manifest = self._manifest()
            joined = self._join(manifest, documents, keys)
            if joined.rows.num_rows:
                segments = [*manifest.segments, self._keep(joined.rows, joined.bands)]
                parent = joined.parent
                while len(segments) > 1 and segments[-2].count < 2 * segments[-1].count:
                    segments, parent = self._merge(segments, parent)
                self._commit(segments, parent)
            return joined.contribution

    def compact(self) -> str | None:
        """Merge all segments. The version that this answers depends on the documents alone, not on when each came."""
        (self.folder / "objects").mkdir(parents=True, exist_ok=True)
        with durable.alone(self.folder):
            manifest = self._manifest()
            segments, parent = list(manifest.segments), self._components(manifest)
            while len(segments) > 1:
                segments, parent = self._merge(segments, parent)
            if len(manifest.segments) > 1:
                self._commit(segments, parent)
        return self.version

    def remove(self, ids: Sequence[str]) -> int:
        """Take all documents with these ids out; answers how many there were. What is left is clustered anew, for a document may have
        been all that held a cluster together. Earlier versions stay readable on disk until `tidy`."""
        with durable.alone(self.folder):
            manifest = self._manifest()
            rows, keys = self._everything(manifest)
            stay = ~np.asarray(pc.is_in(rows.column("id"), pa.array(list(ids), pa.string())), bool)
            gone = len(stay) - int(stay.sum())
            if gone:
                joined = self._join(_Manifest(self.banding, (), ""), rows.filter(pa.array(stay)), keys[stay])
                self._commit([self._keep(joined.rows, joined.bands)] if stay.any() else [], joined.parent)
            return gone

    def tidy(self) -> int:
        """Delete the files that only earlier versions need; answers how many."""
        with durable.alone(self.folder):
            manifest = self._manifest()
            needed = {self.version, manifest.components, *(name for one in manifest.segments for name in (one.rows, one.bands))}
            spare = [file for file in (self.folder / "objects").iterdir() if file.name not in needed]
            for file in spare:
                file.unlink()
            return len(spare)

    def table(self, prefer: Sequence[Preference] = ()) -> pa.Table:
        """The table of clusters (clusters.CLUSTER_COLUMNS), as `clusters.cluster` would answer for all documents at once."""
        manifest = self._manifest()
        rows, keys = self._everything(manifest)
        order = clusters.in_order(rows)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        component = _renamed(self._components(manifest), place)
        return clusters.tabulate(rows.take(pa.array(order)), component, self.banding.bands, lambda number: keys[order, number], prefer)

    def _everything(self, manifest: _Manifest) -> tuple[pa.Table, Keys]:
        """All rows, segment after segment, with ids in hexadecimal; and their keys."""
        rows = _stacked([self._rows(segment) for segment in manifest.segments]) if manifest.segments else _empty()
        keys, base = np.zeros((rows.num_rows, self.banding.bands), np.uint64), 0
        for segment in manifest.segments:
            for number in range(self.banding.bands):
                band, at = self._band(segment, number)
                keys[base + at.astype(np.int64), number] = band
            base += segment.count
        return rows.set_column(0, "id", _hex(rows.column("id"))), keys

    def _manifest(self) -> _Manifest:
        version = self.version
        if version is None:
            return _Manifest(self.banding, (), "")
        value = json.loads((self.folder / "objects" / version).read_bytes())
        if value.get("format") != FORMAT:
            raise Corrupt(place=str(self.folder), problem=f"its format is {value.get('format')!r}, which is not known here")
        manifest = _Manifest(Banding(**value["banding"]), tuple(_Segment(**one) for one in value["segments"]), value["components"])
        if manifest.banding != self.banding:
            raise OtherBanding(folder=self.folder, theirs=manifest.banding, ours=self.banding)
        return manifest

    def _join(self, manifest: _Manifest, documents: pa.Table, keys: Keys) -> _Joined:
        ordered, keys = _checked(documents, keys, self.banding)
        old = self._components(manifest)
        given, there = _ids(ordered.column("id")), np.zeros(len(keys), bool)
        known = np.zeros(len(keys), bool)
        base = 0
        matches: list[tuple[Rows, Rows]] = []  # rows of the contribution, rows of the standing corpus
        for segment in manifest.segments:
            rows = self._rows(segment)
            mine, theirs = _equal_ids(given, _ids(rows.column("id")))
            there[mine] = True
            known[mine] |= _same_occurrence(ordered, rows, mine, theirs)
            matches.append((mine, base + theirs))
            base += segment.count
        repeated = _repeats(ordered)
        fresh = np.flatnonzero(~known & ~repeated)
        where = np.full(len(keys), -1)
        where[fresh] = base + np.arange(len(fresh))
        parent = np.concatenate([old, base + np.arange(len(fresh))])
        again = fresh[1:][(given[fresh[1:]] == given[fresh[:-1]]).all(axis=1)] if len(fresh) else fresh
        kernels.join_pairs(where[again] - 1, where[again], parent)
        for mine, theirs in matches:
            new = where[mine] >= 0
            kernels.join_pairs(np.ascontiguousarray(theirs[new]), where[mine][new], parent)
        bands = [self._join_band(manifest, number, keys[fresh, number], base, parent) for number in range(self.banding.bands)]
        kernels.flatten(parent)
        return _Joined(ordered.take(pa.array(fresh)), bands, parent, _contribution(ordered, there, known | repeated, where, parent, base))

    def _join_band(self, manifest: _Manifest, number: int, keys: Keys, base: int, parent: Rows) -> tuple[Keys, npt.NDArray[np.uint32]]:
        order = np.argsort(keys, kind="stable")
        order = order[np.searchsorted(keys, np.uint64(1), sorter=order) :]
        ordered = keys[order]
        again = np.flatnonzero(ordered[1:] == ordered[:-1])
        kernels.join_pairs(base + order[again], base + order[again + 1], parent)
        unique, first = np.unique(ordered, return_index=True)
        start = 0
        for segment in manifest.segments:
            theirs, rows = self._band(segment, number)
            at = np.searchsorted(theirs, unique)
            hit = np.flatnonzero(theirs[np.minimum(at, len(theirs) - 1)] == unique) if len(theirs) else np.zeros(0, np.int64)
            kernels.join_pairs(start + rows[at[hit]].astype(np.int64), base + order[first[hit]], parent)
            start += segment.count
        return ordered, order.astype(np.uint32)

    def _merge(self, segments: list[_Segment], parent: Rows) -> tuple[list[_Segment], Rows]:
        """The last two segments as one."""
        one, two = segments[-2:]
        rows = _stacked([self._rows(one), self._rows(two)])
        order = clusters.in_order(rows)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        bands = []
        for number in range(self.banding.bands):
            (left, left_rows), (right, right_rows) = self._band(one, number), self._band(two, number)
            keys = np.concatenate([left, right])
            at = place[np.concatenate([left_rows.astype(np.int64), one.count + right_rows.astype(np.int64)])]
            sorting = np.lexsort((at, keys))
            bands.append((keys[sorting], at[sorting].astype(np.uint32)))
        before = len(parent) - len(order)
        moved = np.concatenate([np.arange(before), before + place])
        return [*segments[:-2], self._keep(rows.take(pa.array(order)), bands)], _renamed(parent, moved)

    def _keep(self, rows: pa.Table, bands: Sequence[tuple[Keys, npt.NDArray[np.uint32]]]) -> _Segment:
        columns: dict[str, Any] = {}
        for number, (keys, at) in enumerate(bands):
            columns |= {f"key_{number}": pa.array(keys), f"row_{number}": pa.array(at)}
        return _Segment(self._write(rows), self._write(pa.table(columns)), rows.num_rows)

    def _commit(self, segments: Sequence[_Segment], parent: Rows) -> None:
        manifest = _Manifest(self.banding, tuple(segments), self._write(pa.table({"component": parent})))
        name = durable.write_named(self.folder / "objects", lambda file: _whole(file, manifest.canonical()))
        durable.write(self.folder / "HEAD", lambda file: _whole(file, name.encode() + b"\n"))

    def _write(self, table: pa.Table) -> str:
        def fill(file: Any) -> None:
            whole = table.combine_chunks().replace_schema_metadata(None)
            with pa.ipc.new_file(file, whole.schema) as writer:
                writer.write_table(whole)

        return durable.write_named(self.folder / "objects", fill)

    def _read(self, digest: str) -> pa.Table:
        try:
            return pa.ipc.open_file(pa.memory_map(str(self.folder / "objects" / digest))).read_all()
        except (OSError, pa.ArrowInvalid) as wrong:
            raise Corrupt(place=str(self.folder / "objects" / digest), problem=str(wrong)) from wrong

    def _rows(self, segment: _Segment) -> pa.Table:
        return self._read(segment.rows)

    def _band(self, segment: _Segment, number: int) -> tuple[Keys, npt.NDArray[np.uint32]]:
        table = self._read(segment.bands)
        return np.asarray(table.column(f"key_{number}")), np.asarray(table.column(f"row_{number}"))

    def _components(self, manifest: _Manifest) -> Rows:
        return np.asarray(self._read(manifest.components).column("component")) if manifest.segments else np.zeros(0, np.int64)


def _empty() -> pa.Table:
    return pa.table(
        {
            "id": pa.array([], pa.binary(32)),
            "source": pa.array([], pa.string()),
            "uri": pa.array([], pa.string()),
            "bytes": pa.array([], pa.int64()),
        }
    )


def _stacked(tables: Sequence[pa.Table]) -> pa.Table:
    """Rows below rows; what a contribution does not say of its documents is null."""
    names = sorted({name for table in tables for name in table.column_names} - {*KEY, "bytes"})
    return pa.concat_tables(tables, promote_options="default").select([*KEY, "bytes", *names]).combine_chunks()


def _whole(file: Any, content: bytes) -> None:
    file.write(content)


def _checked(documents: pa.Table, keys: Keys, banding: Banding) -> tuple[pa.Table, Keys]:
    """Documents in order, with ids of 32 bytes, plain columns and their keys."""
    missing = [name for name in (*KEY, "bytes") if name not in documents.column_names]
    if missing or keys.shape != (documents.num_rows, banding.bands):
        problem = (
            f"the column '{missing[0]}' is missing" if missing else f"the keys are {keys.shape}, not {(documents.num_rows, banding.bands)}"
        )
        raise BadInput(field="documents", problem=problem, way_out="Give id, source, uri, bytes, and one row of keys for each document.")
    order = clusters.in_order(documents)
    rest = sorted(set(documents.column_names) - {*KEY, "bytes"})
    taken = documents.select([*KEY, "bytes", *rest]).take(pa.array(order))
    for place, name in enumerate(taken.column_names):
        if name == "id":
            taken = taken.set_column(place, "id", _packed(taken.column("id")))
        elif name in KEY:
            taken = taken.set_column(place, name, taken.column(name).cast(pa.string()))
    return taken.combine_chunks(), keys[order]


def _packed(column: Any) -> pa.Array:
    try:
        return pa.array([bytes.fromhex(one) for one in column.to_pylist()], pa.binary(32))
    except (ValueError, TypeError, pa.ArrowInvalid) as wrong:
        raise BadInput(field="id", problem="some are not 64 hexadecimal digits", way_out="Give the sha256 of each text.") from wrong


def _ids(column: Any) -> npt.NDArray[np.uint64]:
    """(n, 4): the 32 bytes of each id as big-endian numbers, so that the first column is in the order of the ids."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not len(array):
        return np.zeros((0, 4), np.uint64)
    flat = np.frombuffer(array.buffers()[1], ">u8", 4 * len(array), 32 * array.offset)
    return flat.reshape(-1, 4).astype(np.uint64)


def _hex(column: Any) -> pa.Array:
    return pa.array([one.hex() for one in column.to_pylist()], pa.string())


def _equal_ids(mine: npt.NDArray[np.uint64], theirs: npt.NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """For each of my rows whose id is there: its row, and the first there with that id. Both are sorted."""
    at = np.searchsorted(theirs[:, 0], mine[:, 0])
    rows = np.flatnonzero(at < len(theirs))
    while True:  # more than once only where ids share their first 64 bits without being equal
        rows = rows[(at[rows] < len(theirs)) & (theirs[np.minimum(at[rows], len(theirs) - 1), 0] == mine[rows, 0])]
        differ = (theirs[at[rows]] != mine[rows]).any(axis=1)
        if not differ.any():
            return rows, at[rows]
        at[rows[differ]] += 1


def _same_occurrence(ordered: pa.Table, rows: pa.Table, mine: Rows, theirs: Rows) -> npt.NDArray[np.bool_]:
    """Which of my rows stand there under the same id, source and uri."""
    if not len(mine):
        return np.zeros(0, bool)
    ids = _ids(rows.column("id"))
    starts = np.unique(theirs)
    same = (ids[1:] == ids[:-1]).all(axis=1) if len(ids) else np.zeros(0, bool)
    ends = np.append(np.flatnonzero(~same), len(ids) - 1)
    ends = ends[np.searchsorted(ends, starts)] + 1
    candidates = np.concatenate([np.arange(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)])
    return np.asarray(pc.is_in(_occurrence(ordered.take(pa.array(mine))), _occurrence(rows.take(pa.array(candidates)))), bool)


def _occurrence(rows: pa.Table) -> pa.Array:
    parts = [rows.column(name).combine_chunks().cast(pa.large_binary()) for name in KEY]
    return pc.binary_join_element_wise(*parts, pa.scalar(b"\0", pa.large_binary()))


def _repeats(ordered: pa.Table) -> npt.NDArray[np.bool_]:
    """Rows that name the same document as the row before."""
    names = _occurrence(ordered)
    if len(names) < 2:
        return np.zeros(len(names), bool)
    return np.concatenate([[False], np.asarray(pc.equal(names.slice(1), names.slice(0, len(names) - 1)), bool)])


def _renamed(parent: Rows, place: Rows) -> Rows:
    """The components of rows that have moved to `place`, each named by its least row again."""
    least = np.full(len(parent), len(parent))
    np.minimum.at(least, parent, place)
    answer = np.empty_like(parent)
    answer[place] = least[parent]
    return answer


def _contribution(
    ordered: pa.Table, there: npt.NDArray[np.bool_], skipped: npt.NDArray[np.bool_], where: Rows, parent: Rows, base: int
) -> Contribution:
    sizes = np.asarray(ordered.column("bytes"), np.int64)
    fresh = where >= 0
    root = np.where(fresh, parent[where] if len(parent) else where, -1)
    exact = there
    near = fresh & ~exact & (root < base)
    repeated = ~exact & ~near & (skipped | (fresh & (root != where)))
    counts = [(int(part.sum()), int(sizes[part].sum())) for part in (np.ones(len(sizes), bool), exact, near, repeated)]
    return Contribution(*(number for pair in counts for number in pair))
