"""The explorer: documents by words, signals, sources and verdicts; one document and why; duplicates side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.responses import Response

from lilong.floors.corpus.curation.exploring import CLUSTERS, LONGEST, SHOWN

from .door import address, choice, link, look, number, page, routes, text, whole

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.exploring import documents
    from lilong.floors.corpus.curation.exploring.documents import Found
    from lilong.floors.corpus.curation.exploring.search import Searched
    from lilong.floors.corpus.curation.exploring.verdicts import SourceRate


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page of documents shows, and what its form can choose from."""

    found: Found | None
    searched: Searched | None
    sources: list[str]
    reasons: list[str]
    languages: list[str]
    signals: tuple[str, ...]


@routes.get("/corpora/{organisation}/{name}/documents", allow="corpus.read")
async def listed(request: Request, organisation: str, name: str) -> Response:
    """Search, sample and filter."""
    words, start, sample = text(request, "q", LONGEST + 1).strip(), whole(request, "start"), whole(request, "sample")
    low, high = number(request, "low"), number(request, "high")
    fields = {
        "verdict": choice(request, "verdict", ("kept", "dropped")),
        **{field: text(request, field) for field in ("reason", "source", "language", "signal")},
    }

    def answer(version: documents.Version) -> Shown:
        from lilong.floors.corpus.curation.exploring import documents, search

        wanted = documents.Wanted(**fields, low=low, high=high)
        searched = search.search(version, words, wanted, start) if words else None
        found = None if words else documents.listed(version, wanted, start, sample)
        spoken = sorted(version.signals.coded("language").names) if "language" in version.signal_names else []
        return Shown(
            found,
            searched,
            sorted(version.frame.source.names),
            sorted(reason for reason in version.frame.reason.names if reason),
            spoken,
            version.number_names,
        )

    opened, shown = await look(request, organisation, name, answer)
    here = address(organisation, name)
    asked: dict[str, Any] = {"q": words, **fields, **{bound: request.query_params.get(bound, "") for bound in ("low", "high")}}
    return page(
        request, "documents.html", opened=opened, home=here, shown=shown, asked=asked, start=start, sample=sample, size=SHOWN,
        longest=LONGEST, link=lambda **changed: link(f"{here}/documents", **{**asked, **changed}),
    )  # fmt: skip


@routes.get("/corpora/{organisation}/{name}/document/{identity}", allow="corpus.read")
async def document(request: Request, organisation: str, name: str, identity: str) -> Response:
    """One document: why it was kept or dropped, its signals against the limits, its text."""
    opened, found = await look(request, organisation, name, "verdicts:explain", identity)
    return page(request, "document.html", opened=opened, home=address(organisation, name), document=found)


@dataclass(frozen=True, slots=True)
class Dropped:
    sources: list[SourceRate]
    reasons: list[tuple[str, str, int]]
    read: int


@routes.get("/corpora/{organisation}/{name}/dropped", allow="corpus.read")
async def dropped(request: Request, organisation: str, name: str) -> Response:
    """Pass rates by source, and the reasons in the order in which they were asked."""

    def answer(version: documents.Version) -> Dropped:
        from lilong.floors.corpus.curation.exploring import verdicts

        rates = verdicts.rates(version)
        return Dropped(rates, verdicts.reasons(version), sum(one.documents for one in rates))

    opened, shown = await look(request, organisation, name, answer)
    return page(request, "dropped.html", opened=opened, home=address(organisation, name), shown=shown)


@routes.get("/corpora/{organisation}/{name}/duplicates", allow="corpus.read")
async def duplicates(request: Request, organisation: str, name: str) -> Response:
    """The largest clusters."""
    start, why = whole(request, "start"), choice(request, "why", ("exact", "near"))
    opened, (clusters, count) = await look(request, organisation, name, "alike:clusters", start, CLUSTERS, why)
    here = address(organisation, name)
    return page(
        request, "duplicates.html", opened=opened, home=here, clusters=clusters, count=count, start=start, size=CLUSTERS, why=why,
        link=lambda **changed: link(f"{here}/duplicates", **{"why": why, "start": start, **changed}),
    )  # fmt: skip


@routes.get("/corpora/{organisation}/{name}/duplicates/{cluster}", allow="corpus.read")
async def beside(request: Request, organisation: str, name: str, cluster: str) -> Response:
    """Two documents of a cluster side by side."""
    opened, found = await look(request, organisation, name, "alike:beside", cluster, text(request, "left"), text(request, "right"))
    here = address(organisation, name)
    return page(
        request, "beside.html", opened=opened, home=here, beside=found,
        link=lambda **changed: link(f"{here}/duplicates/{found.cluster}", **{"left": found.left["id"], "right": found.right["id"], **changed}),
    )  # fmt: skip
