"""Buckets, as the Hugging Face clients use them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub.service import buckets, users
from lilong.floors.hub.service.buckets import BucketExists, BucketFileNotFound, Operation, Outcome
from lilong.floors.hub.service.xet_tokens import Verb
from lilong.floors.hub.store.buckets import Bucket, BucketFile, BucketFolder
from lilong.ground.access import PUBLIC, SIGNED_IN

from . import shapes, xet_tokens
from .content import Download, blob_answer
from .door import NotAsked, actor_of, failure, here, house_of, json_body, next_link, number_of, routes, sent_path, work

_PAGE = 1000
_MOST_BUCKETS = 100
_MOST_OPERATIONS = 20_000  # of one batch; clients send a thousand
_VERBS = {"addFile": "add", "copyFile": "copy", "deleteFile": "delete"}


def _name(request: Request) -> str:
    parts = sent_path(request).removeprefix("/api").split("/")  # "", "buckets", namespace, name, …
    return buckets.named(house_of(request), actor_of(request), unquote(parts[2]), unquote(parts[3]))


def _rest(request: Request) -> str:
    """What stands behind the verb, decoded: slashes in it may have come encoded or not."""
    parts = sent_path(request).removeprefix("/api").split("/")
    return unquote("/".join(parts[5:]))


def _info(found: Bucket) -> dict[str, Any]:
    return {
        "_id": found.id, "id": found.name, "author": found.organisation, "private": found.private, "createdAt": shapes.time(found.created_at),
        "size": found.bytes, "totalFiles": found.files,
    }  # fmt: skip


def _line(found: BucketFile | BucketFolder) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": "file" if isinstance(found, BucketFile) else "directory", "path": found.path, "uploadedAt": shapes.time(found.uploaded_at),
    }  # fmt: skip
    if isinstance(found, BucketFile):
        shown |= {"size": found.size, "xetHash": found.xet_hash}
        if found.mtime:
            shown["mtime"] = found.mtime
        if found.content_type:
            shown["contentType"] = found.content_type
    return shown


@routes.post("/api/buckets/{organisation}/{name}", allow="hub.write")
async def create(request: Request) -> Response:
    body = await json_body(request)
    private = body.get("private")
    if body.get("visibility") is not None:
        if body["visibility"] not in ("public", "private"):
            raise NotAsked(field="visibility", problem="it must be public or private")
        private = body["visibility"] == "private"
    if private is not None and not isinstance(private, bool):
        raise NotAsked(field="private", problem="it must be true or false")
    name = _name(request)
    try:
        made: Bucket = await work(buckets.create, house_of(request), actor_of(request), name, private)
    except BucketExists as there:
        taken = there.details["name"]
        return failure(409, str(there), more={"url": f"{here(request)}/buckets/{taken}", "name": taken})
    return JSONResponse({"url": f"{here(request)}/buckets/{made.name}", "name": made.name, "id": made.id})


@routes.get("/api/buckets/{organisation}/{name}", allow=PUBLIC)
async def info(request: Request) -> Response:
    return JSONResponse(_info(await work(buckets.show, house_of(request), actor_of(request), _name(request))))


@routes.delete("/api/buckets/{organisation}/{name}", allow="hub.write")
async def delete(request: Request) -> Response:
    await work(buckets.delete, house_of(request), actor_of(request), _name(request))
    return JSONResponse({"ok": True})


@routes.get("/api/buckets/{organisation}", allow=PUBLIC)
async def list_(request: Request) -> Response:
    house, actor = house_of(request), actor_of(request)
    organisation = buckets.named(house, actor, request.path_params["organisation"])
    limit = number_of(request, "limit", _MOST_BUCKETS, _PAGE)
    query = request.query_params
    found: list[Bucket] = await work(
        buckets.listed, house, actor, organisation, query.get("search", ""), query.get("cursor", ""), limit + 1
    )
    if not found and organisation != actor.user:
        await work(users.check_organisation, house, actor, organisation)
    headers = next_link(request, cursor=found[limit - 1].short) if len(found) > limit else {}
    return JSONResponse([_info(each) for each in found[:limit]], headers=headers)


@routes.put("/api/buckets/{organisation}/{name}/settings", allow="hub.write")
async def settings(request: Request) -> Response:
    private = (await json_body(request)).get("private")
    if not isinstance(private, bool):
        raise NotAsked(field="private", problem="it must be true or false")
    await work(buckets.set_private, house_of(request), actor_of(request), _name(request), private)
    return JSONResponse({"private": private})


@routes.get("/api/buckets/{organisation}/{name}/tree", allow=PUBLIC)
async def tree(request: Request) -> Response:
    return await _tree(request, "")


@routes.get("/api/buckets/{organisation}/{name}/tree/{prefix:path}", allow=PUBLIC)
async def tree_below(request: Request) -> Response:
    return await _tree(request, _rest(request).strip("/"))


async def _tree(request: Request, prefix: str) -> Response:
    limit = number_of(request, "limit", _PAGE, _PAGE)
    after = request.query_params.get("cursor", "")
    found, mark = await work(
        buckets.tree,
        house_of(request),
        actor_of(request),
        _name(request),
        prefix,
        recursive=request.query_params.get("recursive", "true").lower() in ("true", "1"),  # what the public Hub does unless told otherwise
        after=after,
        limit=limit,
    )
    return JSONResponse([_line(each) for each in found], headers=next_link(request, cursor=mark) if mark else {})


@routes.post("/api/buckets/{organisation}/{name}/paths-info", allow=PUBLIC)
async def paths_info(request: Request) -> Response:
    paths = (await json_body(request)).get("paths")
    if not isinstance(paths, list) or len(paths) > 10 * _PAGE or not all(isinstance(path, str) and "\0" not in path for path in paths):
        raise NotAsked(field="paths", problem=f"it must be a list of at most {10 * _PAGE} strings")
    found = await work(buckets.files, house_of(request), actor_of(request), _name(request), paths)
    return JSONResponse([_line(each) for each in found])


@routes.post("/api/buckets/{organisation}/{name}/batch", allow="hub.write")
async def batch(request: Request) -> Response:
    operations = _operations((await request.body()).split(b"\n"))
    done: Outcome = await work(buckets.batch, house_of(request), actor_of(request), _name(request), operations)
    failed = [{"path": path, "error": why} for path, why in done.failed]
    shown = {"success": not failed, "processed": done.processed, "succeeded": done.processed - len(failed), "failed": failed}
    return JSONResponse(shown, 422 if failed and len(failed) == done.processed else 200)


def _operations(lines: Iterable[bytes]) -> list[Operation]:
    """Raises NotAsked."""
    found: list[Operation] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(found) >= _MOST_OPERATIONS:
            raise NotAsked(field="body", problem=f"it has more than {_MOST_OPERATIONS} lines")
        try:
            value = json.loads(line)
            verb, path = _VERBS[value["type"]], value["path"]
        except (ValueError, RecursionError, KeyError, TypeError):
            raise NotAsked(field="body", problem=f"line {number} is not JSON with a type ({', '.join(_VERBS)}) and a path") from None
        words = (
            path,
            value.get("xetHash", ""),
            value.get("contentType") or "",
            value.get("sourceRepoType") or "",
            value.get("sourceRepoId") or "",
        )
        if not all(
            isinstance(word, str) and len(word) <= 4096 and not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in word) for word in words
        ):
            raise NotAsked(field="body", problem=f"line {number} has something that is not text where text belongs")
        _, xet_hash, content_type, kind, source = words
        found.append(Operation(verb, path, xet_hash, _mtime(number, value.get("mtime")), content_type[:200], (kind, source)))  # type: ignore[arg-type]
    return found


def _mtime(number: int, value: object) -> str:
    """Milliseconds since 1970 as RFC 3339. Raises NotAsked."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 253402300800000:
        raise NotAsked(field="body", problem=f"line {number} has an mtime that is not milliseconds since 1970")
    return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@routes.get("/api/buckets/{organisation}/{name}/xet-read-token", allow=PUBLIC)
