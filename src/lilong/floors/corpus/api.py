"""The corpus floor over HTTP."""

from __future__ import annotations

from fastapi import Request

from lilong.floors.corpus import service
from lilong.floors.corpus.alliance.shapes import (
    Contained,
    ContainsAsk,
    Contributions,
    Drift,
    Member,
    MemberAsk,
    Quality,
    Reach,
    RightsAnswer,
    RightsAsk,
    RightsRequest,
    Takedown,
    TakedownAsk,
    TakedownShown,
)
from lilong.floors.corpus.contract import BuildAsk, Datasheet, PublishAsk, SourcesAsk, SourceSet, Text, Version
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
    """Make a corpus version of source sets."""
    return await call(service.build, request, ask)


@routes.post("/runs", allow="corpus.build", status=201)
async def publish(request: Request, ask: PublishAsk) -> Version:
    """Make a corpus version of a finished curation run, whose files were kept as texts."""
    return await call(service.publish, request, ask)


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


@routes.get("/contributions/{name:path}", allow="corpus.read")
async def contributions(request: Request, name: str) -> Contributions:
    """What each contributor gave to a version."""
    return await call(service.contributions, request, name)


@routes.get("/quality/{name:path}", allow="corpus.read")
async def quality(request: Request, name: str) -> Quality:
    """The score card of a version's sources."""
    return await call(service.quality, request, name)


@routes.get("/reach/{name:path}", allow="corpus.read")
async def reach(request: Request, name: str) -> Reach:
    """What was made from a version."""
    return await call(service.reach, request, name)


@routes.get("/drift", allow="corpus.read")
async def drift(request: Request, before: str, after: str) -> Drift:
    """How far the kept documents of two versions lie apart."""
    return await call(service.drift, request, before, after)


@routes.post("/contains", allow="corpus.read")
async def contains(request: Request, ask: ContainsAsk) -> Contained:
    """Whether a text stands in a version."""
    return await call(service.contains, request, ask)


@routes.get("/alliance/members", allow="corpus.read")
async def members(request: Request) -> list[Member]:
    """The members of the data corpus alliance."""
    return await call(service.members, request)


@routes.post("/alliance/members", allow="corpus.steward", status=201)
async def join(request: Request, ask: MemberAsk) -> Member:
    """Ask for an organisation to be let in."""
    return await call(service.join, request, ask)


@routes.post("/alliance/members/{organisation}/admit", allow="corpus.steward")
async def admit(request: Request, organisation: str) -> Member:
    """Let an organisation in that has asked."""
    return await call(service.admit, request, organisation)


@routes.post("/alliance/members/{organisation}/leave", allow="corpus.steward")
async def leave(request: Request, organisation: str) -> Member:
    """Take an organisation out of the alliance."""
    return await call(service.leave, request, organisation)


@routes.post("/takedowns/preview", allow="corpus.steward")
async def preview(request: Request, ask: TakedownAsk) -> Reach:
    """What a takedown would reach. Nothing is changed."""
    return await call(service.preview, request, ask)


@routes.post("/takedowns", allow="corpus.steward", status=201)
async def takedown(request: Request, ask: TakedownAsk) -> Takedown:
    """Take a document, a source or a contributor's texts out of the corpora."""
    return await call(service.takedown, request, ask)


@routes.get("/takedowns", allow="corpus.read")
async def takedowns(request: Request, limit: int = 50) -> list[Takedown]:
    """Takedowns, newest first."""
    return await call(service.takedowns, request, limit)


@routes.get("/takedowns/{identity}", allow="corpus.read")
async def takedown_shown(request: Request, identity: str) -> TakedownShown:
    """A takedown, and what it reached."""
    return await call(service.takedown_shown, request, identity)


@routes.post("/rights", allow="corpus.steward", status=201)
async def log_request(request: Request, ask: RightsAsk) -> RightsRequest:
    """Log a data-rights request."""
    return await call(service.log_request, request, ask)


@routes.get("/rights", allow="corpus.steward")
async def rights_requests(request: Request, limit: int = 50) -> list[RightsRequest]:
    """Data-rights requests: those that are due next, then the newest."""
    return await call(service.rights_requests, request, limit)


@routes.get("/rights/{identity}", allow="corpus.steward")
async def rights_request(request: Request, identity: str) -> RightsRequest:
    """One data-rights request."""
    return await call(service.rights_request, request, identity)


@routes.post("/rights/{identity}/answer", allow="corpus.steward")
async def answer_request(request: Request, identity: str, ask: RightsAnswer) -> RightsRequest:
    """Answer a data-rights request."""
    return await call(service.answer_request, request, identity, ask)


@routes.post("/rights/{identity}/forget", allow="corpus.steward")
async def forget_request(request: Request, identity: str) -> RightsRequest:
    """Erase what tells who an answered request was from."""
    return await call(service.forget_request, request, identity)
