"""Files in comments: the clients send them before the comment that shows them."""

from __future__ import annotations

from fastapi import Request, Response
from starlette.responses import PlainTextResponse

from lilong.floors.hub.rules import attachments as rules
from lilong.floors.hub.service import attachments
from lilong.floors.hub.store.community import Attachment
from lilong.ground.access import PUBLIC, SIGNED_IN

from .content import Download, blob_answer
from .door import actor_of, here, house_of, pulled, routes, take, work


@routes.post("/uploads", allow=SIGNED_IN)
async def attach(request: Request) -> Response:
    media_type = request.headers.get("content-type", "")
    limit = rules.limit(rules.suffix(media_type))
    house, actor = house_of(request), actor_of(request)
    name = await take(request, lambda: attachments.receive(house, actor, media_type, pulled(request, limit)))
    return PlainTextResponse(f"{here(request)}/uploads/{name}")


@routes.get("/uploads/{name}", allow=PUBLIC)
async def fetch(request: Request) -> Response:
    """The address is the permission; it is in no list."""
    found: Attachment = await work(attachments.attachment, house_of(request), request.path_params["name"])
    answer = await blob_answer(request, Download(found.digest, found.size, f'"{found.id}"', request.path_params["name"]), {})
    if answer.status_code in (200, 206):
        answer.headers["content-type"] = found.media_type
        answer.headers["content-disposition"] = "inline"
        answer.headers["x-content-type-options"] = "nosniff"
    return answer
