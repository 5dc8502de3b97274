"""Folders, files and their bytes."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub import store
from lilong.floors.hub.contract import EntryNotFound, RepositoryNotFound
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.service import damage, reading, rebuilding, trust, xet_read
from lilong.floors.hub.service.downloads import Counter
from lilong.floors.hub.service.reading import Located
from lilong.floors.hub.store import Commit, Held
from lilong.floors.hub.store.xet import XetFile
from lilong.ground.access import PUBLIC
from lilong.ground.errors import NotFound
from lilong.ground.house import House

from . import shapes
from .door import NotAsked, actor_of, failure, flag_of, here, house_of, json_body, next_link, number_of, place, routes, split_rest, work
from .mirrored import brought
from .sending import Unsatisfiable, by_nginx, of_file, of_iterator, range_of, streamed, whole_file

_PAGE = 1000
_PAGE_EXPANDED = 100  # with the last commit of each entry, which has to be looked for
_PIECE = 1 << 20  # bytes read at a time
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
    shown = await work(_shown, house, held, commit, found, expand=expand)
    headers = {"x-repo-commit": commit.id, **(next_link(request, cursor=mark) if mark else {})}
    return JSONResponse(shown, headers=headers)


def _shown(house: House, held: Held, commit: Commit, found: list[tuple[str, Entry]], *, expand: bool) -> list[dict[str, Any]]:
    xet = house.db.read(lambda tx: store.xet_hashes(tx, (entry.digest for _, entry in found if entry.large), held))
    shown = [shapes.tree_entry(path, entry, xet) for path, entry in found]
    if expand:
        last = reading.last_commits(house, held, commit, [path for path, _ in found])
        statuses = house.db.read(lambda tx: trust.status_of(tx, held, commit, (entry.digest for _, entry in found if not entry.folder)))
        for line, (path, entry) in zip(shown, found, strict=True):
            line["lastCommit"] = shapes.last_commit(last[path])
            if not entry.folder:
                line["securityFileStatus"] = trust.shown(statuses.get(entry.digest))
    return shown


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
    held, commit = await work(reading.pinned, house, actor, kind, name, split_rest(rest)[0])
    found = await work(reading.entries_at, house, commit, paths)
    shown = await work(_shown, house, held, commit, found, expand=expand)
    return JSONResponse(shown, headers={"x-repo-commit": commit.id})


@routes.get("/{name}/resolve/{rest:path}", allow=PUBLIC)
async def resolve_canonical(request: Request) -> Response:
    """Names without an organisation, such as `gpt2`: there are none here."""
    raise RepositoryNotFound(kind="model", name=request.path_params["name"])


@routes.both("GET", "/{organisation}/{name}/resolve/{rest:path}", allow=PUBLIC)
@routes.both("HEAD", "/{organisation}/{name}/resolve/{rest:path}", allow=PUBLIC)
async def resolve(request: Request) -> Response:
    kind, name, rest = place(request)
    revision, path = split_rest(rest)
    house, actor = house_of(request), actor_of(request)
    found: Located = await work(reading.located, house, actor, kind, name, revision, path)
    held, commit, entry = found.held, found.commit, found.entry
    headers = {"x-repo-commit": commit.id}
    if entry is None or entry.folder:
        missing = EntryNotFound(revision=commit.id, repository=name, path=path[:300])
        return failure(404, str(missing), "EntryNotFound", headers=headers)
    house.port(Counter).note(held.id, actor.user or (request.client.host if request.client else ""))
    etag = f'"{entry.digest.removeprefix("sha256:") if entry.large else entry.id}"'
    if entry.large:
        headers |= {"x-linked-etag": etag, "x-linked-size": str(entry.size)}
        if found.xet is not None:
            route = f"{here(request)}/api/{kind.value}s/{quote(held.name)}/xet-read-token/{commit.id}"
            headers |= {"x-xet-hash": found.xet, "x-xet-refresh-route": route, "link": f'<{route}>; rel="xet-auth"'}
        if request.method == "GET" and (busy := await brought(request, held, entry.digest)) is not None:
            return busy
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
    ranged = asked.get("range", "") if asked.get("if-range", download.etag) == download.etag else ""
    try:
        span = range_of(ranged, download.size)
    except Unsatisfiable:
        return Response(status_code=416, headers={**shown, "content-range": f"bytes */{download.size}"})
    first, stop = span or (0, download.size)
    if span is not None:
        shown["content-range"] = f"bytes {first}-{stop - 1}/{download.size}"
    shown["content-length"] = str(stop - first)
    if request.method == "HEAD":
        return Response(status_code=206 if span else 200, headers=shown)
    house = house_of(request)
    path, file = await work(_place, house, download.digest)
    if path is not None and (sent := by_nginx(request, house, path, shown)) is not None:
        return sent
    if path is not None:
        if (first, stop) == (0, download.size):
            whole = await whole_file(path, stop, download.digest, lambda: damage.found(house, download.digest, path))
            if whole is None:
                raise damage.FileDamaged(digest=download.digest)
        else:
            whole = of_file(path, first, stop)
        pieces: AsyncIterator[bytes | memoryview] = whole
    elif file is not None:
        rebuilding.of(house).asked(file, stop - first)
        pieces = await of_iterator(lambda: xet_read.contents(house, file).pieces(first, stop - first))
    else:
        try:
            pieces = await of_iterator(lambda: _read(house, download.digest, first, stop - first))
        except NotFound as gone:
            raise damage.FileDamaged(digest=download.digest) from gone
    return streamed(pieces, 206 if span else 200, shown)


def _place(house: House, digest: str) -> tuple[Path | None, XetFile | None]:
    """The file that holds just these bytes, or the Xet file that does; neither for what is kept in yet another way."""
    path = house.blobs.path(digest) or rebuilding.of(house).path(digest)
    return path, None if path is not None else xet_read.file_of(house, digest)


def _read(house: House, digest: str, first: int, count: int) -> Iterator[bytes]:
    with house.blobs.open(digest) as file:
        file.seek(first)
        while count > 0:
            piece = file.read(min(_PIECE, count))
            if not piece:
                raise RuntimeError(f"the blob {digest} is shorter than its entry says")
            count -= len(piece)
            yield piece
