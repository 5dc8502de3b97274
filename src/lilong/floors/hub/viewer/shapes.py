"""What is asked of a table, and what is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ROWS = 100  # of one page
COLUMNS = 1000  # of a table that is shown at all
CELL = 1000  # characters of one cell
PAGE = 4 << 20  # characters of all cells of one page
SEARCHED = 200  # characters of what is looked for

_FORMATS = {
    ".parquet": "parquet", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "tsv",
}  # fmt: skip


def format_of(path: str) -> str:
    """parquet, json, csv or tsv by the file's name (`.gz` behind all but Parquet); empty for anything else."""
    name = path.rsplit("/", 1)[-1].lower()
    plain = name.removesuffix(".gz")
    found = next((word for end, word in _FORMATS.items() if plain.endswith(end)), "")
    return "" if found == "parquet" and plain != name else found


def suffix_of(path: str) -> str:
    """A name for the file where it is laid down: none of the user's own characters."""
    return ".gz" if path.lower().endswith(".gz") else ""


@dataclass(frozen=True, slots=True)
class TableFile:
    path: str
    size: int  # bytes
    format: str  # parquet | json | csv | tsv


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str  # as DuckDB writes it
    kind: str  # number | text | boolean | time | bytes | nested


@dataclass(frozen=True, slots=True)
class Schema:
    file: str
    format: str
    rows: int | None  # None: nobody has counted them
    columns: tuple[Column, ...]
    note: str = ""  # what had to be done to read it


@dataclass(frozen=True, slots=True)
class Row:
    number: int  # from 0, in the file's own order
    cells: tuple[Any, ...]  # plain JSON values
    truncated: tuple[str, ...] = ()  # columns whose cell is longer than is shown


@dataclass(frozen=True, slots=True)
class Page:
    file: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    offset: int
    more: bool  # there are rows after these
    total: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between edges of equal width; one edge more than counts."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Top:
    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of texts in characters, of lists in items."""

    minimum: int
    maximum: int
    mean: float


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    name: str
    type: str
    kind: str
    nulls: int
    distinct: int | None = None  # about (HyperLogLog)
    minimum: Any = None
    maximum: Any = None
    mean: float | None = None
    deviation: float | None = None
    median: float | None = None  # about (t-digest)
    histogram: Histogram | None = None
    top: tuple[Top, ...] = ()
    lengths: Lengths | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    file: str
    rows: int  # that were looked at
    partial: bool  # the file has more of them
    columns: tuple[ColumnStatistics, ...]
    columns_left_out: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """`verb`: schema | rows | search | statistics. `sort`: a column's name, with `-` before it from the largest down."""

    verb: str
    format: str
    size: int  # bytes of the file
    offset: int = 0
    limit: int = ROWS
    query: str = ""
    sort: str = ""
