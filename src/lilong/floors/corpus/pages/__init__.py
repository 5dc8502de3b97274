"""The corpus floor's pages: versions, what is in them and why the rest is not, who gave it, and what was taken down."""

from __future__ import annotations

from lilong.floors.corpus import service
from lilong.ground.access import Actor
from lilong.ground.floor import Room
from lilong.ground.house import House

from . import alliance, exploring, signals, versions
from .door import routes

__all__ = ["alliance", "exploring", "rooms", "routes", "signals", "versions"]


def rooms(house: House, actor: Actor) -> list[Room]:
    """For the tower."""
    found = [version for version in service.versions(house, actor, limit=6) if version.manifest]
    return [Room(v.repository, f"{v.figures['documents']['kept']:,} documents", f"/corpora/{v.repository}", v.manifest) for v in found]
