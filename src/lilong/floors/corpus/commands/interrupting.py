"""Ctrl-C: every command of the floor tells what it leaves, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

_INTERRUPTED = 130  # as shells call what SIGINT has ended
SENT = "What was sent is kept in the house, and nothing is asked for yet: give the same command again."


@contextmanager
def interrupted(left: str) -> Iterator[None]:
    """Where a person interrupts, `left` is told, and the process ends."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"lilong: Interrupted. {left}", err=True)
        raise SystemExit(_INTERRUPTED) from None


class Interruptible(click.Group):
    """Commands that write all or nothing, where they do not say otherwise."""

    def invoke(self, ctx: click.Context) -> Any:
        with interrupted("Nothing half-made is left: the same command begins anew."):
            return super().invoke(ctx)
