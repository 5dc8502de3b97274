"""`lilong hub`: what is done with the hub as a whole. Each command is loaded when it is called."""

from __future__ import annotations

from importlib import import_module

import click

_COMMANDS = {
    "import": ("lilong.floors.hub.commands.exchange:import_", "Bring a repository over from another hub."),
    "mirror": ("lilong.floors.hub.commands.exchange:mirror", "Show another hub's repository, and fetch its files when they are asked for."),
    "export": ("lilong.floors.hub.commands.exchange:export", "Write a repository with its history and statements into one file."),
    "import-bundle": ("lilong.floors.hub.commands.exchange:import_bundle", "Take in a repository from such a file."),
    "gc": ("lilong.floors.hub.commands.storage:gc", "Collect what nothing refers to any more."),
    "nginx-config": ("lilong.floors.hub.commands.storage:nginx_config", "Print what nginx needs to send the files itself."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = _COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, _, name = found[0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, doc) for name, (_, doc) in _COMMANDS.items()])


@click.group(cls=_Lazy)
def hub() -> None:
    """The hub: storage, and repositories from and to elsewhere."""
