"""reStructuredText to text, without docutils: markup goes, words stay.

A corpus wants the prose, not a document tree; a few patterns do that at many times the speed, and know no directive by name, so
that the private directives of a project do no harm.
"""

from __future__ import annotations

import re

_DIRECTIVE = re.compile(r"^([ \t]*)\.\. +(?:[\w:+.-]+)::[ \t]*(.*)$")
_HYPERLINK = re.compile(r"^[ \t]*(?:\.\. +_[^\n]*|__ +\S+.*)$")
_FOOTNOTE = re.compile(r"^([ \t]*)\.\. +\[[^\]]+\] +")
_SUBSTITUTION = re.compile(r"^[ \t]*\.\. +\|")
_COMMENT = re.compile(r"^([ \t]*)\.\.(?: +(?![_\[|]).*)?$")
_OPTION = re.compile(r"^[ \t]*:[\w -]+:(?:[ \t]+.*)?$")
_ADORNMENT = re.compile(r"^[ \t]*([=\-~^\"'`#*+_:.<>%!&$])\1{2,}[ \t]*$")
_TABLE_RULE = re.compile(r"^[ \t]*[=+|-][=+|\- ]{3,}$")
_ROLE = re.compile(r":[\w.+:-]+:`[!~]?([^`<]*?)(?:\s*<[^`>]*>)?`")
_LINK = re.compile(r"`([^`<]*?)(?:\s*<[^`>]*>)?`_{0,2}")
_LITERAL = re.compile(r"``(.+?)``")
_STRONG = re.compile(r"(?<![\w*])\*{1,2}(?=\S)([^*\n]+?)(?<=\S)\*{1,2}(?![\w*])")
_SPLIT_MARKUP = re.compile(r"(?<![`\w])`(?!`)([^`]{1,300}?)`(?!`)")
_LINE_BREAK = re.compile(r"[ \t]*\n[ \t]*")
_REFERENCE = re.compile(r"\b([\w-]+)_{1,2}(?=[\s.,;:)]|$)")
_SILENT = frozenset({"toctree", "index", "sectionauthor", "moduleauthor", "image", "figure", "include", "raw", "contents", "highlight",
                     "currentmodule", "testsetup", "testcleanup", "only", "tabularcolumns", "literalinclude", "meta"})  # fmt: skip
_SPOKEN = {"versionadded": "New in version {}:", "versionchanged": "Changed in version {}:", "deprecated": "Deprecated since version {}:",
           "note": "Note", "warning": "Warning", "seealso": "See also", "tip": "Tip", "important": "Important"}  # fmt: skip


def rst_text(source: str) -> str:
    """The prose and the literal blocks of a reStructuredText file; directives, comments, targets and adornments are left out."""
    kept: list[str] = []
    skip_deeper_than: int | None = None
    after_directive = False
    whole = _SPLIT_MARKUP.sub(_one_line, source.expandtabs(8))
    for line in whole.split("\n"):
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        if skip_deeper_than is not None and (not bare or indent > skip_deeper_than):
            continue
        skip_deeper_than = None
        if after_directive and bare and _OPTION.match(line):
            continue
        directive = _DIRECTIVE.match(line)
        after_directive = directive is not None
        if directive:
            name = line.split("::", 1)[0].split()[-1]
            if name in _SILENT:
                skip_deeper_than = indent
            elif name in _SPOKEN:
                kept.append(directive.group(1) + _SPOKEN[name].format(_inline(directive.group(2))))
            elif directive.group(2) and name not in ("code-block", "module", "productionlist"):
                kept.append(_inline(directive.group(1) + directive.group(2)))
            continue
        if _HYPERLINK.match(line) or _ADORNMENT.match(line) or _TABLE_RULE.match(line):
            continue
        if _SUBSTITUTION.match(line) or _COMMENT.match(line):
            skip_deeper_than = indent
            continue
        kept.append(_inline(_FOOTNOTE.sub(r"\1", line)))
    return "\n".join(kept)


def _one_line(found: re.Match[str]) -> str:
    """Markup that runs over a line's end is brought onto one line; a blank line inside means that it was no markup."""
    text = found.group()
    return text if "\n\n" in text else _LINE_BREAK.sub(" ", text)


def _inline(line: str) -> str:
    if not line or line.isspace():
        return ""
    if "`" in line:
        line = _LINK.sub(r"\1", _LITERAL.sub(r"\1", _ROLE.sub(r"\1", line)))
    if "*" in line:
        line = _STRONG.sub(r"\1", line)
    if line.endswith("::"):
        line = line[:-1]
    return _REFERENCE.sub(r"\1", line) if "_ " in line or line.endswith("_") else line
