"""What the pages share: their addresses, and numbers and choices as forms send them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from starlette.responses import Response

from lilong.floors.corpus.service import exploring
from lilong.floors.corpus.service.exploring import Opened
from lilong.ground import pages
from lilong.ground.errors import BadInput
from lilong.ground.web import Routes, call

from . import codes

routes = Routes(in_schema=False)


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page of this floor. Its templates have `tell` (words for a code) and `label` (the heading of a
    measure) and `detail` (what a decision says besides its reason)."""
    _ = pages.words(request)
    given = {"tell": codes.teller(_), "label": codes.labeller(_), "detail": codes.detailer(_), "section": "/datasets"}
    return pages.page(request, f"corpus/{template}", status, **given, **context)


def address(organisation: str, name: str) -> str:
    """Where the pages of a version are; `name` may end with @commit."""
    return f"/corpora/{quote(organisation)}/{quote(name, safe='@')}"


async def look(
    request: Request, organisation: str, name: str, question: str | Callable[..., Any], *args: Any, **kwargs: Any
) -> tuple[Opened, Any]:
    """A version, and what a function of `curation.exploring` says of its tables."""
    return await call(exploring.ask, request, f"{organisation}/{name}", question, *args, **kwargs)


def link(here: str, **asked: Any) -> str:
    """An address with what is asked there, as far as there is something."""
    given = {key: value for key, value in asked.items() if value not in (None, "", 0)}
    return f"{here}?{urlencode(given)}" if given else here


def text(request: Request, name: str, most: int = 300) -> str:
    """A query's text as it can be used: without NUL and lone surrogates."""
    return request.query_params.get(name, "").replace("\0", "").encode(errors="replace").decode()[:most]


def number(request: Request, name: str) -> float | None:
    """A query's number; None where it is left out. Raises BadInput."""
    said = text(request, name).strip()
    if not said:
        return None
    try:
        found = float(said)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise BadInput(field=name, problem=f"{said[:40]!r} is not a number", way_out="Write it as 0.3 or 250.")
    return found


def whole(request: Request, name: str) -> int:
    """A query's count; 0 where it is left out. Raises BadInput."""
    said = text(request, name).strip() or "0"
    if not (said.isascii() and said.isdigit() and len(said) < 16):
        raise BadInput(field=name, problem=f"{said[:40]!r} is not a count", way_out="Write it in digits, such as 20.")
    return int(said)


def choice(request: Request, name: str, known: Collection[str]) -> str:
    """One of a few words, or ''. Raises BadInput."""
    said = text(request, name)
    if said and said not in known:
        raise BadInput(field=name, problem=f"there is no {said[:80]!r}", way_out=f"Choose one of: {', '.join(sorted(known)[:50])}.")
    return said
