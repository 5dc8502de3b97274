"""Parts to documents: what a record, a page or a file says, as rows of READ; and what could not be read."""

from __future__ import annotations

import bz2
import codecs
import io
import lzma
import re
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa

from lilong.floors.corpus.curation.extract import MAX_UNPACKED, Unreadable, extract, tidy, unpack
from lilong.floors.corpus.curation.extract.charsets import decoded
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
_META = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)


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


def decode(data: bytes, declared: str) -> str | None:
    """The text of a page: UTF-8 where it is, else as its server or its own head declares; None where neither fits."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        names = [declared, *(found.decode("ascii") for found in _META.findall(data[:2048])[:1])]
        return next((text for text in (decoded(data, name) for name in names) if text is not None), None)


def _json_lines(part: Part) -> Iterator[Row | Problem]:
    for number, line in enumerate(part.data.split(b"\n"), part.first + 1):
        line = line.removeprefix(codecs.BOM_UTF8)
        if not line.strip():
            continue
        place = f"{part.uri}#{number}"
        try:
            record = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as damage:
            yield Problem(part.source, place, f"is not a JSON object: {str(damage)[:160]}")
            continue
        yield _row(part, place, {name: value for name, value in zip(_FIELDS, _values_of(record), strict=True) if value is not None})


def _row(part: Part, place: str, record: dict[str, Any]) -> Row | Problem:
    def first(names: Sequence[str]) -> str | None:
        return next((value for value in map(record.get, names) if isinstance(value, str) and value), None)

    text = next((value for value in map(record.get, TEXT) if value is not None), None)
    if not isinstance(text, str):
        problem = "has no field " + ", ".join(TEXT) if text is None else f"has a text that is no string but {type(text).__name__}"
        return Problem(part.source, place, problem)
    name = first(_URI)
    uri = place if name is None else name if "://" in name else f"{part.uri}#{name}"
    licence, when = first(_LICENCE) or part.licence, first(_WHEN) or part.retrieved_at
    return first(("source",)) or part.source, uri, text, licence, when, part.kind, _chain(part, part.kind)


def _chain(part: Part, step: str) -> str:
    return _UNPACKED.get(inputs.packing(part.uri), "") + step


def _parquet(part: Part) -> Iterator[Row | Problem]:
    with pa.ipc.open_stream(part.data) as stream:
        batch = stream.read_next_batch()
    columns = {name: _values(batch.column(name)) for name in batch.schema.names}
    for at in range(batch.num_rows):
        record = {name: column[at] for name, column in columns.items()}
        found = _row(part, f"{part.uri}#{part.first + at + 1}", record)
        if isinstance(found, tuple) and any("\udc80" <= letter <= "\udcff" for letter in found[2]):
            yield Problem(part.source, found[1], "is not UTF-8")
        else:
            yield found


def _values(column: pa.Array) -> list[Any]:
    """The values; bytes that are no UTF-8, which Parquet does not forbid, as lone surrogates."""
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.string())
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        values = [one if one is None else one.decode("utf-8", "surrogateescape") for one in column.cast(pa.binary()).to_pylist()]
    return values


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
        found = decode(page.body, page.charset)
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
