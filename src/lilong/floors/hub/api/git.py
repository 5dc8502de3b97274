"""git's smart HTTP (gitprotocol-http(5)): fetches are answered by git's own http-backend, pushes here."""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import IO

import anyio
import anyio.to_thread
import structlog
from anyio.lowlevel import RunVar
from fastapi import Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git import packets
from lilong.floors.hub.rules import pushes
from lilong.floors.hub.service import ANONYMOUS, git_fetch, git_program, git_push, settings
from lilong.ground.access import PUBLIC
from lilong.ground.errors import BadInput, Forbidden, TooLarge, Unauthenticated
from lilong.ground.seams import start

from .door import actor_of, house_of, long_work, place, pulled, routes, take, work

log = structlog.get_logger("lilong.hub.git")

_FETCH, _PUSH = "git-upload-pack", "git-receive-pack"
_REQUEST_LIMIT = 64 << 20  # bytes of what a fetch says it has and wants
_PIECE = 1 << 16
_RESULT = f"application/x-{_PUSH}-result"
_QUIET = 5.0  # seconds
_FETCHES = 32  # that are answered at the same time
_PROTOCOL = re.compile(r"[a-z0-9=:.-]{1,100}")
_NO_CACHE = {"cache-control": "no-cache, max-age=0, must-revalidate"}
_fetching: RunVar[anyio.CapacityLimiter] = RunVar("hub fetches")
_reading: RunVar[anyio.CapacityLimiter] = RunVar("hub fetches' threads")


class NotSmart(Forbidden):
    """Only git's smart protocol is spoken here. Use git 1.6.6 or newer."""


class NotGzip(BadInput):
    """The body is not what its Content-Encoding says."""

    status = 400


async def _named(request: Request) -> tuple[Kind, str]:
    """The repository that is meant. git keeps to an address that was redirected after it signed in, so old names are answered at once."""
    kind, name, _ = place(request)
    return kind, await work(settings.moved_to, house_of(request), actor_of(request), kind, name) or name


@routes.both("GET", "/{organisation}/{name}/info/refs", allow=PUBLIC, speaks="git")
async def refs(request: Request) -> Response:
    kind, name = await _named(request)
    house, actor = house_of(request), actor_of(request)
    service = request.query_params.get("service")
    if service == _PUSH:
        if actor is ANONYMOUS:
            raise Unauthenticated("Sign in to push: any name, with a token as the password.")
        told = await work(git_push.advertised, house, actor, kind, name)
        return Response(told, headers=_NO_CACHE, media_type=f"application/x-{_PUSH}-advertisement")
    held = await work(git_fetch.opened, house, actor, kind, name)
    if service != _FETCH:
        raise NotSmart()
    folder = await long_work(git_fetch.ready, house, held)
    return await _backend(request, f"/{folder.name}/info/refs", None)


@routes.both("POST", "/{organisation}/{name}/git-upload-pack", allow=PUBLIC, speaks="git")
async def fetch(request: Request) -> Response:
    kind, name = await _named(request)
    house, actor = house_of(request), actor_of(request)
    held = await work(git_fetch.opened, house, actor, kind, name)
    folder = await long_work(git_fetch.ready, house, held)
    with tempfile.TemporaryFile() as body:
        await take(request, lambda: _spool(_plain(request, pulled(request, _REQUEST_LIMIT)), body))
        return await _backend(request, f"/{folder.name}/{_FETCH}", body)


@routes.both("POST", "/{organisation}/{name}/git-receive-pack", allow=PUBLIC, speaks="git")
async def push(request: Request) -> Response:
    kind, name = await _named(request)
    actor = actor_of(request)
    if actor is ANONYMOUS:
        raise Unauthenticated("Sign in to push: any name, with a token as the password.")
    house = house_of(request)
    push = await take(
        request, lambda: git_push.take(house, actor, kind, name, _plain(request, pulled(request, pushes.PACK_LIMIT + _PIECE)))
    )
    if push is None:
        return Response(headers=_NO_CACHE, media_type=_RESULT)
    doing = asyncio.ensure_future(long_work(git_push.carry_out, house, actor, push))
    await asyncio.wait({doing}, timeout=_QUIET)
    if doing.done() or not push.talkative:
        return Response(await doing, headers=_NO_CACHE, media_type=_RESULT)
    return StreamingResponse(_kept_alive(doing), headers=_NO_CACHE, media_type=_RESULT)


