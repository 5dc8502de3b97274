"""`lilong secret …`"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from lilong.cli_kit import common, show

if TYPE_CHECKING:
    from lilong.client import Client

_COLUMNS = (("ORGANISATION", "organisation"), ("NAME", "name"), ("SET BY", "set_by"), ("SET AT", "set_at"))
_organisation = click.option("--organisation", required=True, help="Whose jobs may use it.")


@click.group()
def secret() -> None:
    """Values that jobs are given and nobody is shown."""


@secret.command("set")
@click.argument("name")
@_organisation
@common
def set_(client: Client, as_json: bool, name: str, organisation: str) -> None:
    """Set or replace a secret; its value is asked for, or read from a pipe."""
    value = click.prompt("Value", hide_input=True) if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    show(client.put(f"/api/compute/secrets/{organisation}/{name}", {"value": value}), as_json)


@secret.command("list")
@click.option("--organisation", help="Only of this one.")
@common
def list_(client: Client, as_json: bool, organisation: str | None) -> None:
    """The names of the secrets that your jobs could use."""
    show(client.get("/api/compute/secrets", organisation=organisation), as_json, _COLUMNS)


@secret.command("remove")
@click.argument("name")
@_organisation
@common
def remove(client: Client, as_json: bool, name: str, organisation: str) -> None:
    """Forget a secret."""
    client.delete(f"/api/compute/secrets/{organisation}/{name}")
    show({"organisation": organisation, "removed": name}, as_json)
