"""Likes of repositories."""

from __future__ import annotations

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub.service import likes
from lilong.ground.access import PUBLIC, SIGNED_IN

from . import shapes
from .door import actor_of, house_of, next_link, number_of, place, routes, work

_HERE = "/api/{kinds}/{organisation}/{name}"
_PAGE = 100
_MOST = 1000


@routes.both("POST", _HERE + "/like", allow=SIGNED_IN)
async def like(request: Request) -> Response:
    kind, name, _ = place(request)
    await work(likes.like, house_of(request), actor_of(request), kind, name)
    return JSONResponse({"success": True})


@routes.both("DELETE", _HERE + "/like", allow=SIGNED_IN)
async def unlike(request: Request) -> Response:
    kind, name, _ = place(request)
    await work(likes.unlike, house_of(request), actor_of(request), kind, name)
    return JSONResponse({"success": True})


@routes.both("GET", _HERE + "/likers", allow=PUBLIC)
async def likers(request: Request) -> Response:
    kind, name, _ = place(request)
    limit = number_of(request, "limit", _PAGE, _MOST)
    found, mark = await work(likes.likers, house_of(request), actor_of(request), kind, name, request.query_params.get("cursor", ""), limit)
    shown = [
        {
            "_id": one.name,
            "user": one.name,
            "fullname": one.fullname,
            "avatarUrl": f"/api/avatars/{one.name}",
            "type": "user",
            "isPro": False,
        }
        for one in found
    ]
    return JSONResponse(shown, headers=next_link(request, cursor=mark) if mark else {})


@routes.get("/api/users/{name}/likes", allow=PUBLIC)
async def liked(request: Request) -> Response:
    limit = number_of(request, "limit", _PAGE, _MOST)
    at, _, name = request.query_params.get("cursor", "").partition("~")
    found = await work(
        likes.liked_by,
        house_of(request),
        actor_of(request),
        request.path_params["name"],
        before=(at, name) if at else None,
        limit=limit + 1,
    )
    shown = [{"createdAt": shapes.time(one.at), "repo": {"name": one.name, "type": one.kind.value}} for one in found[:limit]]
    last = found[limit - 1] if len(found) > limit else None
    return JSONResponse(shown, headers=next_link(request, cursor=f"{last.at}~{last.name}") if last else {})
