"""What a floor declares of itself. Modules are named, not imported, so that a command loads only what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Floor:
    """All doors are 'module:name'; None where a floor has no such door."""

    name: str
    start: str | None = None  # start(house) -> None: provide ports, answer gates, subscribe to events, add chores
    api: str | None = None  # a web.Routes
    pages: str | None = None  # a web.Routes that answers with pages
    rooms: str | None = None  # rooms(house, actor) -> list[Room]: what stands on this floor now, the newest first
    commands: tuple[tuple[str, str, str], ...] = ()  # (command name, 'module:click command', one line of help)
    mounts: tuple[tuple[str, str], ...] = ()  # (path prefix, 'module:asgi'); asgi(house) is a raw ASGI app


@dataclass(frozen=True, slots=True)
class Room:
    """One thing on a floor, as the tower shows it. `digest`: the artifact by which the chain of evidence finds it."""

    title: str
    detail: str
    href: str
    digest: str | None = None


def load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
