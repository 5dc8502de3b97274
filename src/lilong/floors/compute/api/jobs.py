"""Jobs and arrays of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from lilong.floors.compute import service
from lilong.floors.compute.contract import Job, JobAsk, JobState, LogPart
from lilong.floors.compute.service import SiteFacts, holding
from lilong.floors.compute.service.holding import Array
from lilong.ground.web import call

from .door import routes


@dataclass(frozen=True, slots=True)
class JobFile:
    """`toml`: the text of a job file."""

    toml: str


@routes.post("/compute/jobs", allow="jobs.submit", status=201)
async def submit(request: Request, ask: JobAsk) -> Job:
    """Queue a job; of an array, the first of its jobs is the answer."""
    return await call(service.submit, request, ask)


@routes.post("/compute/job-files", allow="jobs.submit", status=201)
async def submit_file(request: Request, file: JobFile) -> list[Job]:
    """Queue the jobs of a job file, all or none; of an array, the first of its jobs is in the answer."""
    return await call(service.submit_file, request, file.toml)


@routes.get("/compute/jobs", allow="jobs.read")
async def jobs(
    request: Request,
    state: JobState | None = None,
    kind: str | None = None,
    before: str | None = None,
    limit: int = 50,
    array: str | None = None,
    organisation: str | None = None,
) -> list[Job]:
    """Jobs, newest first, without their specs and inputs; `before`: the last id of the page before."""
    return await call(service.jobs, request, state, kind, before, limit, array, organisation)


@routes.get("/compute/jobs/{job_id}", allow="jobs.read")
async def show(request: Request, job_id: str) -> Job:
    """One job."""
    return await call(service.show, request, job_id)


@routes.post("/compute/jobs/{job_id}/cancel", allow="jobs.cancel")
async def cancel(request: Request, job_id: str) -> Job:
    """Ask for a job's end; idempotent."""
    return await call(service.cancel, request, job_id)


@routes.post("/compute/jobs/{job_id}/hold", allow="jobs.cancel")
async def hold(request: Request, job_id: str) -> Job:
    """Keep a waiting job from starting; idempotent."""
    return await call(holding.hold, request, job_id)


@routes.post("/compute/jobs/{job_id}/release", allow="jobs.cancel")
async def release(request: Request, job_id: str) -> Job:
    """Let a held job start; idempotent."""
    return await call(holding.release, request, job_id)


@routes.get("/compute/jobs/{job_id}/logs", allow="jobs.read")
async def logs(request: Request, job_id: str, offset: int = 0, attempt: int | None = None) -> LogPart:
    """A job's log from byte `offset` on; ask again with `next` to follow it."""
    return await call(service.logs, request, job_id, offset, attempt)


@routes.get("/compute/jobs/{job_id}/progress", allow="jobs.read")
async def progress(request: Request, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    """A job's progress lines from number `after` on."""
    return await call(service.progress, request, job_id, after)


@routes.get("/compute/jobs/{job_id}/outputs/{path:path}", allow="jobs.read")
async def output(request: Request, job_id: str, path: str) -> StreamingResponse:
    """A file that the job left."""
    size, chunks = await call(service.output, request, job_id, path)
    return StreamingResponse(chunks, media_type="application/octet-stream", headers={"content-length": str(size)})


@routes.get("/compute/arrays/{array_id}", allow="jobs.read")
async def array(request: Request, array_id: str) -> Array:
    """Jobs that were submitted together."""
    return await call(holding.array, request, array_id)


@routes.post("/compute/arrays/{array_id}/cancel", allow="jobs.cancel")
async def cancel_array(request: Request, array_id: str) -> Array:
    """Ask for the end of all jobs of an array; idempotent."""
    return await call(holding.cancel_array, request, array_id)


@routes.post("/compute/arrays/{array_id}/hold", allow="jobs.cancel")
async def hold_array(request: Request, array_id: str) -> Array:
    """Keep those jobs of an array that wait from starting; idempotent."""
    return await call(holding.hold_array, request, array_id)


@routes.post("/compute/arrays/{array_id}/release", allow="jobs.cancel")
async def release_array(request: Request, array_id: str) -> Array:
    """Let the held jobs of an array start; idempotent."""
    return await call(holding.release_array, request, array_id)


@routes.get("/compute/site", allow="jobs.read")
async def site(request: Request) -> SiteFacts:
    """The site that is this machine."""
    return await call(service.site, request)
