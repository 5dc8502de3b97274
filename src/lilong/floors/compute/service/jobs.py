"""What people do with jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from lilong.floors.compute import store
from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.compute.contract import Job, JobAsk, JobState, LogPart, SandboxTooWeak
from lilong.floors.compute.rules import bounds, job_file
from lilong.floors.compute.service import submitting
from lilong.floors.compute.service.port import port
from lilong.floors.compute.store import attempts
from lilong.floors.compute.work.sites import Sites
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, NotFound
from lilong.ground.house import House
from lilong.ground.sandbox import WAYS_OUT, Level

_LOG_LIMIT = 1 << 20
_PAGE = 200


def submit(house: House, actor: Actor, ask: JobAsk, given: Mapping[str, str] | None = None) -> Job:
    """Queue a program that somebody brings; of an array, the first job is returned. Raises SandboxTooWeak where the house could not keep it in.

    What a job may read is what it names as inputs, and a digest alone is no right to read what it names: only an operator may
    give inputs here; everybody names revisions. The floors, which know whose their blobs are, ask through `Compute`.
    `given`: values for its secrets, for this job only.
    """
    level = house.port(LocalSite).sandbox_level()
    return house.db.write(lambda tx: _brought(house, tx, actor, ask, level, given))


def submit_file(house: House, actor: Actor, source: str) -> list[Job]:
    """Queue the jobs of a job file, all or none. Raises BadInput, and what `submit` raises."""
    asks = job_file.read(source)
    level = house.port(LocalSite).sandbox_level()

    def write(tx: Tx) -> list[Job]:
        made: dict[str, Job] = {}
        for name, ask in asks.items():
            ids = {known: job.array or job.id for known, job in made.items()}
            try:
                made[name] = _brought(house, tx, actor, job_file.with_ids(ask, ids), level, None)
            except BadInput as refused:
                raise job_file.as_written(name, refused) from None
        return list(made.values())

    return house.db.write(write)


def _brought(house: House, tx: Tx, actor: Actor, ask: JobAsk, level: Level, given: Mapping[str, str] | None) -> Job:
    operator = house.access.allowed(tx, actor, "house.manage")
    if level < Level.BUBBLEWRAP and not operator:
        house.access.require(tx, actor, "jobs.submit", ask.organisation)
        raise SandboxTooWeak(level=level.word, way_out=WAYS_OUT[Level.BUBBLEWRAP])
    if any(ask.inputs.values()) and not operator:
        house.access.require(tx, actor, "house.manage")
    house.access.require(tx, actor, "jobs.submit", ask.organisation)
    bounds.check(ask)
    return submitting.submit(house, tx, actor, ask, given)


def show(house: House, actor: Actor, job_id: str) -> Job:
    """Raises JobNotFound."""
    return house.db.read(lambda tx: port(house).job(tx, actor, job_id))


def jobs(
    house: House,
    actor: Actor,
    state: JobState | None = None,
    kind: str | None = None,
    before: str | None = None,
    limit: int = 50,
    array: str | None = None,
    organisation: str | None = None,
) -> list[Job]:
    """Newest first, in short: without specs and inputs, and of long words and variables the beginning. `show` tells all of one."""
    condition, parameters = house.access.visible(actor, "jobs.read", "j.organisation")
    for column, value in (("array_id", array), ("organisation", organisation)):
        if value is not None:
            condition, parameters = f"({condition}) AND j.{column} = :only_{column}", {**parameters, f"only_{column}": value}
    chosen = state.value if state else None
    count = max(1, min(limit, _PAGE))
    return house.db.read(
        lambda tx: store.jobs(tx, condition, parameters, state=chosen, kind=kind, before=before, limit=count, change=_short)
    )


def _short(job: Job) -> Job:
    def cut(text: str) -> str:
        return text if len(text) <= bounds.SHOWN else text[: bounds.SHOWN] + "…"

    ask = job.ask
    argv, env = tuple(cut(word) for word in ask.argv), {name: cut(value) for name, value in ask.env.items()}
    return replace(job, ask=replace(ask, argv=argv, env=env, spec={}, inputs={}))


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
    site = house.db.read(lambda tx: attempts.site_of(tx, job.id, chosen))
    return house.port(Sites).named(site).logs(f"{job.id}.{chosen}", offset, max(4, min(limit, _LOG_LIMIT)))


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
