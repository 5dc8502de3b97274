"""The verbs of the compute floor, and what it offers to the floors above."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lilong.floors.compute import rules, store
from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.compute.contract import (
    Capacity,
    Compute,
    Job,
    JobAsk,
    JobNotFound,
    JobState,
    JobSubmitted,
    JobTooLarge,
    KeyReused,
    LogPart,
    NetworkForbidden,
    SandboxTooWeak,
    Site,
)
from lilong.floors.compute.work import Dispatcher
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, NotFound
from lilong.ground.house import House
from lilong.ground.sandbox import WAYS_OUT, Level
from lilong.ground.seams import stamp

_LOG_LIMIT = 1 << 20
_PAGE = 200


def start(house: House) -> None:
    """Give the house its queue. Where jobs may run in this process, they begin once every floor is there."""
    settings = house.settings
    try:
        floor = Level.NONE if settings.sandbox == "auto" else Level.parse(settings.sandbox)
    except KeyError:
        levels = ", ".join(["auto", *(level.word for level in Level)])
        raise BadInput(field="sandbox", problem=f"{settings.sandbox!r} is no level", way_out=f"Give one of: {levels}.") from None
    site = LocalSite(settings.jobs, house.blobs, Capacity(settings.cpus, settings.memory_mib), floor=floor)
    dispatcher = Dispatcher(house, site)
    house.provide(LocalSite, site)
    house.provide(Dispatcher, dispatcher)
    house.provide(Compute, Jobs(house, site))  # type: ignore[type-abstract]
    house.metrics.append(lambda: _metrics(house))
    if house.background:
        house.starting.append(dispatcher.start)
        house.closing.append(dispatcher.stop)


class Jobs:
    """The port that other floors use."""

    def __init__(self, house: House, site: Site) -> None:
        self._house = house
        self._site = site

    def submit(self, tx: Tx, actor: Actor, ask: JobAsk) -> Job:
        """Raises Forbidden, BadInput, JobTooLarge, KeyReused."""
        house = self._house
        house.access.require(tx, actor, "jobs.submit", ask.organisation)
        if ask.network and not house.access.allowed(tx, actor, "jobs.network", ask.organisation):
            raise NetworkForbidden(actor=actor.user, scope=ask.organisation)
        rules.check(ask)
        largest = self._site.capacity()
        if ask.cpus > largest.cpus or ask.memory_mib > largest.memory_mib:
            raise JobTooLarge(asked=Capacity(ask.cpus, ask.memory_mib), largest=largest)
        if ask.key:
            known = store.by_key(tx, ask.organisation, ask.key)
            if known is not None:
                if known[1] != rules.ask_digest(ask):
                    raise KeyReused(key=ask.key)
                return store.job(tx, known[0])
        job_id = house.ids.new("job")
        store.add(tx, job_id, ask, actor.user, stamp(house.clock.now()))
        house.events.append(tx, actor, JobSubmitted(job_id, ask.organisation, ask.kind))
        return store.job(tx, job_id)

    def job(self, tx: Tx, actor: Actor, job_id: str) -> Job:
        condition, parameters = self._house.access.visible(actor, "jobs.read", "organisation")
        return store.job(tx, job_id, condition, parameters)

    def cancel(self, tx: Tx, actor: Actor, job_id: str) -> Job:
        job = store.job(tx, job_id)
        self._house.access.require(tx, actor, "jobs.cancel", job.ask.organisation, hidden=JobNotFound(name=job_id))
        store.request_cancel(tx, job_id)
        return store.job(tx, job_id)

    def progress(self, job_id: str, after: int = 0) -> list[dict[str, Any]]:
        return self._site.progress(job_id, after)

    def service(self, job_id: str) -> str | None:
        job = self._house.db.read(lambda tx: store.job(tx, job_id))
        return job.address if job.state is JobState.READY else None


def port(house: House) -> Compute:
    return house.port(Compute)  # type: ignore[type-abstract]


def submit(house: House, actor: Actor, ask: JobAsk) -> Job:
    """Queue a program that somebody brings. Raises SandboxTooWeak where the house could not keep it in.

    What a job may read is what it names as inputs, and a digest alone is no right to read what it names: only an operator may
    give inputs here. The floors, which know whose their blobs are, ask through `Compute`.
    """
    level = house.port(LocalSite).sandbox_level()

    def write(tx: Tx) -> Job:
        operator = house.access.allowed(tx, actor, "house.manage")
        if level < Level.BUBBLEWRAP and not operator:
            house.access.require(tx, actor, "jobs.submit", ask.organisation)
            raise SandboxTooWeak(level=level.word, way_out=WAYS_OUT[Level.BUBBLEWRAP])
        if any(ask.inputs.values()) and not operator:
            house.access.require(tx, actor, "house.manage")
        return port(house).submit(tx, actor, ask)

    return house.db.write(write)


def show(house: House, actor: Actor, job_id: str) -> Job:
    """Raises JobNotFound."""
    return house.db.read(lambda tx: port(house).job(tx, actor, job_id))


def jobs(
    house: House, actor: Actor, state: JobState | None = None, kind: str | None = None, before: str | None = None, limit: int = 50
) -> list[Job]:
    """Newest first."""
    condition, parameters = house.access.visible(actor, "jobs.read", "organisation")
    chosen = state.value if state else None
    count = max(1, min(limit, _PAGE))
    return house.db.read(lambda tx: store.jobs(tx, condition, parameters, state=chosen, kind=kind, before=before, limit=count))


def cancel(house: House, actor: Actor, job_id: str) -> Job:
    """Raises JobNotFound, Forbidden."""
    return house.db.write(lambda tx: port(house).cancel(tx, actor, job_id))


def logs(house: House, actor: Actor, job_id: str, offset: int = 0, attempt: int | None = None, limit: int = _LOG_LIMIT) -> LogPart:
    """Both outputs of an attempt (the last, if not told) from byte `offset` on; a negative one counts from the end."""
    job = show(house, actor, job_id)
    chosen = job.attempt if attempt is None else attempt
    if chosen == 0 and attempt is None:
        return LogPart(0, 0, "")
    if not 1 <= chosen <= job.attempt:
        raise NotFound(kind=f"attempt of job {job_id}", name=chosen)
    return house.port(LocalSite).logs(f"{job.id}.{chosen}", offset, max(4, min(limit, _LOG_LIMIT)))


def progress(house: House, actor: Actor, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    """The job's progress lines from number `after` on."""
    return port(house).progress(show(house, actor, job_id).id, max(0, after))


