"""The hub in the tower."""

from __future__ import annotations

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import reading
from lilong.floors.hub.store import Wanted
from lilong.ground.access import Actor
from lilong.ground.floor import Room
from lilong.ground.house import House

_PAGES = {Kind.MODEL: "models", Kind.DATASET: "datasets"}


def rooms(house: House, actor: Actor) -> list[Room]:
    """For the tower."""
    listed = [(folder, one) for kind, folder in _PAGES.items() for _, one in reading.listed(house, actor, kind, Wanted(limit=3))]
    return [
        Room(one.repository.name, one.repository.kind.value, f"/{folder}/{one.repository.name}", one.manifest) for folder, one in listed
    ]
