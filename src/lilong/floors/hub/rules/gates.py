"""The form that stands before a gated repository, as its card describes it, and whether it is filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from lilong.ground.errors import BadInput

_FIELDS = 30
_TEXT = 1000  # characters
TYPES = ("text", "checkbox", "select", "date_picker", "country")


class BadAnswer(BadInput):
    """The form's field '{field}' cannot be taken: {problem}."""

    status = 400


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: str  # of TYPES
    options: tuple[str, ...] = ()  # of a select


@dataclass(frozen=True, slots=True)
class Form:
    heading: str
    prompt: str  # Markdown
    description: str  # Markdown
    button: str
    fields: tuple[Field, ...]


def form(card: Mapping[str, Any]) -> Form:
    """From a card's front matter. What makes no sense is left out; a field of an unknown type is one of text."""

    def word(key: str) -> str:
        value = card.get(f"extra_gated_{key}")
        return value if isinstance(value, str) else ""

    given = card.get("extra_gated_fields")
    fields = [field for name, asked in given.items() if (field := _field(str(name), asked))] if isinstance(given, Mapping) else []
    return Form(word("heading"), word("prompt"), word("description"), word("button_content"), tuple(fields[:_FIELDS]))


def _field(name: str, asked: Any) -> Field | None:
    kind, options = (asked.get("type"), asked.get("options")) if isinstance(asked, Mapping) else (asked, None)
    if kind == "ip_location":  # where somebody is, is not looked up here
        return None
    if kind == "select":
        words = [_word(option) for option in options] if isinstance(options, list) else []
        return Field(name, "select", tuple(words)) if words else None
    return Field(name, kind if kind in TYPES else "text")


def _word(option: Any) -> str:
    """An option is a word, or a label with the value that is kept."""
    return str(option.get("value", option.get("label", ""))) if isinstance(option, Mapping) else str(option)


def filled_in(form: Form, given: Mapping[str, Any]) -> dict[str, Any]:
    """The answers, in the form's order; what it does not ask for is left out. Raises BadAnswer."""
    return {field.name: _answer(field, given.get(field.name)) for field in form.fields}


def _answer(field: Field, value: Any) -> str | bool:
    def bad(problem: str) -> BadAnswer:
        return BadAnswer(field=field.name, problem=problem)

    if field.type == "checkbox":
        if value not in (True, "true", "on", "1"):
            raise bad("it must be ticked")
        return True
    if not isinstance(value, str) or not value.strip():
        raise bad("it must be filled in")
    text = value.strip()
    if len(text) > _TEXT:
        raise bad(f"it has more than {_TEXT} characters")
    if field.type == "select" and text not in field.options:
        raise bad(f"it must be one of: {', '.join(field.options)}")
    if field.type == "date_picker":
        try:
            date.fromisoformat(text)
        except ValueError:
            raise bad("it must be a date such as 2026-11-22") from None
    return text
