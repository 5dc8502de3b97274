"""The compat floor through the client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lilong.client import Client
from lilong.floors.compat.contract import Certificate, CertificateShown, Examination, MatrixLine


def examine(client: Client, *, organisation: str, key: str, model: str, corpus: str, recipe: Mapping[str, Any] | None = None) -> Examination:
    """Ask for an examination; the same key answers the same one."""
    ask = {"organisation": organisation, "key": key, "model": model, "corpus": corpus, "recipe": dict(recipe or {})}
    return client.post("/api/compat/examinations", ask, Examination)


def examination(client: Client, identity: str) -> Examination:
    return client.get(f"/api/compat/examinations/{identity}", Examination)


def certificates(client: Client, model: str | None = None) -> list[Certificate]:
    return client.get("/api/compat/certificates", list[Certificate], model=model)


def certificate(client: Client, digest: str) -> CertificateShown:
    return client.get(f"/api/compat/certificates/{digest}", CertificateShown)


def matrix(client: Client) -> list[MatrixLine]:
    return client.get("/api/compat/matrix", list[MatrixLine])
