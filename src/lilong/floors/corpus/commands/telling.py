"""What commands against a house have in common: a contract's values as they are printed, keys of requests, and waiting."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from lilong.floors.corpus.commands.interrupting import interrupted

if TYPE_CHECKING:
    from lilong.client import Client
    from lilong.client.corpus import Made

waiting = click.option("--wait", is_flag=True, help="Wait until it is made, or has failed (exit code 6).")


def plain(value: Any) -> Any:
    """A contract's value as the API sends it."""
    import msgspec

    return msgspec.to_builtins(value)


def key_of(*parts: str) -> str:
    """By which the same request is known again."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def finished(client: Client, made: Made, wait: bool) -> Made:
    """What was asked for, as it is in the end where somebody waits; its states are told on the way. Raises NotMade."""
    from lilong.client import corpus as door

    def tell(state: str) -> None:
        click.echo(f"{made.id} is {state} (lilong job show {made.job})", err=True)

    follow: Callable[[str], None] = tell
    with interrupted(f"{made.id} is made in the house all the same; the same command waits for it again."):
        return door.wait(client, made, follow) if wait else made
