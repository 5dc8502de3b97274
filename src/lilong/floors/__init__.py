"""The floors of the house, lowest first: imports go down this list only, and only to a floor's `contract`."""

from importlib import import_module
from importlib.util import find_spec

from lilong.ground.floor import Floor

ORDER = (
    "compute",
    "hub",
    "corpus",
    "training",
    "evaluation",
    "compat",
    "serving",
    "market",
    "governance",
    "residents",
)


def declared() -> list[Floor]:
    """Every floor that this version of the house has, the lowest first."""
    found = []
    for name in ORDER:
        if find_spec(f"lilong.floors.{name}"):
            floor = getattr(import_module(f"lilong.floors.{name}"), "floor", None)
            if isinstance(floor, Floor) and all(not d or find_spec(d.split(":")[0]) for d in (floor.start, floor.api, floor.pages)):
                found.append(floor)
    return found
