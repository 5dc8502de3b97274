"""What may be said: titles and texts, tidied and measured."""

from __future__ import annotations

from lilong.ground.errors import BadInput

TITLE = (3, 200)  # characters
TEXT = 65_536


class BadText(BadInput):
    """The {field} cannot be used: {problem}."""

    status = 400


def title_of(text: str) -> str:
    """Raises BadText."""
    title = " ".join(text.split())
    if not TITLE[0] <= len(title) <= TITLE[1]:
        raise BadText(field="title", problem=f"it must have from {TITLE[0]} to {TITLE[1]} characters")
    return title


def text_of(text: str, least: int = 1) -> str:
    """Markdown, as it was written. Raises BadText."""
    text = text.replace("\r\n", "\n").strip()
    if not least <= len(text) <= TEXT:
        raise BadText(field="text", problem=f"it must have from {least} to {TEXT} characters")
    return text
