"""`lilong deployment`, `lilong receipt`, `lilong usage`, `lilong ask`."""

from __future__ import annotations

import click

from lilong.cli_kit import common, show
from lilong.client import Client

COLUMNS = [
    ("NAME", "name"),
    ("STATE", "state"),
    ("REPOSITORY", "repository"),
    ("COMMIT", "commit"),
    ("REGISTRATION", "registration_number"),
    ("ID", "id"),
]


@click.group()
def deployment() -> None:
    """Serve models, list and stop what is served."""


@deployment.command("create")
@click.argument("model")
@click.option("--organisation", required=True, help="Whose deployment it is.")
@click.option("--name", default="", help="What clients ask for (default: the repository's name).")
@click.option("--stack", default="llama.cpp", help="llama.cpp, or llama.cpp:FILE to pick one of several GGUF files.")
@click.option("--shared", is_flag=True, help="Let every organisation of the house use it.")
@click.option("--key", default="", help="Asking twice with one key deploys once (default: made from the name and model).")
@common
def create(client: Client, as_json: bool, model: str, organisation: str, name: str, stack: str, shared: bool, key: str) -> None:
    """Serve MODEL (organisation/name@revision)."""
    ask = {"organisation": organisation, "key": key or f"{name}={model}", "model": model, "name": name, "stack": stack, "shared": shared}
    show(client.post("/api/serving/deployments", ask), as_json)


@deployment.command("list")
@common
def list_(client: Client, as_json: bool) -> None:
    """What is and was served."""
    show(client.get("/api/serving/deployments"), as_json, COLUMNS)


@deployment.command("show")
@click.argument("deployment")
@common
def show_(client: Client, as_json: bool, deployment: str) -> None:
    """One deployment."""
    show(client.get(f"/api/serving/deployments/{deployment}"), as_json)


@deployment.command("stop")
@click.argument("deployment")
@common
def stop(client: Client, as_json: bool, deployment: str) -> None:
    """Take a model off the gateway."""
    show(client.post(f"/api/serving/deployments/{deployment}/stop"), as_json)


@click.group()
def receipt() -> None:
    """Look up what an answer was and what it cost."""


@receipt.command("show")
@click.argument("receipt")
@common
def show_receipt(client: Client, as_json: bool, receipt: str) -> None:
    """One receipt: the x-lilong-receipt header of an answer."""
    shown = client.get(f"/api/serving/receipts/{receipt}")
    show(shown if as_json else {**shown["receipt"], "charged": shown["billable"], "segment": shown["segment"]}, as_json)


@receipt.command("list")
@click.option("--limit", default=50, show_default=True)
@common
def list_receipts(client: Client, as_json: bool, limit: int) -> None:
    """The newest receipts."""
    columns = [
        ("AT", "at"),
        ("MODEL", "model"),
        ("STATE", "state"),
        ("PROMPT", "prompt_tokens"),
        ("COMPLETION", "completion_tokens"),
        ("ID", "id"),
    ]
    show(client.get("/api/serving/receipts", limit=limit), as_json, columns)


@click.command()
@click.option("--organisation", default="", help="Only this one.")
@common
def usage(client: Client, as_json: bool, organisation: str) -> None:
    """Tokens used, by organisation and day."""
    columns = [("DAY", "day"), ("ORGANISATION", "organisation"), ("MODEL", "model"), ("REQUESTS", "requests"), ("PROMPT", "prompt_tokens"), ("COMPLETION", "completion_tokens"), ("CHARGED", "billed_completion")]  # fmt: skip
    show(client.get("/api/serving/usage", organisation=organisation), as_json, columns)


@click.command()
@click.argument("model")
@click.argument("prompt")
@click.option("--max-tokens", default=128, show_default=True)
@common
def ask(client: Client, as_json: bool, model: str, prompt: str, max_tokens: int) -> None:
    """Ask a served MODEL something, and print its answer and receipt."""
    answer = client.post("/api/serving/ask", {"model": model, "prompt": prompt, "max_tokens": max_tokens})
    show(answer, as_json)
