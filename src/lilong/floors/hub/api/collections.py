"""Collections in the JSON of the public Hub."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub.service import collections
from lilong.floors.hub.service.collections import SORTS, Change, Collection, CollectionExists, Item, Wanted
from lilong.ground.access import PUBLIC, SIGNED_IN

from . import shapes
from .door import NotAsked, actor_of, failure, here, house_of, json_body, next_link, number_of, routes, text_of, work

_HERE = "/api/collections/{owner}/{slug}"
_PAGE = 20
_MOST = 100
_GROUPS = {"models": "model", "datasets": "dataset", "buckets": "bucket", "collections": "collection", "papers": "paper"}


def _shown(request: Request, found: Collection) -> dict[str, Any]:
    return {
        "_id": found.id, "slug": found.slug, "title": found.title, "description": found.description or None, "owner": found.owner,
        "items": [_item(item) for item in found.items], "lastUpdated": shapes.time(found.updated_at), "position": found.position,
        "private": found.private, "gating": False, "theme": found.theme, "upvotes": found.upvotes, "numberItems": len(found.items),
        "shareUrl": f"{here(request)}/collections/{found.slug}",
    }  # fmt: skip


def _item(item: Item) -> dict[str, Any]:
    shown: dict[str, Any] = {"_id": item.id, "id": item.name, "type": item.kind, "position": item.position, "private": item.private}
    if item.note:
        shown["note"] = {"text": item.note, "html": escape(item.note)}
    if item.kind in ("model", "dataset"):
        shown |= {
            "author": item.name.split("/")[0], "likes": item.likes, "downloads": item.downloads, "lastModified": shapes.time(item.updated_at),
            "repoType": item.kind,
        }  # fmt: skip
    elif item.kind == "collection":
        shown |= {"slug": item.name, "title": item.title}
    return shown


def _which(request: Request) -> tuple[str, str]:
    return request.path_params["owner"], request.path_params["slug"]


def _exists(conflict: CollectionExists) -> Response:
    return failure(409, str(conflict), more={"slug": conflict.details["slug"]})


@routes.get("/api/collections", allow=PUBLIC)
async def listed(request: Request) -> Response:
    query = request.query_params
    sort = query.get("sort") or "lastModified"
    if sort not in SORTS:
        raise NotAsked(field="sort", problem=f"it must be one of {', '.join(SORTS)}")
    limit = number_of(request, "limit", _PAGE, _MOST)
    wanted = Wanted(
        tuple(query.getlist("owner")[:100]), tuple(_sought(word) for word in query.getlist("item")[:100]), query.get("q"), sort, limit + 1,
        _mark(query.get("cursor"), sort),
    )  # fmt: skip
    found: list[Collection] = await work(collections.listed, house_of(request), actor_of(request), wanted)
    headers = {}
    if len(found) > limit:
        last = found[limit - 1]
        headers = next_link(request, cursor=f"{getattr(last, SORTS[sort])}~{last.id}")
    shown = [_shown(request, one) for one in found[:limit]]
    for one in shown:
        del one["position"]  # in lists the clients count themselves
    return JSONResponse(shown, headers=headers)


def _sought(word: str) -> tuple[str, str]:
    group, _, name = word.partition("/")
    if group not in _GROUPS or not name:
        raise NotAsked(field="item", problem=f"it must begin with one of {', '.join(_GROUPS)}, such as models/organisation/name")
    return _GROUPS[group], name


def _mark(cursor: str | None, sort: str) -> tuple[str, str] | None:
    if not cursor:
        return None
    key, _, identity = cursor.partition("~")
    if SORTS[sort] == "upvotes" and not (key.isascii() and key.isdigit() and len(key) < 16):
        raise NotAsked(field="cursor", problem="it is not one of ours")
    return key, identity


@routes.post("/api/collections", allow=SIGNED_IN)
async def create(request: Request) -> Response:
    body = await json_body(request)
    actor = actor_of(request)
    given = text_of(body, "namespace", actor.user), text_of(body, "title"), text_of(body, "description", "")
    try:
        made = await work(collections.create, house_of(request), actor, *given, private=_flag(body, "private") or False)
    except CollectionExists as conflict:
        return _exists(conflict)
    return JSONResponse(_shown(request, made))


@routes.get(_HERE, allow=PUBLIC)
async def shown(request: Request) -> Response:
    return JSONResponse(_shown(request, await work(collections.shown, house_of(request), actor_of(request), *_which(request))))


@routes.route("PATCH", _HERE, allow=SIGNED_IN)
async def change(request: Request) -> Response:
    body = await json_body(request)
    words = {key: text_of(body, key) if body.get(key) is not None else None for key in ("title", "description", "theme")}
    asked = Change(private=_flag(body, "private"), position=_count(body, "position"), **words)
    try:
        changed = await work(collections.change, house_of(request), actor_of(request), *_which(request), asked)
    except CollectionExists as conflict:
        return _exists(conflict)
    return JSONResponse({"success": True, "data": _shown(request, changed)})


@routes.delete(_HERE, allow=SIGNED_IN)
async def delete(request: Request) -> Response:
    await work(collections.delete, house_of(request), actor_of(request), *_which(request))
    return JSONResponse({"success": True})


@routes.post(_HERE + "/items", allow=SIGNED_IN)
async def add_item(request: Request) -> Response:
    body = await json_body(request)
    item = body.get("item")
    if not isinstance(item, dict):
        raise NotAsked(field="item", problem="it must be an object with an id and a type")
    given = text_of(item, "type"), text_of(item, "id"), _note(body) or ""
    changed = await work(collections.add_item, house_of(request), actor_of(request), *_which(request), *given)
    return JSONResponse(_shown(request, changed))


@routes.route("PATCH", _HERE + "/items/{item}", allow=SIGNED_IN)
async def update_item(request: Request) -> Response:
    body = await json_body(request)
    given = request.path_params["item"], _note(body), _count(body, "position")
    changed = await work(collections.update_item, house_of(request), actor_of(request), *_which(request), *given)
    return JSONResponse({"success": True, "data": _shown(request, changed)})


@routes.delete(_HERE + "/items/{item}", allow=SIGNED_IN)
async def delete_item(request: Request) -> Response:
    changed = await work(collections.delete_item, house_of(request), actor_of(request), *_which(request), request.path_params["item"])
    return JSONResponse({"success": True, "data": _shown(request, changed)})


@routes.post(_HERE + "/upvote", allow=SIGNED_IN)
async def upvote(request: Request) -> Response:
    return JSONResponse(
        {"success": True, "upvotes": await work(collections.upvote, house_of(request), actor_of(request), *_which(request))}
    )


@routes.delete(_HERE + "/upvote", allow=SIGNED_IN)
async def take_upvote(request: Request) -> Response:
    count = await work(collections.upvote, house_of(request), actor_of(request), *_which(request), take_back=True)
    return JSONResponse({"success": True, "upvotes": count})


def _note(body: Mapping[str, Any]) -> str | None:
    """A text, or an object with one."""
    note = body.get("note")
    if isinstance(note, dict):
        note = note.get("text")
    return None if note is None else text_of({"note": note}, "note")


def _flag(body: Mapping[str, Any], field: str) -> bool | None:
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        raise NotAsked(field=field, problem="it must be true or false")
    return value


def _count(body: Mapping[str, Any], field: str) -> int | None:
    value = body.get(field)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or abs(value) > 1_000_000):
        raise NotAsked(field=field, problem="it must be a number")
    return value
