"""`lilong compute …`"""

from __future__ import annotations

import click

from lilong.floors.compute.commands.asking import estimates, what_if
from lilong.floors.compute.commands.replay import decisions, replay
from lilong.floors.compute.commands.settings import apply, drain, settings, sites
from lilong.floors.compute.commands.simulate import compare, simulate


@click.group()
def compute() -> None:
    """The queue over all sites: settings, sites, what policies would do."""


for _command in (apply, settings, sites, drain, decisions, replay, estimates, what_if, simulate, compare):
    compute.add_command(_command)
