"""Jobs as rows: asked for, read, to be stopped, to be tidied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilong.floors.compute.contract import FINISHED, Exit, Job, JobNotFound, JobState, Output, Placed, ReasonCode
from lilong.floors.compute.rules.asking import ask_of
from lilong.floors.compute.store.asking import among
from lilong.ground.db import Row, Tx

_ENDED = ", ".join(f"'{state.value}'" for state in sorted(FINISHED))
_ACTIVE = ", ".join(f"'{state.value}'" for state in (JobState.STARTING, JobState.RUNNING, JobState.READY))
_JOB = "SELECT j.*, a.placed, a.snap FROM compute_jobs j LEFT JOIN compute_attempts a ON a.job = j.id AND a.attempt = j.attempt"


_FEW = 20  # jobs that are read at once: each may be some megabytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A job with what only this floor looks at. `snap`: of scheduler.snapshot, as its last attempt was laid out."""

    job: Job
    stops: int
    done: int  # seconds of its work that earlier attempts have kept
    cancel_requested: bool
    preempted: bool
    token: str
    snap: Mapping[str, Any] | None = None

    @property
    def holds_resources(self) -> bool:
        return self.job.state not in FINISHED and self.job.state is not JobState.QUEUED


def by_key(tx: Tx, organisation: str, key: str) -> tuple[str, str] | None:
    """(id, digest) of the job that was asked for with this key."""
    row = tx.row(
        "SELECT id, digest FROM compute_jobs WHERE organisation = :organisation AND request_key = :key AND request_key <> ''",
        organisation=organisation,
        key=key,
    )
    return None if row is None else (row["id"], row["digest"])


def job(tx: Tx, job_id: str, condition: str = "1 = 1", parameters: Mapping[str, Any] | None = None) -> Job:
    """Raises JobNotFound; also for a job outside `condition`."""
    row = tx.row(f"{_JOB} WHERE j.id = :id AND {condition}", id=job_id, **(parameters or {}))
    if row is None:
        raise JobNotFound(name=job_id)
    return _job(row, _outputs(tx, [job_id]).get(job_id, ()))


def jobs(
    tx: Tx, condition: str, parameters: Mapping[str, Any], *, state: str | None, kind: str | None, before: str | None, limit: int,
    change: Callable[[Job], Job] = lambda job: job,
) -> list[Job]:  # fmt: skip
    """Newest first; `before`: the id of the last job of the page before. `change`: what is kept of each, so that a page is never there whole."""
    where = [condition]
    given = dict(parameters)
    for column, value in (("state", state), ("kind", kind)):
        if value is not None:
            where.append(f"j.{column} = :{column}")
            given[column] = value
    if before is not None:
        where.append("j.place < (SELECT place FROM compute_jobs WHERE id = :before)")
        given["before"] = before
    chosen = tx.rows(
        f"SELECT j.id FROM compute_jobs j WHERE {' AND '.join(where)} ORDER BY j.place DESC LIMIT :limit", limit=limit, **given
    )
    ids = [row["id"] for row in chosen]
    outputs, found = _outputs(tx, ids), []
    for at in range(0, len(ids), _FEW):
        for names, some in among(ids[at : at + _FEW]):
            rows = tx.rows(f"{_JOB} WHERE j.id IN ({names}) ORDER BY j.place DESC", **some)
            found += [change(_job(row, outputs.get(row["id"], ()))) for row in rows]
    return found


def entry(tx: Tx, job_id: str) -> Entry:
    """Raises JobNotFound."""
    row = tx.row(f"{_JOB} WHERE j.id = :id", id=job_id)
    if row is None:
        raise JobNotFound(name=job_id)
    return _entry(row)


def entries(tx: Tx, job_ids: Sequence[str]) -> list[Entry]:
    """Those that there are, a few hundred at most."""
    names = {f"id{number}": job_id for number, job_id in enumerate(job_ids)}
    return [_entry(row) for row in tx.rows(f"{_JOB} WHERE j.id IN ({', '.join(':' + name for name in names)})", **names)] if names else []


