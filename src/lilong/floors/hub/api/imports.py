"""Repositories from elsewhere: imports, mirrors, and bundles that travel without a network."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import imports, mirrors
from lilong.floors.hub.service import repository_bundles as bundles
from lilong.floors.hub.store.imports import ForeignStatement, Import, Progress
from lilong.ground.access import PUBLIC, SIGNED_IN

from .content import Download, blob_answer
from .door import NotAsked, actor_of, flag_of, house_of, json_body, number_of, pulled, routes, take, text_of, work
from .mirrored import brought

_MOST_PATTERNS = 100


def _shown(found: Import, progress: Progress) -> dict[str, Any]:
    return {
        "id": found.id, "mode": found.mode, "kind": found.kind.value, "repository": found.name, "private": found.private,
        "source": _page(found), "revision": found.revision, "source_commit": found.pinned or None, "exclude": list(found.excluded),
        "state": found.state, "stage": found.stage, "error": found.error or None, "commit": found.commit or None,
        "manifest": found.manifest or None, "statement": found.statement or None, "asked_by": found.asked_by, "created_at": found.created_at,
        "updated_at": found.updated_at, "files": progress.files, "files_done": progress.files_done, "bytes": progress.bytes,
        "bytes_done": progress.bytes_done,
    }  # fmt: skip


def _page(found: Import) -> str:
    return f"{found.endpoint}/{'datasets/' if found.kind is Kind.DATASET else ''}{found.source}"


@routes.post("/api/hub/imports", allow="hub.write")
async def begin(request: Request) -> Response:
    body = await json_body(request)
    exclude = body.get("exclude") or []
    if (
        not isinstance(exclude, list)
        or len(exclude) > _MOST_PATTERNS
        or not all(isinstance(each, str) and len(each) <= 1000 for each in exclude)
    ):
        raise NotAsked(field="exclude", problem=f"it must be a list of at most {_MOST_PATTERNS} patterns")
    revision = text_of(body, "revision", "") or None
    wish = imports.Ask(
        text_of(body, "url"), text_of(body, "name", ""), revision, body.get("private") is not False, tuple(exclude), text_of(body, "mode", "copy"),
        text_of(body, "token", ""),
    )  # fmt: skip
    begun: Import = await work(imports.ask, house_of(request), actor_of(request), wish)
    return JSONResponse(_shown(begun, Progress(0, 0, 0, 0)), 201)


@routes.get("/api/hub/imports", allow=SIGNED_IN)
async def list_(request: Request) -> Response:
    limit = number_of(request, "limit", 100, 1000)
    found = await work(imports.listed, house_of(request), actor_of(request), limit, request.query_params.get("before", ""))
    return JSONResponse([_shown(*line) for line in found])


@routes.get("/api/hub/imports/{id}", allow=SIGNED_IN)
async def show(request: Request) -> Response:
    return JSONResponse(_shown(*await work(imports.get, house_of(request), actor_of(request), request.path_params["id"])))


@routes.get("/api/hub/imports/{id}/files", allow=SIGNED_IN)
async def files(request: Request) -> Response:
    found = await work(imports.files, house_of(request), actor_of(request), request.path_params["id"])
    shown = [
        {"path": f.path, "size": f.size, "git_id": f.git_id, "sha256": f.sha256 or None, "digest": f.digest or None, "received": f.received}
        for f in found
    ]
    return JSONResponse(shown)


@routes.post("/api/hub/imports/{id}/cancel", allow="hub.write")
async def cancel(request: Request) -> Response:
    house, actor, identity = house_of(request), actor_of(request), request.path_params["id"]
    await work(imports.cancel, house, actor, identity)
    return JSONResponse(_shown(*await work(imports.get, house, actor, identity)))


@routes.post("/api/hub/imports/{id}/retry", allow="hub.write")
async def retry(request: Request) -> Response:
    house, actor, identity = house_of(request), actor_of(request), request.path_params["id"]
    await work(imports.retry, house, actor, identity)
    return JSONResponse(_shown(*await work(imports.get, house, actor, identity)))


# --- mirrors ------------------------------------------------------------------------------------------------------------


def _kind(word: str) -> Kind:
    if word not in (Kind.MODEL.value, Kind.DATASET.value):
        raise NotAsked(field="kind", problem="it must be model or dataset")
    return Kind(word)


@routes.get("/api/hub/mirrors", allow=SIGNED_IN)
async def show_mirror(request: Request) -> Response:
    query = request.query_params
    found = await work(mirrors.show, house_of(request), actor_of(request), _kind(query.get("kind", "model")), query.get("name", ""))
    return JSONResponse(found)


@routes.post("/api/hub/mirrors/refresh", allow="hub.write")
async def refresh(request: Request) -> Response:
    """Move a mirror's pin to where its revision is at the source now."""
    body = await json_body(request)
    kind, name = _kind(text_of(body, "kind", "model")), text_of(body, "name")
    begun: Import = await work(imports.refresh, house_of(request), actor_of(request), kind, name, text_of(body, "revision", "") or None)
    return JSONResponse(_shown(begun, Progress(0, 0, 0, 0)), 201)


