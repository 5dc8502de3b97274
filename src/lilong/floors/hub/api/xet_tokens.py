"""Tokens for the Xet CAS, as the Hugging Face clients ask for them: headers for its Python half, JSON for its Rust half."""

from __future__ import annotations

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub.service import xet_access
from lilong.floors.hub.service.xet_tokens import Grant, issue
from lilong.ground.access import PUBLIC, SIGNED_IN

from .door import actor_of, flag_of, here, house_of, place, routes, split_rest, work


@routes.both("GET", "/api/{kinds}/{organisation}/{name}/xet-read-token/{revision:path}", allow=PUBLIC)
async def read_token(request: Request) -> Response:
    kind, name, rest = place(request)
    grant: Grant = await work(xet_access.to_read, house_of(request), actor_of(request), kind, name, split_rest(rest)[0])
    return answer(request, grant)


@routes.both("GET", "/api/{kinds}/{organisation}/{name}/xet-write-token/{revision:path}", allow=SIGNED_IN)
async def write_token(request: Request) -> Response:
    kind, name, rest = place(request)
    word, _ = split_rest(rest)
    # A pull request that is to be made has no name yet: clients write "None".
    proposed = flag_of(request, "create_pr") or word == "None"
    grant: Grant = await work(xet_access.to_write, house_of(request), actor_of(request), kind, name, None if proposed else word)
    return answer(request, grant)


def answer(request: Request, grant: Grant) -> Response:
    address, token = f"{here(request)}/xet", issue(house_of(request), grant)
    headers = {
        "x-xet-cas-url": address,
        "x-xet-access-token": token,
        "x-xet-token-expiration": str(grant.expires),
        "cache-control": "no-store",
    }
    return JSONResponse({"casUrl": address, "exp": grant.expires, "accessToken": token}, headers=headers)
