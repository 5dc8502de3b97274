"""The queue by tenants: what a decision reads of it costs the same however many wait behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from lilong.floors.compute.contract import ReasonCode
from lilong.floors.compute.rules.settling import LONGEST_PAUSE_S
from lilong.floors.compute.rules.telling import SENTENCES
from lilong.ground.db import Row, Tx
from lilong.ground.seams import parse_stamp, stamp


@dataclass(frozen=True, slots=True)
class Line:
    """The queue of one tenant. `changes` grows with whatever happens to it."""

    organisation: str
    project: str
    waiting: int
    changes: int


def touched(tx: Tx, organisation: str, project: str, waiting: int = 0) -> None:
    """A tenant's queue is longer by `waiting`, or something in it is otherwise than it was: decisions look at it again."""
    tx.run(
        "INSERT INTO compute_queues (organisation, project, waiting, changes) VALUES (:organisation, :project, :waiting, 1)"
        " ON CONFLICT (organisation, project) DO UPDATE SET waiting = compute_queues.waiting + excluded.waiting,"
        " changes = compute_queues.changes + 1",
        organisation=organisation, project=project, waiting=waiting,
    )  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What several ends in one transaction come to for the queues, written down at its end."""

    waiting: Counter[tuple[str, str]] = field(default_factory=Counter)  # jobs that are queued again, by organisation and project
    over: Counter[str] = field(default_factory=Counter)  # by their state

    def write(self, tx: Tx) -> None:
        for (organisation, project), more in self.waiting.items():
            touched(tx, organisation, project, more)
        for state, number in self.over.items():
            ended(tx, state, number)


def stirred(tx: Tx, job_id: str) -> None:
    """Something about a queued job is otherwise than it was."""
    tx.run(
        "UPDATE compute_queues SET changes = changes + 1"
        " WHERE (organisation, project) IN (SELECT organisation, project FROM compute_jobs WHERE id = :id)",
        id=job_id,
    )


def ended(tx: Tx, state: str, number: int = 1) -> None:
    """Count jobs that are over."""
    tx.run(
        "INSERT INTO compute_ended (state, number) VALUES (:state, :number)"
        " ON CONFLICT (state) DO UPDATE SET number = compute_ended.number + excluded.number",
        state=state, number=number,
    )  # fmt: skip


def lines(tx: Tx) -> list[Line]:
    return [Line(*row.values()) for row in tx.rows("SELECT organisation, project, waiting, changes FROM compute_queues")]


_NO_PAUSE = "(not_before IS NULL OR not_before <= :now OR not_before > :latest)"
"""A pause that ends later than any that begins now is one from before the clock was set back."""


def _pauses(now: str) -> dict[str, str]:
    return {"now": now, "latest": stamp(parse_stamp(now) + timedelta(seconds=LONGEST_PAUSE_S))}


FIRST = (
    "SELECT id, place, organisation, project, priority, rank, ask, attempt, stops, done, site, reason, promised_at, created_at, submitted_by"
    " FROM compute_jobs WHERE state = 'queued' AND held = 0 AND needs_left = 0 AND organisation = :organisation AND project = :project"
    f" AND {_NO_PAUSE} ORDER BY priority DESC, rank, place LIMIT :limit"
)


def first(tx: Tx, organisation: str, project: str, now: str, limit: int) -> list[Row]:
    """A tenant's next jobs in its order, without those in their pause."""
    return tx.rows(FIRST, organisation=organisation, project=project, limit=limit, **_pauses(now))


NEXT_PAUSE = "SELECT MIN(not_before) FROM compute_jobs WHERE not_before > :now AND not_before <= :latest"


def next_pause(tx: Tx, now: str) -> str | None:
    """When the next pause after a failed attempt ends."""
    found: str | None = tx.value(NEXT_PAUSE, **_pauses(now))
    return found


LAST_RUNS = (
    "SELECT started_at, finished_at FROM compute_jobs WHERE submitted_by = :user AND finished_at IS NOT NULL AND started_at IS NOT NULL"
    " AND service = 0 ORDER BY finished_at DESC LIMIT 2"
)


def expected(tx: Tx, user: str) -> int:
    """Seconds that a user's job is expected to run: the mean of the last two (Tsafrir, Etsion & Feitelson 2007, §4); 0 if there is none."""
    rows = tx.rows(LAST_RUNS, user=user)
    ran = [(parse_stamp(row["finished_at"]) - parse_stamp(row["started_at"])).total_seconds() for row in rows]
    return max(round(sum(ran) / len(ran)), 1) if ran else 0


PROMISED = "SELECT id, promised_at FROM compute_jobs WHERE promised_at IS NOT NULL"


def promised(tx: Tx) -> dict[str, str]:
    """Job -> the start that the last decision reserved for it."""
    return {row["id"]: row["promised_at"] for row in tx.rows(PROMISED)}


def explain(tx: Tx, reasons: Iterable[tuple[str, ReasonCode]]) -> None:
    tx.many(
        "UPDATE compute_jobs SET reason = :reason, waits_for = :words WHERE id = :id AND state = 'queued'",
        [{"id": job_id, "reason": reason.value, "words": SENTENCES[reason]} for job_id, reason in reasons],
    )


def set_aside(tx: Tx, jobs: Iterable[tuple[str, str]]) -> None:
    """Of jobs about which no decision can be made: job and what went wrong."""
    tx.many(
        "UPDATE compute_jobs SET reason = :reason, waits_for = :words WHERE id = :id AND state = 'queued' AND (waits_for IS NULL OR waits_for <> :words)",
        [
            {"id": job_id, "reason": ReasonCode.IMPOSSIBLE.value, "words": f"no decision could be made about it, and it was set aside: {words}"}
            for job_id, words in jobs
        ],
    )  # fmt: skip


def out_of_sight(tx: Tx, jobs: Iterable[str], now: str) -> None:
    """What a decision said of jobs that stand too far back for the next one is true no longer."""
    tx.many(
        "UPDATE compute_jobs SET reason = :reason, waits_for = :words WHERE id = :id AND state = 'queued' AND held = 0 AND needs_left = 0"
        f" AND {_NO_PAUSE}",
        [
            {"id": job_id, "reason": ReasonCode.NOT_LOOKED_AT.value, "words": SENTENCES[ReasonCode.NOT_LOOKED_AT], **_pauses(now)}
            for job_id in jobs
        ],
    )


def promise(tx: Tx, starts: Iterable[tuple[str, str | None]]) -> None:
    tx.many(
        "UPDATE compute_jobs SET promised_at = :at WHERE id = :id AND state = 'queued'", [{"id": name, "at": at} for name, at in starts]
    )


ACTIVE_COUNTS = "SELECT state, COUNT(*) AS n FROM compute_jobs WHERE state IN ('starting', 'running', 'ready') GROUP BY state"


def counts(tx: Tx) -> dict[str, int]:
    """How many jobs are in which state, without going through those that wait or have ended."""
    found = {"queued": int(tx.value("SELECT COALESCE(SUM(waiting), 0) FROM compute_queues"))}
    found |= {row["state"]: int(row["number"]) for row in tx.rows("SELECT state, number FROM compute_ended")}
    return found | {row["state"]: int(row["n"]) for row in tx.rows(ACTIVE_COUNTS)}
