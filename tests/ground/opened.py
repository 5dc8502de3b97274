"""A house with the ground alone: database, blobs, keys, events, evidence."""

from __future__ import annotations

from pathlib import Path

from lilong.ground.config import Settings
from lilong.ground.house import House, open_house
from lilong.ground.migrations import migrate


def ground(folder: Path, database: str = "") -> House:
    house = open_house(Settings(house=folder, database=database))
    migrate(house.db, [("ground", "lilong.ground")], house.clock)
    return house