async def read_token(request: Request) -> Response:
    return await _token(request, "read")


@routes.get("/api/buckets/{organisation}/{name}/xet-write-token", allow=SIGNED_IN)
async def write_token(request: Request) -> Response:
    return await _token(request, "write")


async def _token(request: Request, verb: Verb) -> Response:
    return xet_tokens.answer(request, await work(buckets.grant, house_of(request), actor_of(request), _name(request), verb))


@routes.route("HEAD", "/buckets/{organisation}/{name}/resolve/{path:path}", allow=PUBLIC)
async def resolve_head(request: Request) -> Response:
    return await _resolve(request)


@routes.get("/buckets/{organisation}/{name}/resolve/{path:path}", allow=PUBLIC)
async def resolve(request: Request) -> Response:
    return await _resolve(request)


async def _resolve(request: Request) -> Response:
    try:
        bucket, found = await work(buckets.file, house_of(request), actor_of(request), _name(request), _rest(request))
    except BucketFileNotFound as missing:
        return failure(404, str(missing), "EntryNotFound")
    etag = f'"{found.xet_hash}"'
    route = f"{here(request)}/api/buckets/{quote(bucket.name)}/xet-read-token"
    headers = {
        "x-linked-etag": etag, "x-linked-size": str(found.size), "x-xet-hash": found.xet_hash, "x-xet-refresh-route": route,
        "link": f'<{route}>; rel="xet-auth"',
    }  # fmt: skip
    return await blob_answer(request, Download(found.digest, found.size, etag, found.path.rsplit("/", 1)[-1]), headers)
