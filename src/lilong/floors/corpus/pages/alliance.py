"""The alliance's pages: what an organisation gave, how versions differ, what was taken down, and what people asked about their data."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import RedirectResponse, Response

from lilong.floors.corpus import service
from lilong.floors.corpus.alliance.shapes import (
    Contributions,
    Reach,
    RightsAnswer,
    RightsAsk,
    RightsKind,
    RightsState,
    Takedown,
    TakedownAsk,
)
from lilong.floors.corpus.contract import SourceSet, Version
from lilong.floors.corpus.service import exploring
from lilong.ground.access import Actor
from lilong.ground.errors import BadInput, LilongError, NotFound
from lilong.ground.house import House
from lilong.ground.web import call

from .door import address, page, routes, text

_KINDS = ("document", "source", "contributor")
_FIELDS = ("version", "kind", "what", "reason", "key")
_COMPARED = 5  # versions of which it is told with whom a contributor has duplicates
_ANSWERS = (RightsState.FULFILLED, RightsState.REFUSED)


# --- takedowns -----------------------------------------------------------------------------------------------------------


@routes.get("/corpora/takedowns", allow="corpus.read")
async def takedowns(request: Request) -> Response:
    """What was taken down, and the form by which something is; with `preview` what it would reach."""
    asked = {name: text(request, name, 4000).strip() for name in _FIELDS}
    reach: Reach | None = None
    error = None
    if "preview" in request.query_params:
        try:
            reach = await call(service.preview, request, _ask(asked))
        except LilongError as problem:
            if problem.status >= 500:
                raise
            error = problem
    return await _takedowns(request, asked, reach, error)


@routes.post("/corpora/takedowns", allow="corpus.steward")
async def take_down(request: Request) -> Response:
    form = await request.form()
    asked = {name: _said(form, name) for name in _FIELDS}
    try:
        made = await call(service.takedown, request, _ask(asked))
    except LilongError as problem:
        if problem.status >= 500:
            raise
        return await _takedowns(request, asked, None, problem)
    return RedirectResponse(f"/corpora/takedowns/{made.id}", 303)


@routes.get("/corpora/takedowns/{identity}", allow="corpus.read")
async def takedown(request: Request, identity: str) -> Response:
    """One takedown, and what it reached."""
    shown = await call(service.takedown_shown, request, identity)
    return page(request, "takedown.html", shown=shown, reach=shown.reach)


async def _takedowns(request: Request, asked: dict[str, str], reach: Reach | None, error: LilongError | None) -> Response:
    def look(house: House, actor: Actor) -> tuple[list[Takedown], list[Version], list[SourceSet], bool]:
        anywhere = house.db.read(lambda tx: house.access.anywhere(tx, actor, "corpus.steward"))
        versions = [one for one in service.versions(house, actor) if one.commit and one.superseded is None]
        sets = [one for one in service.source_sets(house, actor) if one.sources]
        steward = _stewards(house, actor, {one.organisation for one in versions} | {of for one in sets for of in (one.organisation, one.contributor)})
        return (
            service.takedowns(house, actor), [one for one in versions if one.organisation in steward],
            [one for one in sets if steward & {one.organisation, one.contributor}], anywhere,
        )  # fmt: skip

    listed, versions, sets, steward = await call(look, request)
    key = asked["key"] or request.app.state.house.ids.new("takedown-page")
    return page(
        request, "takedowns.html", error.status if error else 200, takedowns=listed, versions=versions, sets=sets, steward=steward,
        asked={**asked, "key": key}, reach=reach, error=str(error) if error else "", kinds=_KINDS,
    )  # fmt: skip


def _stewards(house: House, actor: Actor, organisations: set[str]) -> set[str]:
    """Those of the organisations of which the actor is a steward."""
    return house.db.read(lambda tx: {of for of in organisations if house.access.allowed(tx, actor, "corpus.steward", of)})


def _ask(asked: dict[str, str]) -> TakedownAsk:
    """Raises BadInput."""
    if asked["kind"] not in _KINDS or not asked["what"]:
        raise BadInput(
            field="what to take down", problem="nothing is named", way_out="Name a document by its id, a source or a contributor."
        )
    return TakedownAsk(asked["version"], asked["key"] or "preview", asked["reason"], **{asked["kind"]: asked["what"]})


# --- data-rights requests ------------------------------------------------------------------------------------------------


@routes.get("/corpora/requests", allow="corpus.steward")
async def requests(request: Request) -> Response:
    """What people asked about their data, what is due first."""
    return await _requests(request, {}, None)


@routes.post("/corpora/requests", allow="corpus.steward")
async def log_request(request: Request) -> Response:
    form = await request.form()
    typed = {name: _said(form, name) for name in ("organisation", "kind", "subject", "note", "received_at", "key")}
    try:
        if typed["kind"] not in set(RightsKind):
            raise BadInput(field="kind", problem=f"there is no {typed['kind'][:40]!r}", way_out=f"Choose one of: {', '.join(RightsKind)}.")
        received = f"{typed['received_at']}T00:00:00Z" if len(typed["received_at"]) == 10 else typed["received_at"]
        ask = RightsAsk(typed["organisation"], typed["key"], RightsKind(typed["kind"]), typed["subject"], typed["note"], received)
        await call(service.log_request, request, ask)
    except LilongError as problem:
        if problem.status >= 500:
            raise
        return await _requests(request, typed, problem)
    return RedirectResponse("/corpora/requests", 303)


@routes.post("/corpora/requests/{identity}", allow="corpus.steward")
async def answer_request(request: Request, identity: str) -> Response:
    """Answer a request, or forget whose it was."""
    form = await request.form()
    try:
        if _said(form, "do") == "forget":
            await call(service.forget_request, request, identity)
        else:
            state = _said(form, "state")
            if state not in set(_ANSWERS):
                raise BadInput(field="state", problem=f"there is no {state[:40]!r}", way_out="Choose fulfilled or refused.")
            await call(
                service.answer_request, request, identity, RightsAnswer(RightsState(state), _said(form, "answer"), _said(form, "takedown"))
            )
    except NotFound:
        raise
    except LilongError as problem:
        if problem.status >= 500:
            raise
        return await _requests(request, {}, problem)
    return RedirectResponse("/corpora/requests", 303)


async def _requests(request: Request, typed: dict[str, str], error: LilongError | None) -> Response:
    def look(house: House, actor: Actor) -> tuple[list[Any], list[str]]:
        own = house.db.read(
            lambda tx: [
                one.name for one in house.access.organisations(tx, actor) if house.access.allowed(tx, actor, "corpus.steward", one.name)
            ]
        )
        return service.rights_requests(house, actor), own

    listed, organisations = await call(look, request)
    listed = sorted(listed, key=lambda one: (one.state is not RightsState.OPEN, one.due_at))
    key = typed.get("key") or request.app.state.house.ids.new("request-page")
    return page(
        request, "requests.html", error.status if error else 200, requests=listed, organisations=organisations, kinds=list(RightsKind),
        answers=_ANSWERS, typed={"organisation": "", "kind": "", "subject": "", "note": "", "received_at": "", **typed, "key": key},
        error=str(error) if error else "",
    )  # fmt: skip


# --- contributors and drift ----------------------------------------------------------------------------------------------


@routes.get("/corpora/{organisation}", allow="corpus.read")
async def contributor(request: Request, organisation: str) -> Response:
    """What an organisation gave, and what became of it."""

    def look(house: House, actor: Actor) -> tuple[list[Contributions], list[SourceSet], list[Takedown], Any, dict[str, Any], bool]:
        rows = service.contributor(house, actor, organisation)
        sets = [
            one
            for one in service.source_sets(house, actor, limit=200)
            if organisation in (one.contributor, one.contributor or one.organisation)
        ]
        member = next((one for one in service.members(house, actor) if one.organisation == organisation), None)
        if not rows and not sets and member is None:
            raise NotFound(kind="contributor", name=organisation[:200])
        taken = [one for one in service.takedowns(house, actor) if organisation in (one.organisation, *one.what.contributors)]
        steward = bool(_stewards(house, actor, {organisation}))
        return rows, sets, taken, member, _with_whom(house, actor, organisation, rows[:_COMPARED]), steward

    rows, sets, taken, member, others, steward = await call(look, request)
    return page(
        request, "contributor.html", organisation=organisation, rows=rows, sets=sets, takedowns=taken, member=member, others=others, steward=steward,
        most=max([one.contributions[0].unique_bytes for one in rows if one.contributions], default=0) or 1,
    )  # fmt: skip


def _with_whom(house: House, actor: Actor, organisation: str, rows: list[Contributions]) -> dict[str, list[tuple[str, int]]]:
    """By version, who else has duplicates of what it gave."""
    found = {}
    for row in rows:
        try:
            owners = {one["name"]: one["contributor"] for one in service.quality(house, actor, row.version).sources}
            _, found[row.version] = exploring.ask(house, actor, row.version, "alike:shared", owners, organisation)
        except LilongError as problem:
            if problem.status >= 500:
                raise
    return found


@routes.get("/corpora/{organisation}/{name}/drift", allow="corpus.read")
async def drift(request: Request, organisation: str, name: str) -> Response:
    """How a version differs from another one of its repository: by default the one before it."""
    against = text(request, "against", 64)

    def look(house: House, actor: Actor) -> dict[str, Any]:
        opened = exploring.opened(house, actor, f"{organisation}/{name}")
        beside = [one for one in service.versions(house, actor, opened.version.repository) if one.commit]
        older = [one for one in beside if one.created_at < opened.version.created_at]
        before = next((one for one in beside if one.commit == against), None) if against else (older[0] if older else None)
        if against and before is None:
            raise NotFound(kind="version of this repository", name=against)
        found, problem = None, ""
        if before is not None and before.id != opened.version.id:
            try:
                found = service.drift(house, actor, before.id, opened.version.id)
            except LilongError as error:
                if error.status >= 500:
                    raise
                problem = str(error)
        return {"opened": opened, "beside": beside, "before": before, "drift": found, "problem": problem}

    return page(request, "drift.html", home=address(organisation, name), **await call(look, request))


def _said(form: FormData, name: str, most: int = 4000) -> str:
    value = form.get(name, "")
    if isinstance(value, UploadFile):
        return ""
    return value.replace("\r\n", "\n").replace("\0", "").encode(errors="replace").decode().strip()[:most]
