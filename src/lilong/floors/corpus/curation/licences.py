"""Licence evidence to SPDX expressions: Debian copyright files (DEP-5), licence texts, and tags inside a file.

Best effort, and said so: what is not recognised is None, never a guess. The evidence itself always travels with the corpus.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

NO_ASSERTION = "NOASSERTION"
"""SPDX's word for `nobody has said`; only where a policy lets such documents in."""

_TAG = re.compile(r"^[^\w\n]{0,8}SPDX-License-Identifier:[ \t]*([^\n]{1,120}?)[ \t]*(?:\*/|-->)?[ \t]*$", re.MULTILINE)
_TAG_WITHIN = 4_096
_DEBIAN = {
    "expat": "MIT", "psf": "PSF-2.0", "psf-2": "PSF-2.0", "python": "PSF-2.0", "python-2.0": "PSF-2.0", "public-domain": "LicenseRef-public-domain",
    "artistic": "Artistic-1.0-Perl", "artistic-2": "Artistic-2.0", "apache-2": "Apache-2.0", "mpl-1.1": "MPL-1.1", "zlib": "Zlib",
    "bsd-2": "BSD-2-Clause", "bsd-3": "BSD-3-Clause", "cc0": "CC0-1.0", "tcl": "TCL", "x11": "X11", "isc": "ISC",
}  # fmt: skip
_GNU = re.compile(r"(L?GPL|AGPL|GFDL|FDL)(-NIV)?-?v?(\d)(?:\.(\d))?(?:\.0)?(\+|-or-later|-only)?", re.IGNORECASE)
_PHRASES = (
    ("PSF-2.0", r"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2"),
    ("PostgreSQL", r"provided that the above copyright notice and this paragraph and the following two paragraphs appear in all copies"),
    ("Apache-2.0", r"Apache License,? *(?:,)? Version 2\.0"),
    ("MPL-2.0", r"Mozilla Public License,? [Vv](?:ersion|\.) 2\.0"),
    ("CC0-1.0", r"CC0 1\.0 Universal"),
    ("CC-BY-SA-4.0", r"Attribution-ShareAlike 4\.0 International"),
    ("CC-BY-NC-4.0", r"Attribution-NonCommercial 4\.0 International"),
    ("CC-BY-4.0", r"Attribution 4\.0 International"),
    ("CC-BY-SA-3.0", r"Attribution-ShareAlike 3\.0"),
    ("AGPL-3.0-or-later", r"GNU AFFERO GENERAL PUBLIC LICENSE Version 3"),
    ("LGPL-3.0-or-later", r"GNU LESSER GENERAL PUBLIC LICENSE Version 3"),
    ("LGPL-2.1-or-later", r"GNU LESSER GENERAL PUBLIC LICENSE Version 2\.1"),
    ("GPL-3.0-or-later", r"GNU GENERAL PUBLIC LICENSE Version 3"),
    ("GPL-2.0-or-later", r"GNU GENERAL PUBLIC LICENSE Version 2"),
    ("GFDL-1.3-or-later", r"GNU Free Documentation License Version 1\.3"),
    ("BSD-4-Clause", r"Redistribution and use in source and binary forms~All advertising materials mentioning features"),
    ("Apache-1.1", r"The Apache Software License, Version 1\.1"),
    ("BSD-3-Clause", r"Redistribution and use in source and binary forms~Neither the name"),
    ("BSD-2-Clause", r"Redistribution and use in source and binary forms"),
    ("JSON", r"Permission is hereby granted, free of charge~shall be used for Good, not Evil"),
    ("NCSA", r"Permission is hereby granted, free of charge~Neither the names of~may be used to endorse"),
    ("X11", r"Permission is hereby granted, free of charge~Except as contained in this notice, the names?(?:\(s\))? of"),
    ("MIT", r"Permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("ISC", r"Permission to use, copy, modify, and(?:/or)? distribute this software for any purpose with or without fee is hereby granted"),
    ("Unlicense", r"This is free and unencumbered software released into the public domain"),
)
# A blank in a phrase stands for any blanks: licence texts are wrapped in many ways. A ~ stands for what lies between within one licence.
_SAID = tuple(
    (name, re.compile(said.replace(" *", r"\s*").replace(" ", r"\s+").replace("~", r".{0,2000}?"), re.IGNORECASE | re.DOTALL))
    for name, said in _PHRASES
)
_LATER = re.compile(r"\blater\s+version|\bor\s+later\b", re.IGNORECASE)
_STATEMENT = 1_000
"""Characters; somebody's own words are rarely more."""
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Z][\w.-]*\w)")


