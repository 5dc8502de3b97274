"""The compute floor's pages: the queue, one job, capacity, tenants, estimates, what-if."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from lilong.floors.compute import service
from lilong.floors.compute.contract import FINISHED, Job, JobState
from lilong.floors.compute.pages import pictures, trying
from lilong.floors.compute.pages.telling import teller
from lilong.floors.compute.rules.asking import layouts
from lilong.floors.compute.service import estimate, usage, whatif, why
from lilong.ground.access import Actor
from lilong.ground.draw import Interval, curve, intervals
from lilong.ground.errors import BadInput, Refused
from lilong.ground.floor import Room
from lilong.ground.house import House
from lilong.ground.pages import page, words
from lilong.ground.seams import parse_stamp
from lilong.ground.web import Routes, call

routes = Routes(in_schema=False)
_TAIL = 20_000  # bytes of log shown


@routes.get("/jobs", allow="jobs.read")
async def jobs(request: Request, before: str | None = None, state: JobState | None = None) -> Response:
    """The queue: who waits and why, who runs, who has ended."""
    shown = await call(service.jobs, request, state, None, before)
    site = await call(service.site, request)
    return page(
        request,
        "compute/jobs.html",
        jobs=shown,
        counts=site.jobs,
        chosen=state.value if state else "",
        asked=asked,
        tell=teller(request),
        manages=await _manages(request),
    )


@routes.get("/jobs/{job_id}", allow="jobs.read")
async def job(request: Request, job_id: str) -> Response:
    """One job: its life, its place, its log."""
    shown = await call(service.show, request, job_id)
    progress = await call(service.progress, request, job_id, 0)
    log = await call(service.logs, request, job_id, -_TAIL)
    story = await call(usage.story, request, job_id)
    waiting = await call(why.why, request, job_id) if shown.state is JobState.QUEUED else None
    _ = words(request)
    points = [(float(line["step"]), float(line["loss"])) for line in progress if "loss" in line]
    return page(
        request, "compute/job.html", job=shown, working=shown.state not in FINISHED, progress=progress[-1] if progress else None,
        log=log, points=points, chart=curve(points, title=_("Training loss by step"), x_label=_("step"), y_label=_("loss (nats a token)")),
        asked=asked, why=waiting, tell=teller(request), story=story, timeline=_timeline(story, _), map=_map(shown, story, _),
    )  # fmt: skip


@routes.get("/jobs/{organisation}/{job_id}", allow="jobs.read")
async def job_of(request: Request, organisation: str, job_id: str) -> Response:
    """The address that the Hugging Face client prints."""
    shown = await call(service.show, request, job_id)
    return RedirectResponse(f"/jobs/{shown.id}")


@routes.get("/compute", allow="jobs.read")
async def capacity(request: Request) -> Response:
    """How full each site was, hour by hour."""
    found, _ = await call(usage.capacity, request), words(request)
    unknown = any(share is None for one in found.sites for share in one.by_hour)
    title = _("Share of each site held, by hour; striped: not known") if unknown else _("Share of each site held, by hour")
    chart = pictures.heatmap([(one.name, one.by_hour) for one in found.sites], found.hours, title=title, unknown=_("not known"))
    return page(
        request,
        "compute/capacity.html",
        capacity=found,
        chart=chart,
        tell=teller(request),
        section="/jobs",
        manages=await _manages(request),
    )


@routes.get("/compute/tenants", allow="jobs.read")
async def tenants(request: Request) -> Response:
    """What each tenant holds against its quota."""
    parts, _ = [], words(request)
    for one in await call(usage.tenants, request):
        rows = [pictures.Share(row.name, row.depth, row.used, row.borrowed, row.lent, row.nominal) for row in one.tenants]
        unit = _("devices" if one.accelerator else "cores")
        chart = pictures.shares(rows, title=_("Held against quota: {kind}", kind=one.accelerator or unit), unit=unit)
        parts.append({"accelerator": one.accelerator, "rows": one.tenants, "chart": chart})
    return page(request, "compute/tenants.html", parts=parts, section="/jobs", manages=await _manages(request))


@routes.get("/compute/estimates", allow="jobs.read")
async def estimates(request: Request) -> Response:
    """How well what was said of starts has held."""
    found = await call(estimate.estimates_held, request)
    _ = words(request)
    rows = [("all", found.all), *found.by_horizon.items()]
    told = [
        Interval(f"{_(name)}, {which}", 100 * share.share, 100 * share.low, 100 * share.high)
        for name, one in rows
        for which, share in (("P50", one.by_p50), ("P90", one.by_p90))
        if share.share is not None and share.low is not None and share.high is not None
    ]
    chart = intervals(told, title=_("Jobs that had started by the time that was said"), unit=_("% of jobs"), within=(0, 100))
    return page(request, "compute/estimates.html", found=found, rows=rows, chart=chart, section="/jobs", manages=await _manages(request))


@routes.get("/compute/what-if", allow="house.manage")
async def what_if(request: Request, since: str = "7d", set: str = "") -> Response:
    """The house's jobs played again under other settings."""
    told, problem, chart = None, "", None
    if "since" in request.query_params:
        try:
            told = await call(whatif.what_if, request, trying.asked(since, set))
            chart = trying.chart(told, words(request))
        except (BadInput, Refused) as found:
            problem = str(found)
    return page(
        request,
        "compute/what-if.html",
        422 if problem else 200,
        since=since,
        changes=set,
        told=told,
        figures=trying.FIGURES,
        problem=problem,
        chart=chart,
        section="/jobs",
        manages=True,
    )


