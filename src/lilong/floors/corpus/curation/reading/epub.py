"""EPUB (W3C EPUB 3.3): the text of a book, its chapters in reading order."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from urllib.parse import unquote

from selectolax.lexbor import LexborHTMLParser

from lilong.floors.corpus.curation.extract.charsets import in_head, text_of
from lilong.floors.corpus.curation.extract.html import html_text

MAX_BOOK = 64 << 20
"""Bytes that the chapters of one book may unpack to."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, NotImplementedError, RuntimeError)


class NotReadable(ValueError):
    """The book cannot be read."""


def book_text(data: bytes) -> str:
    """The chapters, a blank line between them. Raises NotReadable."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            chapters = _chapters(book)
            if sum(book.getinfo(name).file_size for name in chapters) > MAX_BOOK:
                raise NotReadable(f"unpacks to more than {MAX_BOOK} bytes")
            texts = [html_text(_page(book, name)) for name in chapters]
    except _DAMAGE as damage:
        raise NotReadable(f"is a damaged EPUB: {damage}") from None
    return "\n\n".join(text for text in texts if text)


def _chapters(book: zipfile.ZipFile) -> list[str]:
    """Names of the spine's documents (section 5.7.2), in order; the package document is the one that container.xml names."""
    root = _tree(book, "META-INF/container.xml").css_first("rootfile")
    package = (root.attributes.get("full-path") if root else None) or ""
    if not package:
        raise NotReadable("names no package document")
    tree, folder = _tree(book, package), posixpath.dirname(package)
    items = {node.attributes.get("id"): node.attributes.get("href") or "" for node in tree.css("item")}
    order = [items.get(node.attributes.get("idref")) for node in tree.css("itemref")]
    found = [posixpath.normpath(posixpath.join(folder, unquote(href))) for href in order if href]
    if not found:
        raise NotReadable("has no chapters")
    return list(dict.fromkeys(found))


def _page(book: zipfile.ZipFile, name: str) -> str:
    data = book.read(name)
    text = text_of(data, in_head(data))
    if text is None:
        raise NotReadable(f"holds {name}, which is not UTF-8 and declares nothing else that fits")
    return text


def _tree(book: zipfile.ZipFile, name: str) -> LexborHTMLParser:
    if book.getinfo(name).file_size > MAX_BOOK:
        raise NotReadable(f"unpacks to more than {MAX_BOOK} bytes")
    return LexborHTMLParser(_page(book, name))
