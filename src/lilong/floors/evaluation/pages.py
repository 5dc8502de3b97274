"""The evaluation floor in the tower and on its report page."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from lilong.floors.evaluation import service
from lilong.ground.access import Actor
from lilong.ground.floor import Room
from lilong.ground.house import House
from lilong.ground.pages import page
from lilong.ground.web import Routes, call

routes = Routes(in_schema=False)


def rooms(house: House, actor: Actor) -> list[Room]:
    """For the tower."""
    return [Room(run.new.split("@")[0], f"better: {run.answer}", f"/reports/{run.id}", run.report) for run in service.reports(house, actor)[:6]]


@routes.get("/reports/{name}", allow="evaluation.read")
async def report(request: Request, name: str) -> Response:
    return page(request, "evaluation/report.html", shown=await call(service.report, request, name), text=await call(service.report_markdown, request, name))
