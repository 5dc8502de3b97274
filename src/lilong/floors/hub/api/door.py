"""What every route of the hub shares: paths as they were sent, sign-in, and errors as the Hugging Face clients parse them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import RunVar
from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from lilong.floors.hub.contract import EntryNotFound, GatedRepository, Kind, RefMoved, RepositoryNotFound, RevisionNotFound
from lilong.floors.hub.service import ANONYMOUS, settings
from lilong.ground.access import OF_THE_HOUSE, PERMISSIONS, PUBLIC, SIGNED_IN, Actor
from lilong.ground.blobs import storage_full
from lilong.ground.errors import BadInput, Forbidden, LilongError, TooLarge, Unauthenticated
from lilong.ground.house import House
from lilong.ground.web import Routes, Rule, authenticate

Handler = Callable[[Request], Awaitable[Response]]

_CODES: Mapping[type[LilongError], str] = {
    RepositoryNotFound: "RepoNotFound",
    RevisionNotFound: "RevisionNotFound",
    EntryNotFound: "EntryNotFound",
    GatedRepository: "GatedRepo",
}
_DRAINED = 64 << 20  # bytes
_DRAINING = 60.0  # seconds
_PIECE = 1 << 20
KINDS = {"models": Kind.MODEL, "datasets": Kind.DATASET}


class HubRoutes(Routes):
    """Plain Starlette routes: their bodies stream, their paths keep what was encoded in them, their errors have headers."""

    def route(self, method: str, path: str, *, allow: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        if allow not in PERMISSIONS | {PUBLIC, SIGNED_IN}:
            raise RuntimeError(f"{method} {path}: {allow!r} is not in the table of permissions")
        self.rules.append(Rule(method, path, allow))
        speaks: str = options.pop("speaks", "")  # "git" or "lfs": programs that sign in by a name and a password, which is the token

        def add(handler: Handler) -> Handler:
            async def endpoint(request: Request) -> Response:
                request.state.speaks = speaks
                try:
                    _check_text(request)
                    request.state.actor = await _enter(request, allow)
                    return await handler(request)
                except ClientDisconnect:
                    return Response(status_code=499)
                except HTTPException as refused:
                    return failure(refused.status_code, str(refused.detail))
                except Stalled as error:
                    return _failed(error, request, {"connection": "close"})
                except LilongError as error:
                    await _drain(request)
                    if isinstance(error, RepositoryNotFound) and (elsewhere := await work(_moved, request)):
                        return Response(status_code=307, headers={"location": elsewhere})
                    return _failed(error, request)
                except OSError as problem:
                    full = storage_full(problem, house_of(request).settings.house)
                    if full is None:
                        raise
                    await _drain(request)
                    return _failed(full, request)

            methods = [method]
            self.router.add_route(path, endpoint, methods=methods, include_in_schema=False, name=f"hub {method} {path}")
            return handler

        return add

    def both(self, method: str, path: str, *, allow: str, **options: Any) -> Callable[[Handler], Handler]:
        """The same route for models and for datasets: `{kinds}` stands for the word in the URL; without it, only datasets have a word, in front."""

        def add(handler: Handler) -> Handler:
            for each in [path.replace("{kinds}", word) for word in KINDS] if "{kinds}" in path else [path, f"/datasets{path}"]:
                self.route(method, each, allow=allow, **options)(handler)
            return handler

        return add


routes = HubRoutes()


def _check_text(request: Request) -> None:
    """No name has a NUL, and not every database takes one. Raises NotAsked."""
    if "%00" in sent_path(request) or b"%00" in request.scope.get("query_string", b""):
        raise NotAsked(field="URL", problem="it has a NUL character")


async def _enter(request: Request, allow: str) -> Actor:
    try:
        actor = await (_by_password(request) if request.state.speaks else authenticate(request))
    except Unauthenticated as refused:
        raise BadToken() from refused
    if actor is None:
        if allow != PUBLIC:
            raise Unauthenticated()
        return ANONYMOUS
    if allow not in (PUBLIC, SIGNED_IN):
        house = house_of(request)
        if not await anyio.to_thread.run_sync(lambda: house.db.read(lambda tx: house.access.anywhere(tx, actor, allow))):
            raise Forbidden(permission=allow, actor=actor.user, scope="the house" if allow in OF_THE_HOUSE else "an organisation")
    return actor


async def _by_password(request: Request) -> Actor | None:
    """Basic authentication: any name, with a token as the password (or the token as the name and no password). Raises Unauthenticated."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return await authenticate(request)
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        raise Unauthenticated() from None
    house = house_of(request)
    return await anyio.to_thread.run_sync(lambda: house.db.read(lambda tx: house.access.authenticate(tx, password or user)))