def output(house: House, actor: Actor, job_id: str, path: str) -> tuple[int, Iterator[bytes]]:
    """Bytes and content of a file that the job left. Raises NotFound."""
    found = show(house, actor, job_id).output(path)
    file = house.blobs.open(found.digest)

    def chunks() -> Iterator[bytes]:
        with file:
            while piece := file.read(1 << 18):
                yield piece

    return found.size, chunks()


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """The site as people see it. `held`: resources of the jobs that hold any now."""

    name: str
    cpus: int
    memory_mib: int
    held_memory_mib: int
    sandbox: str
    problem: str | None
    jobs: dict[str, int]


def site(house: House, actor: Actor) -> SiteFacts:
    """The local site: what it has, how jobs are kept in, how many jobs are in which state."""
    from lilong.ground.sandbox import LevelMissing

    local = house.port(LocalSite)
    try:
        level, problem = local.sandbox_level().word, None
    except LevelMissing as missing:
        level, problem = house.settings.sandbox, str(missing)
    active, counts = house.db.read(lambda tx: (store.active(tx), store.counts(tx)))
    held = sum(entry.order.memory_mib for entry in active)
    return SiteFacts(local.name, local.capacity().cpus, local.capacity().memory_mib, held, level, problem, counts)


def _metrics(house: House) -> str:
    counts = house.db.read(store.counts)
    lines = ["# HELP lilong_jobs Jobs of the queue by state.", "# TYPE lilong_jobs gauge"]
    lines += [f'lilong_jobs{{state="{state.value}"}} {counts.get(state.value, 0)}' for state in JobState]
    return "\n".join(lines) + "\n"
