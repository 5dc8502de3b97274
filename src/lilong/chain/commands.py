"""CLI: `lilong chain run | status | resume | list`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from lilong.cli_kit import common, show
from lilong.client import Client
from lilong.ground.errors import BadInput, Unavailable


@click.group()
def chain() -> None:
    """Carry out a chain file, from texts to a served model."""


_AS = click.option("--as", "others", multiple=True, metavar="NAME=TOKEN-FILE", help="Token of somebody whom a step's `as` names.")


@chain.command("run")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_AS
@common
def run(client: Client, as_json: bool, file: Path, others: tuple[str, ...]) -> None:
    """Carry out FILE. Steps that are done with the same inputs are kept."""
    _carry_out(client, as_json, _read(file), others)


@chain.command("resume")
@click.argument("name")
@_AS
@common
def resume(client: Client, as_json: bool, name: str, others: tuple[str, ...]) -> None:
    """Go on with a chain that the house knows; NAME is organisation/chain."""
    _carry_out(client, as_json, client.get(f"/api/chains/{_known(name)}")["source"], others)


@chain.command("status")
@click.argument("name", required=False)
@common
def status(client: Client, as_json: bool, name: str | None) -> None:
    """The steps of a chain with their states; without NAME, of the newest chain."""
    found = client.get(f"/api/chains/{_known(name)}") if name else next(iter(client.get("/api/chains")), None)
    if found is None:
        raise BadInput(field="name", problem="the house knows no chain yet", way_out="Start one with `lilong chain run FILE`.")
    show(
        found if as_json else found["steps"],
        as_json,
        [("STEP", "name"), ("USES", "uses"), ("STATE", "state"), ("FINISHED", "finished_at"), ("ERROR", "error")],
    )


@chain.command("list")
@common
def list_(client: Client, as_json: bool) -> None:
    """The chains that the house knows."""
    show(
        client.get("/api/chains"),
        as_json,
        [("ORGANISATION", "organisation"), ("NAME", "name"), ("TITLE", "title"), ("UPDATED", "updated_at")],
    )


def _known(name: str) -> str:
    if name.count("/") != 1:
        raise BadInput(field="name", problem=f"{name!r} is not organisation/chain", way_out="See `lilong chain list`.")
    return name


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise BadInput(field="file", problem=f"{file} is not UTF-8 text (byte {problem.start})", way_out="Save it as UTF-8.") from problem


def _carry_out(client: Client, as_json: bool, source: str, others: tuple[str, ...]) -> None:
    from lilong.chain import reporters, rules
    from lilong.chain.run import carry_out
    from lilong.client import opened

    parsed = rules.parse(source)
    if client.url is None:
        raise Unavailable(
            what="A chain's work",
            problem="no server has this house open, so nothing would carry it out",
            way_out="Start one first: lilong up --detach --house DIR.",
        )
    with ExitStack() as stack:
        clients: dict[str, Client] = {"": client}
        for pair in others:
            name, _, token_file = pair.partition("=")
            if not token_file:
                raise BadInput(field="as", problem=f"{pair!r} is not NAME=TOKEN-FILE", way_out="Write --as reviewer=reviewer.token.")
            clients[name] = stack.enter_context(opened(None, client.url, Path(token_file)))
        outputs: dict[str, Any] = carry_out(parsed, clients, stack.enter_context(reporters.best_for()))
    show(outputs if as_json else {name: _short(output) for name, output in outputs.items()}, as_json)


def _short(output: dict[str, Any]) -> str:
    for field in ("number", "receipt", "report", "certificate", "manifest", "id"):
        if output.get(field):
            return f"{field} {output[field]}"
    return "done"
