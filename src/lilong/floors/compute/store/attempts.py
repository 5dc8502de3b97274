"""Attempts: the outbox of what is to run, what runs, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from lilong.floors.compute.contract import FINISHED, Exit, JobState, Layout, Output, Placed, ReasonCode, Sight, Usage
from lilong.floors.compute.rules.settling import Verdict
from lilong.floors.compute.rules.telling import SENTENCES
from lilong.floors.compute.store.queue import Entry, places
from lilong.floors.compute.store.waiting import Tally, touched
from lilong.ground.db import Row, Tx
from lilong.ground.seams import parse_stamp, stamp


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was decided of an attempt. `snap`: JSON of scheduler.snapshot.SnapJob. `milli`: thousandths of device, `cpus`: cores, in all."""

    layout: Layout
    snap: str
    placed: tuple[Placed, ...]
    milli: int
    cpus: int
    decision: int


@dataclass(frozen=True, slots=True)
class Open:
    """An attempt that has not ended. Without `snap` it was made by a release that did not write it down."""

    job: str
    site: str
    state: str
    preempted: bool
    organisation: str
    project: str
    began: int  # unix seconds at which it was decided
    snap: str | None
    placed: tuple[Placed, ...]
    accelerator: str
    amount: int  # thousandths of device, or of core, that it holds in all
    row: Row


def intend(tx: Tx, job_id: str, site: str, now: str, chosen: Chosen | None = None) -> str | None:
    """The next attempt will be made: its token. None if the job is not queued any more."""
    row = tx.row(
        "UPDATE compute_jobs SET state = 'starting', attempt = attempt + 1, waits_for = NULL, reason = NULL, promised_at = NULL,"
        " not_before = NULL, sandbox = NULL, address = NULL, site = :site, preempted = 0"
        " WHERE id = :id AND state = 'queued' AND cancel_requested = 0 AND held = 0 AND needs_left = 0"
        " RETURNING attempt, organisation, project",
        id=job_id, site=site,
    )  # fmt: skip
    if row is None:
        return None
    told: dict[str, Any] = {"layout": None, "snap": None, "placed": None, "accelerator": "", "milli": 0, "cpus": 0, "decision": None}
    if chosen is not None:
        told = {
            "layout": json.dumps(asdict(chosen.layout), sort_keys=True),
            "snap": chosen.snap,
            "placed": json.dumps([[one.node, list(one.devices), one.milli] for one in chosen.placed]),
            "accelerator": chosen.layout.accelerator, "milli": chosen.milli, "cpus": chosen.cpus, "decision": chosen.decision,
        }  # fmt: skip
    token = f"{job_id}.{row['attempt']}"
    tx.run(
        "INSERT INTO compute_attempts (job, attempt, site, token, intended_at, layout, snap, placed, accelerator, milli, cpus, decision)"
        " VALUES (:job, :attempt, :site, :token, :now, :layout, :snap, :placed, :accelerator, :milli, :cpus, :decision)",
        job=job_id, attempt=row["attempt"], site=site, token=token, now=now, **told,
    )  # fmt: skip
    touched(tx, row["organisation"], row["project"], -1)
    return token


def started(tx: Tx, entry: Entry, sandbox: str, nodes: Sequence[str], now: str) -> bool:
    """`nodes`: where an engine that places has put it."""
    changed = tx.run(
        "UPDATE compute_jobs SET state = 'running', sandbox = :sandbox, waits_for = NULL, reason = NULL,"
        " started_at = COALESCE(started_at, :now) WHERE id = :id AND attempt = :attempt AND state = 'starting'",
        id=entry.job.id, attempt=entry.job.attempt, sandbox=sandbox, now=now,
    )  # fmt: skip
    tx.run(
        "UPDATE compute_attempts SET started_at = COALESCE(started_at, :now), sandbox = :sandbox WHERE token = :token",
        token=entry.token, sandbox=sandbox, now=now,
    )  # fmt: skip
    planned = [one.node for one in entry.job.placement]
    if changed and nodes and planned and sorted(set(nodes)) != sorted(set(planned)):
        placed = [[nodes[at % len(nodes)], [], one.milli] for at, one in enumerate(entry.job.placement)]
        tx.run("UPDATE compute_attempts SET placed = :placed WHERE token = :token", token=entry.token, placed=json.dumps(placed))
    return bool(changed)


def pending(tx: Tx, entry: Entry, words: str) -> None:
    """It waits in an engine's own queue."""
    tx.run(
        "UPDATE compute_jobs SET reason = :reason, waits_for = :words WHERE id = :id AND attempt = :attempt AND state = 'starting'",
        id=entry.job.id, attempt=entry.job.attempt, reason=ReasonCode.ENGINE.value,
        words=f"{SENTENCES[ReasonCode.ENGINE]}: {words}" if words else SENTENCES[ReasonCode.ENGINE],
    )  # fmt: skip


