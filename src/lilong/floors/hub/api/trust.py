"""What was found in files: headers of weights, findings of a revision, its signature."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec
from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub import service
from lilong.floors.hub.service import headers, trust
from lilong.ground.access import PUBLIC

from .door import actor_of, house_of, place, routes, split_rest, work


@routes.get("/api/models/{organisation}/{name}/safetensors-metadata/{file:path}", allow=PUBLIC)
async def safetensors_metadata(request: Request) -> Response:
    """The headers of all shards that an index on main names, in one answer; or of the one file."""
    _, name, rest = place(request)
    found: dict[str, Any] = await work(headers.of_index, house_of(request), actor_of(request), name, unquote(rest))
    return Response(msgspec.json.encode(found), media_type="application/json")


@routes.both("GET", "/api/{kinds}/{organisation}/{name}/scan/{revision:path}", allow=PUBLIC)
async def scan(request: Request) -> Response:
    kind, name, rest = place(request)
    return JSONResponse(await work(trust.report, house_of(request), actor_of(request), kind, name, split_rest(rest)[0]))


@routes.both("POST", "/api/{kinds}/{organisation}/{name}/scan/{revision:path}", allow="hub.write")
async def scan_now(request: Request) -> Response:
    kind, name, rest = place(request)
    return JSONResponse(await work(trust.report, house_of(request), actor_of(request), kind, name, split_rest(rest)[0], now=True))


@routes.both("GET", "/api/{kinds}/{organisation}/{name}/signature/{revision:path}", allow=PUBLIC)
async def signature(request: Request) -> Response:
    """`model.sig` of a revision for OpenSSF model-signing's own tool, and the key that it verifies with."""
    kind, name, rest = place(request)
    return Response(
        msgspec.json.encode(await work(service.signature, house_of(request), actor_of(request), kind, name, split_rest(rest)[0])),
        media_type="application/json",
    )
