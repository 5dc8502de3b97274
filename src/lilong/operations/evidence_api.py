"""HTTP: statements, walks, bundles, the log and its proofs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

import anyio.to_thread
from fastapi import Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from lilong.ground.access import PUBLIC
from lilong.ground.web import Routes, call
from lilong.operations import evidence_service as service
from lilong.operations.bundles.export import stream
from lilong.operations.evidence_service import InclusionProof, RevokeAsk, StatementListed, StatementShown, Trace

routes = Routes(prefix="/api/evidence", tag="evidence")


@routes.get("/statements", allow="evidence.read")
async def statements(request: Request, limit: int = 100, before: int | None = None) -> list[StatementListed]:
    return await call(service.statements, request, limit, before)


@routes.get("/statements/{identity}", allow="evidence.read")
async def statement(request: Request, identity: str) -> StatementShown:
    return await call(service.statement, request, identity)


@routes.get("/statements/{identity}/envelope", allow="evidence.read")
async def envelope(request: Request, identity: str) -> Response:
    return Response(await call(service.envelope, request, identity), media_type="application/vnd.in-toto+json")


@routes.post("/statements/{identity}/revocation", allow="evidence.revoke", status=201)
async def revoke(request: Request, identity: str, ask: RevokeAsk) -> StatementShown:
    return await call(service.revoke, request, identity, ask)


@routes.get("/trace", allow="evidence.read")
async def trace(request: Request, of: str, direction: Literal["down", "up"] = "down") -> Trace:
    return await call(service.trace, request, of, direction)


@routes.get("/bundle", allow="evidence.export", response_class=StreamingResponse)
async def bundle(request: Request, of: str, files: Literal["subject", "all", "none"] = "subject") -> StreamingResponse:
    package = await call(service.bundle, request, of, files)
    return StreamingResponse(stream(package, request.app.state.house.blobs), media_type="application/x-tar")


@routes.get("/verification", allow="house.read", response_class=StreamingResponse)
async def verification(request: Request) -> StreamingResponse:
    def lines() -> Iterator[bytes]:
        for told in service.verification(request.app.state.house):
            yield json.dumps(told).encode() + b"\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@routes.get("/checkpoint", allow=PUBLIC, response_class=PlainTextResponse)
async def checkpoint(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await anyio.to_thread.run_sync(service.checkpoint, request.app.state.house))


@routes.get("/key", allow=PUBLIC, response_class=PlainTextResponse)
async def key(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await anyio.to_thread.run_sync(service.key, request.app.state.house) + "\n")


@routes.get("/log/inclusion/{seq}", allow=PUBLIC)
async def inclusion(request: Request, seq: int, size: int | None = None) -> InclusionProof:
    return await anyio.to_thread.run_sync(service.inclusion, request.app.state.house, seq, size)


@routes.get("/log/consistency", allow=PUBLIC)
async def consistency(request: Request, old: int, new: int) -> tuple[str, ...]:
    return await anyio.to_thread.run_sync(service.consistency, request.app.state.house, old, new)