async def _drain(request: Request) -> None:
    """Take the rest of a body that streams, up to a limit: a client that is still sending would not see our answer."""
    if not request.scope.get("lilong.large_body"):
        return
    taken = 0
    try:
        with anyio.move_on_after(_DRAINING):
            async for chunk in request.stream():
                taken += len(chunk)
                if taken > _DRAINED:
                    return
    except (ClientDisconnect, RuntimeError):  # gone, or read to its end
        return


class Stalled(LilongError):
    """Nothing more of the request came for {seconds} seconds."""

    status = 408


# The client tells a bad token from a missing repository by these words.
class BadToken(Unauthenticated):
    """Invalid credentials in Authorization header"""


def _moved(request: Request) -> str | None:
    """The same address under the name that the repository has now, if it has moved and the actor may see it."""
    actor = getattr(request.state, "actor", None)
    path = sent_path(request)
    found = _IN_API.fullmatch(path) or _AT_ROOT.fullmatch(path)
    if actor is None or found is None:
        return None
    kind, name, _ = place(request)
    new = settings.moved_to(house_of(request), actor, kind, name)
    query = request.scope.get("query_string", b"").decode("ascii", "replace")
    return None if new is None else path[: found.start(2)] + quote(new) + path[found.end(2) :] + (f"?{query}" if query else "")


def _failed(error: LilongError, request: Request, headers: Mapping[str, str] | None = None) -> Response:
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "")
    status = error.status
    if isinstance(error, RepositoryNotFound | GatedRepository) and getattr(request.state, "actor", None) is ANONYMOUS:
        status = 401  # as the public Hub does: signing in might help
    elif isinstance(error, RefMoved):
        status = 412
    if request.state.speaks:
        response = _told(request.state.speaks, status, str(error))
    else:
        response = failure(status, str(error), code, {"code": error.code(), "title": type(error).__name__, "status": status})
    response.headers.update(headers or {})
    return response


def _told(speaks: str, status: int, message: str) -> Response:
    """An error as git and git-lfs show it to their user."""
    headers = (
        {"www-authenticate": 'Basic realm="Lilong", charset="UTF-8"', "lfs-authenticate": 'Basic realm="Lilong"'} if status == 401 else {}
    )
    if speaks == "git":
        return Response(message + "\n", status, headers, media_type="text/plain")
    return JSONResponse(
        {"message": message, "error": message}, status, {**headers, "x-error-message": _header(message)}, "application/vnd.git-lfs+json"
    )


def failure(
    status: int, message: str, code: str = "", more: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    shown = {**(headers or {}), "x-error-message": _header(message)}
    if code:
        shown["x-error-code"] = code
    if status == 401:
        shown["www-authenticate"] = "Bearer"
    said = message.removesuffix(".") if status == 403 else message
    shown["x-error-message"] = _header(said)
    return JSONResponse({"error": said, "detail": message, **(more or {})}, status, shown)


def _header(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:1000]


def house_of(request: Request) -> House:
    house: House = request.app.state.house
    return house


def actor_of(request: Request) -> Actor:
    actor: Actor = request.state.actor
    return actor


def here(request: Request) -> str:
    """The address under which the client reached us, without a slash at the end."""
    return str(request.base_url).rstrip("/")


def sent_path(request: Request) -> str:
    """The path as it was sent, still percent-encoded: `refs%2Fpr%2F1` is one part of it."""
    raw = request.scope.get("raw_path")
    return raw.decode("ascii", "replace").split("?")[0] if raw else quote(request.scope["path"])


_IN_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/[^/]+(?:/(.*))?)?")
_AT_ROOT = re.compile(
    r"/(datasets/)?([^/]+/[^/]+?)(?:/resolve/|/ask-access$|\.git/info/lfs/|(?:\.git)?/(?:info/refs|git-upload-pack|git-receive-pack)$)(.*)"
)


def place(request: Request) -> tuple[Kind, str, str]:
    """Kind, name and encoded rest of a path like `/api/models/NAME/verb/rest` or `/NAME/resolve/rest`."""
    path = sent_path(request)
    if found := _IN_API.fullmatch(path):
        return KINDS[found[1]], unquote(found[2]), found[3] or ""
    if found := _AT_ROOT.fullmatch(path):
        return Kind.DATASET if found[1] else Kind.MODEL, unquote(found[2]), found[3]
    raise RepositoryNotFound(kind="model or dataset", name=unquote(path)[:200])


def prefix(kind: Kind) -> str:
    """What stands before a repository's name in URLs outside `/api`."""
    return "datasets/" if kind is Kind.DATASET else ""


def split_rest(rest: str) -> tuple[str, str]:
    """`REV` or `REV/PATH` as sent: the revision is the first part; slashes inside it came encoded, except in full ref names."""
    parts = rest.split("/")
    if parts[0] == "refs" and len(parts) > 2:
        return unquote("/".join(parts[:3])), unquote("/".join(parts[3:]))
    return unquote(parts[0]), unquote("/".join(parts[1:]))


