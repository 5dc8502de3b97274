"""The data of a dataset as tables: schema, rows, statistics and search."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from markupsafe import Markup
from starlette.responses import Response

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import viewer
from lilong.floors.hub.viewer.shapes import Histogram
from lilong.ground.access import PUBLIC
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.pages import page

from . import views
from .door import address, ask, rest, routes

_PAGE = 50
_SHOWN = 40  # columns


@routes.get("/datasets/{organisation:namespace}/{name:repository}/viewer/{rest:path}", allow=PUBLIC)
async def tables(request: Request) -> Response:
    at, (word, path) = address(request), rest(request)
    word = word or "main"
    head = await ask(request, views.head, Kind.DATASET, at.name, word)
    files = await ask(request, viewer.files, at.name, word)
    path = path or (files[0].path if files else "")
    query = request.query_params.get("q", "").replace("\0", "")[:200].strip()
    sort = request.query_params.get("sort", "").replace("\0", "")[:200]
    number = request.query_params.get("offset", "0")
    offset = int(number) if number.isascii() and number.isdigit() and len(number) < 12 else 0
    shown, statistics, error = None, None, None
    if path:
        try:
            if query:
                shown = await ask(request, viewer.search, at.name, word, path, query, offset, _PAGE, sort)
            else:
                shown = await ask(request, viewer.rows, at.name, word, path, offset, _PAGE, sort)
            statistics = await ask(request, viewer.statistics, at.name, word, path)
        except NotFound:
            raise
        except LilongError as refused:  # a file that is no table after all, or too much asked at once: the page says so
            error = refused
    here = head.at.at("viewer", word, path)

    def link(**changed: Any) -> str:
        given = {"q": query, "sort": sort, "offset": offset, **changed}
        asked = {key: value for key, value in given.items() if value}
        return f"{here}?{urlencode(asked)}" if asked else here

    return page(
        request, "hub/viewer.html", error.status if error else 200, section="/datasets", tab="viewer", head=head, at=head.at, files=files, chosen=path,
        shown=shown, statistics={one.name: one for one in statistics.columns} if statistics else {}, partial=bool(statistics and statistics.partial),
        error=str(error) if error else None, search=query, sort=sort, offset=offset, size=_PAGE, link=link, cell=_cell, histogram=histogram, columns=_SHOWN,
    )  # fmt: skip


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def histogram(found: Histogram, title: str) -> Markup:
    """Small bars; the edges and counts are told in words for those who do not see them."""
    most = max(found.counts, default=0) or 1
    width = 130 / max(len(found.counts), 1)
    parts = [Markup('<svg class="histogram" role="img" viewBox="0 0 130 34" preserveAspectRatio="none" aria-label="{}">').format(title)]
    for i, count in enumerate(found.counts):
        height = round(count / most * 32, 1)
        bar = Markup('<rect x="{}" y="{}" width="{}" height="{}"><title>{} – {}: {}</title></rect>')
        low, high = f"{found.edges[i]:.4g}", f"{found.edges[i + 1]:.4g}"
        parts.append(bar.format(round(i * width, 1), round(34 - height, 1), round(max(width - 1, 0.5), 1), height, low, high, count))
    return Markup("").join([*parts, Markup("</svg>")])
