"""The `lilong` command. Loads a floor's commands only when one of them is called."""

from __future__ import annotations

import atexit
import errno
import gc
import sys
from typing import Any

import click

from . import __version__
from .cli_kit import LazyGroup

_OWN = (
    ("up", "lilong.operations.commands:up", "Open the house and serve it."),
    ("down", "lilong.operations.commands:down", "Stop the server of a house."),
    ("demo", "lilong.chain.demo:demo", "From raw text to a served model, with progress and a summary."),
    ("status", "lilong.operations.commands:status", "How the house is doing."),
    ("user", "lilong.operations.commands:user", "Users and their roles."),
    ("org", "lilong.operations.commands:org", "Organisations."),
    ("token", "lilong.operations.commands:token", "API tokens."),
    ("admin", "lilong.operations.admin_commands:admin", "What an operator does once in a while: bring users over from another hub."),
    ("backup", "lilong.operations.commands:backup", "Copy the whole house, while it runs."),
    ("restore", "lilong.operations.commands:restore", "Make a house from a backup."),
    ("chain", "lilong.chain.commands:chain", "Carry out a chain file, from texts to a served model."),
    ("verify", "lilong.operations.evidence_commands:verify", "Check an exported bundle, or the whole house."),
    ("export", "lilong.operations.evidence_commands:export", "Write the evidence of something as a bundle."),
    ("trace", "lilong.operations.evidence_commands:trace", "Walk from a thing to what it was made from, or what it touched."),
)


def _commands() -> dict[str, tuple[str, str]]:
    from .floors import declared

    found = {name: (place, doc) for name, place, doc in _OWN}
    for floor in declared():
        found.update({name: (place, doc) for name, place, doc in floor.commands})
    return found


@click.group(cls=LazyGroup, listed=_commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lilong")
def root() -> None:
    """Lilong: from raw text to a served model, with one signed chain of evidence."""


def main() -> Any:
    from .ground.errors import LilongError

    atexit.register(gc.freeze)  # else the interpreter looks through all that was imported once more before it ends: up to 0.4 s
    try:
        return root(standalone_mode=True)
    except LilongError as problem:
        click.echo(f"lilong: {problem}", err=True)
        sys.exit(problem.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except ModuleNotFoundError as problem:
        if (problem.name or "lilong").startswith("lilong"):
            raise
        click.echo(f"lilong: The package '{problem.name}' is missing. Run `pip install 'lilong[all]'` and try again.", err=True)
        sys.exit(7)
    except OSError as problem:
        if problem.filename is None and problem.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f"{problem.filename}: " if problem.filename is not None else ""
        click.echo(f"lilong: {place}{problem.strerror}.", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
