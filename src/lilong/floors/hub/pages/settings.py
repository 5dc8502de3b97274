"""A repository's settings: who sees it, who may have its files, its name, and its end."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from lilong.floors.hub import service
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import quotas
from lilong.floors.hub.service import settings as verbs
from lilong.ground.access import SIGNED_IN, Actor
from lilong.ground.errors import BadInput, LilongError
from lilong.ground.house import House
from lilong.ground.pages import page

from . import views
from .door import Address, address, ask, attempt, go, routes, text


@routes.both("GET", "/settings", allow=SIGNED_IN)
async def settings(request: Request) -> Response:
    return await _settings(request, None)


async def _settings(request: Request, error: LilongError | None, new_name: str = "") -> Response:
    at = address(request)
    head, quota = await ask(request, _seen, at.kind, at.name)
    return page(
        request, "hub/settings.html", error.status if error else 200, section=f"/{at.kind.value}s", tab="settings", head=head, at=head.at, quota=quota,
        error=str(error) if error else None, new_name=new_name or at.name,
    )  # fmt: skip


def _seen(house: House, actor: Actor, kind: Kind, name: str) -> tuple[views.Head, quotas.Quota]:
    """Raises RepositoryNotFound, Forbidden."""
    head = views.head(house, actor, kind, name)
    house.db.read(lambda tx: verbs.managed(house, tx, actor, kind, name))
    return head, house.db.read(lambda tx: quotas.of(house, tx, head.held.organisation))


@routes.form("/settings")
async def change(request: Request) -> Response:
    at = address(request)
    form = await request.form()
    match text(form, "do", most=20):
        case "move":
            new = text(form, "name", most=200).strip()
            moved, error = await attempt(ask(request, verbs.move, at.kind, at.name, new))
            return go(Address(at.kind, moved.name).home) if error is None else await _settings(request, error, new)
        case "delete":
            _, error = await attempt(ask(request, _delete, at, text(form, "typed", most=300).strip()))
            return go(f"/{at.kind.value}s") if error is None else await _settings(request, error)
        case _:
            private = {"private": True, "public": False}.get(text(form, "visibility", most=10))
            gated = text(form, "gated", "", 10)
            _, error = await attempt(ask(request, verbs.change, at.kind, at.name, private=private, gated="" if gated == "no" else gated))
            return go(f"{at.home}/settings") if error is None else await _settings(request, error)


def _delete(house: House, actor: Actor, at: Address, typed: str) -> None:
    house.db.read(lambda tx: verbs.managed(house, tx, actor, at.kind, at.name))
    if typed != at.name:
        raise BadInput(field="name", problem="it is not the repository's", way_out=f"Type {at.name} to delete it.")
    service.delete(house, actor, at.kind, at.name)
