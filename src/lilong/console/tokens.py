"""One's own API tokens: what each is for, when it was last used, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response

from lilong.ground.access import SIGNED_IN, Actor, Token
from lilong.ground.errors import BadInput, LilongError
from lilong.ground.house import House
from lilong.ground.pages import page
from lilong.ground.web import Routes, call
from lilong.operations import service
from lilong.operations.service import NewToken, TokenAsk

routes = Routes(in_schema=False)
PAGE = "/settings/tokens"
LIVES = ("7", "30", "90", "365", "")  # days; empty for no end
RIGHTS = ("read", "discuss", "write", "admin")


@dataclass(frozen=True, slots=True)
class Shown:
    token: Token
    state: str  # usable | expired | revoked
    words: tuple[str, ...]  # its scopes


def _listed(house: House, actor: Actor) -> list[Shown]:
    from lilong.ground.seams import parse_stamp

    now = house.clock.now()
    found = []
    for token in service.tokens(house, actor):
        ended = token.expires_at is not None and parse_stamp(token.expires_at) <= now
        found.append(Shown(token, "revoked" if token.revoked_at else "expired" if ended else "usable", token.scopes))
    return sorted(found, key=lambda one: (one.state != "usable", one.token.created_at))


@routes.get(PAGE, allow=SIGNED_IN)
async def tokens(request: Request) -> Response:
    return await _page(request)


async def _page(
    request: Request, made: NewToken | None = None, error: LilongError | None = None, typed: dict[str, str] | None = None
) -> Response:
    return page(
        request, "tokens.html", error.status if error else 200, tokens=await call(_listed, request), made=made, error=str(error) if error else None,
        typed={"title": "", "rights": "read", "places": "", "days": "90", **(typed or {})}, rights=RIGHTS, lives=LIVES,
    )  # fmt: skip


@routes.post(PAGE, allow=SIGNED_IN)
async def add(request: Request) -> Response:
    form = await request.form()
    typed = {
        key: value
        for key in ("title", "rights", "places", "days", "more")
        if (value := form.get(key)) is not None and not isinstance(value, UploadFile)
    }
    days = typed.get("days", "")
    scopes = scopes_of(typed.get("rights", ""), typed.get("places", ""), typed.get("more", ""))
    ask = TokenAsk(typed.get("title", "").strip()[:200] or "token", scopes=scopes, days=int(days) if days in LIVES and days else None)
    try:
        if not scopes:
            raise BadInput(field="scopes", problem="there are none", way_out="Choose what the token is for.")
        made = await call(service.add_token, request, ask)
    except LilongError as error:
        if error.status >= 500:
            raise
        return await _page(request, None, error, typed)
    return await _page(request, made)


def scopes_of(rights: str, places: str, more: str) -> tuple[str, ...]:
    """From what the form holds: rights on the hub in these places, and patterns of permissions besides."""
    if rights == "all":
        return ("*",)
    named = [word for word in places.replace(",", " ").split() if word]
    own = [f"{rights}@{place}" for place in named] or [rights] if rights in RIGHTS else []
    return (*own, *more.replace(",", " ").split())


@routes.post(PAGE + "/{token}/revoke", allow=SIGNED_IN)
async def revoke(request: Request, token: str) -> Response:
    await call(service.revoke_token, request, token)
    return RedirectResponse(PAGE, 303)
