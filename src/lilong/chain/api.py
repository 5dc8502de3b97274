"""HTTP: the chains that the house remembers."""

from __future__ import annotations

from fastapi import Request

from lilong.ground.access import SIGNED_IN
from lilong.ground.web import Routes, call

from . import service
from .service import ChainAsk, ChainShown, StepAsk

routes = Routes(prefix="/api/chains", tag="chain")


@routes.get("", allow=SIGNED_IN)
async def chains(request: Request) -> list[ChainShown]:
    return await call(service.chains, request)


@routes.put("", allow="chain.run")
async def keep(request: Request, ask: ChainAsk) -> ChainShown:
    return await call(service.keep, request, ask)


@routes.get("/{organisation}/{name}", allow="chain.read")
async def show(request: Request, organisation: str, name: str) -> ChainShown:
    return await call(service.show, request, organisation, name)


@routes.put("/{organisation}/{name}/steps/{step}", allow="chain.run")
async def note(request: Request, organisation: str, name: str, step: str, ask: StepAsk) -> ChainShown:
    return await call(service.note, request, organisation, name, step, ask)
