"""The HTTP glue: routes that name the permission they need, problem+json errors, request ids, security headers, body caps.

A route without an entry in `allow` cannot be declared, and a test walks every route with every role.
"""

from __future__ import annotations

import http.cookies
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio.to_thread
import structlog
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import pages
from .access import OF_THE_HOUSE, PERMISSIONS, PUBLIC, SIGNED_IN, Actor, TokenTooNarrow
from .blobs import storage_full
from .errors import Forbidden, LilongError, Unauthenticated
from .house import House

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger("lilong.web")

SESSION_COOKIE = "lilong_session"
_METHODS_THAT_CHANGE = {"POST", "PUT", "PATCH", "DELETE"}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"  # what a page may load, and where its forms may lead
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", POLICY.encode()),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    method: str
    path: str
    allow: str


class Routes:
    """A floor's routes. `allow` is a permission, PUBLIC or SIGNED_IN."""

    def __init__(self, prefix: str = "", tag: str = "", *, in_schema: bool = True) -> None:
        self.router = APIRouter(prefix=prefix, tags=[tag] if tag else None, include_in_schema=in_schema)
        self.rules: list[Rule] = []

    def route(self, method: str, path: str, *, allow: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        if allow not in PERMISSIONS | {PUBLIC, SIGNED_IN}:
            raise RuntimeError(f"{method} {path}: {allow!r} is not in the table of permissions")
        self.rules.append(Rule(method, self.router.prefix + path, allow))

        def add(handler: Callable[..., Any]) -> Callable[..., Any]:
            status = options.pop("status", 200)
            self.router.add_api_route(path, handler, methods=[method], status_code=status, dependencies=[_door(allow)], **options)
            return handler

        return add

    def get(self, path: str, *, allow: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return self.route("GET", path, allow=allow, **options)

    def post(self, path: str, *, allow: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return self.route("POST", path, allow=allow, **options)

    def put(self, path: str, *, allow: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return self.route("PUT", path, allow=allow, **options)

    def delete(self, path: str, *, allow: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return self.route("DELETE", path, allow=allow, **options)


def _door(allow: str) -> Any:
    from fastapi import Depends

    async def enter(request: Request) -> None:
        actor = await authenticate(request)
        request.state.actor = actor  # also for the page that says no
        if allow == PUBLIC:
            return
        if actor is None:
            raise Unauthenticated()
        if allow != SIGNED_IN:
            if not actor.reaches(allow):
                raise TokenTooNarrow(permission=allow)
            house: House = request.app.state.house
            if not await anyio.to_thread.run_sync(lambda: house.db.read(lambda tx: house.access.anywhere(tx, actor, allow))):
                raise Forbidden(permission=allow, actor=actor.user, scope="the house" if allow in OF_THE_HOUSE else "an organisation")

    return Depends(enter)


async def authenticate(request: Request) -> Actor | None:
    """The actor of a request by bearer token or session cookie; None for neither. Raises TokenNotUsable for a bad token.

    A cookie alone never changes anything when the request comes from another site (Origin and Sec-Fetch-Site are checked).
    """
    house: House = request.app.state.house
    header = request.headers.get("authorization", "")
    scheme, _, secret = header.partition(" ")
    if header:
        if scheme.lower() != "bearer" or not secret:
            raise Unauthenticated("Only bearer tokens are taken in the Authorization header.")
        found = secret.strip()
    elif SESSION_COOKIE in request.cookies:
        found = request.cookies[SESSION_COOKIE]
        if request.method in _METHODS_THAT_CHANGE and not _same_site(request):
            raise Forbidden("This request came from another site, so the session was not used.")
    else:
        return None
    try:
        return await anyio.to_thread.run_sync(lambda: house.db.read(lambda tx: house.access.authenticate(tx, found)))
    except Unauthenticated:
        if header:
            raise
        return None


def _same_site(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin.split("://")[-1] == request.headers.get("host")


async def call(verb: Callable[Concatenate[House, Actor, P], T], request: Request, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a service's verb for this request in a worker thread."""
    house: House = request.app.state.house
    actor: Actor = request.state.actor
    return await anyio.to_thread.run_sync(lambda: verb(house, actor, *args, **kwargs))


async def in_thread(request: Request, verb: Callable[Concatenate[House, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like `call`, for the few verbs that come before there is an actor."""
    house: House = request.app.state.house
    return await anyio.to_thread.run_sync(lambda: verb(house, *args, **kwargs))


def problem(error: LilongError, request_id: str = "") -> JSONResponse:
    """RFC 9457 problem details; `details` that are plain values come along."""
    details = {key: value for key, value in error.details.items() if isinstance(value, str | int | float | bool)}
    body = {
        "type": f"urn:lilong:{error.code()}", "title": type(error).__name__, "status": error.status, "code": error.code(), "detail": str(error),
        "exit_code": error.exit_code, "request_id": request_id, **({"details": details} if details else {}),
    }  # fmt: skip
    headers = {"www-authenticate": "Bearer"} if error.status == 401 else {}
    return JSONResponse(body, error.status, headers, media_type="application/problem+json")


def install_errors(app: Any) -> None:
    """Every error of every route in one shape."""

    def lilong(request: Request, error: Exception) -> Response:
        assert isinstance(error, LilongError)
        if error.status in (503, 507):  # what is missing is outside: its message says all
            log.warning("unavailable", id=request_id(request.scope), code=error.code(), detail=str(error))
        elif error.status >= 500:
            log.error("failed", id=request_id(request.scope), code=error.code(), detail=str(error), exc_info=error)
        if pages.wants_page(request):
            if error.status == 401 and request.method == "GET":
                return pages.to_sign_in(request)
            return pages.page(request, "error.html", error.status, code=error.status, title=type(error).__name__, detail=error.told(pages.words(request)))
        return problem(error, request_id(request.scope))

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        shown = {"type": "urn:lilong:bad-input", "title": "BadInput", "status": 422, "code": "bad-input", "detail": f"The field '{place}' cannot be used: {first['msg']}.", "request_id": request_id(request.scope), "details": {"field": place}}  # fmt: skip
        return JSONResponse(shown, 422, media_type="application/problem+json")

    def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if pages.wants_page(request):
            return pages.page(request, "error.html", error.status_code, code=error.status_code, title=error.detail, detail="")
        shown = {"type": "about:blank", "title": error.detail, "status": error.status_code, "code": "http", "detail": error.detail, "request_id": request_id(request.scope)}  # fmt: skip
        return JSONResponse(shown, error.status_code, error.headers, media_type="application/problem+json")

    def unforeseen(request: Request, error: Exception) -> Response:
        if (full := storage_full(error, request.app.state.house.settings.house)) is not None:
            return lilong(request, full)
        log.error("failed", id=request_id(request.scope), error=repr(error), exc_info=error)
        return problem(LilongError("Something went wrong inside the house; its log has the details under this request's id."), request_id(request.scope))

    app.add_exception_handler(Exception, unforeseen)
    app.add_exception_handler(LilongError, lilong)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)


def request_id(scope: Scope) -> str:
    return str(scope.get("lilong.request_id", ""))


_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:;=-]{7,127}")


def _given_id(scope: Scope) -> str | None:
    """The id by which the client will look for this request in its own logs, where it sent one."""
    given = {name: value for name, value in scope.get("headers", ()) if name in (b"x-request-id", b"x-amzn-trace-id")}
    found = given.get(b"x-request-id") or given.get(b"x-amzn-trace-id")
    return found.decode() if found is not None and _ID.fullmatch(found) else None


class Envelope:
    """Around every answer: a request id, security headers, a cap on bodies, one log line, one metric. Pure ASGI."""

    def __init__(self, app: ASGIApp, house: House, observe: Callable[[str, int, float], None]) -> None:
        self._app = app
        self._house = house
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        identity = _given_id(scope) or self._house.ids.new("req")
        scope["lilong.request_id"] = identity
        status = 500
        taken = 0
        limit = self._house.settings.max_body_mib << 20
        unlimited = bool(scope.get("lilong.large_body"))

        async def capped() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit and not unlimited and not scope.get("lilong.large_body"):
                raise HTTPException(413, f"The request body is larger than {limit >> 20} MiB.")
            return message

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in _HEADERS if h[0] not in present), (b"x-request-id", identity.encode())]
            await send(message)

        try:
            await self._app(scope, capped, dressed)
        finally:
            seconds = time.perf_counter() - began
            self._observe(scope["method"], status, seconds)
            path = scope["path"] if not scope["path"].startswith("/sign-in/") else "/sign-in/…"  # the rest of it is a secret
            log.info("request", id=identity, method=scope["method"], path=path, status=status, ms=round(seconds * 1000, 1))


def session_cookie(secret: str, *, secure: bool) -> str:
    cookie = http.cookies.SimpleCookie()
    cookie[SESSION_COOKIE] = secret
    morsel = cookie[SESSION_COOKIE]
    morsel["path"], morsel["httponly"], morsel["samesite"], morsel["max-age"] = "/", True, "Lax", 7 * 24 * 3600
    if secure:
        morsel["secure"] = True
    return morsel.OutputString()


def dumps(value: Any) -> str:
    """JSON as people and scripts read it: sorted keys, text as it is."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


Handler = Callable[..., Awaitable[Any]]
