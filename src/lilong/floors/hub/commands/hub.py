"""`lilong hub`: what is done with the hub as a whole. Each command is loaded when it is called."""

from __future__ import annotations

import click

from lilong.cli_kit import LazyGroup

_COMMANDS = {
    "import": ("lilong.floors.hub.commands.exchange:import_", "Bring a repository over from another hub."),
    "mirror": ("lilong.floors.hub.commands.exchange:mirror", "Show another hub's repository; large files come when they are read."),
    "export": ("lilong.floors.hub.commands.exchange:export", "Write a repository with its history into one file."),
    "import-bundle": ("lilong.floors.hub.commands.exchange:import_bundle", "Take in a repository from a file that export wrote."),
    "gc": ("lilong.floors.hub.commands.storage:gc", "Collect what nothing refers to any more."),
    "nginx-config": ("lilong.floors.hub.commands.storage:nginx_config", "Print what nginx needs to send downloads itself."),
}


@click.group(cls=LazyGroup, listed=lambda: _COMMANDS)
def hub() -> None:
    """Repositories from and to other hubs, and the hub's storage."""
