"""The doors of `hf jobs`: the routes that the Hugging Face clients call to run, list, follow and end jobs."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import anyio
from fastapi import Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from lilong.floors.compute.contract import FINISHED, Job
from lilong.floors.compute.rules.hf_jobs import NotOffered
from lilong.floors.compute.service import hf_jobs
from lilong.ground.access import SIGNED_IN
from lilong.ground.errors import BadInput, LilongError
from lilong.ground.seams import parse_stamp
from lilong.ground.web import call

from .door import routes

_LOOK_S = 0.3
_ALIVE_S = 15.0
_LAST_OF_STREAM = 3600.0  # seconds after which a stream ends; the clients come back while the job lasts
_NOT_SCHEDULED = "Start the job when it is time, or let a job wait for others with `after` in a job file."

Door = Callable[..., Awaitable[Response]]


def _door(function: Door) -> Door:
    """Errors as the clients read them."""

    @functools.wraps(function)
    async def answer(request: Request, **given: Any) -> Response:
        try:
            return await function(request, **given)
        except LilongError as error:
            said = str(error)
            header = said.encode("ascii", "replace").decode().replace("\n", " ").replace("\r", " ")[:1000]
            return JSONResponse({"error": said}, error.status, {"x-error-message": header})

    return answer


async def _body(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        raise BadInput(field="body", problem="it is not JSON", way_out="Send a job as the Hugging Face clients do.") from None


@routes.get("/jobs/hardware", allow=SIGNED_IN, response_model=None, include_in_schema=False)
@_door
async def hardware(request: Request) -> Response:
    return JSONResponse(await call(hf_jobs.hardware, request))


@routes.post("/jobs/{namespace}", allow=SIGNED_IN, response_model=None, include_in_schema=False)
@_door
async def run(request: Request, namespace: str) -> Response:
    return JSONResponse(await call(hf_jobs.run, request, namespace, await _body(request)))


@routes.get("/jobs/{namespace}", allow=SIGNED_IN, response_model=None, include_in_schema=False)
@_door
async def listed(request: Request, namespace: str) -> Response:
    query = request.query_params
    stages, labels = query.getlist("stage"), query.getlist("label")
    found, after = await call(hf_jobs.listed, request, namespace, stages, labels, query.get("before"))
    headers = {}
    if after is not None:
        pairs = [*(("stage", each) for each in stages), *(("label", each) for each in labels), ("before", after)]
        address = f"{str(request.base_url).rstrip('/')}/api/jobs/{quote(namespace, safe='')}?{urlencode(pairs)}"
        headers["link"] = f'<{address}>; rel="next"'
    return JSONResponse(found, headers=headers)


@routes.get("/jobs/{namespace}/{job_id}", allow=SIGNED_IN, response_model=None, include_in_schema=False)
@_door
async def inspect(request: Request, namespace: str, job_id: str) -> Response:
    return JSONResponse(await call(hf_jobs.inspect, request, namespace, job_id))


@routes.post("/jobs/{namespace}/{job_id}/cancel", allow=SIGNED_IN, response_model=None, include_in_schema=False)
@_door
async def cancel(request: Request, namespace: str, job_id: str) -> Response:
    return JSONResponse(await call(hf_jobs.cancel, request, namespace, job_id))


@routes.post("/jobs/{namespace}/{job_id}/duplicate", allow=SIGNED_IN, response_model=None, include_in_schema=False)
@_door
async def rerun(request: Request, namespace: str, job_id: str) -> Response:
    return JSONResponse(await call(hf_jobs.rerun, request, namespace, job_id))


@routes.put("/jobs/{namespace}/{job_id}/labels", allow=SIGNED_IN, response_model=None, include_in_schema=False)
@_door
async def relabel(request: Request, namespace: str, job_id: str) -> Response:
    body = await _body(request)
    labels = body.get("labels") if isinstance(body, dict) else None
    return JSONResponse(await call(hf_jobs.relabel, request, namespace, job_id, labels))


@routes.put("/jobs/{namespace}/{job_id}/expose", allow=SIGNED_IN, response_model=None, include_in_schema=False)
@_door
async def expose(request: Request, namespace: str, job_id: str) -> Response:
    raise NotOffered(what="ports of jobs to the outside", way_out="Deploy a model with `lilong deployment create` for a service.")


# --- streams ---------------------------------------------------------------------------------------------------------------


@routes.get("/jobs/{namespace}/{job_id}/logs", allow=SIGNED_IN, response_model=None, include_in_schema=False)
@_door
async def logs(request: Request, namespace: str, job_id: str) -> Response:
    """Server-sent events, one a line, until the job has ended. With `tail`, from the last so many lines on."""
    tail = request.query_params.get("tail", "")
    skip = int(tail) if tail.isdecimal() and len(tail) < 9 else None
    first = await call(hf_jobs.lines, request, namespace, job_id)
    return _stream(_lines(request, namespace, job_id, first, skip))


async def _lines(request: Request, namespace: str, job_id: str, found: hf_jobs.Lines, tail: int | None) -> AsyncIterator[str]:
    number, quiet, began = 0, 0.0, anyio.current_time()
    kept: list[tuple[int, str]] = []  # of a tail that is not told yet
    while True:
        job, numbered = found.job, list(enumerate(found.lines, number))
        number += len(found.lines)
        if tail is not None:
            kept = [*kept, *numbered][-tail:] if tail else []
            numbered = []
            if not found.lines and not _more(found):
                numbered, tail = kept, None
        if numbered:  # many at once: a client that does not follow waits five seconds for the next piece, no longer
            yield "".join(_event(job, at, line) for at, line in numbered)
        if not found.lines and not _more(found):
            if job.state in FINISHED or anyio.current_time() - began > _LAST_OF_STREAM:
                return
            quiet += _LOOK_S
            if quiet >= _ALIVE_S:
                quiet = 0.0
                yield ": keep-alive\n\n"
            await anyio.sleep(_LOOK_S)
        found = await call(hf_jobs.lines, request, namespace, job_id, found)


def _more(found: hf_jobs.Lines) -> bool:
    """Whether a last line without an end is still to be told."""
    return bool(found.rest) and found.job.state in FINISHED


def _event(job: Job, number: int, line: str) -> str:
    """The same line has the same time whenever it is told, because the clients go by it when they come back: microseconds count the lines."""
    at = parse_stamp(job.started_at or job.created_at).astimezone(UTC).replace(microsecond=0) + timedelta(microseconds=number)
    return f"data: {json.dumps({'timestamp': _stamp(at), 'data': line}, ensure_ascii=False)}\n\n"


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@routes.get("/jobs/{namespace}/{job_id}/metrics", allow=SIGNED_IN, response_model=None, include_in_schema=False)
@_door
async def metrics(request: Request, namespace: str, job_id: str) -> Response:
    """Server-sent events, one a second, while the job runs."""
    first = await call(hf_jobs.metrics, request, namespace, job_id)
    if first is None:
        raise hf_jobs.NoMetrics(name=job_id)
    return _stream(_figures(request, namespace, job_id, first))


async def _figures(request: Request, namespace: str, job_id: str, first: dict[str, Any]) -> AsyncIterator[str]:
    began = before = anyio.current_time()
    spent: float = first["cpu_s"]
    found: dict[str, Any] | None = first
    while found is not None and before - began < _LAST_OF_STREAM:
        now, cpu_s = anyio.current_time(), found.pop("cpu_s")
        used = 100_000 * (cpu_s - spent) / (now - before) / max(found["cpu_millicores"], 1) if now - before > 0.5 else 0.0
        before, spent = now, cpu_s
        yield f"event: metric\ndata: {json.dumps({'cpu_usage_pct': round(used, 1), **found})}\n\n"
        await anyio.sleep(1.0)
        try:
            found = await call(hf_jobs.metrics, request, namespace, job_id)
        except LilongError:
            return


def _stream(events: AsyncIterator[str]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})


# --- what is not offered ---------------------------------------------------------------------------------------------------


@_door
async def _scheduled(request: Request, rest: str) -> Response:
    raise NotOffered(what="scheduled jobs", way_out=_NOT_SCHEDULED)


for _method in ("GET", "POST", "PUT", "DELETE"):
    routes.route(_method, "/scheduled-jobs/{rest:path}", allow=SIGNED_IN, response_model=None, include_in_schema=False)(_scheduled)
