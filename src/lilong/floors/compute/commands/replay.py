"""`lilong compute decisions` and `lilong compute replay`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from lilong.cli_kit import common, show
from lilong.ground.errors import BadInput

if TYPE_CHECKING:
    from lilong.client import Client

_LISTED = (("NUMBER", "number"), ("AT", "at"), ("POLICY", "policy"), ("STARTS", "starts"), ("PREEMPTIONS", "preemptions"), ("RESERVATIONS", "reservations"), ("DIGEST", "digest"))  # fmt: skip
_DIFFERENT = (("NUMBER", "number"), ("AT", "at"), ("WHAT", "what"), ("JOURNAL", "journal"), ("REPLAY", "replay"))


@click.command("decisions")
@click.option("--before", type=click.IntRange(1), help="Only decisions with a smaller number.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200))
@common
def decisions(client: Client, as_json: bool, **query: Any) -> None:
    """What was decided, newest first."""
    show(client.get("/api/compute/decisions", **query), as_json, _LISTED)


@click.command("replay")
@click.option("--from", "first", type=click.IntRange(1), help="Number of the first decision. [default: the oldest that is kept]")
@click.option("--to", "last", type=click.IntRange(1), help="Number of the last decision. [default: the newest]")
@click.option("--last", "count", type=click.IntRange(1), help="Only the last so many.")
@common
def replay(client: Client, as_json: bool, first: int | None, last: int | None, count: int | None) -> None:
    """Decide again what was decided, from what was seen then, and compare bit for bit. Ends with 1 if anything differs."""
    if count is not None:
        if first is not None or last is not None:
            raise BadInput(field="--last", problem="--from and --to are given too", way_out="Give a span or a number of decisions.")
        newest = client.get("/api/compute/decisions", limit=1)
        first = max(newest[0]["number"] - count + 1, 1) if newest else 1
    told: dict[str, Any] = {"first": first, "last": None, "same": 0, "differences": []}
    while True:
        part = client.get("/api/compute/replay", first=first, last=last)
        told["first"] = part["first"] if told["first"] is None else told["first"]
        told |= {"last": part["last"], "same": told["same"] + part["same"], "differences": told["differences"] + part["differences"]}
        first = part["next"]
        if first is None:
            break
        if sys.stderr.isatty() and not as_json:
            click.echo(f"\r{part['last']} of {part['asked']}", err=True, nl=False)
    if as_json:
        show(told, as_json)
    elif told["differences"]:
        show(told["differences"], as_json, _DIFFERENT)
    click.echo(f"decisions {told['first']} to {told['last']}: {told['same']} came out again bit for bit, {len(told['differences'])} did not", err=as_json)  # fmt: skip
    if told["differences"]:
        raise SystemExit(1)
