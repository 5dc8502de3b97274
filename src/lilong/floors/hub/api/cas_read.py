"""The half of the Xet CAS that reads: how a file is put together, and the bytes of xorbs under signed links."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from starlette.responses import JSONResponse, RedirectResponse

from lilong.floors.hub.service import xet_read, xorb_store
from lilong.floors.hub.service.xet_read import LinkToXorbNotUsable, XorbLink
from lilong.floors.hub.service.xet_tokens import Grant
from lilong.floors.hub.xet.reconstruction import Piece, Reconstruction
from lilong.ground.house import House

from .cas_door import Route, entered
from .door import here, house_of, work
from .sending import by_nginx, of_iterator, streamed

_REDIRECTED = 300  # seconds that a client has to follow us to S3


async def reconstruction_v1(request: Request, hash: str) -> Response:
    grant, found = await _reconstruction(request, hash)
    fetch: dict[str, list[dict[str, Any]]] = {}
    for piece in found.pieces:
        line = {
            "range": {"start": piece.begin, "end": piece.end},
            "url": _address(request, grant, piece),
            "url_range": {"start": piece.start, "end": piece.stop - 1},
        }
        fetch.setdefault(piece.xorb, []).append(line)
    return JSONResponse({**_runs(found), "fetch_info": fetch})


async def reconstruction_v2(request: Request, hash: str) -> Response:
    """One link for each run of bytes: a client that may put several ranges into one request need not."""
    grant, found = await _reconstruction(request, hash)
    fetch: dict[str, list[dict[str, Any]]] = {}
    for piece in found.pieces:
        span = {"chunks": {"start": piece.begin, "end": piece.end}, "bytes": {"start": piece.start, "end": piece.stop - 1}}
        fetch.setdefault(piece.xorb, []).append({"url": _address(request, grant, piece), "ranges": [span]})
    return JSONResponse({**_runs(found), "xorbs": fetch})


_CLOSED_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})")
_OPEN_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")


async def _reconstruction(request: Request, hash: str) -> tuple[Grant, Reconstruction]:
    grant = await entered(request, "read")
    asked = _OPEN_RANGE.fullmatch(request.headers.get("range", "").strip())
    first, last = (int(asked[1]), int(asked[2]) + 1 if asked[2] else None) if asked else (0, None)
    return grant, await work(xet_read.reconstruct, house_of(request), grant, hash, first, last)


def _runs(found: Reconstruction) -> dict[str, Any]:
    runs = [{"hash": run.xorb, "unpacked_length": run.length, "range": {"start": run.begin, "end": run.end}} for run in found.runs]
    return {"offset_into_first_range": found.skip, "terms": runs}


def _address(request: Request, grant: Grant, piece: Piece) -> str:
    house = house_of(request)
    link = xet_read.link(house, grant, piece)
    query = f"start={link.start}&stop={link.stop}&user={quote(link.user, safe='')}&expires={link.expires}&signature={link.signature(house)}"
    return f"{here(request)}/xet/xorb/{link.xorb}?{query}"


async def xorb(request: Request, hash: str) -> Response:
    """The signed link is the permission: clients send no token here."""
    house, link = house_of(request), _link(request, hash)
    span = _span(request)
    first, stop = span or (link.start, link.stop)
    xet_read.check_link(house, link, request.query_params.get("signature", ""), first, stop)
    store = xorb_store.of(house)
    headers = {"content-type": "application/octet-stream", "cache-control": "private, max-age=3600", "accept-ranges": "bytes"}
    path = store.path(hash)
    if path is None:
        return await _from_afar(house, link, first, stop, headers)
    # With If-Range, nginx may take it upon itself to send the whole xorb.
    if span is not None and "if-range" not in request.headers and (accelerated := by_nginx(request, house, path, headers)) is not None:
        return accelerated
    size = await work(store.size, hash)
    if size is None or stop > size:
        raise xorb_store.XorbMissing(name=hash)
    headers |= {"content-length": str(stop - first), "content-range": f"bytes {first}-{stop - 1}/{size}"}
    return streamed(await of_iterator(lambda: xet_read.stored(house, hash, first, stop)), 206, headers)


def _span(request: Request) -> tuple[int, int] | None:
    """The first byte and the one after the last that are asked for; None where no range is.

    Nothing is made of a range that does not say both, or of more than one: what nginx would make of it may be more than the link is for.
    Raises LinkToXorbNotUsable.
    """
    asked = request.headers.getlist("range")
    if not asked:
        return None
    found = _CLOSED_RANGE.fullmatch(asked[0].strip()) if len(asked) == 1 else None
    if found is None:
        raise LinkToXorbNotUsable()
    return int(found[1]), int(found[2]) + 1


async def _from_afar(house: House, link: XorbLink, first: int, stop: int, headers: dict[str, str]) -> Response:
    """From S3: by a link of its own that is good for this one range, or through us."""
    store = xorb_store.of(house)
    if house.settings.accel == "s3" and (url := await work(store.presign, link.xorb, _REDIRECTED, first, stop)):
        return RedirectResponse(url, 302, {"cache-control": "no-store"})
    pieces = await of_iterator(lambda: xet_read.stored(house, link.xorb, first, stop))
    headers |= {"content-length": str(stop - first), "content-range": f"bytes {first}-{stop - 1}/*"}
    return streamed(pieces, 206, headers)


def _link(request: Request, hash: str) -> XorbLink:
    """The link that this request came by, not checked yet. Raises LinkToXorbNotUsable."""
    query = request.query_params
    numbers = [query.get(name, "") for name in ("start", "stop", "expires")]
    if not all(number.isascii() and number.isdigit() and len(number) < 19 for number in numbers):
        raise LinkToXorbNotUsable()
    start, stop, expires = (int(number) for number in numbers)
    return XorbLink(xorb_store.hash_of(hash), start, stop, query.get("user", ""), expires)


_HASH = r"/(?P<hash>[^/]+)"
reads: list[Route] = [
    ("GET", re.compile(rf"/(?:v1/)?reconstructions?{_HASH}"), reconstruction_v1),
    ("GET", re.compile(rf"/v2/reconstructions{_HASH}"), reconstruction_v2),
    ("GET", re.compile(rf"/xorb{_HASH}"), xorb),
]
