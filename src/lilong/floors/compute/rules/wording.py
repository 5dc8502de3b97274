"""Texts with values that remember what they were made of, so that a page can tell them in its reader's language. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Said(str):
    """A text in English, and the template and values that it was made of. A value may be such a text itself."""

    template: str
    values: Mapping[str, Any]


def said(template: str, **values: Any) -> Said:
    """`template` with {placeholders}; a number may have a format, as in {share:g}, which a translation has too."""
    made = Said(template.format(**values))
    made.template, made.values = template, values
    return made


def joined(between: str, parts: Sequence[str]) -> Said:
    """Texts one after another."""
    names = {f"p{at}": part for at, part in enumerate(parts)}
    return said(between.join(f"{{{name}}}" for name in names), **names)


def told(text: str, translate: Callable[[str], str]) -> str:
    """The text in the language that `translate` knows its templates in."""
    if not isinstance(text, Said):
        return text
    values = {name: told(value, translate) if isinstance(value, str) else value for name, value in text.values.items()}
    return translate(text.template).format(**values)