async def json_body(request: Request) -> dict[str, Any]:
    """Raises BadInput."""
    try:
        value = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as problem:
        raise NotJson(problem=str(problem)) from problem
    if not isinstance(value, dict):
        raise NotJson(problem="it is not an object")
    return value


class NotJson(BadInput):
    """The body is not the JSON that was expected: {problem}."""

    status = 400


class NotAsked(BadInput):
    """The body's '{field}' cannot be used: {problem}."""

    status = 400


def text_of(body: Mapping[str, Any], field: str, default: str | None = None) -> str:
    """A string of a body. Raises NotAsked."""
    value = body.get(field)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not _is_plain(value):
        raise NotAsked(field=field, problem="it must be a string of characters that Unicode has, without NUL")
    return value


def _is_plain(text: str) -> bool:
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


def kind_of(body: Mapping[str, Any]) -> Kind:
    """Raises NotAsked."""
    word = body.get("type") or "model"
    if word not in (Kind.MODEL.value, Kind.DATASET.value):
        raise NotAsked(field="type", problem=f"{str(word)[:50]!r} is not a kind of repository here; there are model and dataset")
    return Kind(word)


def number_of(request: Request, field: str, default: int, most: int) -> int:
    """A count in the query, at most `most`. Raises NotAsked."""
    text = request.query_params.get(field)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise NotAsked(field=field, problem="it must be a number from 1 on")
    return min(int(text), most)


def flag_of(request: Request, field: str) -> bool:
    return request.query_params.get(field, "").lower() in ("true", "1")


def next_link(request: Request, **changed: str) -> dict[str, str]:
    """The header that leads to the next page."""
    query = [(key, value) for key, value in request.query_params.multi_items() if key not in changed]
    pairs: Sequence[tuple[str, str]] = [*query, *changed.items()]
    url = f"{here(request)}{sent_path(request)}?" + "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in pairs)
    return {"link": f'<{url}>; rel="next"'}


def pulled(request: Request, limit: int) -> Iterator[bytes]:
    """The body in pieces of about a MiB, for a worker thread that `work` started; exempt from the cap on ordinary bodies.

    Raises TooLarge beyond `limit` bytes, ClientDisconnect, Stalled.
    """
    request.scope["lilong.large_body"] = True
    piece, stream = getattr(request.state, "begun", None) or (b"", request.stream())
    taken = 0
    while piece := piece or anyio.from_thread.run(_gathered, stream, _PIECE):
        taken += len(piece)
        if taken > limit:
            raise TooLarge(what="The request", size=f"more than {limit}", limit=limit)
        yield piece
        piece = b""


async def _gathered(stream: AsyncIterator[bytes], enough: int) -> bytes:
    """The next bytes of a body, at least so many or all that come. Raises Stalled, ClientDisconnect."""
    pieces, size = [], 0
    with anyio.CancelScope(deadline=anyio.current_time() + _STALLED) as patience:
        async for piece in stream:
            patience.deadline = anyio.current_time() + _STALLED
            pieces.append(piece)
            size += len(piece)
            if size >= enough:
                break
    if patience.cancelled_caught:
        raise Stalled(seconds=int(_STALLED))
    return b"".join(pieces)


_AHEAD = 256 << 10  # bytes of a body that have come before a thread waits for the rest of it
_STALLED = 60.0  # seconds without a byte after which a client is taken for gone
_UPLOADS = 512  # threads that may wait for slow clients at the same time
_HARD = 32  # things at a time that take long by themselves
_uploading: RunVar[anyio.CapacityLimiter] = RunVar("hub uploads")
_working: RunVar[anyio.CapacityLimiter] = RunVar("hub long work")


async def take(request: Request, function: Callable[..., Any], *args: Any) -> Any:
    """Like `work`, for what reads a body by `pulled`: slow clients keep nobody else waiting.

    Until some of the body has come, no thread waits for it; then one does that nothing but bodies waits in.
    """
    request.scope["lilong.large_body"] = True
    stream = request.stream()
    request.state.begun = await _gathered(stream, _AHEAD), stream
    return await anyio.to_thread.run_sync(lambda: function(*args), limiter=_limiter(_uploading, _UPLOADS))


async def long_work(function: Callable[..., Any], *args: Any) -> Any:
    """Like `work`, for what takes seconds or waits for others, in threads of its own."""
    return await anyio.to_thread.run_sync(lambda: function(*args), limiter=_limiter(_working, _HARD))


def _limiter(var: RunVar[anyio.CapacityLimiter], count: int) -> anyio.CapacityLimiter:
    limiter = var.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(count)
        var.set(limiter)
    return limiter


async def work(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run something that blocks in a worker thread."""
    return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs))
