"""Questions put to an open table, as SQL that holds no word of whoever asks: values are parameters, names are the table's own."""

from __future__ import annotations

import datetime
import json
import math
from decimal import Decimal
from typing import Any

from .shapes import CELL, PAGE, ROWS, Column, Question
from .table import NotReadable, Table, quoted

_COUNTED = 64 << 20  # bytes of a text whose rows are counted at once
_SAMPLE_OF_PARQUET, _SAMPLE, _SMALL_SAMPLE = 1_000_000, 200_000, 10_000  # rows that statistics take in
_DETAILED = 64  # columns that have a histogram and most frequent values
_SHOWN = 300  # columns that have statistics
_BINS = 20
_TOP = 10
_FEW = 10_000  # different values of which the most frequent are looked for
_VALUE = 200  # characters of such a value


def answer(table: Table, question: Question) -> dict[str, Any]:
    if question.verb == "schema":
        return _schema(table, question)
    if question.verb == "statistics":
        return _statistics(table, question)
    return _page(table, question)


def _columns(table: Table) -> list[dict[str, str]]:
    return [{"name": column.name, "type": column.type, "kind": column.kind} for column in table.columns]


def _schema(table: Table, question: Question) -> dict[str, Any]:
    return {"format": question.format, "rows": _total(table, question), "columns": _columns(table), "note": table.note}


def _total(table: Table, question: Question) -> int | None:
    if question.format != "parquet" and question.size > _COUNTED:
        return None
    row = table.connection.execute(f"SELECT count(*) FROM {table.source}").fetchone()
    return int(row[0]) if row else None


# --- rows ---------------------------------------------------------------------------------------------------------------


def _selected(column: Column) -> str:
    name = quoted(column.name)
    if column.kind == "bytes":
        return (
            f"CAST(octet_length({name}) AS VARCHAR) || ' bytes' AS {name}"
            if column.type == "BLOB"
            else f"CAST({name} AS VARCHAR) AS {name}"
        )
    # Times with zones need a package that is not here, and what is long is cut where it lies.
    if "TIME ZONE" in column.type or column.kind == "time":
        return f"CAST({name} AS VARCHAR) AS {name}"
    return f"left(CAST({name} AS VARCHAR), {CELL + 1}) AS {name}" if column.kind == "text" else name


def _page(table: Table, question: Question) -> dict[str, Any]:
    number = "row"
    while any(column.name.lower() == number for column in table.columns):
        number += "_"
    cells = ", ".join(_selected(column) for column in table.columns)
    limit = min(question.limit, ROWS)
    given: dict[str, Any] = {"limit": limit + 1, "offset": question.offset}
    where = ""
    if question.verb == "search":
        texts = [column for column in table.columns if column.kind == "text"]
        if not texts:
            raise NotReadable("it has no column of texts to search in")
        where = " WHERE " + " OR ".join(f"contains(lower(CAST({quoted(column.name)} AS VARCHAR)), lower($q))" for column in texts)
        given["q"] = question.query
    order = ""
    if question.sort:
        column = table.column(question.sort.removeprefix("-"))
        order = f" ORDER BY {quoted(column.name)} {'DESC' if question.sort.startswith('-') else 'ASC'} NULLS LAST, {quoted(number)}"
    numbered = (
        f"(SELECT row_number() OVER () - 1 AS {quoted(number)}, * FROM {table.source})"
        if where or order
        else f"(SELECT 0 AS {quoted(number)}, * FROM {table.source})"
    )
    sql = f"SELECT {quoted(number)}, {cells} FROM {numbered}{where}{order} LIMIT $limit OFFSET $offset"
    rows = table.connection.execute(sql, given).fetchall()
    most = max(min(CELL, PAGE // max(len(rows) * len(table.columns), 1)), 16)
    shown = []
    for at, (place, *values) in enumerate(rows[:limit]):
        pairs = [
            _cell(_parsed(value) if column.type == "JSON" else value, most) for column, value in zip(table.columns, values, strict=True)
        ]
        cut = [column.name for column, (_, whole) in zip(table.columns, pairs, strict=True) if not whole]
        shown.append(
            {"number": int(place) if where or order else question.offset + at, "cells": [value for value, _ in pairs], "truncated": cut}
        )
    total = None if where else _total(table, question)
    return {
        "columns": _columns(table),
        "rows": shown,
        "offset": question.offset,
        "more": len(rows) > limit,
        "total": total,
        "note": table.note,
    }


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return value


def _cell(value: Any, most: int) -> tuple[Any, bool]:
    """As JSON can hold it, and whether it is all there. Nested values that are too long become the beginning of their text."""
    plain = _plain(value)
    if isinstance(plain, str):
        return plain[:most], len(plain) <= most
    if isinstance(plain, list | dict):
        text = json.dumps(plain, ensure_ascii=False)
        return (plain, True) if len(text) <= most else (text[:most], False)
    return plain, True


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)  # JavaScript would round it
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.datetime | datetime.time):
        return value.isoformat()
    return str(value)


# --- statistics ---------------------------------------------------------------------------------------------------------


def _statistics(table: Table, question: Question) -> dict[str, Any]:
    """Of the first rows: all of a million in Parquet, where columns are read alone; else as many as memory holds."""
    import duckdb

    if question.format == "parquet":
        return _statistics_of(table, question, _SAMPLE_OF_PARQUET)
    try:
        return _statistics_of(table, question, _SAMPLE)
    except duckdb.OutOfMemoryException:
        return _statistics_of(table, question, _SMALL_SAMPLE)


