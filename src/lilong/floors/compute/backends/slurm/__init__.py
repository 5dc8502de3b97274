"""Slurm: the house hands attempts to a cluster by its commands, as one user of it, over a disk that both see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lilong.floors.compute.backends.slurm.cli import NotHere, SlurmRefused
from lilong.floors.compute.backends.slurm.options import Options
from lilong.floors.compute.backends.slurm.site import SlurmSite

if TYPE_CHECKING:
    from lilong.ground.house import House

__all__ = ["NotHere", "Options", "SlurmRefused", "SlurmSite", "open_site"]


def open_site(name: str, options: Mapping[str, Any], house: House) -> SlurmSite:
    """Raises BadInput for an option that cannot be used, and where Slurm's commands are not installed. Asks Slurm nothing yet."""
    return SlurmSite(name, Options.read(name, options), house.blobs)
