"""The documents of a version, split by family, and its clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lilong.floors.corpus.curation import licences, split
from lilong.floors.corpus.curation.versions.families import batches
from lilong.floors.corpus.curation.writing.tables import TableFile

SHARD_BYTES = 256 << 20
"""Text per Parquet file."""
GROUP_BYTES = 8 << 20
"""Text per row group: what opening one document reads."""
DOCUMENT = (
    "id", "text", "source", "uri", "language", "licence", "format", "cluster", "family", "contributor", "retrieved_at", "transforms",
)  # fmt: skip
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Split:
    """For each document (sorted by id) its id, the first row of its family, and whether it is held out."""

    ids: pa.Array
    family: npt.NDArray[np.int64]
    held: Mask

    @classmethod
    def of(cls, documents: Path, family: npt.NDArray[np.int64], held_out: float, seed: int) -> Split:
        """About a share `held_out` of the families, whole ones."""
        ids = pq.read_table(documents, columns=["id"]).column("id").combine_chunks()
        roots, inverse = np.unique(family, return_inverse=True)
        chosen = split.held_out(ids.take(pa.array(roots)).to_pylist(), held_out, seed)
        return cls(ids, family, np.array(chosen, bool)[inverse])

    def clusters(self, alike: pa.Table) -> pa.Table:
        """Rows of clusters.parquet with the family and the split of the document that speaks for them."""
        place = pc.index_in(alike.column("representative"), self.ids).combine_chunks()
        side = pa.array(np.where(self.held, "heldout", "train").tolist(), pa.string())
        return alike.append_column("family", self.ids.take(pa.array(self.family).take(place))).append_column("split", side.take(place))


@dataclass(slots=True)
class Written:
    """What stands in data/, counted, and of each document its id, source and bytes."""

    splits: dict[str, Counter[str]]  # train, heldout -> documents, bytes, families
    sizes: Counter[tuple[str, str]] = field(default_factory=Counter)  # column, value -> bytes
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # column, value -> documents
    rows: list[pa.Table] = field(default_factory=list)

    def count(self, documents: pa.Table) -> None:
        sizes = pc.binary_length(documents.column("text")).cast(pa.int64())
        self.rows.append(pa.table({"id": documents.column("id"), "source": documents.column("source"), "bytes": sizes}))
        for name in ("licence", "language"):
            sums = pa.table({name: documents.column(name), "bytes": sizes}).group_by(name).aggregate([("bytes", "sum"), ([], "count_all")])
            for row in sums.to_pylist():
                self.sizes[name, row[name]] += row["bytes_sum"]
                self.counts[name, row[name]] += row["count_all"]


def write(documents: Path, folder: Path, found: Split, contributors: Mapping[str, str], steps: Sequence[str]) -> Written:
    """Write data/train-*.parquet and data/heldout-*.parquet. `contributors`: by source; `steps`: what is done to every text after it was read."""
    sides = {"train": ~found.held, "heldout": found.held}
    written = Written(
        {name: Counter(documents=int(side.sum()), families=len(np.unique(found.family[side]))) for name, side in sides.items()}
    )
    shards = {name: _Shards(folder, name) for name in sides}
    names, givers = pa.array(list(contributors), pa.string()), pa.array(list(contributors.values()), pa.string())
    start = 0
    for table in batches(documents, pq.read_schema(documents).names):
        end = start + len(table)
        columns = {name: table.column(name) for name in table.column_names} | {
            "licence": pc.fill_null(table.column("licence"), licences.NO_ASSERTION),
            "family": found.ids.take(pa.array(found.family[start:end])),
            "contributor": givers.take(pc.index_in(table.column("source").combine_chunks(), names)),
            "transforms": pc.binary_join_element_wise(table.column("transforms"), *steps, ">"),
        }
        whole = pa.table({name: columns[name] for name in DOCUMENT})
        written.count(whole)
        for name, side in sides.items():
            written.splits[name]["bytes"] += shards[name].write(whole.filter(pa.array(side[start:end])))
        start = end
    for one in shards.values():
        one.close()
    return written


class _Shards:
    """data/<split>-00000.parquet and on. A split without documents has no file."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._open: TableFile | None = None
        self._number = self._bytes = 0

    def write(self, table: pa.Table) -> int:
        """Answers the bytes of text."""
        if not len(table):
            return 0
        if self._open is None:
            path = self._folder / f"{self._name}-{self._number:05d}.parquet"
            self._open = TableFile(path, sized="text", group=GROUP_BYTES)
            self._number, self._bytes = self._number + 1, 0
        self._open.write(table)
        size = int(pc.sum(pc.binary_length(table.column("text"))).as_py())
        self._bytes += size
        if self._bytes >= SHARD_BYTES:
            self.close()
        return size

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
