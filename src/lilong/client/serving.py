"""Serving, from outside: deployments, receipts, usage, a question."""

from __future__ import annotations

from dataclasses import asdict

from lilong.client import Client
from lilong.floors.serving.contract import AnswerEvidence, AskAnswer, AskAsk, DeployAsk, DeploymentRow, Receipt, ReceiptShown, Usage

_DEPLOYMENTS = "/api/serving/deployments"
_RECEIPTS = "/api/serving/receipts"


def deploy(client: Client, ask: DeployAsk) -> DeploymentRow:
    return client.post(_DEPLOYMENTS, asdict(ask), DeploymentRow)


def deployments(client: Client) -> list[DeploymentRow]:
    return client.get(_DEPLOYMENTS, list[DeploymentRow])


def deployment(client: Client, name: str) -> DeploymentRow:
    return client.get(f"{_DEPLOYMENTS}/{name}", DeploymentRow)


def stop(client: Client, name: str) -> DeploymentRow:
    return client.post(f"{_DEPLOYMENTS}/{name}/stop", {}, DeploymentRow)


def receipt(client: Client, name: str) -> ReceiptShown:
    return client.get(f"{_RECEIPTS}/{name}", ReceiptShown)


def receipts(client: Client, limit: int = 50) -> list[Receipt]:
    return client.get(_RECEIPTS, list[Receipt], limit=limit)


def evidence_of(client: Client, name: str) -> AnswerEvidence:
    return client.post(f"{_RECEIPTS}/{name}/evidence", {}, AnswerEvidence)


def usage(client: Client, organisation: str = "") -> list[Usage]:
    return client.get("/api/serving/usage", list[Usage], organisation=organisation)


def ask(client: Client, asked: AskAsk) -> AskAnswer:
    return client.post("/api/serving/ask", asdict(asked), AskAnswer)
