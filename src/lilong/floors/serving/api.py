"""Serving over HTTP: the managed routes, and the gateway's own mount."""

from __future__ import annotations

from fastapi import Request
from starlette.types import ASGIApp

from lilong.floors.serving import service
from lilong.floors.serving.contract import AnswerEvidence, AskAnswer, AskAsk, DeployAsk, DeploymentRow, Receipt, ReceiptShown, Usage
from lilong.floors.serving.gateway.app import closed
from lilong.floors.serving.service import asking
from lilong.floors.serving.service.plane import Plane
from lilong.ground.house import House
from lilong.ground.web import Routes, call

routes = Routes(prefix="/api/serving", tag="serving")


def asgi(house: House) -> ASGIApp:
    """`/v1/…`: the gateway of a running house; without one, an answer that says so."""
    return house.port(Plane).gateway if house.background else closed


@routes.post("/deployments", allow="serving.deploy", status=201)
async def deploy(request: Request, ask: DeployAsk) -> DeploymentRow:
    return await call(service.deploy, request, ask)


@routes.get("/deployments", allow="serving.read")
async def deployments(request: Request) -> list[DeploymentRow]:
    return await call(service.listed, request)


@routes.get("/deployments/{deployment}", allow="serving.read")
async def deployment(request: Request, deployment: str) -> DeploymentRow:
    return await call(service.shown, request, deployment)


@routes.post("/deployments/{deployment}/stop", allow="serving.deploy")
async def stop(request: Request, deployment: str) -> DeploymentRow:
    return await call(service.stop, request, deployment)


@routes.get("/receipts", allow="serving.read")
async def receipts(request: Request, limit: int = 50) -> list[Receipt]:
    return await call(service.recent, request, limit)


@routes.get("/receipts/{receipt}", allow="serving.read")
async def receipt(request: Request, receipt: str) -> ReceiptShown:
    return await call(service.receipt, request, receipt)


@routes.post("/receipts/{receipt}/evidence", allow="serving.read")
async def evidence(request: Request, receipt: str) -> AnswerEvidence:
    return await call(service.evidence_of, request, receipt)


@routes.get("/usage", allow="serving.read")
async def usage(request: Request, organisation: str = "") -> list[Usage]:
    return await call(service.usage, request, organisation)


@routes.post("/ask", allow="serving.use")
async def ask(request: Request, asked: AskAsk) -> AskAnswer:
    return await service.ask(request.app.state.house, await call(asking.key, request), asked)
