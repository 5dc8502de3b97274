"""Who am I; users and organisations; namespaces and what their repositories take."""

from __future__ import annotations

import hashlib
from html import escape
from typing import Any
from urllib.parse import quote

import msgspec
from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub.service import namespaces, people, users
from lilong.floors.hub.service.users import Identity, Limits, Overview
from lilong.ground.access import PUBLIC, SIGNED_IN, Organisation

from .door import NotAsked, actor_of, here, house_of, json_body, next_link, number_of, routes, work

_PAGE, _MOST = 500, 1000
# What the public Hub calls the permissions of a fine-grained token.
_CALLED = {
    "hub.read": ("repo.content.read", "repo.access.read"),
    "hub.discuss": ("discussion.write",),
    "hub.write": ("repo.write",),
    "hub.manage": ("repo.manage",),
}


def avatar(request: Request, name: str) -> str:
    return f"{here(request)}/api/avatars/{quote(name, safe='')}"


@routes.get("/api/whoami-v2", allow=SIGNED_IN)
async def who_am_i(request: Request) -> Response:
    known = await work(users.identity, house_of(request), actor_of(request))
    return JSONResponse(shown_identity(request, known))


def shown_identity(request: Request, known: Identity) -> dict[str, Any]:
    orgs = [
        {
            **shown_organisation(request, each.organisation),
            "email": None,
            "canPay": False,
            "periodEnd": None,
            "isEnterprise": False,
            "roleInOrg": each.role,
        }
        for each in known.memberships
    ]
    access: dict[str, Any] = {"displayName": known.token.title if known.token else "session", "role": known.limits.role}
    if known.token is not None:
        access["createdAt"] = known.token.created_at
        if known.token.expires_at:
            access["expiresAt"] = known.token.expires_at
    if known.limits.role == "fineGrained":
        access["fineGrained"] = _fine_grained(known.limits)
    user = known.user
    return {
        "type": "user", "id": user.name, "name": user.name, "fullname": user.title, "email": user.email, "emailVerified": bool(user.email),
        "isPro": False, "canPay": False, "periodEnd": None, "avatarUrl": avatar(request, user.name), "orgs": orgs,
        "auth": {"type": "access_token", "accessToken": access},
    }  # fmt: skip


def _fine_grained(limits: Limits) -> dict[str, Any]:
    def called(permissions: tuple[str, ...]) -> list[str]:
        return [word for permission in permissions for word in _CALLED[permission]]

    scoped = [
        {"entity": {"_id": name, "type": kind, "name": name}, "permissions": called(permissions)}
        for kind, name, permissions in limits.scoped
    ]
    return {"canReadGatedRepos": "hub.read" in limits.everywhere, "global": called(limits.everywhere), "scoped": scoped}


def shown_organisation(request: Request, organisation: Organisation) -> dict[str, Any]:
    return {
        "type": "org",
        "id": organisation.name,
        "name": organisation.name,
        "fullname": organisation.title,
        "avatarUrl": avatar(request, organisation.name),
    }


def _overview(request: Request, shown: Overview) -> dict[str, Any]:
    common = {
        "_id": shown.name, "fullname": shown.title, "avatarUrl": avatar(request, shown.name), "createdAt": shown.created_at, "isFollowing": False,
        "numModels": shown.models, "numDatasets": shown.datasets, "numSpaces": 0, "numPapers": 0, "numFollowers": 0,
    }  # fmt: skip
    if shown.personal:
        orgs = [shown_organisation(request, each) for each in shown.organisations]
        return {**common, "user": shown.name, "type": "user", "isPro": False, "numFollowing": 0, "orgs": orgs}
    return {
        **common,
        "name": shown.name,
        "type": "org",
        "isVerified": False,
        **({"numUsers": shown.members} if shown.members is not None else {}),
    }


@routes.get("/api/users/{name}/overview", allow=PUBLIC)
async def user_overview(request: Request) -> Response:
    shown = await work(users.user_overview, house_of(request), actor_of(request), request.path_params["name"])
    return JSONResponse(_overview(request, shown))


@routes.get("/api/organizations/{name}/overview", allow=PUBLIC)
async def organisation_overview(request: Request) -> Response:
    shown = await work(users.organisation_overview, house_of(request), actor_of(request), request.path_params["name"])
    return JSONResponse(_overview(request, shown))


@routes.get("/api/organizations/{name}/members", allow=PUBLIC)
async def members(request: Request) -> Response:
    limit = number_of(request, "limit", _PAGE, _MOST)
    name, after = request.path_params["name"], request.query_params.get("cursor", "")
    found = await work(users.members, house_of(request), actor_of(request), name, after, limit + 1)
    shown = [{"_id": each.name, "user": each.name, "fullname": each.title, "avatarUrl": avatar(request, each.name), "type": "user", "isPro": False} for each in found[:limit]]  # fmt: skip
    return JSONResponse(shown, headers=next_link(request, cursor=found[limit - 1].name) if len(found) > limit else {})


