"""The governance floor in the tower."""

from __future__ import annotations

from lilong.floors.governance import service
from lilong.ground.access import Actor
from lilong.ground.floor import Room
from lilong.ground.house import House


def rooms(house: House, actor: Actor) -> list[Room]:
    """For the tower."""
    return [Room(one.number or one.repository, one.state.value, f"/models/{one.repository}", one.artifact) for one in service.listed(house, actor)[:6]]
