"""The corpus floor over HTTP."""

from __future__ import annotations

from fastapi import Request

from lilong.floors.corpus import service
from lilong.floors.corpus.contract import BuildAsk, Datasheet, SourcesAsk, SourceSet, Text, Version
from lilong.ground.web import Routes, call

routes = Routes(prefix="/api/corpus", tag="corpus")


@routes.post("/texts", allow="corpus.build", status=201)
async def keep_text(request: Request, organisation: str) -> Text:
    """Keep the request's body as a text of the organisation, for a source set to name by its digest."""
    return await call(service.keep_text, request, organisation, await request.body())


@routes.post("/sources", allow="corpus.build", status=201)
async def fetch(request: Request, ask: SourcesAsk) -> SourceSet:
    """Fetch sources."""
    return await call(service.fetch, request, ask)


@routes.get("/sources", allow="corpus.read")
async def source_sets(request: Request, limit: int = 50) -> list[SourceSet]:
    """Source sets, newest first."""
    return await call(service.source_sets, request, limit)


@routes.get("/sources/{identity}", allow="corpus.read")
async def source_set(request: Request, identity: str) -> SourceSet:
    """One source set."""
    return await call(service.source_set, request, identity)


@routes.post("/versions", allow="corpus.build", status=201)
async def build(request: Request, ask: BuildAsk) -> Version:
    """Make a corpus version of a source set."""
    return await call(service.build, request, ask)


@routes.get("/versions", allow="corpus.read")
async def versions(request: Request, repository: str | None = None, limit: int = 50) -> list[Version]:
    """Corpus versions, newest first."""
    return await call(service.versions, request, repository, limit)


@routes.get("/versions/{name:path}", allow="corpus.read")
async def version(request: Request, name: str) -> Version:
    """One version, by its id, as organisation/name or organisation/name@commit."""
    return await call(service.version, request, name)


@routes.get("/datasheets/{name:path}", allow="corpus.read")
async def datasheet(request: Request, name: str) -> Datasheet:
    """A version's sources, licences, drop reasons and sample documents."""
    return await call(service.datasheet, request, name)