async def _manages(request: Request) -> bool:
    """Whether the page that plays other settings is theirs."""

    def look(house: House, actor: Actor) -> bool:
        return actor.reaches("house.manage") and house.db.read(lambda tx: house.access.anywhere(tx, actor, "house.manage"))

    return await call(look, request)


def asked(job: Job, _: Callable[..., str]) -> str:
    """What a job wants, in the words of a queue."""
    told = []
    for way in layouts(job.ask):
        tasks = f"{way.tasks} × " if way.tasks > 1 else ""
        if 0 < way.least_tasks < way.tasks:
            tasks = f"{way.least_tasks}–{way.tasks} × "
        if not way.devices:
            what = f"{_('{n} cores', n=way.cpus)}, {way.memory_mib} MiB"
        elif way.milli < 1000:
            what = _("{share} of a {kind}", share=f"{way.milli / 1000:g}", kind=way.accelerator)
        else:
            what = f"{way.devices} {way.accelerator}"
        told.append(tasks + what)
    return " | ".join(told)


def rooms(house: House, actor: Actor) -> list[Room]:
    """For the tower."""
    return [Room(job.ask.kind, job.state.value, f"/jobs/{job.id}") for job in service.jobs(house, actor, limit=6)]


def _timeline(story: usage.Story, _: Callable[[str], str]) -> Any:
    if not story.stretches:
        return ""
    spans = [
        pictures.Span(_(one.kind), parse_stamp(one.begin).timestamp(), parse_stamp(one.end).timestamp(), one.kind)
        for one in story.stretches
    ]
    first, last = story.stretches[0].begin, story.stretches[-1].end
    return pictures.timeline(spans, title=_("The job's life"), begin=first[:19].replace("T", " "), end=last[:19].replace("T", " "))


def _map(job: Job, story: usage.Story, _: Callable[[str], str]) -> Any:
    """Where its devices are, beside those of others. Of one that has ended only its own: what was beside it then is not known now."""
    over = job.state in FINISHED
    spots = [pictures.Spot(one.node, one.domain, one.devices) for one in story.spots if not over or "own" in one.devices]
    holds = any("own" in spot.devices for spot in spots)
    return pictures.placement(spots, title=_("Nodes and devices")) if holds else ""
