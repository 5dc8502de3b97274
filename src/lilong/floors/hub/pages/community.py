"""Discussions and pull requests with their review, and the gate before a repository's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData
from starlette.responses import Response

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import access_requests, discussions, pull_requests
from lilong.floors.hub.store.community import Filter
from lilong.ground.access import PUBLIC, SIGNED_IN, Actor
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.house import House
from lilong.ground.pages import page

from . import markdown, views
from .door import address, ask, attempt, go, routes, text, work

_PAGE = 30
_KINDS, _STATUSES = ("all", "discussion", "pull_request"), ("open", "closed", "all")


def _context(head: views.Head, tab: str = "discussions") -> dict[str, Any]:
    return {"section": f"/{head.held.kind.value}s", "tab": tab, "head": head, "at": head.at}


def _number(request: Request) -> int:
    word = str(request.path_params["number"])
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        raise NotFound(kind="discussion", name=word[:40])
    return int(word)


@routes.both("GET", "/discussions", allow=PUBLIC)
async def listed(request: Request) -> Response:
    at, query = address(request), request.query_params
    kind, status = query.get("kind", "all"), query.get("status", "open")
    wanted = Filter(
        kind if kind in _KINDS else "all",
        status if status in _STATUSES else "open",
        search=query.get("search", "")[:200].replace("\0", "") or None,
    )
    number = query.get("page", "0")
    at_page = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0
    head = await ask(request, views.head, at.kind, at.name)
    shown = await ask(request, discussions.listed, at.kind, at.name, wanted, page=at_page, limit=_PAGE)
    more = shown.start + len(shown.discussions) < shown.count
    return page(request, "hub/discussions.html", shown=shown, wanted=wanted, at_page=at_page, more=more, **_context(head))


@routes.both("GET", "/discussions/new", allow=SIGNED_IN)
async def new_form(request: Request) -> Response:
    at = address(request)
    head = await ask(request, views.head, at.kind, at.name)
    proposes = request.query_params.get("kind") == "pull_request"
    return page(request, "hub/new-discussion.html", title="", text="", proposes=proposes, error=None, **_context(head))


@routes.form("/discussions/new")
async def new(request: Request) -> Response:
    at = address(request)
    form = await request.form()
    title, said, proposes = text(form, "title", most=500), text(form, "text"), text(form, "kind", most=20) == "pull_request"
    made, error = await attempt(ask(request, discussions.open_new, at.kind, at.name, title, said, pull_request=proposes))
    if error is None:
        return go(at.discussion(made.number))
    head = await ask(request, views.head, at.kind, at.name)
    return page(
        request, "hub/new-discussion.html", error.status, title=title, text=said, proposes=proposes, error=str(error), **_context(head)
    )


@routes.both("GET", "/discussions/{number}", allow=PUBLIC)
async def one(request: Request) -> Response:
    return await _one(request, None)


async def _one(request: Request, error: LilongError | None, said: str = "") -> Response:
    at, number = address(request), _number(request)
    head = await ask(request, views.head, at.kind, at.name)
    shown = await ask(request, discussions.shown, at.kind, at.name, number, diff=True)
    said_so_far = [event.text for event in shown.events if event.kind == "comment" and not event.hidden]
    rendered = (await work(markdown.render_all, said_so_far, at)).__getitem__
    return page(
        request, "hub/discussion.html", error.status if error else 200, shown=shown, number=number, rendered=rendered, said=said,
        error=str(error) if error else None, base=(shown.discussion.base or "").removeprefix(views.HEADS), **_context(head),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Deed:
    """What a form on a discussion's page asks for."""

    kind: Kind
    name: str
    number: int
    form: FormData

    def do(self, house: House, actor: Actor, verb: str) -> None:
        said, comment = text(self.form, "text"), text(self.form, "comment", most=100)
        place = (house, actor, self.kind, self.name, self.number)
        match verb:
            case "comment":
                discussions.comment(*place, said)
            case "edit":
                discussions.edit_comment(*place, comment, said)
            case "hide":
                discussions.hide_comment(*place, comment)
            case "title":
                discussions.rename(*place, text(self.form, "title", most=500))
            case "status":
                discussions.change_status(*place, "closed" if text(self.form, "status", most=10) == "closed" else "open", said)
            case "merge":
                pull_requests.merge(*place, said)
            case _:
                raise NotFound(kind="deed", name=verb[:40])


