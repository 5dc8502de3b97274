"""What an operator does with the hub's bytes."""

from __future__ import annotations

import msgspec
from fastapi import Request, Response

from lilong.floors.hub.service import collecting

from .door import actor_of, house_of, json_body, routes, work


@routes.post("/api/hub/collections-of-garbage", allow="house.manage")
async def collect(request: Request) -> Response:
    body = await json_body(request)
    found = await work(collecting.by_hand, house_of(request), actor_of(request), dry_run=bool(body.get("dry_run", False)))
    return Response(msgspec.json.encode(found), media_type="application/json")
