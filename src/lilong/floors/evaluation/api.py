"""HTTP doors of the evaluation floor."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.responses import PlainTextResponse

from lilong.floors.evaluation import service
from lilong.floors.evaluation.contract import EvaluationRun, PlannedProtocol, ProtocolAsk, ReportShown, RunAsk
from lilong.ground.web import Routes, call

routes = Routes(prefix="/api/evaluation", tag="evaluation")


@routes.post("/protocols", allow="evaluation.run", status=201)
async def plan(request: Request, ask: ProtocolAsk) -> PlannedProtocol:
    return await call(service.plan, request, ask)


@routes.get("/protocols", allow="evaluation.read")
async def protocols(request: Request) -> list[PlannedProtocol]:
    return await call(service.protocols, request)


@routes.get("/protocols/{name}", allow="evaluation.read")
async def protocol(request: Request, name: str) -> PlannedProtocol:
    return await call(service.protocol, request, name)


@routes.get("/protocols/{name}/document", allow="evaluation.read")
async def protocol_document(request: Request, name: str) -> dict[str, Any]:
    return await call(service.protocol_document, request, name)


@routes.post("/runs", allow="evaluation.run", status=201)
async def run(request: Request, ask: RunAsk) -> EvaluationRun:
    return await call(service.run, request, ask)


@routes.get("/runs", allow="evaluation.read")
async def runs(request: Request) -> list[EvaluationRun]:
    return await call(service.evaluations, request)


@routes.get("/runs/{name}", allow="evaluation.read")
async def evaluation(request: Request, name: str) -> EvaluationRun:
    return await call(service.evaluation, request, name)


@routes.get("/reports", allow="evaluation.read")
async def reports(request: Request, model: str | None = None) -> list[EvaluationRun]:
    return await call(service.reports, request, model)


@routes.get("/reports/{name}", allow="evaluation.read")
async def report(request: Request, name: str) -> ReportShown:
    return await call(service.report, request, name)


@routes.get("/reports/{name}/markdown", allow="evaluation.read", response_class=PlainTextResponse)
async def report_markdown(request: Request, name: str) -> str:
    return await call(service.report_markdown, request, name)
