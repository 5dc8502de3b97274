"""WARC files (ISO 28500): where records end, and the text in them.

`conversion` and `resource` records hold a document as it is; a `response` holds an HTTP answer, of which pages and plain text are
documents. Other records (warcinfo, request, metadata, revisit) tell about documents and are none.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_VERSION = re.compile(rb"(?:\r?\n)*WARC/1\.[01]\r?\n")
_LENGTH = re.compile(rb"^Content-Length[ \t]*:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_END = re.compile(rb"\r?\n\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_MAX_HEADER = 1 << 16
_MAX_BODY = 32 << 20
_MAX_MEMBERS = 1_000
_OK = 200


class NoRecord(ValueError):
    """Here starts no WARC record."""


@dataclass(frozen=True, slots=True)
class Page:
    """A document in a WARC file: `media` is its type (text/html …), `charset` what its header declares, '' where it does not."""

    uri: str
    date: str
    media: str
    charset: str
    body: bytes


def record_size(data: bytes | bytearray) -> int:
    """Bytes of the record that starts here, 0 where its header is not complete. Raises NoRecord."""
    start = _VERSION.match(data)
    if start is None:
        if len(data) > _MAX_HEADER or b"\n" in data.lstrip():
            raise NoRecord("here starts no WARC record")
        return 0
    end = _END.search(data, start.end(), _MAX_HEADER)
    if end is None:
        if len(data) > _MAX_HEADER:
            raise NoRecord("a record's header has no end")
        return 0
    length = _LENGTH.search(data, start.end(), end.end())
    if length is None:
        raise NoRecord("a record has no Content-Length")
    return end.end() + int(length[1])


def whole_records(data: bytes | bytearray) -> tuple[int, int]:
    """How many records are complete in `data`, and where they end. Raises NoRecord where there is none in front of what is no record."""
    view = memoryview(data)
    count = at = 0
    try:
        while at < len(data):
            try:
                size = record_size(bytes(view[at : at + _MAX_HEADER + 1]))
            except NoRecord:
                if count:
                    break
                raise
            if not size or at + size > len(data):
                break
            count, at = count + 1, at + size
    finally:
        view.release()  # a bytearray that is looked at cannot be shortened
    return count, at


def pages(data: bytes) -> Iterator[Page | str]:
    """Record by record: a document, or why there is none; '' where the record is not meant to be one."""
    at = 0
    while at < len(data):
        size = record_size(data[at : at + _MAX_HEADER + 1])
        if not size:
            return
        yield _page(data[at : at + size])
        at += size


def _page(record: bytes) -> Page | str:
    start = _VERSION.match(record)
    assert start is not None  # or it would not have been cut here
    head = _END.search(record, start.end())
    assert head is not None
    fields = _fields(record[start.start() : head.start()].lstrip())
    body = record[head.end() :]
    kind = fields.get("warc-type", "")
    uri, date = fields.get("warc-target-uri", "").strip("<>"), fields.get("warc-date", "")
    media = fields.get("content-type", "").lower()
    if kind in ("conversion", "resource"):
        if not media.startswith("text/") and "xhtml" not in media:
            return f"is {media.split(';')[0] or 'of no type'}, not text"
        return Page(uri, date, media.split(";")[0].strip(), _charset(media), body)
    if kind != "response" or not media.startswith("application/http"):
        return ""
    return _response(uri, date, body)


def _response(uri: str, date: str, message: bytes) -> Page | str:
    head = _END.search(message)
    if head is None:
        return "is an HTTP answer without an end of its header"
    first, _, rest = message[: head.start()].partition(b"\n")
    status = first.split()[1:2]
    if status != [b"%d" % _OK]:
        return f"is an HTTP answer of status {status[0].decode('latin-1')[:20] if status else '?'}"
    fields = _fields(b"\n" + rest)
    media = fields.get("content-type", "text/html").lower()
    if not media.startswith(("text/html", "text/plain", "application/xhtml")):
        return f"is {media.split(';')[0][:80]}, not text"
    body = message[head.end() :]
    try:
        if "chunked" in fields.get("transfer-encoding", "").lower():
            body = _joined(body)
        body = _decompressed(body, fields.get("content-encoding", "").lower())
    except (ValueError, zlib.error) as damage:
        return f"has a damaged body: {damage}"
    return Page(uri, date, media.split(";")[0].strip(), _charset(media), body)


def _fields(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in head.split(b"\n")[1:]:
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
    return found


def _charset(media: str) -> str:
    found = _CHARSET.search(media)
    return found[1] if found else ""


def _joined(body: bytes) -> bytes:
    """A body in HTTP chunks (RFC 9112, section 7.1) in one. Some crawlers join them and leave the header; such a body stays as it is."""
    parts: list[bytes] = []
    at = 0
    while at < len(body):
        end = body.find(b"\r\n", at)
        size = body[at:end].split(b";")[0].strip() if end >= 0 else b""
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", size):
            if parts:
                raise ValueError("a chunk has no size")
            return body
        length = int(size, 16)
        if length == 0:
            break
        if end + 2 + length > len(body):
            raise ValueError("the last chunk is cut short")
        parts.append(body[end + 2 : end + 2 + length])
        at = end + 2 + length + 2
    return b"".join(parts)


def _decompressed(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity") or (encoding in ("gzip", "x-gzip") and body[:2] != b"\x1f\x8b"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ValueError(f"it is packed as {encoding}")
    raw = encoding == "deflate" and body[:1] != b"\x78"
    unpacked = b""
    for _ in range(_MAX_MEMBERS):  # a body in gzip may have several
        unpacker = zlib.decompressobj(wbits=-15 if raw else 47)
        unpacked += unpacker.decompress(body, _MAX_BODY + 1 - len(unpacked))
        if len(unpacked) > _MAX_BODY:
            raise ValueError(f"it unpacks to more than {_MAX_BODY} bytes")
        if not unpacker.eof:
            raise ValueError("it is cut short")
        body = unpacker.unused_data
        if body[:2] != b"\x1f\x8b":
            return unpacked
    raise ValueError(f"it has more than {_MAX_MEMBERS} members")
