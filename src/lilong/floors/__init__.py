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
    return [import_module(f"lilong.floors.{name}").floor for name in ORDER if find_spec(f"lilong.floors.{name}")]
