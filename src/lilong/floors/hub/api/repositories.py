"""Who am I; repositories made, listed, looked at and taken away; branches and tags."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub import service, store
from lilong.floors.hub.contract import Kind, RepositoryExists, RepositoryNotFound
from lilong.floors.hub.rules import card, names
from lilong.floors.hub.service import reading
from lilong.floors.hub.store import Wanted
from lilong.ground.access import PUBLIC, SIGNED_IN, Actor
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


@routes.get("/api/whoami-v2", allow=SIGNED_IN)
async def who_am_i(request: Request) -> Response:
    return JSONResponse(await work(_identity, house_of(request), actor_of(request)))


def _identity(house: House, actor: Actor) -> dict[str, Any]:
    def read(tx: Tx) -> dict[str, Any]:
        user = house.access.user(tx, actor.user)
        roles: dict[str, str] = {}
        for organisation, role in house.access.organisations_of(tx, actor.user):
            if role == "owner" or organisation not in roles:
                roles[organisation] = role
        shown = {"owner": "admin", "member": "write"}
        orgs = [
            {
                "type": "org",
                "id": name,
                "name": name,
                "fullname": house.access.organisation(tx, name).title,
                "roleInOrg": shown.get(role, "read"),
            }
            for name, role in sorted(roles.items())
        ]
        role = "write" if actor.covers("hub.write") else "read"
        token = {"displayName": actor.token or "session", "role": role}
        return {
            "type": "user", "id": user.name, "name": user.name, "fullname": user.title, "email": None, "emailVerified": False, "isPro": False,
            "canPay": False, "periodEnd": None, "avatarUrl": "", "orgs": orgs, "auth": {"type": "access_token", "accessToken": token},
        }  # fmt: skip

    return house.db.read(read)


@routes.post("/api/repos/create", allow="hub.write")
async def create(request: Request) -> Response:
    body, house, actor = await json_body(request), house_of(request), actor_of(request)
    kind, short = kind_of(body), text_of(body, "name")
    organisation = body.get("organization") or body.get("organisation")
    if "/" not in short:
        if not isinstance(organisation, str) or not organisation:
            organisation = await work(service.namespace, house, actor)
        short = f"{organisation}/{short}"
    visibility = body.get("visibility") or ("private" if body.get("private") else "public")
    if visibility not in ("public", "private"):
        raise NotAsked(field="visibility", problem="it must be public or private")
    try:
        held = await work(service.create, house, actor, kind, short, private=visibility == "private")
    except RepositoryExists as there:
        return failure(409, str(there), more={"url": f"{here(request)}/{prefix(kind)}{there.details['name']}"})
    return JSONResponse({"url": f"{here(request)}/{prefix(kind)}{held.name}", "name": held.name, "id": held.id})


@routes.delete("/api/repos/delete", allow="hub.write")
async def delete(request: Request) -> Response:
    body = await json_body(request)
    name = text_of(body, "name")
    organisation = body.get("organization")
    if "/" not in name and isinstance(organisation, str):
        name = f"{organisation}/{name}"
    await work(service.delete, house_of(request), actor_of(request), kind_of(body), name)
    return JSONResponse({"ok": True})


@routes.both("GET", "/api/{kinds}", allow=PUBLIC)
async def list_(request: Request) -> Response:
    kind = KINDS[sent_path(request).strip("/").split("/")[1]]
    query = request.query_params
    cursor = query.get("cursor")
    before: tuple[str, str] | None = None
    if cursor:
        at, _, identity = cursor.partition("~")
        before = (at, identity)
    limit = number_of(request, "limit", _PAGE, _MOST)
    wanted = Wanted(query.get("author"), query.get("search"), limit + 1, before)
    found = await work(service.listed, house_of(request), actor_of(request), kind, wanted)
    shown = [shapes.expanded(shapes.brief(*line), query.getlist("expand")) for line in found[:limit]]
    headers = {}
    if len(found) > limit:
        last = found[limit - 1][0]
        headers = next_link(request, cursor=f"{last.updated_at}~{last.id}")
    return JSONResponse(shown, headers=headers)


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
    shown = await work(_all_of, house_of(request), actor_of(request), kind, name, revision, blobs=flag_of(request, "blobs"))
    wanted = request.query_params.getlist("expand")
    return JSONResponse(shapes.expanded(shown, wanted), headers={"x-repo-commit": shown["sha"]})


def _all_of(house: House, actor: Actor, kind: Kind, name: str, revision: str, *, blobs: bool) -> dict[str, Any]:
    held, commit = reading.pinned(house, actor, kind, name, revision)
    files = reading.all_files(house, commit)
    used = house.db.read(lambda tx: store.used_storage(tx, held))
    return shapes.info(held, commit, files, reading.card_of(house, commit), used, blobs=blobs)


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

    return JSONResponse({"branches": among(names.HEADS), "converts": [], "tags": among(names.TAGS), "pullRequests": []})


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
