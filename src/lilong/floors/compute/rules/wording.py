"""Texts with values that remember what they were made of, so that a page can tell them in its reader's language. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Said(str):
    """A text in English, and the template and values that it was made of. A value may be such a text itself."""

    template: str
    values: Mapping[str, Any]


class Quoted(str):
    """What a program or an engine said, in its own words."""

    __slots__ = ()


def said(template: str, **values: Any) -> Said:
    """`template` with {placeholders}; a number may have a format, as in {share:g}, which a translation has too."""
    made = Said(template.format(**values))
    made.template, made.values = template, values
    return made


def counted(many: float, one: str, several: str, **values: Any) -> Said:
    """The template that fits how many there are; the number is its {many}."""
    return said(one if many == 1 else several, many=many, **values)


def joined(between: str, parts: Sequence[str]) -> Said:
    """Texts one after another."""
    names = {f"p{at}": part for at, part in enumerate(parts)}
    return said(between.join(f"{{{name}}}" for name in names), **names)
