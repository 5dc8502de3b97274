"""The compat floor in the tower."""

from __future__ import annotations

from lilong.floors.compat import service
from lilong.ground.access import Actor
from lilong.ground.floor import Room
from lilong.ground.house import House


def rooms(house: House, actor: Actor) -> list[Room]:
    """For the tower."""
    found = service.certificates(house, actor)[:6]
    return [Room(one.repository, f"passes on {len(one.passed)} of {len(one.rows)}", f"/models/{one.repository}", one.digest) for one in found]
