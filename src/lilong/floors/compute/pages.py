"""The compute floor's pages: the queue, and one job with its live log and curves."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from lilong.floors.compute import service
from lilong.floors.compute.contract import FINISHED
from lilong.ground.access import Actor
from lilong.ground.draw import curve
from lilong.ground.floor import Room
from lilong.ground.house import House
from lilong.ground.pages import page
from lilong.ground.web import Routes, call

routes = Routes(in_schema=False)
_TAIL = 20_000  # bytes of log shown


@routes.get("/jobs", allow="jobs.read")
async def jobs(request: Request, before: str | None = None) -> Response:
    return page(request, "compute/jobs.html", jobs=await call(service.jobs, request, before=before), site=await call(service.site, request))


@routes.get("/jobs/{job_id}", allow="jobs.read")
async def job(request: Request, job_id: str) -> Response:
    shown = await call(service.show, request, job_id)
    progress = await call(service.progress, request, job_id, 0)
    log = await call(service.logs, request, job_id, -_TAIL)
    points = [(float(line["step"]), float(line["loss"])) for line in progress if "loss" in line]
    return page(
        request, "compute/job.html", job=shown, working=shown.state not in FINISHED, progress=progress[-1] if progress else None,
        log=log, points=points, chart=curve(points, title="Training loss by step", x_label="step", y_label="loss (nats a token)"),
    )  # fmt: skip


def rooms(house: House, actor: Actor) -> list[Room]:
    """For the tower."""
    return [Room(job.ask.kind, job.state.value, f"/jobs/{job.id}") for job in service.jobs(house, actor, limit=6)]
