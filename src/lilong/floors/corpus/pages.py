"""The corpus floor's pages: corpora, and what one was made of."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from lilong.floors.corpus import service
from lilong.ground.access import Actor
from lilong.ground.floor import Room
from lilong.ground.house import House
from lilong.ground.pages import page
from lilong.ground.web import Routes, call

routes = Routes(in_schema=False)


def rooms(house: House, actor: Actor) -> list[Room]:
    """For the tower."""
    found = [version for version in service.versions(house, actor, limit=6) if version.manifest]
    return [Room(v.repository, f"{v.figures['documents']['kept']:,} documents", f"/corpora/{v.repository}", v.manifest) for v in found]


@routes.get("/corpora", allow="corpus.read")
async def datasets(request: Request) -> Response:
    return page(request, "corpus/datasets.html", versions=await call(service.versions, request))


@routes.get("/corpora/{organisation}/{name}", allow="corpus.read")
async def dataset(request: Request, organisation: str, name: str) -> Response:
    return page(request, "corpus/dataset.html", sheet=await call(service.datasheet, request, f"{organisation}/{name}"))
