"""HTTP: registrations and profiles."""

from __future__ import annotations

from fastapi import Request

from lilong.floors.governance import service
from lilong.floors.governance.contract import Decision, Profile, Registration, RequestAsk, ReviewAsk, RevokeAsk
from lilong.ground.web import Routes, call

routes = Routes(prefix="/api/governance", tag="governance")


@routes.get("/registrations", allow="governance.read")
async def registrations(request: Request) -> list[Registration]:
    return await call(service.listed, request)


@routes.post("/registrations", allow="governance.request", status=201)
async def ask_for_registration(request: Request, ask: RequestAsk) -> Registration:
    return await call(service.request, request, ask)


@routes.get("/registrations/{name}", allow="governance.read")
async def registration(request: Request, name: str) -> Registration:
    return await call(service.shown, request, name)


@routes.post("/registrations/{name}/reviews", allow="governance.review", status=201)
async def review(request: Request, name: str, ask: ReviewAsk) -> Registration:
    return await call(service.review, request, name, ask)


@routes.post("/registrations/{name}/revocation", allow="governance.revoke", status=201)
async def revoke(request: Request, name: str, ask: RevokeAsk) -> Registration:
    return await call(service.revoke, request, name, ask)


@routes.get("/decision", allow="governance.read")
async def decision(request: Request, model: str, profile: str = "house", stack: str = "llama.cpp") -> Decision:
    return await call(service.preview, request, model, profile, stack)


@routes.get("/profiles", allow="governance.read")
async def profiles(request: Request) -> list[Profile]:
    return await call(service.known_profiles, request)
