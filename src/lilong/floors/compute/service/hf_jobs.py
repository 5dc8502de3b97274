"""The jobs of the Hugging Face clients. Their namespaces are organisations; one's own name stands for what one has submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lilong.floors.compute import store
from lilong.floors.compute.contract import FINISHED, Job, JobNotFound, JobState, Usage
from lilong.floors.compute.rules import hf_jobs as rules
from lilong.floors.compute.rules.asking import flaw
from lilong.floors.compute.service import submitting
from lilong.floors.compute.service.jobs import cancel as cancel_job
from lilong.floors.compute.service.jobs import logs, show, submit
from lilong.floors.compute.store import asking
from lilong.floors.compute.store import settings as declared
from lilong.floors.compute.work.sites import Sites
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Conflict
from lilong.ground.house import House

_PAGE = 100
_LONG = 1 << 19  # characters; a longer line is told in pieces


class NoMetrics(Conflict):
    """The job {name} does not run."""

    status = 406


def run(house: House, actor: Actor, namespace: str, body: Any) -> dict[str, Any]:
    """Raises BadInput, NotOffered, Forbidden, and whatever refuses a job."""
    wanted = rules.wanted(body, _organisation(house, actor, namespace), house.db.read(lambda tx: _flavors(house, tx)))
    return _shown(house, submit(house, actor, wanted.ask, wanted.secrets))


def _organisation(house: House, actor: Actor, namespace: str) -> str:
    """The namespace, or the one organisation on whose behalf one may submit where one's own name was given. Raises BadInput."""
    if namespace != actor.user:
        return namespace

    def look(tx: Tx) -> list[str]:
        return [
            each.name
            for each in house.access.organisations(tx, actor)
            if not each.personal and house.access.allowed(tx, actor, "jobs.submit", each.name)
        ]

    mine = house.db.read(look)
    if len(mine) == 1:
        return mine[0]
    listed = ", ".join(mine[:20]) or "none; ask an owner of one for a role"
    raise BadInput(field="namespace", problem="jobs run on behalf of an organisation", way_out=f"Give --namespace. Yours: {listed}.")


