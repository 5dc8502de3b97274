"""Bytes to text by the encoding that a page declares: the web's encodings, under the names that browsers take for them.

By the Encoding Standard (WHATWG, section 4.2) a page that says ISO-8859-1 or ASCII is windows-1252, GB2312 is GB18030, and so on. Other codecs
of Python (`undefined`, `idna`, `unicode_escape` …) are not for pages, and fail in ways of their own.
"""

from __future__ import annotations

import codecs
import re

_HEAD = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_SWITCHING = "iso2022_jp_ext"
"""Japanese in seven bits: what switches between sets of characters is ASCII, so such a page is valid UTF-8 that says nothing."""
_LABELS = {  # that Python has no name for
    "dos-874": "cp874", "iso-8859-8-e": "iso8859-8", "iso-8859-8-i": "iso8859-8", "koi8": "koi8-r", "koi8-ru": "koi8-u", "logical": "iso8859-8",
    "visual": "iso8859-8", "windows-874": "cp874", "windows-949": "cp949", "x-euc-jp": "euc_jp", "x-gbk": "gbk", "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-roman": "mac-roman", "x-mac-ukrainian": "mac-cyrillic", "x-sjis": "shift_jis", "x-x-big5": "big5",
    **{f"x-cp125{last}": f"cp125{last}" for last in range(9)},
}  # fmt: skip
_MEANT = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs", "shift_jis": "cp932", "euc_kr": "cp949", "iso2022_jp": _SWITCHING,
}  # fmt: skip
_OF_THE_WEB = frozenset({
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "gb18030", "big5hkscs", "cp932", "euc_jp", _SWITCHING, "cp949", "koi8-r", "koi8-u", "cp866",
    "cp874", "mac-roman", "mac-cyrillic", *(f"cp125{last}" for last in range(9)), *(f"iso8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
})  # fmt: skip
_WESTERN = {code: text for code in range(0x80, 0xA0) if (text := bytes([code]).decode("cp1252", "ignore"))}


def text_of(data: bytes, *labels: str) -> str | None:
    """The text: by its byte order mark, UTF-8 where it is, else as the first of the labels says that fits; None where nothing does."""
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and (text := _decoded(data, "utf-16")) is not None:
        return text
    names = list(map(_codec, labels))
    if b"\x1b" in data and _SWITCHING in names:
        return _decoded(data, _SWITCHING)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return next((text for text in (_decoded(data, name) for name in names) if text is not None), None)


def in_head(page: bytes) -> str:
    """The encoding that a page declares in itself; '' where it does not."""
    found = _HEAD.search(page[:2048])
    return found[1].decode("latin-1") if found else ""


def _decoded(data: bytes, name: str) -> str | None:
    if name == "cp1252":  # every byte has a meaning
        return data.decode("latin-1").translate(_WESTERN)
    try:
        return data.decode(name) if name else None
    except UnicodeDecodeError:
        return None


def _codec(label: str) -> str:
    """Python's name of an encoding of the web; '' where the label is none."""
    label = label.strip().lower()
    try:
        name = codecs.lookup(_LABELS.get(label, label)).name
    except (LookupError, ValueError):
        return ""
    name = _MEANT.get(name, name)
    return name if name in _OF_THE_WEB else ""
