"""HTTP doors of the training floor."""

from __future__ import annotations

from fastapi import Request

from lilong.floors.training import service
from lilong.floors.training.contract import Base, BaseAsk, Run, RunAsk, RunShown
from lilong.ground.web import Routes, call

routes = Routes(prefix="/api/training", tag="training")


@routes.post("/bases", allow="training.run", status=201)
async def import_base(request: Request, ask: BaseAsk) -> Base:
    return await call(service.import_base, request, ask)


@routes.get("/bases", allow="training.read")
async def bases(request: Request, limit: int = 50) -> list[Base]:
    return await call(service.bases, request, limit)


@routes.get("/bases/{name:path}", allow="training.read")
async def base(request: Request, name: str) -> Base:
    return await call(service.base, request, name)


@routes.post("/runs", allow="training.run", status=201)
async def train(request: Request, ask: RunAsk) -> Run:
    return await call(service.train, request, ask)


@routes.get("/runs", allow="training.read")
async def runs(request: Request, limit: int = 50) -> list[Run]:
    return await call(service.runs, request, limit)


@routes.get("/curves/{name:path}", allow="training.read")
async def curve(request: Request, name: str) -> RunShown:
    return await call(service.shown, request, name)


@routes.get("/runs/{name:path}", allow="training.read")
async def run(request: Request, name: str) -> Run:
    return await call(service.run, request, name)