async def _nobody(request: Request) -> Response:
    """Nobody follows anybody here; the list is there because clients ask for it."""
    check = users.check_user if request.url.path.startswith("/api/users/") else users.check_organisation
    await work(check, house_of(request), actor_of(request), request.path_params["name"])
    return JSONResponse([])


for _path in ("/api/users/{name}/followers", "/api/users/{name}/following", "/api/organizations/{name}/followers"):
    routes.get(_path, allow=PUBLIC)(_nobody)


@routes.get("/api/settings/repositories", allow=SIGNED_IN)
async def own_repositories(request: Request) -> Response:
    return await _repositories(request, actor_of(request).user)


@routes.get("/api/organizations/{name}/settings/repositories", allow=SIGNED_IN)
async def organisation_repositories(request: Request) -> Response:
    return await _repositories(request, request.path_params["name"])


async def _repositories(request: Request, namespace: str) -> Response:
    limit = number_of(request, "limit", _PAGE, _MOST)
    name, _, kind = request.query_params.get("cursor", "").partition("~")
    found, total = await work(users.repositories, house_of(request), actor_of(request), namespace, (name, kind), limit + 1)
    shown = [
        {
            "id": each.name, "type": each.kind, "updatedAt": each.updated_at, "visibility": "private" if each.private else "public",
            "storage": each.bytes, "storagePercent": round(100 * each.bytes / total, 3) if total else 0,
        }
        for each in found[:limit]
    ]  # fmt: skip
    last = found[limit - 1] if len(found) > limit else None
    return JSONResponse(shown, headers=next_link(request, cursor=f"{last.name.partition('/')[2]}~{last.kind}") if last else {})


@routes.get("/api/users/{name}/avatar", allow=PUBLIC)
async def user_avatar(request: Request) -> Response:
    return JSONResponse({"avatarUrl": avatar(request, request.path_params["name"])})


@routes.get("/api/organizations/{name}/avatar", allow=PUBLIC)
async def organisation_avatar(request: Request) -> Response:
    return JSONResponse({"avatarUrl": avatar(request, request.path_params["name"])})


@routes.get("/api/avatars/{name}", allow=PUBLIC)
async def picture(request: Request) -> Response:
    """Drawn from the name alone, so that it says nothing about who is there."""
    name = request.path_params["name"][:96]
    hue = hashlib.sha256(name.encode()).digest()[0] * 360 // 256
    letters = escape("".join(part[0] for part in name.replace("_", "-").split("-") if part)[:2].upper() or "?")
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">'
        f'<rect width="64" height="64" rx="12" fill="hsl({hue} 45% 38%)"/>'
        f'<text x="32" y="41" font-family="sans-serif" font-size="26" fill="#fff" text-anchor="middle">{letters}</text></svg>'
    )
    return Response(svg, media_type="image/svg+xml", headers={"cache-control": "public, max-age=86400"})


@routes.get("/api/hub/namespaces/{name}", allow=SIGNED_IN)
async def namespace(request: Request) -> Response:
    shown = await work(namespaces.show, house_of(request), actor_of(request), request.path_params["name"])
    return Response(msgspec.json.encode(shown), media_type="application/json")


@routes.put("/api/hub/namespaces/{name}", allow=SIGNED_IN)
async def change_namespace(request: Request) -> Response:
    body = await json_body(request)
    private, quota = body.get("private_by_default"), body.get("quota_bytes")
    if private is not None and not isinstance(private, bool):
        raise NotAsked(field="private_by_default", problem="it must be true or false")
    if quota is not None and (not isinstance(quota, int) or isinstance(quota, bool)):
        raise NotAsked(field="quota_bytes", problem="it must be a whole number")
    wanted = namespaces.Change(private, quota)
    shown = await work(namespaces.change, house_of(request), actor_of(request), request.path_params["name"], wanted)
    return Response(msgspec.json.encode(shown), media_type="application/json")


@routes.post("/api/hub/user-imports", allow="house.manage")
async def bring_over(request: Request) -> Response:
    """A batch of lines from another hub: `{"lines": [[number, text], …], "dry_run": …, "assumed": [organisation, …]}`."""
    body = await json_body(request)
    lines, assumed = body.get("lines"), body.get("assumed", [])
    if not isinstance(lines, list) or len(lines) > 1000 or not all(_numbered(line) for line in lines):
        raise NotAsked(field="lines", problem="it must be a list of at most 1000 pairs of a number and a text")
    if not isinstance(assumed, list) or not all(isinstance(name, str) for name in assumed):
        raise NotAsked(field="assumed", problem="it must be a list of names")
    numbered = [(line[0], line[1]) for line in lines]
    report = await work(
        people.bring_over, house_of(request), actor_of(request), numbered, dry_run=body.get("dry_run") is True, assumed=assumed
    )
    return Response(msgspec.json.encode(report), media_type="application/json")


def _numbered(line: Any) -> bool:
    return isinstance(line, list) and len(line) == 2 and isinstance(line[0], int) and isinstance(line[1], str)
