"""HTTP: accounts, tokens, status."""

from __future__ import annotations

from fastapi import Request, Response

from lilong.ground.access import SIGNED_IN, Organisation, Token, User
from lilong.ground.web import Routes, call

from . import service
from .service import GrantAsk, Link, LinkAsk, NewToken, OrganisationAsk, PasswordAsk, Status, TokenAsk, UserAsk, WhoAmI

routes = Routes(prefix="/api/house", tag="house")


@routes.get("/who-am-i", allow=SIGNED_IN)
async def who_am_i(request: Request) -> WhoAmI:
    return await call(service.who_am_i, request)


@routes.get("/status", allow="house.read")
async def status(request: Request) -> Status:
    return await call(service.status, request)


@routes.get("/users", allow="house.read")
async def users(request: Request) -> list[User]:
    return await call(service.users, request)


@routes.post("/users", allow="house.manage", status=201)
async def add_user(request: Request, ask: UserAsk) -> User:
    return await call(service.add_user, request, ask)


@routes.get("/organisations", allow=SIGNED_IN)
async def organisations(request: Request) -> list[Organisation]:
    return await call(service.organisations, request)


@routes.post("/organisations", allow="house.manage", status=201)
async def add_organisation(request: Request, ask: OrganisationAsk) -> Organisation:
    return await call(service.add_organisation, request, ask)


@routes.post("/grants", allow="organisations.manage", status=201)
async def grant(request: Request, ask: GrantAsk) -> GrantAsk:
    return await call(service.grant, request, ask)


@routes.get("/tokens", allow=SIGNED_IN)
async def tokens(request: Request) -> list[Token]:
    return await call(service.tokens, request)


@routes.post("/tokens", allow=SIGNED_IN, status=201)
async def add_token(request: Request, ask: TokenAsk) -> NewToken:
    return await call(service.add_token, request, ask)


@routes.delete("/tokens/{token}", allow=SIGNED_IN, status=204)
async def revoke_token(request: Request, token: str) -> Response:
    await call(service.revoke_token, request, token)
    return Response(status_code=204)


@routes.post("/sign-in-links", allow=SIGNED_IN, status=201)
async def add_link(request: Request, ask: LinkAsk) -> Link:
    return await call(service.add_link, request, ask)


@routes.post("/passwords", allow=SIGNED_IN)
async def set_password(request: Request, ask: PasswordAsk) -> User:
    return await call(service.set_password, request, ask)