@routes.get("/api/hub/mirrored/{kind}/{organisation}/{name}/{digest}", allow=PUBLIC, speaks="lfs")
async def mirrored(request: Request) -> Response:
    """A large file of a mirror by its digest, for clients of Git LFS: it is fetched first, where it has not come."""
    house, parts = house_of(request), request.path_params
    name, digest = f"{parts['organisation']}/{parts['name']}", f"sha256:{parts['digest']}"
    held, size = await work(mirrors.held, house, actor_of(request), _kind(parts["kind"]), name, digest)
    if (busy := await brought(request, held, digest)) is not None:
        return busy
    return await blob_answer(request, Download(digest, size, f'"{parts["digest"]}"', parts["digest"]), {})


# --- bundles ------------------------------------------------------------------------------------------------------------


@routes.get("/api/hub/bundles", allow=SIGNED_IN)
async def export(request: Request) -> Response:
    query = request.query_params
    name, _, revision = query.get("name", "").partition("@")
    house, kind = house_of(request), _kind(query.get("kind", "model"))
    asked = bundles.Wanted(kind, name, revision, pulls=flag_of(request, "pulls"))
    ready: bundles.Export = await work(bundles.prepare, house, actor_of(request), asked)
    return StreamingResponse(bundles.stream(house, ready), media_type="application/x-tar")


@routes.post("/api/hub/bundles", allow="hub.write")
async def import_bundle(request: Request) -> Response:
    house, actor, query = house_of(request), actor_of(request), request.query_params
    length = request.headers.get("content-length", "")
    size = int(length) if length.isascii() and length.isdigit() and len(length) < 19 else 0
    wish = bundles.Incoming(
        query.get("name", ""), query.get("private", "true").lower() not in ("false", "0"), query.get("trusted") or None, size
    )
    taken: bundles.Taken = await take(request, lambda: bundles.take(house, actor, wish, pulled(request, bundles.MOST)))
    return JSONResponse(
        {
            "repository": taken.name, "kind": taken.kind.value, "refs": dict(taken.refs), "commits": taken.commits, "files": taken.files,
            "bytes": taken.bytes, "statements": taken.statements, "origin": taken.origin, "key": taken.key,
        },
        201,
    )  # fmt: skip


@routes.get("/api/hub/foreign-statements", allow=SIGNED_IN)
async def foreign(request: Request) -> Response:
    query = request.query_params
    found: list[ForeignStatement] = await work(
        bundles.foreign, house_of(request), actor_of(request), _kind(query.get("kind", "model")), query.get("name", "")
    )
    shown = [
        {
            "id": s.id,
            "predicate_type": s.predicate_type,
            "origin": s.origin,
            "at": s.at,
            "signers": {key: held[0] for key, held in s.keys.items()},
            "envelope": s.envelope,
        }
        for s in found
    ]
    return JSONResponse(shown)
