"""A reader of a lazy mirror waits for the file to come, for as long as a client has patience."""

from __future__ import annotations

import asyncio

from fastapi import Request, Response

from lilong.floors.hub.service import mirrors
from lilong.floors.hub.store import Held

from .door import failure, house_of, work

_PATIENCE = 8.0  # seconds: clients give up after ten


async def brought(request: Request, held: Held, digest: str) -> Response | None:
    """None once the bytes of a large file are here; else the answer that tells the client when to ask again. Raises MirrorBroken."""
    house = house_of(request)
    flight = await work(mirrors.wanted, house, held, digest)
    if flight is None:
        return None
    try:
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(flight.arrived)), _PATIENCE)
    except TimeoutError:
        away = flight.away
        message = f"The mirror is fetching {away.path} from its source: {flight.received} of {away.size} bytes have come. Ask again."
        return failure(429, message, headers={"retry-after": str(flight.seconds_left(house.clock.monotonic()))})
    return None
