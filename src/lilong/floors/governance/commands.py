"""CLI: registration, statement."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from lilong.cli_kit import common, show
from lilong.client import Client

_REGISTRATIONS = "/api/governance/registrations"
_STATEMENTS = "/api/evidence/statements"


@click.group()
def registration() -> None:
    """Registrations: what may be served, and why."""


@registration.command("list")
@common
def list_(client: Client, as_json: bool) -> None:
    """Every registration that you may see, the newest first."""
    columns = [("NUMBER", "number"), ("STATE", "state"), ("MODEL", "repository"), ("COMMIT", "commit"), ("STACK", "stack"), ("ID", "id")]
    show(client.get(_REGISTRATIONS), as_json, columns)


@registration.command("show")
@click.argument("name")
@common
def show_(client: Client, as_json: bool, name: str) -> None:
    """One registration, by number or id, with how each requirement stands."""
    _show(client.get(f"{_REGISTRATIONS}/{quote(name, safe='')}"), as_json)


@registration.command("request")
@click.argument("model")
@click.option("--profile", default="house", show_default=True, help="What is asked of the model.")
@click.option("--stack", default="llama.cpp", show_default=True, help="The software that is to serve it.")
@common
def request(client: Client, as_json: bool, model: str, profile: str, stack: str) -> None:
    """Ask for the registration of MODEL (organisation/name@revision)."""
    organisation = model.partition("/")[0]
    _show(client.post(_REGISTRATIONS, {"organisation": organisation, "model": model, "profile": profile, "stack": stack}), as_json)


@registration.command("check")
@click.argument("model")
@click.option("--profile", default="house", show_default=True, help="What is asked of the model.")
@click.option("--stack", default="llama.cpp", show_default=True, help="The software that is to serve it.")
@common
def check(client: Client, as_json: bool, model: str, profile: str, stack: str) -> None:
    """How the requirements stand for MODEL, without asking for anything."""
    _requirements(client.get("/api/governance/decision", model=model, profile=profile, stack=stack), as_json)


@registration.command("review")
@click.argument("name")
@click.argument("verdict", type=click.Choice(["approve", "reject"]))
@click.option("--comment", required=True, help="What you looked at, and why you decide so.")
@common
def review(client: Client, as_json: bool, name: str, verdict: str, comment: str) -> None:
    """Approve or reject a request, as a person of another organisation; signed with your key."""
    _show(client.post(f"{_REGISTRATIONS}/{quote(name, safe='')}/reviews", {"verdict": verdict, "comment": comment}), as_json)


@registration.command("revoke")
@click.argument("name")
@click.option("--reason", required=True, help="Why it no longer holds.")
@common
def revoke(client: Client, as_json: bool, name: str, reason: str) -> None:
    """Take a registration back for good."""
    _show(client.post(f"{_REGISTRATIONS}/{quote(name, safe='')}/revocation", {"reason": reason}), as_json)


def _show(value: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show(value, True)
        return
    show({key: item for key, item in value.items() if key != "decision"}, False)
    _requirements(value["decision"], False)


def _requirements(decision: dict[str, Any], as_json: bool) -> None:
    columns = [("REQUIREMENT", "id"), ("STANDING", "standing"), ("WHY", "why")]
    show(decision if as_json else decision["requirements"], as_json, columns)


@click.group()
def statement() -> None:
    """Signed statements: list, show, revoke."""


@statement.command("list")
@click.option("--limit", default=50, show_default=True, help="How many.")
@common
def statements(client: Client, as_json: bool, limit: int) -> None:
    """The newest statements."""
    show(client.get(_STATEMENTS, limit=limit), as_json, [("AT", "at"), ("TYPE", "predicate_type"), ("REVOKED BY", "revoked_by"), ("ID", "id")])


@statement.command("show")
@click.argument("identity")
@common
def statement_show(client: Client, as_json: bool, identity: str) -> None:
    """One statement: what it says, about what, made from what, signed by whom."""
    show(client.get(f"{_STATEMENTS}/{identity}"), as_json)


@statement.command("revoke")
@click.argument("identity")
@click.option("--reason", required=True, help="Why it no longer holds.")
@common
def statement_revoke(client: Client, as_json: bool, identity: str, reason: str) -> None:
    """Take a statement back; all that rests on it is listed, and registrations among it are suspended."""
    show(client.post(f"{_STATEMENTS}/{identity}/revocation", {"reason": reason}), as_json)
