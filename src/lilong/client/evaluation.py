"""The evaluation floor through the client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lilong.client import Client
from lilong.floors.evaluation.contract import EvaluationRun, PlannedProtocol, ReportShown


def plan(
    client: Client,
    *,
    organisation: str,
    key: str,
    base: str,
    corpus: str,
    new: str = "",
    recipe: Mapping[str, Any] | None = None,
    tasks: str = "",
) -> PlannedProtocol:
    """Fix a protocol; the same key answers the same one."""
    ask = {
        "organisation": organisation,
        "key": key,
        "base": base,
        "corpus": corpus,
        "new": new,
        "recipe": dict(recipe or {}),
        "tasks": tasks,
    }
    return client.post("/api/evaluation/protocols", ask, PlannedProtocol)


def protocol(client: Client, name: str) -> PlannedProtocol:
    return client.get(f"/api/evaluation/protocols/{name}", PlannedProtocol)


def run(client: Client, *, organisation: str, key: str, protocol: str, new: str, base: str = "", corpus: str = "") -> EvaluationRun:
    """Carry out a protocol; the same key answers the same run."""
    ask = {"organisation": organisation, "key": key, "protocol": protocol, "new": new, "base": base, "corpus": corpus}
    return client.post("/api/evaluation/runs", ask, EvaluationRun)


def evaluation(client: Client, name: str) -> EvaluationRun:
    return client.get(f"/api/evaluation/runs/{name}", EvaluationRun)


def reports(client: Client, model: str | None = None) -> list[EvaluationRun]:
    return client.get("/api/evaluation/reports", list[EvaluationRun], model=model)


def report(client: Client, name: str) -> ReportShown:
    return client.get(f"/api/evaluation/reports/{name}", ReportShown)
