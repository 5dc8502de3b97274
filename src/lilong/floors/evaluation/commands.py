"""`lilong report …`: how good is a model, compared with its base, and how sure is that?"""

from __future__ import annotations

import click

from lilong.cli_kit import common, show
from lilong.client import Client

COLUMNS = [("MODEL", "new"), ("AGAINST", "base"), ("ANSWER", "answer"), ("AT", "finished_at"), ("RUN", "id"), ("REPORT", "report")]
PLANS = [("TITLE", "title"), ("STATE", "state"), ("BASE", "base"), ("CORPUS", "corpus"), ("ID", "id"), ("DIGEST", "digest")]


@click.group()
def report() -> None:
    """How good is a model, compared with its base, and how sure is that?"""


@report.command("list")
@click.option("--model", help="Only those of organisation/name, or organisation/name@commit.")
@common
def list_(client: Client, as_json: bool, model: str | None) -> None:
    """List test reports, newest first."""
    show(client.get("/api/evaluation/reports", model=model), as_json, COLUMNS)


@report.command("show")
@click.argument("name")
@common
def show_(client: Client, as_json: bool, name: str) -> None:
    """Show one report by its digest or its run's id; with --json the whole of it."""
    if as_json:
        show(client.get(f"/api/evaluation/reports/{name}"), as_json)
    else:
        click.echo(client.download(f"/api/evaluation/reports/{name}/markdown").decode())


@report.command("protocols")
@common
def protocols(client: Client, as_json: bool) -> None:
    """List protocols: what was fixed before any run."""
    show(client.get("/api/evaluation/protocols"), as_json, PLANS)
