"""`lilong certificate …`: on which software a model runs correctly."""

from __future__ import annotations

import secrets

import click

from lilong.cli_kit import common, show
from lilong.client import Client


@click.group()
def certificate() -> None:
    """On which software does a model run correctly, and how is that known?"""


COLUMNS = [("MODEL", "repository"), ("COMMIT", "commit"), ("PASSED", "passed"), ("AT", "at"), ("REVOKED BY", "revoked_by"), ("CERTIFICATE", "digest")]
ROW = [
    ("STACK", "stack"), ("VERDICT", "verdict"), ("WEIGHTS", "weights"), ("KL", "kl"), ("KL HIGH", "kl_high"), ("TOP-1", "agreement"),
    ("TOP-1 LOW", "agreement_low"), ("N", "positions"), ("REASON", "reason"),
]  # fmt: skip
MATRIX = [("MODEL", "repository"), ("COMMIT", "commit"), *((header, f"row.{key}") for header, key in ROW[:-1])]


@certificate.command("list")
@click.option("--model", help="Only those of organisation/name, or organisation/name@commit.")
@common
def list_(client: Client, as_json: bool, model: str | None) -> None:
    """List certificates, newest first."""
    show(client.get("/api/compat/certificates", model=model), as_json, COLUMNS)


@certificate.command("show")
@click.argument("digest")
@common
def show_(client: Client, as_json: bool, digest: str) -> None:
    """Show one certificate by its digest or its examination's id."""
    shown = client.get(f"/api/compat/certificates/{digest}")
    if as_json:
        show(shown, as_json=True)
        return
    head = {key: value for key, value in shown["certificate"].items() if key != "rows"}
    show(head | {key: shown["content"][key] for key in ("tested", "not_tested")}, as_json=False)
    show(shown["certificate"]["rows"], False, ROW)


@certificate.command("matrix")
@common
def matrix(client: Client, as_json: bool) -> None:
    """Show every model revision on every stack."""
    show(client.get("/api/compat/matrix"), as_json, MATRIX)


@certificate.command("stacks")
@common
def stacks(client: Client, as_json: bool) -> None:
    """List the stacks that a model can be examined on."""
    show([{"stack": stack} for stack in client.get("/api/compat/stacks")], as_json, [("STACK", "stack")])


@certificate.command("examine")
@click.argument("model")
@click.option("--corpus", required=True, help="Corpus version whose held-out texts are asked about: organisation/name@commit.")
@click.option("--organisation", required=True, help="The organisation that asks.")
@click.option("--stack", "stacks", multiple=True, help="A stack (again for more); all that are known without it.")
@click.option("--key", help="Asking twice with one key is one examination.")
@common
def examine(client: Client, as_json: bool, model: str, corpus: str, organisation: str, stacks: tuple[str, ...], key: str | None) -> None:
    """Examine MODEL (organisation/name@commit)."""
    recipe = {"stacks": list(stacks)} if stacks else {}
    ask = {"organisation": organisation, "key": key or secrets.token_hex(8), "model": model, "corpus": corpus, "recipe": recipe}
    show(client.post("/api/compat/examinations", ask), as_json)