@routes.form("/discussions/{number}/{verb}")
async def deed(request: Request) -> Response:
    at, number = address(request), _number(request)
    form = await request.form()
    _, error = await attempt(ask(request, _Deed(at.kind, at.name, number, form).do, request.path_params["verb"]))
    return go(at.discussion(number)) if error is None else await _one(request, error, text(form, "text"))


# --- the gate -----------------------------------------------------------------------------------------------------------


@routes.both("GET", "/access", allow=SIGNED_IN)
async def gate(request: Request) -> Response:
    return await _gate(request, None)


async def _gate(request: Request, error: LilongError | None) -> Response:
    at = address(request)
    head = await ask(request, views.head, at.kind, at.name)
    shown = await ask(request, access_requests.gate, at.kind, at.name)
    return page(
        request, "hub/access.html", error.status if error else 200, shown=shown, prompt=markdown.render(shown.form.prompt, at, below=2),
        description=markdown.render(shown.form.description, at, below=2), error=str(error) if error else None, **_context(head, ""),
    )  # fmt: skip


@routes.form("/access")
async def ask_for_access(request: Request) -> Response:
    at = address(request)
    form = await request.form()
    if text(form, "do", most=10) == "withdraw":
        _, error = await attempt(ask(request, access_requests.withdraw, at.kind, at.name))
    else:
        fields = {key.removeprefix("field:"): text(form, key) for key in form if key.startswith("field:")}
        _, error = await attempt(ask(request, access_requests.ask, at.kind, at.name, fields))
    return go(f"{at.home}/access") if error is None else await _gate(request, error)


@routes.both("GET", "/requests", allow=SIGNED_IN)
async def requests(request: Request) -> Response:
    return await _requests(request, None)


async def _requests(request: Request, error: LilongError | None) -> Response:
    at = address(request)
    status = request.query_params.get("status", "pending")
    status = status if status in access_requests.STATUSES else "pending"
    head = await ask(request, views.head, at.kind, at.name)
    word, _, identity = request.query_params.get("after", "")[:200].replace("\0", "").rpartition("~")
    found = await ask(request, access_requests.of, at.kind, at.name, status, after=(word, identity) if word else None, limit=51)
    return page(
        request, "hub/requests.html", error.status if error else 200, found=found[:50], more=found[49] if len(found) > 50 else None, among=status,
        statuses=access_requests.STATUSES, error=str(error) if error else None, **_context(head, "settings"),
    )  # fmt: skip


@routes.form("/requests")
async def answer(request: Request) -> Response:
    at = address(request)
    form = await request.form()
    if text(form, "do", most=10) == "grant":
        _, error = await attempt(
            _known(request, ask(request, access_requests.grant, at.kind, at.name, text(form, "user", most=100).strip()))
        )
    else:
        status, reason = text(form, "status", most=10), text(form, "reason", most=300)
        handled = ask(
            request,
            access_requests.handle,
            at.kind,
            at.name,
            status,
            request_id=text(form, "request", most=100),
            reason=reason if status == "rejected" else "",
        )
        _, error = await attempt(handled)
    return go(f"{at.home}/requests") if error is None else await _requests(request, error)


class NobodyThere(LilongError):
    """There is no user of that name."""

    status = 422


async def _known(request: Request, deed: Any) -> Any:
    """A mistyped name is a mistake in the form, not a page that is missing."""
    try:
        return await deed
    except NotFound as missing:
        if missing.details.get("kind") == "user":
            raise NobodyThere() from missing
        raise
