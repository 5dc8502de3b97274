"""Folders, files and their bytes."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import anyio.to_thread
from fastapi import Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from lilong.floors.hub.contract import EntryNotFound, RepositoryNotFound
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.service import reading
from lilong.floors.hub.store import Commit, Held
from lilong.ground.access import PUBLIC
from lilong.ground.house import House

from . import shapes
from .door import NotAsked, actor_of, failure, flag_of, house_of, json_body, next_link, number_of, place, routes, split_rest, work

_PAGE = 1000
_PAGE_EXPANDED = 100  # with the last commit of each entry, which has to be looked for
_PIECE = 1 << 20  # bytes read at a time
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
# What a browser may show; everything else is handed over as text or bytes, so that no file of a repository runs as our page.
_SHOWN = {"image/png", "image/jpeg", "image/gif", "image/webp"}


@routes.both("GET", "/api/{kinds}/{organisation}/{name}/tree/{rest:path}", allow=PUBLIC)
async def tree(request: Request) -> Response:
    kind, name, rest = place(request)
    revision, path = split_rest(rest)
    house, actor = house_of(request), actor_of(request)
    expand = flag_of(request, "expand")
    limit = number_of(request, "limit", _PAGE_EXPANDED if expand else _PAGE, _PAGE)
    after = request.query_params.get("cursor", "")
    held, commit = await work(reading.pinned, house, actor, kind, name, revision)
    found, mark = await work(
        reading.page_of_tree, house, held, commit, path.strip("/"), recursive=flag_of(request, "recursive"), after=after, limit=limit
    )
    shown = [shapes.tree_entry(*line) for line in found]
    if expand:
        await work(_expand, house, held, commit, shown)
    headers = {"x-repo-commit": commit.id, **(next_link(request, cursor=mark) if mark else {})}
    return JSONResponse(shown, headers=headers)


def _expand(house: House, held: Held, commit: Commit, shown: list[dict[str, Any]]) -> None:
    last = reading.last_commits(house, held, commit, [line["path"] for line in shown])
    for line in shown:
        line["lastCommit"] = shapes.last_commit(last[line["path"]])


@routes.both("POST", "/api/{kinds}/{organisation}/{name}/paths-info/{revision:path}", allow=PUBLIC)
async def paths_info(request: Request) -> Response:
    kind, name, rest = place(request)
    house, actor = house_of(request), actor_of(request)
    if request.headers.get("content-type", "").startswith("application/json"):
        body = await json_body(request)
        paths, expand = body.get("paths"), bool(body.get("expand"))
    else:
        form = await request.form()
        paths, expand = list(form.getlist("paths")), str(form.get("expand", "")).lower() in ("true", "1")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise NotAsked(field="paths", problem="it must be a list of strings")
    _, commit = pinned = await work(reading.pinned, house, actor, kind, name, split_rest(rest)[0])
    shown = [shapes.tree_entry(*line) for line in await work(reading.entries_at, house, commit, paths)]
    if expand:
        await work(_expand, house, *pinned, shown)
    return JSONResponse(shown, headers={"x-repo-commit": commit.id})


@routes.get("/{organisation}/{name}/resolve/{rest:path}", allow=PUBLIC)
async def resolve_model(request: Request) -> Response:
    return await _resolve(request)


@routes.route("HEAD", "/{organisation}/{name}/resolve/{rest:path}", allow=PUBLIC)
async def resolve_model_head(request: Request) -> Response:
    return await _resolve(request)


@routes.get("/datasets/{organisation}/{name}/resolve/{rest:path}", allow=PUBLIC)
async def resolve_dataset(request: Request) -> Response:
    return await _resolve(request)


@routes.route("HEAD", "/datasets/{organisation}/{name}/resolve/{rest:path}", allow=PUBLIC)
async def resolve_dataset_head(request: Request) -> Response:
    return await _resolve(request)


@routes.get("/{name}/resolve/{rest:path}", allow=PUBLIC)
async def resolve_canonical(request: Request) -> Response:
    """Names without an organisation, such as `gpt2`: there are none here."""
    raise RepositoryNotFound(kind="model", name=request.path_params["name"])


async def _resolve(request: Request) -> Response:
    kind, name, rest = place(request)
    revision, path = split_rest(rest)
    house, actor = house_of(request), actor_of(request)
    held, commit = await work(reading.pinned, house, actor, kind, name, revision)
    headers = {"x-repo-commit": commit.id}
    missing = EntryNotFound(revision=commit.id, repository=name, path=path[:300])
    try:
        entry: Entry = await work(reading.entry_at, house, held, commit, path)
    except EntryNotFound:
        return failure(404, str(missing), "EntryNotFound", headers=headers)
    if entry.folder:
        return failure(404, str(missing), "EntryNotFound", headers=headers)
    etag = f'"{entry.digest.removeprefix("sha256:") if entry.large else entry.id}"'
    if entry.large:
        headers |= {"x-linked-etag": etag, "x-linked-size": str(entry.size)}
    return await blob_answer(request, Download(entry.digest, entry.size, etag, path.rsplit("/", 1)[-1]), headers)


@dataclass(frozen=True, slots=True)
class Download:
    digest: str
    size: int  # bytes
    etag: str  # with its quotes
    name: str


async def blob_answer(request: Request, download: Download, headers: Mapping[str, str]) -> Response:
    """A blob, or the one range of it that was asked for; never compressed, read in a worker thread piece by piece."""
    guessed = mimetypes.guess_type(download.name)[0] or "application/octet-stream"
    kind = guessed if guessed in _SHOWN else "text/plain; charset=utf-8" if guessed.startswith("text/") else "application/octet-stream"
    how = "inline" if kind in _SHOWN else "attachment"
    shown = {
        **headers,
        "etag": download.etag,
        "accept-ranges": "bytes",
        "content-type": kind,
        "content-disposition": f"{how}; filename*=UTF-8''{quote(download.name, safe='')}",
        "cache-control": "private, no-cache",
        "content-security-policy": "default-src 'none'; sandbox",
    }
    asked = request.headers
    if download.etag in (word.strip().removeprefix("W/") for word in asked.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=shown)
    first, last, status = 0, download.size - 1, 200
    found = _RANGE.fullmatch(asked.get("range", "").strip())
    if found and (found[1] or found[2]) and asked.get("if-range", download.etag) == download.etag:
        if found[1]:
            first, last = int(found[1]), min(int(found[2]) if found[2] else last, last)
        else:
            first = max(download.size - int(found[2]), 0)
        if first > last:
            return Response(status_code=416, headers={**shown, "content-range": f"bytes */{download.size}"})
        status = 206
        shown["content-range"] = f"bytes {first}-{last}/{download.size}"
    shown["content-length"] = str(last - first + 1)
    if request.method == "HEAD":
        return Response(status_code=status, headers=shown)
    return StreamingResponse(_pieces(house_of(request), download.digest, first, last - first + 1), status, shown)


async def _pieces(house: House, digest: str, first: int, count: int) -> AsyncIterator[bytes]:
    file = await anyio.to_thread.run_sync(house.blobs.open, digest)
    try:
        if first:
            await anyio.to_thread.run_sync(file.seek, first)
        while count > 0:
            piece = await anyio.to_thread.run_sync(file.read, min(_PIECE, count))
            if not piece:
                raise RuntimeError(f"the blob {digest} is shorter than its entry says")
            count -= len(piece)
            yield piece
    finally:
        file.close()
