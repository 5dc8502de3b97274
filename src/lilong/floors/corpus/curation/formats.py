"""Which files are documents, by their names alone."""

from __future__ import annotations

import re

MAX_FILE = 32 << 20
"""Bytes; a larger file is no document."""

EVIDENCE = re.compile(r"(?:LICEN[SC]E|COPYING|copyright)(?:[.-][\w.]+)?", re.IGNORECASE)
"""Names of files that say under which licence the texts beside them are."""

DECLARATION = "licences.toml"
"""Names sources and their licences; see backends/folder.py."""

_MAN = re.compile(r"(?:^|/)man\d[a-z]*/[^/]+\.\d[a-z]*$")
_FORMATS = {
    ".html": "html", ".htm": "html", ".xhtml": "html",
    ".rst": "rst", ".rst.txt": "rst", ".page": "mallard",
    ".txt": "plain", ".text": "plain", ".md": "plain", ".markdown": "plain",
}  # fmt: skip
_NAMES = frozenset({"README", "NEWS", "FAQ", "METADATA", "LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS"})


def text_format(path: str) -> str | None:
    """How a file of this name would be read: html, mallard, rst, roff or plain; None where it is no text."""
    name = path.removesuffix(".gz")
    if _MAN.search(name):
        return "roff"
    last = name.rsplit("/", 1)[-1]
    lower = last.lower()
    for ending, how in sorted(_FORMATS.items(), key=lambda item: -len(item[0])):
        if lower.endswith(ending):
            return how
    return "plain" if last.split(".")[0] in _NAMES and "." not in last.strip(".") else None
