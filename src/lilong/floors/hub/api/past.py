"""Changes to the past, moves, and large files."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub.service import buckets, history, settings
from lilong.floors.hub.service.history import LargeFile
from lilong.floors.hub.store import Commit
from lilong.ground.access import PUBLIC, SIGNED_IN

from . import shapes
from .door import NotAsked, actor_of, here, house_of, json_body, kind_of, place, prefix, routes, split_rest, text_of, work

_TOGETHER = 1000


@routes.post("/api/repos/move", allow="hub.write")
async def move(request: Request) -> Response:
    body = await json_body(request)
    if body.get("type") == "bucket":
        name = await work(buckets.move, house_of(request), actor_of(request), text_of(body, "fromRepo"), text_of(body, "toRepo"))
        return JSONResponse({"url": f"{here(request)}/buckets/{name}", "name": name})
    kind = kind_of(body)
    held = await work(settings.move, house_of(request), actor_of(request), kind, text_of(body, "fromRepo"), text_of(body, "toRepo"))
    return JSONResponse({"url": f"{here(request)}/{prefix(kind)}{held.name}", "name": held.name})


@routes.both("POST", "/api/{kinds}/{organisation}/{name}/super-squash/{branch:path}", allow="hub.write")
async def super_squash(request: Request) -> Response:
    kind, name, rest = place(request)
    message = text_of(await json_body(request), "message", "")
    made: Commit = await work(history.squash, house_of(request), actor_of(request), kind, name, split_rest(rest)[0], message)
    return JSONResponse({"commitOid": made.id})


@routes.both("GET", "/api/{kinds}/{organisation}/{name}/lfs-files", allow=PUBLIC)
async def large_files(request: Request) -> Response:
    kind, name, _ = place(request)
    found: list[LargeFile] = await work(history.large_files, house_of(request), actor_of(request), kind, name)
    return JSONResponse([_shown(file) for file in found])


def _shown(file: LargeFile) -> dict[str, Any]:
    name = file.digest.removeprefix("sha256:")
    return {"fileOid": name, "oid": name, "filename": file.path, "size": file.size, "pushedAt": shapes.time(file.at), "ref": file.ref}


@routes.both("POST", "/api/{kinds}/{organisation}/{name}/lfs-files/batch", allow="hub.write")
async def delete_large_files(request: Request) -> Response:
    kind, name, _ = place(request)
    asked = (await json_body(request)).get("deletions")
    if not isinstance(asked, dict):
        raise NotAsked(field="deletions", problem="it must be an object with sha and rewriteHistory")
    digests = _digests(asked.get("sha"))
    rewrite = asked.get("rewriteHistory") is True
    await work(history.delete_large_files, house_of(request), actor_of(request), kind, name, digests, rewrite=rewrite)
    return JSONResponse({"ok": True})


def _digests(value: Any) -> list[str]:
    """Raises NotAsked."""
    fine = (
        isinstance(value, list)
        and len(value) <= _TOGETHER
        and all(isinstance(v, str) and len(v) == 64 and set(v) <= set("0123456789abcdef") for v in value)
    )
    if not fine:
        raise NotAsked(field="sha", problem=f"it must be a list of at most {_TOGETHER} SHA-256 digests")
    return [f"sha256:{v}" for v in value]


@routes.both("POST", "/api/{kinds}/{organisation}/{name}/lfs-files/duplicate", allow=SIGNED_IN)
async def duplicate(request: Request) -> Response:
    """Let the target's next commit name these files of this repository; the bytes are not copied."""
    kind, name, _ = place(request)
    body = await json_body(request)
    target, files = body.get("target"), body.get("files")
    if not isinstance(target, dict) or not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
        raise NotAsked(field="files", problem="there must be a target and a list of files")
    digests = _digests([file.get("sha256") for file in files])
    into = (kind_of(target), text_of(target, "name"))
    missing: set[str] = await work(history.duplicate, house_of(request), actor_of(request), kind, name, into, digests)
    shown = [
        {"sha256": digest.removeprefix("sha256:"), "error": "this repository has no such file that you may read"}
        for digest in sorted(missing)
    ]
    return JSONResponse({"failed": shown})
