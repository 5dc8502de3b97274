"""The console's own pages: sign-in, home, chains, evidence; and the static files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import Form, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from lilong.chain import service as chains
from lilong.floors.hub.pages.snippets import gateway
from lilong.floors.serving.contract import AskAsk
from lilong.floors.serving.service import asking
from lilong.ground.access import PUBLIC, SIGNED_IN
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.pages import LANGUAGES, THEMES, page
from lilong.ground.web import SESSION_COOKIE, Routes, call, in_thread, session_cookie
from lilong.operations import service as operations

from . import views

routes = Routes(in_schema=False)
_STATIC = Path(__file__).parent / "static"
_FILES = {file.name: file for file in _STATIC.iterdir()}  # only these: no name from a request becomes a path


@routes.get("/static/{name}", allow=PUBLIC)
async def static(name: str) -> Response:
    if name not in _FILES:
        raise NotFound(kind="file", name=name)
    return FileResponse(_FILES[name], headers={"cache-control": "public, max-age=3600"})


@routes.get("/", allow=PUBLIC)
async def home(request: Request, select: str = "") -> Response:
    if request.state.actor is None:
        return RedirectResponse("/sign-in", 303)
    return page(request, "home.html", tower=await call(views.tower, request, select), chains=(await call(chains.chains, request))[:1])


@routes.get("/sign-in", allow=PUBLIC)
async def sign_in_form(request: Request, next: str = "/") -> Response:
    return page(request, "sign-in.html", next=_local(next), error=None)


@routes.post("/sign-in", allow=PUBLIC)
async def sign_in(request: Request, name: Annotated[str, Form()], password: Annotated[str, Form()], next: Annotated[str, Form()] = "/") -> Response:
    try:
        secret = await in_thread(request, operations.sign_in_with_password, name, password)
    except LilongError as problem:
        return page(request, "sign-in.html", 401, next=_local(next), error=str(problem))
    return _signed_in(request, secret, next)


@routes.get("/sign-in/{secret}", allow=PUBLIC)
async def link(request: Request, secret: str) -> Response:
    """Only a form: what fetches links ahead of people must not spend it."""
    return page(request, "link.html")


@routes.post("/sign-in/{secret}", allow=PUBLIC)
async def use_link(request: Request, secret: str) -> Response:
    return _signed_in(request, await in_thread(request, operations.sign_in, secret), "/")


@routes.post("/sign-out", allow=SIGNED_IN)
async def sign_out(request: Request) -> Response:
    if request.state.actor.token is not None:
        await call(operations.revoke_token, request, request.state.actor.token)
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(SESSION_COOKIE)
    return response


@routes.post("/preferences", allow=PUBLIC)
async def preferences(next: Annotated[str, Form()] = "/", language: Annotated[str, Form()] = "", theme: Annotated[str, Form()] = "") -> Response:
    response = RedirectResponse(_local(next), 303)
    for name, value, known in (("lilong_language", language, LANGUAGES), ("lilong_theme", theme, THEMES)):
        if value in known:
            response.set_cookie(name, value, max_age=365 * 24 * 3600, samesite="lax", httponly=True)
    return response


@routes.get("/chains", allow=SIGNED_IN)
async def chain_list(request: Request) -> Response:
    return page(request, "chains.html", chains=await call(chains.chains, request))


@routes.get("/chains/{organisation}/{name}", allow="chain.read")
async def chain(request: Request, organisation: str, name: str) -> Response:
    shown = await call(chains.show, request, organisation, name)
    return page(request, "chain.html", chain=shown, links=views.links_of(shown), working=any(step.state == "running" for step in shown.steps))


@routes.get("/evidence/{statement}", allow="evidence.read")
async def evidence(request: Request, statement: str) -> Response:
    return page(request, "evidence.html", **await call(views.statement, request, statement))


@routes.get("/models/{organisation}/{name}", allow="hub.read")
async def model(request: Request, organisation: str, name: str) -> Response:
    shown = await call(views.model, request, f"{organisation}/{name}")
    return _model(request, shown)


@routes.post("/models/{organisation}/{name}/ask", allow="serving.use")
async def ask(request: Request, organisation: str, name: str, served: Annotated[str, Form()], question: Annotated[str, Form()]) -> Response:
    """Ask a deployment of this model; the answer comes as a part of the model's page."""
    shown = await call(views.model, request, f"{organisation}/{name}")
    answer, error = None, None
    try:
        answer = await asking.ask(request.app.state.house, await call(asking.key, request), AskAsk(served, question[:4000], max_tokens=96))
    except LilongError as problem:
        error = str(problem)
    return _model(request, shown, question, answer, error)


def _model(request: Request, shown: views.ModelShown, question: str = "", answer: Any = None, error: str | None = None) -> Response:
    served = next((one.name for one in shown.deployments if one.state == "ready"), "")
    snippet = gateway(served, str(request.base_url).rstrip("/"))
    return page(request, "model.html", model=shown, charts=views.charts(shown), question=question, answer=answer, error=error, snippet=snippet)


def _local(target: str) -> str:
    """Only a path of this house: a sign-in must not lead elsewhere."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/"


def _signed_in(request: Request, secret: str, target: str) -> Response:
    response = RedirectResponse(_local(target), 303)
    response.headers.append("set-cookie", session_cookie(secret, secure=request.url.scheme == "https"))
    return response