def listed(
    house: House, actor: Actor, namespace: str, stages: Sequence[str], labels: Sequence[str], before: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page, newest first, and the id after which the next one begins. Private = foreign = missing: a namespace one may not see has no jobs."""
    condition, parameters = house.access.visible(actor, "jobs.read", "j.organisation")
    column = "submitted_by" if namespace == actor.user else "organisation"
    condition, parameters = f"({condition}) AND j.{column} = :namespace", {**parameters, "namespace": namespace}
    if stages:
        names = sorted(state.value for state in rules.states(stages))
        condition += f" AND j.state IN ({', '.join(f':state{at}' for at in range(len(names)))})" if names else " AND 1 = 0"
        parameters |= {f"state{at}": name for at, name in enumerate(names)}
    wanted = dict(label.partition("=")[::2] for label in labels)

    def look(tx: Tx) -> list[Job]:
        return store.jobs(tx, condition, parameters, state=None, kind=None, before=before, limit=_PAGE)

    found = house.db.read(look)
    kept = [job for job in found if all(job.ask.labels.get(key) == value for key, value in wanted.items())]
    return [_shown(house, job) for job in kept], found[-1].id if len(found) == _PAGE else None


def inspect(house: House, actor: Actor, namespace: str, job_id: str) -> dict[str, Any]:
    """Raises JobNotFound."""
    return _shown(house, _job(house, actor, namespace, job_id))


def cancel(house: House, actor: Actor, namespace: str, job_id: str) -> dict[str, Any]:
    """Raises JobNotFound, Forbidden."""
    return _shown(house, cancel_job(house, actor, _job(house, actor, namespace, job_id).id))


def rerun(house: House, actor: Actor, namespace: str, job_id: str) -> dict[str, Any]:
    """The same job once more. Raises JobNotFound, BadInput for one whose secrets were for that run only."""
    job = _job(house, actor, namespace, job_id)
    if "" in job.ask.secrets.values():
        raise BadInput(field="secrets", problem="their values were given for that run only", way_out="Run it again with --secrets.")
    # what it was given then is its to read no more: the files of its revisions are looked up anew
    ask = replace(job.ask, key="", inputs={name: files for name, files in job.ask.inputs.items() if name not in job.ask.revisions})
    return _shown(house, submit(house, actor, ask))


def relabel(house: House, actor: Actor, namespace: str, job_id: str, labels: Any) -> dict[str, Any]:
    """Put others in place of its labels. Raises JobNotFound, Forbidden, BadInput."""
    if (
        not isinstance(labels, Mapping)
        or len(labels) > 50
        or not all(isinstance(v, str) and len(v) <= 200 and len(k) <= 200 for k, v in labels.items())
    ):
        raise BadInput(
            field="labels", problem="they are not up to 50 short texts", way_out="Give names and values of up to 200 characters."
        )
    for problem in filter(None, map(flaw, (*labels, *labels.values()))):
        raise BadInput(field="labels", problem=problem, way_out="Give plain text.")
    job = _job(house, actor, namespace, job_id)

    def write(tx: Tx) -> Job:
        house.access.require(tx, actor, "jobs.cancel", job.ask.organisation, hidden=JobNotFound(name=job_id))
        asking.relabel(tx, job_id, dict(labels))
        return store.job(tx, job_id)

    return _shown(house, house.db.write(write))


def hardware(house: House, actor: Actor) -> list[dict[str, Any]]:
    def look(tx: Tx) -> list[dict[str, Any]]:
        _, settings = declared.current(tx)
        return [rules.hardware(each, settings) for each in _flavors(house, tx).values()]

    return house.db.read(look)


def metrics(house: House, actor: Actor, namespace: str, job_id: str) -> dict[str, Any] | None:
    """What it uses now; None once it has ended. Raises JobNotFound, NoMetrics where it has not begun."""
    job = _job(house, actor, namespace, job_id)
    if job.state in FINISHED:
        return None
    if job.state not in (JobState.RUNNING, JobState.READY):
        raise NoMetrics(name=job_id)
    usage: Usage = house.port(Sites).named(job.site or "local").usage(f"{job.id}.{job.attempt}")
    return {
        "cpu_s": usage.cpu_s or 0.0,
        "cpu_millicores": job.ask.cpus * 1000,
        "memory_used_bytes": int((usage.max_rss_mib or 0.0) * (1 << 20)),
        "memory_total_bytes": job.ask.memory_mib << 20,
        "rx_bps": 0,
        "tx_bps": 0,
        "gpus": {},
        "replica": f"{job.id}.{job.attempt}",
    }


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of a job's log; `next` and `rest`: where the part after them begins, and how much of its first line was read."""

    job: Job  # as it was before they were read
    lines: list[str]
    next: int = 0
    rest: str = ""


def lines(house: House, actor: Actor, namespace: str, job_id: str, after: Lines | None = None) -> Lines:
    """The first ones, or those after others. Raises JobNotFound."""
    job = _job(house, actor, namespace, job_id)
    part = logs(house, actor, job_id, after.next if after else 0)
    *whole, rest = ((after.rest if after else "") + part.text).split("\n")
    if rest and (len(rest) > _LONG or (not part.text and job.state in FINISHED)):
        whole, rest = [*whole, rest], ""
    return Lines(job, whole, part.next, rest)


def _job(house: House, actor: Actor, namespace: str, job_id: str) -> Job:
    job = show(house, actor, job_id)
    if namespace not in (job.ask.organisation, actor.user):
        raise JobNotFound(name=job_id)
    return job


def _flavors(house: House, tx: Tx) -> dict[str, rules.Flavor]:
    return rules.flavors(declared.current(tx)[1], submitting.inventories(house))


def _shown(house: House, job: Job) -> dict[str, Any]:
    return rules.shown(job, house.clock.now().timestamp())
