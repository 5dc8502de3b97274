"""Git LFS: batches (API v1, transfer `basic`), and the links under which bytes come and go."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub.service import transfer
from lilong.floors.hub.service.transfer import Link, Wish
from lilong.ground.access import PUBLIC

from .content import Download, blob_answer
from .door import NotAsked, actor_of, here, house_of, json_body, place, pulled, routes, sent_path, take, work

_LFS = "application/vnd.git-lfs+json"
_MOST = 10_000  # objects of one batch


@routes.post("/{organisation}/{name}.git/info/lfs/objects/batch", allow=PUBLIC)
async def batch_of_model(request: Request) -> Response:
    return await _batch(request)


@routes.post("/datasets/{organisation}/{name}.git/info/lfs/objects/batch", allow=PUBLIC)
async def batch_of_dataset(request: Request) -> Response:
    return await _batch(request)


async def _batch(request: Request) -> Response:
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
    wishes: list[Wish] = await work(transfer.batch, house_of(request), actor_of(request), kind, name, operation, asked)
    verify = f"{here(request)}{sent_path(request).removesuffix('/objects/batch')}/verify"
    shown = [_shown(request, wish, verify) for wish in wishes]
    return JSONResponse({"transfer": "basic", "objects": shown, "hash_algo": "sha256"}, media_type=_LFS)


def _object(item: Any) -> tuple[str, int]:
    """(digest, bytes). Raises NotAsked."""
    name, size = (item.get("oid"), item.get("size")) if isinstance(item, dict) else (None, None)
    if not isinstance(name, str) or len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise NotAsked(field="oid", problem="it must be a SHA-256 in hex")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise NotAsked(field="size", problem="it must be a number of bytes")
    return f"sha256:{name}", size


def _shown(request: Request, wish: Wish, verify: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"oid": wish.digest.removeprefix("sha256:"), "size": wish.size}
    if wish.problem:
        shown["error"] = {"code": wish.status, "message": wish.problem}
    elif wish.link is not None:
        link, signature = wish.link
        action = {
            "href": _address(request, link, signature),
            "expires_in": max(link.expires - int(house_of(request).clock.now().timestamp()), 0),
        }
        shown["authenticated"] = True
        shown["actions"] = {"upload": action, "verify": {"href": verify}} if link.verb == "put" else {"download": action}
    return shown


def _address(request: Request, link: Link, signature: str) -> str:
    name = link.digest.removeprefix("sha256:")
    return f"{here(request)}/api/hub/objects/{name}?size={link.size}&user={link.user}&expires={link.expires}&signature={signature}"


def _link(request: Request, verb: str) -> Link:
    """The link that this request came by, checked. Raises LinkNotUsable."""
    query = request.query_params
    numbers = [query.get("size", ""), query.get("expires", "")]
    if not all(number.isascii() and number.isdigit() and len(number) < 19 for number in numbers):
        raise transfer.LinkNotUsable()
    link = Link(verb, f"sha256:{request.path_params['digest']}", int(numbers[0]), query.get("user", ""), int(numbers[1]))
    transfer.check_link(house_of(request), link, query.get("signature", ""))
    return link


@routes.put("/api/hub/objects/{digest}", allow=PUBLIC)
async def put(request: Request) -> Response:
    """The signed link is the permission: LFS clients send no token with the bytes."""
    link, house = _link(request, "put"), house_of(request)
    await take(lambda: transfer.receive(house, link, pulled(request, link.size + 1)))
    return Response(status_code=200, headers={"etag": f'"{request.path_params["digest"]}"'})


@routes.get("/api/hub/objects/{digest}", allow=PUBLIC)
async def get(request: Request) -> Response:
    link = _link(request, "get")
    name = link.digest.removeprefix("sha256:")
    return await blob_answer(request, Download(link.digest, link.size, f'"{name}"', name), {})


@routes.post("/{organisation}/{name}.git/info/lfs/verify", allow="hub.write")
async def verify_of_model(request: Request) -> Response:
    return await _verify(request)


@routes.post("/datasets/{organisation}/{name}.git/info/lfs/verify", allow="hub.write")
async def verify_of_dataset(request: Request) -> Response:
    return await _verify(request)


async def _verify(request: Request) -> Response:
    digest, size = _object(await json_body(request))
    sizes = await work(transfer.sizes_of, house_of(request), actor_of(request), {digest})
    if sizes[digest] != size:
        raise NotAsked(field="size", problem=f"the object has {sizes[digest]} bytes")
    return JSONResponse({"ok": True}, media_type=_LFS)
