"""Parts to documents: what a record, a page or a file says, as rows of READ; and what could not be read."""

from __future__ import annotations

import bz2
import codecs
import io
import json
import lzma
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa

from lilong.floors.corpus.curation.extract import MAX_UNPACKED, Unreadable, extract, tidy, unpack
from lilong.floors.corpus.curation.extract.charsets import in_head, text_of
from lilong.floors.corpus.curation.extract.html import html_text
from lilong.floors.corpus.curation.reading import converters, epub, inputs, warc
from lilong.floors.corpus.curation.reading.cutting import Part, Problem

READ = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("licence", pa.string()),
        pa.field("retrieved_at", pa.string()),
        pa.field("format", pa.string(), nullable=False),
        pa.field("transforms", pa.string(), nullable=False),
    ]
)
"""`format`: html, mallard, roff, rst, plain, jsonl, parquet, epub, or the ending of what a converter read. `transforms`: what was done to the bytes,
step by step, such as gunzip>roff."""
TEXT = ("text", "content", "raw_content")
"""Names of the field that holds the text, the first that there is."""
_URI, _LICENCE, _WHEN = ("url", "uri", "id"), ("licence", "license"), ("retrieved_at", "timestamp", "date", "added", "created")
WANTED = frozenset({*TEXT, *_URI, *_LICENCE, *_WHEN, "source"})

