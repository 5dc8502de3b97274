"""Mallard pages (projectmallard.org, 1.0), the help format of GNOME, to text: what a reader sees of them, block by block."""

from __future__ import annotations

import html
import re

from lilong.floors.corpus.curation.extract.html import html_text

_UNSEEN = re.compile(r"<!--.*?-->|<(info|comment)\b[^>]*>.*?</\1\s*>|<\?.*?\?>", re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_EMPTY = re.compile(r"<[A-Za-z][^<>]*/>")
# Mallard's names for what HTML calls otherwise; `link` and `title` mean something else there.
_NAMES = {
    "page": "main", "title": "h2", "subtitle": "h3", "item": "li", "steps": "ol", "list": "ul", "terms": "ul", "tree": "ul", "screen": "pre",
    "listing": "div", "synopsis": "div", "example": "div", "note": "div", "quote": "blockquote", "link": "a", "media": "span", "code": "code",
}  # fmt: skip
_TAG = re.compile(rf"<(/?)({'|'.join(_NAMES)})\b")


def mallard_text(source: str) -> str:
    """The text of a page without its description for indexes, credits and comments. Paragraphs are parted by a blank line."""
    seen = _UNSEEN.sub("", _CDATA.sub(lambda found: html.escape(found.group(1)), source))
    return html_text(_TAG.sub(lambda found: f"<{found.group(1)}{_NAMES[found.group(2)]}", _EMPTY.sub("", seen)))
