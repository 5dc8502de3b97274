"""One signal over a version: how it is spread, and what another limit would drop, live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.responses import Response

from lilong.ground.errors import BadInput
from lilong.ground.pages import words

from . import pictures
from .door import address, link, look, number, page, routes, text

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.exploring import documents
    from lilong.floors.corpus.curation.exploring.signals import Spread, Threshold

_OPERATORS = ("<", ">", "<=", ">=")


@dataclass(frozen=True, slots=True)
class Shown:
    names: tuple[str, ...]
    numbers: tuple[str, ...]
    spread: Spread
    operator: str
    limit: float | None
    tried: Threshold | None
    problem: str


@routes.get("/corpora/{organisation}/{name}/signals", allow="corpus.read")
async def spread(request: Request, organisation: str, name: str) -> Response:
    """A histogram of a signal, and what dropping below or above a limit would do."""
    signal, operator = text(request, "signal"), text(request, "operator", 8)
    opened, shown = await look(request, organisation, name, _answer, signal, operator, request)
    _ = words(request)
    chart = pictures.histogram(
        shown.spread, title=_("Documents by {signal}", signal=shown.spread.signal), y_label=_("documents"), mark=shown.limit,
        kept=_("kept"), dropped=_("dropped"),
    )  # fmt: skip
    here = address(organisation, name)
    live = request.headers.get("hx-request") == "true"
    return page(
        request, "signals.html", 422 if shown.problem and not live else 200, opened=opened, home=here, shown=shown, chart=chart,
        operators=_OPERATORS, link=lambda **asked: link(f"{here}/documents", **asked),
    )  # fmt: skip


def _answer(version: documents.Version, signal: str, operator: str, request: Request) -> Shown:
    from lilong.floors.corpus.curation.exploring import signals

    ruled = [rule.drop.signal for rule in version.policy.rules]
    signal = signal or next((one for one in ruled if one in version.number_names), version.signal_names[0])
    found = signals.spread(version, signal)
    own = next((rule.drop for rule in found.rules if isinstance(rule.drop.limit, float) and operator in ("", rule.drop.operator)), None)
    operator = operator or (own.operator if own and own.operator in _OPERATORS else "<")
    tried: Threshold | None = None
    problem, limit = "", None
    try:
        limit = number(request, "limit")
        if limit is None and own is not None and isinstance(own.limit, float):
            limit = own.limit
        if limit is not None and signal in version.number_names:
            tried = signals.threshold(version, signal, operator, limit)
    except BadInput as error:
        problem = str(error)
    return Shown(version.signal_names, version.number_names, found, operator, limit, tried, problem)


def slider(found: Spread) -> dict[str, Any]:
    """From where to where a slider goes, and whether its steps grow with the values."""
    return {"low": found.bins[0].low, "high": found.bins[-1].high, "log": found.log} if found.bins else {"low": 0, "high": 1, "log": False}
