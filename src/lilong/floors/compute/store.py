"""The queue's tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from lilong.floors.compute import rules
from lilong.floors.compute.contract import FINISHED, Exit, Job, JobAsk, JobNotFound, JobState, Output, Sight
from lilong.ground.db import Row, Tx
from lilong.ground.seams import parse_stamp, stamp

_ACTIVE = (JobState.STARTING, JobState.RUNNING, JobState.READY)
_ENDED = ", ".join(f"'{state.value}'" for state in sorted(FINISHED))


@dataclass(frozen=True, slots=True)
class Entry:
    """A job with what only this floor looks at."""

    job: Job
    stops: int
    cancel_requested: bool
    token: str
    order: rules.Waiting

    @property
    def holds_resources(self) -> bool:
        return self.job.state in _ACTIVE


def add(tx: Tx, job_id: str, ask: JobAsk, submitted_by: str, now: str) -> None:
    place = int(tx.value("SELECT COALESCE(MAX(place), 0) FROM compute_jobs") or 0) + 1
    tx.run(
        "INSERT INTO compute_jobs (id, place, organisation, project, kind, request_key, digest, ask, priority, cpus, memory_mib, service, state,"
        " attempt, stops, cancel_requested, submitted_by, created_at, tidied) VALUES (:id, :place, :organisation, :project, :kind, :key,"
        " :digest, :ask, :priority, :cpus, :memory, :service, 'queued', 0, 0, 0, :by, :now, 0)",
        id=job_id, place=place, organisation=ask.organisation, project=ask.project, kind=ask.kind, key=ask.key,
        digest=rules.ask_digest(ask), ask=rules.ask_json(ask), priority=ask.priority, cpus=ask.cpus, memory=ask.memory_mib,
        service=int(ask.service), by=submitted_by, now=now,
    )  # fmt: skip


def by_key(tx: Tx, organisation: str, key: str) -> tuple[str, str] | None:
    """(id, digest) of the job that was asked for with this key."""
    row = tx.row(
        "SELECT id, digest FROM compute_jobs WHERE organisation = :organisation AND request_key = :key", organisation=organisation, key=key
    )
    return None if row is None else (row["id"], row["digest"])


def job(tx: Tx, job_id: str, condition: str = "1 = 1", parameters: Mapping[str, Any] | None = None) -> Job:
    """Raises JobNotFound; also for a job outside `condition`."""
    row = tx.row(f"SELECT * FROM compute_jobs WHERE id = :id AND {condition}", id=job_id, **(parameters or {}))
    if row is None:
        raise JobNotFound(name=job_id)
    return _job(row, _outputs(tx, [job_id]).get(job_id, ()))


def jobs(
    tx: Tx, condition: str, parameters: Mapping[str, Any], *, state: str | None, kind: str | None, before: str | None, limit: int
) -> list[Job]:
    """Newest first; `before`: the id of the last job of the page before."""
    where = [condition]
    given = dict(parameters)
    for column, value in (("state", state), ("kind", kind)):
        if value is not None:
            where.append(f"{column} = :{column}")
            given[column] = value
    if before is not None:
        where.append("place < (SELECT place FROM compute_jobs WHERE id = :before)")
        given["before"] = before
    rows = tx.rows(f"SELECT * FROM compute_jobs WHERE {' AND '.join(where)} ORDER BY place DESC LIMIT :limit", limit=limit, **given)
    outputs = _outputs(tx, [row["id"] for row in rows])
    return [_job(row, outputs.get(row["id"], ())) for row in rows]


def entry(tx: Tx, job_id: str) -> Entry:
    """Raises JobNotFound."""
    row = tx.row("SELECT * FROM compute_jobs WHERE id = :id", id=job_id)
    if row is None:
        raise JobNotFound(name=job_id)
    return _entry(row)


def queued(tx: Tx) -> list[Entry]:
    return [_entry(row) for row in tx.rows("SELECT * FROM compute_jobs WHERE state = 'queued' ORDER BY priority DESC, place")]


def active(tx: Tx) -> list[Entry]:
    """All jobs that hold resources."""
    names = ", ".join(f"'{state.value}'" for state in _ACTIVE)
    return [_entry(row) for row in tx.rows(f"SELECT * FROM compute_jobs WHERE state IN ({names}) ORDER BY place")]


def untidied(tx: Tx) -> list[Entry]:
    return [_entry(row) for row in tx.rows(f"SELECT * FROM compute_jobs WHERE tidied = 0 AND state IN ({_ENDED}) ORDER BY place LIMIT 100")]


def tidied(tx: Tx, job_id: str) -> None:
    tx.run("UPDATE compute_jobs SET tidied = 1 WHERE id = :id", id=job_id)


def request_cancel(tx: Tx, job_id: str) -> None:
    tx.run(f"UPDATE compute_jobs SET cancel_requested = 1 WHERE id = :id AND state NOT IN ({_ENDED})", id=job_id)


def explain(tx: Tx, reasons: Iterable[tuple[str, str]]) -> None:
    tx.many(
        "UPDATE compute_jobs SET waits_for = :reason WHERE id = :id AND state = 'queued'",
        [{"id": job_id, "reason": reason} for job_id, reason in reasons],
    )


def intend(tx: Tx, job_id: str, site: str, now: str) -> bool:
    """The next attempt will be made; False if the job is not queued any more."""
    changed = tx.run(
        "UPDATE compute_jobs SET state = 'starting', attempt = attempt + 1, waits_for = NULL, not_before = NULL, sandbox = NULL, address = NULL"
        " WHERE id = :id AND state = 'queued' AND cancel_requested = 0",
        id=job_id,
    )
    if changed:
        tx.run(
            "INSERT INTO compute_attempts (job, attempt, site, token, intended_at)"
            " SELECT id, attempt, :site, id || '.' || attempt, :now FROM compute_jobs WHERE id = :id",
            id=job_id, site=site, now=now,
        )  # fmt: skip
    return bool(changed)


def started(tx: Tx, entry: Entry, sandbox: str, now: str) -> bool:
    changed = tx.run(
        "UPDATE compute_jobs SET state = 'running', sandbox = :sandbox, started_at = COALESCE(started_at, :now)"
        " WHERE id = :id AND attempt = :attempt AND state = 'starting'",
        id=entry.job.id, attempt=entry.job.attempt, sandbox=sandbox, now=now,
    )  # fmt: skip
    tx.run(
        "UPDATE compute_attempts SET started_at = COALESCE(started_at, :now), sandbox = :sandbox WHERE token = :token",
        token=entry.token, sandbox=sandbox, now=now,
    )  # fmt: skip
    return bool(changed)


def ready(tx: Tx, entry: Entry, address: str) -> bool:
    changed = tx.run(
        "UPDATE compute_jobs SET state = 'ready', address = :address WHERE id = :id AND attempt = :attempt AND state = 'running'",
        id=entry.job.id, attempt=entry.job.attempt, address=address,
    )  # fmt: skip
    return bool(changed)


def settled(tx: Tx, entry: Entry, verdict: rules.Verdict, sight: Sight, told: Exit, outputs: Sequence[Output], now: datetime) -> bool:
    """Write down how an attempt ended and what the job is now; False if the job has moved on since `entry` was read."""
    over = verdict.state in FINISHED
    text = json.dumps(asdict(told), sort_keys=True)
    changed = tx.run(
        "UPDATE compute_jobs SET state = :state, exit = :exit, stops = stops + :stopped, address = NULL, not_before = :not_before,"
        " waits_for = :waits, finished_at = :finished WHERE id = :id AND attempt = :attempt AND state IN (:was, :may)",
        was=entry.job.state.value, may=(JobState.RUNNING if entry.job.state is JobState.STARTING else entry.job.state).value, id=entry.job.id, attempt=entry.job.attempt, state=verdict.state.value, exit=text, stopped=int(verdict.stopped),
        not_before=stamp(now + verdict.pause) if verdict.pause else None, waits=None if over else verdict.reason,
        finished=stamp(now) if over else None,
    )  # fmt: skip
    if not changed:
        return False
    tx.run(
        "UPDATE compute_attempts SET ended_at = :now, ending = :ending, exit = :exit WHERE token = :token AND ended_at IS NULL",
        token=entry.token, now=stamp(now), ending=sight.ending.value if sight.ending else sight.phase.value, exit=text,
    )  # fmt: skip
    tx.many(
        "INSERT INTO compute_outputs (job, path, digest, size) VALUES (:job, :path, :digest, :size)",
        [{"job": entry.job.id, **asdict(output)} for output in outputs],
    )
    return True


def digests(tx: Tx) -> set[str]:
    """Every blob that a job that is not over needs, or that a finished one made."""
    found = {row["digest"] for row in tx.rows("SELECT DISTINCT digest FROM compute_outputs")}
    for row in tx.rows(f"SELECT ask FROM compute_jobs WHERE state NOT IN ({_ENDED})"):
        for files in json.loads(row["ask"])["inputs"].values():
            found |= set(files.values())
    return found


def counts(tx: Tx) -> dict[str, int]:
    return {row["state"]: int(row["n"]) for row in tx.rows("SELECT state, COUNT(*) AS n FROM compute_jobs GROUP BY state")}


def _entry(row: Row) -> Entry:
    order = rules.Waiting(
        id=row["id"],
        place=int(row["place"]),
        priority=int(row["priority"]),
        cpus=int(row["cpus"]),
        memory_mib=int(row["memory_mib"]),
        service=bool(row["service"]),
        not_before=parse_stamp(row["not_before"]) if row["not_before"] else None,
    )
    return Entry(_job(row, ()), int(row["stops"]), bool(row["cancel_requested"]), f"{row['id']}.{row['attempt']}", order)


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


def _job(row: Row, outputs: tuple[Output, ...]) -> Job:
    ask = json.loads(row["ask"])
    ask["argv"] = tuple(ask["argv"])
    return Job(
        id=row["id"],
        ask=JobAsk(**ask),
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
    )
