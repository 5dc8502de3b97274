"""Bytes to text by the encoding that a page declares: the web's encodings, under the names that browsers take for them.

By the Encoding Standard (WHATWG, section 4.2) a page that says ISO-8859-1 or ASCII is windows-1252, GB2312 is GB18030, and so on. Other codecs
of Python (`undefined`, `idna`, `unicode_escape` …) are not for pages, and fail in ways of their own.
"""

from __future__ import annotations

import codecs

_MEANT = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs", "shift_jis": "cp932", "euc_kr": "cp949",
}  # fmt: skip
_OF_THE_WEB = frozenset({
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "gb18030", "big5hkscs", "cp932", "euc_jp", "iso2022_jp", "cp949", "koi8-r", "koi8-u", "cp866",
    "cp874", "mac-roman", "mac-cyrillic", *(f"cp125{last}" for last in range(9)), *(f"iso8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
})  # fmt: skip
_WESTERN = {code: text for code in range(0x80, 0xA0) if (text := bytes([code]).decode("cp1252", "ignore"))}


def decoded(data: bytes, declared: str) -> str | None:
    """The text; None where the name means nothing on the web, or the bytes do not fit it. In windows-1252 every byte has a meaning."""
    try:
        name = codecs.lookup(declared).name
    except (LookupError, ValueError):
        return None
    name = _MEANT.get(name, name)
    if name not in _OF_THE_WEB:
        return None
    if name == "cp1252":
        return data.decode("latin-1").translate(_WESTERN)
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        return None
