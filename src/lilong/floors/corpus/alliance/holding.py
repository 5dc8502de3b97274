"""How many documents of a version are what somebody wants taken down. Pure, over its Parquet files.

A document that was dropped as a duplicate still stands there by the one that speaks for its cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any

from lilong.floors.corpus.contract import Without

if TYPE_CHECKING:
    import pyarrow as pa

Opened = Callable[[str], str | IO[bytes]]
"""path in the revision -> the file, or its path on this machine."""
_DECISIONS = "tables/decisions.parquet"


def count(what: Without, contributors: list[str], paths: Iterable[str], opened: Opened) -> int:
    """Kept documents that are `what`: a document with its duplicates, a source's, or a contributor's. `contributors`: the version's, by
    which one that was made before documents had theirs is judged."""
    import pyarrow.compute as pc

    found = set(paths)
    data = sorted(path for path in found if path.startswith("data/") and path.endswith(".parquet"))
    if what.documents:
        wanted = cluster(what.documents[0], "tables/clusters.parquet" in found, opened)
        return sum(_rows(opened(path), ["id"], [("id", "in", wanted)]).num_rows for path in data)
    column, names = ("source", what.sources) if what.sources else ("contributor", what.contributors)
    number = 0
    for path in data:
        table = _column(opened(path), column)
        if column in table.column_names:
            number += int(pc.sum(pc.is_in(table.column(column), value_set=_strings(names))).as_py() or 0)
        elif set(contributors) & set(names):
            number += table.num_rows
    return number


def given(document: str, sources: Iterable[str], paths: Iterable[str], opened: Opened) -> bool:
    """Whether one of these sources of a version gave a document, whichever of its copies was kept. True where no table tells."""
    if _DECISIONS not in set(paths):
        return True
    found = _rows(opened(_DECISIONS), ["source"], [("id", "=", document)]).column("source").to_pylist()
    return not found or not set(found).isdisjoint(sources)


def counted(what: Without, sources: Iterable[Mapping[str, Any]]) -> int | None:
    """The same where the files are gone, by what the version's figures say of its sources. None for a document: only the files know these."""
    if what.documents:
        return None
    column, names = ("name", what.sources) if what.sources else ("contributor", what.contributors)
    return sum(int(one["documents"]) for one in sources if one.get(column) in names)


def cluster(document: str, has_clusters: bool, opened: Opened) -> list[str]:
    """The ids of a document and of all its duplicates."""
    if not has_clusters:
        return [document]
    own = _rows(opened("tables/clusters.parquet"), ["cluster"], [("id", "=", document)])
    if not own.num_rows:
        return [document]
    name = own.column("cluster")[0].as_py()
    members = _rows(opened("tables/clusters.parquet"), ["id"], [("cluster", "=", name)]).column("id").to_pylist()
    return sorted({document, *members})


def _rows(file: str | IO[bytes], columns: list[str], filters: list[tuple[str, str, Any]]) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(file, columns=columns, filters=filters)


def _column(file: str | IO[bytes], name: str) -> pa.Table:
    """One column, or the first one where there is none of this name."""
    import pyarrow.parquet as pq

    opened = pq.ParquetFile(file)
    names = opened.schema_arrow.names
    return opened.read(columns=[name] if name in names else names[:1])


def _strings(names: list[str]) -> pa.Array:
    import pyarrow as pa

    return pa.array(names, pa.string())
