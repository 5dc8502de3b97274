"""A house with nothing in it but the ground and the compute floor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lilong.floors.compute import service
from lilong.ground.access import SYSTEM
from lilong.ground.config import load
from lilong.ground.db import Tx
from lilong.ground.house import House, open_house
from lilong.ground.migrations import migrate

ORGANISATION = "lantern-works"
OTHER = "other-yard"


def open_compute(folder: Path, *, background: bool = False, **settings: object) -> House:
    """Open (or make) a house in `folder` with the compute floor, two organisations, and mei, an owner in the first."""
    given = {"cpus": 2, "memory_mib": 4096, **settings}
    house = open_house(load(folder, given, environment={}))
    house.background = background
    migrate(house.db, [("ground", "lilong.ground"), ("compute", "lilong.floors.compute")], house.clock)
    house.db.write(lambda tx: furnish(house, tx))
    service.start(house)
    for start in house.starting:
        start()
    return house


def furnish(house: House, tx: Tx) -> None:
    if tx.row("SELECT 1 FROM ground_users WHERE name = 'mei'") is not None:
        return
    for name in (ORGANISATION, OTHER):
        house.access.add_organisation(tx, SYSTEM, name, name)
    for user, role, organisation in (("mei", "owner", ORGANISATION), ("tom", "member", ORGANISATION), ("ada", "member", OTHER)):
        house.access.add_user(tx, SYSTEM, user)
        house.access.grant(tx, SYSTEM, user, role, organisation)
    house.access.add_user(tx, SYSTEM, "olga")
    house.access.grant(tx, SYSTEM, "olga", "operator", None)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = open_compute(tmp_path / "house")
    yield house
    from lilong.floors.compute.backends.local import LocalSite

    house.port(LocalSite).stop()
    house.close()
