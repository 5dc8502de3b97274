"""Webhooks, as the client reads and writes them, and the log of what they were sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub.rules.webhooks import DOMAINS
from lilong.floors.hub.service import webhooks
from lilong.floors.hub.service.webhooks import WebhookAsk
from lilong.floors.hub.store.webhooks import Delivery, Watch, Webhook
from lilong.ground.access import SIGNED_IN

from .door import NotAsked, actor_of, house_of, json_body, number_of, routes, text_of, work

_AT = "/api/settings/webhooks"


def _shown(hook: Webhook) -> dict[str, Any]:
    return {
        "id": hook.id, "url": hook.url, "job": None, "watched": [{"type": each.type, "name": each.name} for each in hook.watched],
        "domains": list(hook.domains), "secret": hook.secret or None, "disabled": hook.disabled, "createdAt": hook.created_at,
    }  # fmt: skip


def _ask(body: Mapping[str, Any], before: Webhook | None = None) -> WebhookAsk:
    """What the body says; what it does not say stays as it was. Raises NotAsked."""
    if body.get("jobSourceId") or body.get("job"):
        raise NotAsked(field="jobSourceId", problem="webhooks here send to an address, they start no jobs")
    watched = before.watched if before else ()
    if body.get("watched") or before is None:  # the client sends an empty list where its user says nothing about it
        listed = body.get("watched")
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            raise NotAsked(field="watched", problem="it must be a list of objects with type and name")
        watched = tuple(Watch(text_of(each, "type"), text_of(each, "name")) for each in listed)
    domains = body.get("domains")
    if domains is None:
        domains = before.domains if before else DOMAINS
    elif not isinstance(domains, list) or not all(isinstance(each, str) for each in domains):
        raise NotAsked(field="domains", problem="it must be a list of words")
    url, secret = text_of(body, "url", before.url if before else None), text_of(body, "secret", before.secret if before else "")
    return WebhookAsk(url, watched, tuple(dict.fromkeys(domains)), secret)


@routes.get(_AT, allow=SIGNED_IN)
async def listed(request: Request) -> Response:
    return JSONResponse([_shown(each) for each in await work(webhooks.of, house_of(request), actor_of(request))])


@routes.post(_AT, allow=SIGNED_IN)
async def add(request: Request) -> Response:
    ask = _ask(await json_body(request))
    return JSONResponse({"webhook": _shown(await work(webhooks.add, house_of(request), actor_of(request), ask))})


@routes.get(_AT + "/{webhook}", allow=SIGNED_IN)
async def one(request: Request) -> Response:
    found = await work(webhooks.one, house_of(request), actor_of(request), request.path_params["webhook"])
    return JSONResponse({"webhook": _shown(found)})


@routes.post(_AT + "/{webhook}", allow=SIGNED_IN)
async def change(request: Request) -> Response:
    house, actor, identity = house_of(request), actor_of(request), request.path_params["webhook"]
    body = await json_body(request)
    before = await work(webhooks.one, house, actor, identity)
    return JSONResponse({"webhook": _shown(await work(webhooks.change, house, actor, identity, _ask(body, before)))})


@routes.delete(_AT + "/{webhook}", allow=SIGNED_IN)
async def delete(request: Request) -> Response:
    await work(webhooks.delete, house_of(request), actor_of(request), request.path_params["webhook"])
    return JSONResponse({"ok": True})


@routes.post(_AT + "/{webhook}/enable", allow=SIGNED_IN)
async def enable(request: Request) -> Response:
    return await _turn(request, on=True)


@routes.post(_AT + "/{webhook}/disable", allow=SIGNED_IN)
async def disable(request: Request) -> Response:
    return await _turn(request, on=False)


async def _turn(request: Request, *, on: bool) -> Response:
    found = await work(webhooks.enable, house_of(request), actor_of(request), request.path_params["webhook"], on)
    return JSONResponse({"webhook": _shown(found)})


@routes.get(_AT + "/{webhook}/deliveries", allow=SIGNED_IN)
async def deliveries(request: Request) -> Response:
    limit = number_of(request, "limit", 50, 500)
    found = await work(webhooks.deliveries, house_of(request), actor_of(request), request.path_params["webhook"], limit)
    return JSONResponse([_shown_delivery(each) for each in found])


def _shown_delivery(each: Delivery) -> dict[str, Any]:
    return {
        "id": each.id, "event": each.event, "subject": each.subject, "state": each.state, "attempts": each.attempts, "status": each.status,
        "answer": each.answer, "tookMs": each.took_ms, "createdAt": each.created_at, "finishedAt": each.finished_at,
        "nextAt": each.next_at if each.state == "waiting" else None,
    }  # fmt: skip


@routes.post(_AT + "/{webhook}/deliveries/{delivery}/again", allow=SIGNED_IN)
async def again(request: Request) -> Response:
    await work(webhooks.again, house_of(request), actor_of(request), request.path_params["webhook"], request.path_params["delivery"])
    return JSONResponse({"ok": True})
