"""Repositories made, listed, looked at and taken away; branches and tags."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub import service, store
from lilong.floors.hub.contract import Kind, Listed, RepositoryExists, RepositoryNotFound
from lilong.floors.hub.rules import card, names
from lilong.floors.hub.service import duplicating, namespaces, reading, settings, trust
from lilong.floors.hub.store import Wanted
from lilong.ground.access import PUBLIC, Actor
from lilong.ground.db import Tx
from lilong.ground.house import House

from . import shapes
from .door import (
    KINDS,
    NotAsked,
    actor_of,
    failure,
    flag_of,
    here,
    house_of,
    json_body,
    kind_of,
    next_link,
    number_of,
    place,
    prefix,
    routes,
    sent_path,
    split_rest,
    text_of,
    work,
)  # fmt: skip

_PAGE = 100
_MOST = 1000
_MOST_FULL = 100  # with the files of each


def _full_name(house: House, actor: Actor, body: dict[str, Any]) -> str:
    """`organisation/name` of a body that may name the organisation by itself, or leave it out."""
    name, organisation = text_of(body, "name"), body.get("organization") or body.get("organisation")
    if "/" in name:
        return name
    if not isinstance(organisation, str) or not organisation:
        organisation = namespaces.own(house, actor)
    return f"{organisation}/{name}"


_VISIBLE = {"public": False, "private": True, "protected": True}


def _private(body: dict[str, Any]) -> bool | None:
    """None where the body does not say. Raises NotAsked."""
    word = body.get("visibility")
    if word is None:
        return None if body.get("private") is None else bool(body["private"])
    if word not in _VISIBLE:
        raise NotAsked(field="visibility", problem="it must be public or private")
    return _VISIBLE[word]


@routes.post("/api/repos/create", allow="hub.write")
async def create(request: Request) -> Response:
    body, house, actor = await json_body(request), house_of(request), actor_of(request)
    kind = kind_of(body)
    name = await work(_full_name, house, actor, body)
    if name.partition("/")[0] == actor.user:
        await work(namespaces.own, house, actor)  # makes it where this is the first in it
    private = _private(body)
    if private is None:
        private = await work(house.db.read, lambda tx: namespaces.private_by_default(tx, name.partition("/")[0]))
    try:
        held = await work(service.create, house, actor, kind, name, private=private)
    except RepositoryExists as there:
        return failure(409, str(there), more={"url": f"{here(request)}/{prefix(kind)}{there.details['name']}"})
    return JSONResponse({"url": f"{here(request)}/{prefix(kind)}{held.name}", "name": held.name, "id": held.id})


@routes.delete("/api/repos/delete", allow="hub.write")
async def delete(request: Request) -> Response:
    body, house, actor = await json_body(request), house_of(request), actor_of(request)
    await work(service.delete, house, actor, kind_of(body), await work(_full_name, house, actor, body))
    return JSONResponse({"ok": True})


@routes.both("POST", "/api/{kinds}/{organisation}/{name}/duplicate", allow="hub.write")
async def duplicate(request: Request) -> Response:
    kind, name, _ = place(request)
    body, house, actor = await json_body(request), house_of(request), actor_of(request)
    new = text_of(body, "repository")
    if new.partition("/")[0] == actor.user:
        await work(namespaces.own, house, actor)
    try:
        held = await work(duplicating.duplicate, house, actor, kind, name, new, private=_private(body))
    except RepositoryExists as there:
        return failure(409, str(there), more={"url": f"{here(request)}/{prefix(kind)}{there.details['name']}"})
    return JSONResponse({"url": f"{here(request)}/{prefix(kind)}{held.name}", "name": held.name, "filesCopyPending": False})


@routes.both("PUT", "/api/{kinds}/{organisation}/{name}/settings", allow="hub.write")
async def change(request: Request) -> Response:
    kind, name, _ = place(request)
    body = await json_body(request)
    gated = body.get("gated")
    if gated not in (None, False, "auto", "manual"):
        raise NotAsked(field="gated", problem="it must be auto, manual or false")
    word = None if gated is None else gated or ""
    held = await work(settings.change, house_of(request), actor_of(request), kind, name, private=_private(body), gated=word)
    return JSONResponse({"private": held.repository.private, "gated": held.gated or False})


# --- lists --------------------------------------------------------------------------------------------------------------

_BOUND = re.compile(r"(min|max):(\d+(?:\.\d+)?)([KMBT]?)")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def _parameters(text: str | None) -> tuple[int | None, int | None]:
    """`min:6B,max:128B`. Raises NotAsked."""
    found: dict[str, int] = {}
    for part in text.split(",") if text else ():
        bound = _BOUND.fullmatch(part.strip())
        if bound is None:
            raise NotAsked(field="num_parameters", problem="it must be like min:6B,max:128B")
        found[bound[1]] = int(float(bound[2]) * _UNITS[bound[3]])
    return found.get("min"), found.get("max")


def _wanted(request: Request, limit: int) -> Wanted:
    query = request.query_params
    sort = query.get("sort") or "lastModified"
    sort = {"last_modified": "lastModified", "created_at": "createdAt", "trending_score": "trendingScore"}.get(sort, sort)
    if sort not in store.SORTS:
        raise NotAsked(field="sort", problem=f"it must be one of {', '.join(store.SORTS)}")
    tags = [*query.getlist("filter"), *query.getlist("pipeline_tag"), *query.getlist("library")]
    tags = [tag.strip() for word in tags for tag in word.split(",") if tag.strip()]
    gated = query.get("gated")
    before: tuple[str, str] | None = None
    if cursor := query.get("cursor"):
        key, _, identity = cursor.rpartition("~")
        before = (key, identity)
    search = " ".join(query.getlist("search")) or None
    parameters = _parameters(query.get("num_parameters"))
    return Wanted(
        query.get("author"), search, limit, before, tuple(tags[:20]), None if gated is None else gated.lower() == "true", parameters, sort
    )


@routes.both("GET", "/api/{kinds}", allow=PUBLIC)
async def list_(request: Request) -> Response:
    kind = KINDS[sent_path(request).strip("/").split("/")[1]]
    query = request.query_params
    full = flag_of(request, "full")
    limit = number_of(request, "limit", _PAGE, _MOST_FULL if full else _MOST)
    wanted = _wanted(request, limit + 1)
    if query.get("apps") or query.get("inference") or query.get("inference_provider"):
        return JSONResponse([])  # this house runs none of the public Hub's applications and providers
    expand = query.getlist("expand")
    house, actor = house_of(request), actor_of(request)
    found = await work(service.listed, house, actor, kind, wanted)
    with_card = full or flag_of(request, "cardData") or "cardData" in expand
    with_files = full or "siblings" in expand
    shown = await work(lambda: [_line(house, line, card=with_card, files=with_files) for line in found[:limit]])
    headers = {}
    if len(found) > limit:
        last = found[limit - 1][0]
        headers = next_link(request, cursor=f"{store.sort_key(last, wanted)}~{last.id}")
    return JSONResponse([shapes.expanded(line, expand) for line in shown], headers=headers)


def _line(house: House, line: tuple[store.Held, Listed], *, card: bool, files: bool) -> dict[str, Any]:
    held, listed = line
    shown = shapes.brief(held, listed)
    if card:
        shown["cardData"] = dict(held.card)
    if files and listed.commit:
        commit = house.db.read(lambda tx: store.commit(tx, held, str(listed.commit)))
        entries = reading.files_up_to(house, commit, shapes.SIBLINGS) if commit is not None else None
        shown["siblings"] = [shapes.sibling(path, entry, blobs=False) for path, entry in sorted((entries or {}).items())]
    return shown


@routes.both("GET", "/api/{kinds}-tags-by-type", allow=PUBLIC)
async def tags(request: Request) -> Response:
    kind = KINDS[sent_path(request).strip("/").split("/")[1].removesuffix("-tags-by-type")]
    return JSONResponse(await work(reading.tags_by_type, house_of(request), actor_of(request), kind))


@routes.get("/api/spaces", allow=PUBLIC)
async def spaces(request: Request) -> Response:
    """There are none: this house runs applications on its serving floor."""
    return JSONResponse([])


@routes.both("GET", "/api/{kinds}/{name}", allow=PUBLIC)
async def canonical(request: Request) -> Response:
    """Names without an organisation, such as `gpt2`: there are none here, and clients want to be told so in the usual way."""
    raise RepositoryNotFound(kind="model or dataset", name=request.path_params["name"])


@routes.both("GET", "/api/{kinds}/{organisation}/{name}", allow=PUBLIC)
async def info(request: Request) -> Response:
    return await _info(request, "main")


@routes.both("GET", "/api/{kinds}/{organisation}/{name}/revision/{revision:path}", allow=PUBLIC)
async def info_at(request: Request) -> Response:
    return await _info(request, split_rest(place(request)[2])[0])


async def _info(request: Request, revision: str) -> Response:
    kind, name, _ = place(request)
    known: shapes.Known = await work(_all_of, house_of(request), actor_of(request), kind, name, revision)
    wanted = request.query_params.getlist("expand")
    security = flag_of(request, "securityStatus") or "securityRepoStatus" in wanted
    shown = shapes.info(known, blobs=flag_of(request, "blobs"), security=security)
    return JSONResponse(shapes.expanded(shown, wanted), headers={"x-repo-commit": known.commit.id})


def _all_of(house: House, actor: Actor, kind: Kind, name: str, revision: str) -> shapes.Known:
    held, commit = reading.pinned(house, actor, kind, name, revision)
    files = reading.files_up_to(house, commit, shapes.SIBLINGS)
    return shapes.Known(held, commit, files, reading.card_of(house, commit), trust.facts_now(house, held, commit))


@routes.both("GET", "/api/{kinds}/{organisation}/{name}/refs", allow=PUBLIC)
async def refs(request: Request) -> Response:
    kind, name, _ = place(request)
    house, actor = house_of(request), actor_of(request)

    def read(tx: Tx) -> list[store.Ref]:
        return store.refs(tx, reading.opened(house, tx, actor, kind, name))

    found = await work(house.db.read, read)

    def among(start: str) -> list[dict[str, str]]:
        return [
            {"name": ref.name.removeprefix(start), "ref": ref.name, "targetCommit": ref.target}
            for ref in found
            if ref.name.startswith(start)
        ]

    pulls = among(names.PULLS) if flag_of(request, "include_prs") else []
    return JSONResponse({"branches": among(names.HEADS), "converts": [], "tags": among(names.TAGS), "pullRequests": pulls})


@routes.both("POST", "/api/{kinds}/{organisation}/{name}/branch/{branch:path}", allow="hub.write")
async def add_branch(request: Request) -> Response:
    kind, name, rest = place(request)
    start = text_of(await json_body(request), "startingPoint", "main")
    await work(service.add_branch, house_of(request), actor_of(request), kind, name, _word(rest), start)
    return JSONResponse({"ok": True})


@routes.both("DELETE", "/api/{kinds}/{organisation}/{name}/branch/{branch:path}", allow="hub.write")
async def delete_branch(request: Request) -> Response:
    kind, name, rest = place(request)
    await work(service.delete_branch, house_of(request), actor_of(request), kind, name, _word(rest))
    return JSONResponse({"ok": True})


@routes.both("POST", "/api/{kinds}/{organisation}/{name}/tag/{revision:path}", allow="hub.write")
async def add_tag(request: Request) -> Response:
    kind, name, rest = place(request)
    body = await json_body(request)
    tag, message = text_of(body, "tag"), text_of(body, "message", "")
    await work(service.add_tag, house_of(request), actor_of(request), kind, name, tag, _word(rest), message)
    return JSONResponse({"ok": True})


@routes.both("DELETE", "/api/{kinds}/{organisation}/{name}/tag/{tag:path}", allow="hub.write")
async def delete_tag(request: Request) -> Response:
    kind, name, rest = place(request)
    await work(service.delete_tag, house_of(request), actor_of(request), kind, name, _word(rest))
    return JSONResponse({"ok": True})


def _word(rest: str) -> str:
    """A branch or tag that is all of the rest; its slashes may have come encoded or not."""
    return unquote(rest)


@routes.post("/api/validate-yaml", allow=PUBLIC)
async def validate_yaml(request: Request) -> Response:
    content = text_of(await json_body(request), "content")
    try:
        about: card.Card = await work(card.parse, content)
    except card.BadCard as bad:
        return JSONResponse({"errors": [{"message": str(bad)}], "warnings": [], "error": str(bad)}, 400)
    warnings = [] if about.metadata else [{"message": "The card has no metadata: put YAML between two lines of --- at its top."}]
    return JSONResponse({"errors": [], "warnings": warnings})
