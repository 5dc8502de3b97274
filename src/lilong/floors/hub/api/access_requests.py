"""Gated repositories: requests for access, their answers, and the question whether one has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request as HttpRequest
from fastapi import Response
from starlette.responses import JSONResponse

from lilong.floors.hub.service import access_requests
from lilong.floors.hub.service.access_requests import Request
from lilong.ground.access import PUBLIC, SIGNED_IN

from . import shapes
from .door import NotAsked, actor_of, house_of, json_body, next_link, number_of, place, routes, text_of, work

_HERE = "/api/{kinds}/{organisation}/{name}/user-access-request"
_CHECK = "/api/{kinds}/{organisation}/{name}/auth-check"
_PAGE = 100
_MOST = 1000


def _shown(found: Request) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "requestId": found.id,
        "user": {
            "_id": found.user, "user": found.user, "fullname": found.fullname, "avatarUrl": f"/api/avatars/{found.user}", "type": "user",
            **({"email": found.email} if found.email else {}),
        },
        "status": found.status,
        "timestamp": shapes.time(found.asked_at),
    }  # fmt: skip
    if found.fields:
        shown["fields"] = dict(found.fields)
    if found.reason:
        shown["rejectionReason"] = found.reason
    if found.handled_by:
        shown["grantedBy" if found.status == "accepted" else "handledBy"] = {"user": found.handled_by}
    return shown


@routes.both("GET", _HERE + "/{status}", allow=SIGNED_IN)
async def listed(request: HttpRequest) -> Response:
    kind, name, _ = place(request)
    limit = number_of(request, "limit", _PAGE, _MOST)
    at, _, identity = request.query_params.get("cursor", "").partition("~")
    found = await work(
        access_requests.of, house_of(request), actor_of(request), kind, name, request.path_params["status"],
        after=(at, identity) if at else None, limit=limit + 1,
    )  # fmt: skip
    headers = next_link(request, cursor=f"{found[limit - 1].asked_at}~{found[limit - 1].id}") if len(found) > limit else {}
    return JSONResponse([_shown(one) for one in found[:limit]], headers=headers)


@routes.both("POST", _HERE + "/handle", allow=SIGNED_IN)
async def handle(request: HttpRequest) -> Response:
    kind, name, _ = place(request)
    body = await json_body(request)
    given = {key: text_of(body, key) if body.get(key) is not None else None for key in ("user", "requestId")}
    done = await work(
        access_requests.handle, house_of(request), actor_of(request), kind, name, text_of(body, "status"), user=given["user"],
        request_id=given["requestId"], reason=text_of(body, "rejectionReason", ""),
    )  # fmt: skip
    return JSONResponse(_shown(done))


@routes.both("POST", _HERE + "/grant", allow=SIGNED_IN)
async def grant(request: HttpRequest) -> Response:
    kind, name, _ = place(request)
    user = text_of(await json_body(request), "user")
    return JSONResponse(_shown(await work(access_requests.grant, house_of(request), actor_of(request), kind, name, user)))


@routes.both("POST", _HERE + "/cancel", allow=SIGNED_IN)
async def cancel(request: HttpRequest) -> Response:
    """One's own request."""
    kind, name, _ = place(request)
    await work(access_requests.withdraw, house_of(request), actor_of(request), kind, name)
    return JSONResponse({"success": True})


@routes.both("POST", "/{organisation}/{name}/ask-access", allow=SIGNED_IN)
async def ask(request: HttpRequest) -> Response:
    """The form's fields, as JSON or as a form."""
    kind, name, _ = place(request)
    fields: Mapping[str, Any]
    if request.headers.get("content-type", "").startswith("application/json"):
        fields = await json_body(request)
        for value in fields.values():
            if not isinstance(value, str | bool):
                raise NotAsked(field="fields", problem="each must be a text or a yes")
    else:
        fields = {key: value for key, value in (await request.form()).multi_items() if isinstance(value, str)}
    return JSONResponse(_shown(await work(access_requests.ask, house_of(request), actor_of(request), kind, name, fields)))


@routes.both("GET", _CHECK, allow=PUBLIC)
async def may_read(request: HttpRequest) -> Response:
    return await _check(request, write=False)


@routes.both("GET", _CHECK + "/write", allow=PUBLIC)
async def may_write(request: HttpRequest) -> Response:
    return await _check(request, write=True)


async def _check(request: HttpRequest, *, write: bool) -> Response:
    kind, name, _ = place(request)
    await work(access_requests.check, house_of(request), actor_of(request), kind, name, write=write)
    return JSONResponse({"success": True})
