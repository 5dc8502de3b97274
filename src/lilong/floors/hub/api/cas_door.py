"""What every route of the Xet CAS shares: who comes, and errors that its clients give up on at once.

Clients send a request that was answered with 5xx again and again for minutes, without a word. So whatever is wrong with a request is
said with 4xx, in JSON.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from re import Pattern

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub.service import xet_tokens
from lilong.floors.hub.service.xet_tokens import Grant, Verb, XetTokenNotUsable, XetTokenReadsOnly
from lilong.ground.errors import LilongError

from .door import house_of, work

Handler = Callable[..., Awaitable[Response]]  # (request, **groups of the pattern)
Route = tuple[str, Pattern[str], Handler]  # method, the path below /xet, handler

DRAINED = 68 << 20  # bytes of a refused body that are still taken: a client that is sending would not see the answer


async def entered(request: Request, verb: Verb) -> Grant:
    """Raises XetTokenNotUsable, XetTokenReadsOnly."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise XetTokenNotUsable()
    grant: Grant = await work(xet_tokens.grant_of, house_of(request), token.strip())
    if verb == "write" and grant.verb != "write":
        raise XetTokenReadsOnly()
    return grant


def refused(error: LilongError) -> Response:
    # A full disk is not worth trying again in a second: said with 5xx, nobody would hear of it for minutes.
    status = 413 if error.status == 507 else error.status
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    message = str(error)
    return JSONResponse({"error": message, "detail": message, "code": error.code(), "status": status}, status, headers)