def _statistics_of(table: Table, question: Question, most: int) -> dict[str, Any]:
    run = table.connection.execute
    columns = table.columns[:_SHOWN]
    names = ", ".join(quoted(column.name) for column in columns)
    sample = f"(SELECT {names} FROM {table.source} LIMIT {most})"
    if question.format == "parquet":
        partial = (_total(table, question) or 0) > most
    else:  # a text is read once, and then held
        run(f"CREATE OR REPLACE TEMP TABLE sample AS SELECT {names} FROM {table.source} LIMIT {most + 1}")
        row = run("SELECT count(*) FROM sample").fetchone()
        partial = row is not None and int(row[0]) > most
        sample = f"(SELECT * FROM sample LIMIT {most})"
    expressions = [expression for column in columns for expression in _aggregates(column)]
    row = run(f"SELECT count(*), {', '.join(expressions)} FROM {sample}").fetchone()
    assert row is not None
    count, values = int(row[0]), list(row[1:])
    shown = []
    for at, column in enumerate(columns):
        found = _of_column(column, count, values[at * _EACH : (at + 1) * _EACH])
        if at < _DETAILED:
            found |= _details(table, sample, column, found)
        shown.append(found)
    return {"rows": count, "partial": partial, "columns": shown, "columns_left_out": len(table.columns) - len(columns), "note": table.note}


_EACH = 10  # values of each column


def _aggregates(column: Column) -> list[str]:
    """Not null, distinct, minimum, maximum, mean, deviation, median, lengths (minimum, maximum, mean)."""
    name = quoted(column.name)
    basic = [f"count({name})", f"approx_count_distinct({name})"]
    none = ["NULL"]
    if column.kind == "number":
        real = f"CAST({name} AS DOUBLE)"
        finite = f"FILTER (WHERE isfinite({real}) AND abs({real}) < 1e150)"
        return [*basic, f"min({name})", f"max({name})", *(f"{function}({real}) {finite}" for function in ("avg", "stddev_samp")),
                f"approx_quantile({real}, 0.5) {finite}", *none * 3]  # fmt: skip
    if column.kind == "text":
        text = f"CAST({name} AS VARCHAR)"
        ends = [f"{end}(left({text}, {_VALUE}))" for end in ("min", "max")]
        return [*basic, *ends, *none * 3, f"min(length({text}))", f"max(length({text}))", f"avg(length({text}))"]
    if column.kind in ("time", "boolean"):
        return [*basic, f"CAST(min({name}) AS VARCHAR)", f"CAST(max({name}) AS VARCHAR)", *none * 6]
    if column.kind == "bytes" and column.type == "BLOB":
        return [basic[0], *none * 6, *(f"{function}(octet_length({name}))" for function in ("min", "max", "avg"))]
    if column.type.endswith("[]"):
        return [basic[0], *none * 6, *(f"{function}(len({name}))" for function in ("min", "max", "avg"))]
    return [basic[0], *none * 9]


def _of_column(column: Column, count: int, values: list[Any]) -> dict[str, Any]:
    filled, distinct, minimum, maximum, mean, deviation, median, shortest, longest, length = (_plain(value) for value in values)
    lengths = None if shortest is None else {"minimum": shortest, "maximum": longest, "mean": length}
    return {
        "name": column.name, "type": column.type, "kind": column.kind, "nulls": count - filled,
        "distinct": None if distinct is None else min(distinct, filled), "minimum": minimum, "maximum": maximum,
        "mean": mean, "deviation": deviation, "median": median, "lengths": lengths, "histogram": None, "top": [],
    }  # fmt: skip


def _details(table: Table, sample: str, column: Column, found: dict[str, Any]) -> dict[str, Any]:
    name = quoted(column.name)
    made: dict[str, Any] = {}
    if column.kind == "number" and found["mean"] is not None:
        made["histogram"] = _histogram(table, sample, name)
    if column.kind in ("number", "text", "boolean", "time") and (found["distinct"] or 0) <= _FEW:
        rows = table.connection.execute(
            f"SELECT left(CAST({name} AS VARCHAR), {_VALUE}) AS v, count(*) AS n FROM {sample} WHERE {name} IS NOT NULL "
            f"GROUP BY v ORDER BY n DESC, v LIMIT {_TOP}"
        ).fetchall()
        if rows and int(rows[0][1]) > 1:
            made["top"] = [{"value": str(value), "count": int(count)} for value, count in rows]
    return made


def _histogram(table: Table, sample: str, name: str) -> dict[str, Any] | None:
    run = table.connection.execute
    real = f"CAST({name} AS DOUBLE)"
    finite = f"isfinite({real}) AND abs({real}) < 1e150"
    ends = run(f"SELECT min({real}), max({real}) FROM {sample} WHERE {finite}").fetchone()
    if ends is None or ends[0] is None:
        return None
    low, high = float(ends[0]), float(ends[1])
    width = (high - low) / _BINS
    if width <= 0 or not math.isfinite(width):
        row = run(f"SELECT count(*) FROM {sample} WHERE {finite}").fetchone()
        return {"edges": [low, high], "counts": [int(row[0])]} if row else None
    rows = run(
        f"SELECT CAST(least(greatest(floor(({real} - $low) / $width), 0), {_BINS - 1}) AS INTEGER) AS bin, count(*) FROM {sample} WHERE {finite} GROUP BY bin",
        {"low": low, "width": width},
    ).fetchall()
    counts = [0] * _BINS
    for bin_, count in rows:
        counts[int(bin_)] = int(count)
    return {"edges": [low + width * edge for edge in range(_BINS)] + [high], "counts": counts}
