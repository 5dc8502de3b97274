"""Sentences about jobs in the reader's language. What a program or an engine said stays as it was, marked as not of that language."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request
from markupsafe import Markup, escape

from lilong.floors.compute.rules.recalling import recalled
from lilong.floors.compute.rules.wording import Quoted, Said
from lilong.ground.pages import language, words

Teller = Callable[[str], Markup]


def teller(request: Request) -> Teller:
    return telling(words(request), language(request))


def telling(translate: Callable[[str], str], language: str) -> Teller:
    """`translate` knows the templates. A text that was kept is taken apart first (see rules.recalling)."""

    def tell(text: str) -> Markup:
        known = recalled(text)
        if isinstance(known, Quoted):
            return _quoted(known, language)
        values = {name: inner(value) if isinstance(value, str) else value for name, value in known.values.items()}
        return escape(translate(known.template)).format(**values)

    def inner(value: str) -> Markup:
        return tell(value) if isinstance(value, Said | Quoted) else escape(value)

    return tell


def _quoted(text: str, language: str) -> Markup:
    """Engines speak English as a rule; of anything but ASCII nobody knows what language it is."""
    if language == "en" and text.isascii():
        return escape(text)
    return Markup('<span lang="{}">{}</span>').format("en" if text.isascii() else "", text)
