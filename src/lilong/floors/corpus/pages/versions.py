"""Versions: the list, one with its datasheet and its way from the sources to what was made from it, one source with its licence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.responses import Response

from lilong.floors.corpus import service
from lilong.floors.corpus.alliance.shapes import Reach
from lilong.floors.corpus.contract import Datasheet, Version
from lilong.floors.corpus.service import exploring
from lilong.ground.access import Actor
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.house import House
from lilong.ground.pages import words
from lilong.ground.web import call

from . import pictures
from .door import address, page, routes

_BOXES = 7  # of one stage of the lineage that are drawn
_LISTED = 300  # sources in the page's table
_FOLDED = 15  # licences and languages before the rest is folded
_DIGEST = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]{52}")


@routes.get("/corpora", allow="corpus.read")
async def listed(request: Request) -> Response:
    members = await call(service.members, request)
    return page(request, "datasets.html", versions=await call(service.versions, request), members=members)


@dataclass(frozen=True, slots=True)
class Shown:
    sheet: Datasheet
    reach: Reach | None
    explorable: bool
    own: bool  # whether it is of an organisation whose corpora the reader reads: then also its job, its statement and its dropped texts
    takedown: bool  # whether the reader may see the one that put it out of use
    card: list[dict[str, Any]]  # a row of tables/sources.parquet for each source
    contributions: list[Any]
    others: list[Version]  # of the same repository, the newest first


def shown(house: House, actor: Actor, name: str) -> Shown:
    """Raises VersionNotFound. What an older version does not have is left out."""
    sheet = service.datasheet(house, actor, name)
    version = sheet.version
    beside = [one for one in service.versions(house, actor, version.repository) if one.commit]
    own = house.db.read(lambda tx: house.access.allowed(tx, actor, "corpus.read", version.organisation))
    gone = version.superseded.takedown if version.superseded else ""
    told = bool(gone and _or_nothing(lambda: service.takedown_shown(house, actor, gone), None))
    if version.commit is None:
        return Shown(sheet, None, False, own, told, [], [], beside)
    exact = f"{version.repository}@{version.commit}"
    opened = _or_nothing(lambda: exploring.opened(house, actor, exact), None)
    card = _or_nothing(lambda: service.quality(house, actor, exact).sources, []) if opened else []
    gave = _or_nothing(lambda: service.contributions(house, actor, exact).contributions, []) if opened else []
    return Shown(sheet, service.reach(house, actor, exact), opened is not None, own, told, card, gave, beside)


def _or_nothing(ask: Any, nothing: Any) -> Any:
    try:
        return ask()
    except LilongError as problem:
        if problem.status >= 500 and not isinstance(problem, exploring.ExplorerMissing):
            raise
        return nothing


@routes.get("/corpora/{organisation}/{name}", allow="corpus.read")
async def version(request: Request, organisation: str, name: str) -> Response:
    """A version: what it is made of, under which terms, and what was made from it."""
    found: Shown = await call(shown, request, f"{organisation}/{name}")
    _ = words(request)
    return page(
        request, "version.html", shown=found, home=address(organisation, name), listed=_LISTED, folded=_FOLDED,
        note=_DIGEST.sub(r"\1…", found.sheet.note),
        stages=stages(found, _), chart=pictures.lineage(stages(found, _), title=_("From the sources to what was made from them"), and_more=_("more")),
        measures=measures(found.card),
    )  # fmt: skip


def stages(found: Shown, _: Any) -> list[pictures.Stage]:
    """Sources, the version, jobs, and what was made: of each the first few."""
    version = found.sheet.version
    sources = [pictures.Box(one.name, "source") for one in found.sheet.sources]
    made = [pictures.Stage(_("Sources"), sources[:_BOXES], max(len(sources) - _BOXES, 0))]
    made.append(pictures.Stage(_("Version"), [pictures.Box(f"{version.repository}@{(version.commit or '')[:8]}", "corpus")]))
    if found.reach is not None:
        jobs = [pictures.Box(one.title or one.kind, "job") for one in found.reach.jobs]
        made.append(pictures.Stage(_("Jobs"), jobs[:_BOXES], max(len(jobs) - _BOXES, 0) + found.reach.hidden.get("job", 0)))
        for kinds, title in ((("model",), _("Models")), (("deployment",), _("Deployments"))):
            boxes = [pictures.Box(one.name, one.kind) for one in found.reach.things if one.kind in kinds]
            made.append(
                pictures.Stage(title, boxes[:_BOXES], max(len(boxes) - _BOXES, 0) + sum(found.reach.hidden.get(kind, 0) for kind in kinds))
            )
    return made


_NO_MEASURE = frozenset({
    "name", "source", "package", "version", "licence", "evidence", "evidence_start", "evidence_end", "archive", "digest", "origin", "contributor",
    "retrieved_at", "terms", "documents", "bytes", "dropped", "kept",
})  # fmt: skip


def measures(card: list[dict[str, Any]]) -> list[str]:
    """The columns of the score card."""
    return [name for name in (card[0] if card else ()) if name not in _NO_MEASURE and any(isinstance(one[name], int | float) for one in card)]


# --- one source ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SourceShown:
    opened: exploring.Opened
    row: dict[str, Any]
    before: str
    span: str
    after: str
    cut: bool


_AROUND = 1500  # characters of the evidence on each side of what says so
_EVIDENCE = 1 << 20  # bytes of evidence that are looked at


def source_shown(house: House, actor: Actor, name: str, source: str) -> SourceShown:
    """Raises VersionNotFound, NotFound."""
    opened = exploring.opened(house, actor, name)
    row = next((one for one in service.quality(house, actor, name).sources if one.get("name", one.get("source")) == source), None)
    if row is None:
        raise NotFound(kind="source in this version", name=source[:200])
    evidence = ""
    if row.get("evidence") in opened.files:
        with house.blobs.open(opened.files[row["evidence"]]) as file:
            evidence = file.read(_EVIDENCE).decode("utf-8", "replace")
    start, end = row.get("evidence_start"), row.get("evidence_end")
    if start is None or end is None or not 0 <= start < end <= len(evidence):
        return SourceShown(opened, row, evidence[: 2 * _AROUND], "", "", len(evidence) > 2 * _AROUND)
    before, after = evidence[max(0, start - _AROUND) : start], evidence[end : end + _AROUND]
    return SourceShown(opened, row, before, evidence[start:end], after, start > _AROUND or len(evidence) > end + _AROUND)


@routes.get("/corpora/{organisation}/{name}/source/{source:path}", allow="corpus.read")
async def source(request: Request, organisation: str, name: str, source: str) -> Response:
    """One source: where it came from, and the words of its licence that say so."""
    found: SourceShown = await call(source_shown, request, f"{organisation}/{name}", source)
    return page(
        request,
        "source.html",
        opened=found.opened,
        home=address(organisation, name),
        source=found,
        measures=measures([found.row]),
    )