async def _kept_alive(doing: asyncio.Future[bytes]) -> AsyncIterator[bytes]:
    """The answer once it is there; until then empty packets, so that no proxy takes the silence for the end."""
    while not doing.done():
        yield packets.EMPTY_BAND
        await asyncio.wait({doing}, timeout=_QUIET)
    yield doing.result()


def _plain(request: Request, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The body as it was before git compressed it; never more than a fetch may say. Raises NotGzip, TooLarge."""
    if request.headers.get("content-encoding", "") not in ("gzip", "x-gzip"):
        yield from pieces
        return
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    taken = 0
    for piece in pieces:
        while piece:
            try:
                plain = inflater.decompress(piece, _PIECE)
            except zlib.error:
                raise NotGzip() from None
            piece = inflater.unconsumed_tail
            taken += len(plain)
            if taken > _REQUEST_LIMIT:
                raise TooLarge(what="The request", size=f"more than {_REQUEST_LIMIT}", limit=_REQUEST_LIMIT)
            yield plain


def _spool(pieces: Iterator[bytes], body: IO[bytes]) -> None:
    for piece in pieces:
        body.write(piece)
    body.seek(0)


async def _backend(request: Request, path: str, body: IO[bytes] | None) -> Response:
    """git-http-backend's answer (RFC 3875, CGI), passed on while it is made."""
    program = await work(git_program.backend)
    given = {
        **git_program.environment(), "GIT_PROJECT_ROOT": str(git_fetch.root(house_of(request)).absolute()), "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": path, "REQUEST_METHOD": request.method, "QUERY_STRING": f"service={_FETCH}" if request.method == "GET" else "",
        "CONTENT_TYPE": f"application/x-{_FETCH}-request" if request.method == "POST" else "", "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
    }  # fmt: skip
    protocol = request.headers.get("git-protocol", "")
    if _PROTOCOL.fullmatch(protocol):
        given["GIT_PROTOCOL"] = protocol
    processes = _limiter(_fetching)

    def begin() -> tuple[subprocess.Popen[bytes], int, dict[str, str]]:
        folder = git_fetch.root(house_of(request))
        process = start([program], cwd=folder, env=given, stdin=body if body is not None else subprocess.DEVNULL)
        try:
            return process, *_head(process)
        except BaseException:
            git_program.stop(process)
            raise

    await processes.acquire_on_behalf_of(request)
    try:
        process, status, headers = await work(begin)
    except BaseException:
        processes.release_on_behalf_of(request)
        raise
    identity = path.split("/")[1].removesuffix(".git")
    check = partial(git_fetch.check, house_of(request), identity)
    return _PassedOn(process, lambda: processes.release_on_behalf_of(request), status, headers, check)


def _limiter(var: RunVar[anyio.CapacityLimiter]) -> anyio.CapacityLimiter:
    limiter = var.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(_FETCHES)
        var.set(limiter)
    return limiter


class _PassedOn(StreamingResponse):
    """What a program writes, while it writes it. However the answer ends, the program ends with it."""

    def __init__(
        self, process: subprocess.Popen[bytes], done: Callable[[], None], status: int, headers: dict[str, str], check: Callable[[], object]
    ) -> None:
        super().__init__(_output(process, check), status, headers)
        self._process = process
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()
            git_program.stop(self._process)


async def _output(process: subprocess.Popen[bytes], check: Callable[[], object]) -> AsyncIterator[bytes]:
    out = process.stdout
    assert out is not None
    threads = _limiter(_reading)
    while piece := await anyio.to_thread.run_sync(out.read1, _PIECE, abandon_on_cancel=True, limiter=threads):  # type: ignore[attr-defined]
        yield piece
    if code := await anyio.to_thread.run_sync(process.wait):
        log.warning("git-http-backend failed", status=code)
        await long_work(check)


def _head(process: subprocess.Popen[bytes]) -> tuple[int, dict[str, str]]:
    assert process.stdout is not None
    status, headers = 200, {}
    while line := process.stdout.readline(_PIECE).strip():
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        else:
            headers[name.lower()] = value.strip()
    if not headers:
        raise git_program.GitMissing(problem="git-http-backend gave no answer")
    return status, headers
