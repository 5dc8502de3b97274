"""Files to plain text: HTML, Mallard, reStructuredText, man pages (roff), and text that is plain already.

`unpack` takes off gzip; `extract(path, data)` answers text and format, or a reason why there is none. The path is the file's name inside its source;
only its ending and folders are looked at. Nothing here reads files or starts programs.
"""

from __future__ import annotations

import gzip
import io
import re
import unicodedata
import zlib
from dataclasses import dataclass

from lilong.floors.corpus.curation.extract.charsets import in_head, text_of
from lilong.floors.corpus.curation.extract.html import html_text
from lilong.floors.corpus.curation.extract.mallard import mallard_text
from lilong.floors.corpus.curation.extract.roff import ROFF_REDIRECT, roff_text
from lilong.floors.corpus.curation.extract.rst import rst_text
from lilong.floors.corpus.curation.formats import text_format

MAX_UNPACKED = 32 << 20
"""Bytes that one compressed file may grow to."""

_ROFF_CODING = re.compile(rb"-\*-.*?coding:\s*([\w.-]+)", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n{3,}")
_LINE_ENDS = re.compile(r"(?<![ \t])[ \t]+(?=\n)")  # a run is tried from its start only, or a long one takes its square


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a file (Unicode NFC, lines end with \\n, no trailing blanks) and the format it was read as."""

    text: str
    format: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a file gave no text: `not-utf-8`, `binary`, `redirect` or `empty`, and a sentence about it."""

    reason: str
    detail: str


def unpack(path: str, data: bytes) -> bytes | Unreadable:
    """The file as it was before gzip, where its name ends in .gz."""
    if not path.endswith(".gz"):
        return data
    unpacked = _gunzip(data)
    return Unreadable("binary", "the gzip stream is damaged or grows too large") if unpacked is None else unpacked


def extract(path: str, data: bytes) -> Extracted | Unreadable:
    """The text of one unpacked file. A path that `text_format` does not know is read as plain text."""
    how = text_format(path) or "plain"
    plain = _decode(data, how)
    if "\x00" in plain if plain is not None else b"\x00" in data:
        return Unreadable("binary", "holds NUL bytes")
    if plain is None:
        return Unreadable("not-utf-8", "is not UTF-8 and declares nothing else that fits")
    text = _plain(plain, how)
    if text is ROFF_REDIRECT:
        return Unreadable("redirect", "only points to another page")
    text = tidy(text)
    return Extracted(text, how) if text else Unreadable("empty", "holds no text")


def tidy(text: str) -> str:
    """NFC, one kind of line end, no trailing blanks, never more than one blank line in a row."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "").replace("\u00ad", "")
    text = _BLANK_LINES.sub("\n\n", _LINE_ENDS.sub("", text + "\n")).strip("\n")
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def _plain(decoded: str, how: str) -> str:
    if how == "html":
        return html_text(decoded)
    if how == "mallard":
        return mallard_text(decoded)
    if how == "rst":
        return rst_text(decoded)
    return roff_text(decoded) if how == "roff" else decoded


def _gunzip(data: bytes) -> bytes | None:
    """All members of the stream; None where it is cut short, damaged, or larger than MAX_UNPACKED."""
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            unpacked = stream.read(MAX_UNPACKED + 1)
    except (zlib.error, OSError, EOFError):
        return None
    return unpacked if len(unpacked) <= MAX_UNPACKED else None


def _decode(data: bytes, how: str) -> str | None:
    if how in ("html", "mallard"):
        return text_of(data, in_head(data))
    found = _ROFF_CODING.search(data[:2048]) if how == "roff" else None
    return text_of(data, found.group(1).decode("latin-1") if found else "")
