"""One file opened as a table in DuckDB, with nothing else in reach."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .shapes import COLUMNS, Column

if TYPE_CHECKING:
    import duckdb

MEMORY = 768 << 20  # bytes that DuckDB may hold
_LOOKED_AT = 1 << 20  # bytes of a text that are looked at before DuckDB sees it
_LINE = 16 << 20  # bytes of one line
_POINTER = b"version https://git-lfs.github.com/spec/"
_NUMBERS = {
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
    "BIGNUM",
    "FLOAT",
    "DOUBLE",
    "FLOAT16",
}
_NESTED = re.compile(r"(?:STRUCT|MAP|UNION)\(|.*\[\d*\]$|VARIANT$|JSON$", re.DOTALL)


class NotReadable(Exception):
    """Why a file cannot be shown as a table, for whoever asked."""


@dataclass(frozen=True, slots=True)
class Table:
    connection: duckdb.DuckDBPyConnection
    source: str  # what stands after FROM: a call with constants only
    columns: tuple[Column, ...]
    note: str = ""

    def column(self, name: str) -> Column:
        """Raises NotReadable."""
        for column in self.columns:
            if column.name == name:
                return column
        raise NotReadable(f"the table has no column {name[:100]!r}")


def quoted(name: str) -> str:
    """An identifier of the table itself."""
    return '"' + name.replace('"', '""') + '"'


def kind_of(type_: str) -> str:
    if _NESTED.match(type_):
        return "nested"
    if type_ in _NUMBERS or type_.startswith("DECIMAL"):
        return "number"
    if type_ == "BOOLEAN":
        return "boolean"
    if type_.startswith(("DATE", "TIME")):
        return "time"
    return "bytes" if type_ in ("BLOB", "BIT", "GEOMETRY") else "text"


def connect(file: Path) -> duckdb.DuckDBPyConnection:
    """A database in memory that may read this one file and nothing else, and whose settings nobody can change any more."""
    import duckdb

    connection = duckdb.connect(":memory:", config={
        "threads": "2", "memory_limit": f"{MEMORY >> 20}MiB", "temp_directory": "", "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false", "allow_community_extensions": "false", "allow_unsigned_extensions": "false",
        "preserve_insertion_order": "true", "python_enable_replacements": "false",
    })  # fmt: skip
    connection.execute("SET allowed_paths = [" + _text(str(file)) + "]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def opened(file: Path, format_: str) -> Table:
    """Raises NotReadable."""
    import duckdb

    if format_ == "parquet":
        _check_parquet(file)
    else:
        _check_text(file, format_)
    connection = connect(file)
    try:
        return _described(connection, _source(file, format_, as_text=False), "")
    except (duckdb.ConversionException, duckdb.InvalidInputException):
        if format_ == "parquet":
            raise
        return _described(connection, _source(file, format_, as_text=True), "all columns are shown as text")


def reopened(table: Table, file: Path, format_: str) -> Table:
    """The same by types that all rows fit: further down it holds values that its first rows did not let one expect."""
    note = "" if format_ == "json" else "all columns are shown as text: further down, values do not fit the types of the first rows"
    return _described(table.connection, _source(file, format_, as_text=True), note)


def _source(file: Path, format_: str, *, as_text: bool) -> str:
    path = _text(str(file))
    packed = _text("gzip" if file.suffix == ".gz" else "none")
    if format_ == "parquet":
        return f"read_parquet({path})"
    if format_ == "json":
        shape = f"sample_size={-1 if as_text else 20480}, maximum_depth=6"
        return f"read_json({path}, format='auto', compression={packed}, maximum_object_size={_LINE}, convert_strings_to_integers=false, {shape})"
    how = "all_varchar=true" if as_text else "sample_size=20480"
    sign = ", delim='\t'" if format_ == "tsv" else ""
    return f"read_csv({path}, compression={packed}, max_line_size={_LINE}, {how}{sign})"


def _described(connection: duckdb.DuckDBPyConnection, source: str, note: str) -> Table:
    rows: list[Any] = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchmany(COLUMNS + 1)
    if len(rows) > COLUMNS:
        raise NotReadable(f"it has more than {COLUMNS:,} columns")
    return Table(connection, source, tuple(Column(str(row[0]), str(row[1]), kind_of(str(row[1]))) for row in rows), note)


def _check_parquet(file: Path) -> None:
    with file.open("rb") as content:
        start = content.read(128)
        content.seek(max(file.stat().st_size - 8, 0))
        end = content.read(8)
    if start.startswith(_POINTER):
        raise NotReadable("it is a Git LFS pointer, not the table itself")
    if start[:4] == b"PARE":
        raise NotReadable("it is encrypted")
    if start[:4] != b"PAR1" or end[4:] != b"PAR1" or int.from_bytes(end[:4], "little") > min(file.stat().st_size, 256 << 20):
        raise NotReadable("it is not a Parquet file, or it is cut off")


def _check_text(file: Path, format_: str) -> None:
    """What can be seen in the first bytes is told in plain words, before anything larger is set in motion."""
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as content:
            start = content.read(_LOOKED_AT)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise NotReadable("it is not gzip, or it is cut off") from None
    if start.startswith(_POINTER):
        raise NotReadable("it is a Git LFS pointer, not the table itself")
    if not start.strip():
        raise NotReadable("it is empty")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start:
        raise NotReadable("it is not UTF-8 text")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        raise NotReadable("it is not UTF-8 text") from None
    if format_ == "json":
        return
    line, newline, _ = start.partition(b"\n")
    if not newline and len(start) == _LOOKED_AT:
        raise NotReadable("its first line is longer than 1 MiB")
    if max(line.count(sign) for sign in (b",", b";", b"\t", b"|")) >= COLUMNS:
        raise NotReadable(f"it has more than {COLUMNS:,} columns")
