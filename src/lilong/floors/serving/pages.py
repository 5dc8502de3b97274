"""The serving floor in the tower."""

from __future__ import annotations

from lilong.floors.serving.service import deployments
from lilong.ground.access import Actor
from lilong.ground.floor import Room
from lilong.ground.house import House


def rooms(house: House, actor: Actor) -> list[Room]:
    """For the tower."""
    return [Room(one.name, one.state, f"/models/{one.repository}", one.artifact) for one in deployments.listed(house, actor)[:6]]