@dataclass(frozen=True, slots=True)
class Recognised:
    """An SPDX expression and the characters of the evidence, from `start` to before `end`, that say so."""

    expression: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PackageLicence:
    """A package's SPDX expression (None: not recognised) with its place, and those of single files where its copyright file names them."""

    whole: Recognised | None
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def expression(self) -> str | None:
        return self.whole.expression if self.whole else None

    def of(self, path: str) -> str | None:
        """The expression for one installed file. Patterns speak of the source tree, so only a file's own name and its folder are
        compared, and only where a pattern names a file and not a whole tree."""
        tail = "/".join(path.removesuffix(".gz").rsplit("/", 2)[-2:])
        for pattern, expression in reversed(self.parts):
            if fnmatchcase(tail, "/".join(pattern.rsplit("/", 2)[-2:])):
                return expression
        return self.expression


def spdx(name: str) -> str | None:
    """The SPDX expression that a name stands for: SPDX itself (any case), Debian's short names, `A or B`, `A and B`."""
    words = re.sub(r",? +(and|or|with) +", lambda found: f" {found.group(1).upper()} ", name.strip().rstrip("."))
    parts = re.split(r"( AND | OR |[()])", words)
    known = [part if index % 2 or not part.strip() else _one(part.strip()) for index, part in enumerate(parts)]
    if any(part is None for part in known):
        return None
    try:
        return str(canonicalize_license_expression("".join(part for part in known if part)))
    except InvalidLicenseExpression:
        return None


def _one(name: str) -> str | None:
    gnu = _GNU.fullmatch(name)
    if gnu:
        family = {"FDL": "GFDL"}.get(gnu[1].upper(), gnu[1].upper())
        later = "or-later" if gnu[5] in ("+", "-or-later") else "only"
        invariants = "-no-invariants" if gnu[2] else ""
        return f"{family}-{gnu[3]}.{gnu[4] or '0'}{invariants}-{later}"
    known = _DEBIAN.get(name.lower(), name)
    try:
        return str(canonicalize_license_expression(known))
    except InvalidLicenseExpression:
        return None


def recognise(text: str) -> Recognised | None:
    """The SPDX expression of a licence text: a tag in it, or phrases that only this licence has."""
    tagged = _TAG.search(text, 0, _TAG_WITHIN)
    if tagged and (named := spdx(tagged.group(1))):
        return Recognised(named, *tagged.span(1))
    for expression, said in _SAID:
        if found := said.search(text):
            return Recognised(_later(expression, text), *found.span())
    common = _COMMON.search(text)
    named = spdx(common.group(1)) if common else None
    return Recognised(_later(named, text), *common.span()) if common and named else None


def _later(expression: str, text: str) -> str:
    """A licence of GNU's is for later versions too where the text says so, as their own appendices do; nobody may be taken to have said it."""
    stem = re.sub(r"-(?:only|or-later)$", "", expression)
    return expression if stem == expression else stem + ("-or-later" if _LATER.search(text) else "-only")


def tag(head: bytes) -> str | None:
    """The expression of an SPDX-License-Identifier line (reuse.software) in the first bytes of a file."""
    found = _TAG.search(head[:_TAG_WITHIN].decode("utf-8", "replace"))
    return spdx(found.group(1)) if found else None


def stated(text: str, expression: str) -> Recognised | None:
    """Where a text says the licence that somebody has declared for it: what is recognised there, the licence's name, or a short statement as
    a whole."""
    found = recognise(text)
    if found and found.expression == expression:
        return found
    at = text.lower().find(expression.lower())
    if at >= 0:
        return Recognised(expression, at, at + len(expression))
    return Recognised(expression, 0, len(text)) if 0 < len(text.strip()) <= _STATEMENT else None


def of_copyright(text: str) -> PackageLicence:
    """A Debian copyright file: machine-readable ones (DEP-5) stanza by stanza, the others by their words."""
    if not re.match(r"\s*Format(?:-Specification)?:", text):
        return PackageLicence(recognise(text))
    whole: Recognised | None = None
    parts: list[tuple[str, str]] = []
    for found in re.finditer(r"(?:(?!\n[ \t]*\n).)+", text, re.DOTALL):
        stanza, start = found.group(), found.start()
        fields = _fields(stanza)
        if "files" not in fields or "license" not in fields:
            continue
        short = fields["license"].split("\n", 1)[0]
        expression = spdx(short) or f"LicenseRef-{re.sub(r'[^A-Za-z0-9.]+', '-', short).strip('-')}"
        patterns = fields["files"].split()
        if "*" in patterns:
            named = re.search(r"^license:\s*(.*)$", stanza, re.IGNORECASE | re.MULTILINE)
            whole = Recognised(expression, *(start + at for at in (named.span(1) if named else (0, len(stanza)))))
        parts += [(pattern, expression) for pattern in patterns if not pattern.endswith("*") and "/" in pattern]
    return PackageLicence(whole or recognise(text), tuple(parts))


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.split("\n"):
        if line[:1] in (" ", "\t") and name:
            fields[name] += "\n" + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields
