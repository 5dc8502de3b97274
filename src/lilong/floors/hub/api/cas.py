"""The Xet CAS as its clients use it: chunk queries, xorbs and shards in; reconstructions and ranges out (`cas_read`)."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import structlog
from anyio.lowlevel import RunVar
from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lilong.floors.hub.service import xet_dedup, xet_register
from lilong.floors.hub.service.xet_tokens import Grant
from lilong.floors.hub.service.xet_upload import MOST, Arrival
from lilong.floors.hub.xet import shards, xorbs
from lilong.ground.blobs import storage_full
from lilong.ground.errors import BadInput, LilongError, NotFound, TooLarge
from lilong.ground.house import House

from .cas_door import DRAINED, Route, entered, refused
from .cas_read import reads
from .door import house_of, work

log = structlog.get_logger("lilong.hub.cas")

UNFORESEEN = "Something went wrong inside the house; its log has the details."
_LINES = "application/x-ndjson"
_HASH = r"/(?P<hash>[^/]+)"
_PATIENCE = 2.0  # seconds that a client waits for its answer before it is told how far things are


class NoSuchRoute(NotFound):
    """The Xet CAS has no route {name}."""


class NotThisMethod(BadInput):
    """This route is for {methods}, not for {name}."""

    status = 405


async def chunk(request: Request, hash: str) -> Response:
    grant = await entered(request, "read")
    found: bytes = await work(xet_dedup.shard, house_of(request), grant, hash)
    return Response(found, media_type="application/octet-stream")


async def grants(request: Request, hash: str) -> Response:
    """Clients that may send a xorb straight to the storage ask here first; without a grant they send it to us."""
    raise NoSuchRoute(name=request.url.path[:200])


async def xorb(request: Request, hash: str) -> Response:
    grant = await entered(request, "write")
    _check_length(request, "The xorb", MOST, xorbs.LIMIT)
    arrival = Arrival(house_of(request), grant, hash)
    try:
        await work(arrival.open)
        async for piece in request.stream():
            rest = arrival.put(piece)
            while arrival.full:
                await work(arrival.settle)
                rest = arrival.put(rest)
        await work(arrival.keep)
    finally:
        with anyio.CancelScope(shield=True):
            await work(arrival.drop)
    # Always so: whether somebody else had sent it before is nobody's business.
    return JSONResponse({"was_inserted": True})


async def shard(request: Request) -> Response:
    grant, data = await _shard(request)
    new = await _register(house_of(request), grant, data)
    return JSONResponse({"result": 1 if new else 0})


async def shard_with_progress(request: Request) -> Response:
    """What is done quickly is answered with its own status; what takes long, with lines that say how far it is."""
    grant, data = await _shard(request)
    at = [0, 0]

    def progress(done: int, total: int) -> None:
        at[:] = done, total

    registering = asyncio.create_task(_register(house_of(request), grant, data, progress))
    await asyncio.wait({registering}, timeout=_PATIENCE)
    if registering.done():
        registering.result()
        return Response(_line(type="result"), media_type=_LINES)
    registering.add_done_callback(lambda task: task.exception())  # looked at, also where the client has gone meanwhile
    return StreamingResponse(_told(registering, at), media_type=_LINES)


async def _told(registering: asyncio.Task[bool], at: list[int]) -> AsyncIterator[bytes]:
    while not registering.done():
        yield _line(type="validating", verified=at[0], total=at[1])
        await asyncio.wait({registering}, timeout=_PATIENCE)
    try:
        registering.result()
    except LilongError as problem:
        yield _line(type="error", message=str(problem), retryable=problem.status >= 500)
    except Exception as problem:
        log.error("failed", error=repr(problem), exc_info=problem)
        yield _line(type="error", message=UNFORESEEN, retryable=False)
    else:
        yield _line(type="result")


def _line(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


_registering: RunVar[anyio.CapacityLimiter] = RunVar("hub xet registrations")


async def _register(house: House, grant: Grant, data: bytes, progress: xet_register.Progress | None = None) -> bool:
    """Hashing whole files takes long: a few at a time, in threads of their own."""
    limiter = _registering.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(4)
        _registering.set(limiter)
    register = partial(xet_register.register, house, grant, data, *([progress] if progress else []))
    return await anyio.to_thread.run_sync(register, limiter=limiter)


async def _shard(request: Request) -> tuple[Grant, bytes]:
    grant = await entered(request, "write")
    _check_length(request, "The shard", shards.LIMIT, shards.LIMIT)
    pieces, size = [], 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > shards.LIMIT:
            raise TooLarge(what="The shard", size=f"more than {shards.LIMIT}", limit=shards.LIMIT)
    return grant, b"".join(pieces)


def _check_length(request: Request, what: str, most: int, limit: int) -> None:
    """Raises TooLarge before any of it is taken."""
    if _longer(request, most):
        raise TooLarge(what=what, size=request.headers["content-length"][:30], limit=limit)


def _longer(request: Request, limit: int) -> bool:
    """Whether the request says that its body is longer than so many bytes."""
    told = request.headers.get("content-length", "")
    return told.isascii() and told.isdigit() and (len(told) > 18 or int(told) > limit)


# Clients before hf_xet 1.3 leave "/v1" out.
routes: list[Route] = [
    ("GET", re.compile(rf"(?:/v1)?/chunks/(?:default|default-merkledb){_HASH}"), chunk),
    ("POST", re.compile(rf"/v1/xorb-(?:grants|commits)/default{_HASH}"), grants),
    ("POST", re.compile(rf"(?:/v1)?/xorbs/default{_HASH}"), xorb),
    ("POST", re.compile(r"(?:/v1)?/shards"), shard),
    ("POST", re.compile(r"/v2/shards"), shard_with_progress),
    *reads,
]


def asgi(house: House) -> ASGIApp:
    """`/xet/…`, without the envelope of the managed routes: bodies and answers are large, and carry tokens of their own."""
    host = SimpleNamespace(state=SimpleNamespace(house=house))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        ended = False

        async def noted() -> Message:
            nonlocal ended
            message = await receive()
            ended = not message.get("more_body", False)
            return message

        request = Request({**scope, "app": host}, noted)
        began = time.perf_counter()
        response = await _answer(request)
        if response.status_code >= 400 and not ended and not _longer(request, DRAINED):
            await _drain(noted)
        response.headers.setdefault("x-request-id", house.ids.new("req"))
        response.headers.setdefault("x-content-type-options", "nosniff")
        ms = round((time.perf_counter() - began) * 1000, 1)
        log.info("request", method=request.method, path=scope["path"], status=response.status_code, ms=ms)
        try:
            await response(scope, receive, send)
        except ClientDisconnect:
            return

    return app


async def _answer(request: Request) -> Response:
    try:
        return await _routed(request)
    except ClientDisconnect:
        return Response(status_code=499)
    except LilongError as error:
        return refused(error)
    except Exception as problem:
        if (full := storage_full(problem, house_of(request).settings.house)) is not None:
            return refused(full)
        log.error("failed", path=request.url.path, error=repr(problem), exc_info=problem)
        return refused(LilongError(UNFORESEEN))


async def _routed(request: Request) -> Response:
    path = request.scope["path"].removeprefix("/xet")
    fitting = [(method, found, handler) for method, pattern, handler in routes if (found := pattern.fullmatch(path))]
    for method, found, handler in fitting:
        if method == request.method:
            return await handler(request, **found.groupdict())
    if fitting:
        raise NotThisMethod(name=request.method, methods=" and ".join(sorted({method for method, _, _ in fitting})))
    raise NoSuchRoute(name=request.url.path[:200])


async def _drain(receive: Receive) -> None:
    """Take the rest of a body that was refused, up to a limit: a client that is still sending would not see the answer."""
    taken, more = 0, True
    while more and taken <= DRAINED:
        message = await receive()
        taken += len(message.get("body", b""))
        more = message.get("more_body", False)
