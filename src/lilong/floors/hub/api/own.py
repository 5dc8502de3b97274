"""The house's own view of its repositories, for the command line, the SDK and the console."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Request, Response

from lilong.floors.hub import service
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.store import Wanted
from lilong.ground.access import SIGNED_IN

from .door import NotAsked, actor_of, house_of, number_of, routes, work


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _kind(request: Request) -> Kind:
    word = request.query_params.get("kind", "model")
    if word not in (Kind.MODEL.value, Kind.DATASET.value):
        raise NotAsked(field="kind", problem="it must be model or dataset")
    return Kind(word)


@routes.get("/api/hub/repositories", allow=SIGNED_IN)
async def repositories(request: Request) -> Response:
    query = request.query_params
    wanted = Wanted(query.get("organisation"), query.get("search"), number_of(request, "limit", 100, 1000))
    found = await work(service.listed, house_of(request), actor_of(request), _kind(request), wanted)
    return _json([listed for _, listed in found])


def _named(request: Request) -> tuple[str, str]:
    """`organisation/name` and the revision, from `name` (which may end with @revision) and `ref`."""
    name, _, ref = request.query_params.get("name", "").partition("@")
    return name, ref or request.query_params.get("ref", "main")


@routes.get("/api/hub/revisions", allow=SIGNED_IN)
async def revision(request: Request) -> Response:
    return _json(await work(service.show, house_of(request), actor_of(request), _kind(request), *_named(request)))


@routes.get("/api/hub/signatures", allow=SIGNED_IN)
async def signature(request: Request) -> Response:
    return _json(await work(service.signature, house_of(request), actor_of(request), _kind(request), *_named(request)))