ACTIVE = f"{_JOB} WHERE j.state IN ({_ACTIVE})"
STARTING = f"{_JOB} WHERE j.state = 'starting'"
TO_STOP = f"{_JOB} WHERE j.finished_at IS NULL AND (j.cancel_requested = 1 OR j.preempted = 1) ORDER BY j.place LIMIT 200"
UNTIDIED = "SELECT id, attempt, site FROM compute_jobs WHERE finished_at IS NOT NULL AND tidied = 0 ORDER BY place LIMIT 200"


def active(tx: Tx) -> list[Entry]:
    """All jobs that hold resources."""
    return sorted((_entry(row) for row in tx.rows(ACTIVE)), key=lambda entry: entry.job.id)


def starting(tx: Tx) -> list[Entry]:
    """Those of which it is not yet known that they run."""
    return [_entry(row) for row in tx.rows(STARTING)]


def to_stop(tx: Tx) -> list[Entry]:
    """Jobs whose end somebody asked for, or that have to make room; some of them, where there are many."""
    return [_entry(row) for row in tx.rows(TO_STOP)]


def untidied(tx: Tx) -> dict[str, str]:
    """Last attempts of jobs that are over -> their site; some of them, where there are many."""
    return {f"{row['id']}.{row['attempt']}": row["site"] or "" for row in tx.rows(UNTIDIED)}


def tidied(tx: Tx, job_ids: Iterable[str]) -> None:
    tx.many("UPDATE compute_jobs SET tidied = 1 WHERE id = :id", [{"id": job_id} for job_id in job_ids])


def request_cancel(tx: Tx, job_id: str) -> None:
    tx.run(f"UPDATE compute_jobs SET cancel_requested = 1 WHERE id = :id AND state NOT IN ({_ENDED})", id=job_id)


def digests(tx: Tx) -> set[str]:
    """Every blob that a job that is not over needs, or that a finished one made."""
    found = {row["digest"] for row in tx.rows("SELECT DISTINCT digest FROM compute_outputs")}
    for row in tx.rows(f"SELECT ask FROM compute_jobs WHERE state NOT IN ({_ENDED})"):
        for files in json.loads(row["ask"])["inputs"].values():
            found |= set(files.values())
    return found


def _entry(row: Row) -> Entry:
    snap = json.loads(row["snap"]) if row["snap"] else None
    told = (int(row["stops"]), int(row["done"]), bool(row["cancel_requested"]), bool(row["preempted"]))
    return Entry(_job(row, ()), *told, f"{row['id']}.{row['attempt']}", snap)


def _outputs(tx: Tx, job_ids: Sequence[str]) -> dict[str, tuple[Output, ...]]:
    if not job_ids:
        return {}
    names = {f"job{number}": job_id for number, job_id in enumerate(job_ids)}
    rows = tx.rows(
        f"SELECT job, path, digest, size FROM compute_outputs WHERE job IN ({', '.join(':' + name for name in names)}) ORDER BY path",
        **names,
    )
    found: dict[str, list[Output]] = {}
    for row in rows:
        found.setdefault(row["job"], []).append(Output(row["path"], row["digest"], int(row["size"])))
    return {job_id: tuple(outputs) for job_id, outputs in found.items()}


def places(text: str | None) -> tuple[Placed, ...]:
    return tuple(Placed(node, tuple(devices), milli) for node, devices, milli in json.loads(text)) if text else ()


def _job(row: Row, outputs: tuple[Output, ...]) -> Job:
    return Job(
        id=row["id"],
        ask=ask_of(row["ask"]),
        state=JobState(row["state"]),
        attempt=int(row["attempt"]),
        submitted_by=row["submitted_by"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        exit=Exit(**json.loads(row["exit"])) if row["exit"] else None,
        sandbox=row["sandbox"],
        outputs=outputs,
        address=row["address"],
        waits_for=row["waits_for"],
        reason=ReasonCode(row["reason"]) if row["reason"] else None,
        array=row["array_id"],
        index=row["array_index"],
        held=bool(int(row["held"]) & 1),
        site=row["site"],
        placement=places(row["placed"]),
        promised_at=row["promised_at"],
        published=row["published"],
        unpublished=row["unpublished"],
    )
