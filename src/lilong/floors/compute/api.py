"""The compute floor over HTTP."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from lilong.floors.compute import service
from lilong.floors.compute.contract import Job, JobAsk, JobState, LogPart
from lilong.floors.compute.service import SiteFacts
from lilong.ground.web import Routes, call

routes = Routes(prefix="/api/compute", tag="compute")


@routes.post("/jobs", allow="jobs.submit", status=201)
async def submit(request: Request, ask: JobAsk) -> Job:
    """Queue a job."""
    return await call(service.submit, request, ask)


@routes.get("/jobs", allow="jobs.read")
async def jobs(
    request: Request, state: JobState | None = None, kind: str | None = None, before: str | None = None, limit: int = 50
) -> list[Job]:
    """Jobs, newest first; `before`: the last id of the page before."""
    return await call(service.jobs, request, state, kind, before, limit)


@routes.get("/jobs/{job_id}", allow="jobs.read")
async def show(request: Request, job_id: str) -> Job:
    """One job."""
    return await call(service.show, request, job_id)


@routes.post("/jobs/{job_id}/cancel", allow="jobs.cancel")
async def cancel(request: Request, job_id: str) -> Job:
    """Ask for a job's end; idempotent."""
    return await call(service.cancel, request, job_id)


@routes.get("/jobs/{job_id}/logs", allow="jobs.read")
async def logs(request: Request, job_id: str, offset: int = 0, attempt: int | None = None) -> LogPart:
    """A job's log from byte `offset` on; ask again with `next` to follow it."""
    return await call(service.logs, request, job_id, offset, attempt)


@routes.get("/jobs/{job_id}/progress", allow="jobs.read")
async def progress(request: Request, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    """A job's progress lines from number `after` on."""
    return await call(service.progress, request, job_id, after)


@routes.get("/jobs/{job_id}/outputs/{path:path}", allow="jobs.read")
async def output(request: Request, job_id: str, path: str) -> StreamingResponse:
    """A file that the job left."""
    size, chunks = await call(service.output, request, job_id, path)
    return StreamingResponse(chunks, media_type="application/octet-stream", headers={"content-length": str(size)})


@routes.get("/site", allow="jobs.read")
async def site(request: Request) -> SiteFacts:
    """The site that runs the jobs."""
    return await call(service.site, request)
