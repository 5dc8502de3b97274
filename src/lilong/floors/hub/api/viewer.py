"""The dataset viewer's routes: which files, their schemas, rows, statistics, and search."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import msgspec
from anyio.lowlevel import RunVar
from fastapi import Request, Response

from lilong.floors.hub.service import viewer
from lilong.ground.access import PUBLIC

from .door import NotAsked, actor_of, house_of, number_of, place, routes, split_rest

_THREADS = 8  # that wait for programs to end: of their own, so that nobody else waits for them
_WAITING = 32  # questions behind these
_looking: RunVar[anyio.CapacityLimiter] = RunVar("hub viewer")
_VERBS = ("files", "schema", "rows", "statistics", "search")


@routes.get("/api/datasets/{organisation}/{name}/viewer/{rest:path}", allow=PUBLIC)
async def look(request: Request) -> Response:
    """`viewer/REV/VERB?file=…&offset=&limit=&sort=&q=`."""
    _, name, rest = place(request)
    revision, verb = split_rest(rest)
    if verb not in _VERBS:
        raise NotAsked(field="path", problem=f"after the revision comes one of {', '.join(_VERBS)}")
    query = request.query_params
    path = query.get("file", "")
    given: dict[str, Any] = {}
    if verb != "files":
        if not path:
            raise NotAsked(field="file", problem="it is missing")
        given["path"] = path
    if verb in ("rows", "search"):
        given |= {
            "offset": _offset(query.get("offset", "0")),
            "limit": number_of(request, "limit", 100, 100),
            "sort": query.get("sort", ""),
        }
    if verb == "search":
        given["query"] = query.get("q", "")
    house, actor, limiter = house_of(request), actor_of(request), _limiter()
    if limiter.statistics().tasks_waiting >= _WAITING:
        raise viewer.TooManyQuestions()
    found = await anyio.to_thread.run_sync(lambda: getattr(viewer, verb)(house, actor, name, revision, **given), limiter=limiter)
    return Response(msgspec.json.encode(found), media_type="application/json")


def _limiter() -> anyio.CapacityLimiter:
    found = _looking.get(None)
    if found is None:
        found = anyio.CapacityLimiter(_THREADS)
        _looking.set(found)
    return found


def _offset(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise NotAsked(field="offset", problem="it must be a number from 0 on")
    return int(text)