def ready(tx: Tx, entry: Entry, address: str) -> bool:
    changed = tx.run(
        "UPDATE compute_jobs SET state = 'ready', address = :address WHERE id = :id AND attempt = :attempt AND state = 'running'",
        id=entry.job.id, attempt=entry.job.attempt, address=address,
    )  # fmt: skip
    return bool(changed)


def preempt(tx: Tx, job_id: str) -> bool:
    """Mark that a running job has to make room; also one that somebody cancelled already, as another waits for it to leave."""
    changed = tx.run(
        "UPDATE compute_jobs SET preempted = 1 WHERE id = :id AND state IN ('starting', 'running') AND preempted = 0",
        id=job_id,
    )  # fmt: skip
    return bool(changed)


def settled(
    tx: Tx, entry: Entry, verdict: Verdict, sight: Sight, told: Exit, outputs: Sequence[Output], now: datetime, usage: Usage | None,
    tally: Tally, *, began: bool = False,
) -> bool:  # fmt: skip
    """Write down how an attempt ended and what the job is now; False if the job has moved on since `entry` was read.

    `began`: that it had begun was not written down before. The caller writes the tally down.
    """
    over = verdict.state in FINISHED
    text = json.dumps(asdict(told), sort_keys=True)
    started, ended = _span(tx, entry.token, told.wall_s, now, began=began)
    paused = ReasonCode.PAUSED.value if verdict.pause else None
    sandbox = (sight.sandbox or "none") if began else None
    row = tx.row(
        "UPDATE compute_jobs SET state = :state, exit = :exit, stops = stops + :stopped, done = done + :kept, address = NULL, preempted = 0,"
        " not_before = :not_before, waits_for = :waits, reason = :reason, finished_at = :finished, promised_at = NULL,"
        " started_at = COALESCE(started_at, :began), sandbox = COALESCE(:sandbox, sandbox)"
        " WHERE id = :id AND attempt = :attempt AND state IN (:was, :may) RETURNING organisation, project",
        was=entry.job.state.value,
        may=(JobState.RUNNING if entry.job.state is JobState.STARTING else entry.job.state).value,
        id=entry.job.id, attempt=entry.job.attempt, state=verdict.state.value, exit=text, stopped=int(verdict.stopped), kept=verdict.kept_s,
        not_before=stamp(now + verdict.pause) if verdict.pause else None, waits=None if over else verdict.reason, reason=paused,
        finished=ended if over else None, began=started, sandbox=sandbox,
    )  # fmt: skip
    if row is None:
        return False
    tally.waiting[row["organisation"], row["project"]] += (not over) - (entry.job.state is JobState.QUEUED)
    if over:
        tally.over[verdict.state.value] += 1
    tx.run(
        "UPDATE compute_attempts SET ended_at = :ended, ending = :ending, exit = :exit, usage = :usage, sandbox = COALESCE(:sandbox, sandbox),"
        " started_at = COALESCE(started_at, :began) WHERE token = :token AND ended_at IS NULL",
        began=started, sandbox=sandbox,
        token=entry.token, ended=ended, ending=sight.ending.value if sight.ending else sight.phase.value, exit=text,
        usage=json.dumps(asdict(usage), sort_keys=True) if usage else None,
    )  # fmt: skip
    tx.many(
        "INSERT INTO compute_outputs (job, path, digest, size) VALUES (:job, :path, :digest, :size)",
        [{"job": entry.job.id, **asdict(output)} for output in outputs],
    )
    return True


def _span(tx: Tx, token: str, wall_s: float, now: datetime, *, began: bool) -> tuple[str | None, str]:
    """When an attempt started, if it did, and ended. `wall_s`: how long it ran, as its supervisor counted; 0 if nobody told.

    The house may come to know of the end long after it, if it was down, and its clock may have been set meanwhile.
    """
    row = tx.row("SELECT intended_at, started_at FROM compute_attempts WHERE token = :token", token=token)
    ran = timedelta(seconds=wall_s)
    if row is None or not (began or row["started_at"]):
        return None, stamp(now)
    start = parse_stamp(row["started_at"]) if row["started_at"] else max(parse_stamp(row["intended_at"]), now - ran)
    late = wall_s > 0 and (now < start or start + ran < now)
    return stamp(start), stamp(start + ran if late else now)


