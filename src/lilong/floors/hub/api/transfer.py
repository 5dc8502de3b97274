"""Git LFS: batches (API v1, transfers `basic` and `multipart`), and the links under which bytes come and go."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub.service import lfs_parts, transfer
from lilong.floors.hub.service.transfer import Link, Wish
from lilong.ground.access import PUBLIC, SIGNED_IN, Actor

from .content import Download, blob_answer
from .door import NotAsked, actor_of, here, house_of, json_body, long_work, place, pulled, routes, take, work

_LFS = "application/vnd.git-lfs+json"
_MOST = 10_000  # objects of one batch


@routes.both("POST", "/{organisation}/{name}.git/info/lfs/objects/batch", allow=PUBLIC, speaks="lfs")
async def batch(request: Request) -> Response:
    kind, name, _ = place(request)
    body = await json_body(request)
    operation = body.get("operation")
    if operation not in ("upload", "download"):
        raise NotAsked(field="operation", problem="it must be upload or download")
    if body.get("hash_algo", "sha256") != "sha256":
        raise NotAsked(field="hash_algo", problem="it must be sha256")
    objects = body.get("objects")
    if not isinstance(objects, list) or len(objects) > _MOST:
        raise NotAsked(field="objects", problem=f"it must be a list of at most {_MOST}")
    asked = [_object(item) for item in objects]
    transfers = body.get("transfers")
    able = isinstance(transfers, list) and "multipart" in transfers
    wishes: list[Wish] = await work(transfer.batch, house_of(request), actor_of(request), kind, name, operation, asked, parts=able)
    shown = [_shown(request, wish) for wish in wishes]
    in_parts = any(wish.link is not None and wish.link[0].chunk for wish in wishes)
    if operation == "upload" and isinstance(transfers, list) and "xet" in transfers and not any(wish.problem for wish in wishes):
        # Clients before 1.20 ask for it here; they go on with the Xet write token and look at no action.
        plain = [{"oid": digest.removeprefix("sha256:"), "size": size} for digest, size in asked]
        return JSONResponse({"transfer": "xet", "objects": plain, "hash_algo": "sha256"}, media_type=_LFS)
    return JSONResponse({"transfer": "multipart" if in_parts else "basic", "objects": shown, "hash_algo": "sha256"}, media_type=_LFS)


def _object(item: Any) -> tuple[str, int]:
    """(digest, bytes). Raises NotAsked."""
    name, size = (item.get("oid"), item.get("size")) if isinstance(item, dict) else (None, None)
    if not isinstance(name, str) or len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise NotAsked(field="oid", problem="it must be a SHA-256 in hex")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise NotAsked(field="size", problem="it must be a number of bytes")
    return f"sha256:{name}", size


def _shown(request: Request, wish: Wish) -> dict[str, Any]:
    shown: dict[str, Any] = {"oid": wish.digest.removeprefix("sha256:"), "size": wish.size}
    action: dict[str, Any]
    if wish.problem:
        shown["error"] = {"code": wish.status, "message": wish.problem}
    elif wish.away:
        kind, name, _ = place(request)
        action = {"href": f"{here(request)}/api/hub/mirrored/{kind.value}/{name}/{shown['oid']}"}
        # The client is who it was a moment ago: by that it waits for the file, which a link of its own could not do.
        sent = request.headers.get("authorization")
        shown |= {"authenticated": True, "actions": {"download": {**action, **({"header": {"Authorization": sent}} if sent else {})}}}
    elif wish.link is not None:
        house, (link, signature) = house_of(request), wish.link
        lasts = {"expires_in": max(link.expires - int(house.clock.now().timestamp()), 0)}
        shown["authenticated"] = True  # the links need no sign-in of their own
        action = {"href": _address(request, link, signature), **lasts}
        if link.chunk:
            # Numbers of one width: programs on the way may put them in the order of their letters.
            urls = {f"{n:05}": _address(request, *transfer.signed(house, link, "part", n)) for n in range(1, lfs_parts.count(link) + 1)}
            action["header"] = {"chunk_size": str(link.chunk), **urls}
        if link.verb == "get":
            shown["actions"] = {"download": action}
        else:
            shown["actions"] = {"upload": action, "verify": {"href": _address(request, *transfer.signed(house, link, "verify")), **lasts}}
    return shown


_PLACES = {"part": "/part", "complete": "/complete", "verify": "/verify"}


def _address(request: Request, link: Link, signature: str) -> str:
    name = link.digest.removeprefix("sha256:")
    given = {"size": link.size, "user": link.user, "expires": link.expires, "part": link.part, "chunk": link.chunk, "signature": signature}
    query = urlencode({key: value for key, value in given.items() if value})
    return f"{here(request)}/api/hub/objects/{name}{_PLACES.get(link.verb, '')}?{query}"


def _link(request: Request, verb: str) -> Link:
    """The link by which a request came. Raises LinkNotUsable."""
    request.scope["lilong.large_body"] = verb in ("put", "part")  # a client that is still sending would not see our answer
    query = request.query_params
    numbers = [query.get(key, "0") for key in ("size", "expires", "part", "chunk")]
    if not all(number.isascii() and number.isdigit() and len(number) < 19 for number in numbers):
        raise transfer.LinkNotUsable()
    size, expires, part, chunk = (int(number) for number in numbers)
    link = Link(verb, f"sha256:{request.path_params['digest']}", size, query.get("user", ""), expires, part, chunk)
    transfer.check_link(house_of(request), link, query.get("signature", ""))
    return link


@routes.put("/api/hub/objects/{digest}", allow=PUBLIC)
async def put(request: Request) -> Response:
    """The signed link is the permission: LFS clients send no token with the bytes."""
    link, house = _link(request, "put"), house_of(request)
    await take(request, lambda: transfer.receive(house, link, pulled(request, link.size + 1)))
    return Response(status_code=200, headers={"etag": f'"{request.path_params["digest"]}"'})


@routes.put("/api/hub/objects/{digest}/part", allow=PUBLIC)
async def put_part(request: Request) -> Response:
    link, house = _link(request, "part"), house_of(request)
    etag = await take(request, lambda: lfs_parts.receive(house, link, pulled(request, lfs_parts.size_of(link) + 1)))
    return Response(status_code=200, headers={"etag": f'"{etag}"'})


@routes.post("/api/hub/objects/{digest}/complete", allow=PUBLIC)
async def complete(request: Request) -> Response:
    """`{oid, parts: [{partNumber, etag}]}`, once all parts have come."""
    link, house = _link(request, "complete"), house_of(request)
    body = await json_body(request)
    if body.get("oid") != request.path_params["digest"]:
        raise NotAsked(field="oid", problem="it is not the object of this link")
    listed = body.get("parts")
    if not isinstance(listed, list) or not all(isinstance(part, dict) and isinstance(part.get("partNumber"), int) for part in listed):
        raise NotAsked(field="parts", problem="it must be a list of {partNumber, etag}")
    etags = {part["partNumber"]: str(part.get("etag")).strip('"') for part in listed}
    await long_work(lfs_parts.complete, house, link, etags)
    return JSONResponse({"success": True}, media_type=_LFS)


@routes.post("/api/hub/objects/{digest}/verify", allow=PUBLIC)
async def verify(request: Request) -> Response:
    """The link is for one object, whatever else its user may read."""
    link = _link(request, "verify")
    digest, _ = _object(await json_body(request))
    if digest != link.digest:
        raise NotAsked(field="oid", problem="it is not the object of this link")
    return await _verified(request, Actor(link.user))


@routes.get("/api/hub/objects/{digest}", allow=PUBLIC)
async def get(request: Request) -> Response:
    link = _link(request, "get")
    name = link.digest.removeprefix("sha256:")
    return await blob_answer(request, Download(link.digest, link.size, f'"{name}"', name), {})


@routes.both("POST", "/{organisation}/{name}.git/info/lfs/verify", allow=SIGNED_IN, speaks="lfs")
async def verify_of_repository(request: Request) -> Response:
    return await _verified(request, actor_of(request))


async def _verified(request: Request, actor: Actor) -> Response:
    digest, size = _object(await json_body(request))
    sizes = await work(transfer.sizes_of, house_of(request), actor, {digest})
    if sizes[digest] != size:
        raise NotAsked(field="size", problem=f"the object has {sizes[digest]} bytes")
    return JSONResponse({"ok": True}, media_type=_LFS)


@routes.both("GET", "/{organisation}/{name}.git/info/lfs/locks{rest:path}", allow=PUBLIC, speaks="lfs")
@routes.both("POST", "/{organisation}/{name}.git/info/lfs/locks{rest:path}", allow=PUBLIC, speaks="lfs")
async def locks(request: Request) -> Response:
    """git-lfs asks before a push whether files are locked; by this answer it knows that there is no locking, and stops asking."""
    return JSONResponse({"message": "File locking is not offered here."}, 404, media_type=_LFS)
