"""One's own webhooks: what they watch, and the log of what was sent."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from lilong.floors.hub.rules.webhooks import DOMAINS, TYPES
from lilong.floors.hub.service import webhooks
from lilong.floors.hub.service.webhooks import WebhookAsk
from lilong.floors.hub.store.webhooks import Watch, Webhook
from lilong.ground.access import SIGNED_IN, Actor
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.house import House
from lilong.ground.pages import page

from .door import ask, attempt, go, routes, text

PAGE = "/settings/webhooks"


@routes.get(PAGE, allow=SIGNED_IN)
async def listed(request: Request) -> Response:
    kind, _, name = request.query_params.get("watch", "").partition(":")
    return await _page(request, None, kind if kind in TYPES else "model", name[:200])


async def _page(request: Request, error: LilongError | None, kind: str, name: str, url: str = "") -> Response:
    return page(
        request, "hub/webhooks.html", error.status if error else 200, section="", hooks=await ask(request, webhooks.of), types=TYPES, kind=kind, name=name,
        url=url, error=str(error) if error else None,
    )  # fmt: skip


@routes.post(PAGE, allow=SIGNED_IN)
async def add(request: Request) -> Response:
    form = await request.form()
    kind, name, url = text(form, "type", most=10), text(form, "name", most=200).strip(), text(form, "url", most=2000).strip()
    domains = tuple(word for word in DOMAINS if form.get(word))
    wanted = WebhookAsk(url, (Watch(kind, name),), domains, text(form, "secret", most=500).strip())
    made, error = await attempt(_add(request, wanted))
    return go(f"{PAGE}/{made.id}") if error is None else await _page(request, error, kind, name, url)


class NothingToWatch(LilongError):
    """There is nothing of that name that you may see."""

    status = 422


async def _add(request: Request, wanted: WebhookAsk) -> Webhook:
    """What is missing is a mistake in the form, not a page that is missing."""
    try:
        made: Webhook = await ask(request, webhooks.add, wanted)
    except NotFound as missing:
        raise NothingToWatch() from missing
    return made


@routes.get(PAGE + "/{webhook}", allow=SIGNED_IN)
async def one(request: Request) -> Response:
    identity = request.path_params["webhook"]
    hook, sent = await ask(request, webhooks.one, identity), await ask(request, webhooks.deliveries, identity)
    return page(request, "hub/webhook.html", section="", hook=hook, sent=sent)


@routes.post(PAGE + "/{webhook}", allow=SIGNED_IN)
async def change(request: Request) -> Response:
    identity = request.path_params["webhook"]
    form = await request.form()
    await ask(request, _change, identity, text(form, "do", most=10), text(form, "delivery", most=100))
    return go(PAGE if form.get("do") == "delete" else f"{PAGE}/{identity}")


def _change(house: House, actor: Actor, identity: str, verb: str, delivery: str) -> None:
    match verb:
        case "delete":
            webhooks.delete(house, actor, identity)
        case "enable" | "disable":
            webhooks.enable(house, actor, identity, verb == "enable")
        case "again":
            webhooks.again(house, actor, identity, delivery)
        case _:
            webhooks.one(house, actor, identity)
