"""Past decisions over HTTP."""

from __future__ import annotations

from fastapi import Request

from lilong.floors.compute.service import replay as service
from lilong.ground.web import call

from .door import routes


@routes.get("/compute/decisions", allow="house.manage")
async def decisions(request: Request, before: int | None = None, limit: int = 50) -> list[service.DecisionShown]:
    """Decisions, newest first; `before`: only those with a smaller number."""
    return await call(service.decisions, request, before, limit)


@routes.get("/compute/replay", allow="house.manage")
async def replay(request: Request, first: int | None = None, last: int | None = None) -> service.Replayed:
    """Decide again what was decided, and say what differs; a few at once, go on with `next`."""
    return await call(service.replay, request, first, last)
