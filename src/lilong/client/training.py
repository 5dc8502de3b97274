"""The training floor through the client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lilong.client import Client
from lilong.floors.training.contract import Base, Run, RunShown


def import_base(client: Client, *, organisation: str, key: str, repository: str, requirement: str, index: str = "") -> Base:
    """Import the model that a Python package carries; the same key answers the same import."""
    ask = {"organisation": organisation, "key": key, "repository": repository, "requirement": requirement, "index": index}
    return client.post("/api/training/bases", ask, Base)


def bases(client: Client) -> list[Base]:
    return client.get("/api/training/bases", list[Base])


def base(client: Client, name: str) -> Base:
    """By id, or organisation/name[@commit]."""
    return client.get(f"/api/training/bases/{name}", Base)


def train(
    client: Client, *, organisation: str, key: str, base: str, corpus: str, repository: str, recipe: Mapping[str, Any] | None = None
) -> Run:
    """Train a base on a corpus version; the same key answers the same run."""
    ask = {"organisation": organisation, "key": key, "base": base, "corpus": corpus, "repository": repository, "recipe": dict(recipe or {})}
    return client.post("/api/training/runs", ask, Run)


def runs(client: Client) -> list[Run]:
    return client.get("/api/training/runs", list[Run])


def run(client: Client, name: str) -> Run:
    """By id, or organisation/name[@commit]."""
    return client.get(f"/api/training/runs/{name}", Run)


def shown(client: Client, name: str) -> RunShown:
    """A run with the loss of every step so far."""
    return client.get(f"/api/training/curves/{name}", RunShown)
