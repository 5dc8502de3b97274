"""A bucket's files, for readers."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request
from starlette.responses import Response

from lilong.floors.hub.api.door import here
from lilong.floors.hub.service import buckets
from lilong.floors.hub.store.buckets import BucketFile
from lilong.ground.access import PUBLIC
from lilong.ground.pages import page

from .door import ask, routes

_PAGE = 100


@routes.get("/buckets/{organisation:namespace}/{name:repository}", allow=PUBLIC)
async def bucket(request: Request) -> Response:
    name = f"{request.path_params['organisation']}/{request.path_params['name']}"
    prefix = request.query_params.get("prefix", "").replace("\0", "")[:1024].strip("/")
    after = request.query_params.get("after", "").replace("\0", "")[:1100]
    shown = await ask(request, buckets.show, name)
    found, mark = await ask(request, buckets.tree, name, prefix, recursive=False, after=after, limit=_PAGE)
    lines = [(one, one.path.removeprefix(f"{prefix}/" if prefix else ""), isinstance(one, BucketFile)) for one in found]
    parts = prefix.split("/") if prefix else []
    crumbs = [(part, "/".join(parts[: i + 1])) for i, part in enumerate(parts)]
    home = f"/buckets/{name}"
    return page(
        request, "hub/bucket.html", section="", bucket=shown, name=name, home=home, prefix=prefix, lines=lines, mark=mark, crumbs=crumbs,
        link=lambda path: f"{home}/resolve/{quote(path)}", endpoint=here(request),
    )  # fmt: skip