Row = tuple[str, str, str, str | None, str | None, str, str]
_UNPACKED = {".gz": "gunzip>", ".zst": "unzstd>", ".bz2": "bunzip2>", ".xz": "unxz>"}
_OPENERS: dict[str, Callable[[io.BytesIO], Any]] = {
    ".zst": lambda packed: pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd"),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}


class _Line(msgspec.Struct):
    """The fields of a line of JSON that are looked at; values of other types are as if they were not there."""

    text: Any = None
    content: Any = None
    raw_content: Any = None
    source: Any = None
    url: Any = None
    uri: Any = None
    id: Any = None
    licence: Any = None
    license: Any = None
    retrieved_at: Any = None
    timestamp: Any = None
    date: Any = None
    added: Any = None
    created: Any = None


_decoder = msgspec.json.Decoder(_Line)
_FIELDS = _Line.__struct_fields__
_values_of = attrgetter(*_FIELDS)


def read(parts: Sequence[Part]) -> tuple[pa.RecordBatch, list[Problem]]:
    """The documents of some parts, in order, as rows of READ, and what could not be read."""
    rows: list[Row] = []
    problems: list[Problem] = []
    for part in parts:
        for one in _READERS[part.kind](part):
            if isinstance(one, Problem):
                problems.append(one)
            elif one[2]:
                rows.append(one)
            else:
                problems.append(Problem(one[0], one[1], "holds no text", skipped=True, reason="empty"))
    columns = list(zip(*rows, strict=True)) or [()] * len(READ)
    return pa.record_batch([pa.array(column, field.type) for column, field in zip(columns, READ, strict=True)], schema=READ), problems


def _json_lines(part: Part) -> Iterator[Row | Problem]:
    for number, line in enumerate(part.data.split(b"\n"), part.first + 1):
        line = line.removeprefix(codecs.BOM_UTF8)
        if not line.strip():
            continue
        place = f"{part.uri}#{number}"
        try:
            values = _values_of(_decoder.decode(line))
            record = {name: value for name, value in zip(_FIELDS, values, strict=True) if value is not None}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as damage:
            found = _as_python_writes(line)
            if found is None:
                yield Problem(part.source, place, f"is not a JSON object: {str(damage)[:160]}")
                continue
            record = found
        yield _row(part, place, record)


def _as_python_writes(line: bytes) -> dict[str, Any] | None:
    """The object in a line that is no JSON, because it says NaN or Infinity or holds half a character, as Python writes them. A string with
    half a character is bytes here."""
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {name: _string(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else value for name, value in found.items()}


def _string(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _row(part: Part, place: str, record: dict[str, Any]) -> Row | Problem:
    def first(names: Sequence[str]) -> str | None:
        return next((value for value in map(record.get, names) if isinstance(value, str) and value), None)

    text = next((value for value in map(record.get, TEXT) if value is not None), None)
    if not isinstance(text, str):
        said = {type(None): "has no field " + ", ".join(TEXT), bytes: "is not UTF-8"}
        return Problem(part.source, place, said.get(type(text), f"has a text that is no string but {type(text).__name__}"))
    name = first(_URI)
    uri = place if name is None else name if "://" in name else f"{part.uri}#{name}"
    licence, when = first(_LICENCE) or part.licence, first(_WHEN) or part.retrieved_at
    return first(("source",)) or part.source, uri, text, licence, when, part.kind, _chain(part, part.kind)


def _chain(part: Part, step: str) -> str:
    return _UNPACKED.get(inputs.packing(part.uri), "") + step


def _parquet(part: Part) -> Iterator[Row | Problem]:
    with pa.ipc.open_stream(part.data) as stream:
        batch = stream.read_next_batch()
    columns = {name: _values(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for at in range(batch.num_rows):
        yield _row(part, f"{part.uri}#{part.first + at + 1}", {name: column[at] for name, column in columns.items()})


def _values(column: pa.Array) -> list[Any]:
    """The values, bytes as text; bytes that are no UTF-8, which Parquet does not forbid, as they are."""
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.string())
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        values = column.cast(pa.binary()).to_pylist()
    return [_string(one) if isinstance(one, bytes) else one for one in values]


def _text(part: Part) -> Iterator[Row | Problem]:
    packing, name = inputs.packing(part.uri), inputs.unpacked(part.uri)
    plain = _other(packing, part.data) if packing in _OPENERS else unpack(name + packing, part.data)
    found = plain if isinstance(plain, Unreadable) else extract(name, plain)
    if isinstance(found, Unreadable):
        skipped = found.reason in ("redirect", "empty")
        yield Problem(part.source, part.uri, found.detail, skipped=skipped, lost=not skipped, reason=found.reason)
    else:
        yield part.source, part.uri, found.text, part.licence, part.retrieved_at, found.format, _chain(part, found.format)


def _other(packing: str, data: bytes) -> bytes | Unreadable:
    try:
        with _OPENERS[packing](io.BytesIO(data)) as stream:
            plain: bytes = stream.read(MAX_UNPACKED + 1)
    except (OSError, ValueError, EOFError, lzma.LZMAError) as damage:
        return Unreadable("binary", f"is damaged: {str(damage)[:160]}")
    return plain if len(plain) <= MAX_UNPACKED else Unreadable("binary", f"unpacks to more than {MAX_UNPACKED} bytes")


def _warc(part: Part) -> Iterator[Row | Problem]:
    for number, page in enumerate(warc.pages(part.data), part.first + 1):
        place = f"{part.uri}#{number}"
        if isinstance(page, str):
            if page:
                yield Problem(part.source, place, page, skipped="damaged" not in page)
            continue
        found = text_of(page.body, page.charset, in_head(page.body))
        if found is None:
            yield Problem(part.source, place, "is not UTF-8 and declares nothing else that fits")
            continue
        how = "plain" if page.media == "text/plain" else "html"
        text = tidy((found if how == "plain" else html_text(found)).replace("\0", ""))
        yield part.source, page.uri or place, text, part.licence, page.date or part.retrieved_at, how, _chain(part, f"warc>{how}")


def _epub(part: Part) -> Iterator[Row | Problem]:
    try:
        yield part.source, part.uri, tidy(epub.book_text(part.data)), part.licence, part.retrieved_at, "epub", "epub>html"
    except epub.NotReadable as damage:
        yield Problem(part.source, part.uri, str(damage), lost=True)


def _converted(part: Part) -> Iterator[Row | Problem]:
    try:
        ending = part.uri.rsplit(".", 1)[-1].lower()
        text = tidy(converters.convert(part.uri, part.data))
        yield part.source, part.uri, text, part.licence, part.retrieved_at, ending, "convert"
    except converters.NoConverter as missing:
        yield Problem(part.source, part.uri, str(missing), skipped=True)
    except converters.ConversionFailed as damage:
        yield Problem(part.source, part.uri, str(damage), lost=True)


_READERS: dict[str, Callable[[Part], Iterator[Row | Problem]]] = {
    "jsonl": _json_lines, "parquet": _parquet, "text": _text, "warc": _warc, "epub": _epub, "converted": _converted,
}  # fmt: skip