def used(tx: Tx, token: str, half_life: int, now: datetime) -> None:
    """Add what an attempt that has just ended held, for as long as it held it, to its tenant's past use; what is older fades."""
    row = tx.row(
        "SELECT a.intended_at, a.accelerator, a.milli, a.cpus, j.organisation, j.project FROM compute_attempts a"
        " JOIN compute_jobs j ON j.id = a.job WHERE a.token = :token",
        token=token,
    )  # fmt: skip
    if row is None:
        return
    held = int(row["milli"]) if row["accelerator"] else int(row["cpus"]) * 1000
    gained = held * max(int((now - parse_stamp(row["intended_at"])).total_seconds()), 0)
    if not gained:
        return
    key = {"organisation": row["organisation"], "project": row["project"], "accelerator": row["accelerator"] or ""}
    before = tx.row(
        "SELECT amount, at FROM compute_usage WHERE organisation = :organisation AND project = :project AND accelerator = :accelerator",
        **key,
    )
    amount = gained if before is None else gained + faded(int(before["amount"]), before["at"], int(now.timestamp()), half_life)
    tx.run(
        "INSERT INTO compute_usage (organisation, project, accelerator, amount, at) VALUES (:organisation, :project, :accelerator, :amount,"
        " :at) ON CONFLICT (organisation, project, accelerator) DO UPDATE SET amount = excluded.amount, at = excluded.at",
        amount=min(amount, 1 << 52), at=stamp(now), **key,
    )  # fmt: skip


def attained(tx: Tx, job_id: str) -> int:
    """What a job's attempts so far have held, in thousandths of device (of core, without devices) times seconds."""
    rows = tx.rows(
        "SELECT intended_at, ended_at, accelerator, milli, cpus FROM compute_attempts WHERE job = :job AND ended_at IS NOT NULL", job=job_id
    )
    return sum(
        (int(row["milli"]) if row["accelerator"] else int(row["cpus"]) * 1000)
        * max(int((parse_stamp(row["ended_at"]) - parse_stamp(row["intended_at"])).total_seconds()), 0)
        for row in rows
    )


def faded(amount: int, since: str, now: int, half_life: int) -> int:
    """What is left at unix second `now` of an amount that was true at `since`."""
    return int(amount * 0.5 ** (max(now - parse_stamp(since).timestamp(), 0) / half_life)) if half_life > 0 else 0


OPEN = (
    "SELECT a.token, a.site AS at_site, a.intended_at, a.snap, a.placed, a.accelerator, a.milli, a.cpus AS cores, j.id, j.place, j.organisation,"
    " j.project, j.priority, j.service, j.state, j.preempted, j.submitted_by, j.created_at, j.cpus, j.memory_mib"
    " FROM compute_attempts a JOIN compute_jobs j ON j.id = a.job WHERE a.ended_at IS NULL"
)


def open_attempts(tx: Tx) -> list[Open]:
    """Everything that holds resources of a site, with its job's row, in the order of submission."""
    rows = sorted(tx.rows(OPEN), key=lambda row: int(row["place"]))
    return [
        Open(
            row["id"], row["at_site"], row["state"], bool(int(row["preempted"])), row["organisation"], row["project"],
            int(parse_stamp(row["intended_at"]).timestamp()), row["snap"], places(row["placed"]), row["accelerator"] or "",
            int(row["milli"]) if row["accelerator"] else int(row["cores"]) * 1000, row,
        )
        for row in rows
    ]  # fmt: skip


STOPPING = (
    "SELECT a.placed FROM compute_jobs j JOIN compute_attempts a ON a.job = j.id AND a.attempt = j.attempt"
    " WHERE j.finished_at IS NULL AND (j.cancel_requested = 1 OR j.preempted = 1) AND j.preempted = 1 AND a.ended_at IS NULL AND a.site = :site"
)
WAITING_AT = "SELECT site, COUNT(*) AS n FROM compute_jobs WHERE state = 'starting' GROUP BY site"


def site_of(tx: Tx, job_id: str, attempt: int) -> str:
    """Where an attempt was made."""
    return str(tx.value("SELECT site FROM compute_attempts WHERE job = :job AND attempt = :attempt", job=job_id, attempt=attempt))


def last_decision(tx: Tx) -> Row | None:
    """The attempt that the newest decision of all has started."""
    return tx.row("SELECT token, decision, intended_at FROM compute_attempts WHERE decision IS NOT NULL ORDER BY decision DESC LIMIT 1")


def stopping(tx: Tx, site: str) -> set[str]:
    """The nodes of a site on which attempts run that were asked to make room and have not ended."""
    return {one.node for row in tx.rows(STOPPING, site=site) for one in places(row["placed"])}


def waiting_at(tx: Tx) -> dict[str, int]:
    """Site -> attempts that were handed to it, or will be, and do not run yet."""
    return {row["site"] or "": int(row["n"]) for row in tx.rows(WAITING_AT)}


OPEN_AT = "SELECT token FROM compute_attempts WHERE ended_at IS NULL AND site = :site"
OPEN_TOKENS = "SELECT token FROM compute_attempts WHERE ended_at IS NULL"


def open_at(tx: Tx, site: str) -> set[str]:
    """The attempts at a site that have not ended."""
    return {row["token"] for row in tx.rows(OPEN_AT, site=site)}


def open_tokens(tx: Tx) -> set[str]:
    return {row["token"] for row in tx.rows(OPEN_TOKENS)}


def any_open(tx: Tx) -> bool:
    return tx.row(OPEN_TOKENS + " LIMIT 1") is not None
