"""`lilong demo`: opens a house, furnishes it with fictional residents, carries out the first chain, and tells what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Any

import click

from lilong.client import Client, opened
from lilong.ground.errors import BadInput
from lilong.operations.commands import start_detached

from . import rules
from .reporters import best_for
from .run import carry_out

_PEOPLE = {"mei": ("Mei, engineer at Lantern Works", "owner", "lantern-works"), "tomas": ("Tomas, reviewer at Plum Lane", "reviewer", "lantern-works")}
_ORGANISATIONS = {"lantern-works": "Lantern Works (fictional)", "plum-lane": "Plum Lane Review Board (fictional)"}


@click.command()
@click.option("--house", type=click.Path(path_type=Path), default=Path("demo-house"), show_default=True, help="The folder to open the house in.")
@click.option("--texts", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Learn from the texts in this folder instead of Debian's documentation.")
@click.option("--chain", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Another chain file.")
@click.option("--port", type=int, help="Port of the server.")
def demo(house: Path, texts: Path | None, file: Path | None, port: int | None) -> None:
    """From raw text to a served, registered, verifiable model, with progress and a summary."""
    url = start_detached(house, {"port": port if port is not None else _free_port(house)})
    with opened(house, None, None) as operator:
        furnish(operator, house)
    source = file.read_text(encoding="utf-8") if file else first_chain()
    with ExitStack() as stack:
        mei = stack.enter_context(opened(None, url, house / "run" / "mei.token"))
        tomas = stack.enter_context(opened(None, url, house / "run" / "tomas.token"))
        if texts is not None:
            source = with_texts(source, mei, texts)
        outputs = carry_out(rules.parse(source), {"": mei, "reviewer": tomas}, best_for())
    with opened(house, None, None) as operator:
        finish(operator, house, outputs)


def first_chain() -> str:
    """The chain file that ships with the package; `examples/first-chain.toml` in a checkout."""
    packaged = resources.files("lilong.chain") / "first-chain.toml"
    return packaged.read_text(encoding="utf-8")


def _free_port(house: Path) -> int | None:
    return None if not os.environ.get("CI") else 0


def furnish(operator: Client, house: Path) -> None:
    """Fictional organisations and people, each with a token file; what is there already stays."""
    there = {organisation["name"] for organisation in operator.get("/api/house/organisations")}
    for name, title in _ORGANISATIONS.items():
        if name not in there:
            operator.post("/api/house/organisations", {"name": name, "title": title})
    people = {user["name"] for user in operator.get("/api/house/users")}
    for name, (title, role, organisation) in _PEOPLE.items():
        if name not in people:
            operator.post("/api/house/users", {"name": name, "title": title})
        operator.post("/api/house/grants", {"user": name, "role": role, "organisation": organisation})
        file = house / "run" / f"{name}.token"
        if not file.exists():
            made = operator.post("/api/house/tokens", {"title": "demo", "user": name})
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(made["secret"] + "\n")
    operator.post("/api/house/grants", {"user": "tomas", "role": "member", "organisation": "plum-lane"})
