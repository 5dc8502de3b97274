"""What keeps a job from being looked at: holds, other jobs that must end first, a limit to how many of an array run at once.

`compute_jobs.held` has two bits: somebody holds the job, and it has no slot of its array yet. Only rows with neither, and with no
needs left, are in the index that decisions read, so that all others cost a decision nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lilong.floors.compute.contract import FINISHED, JobState, ReasonCode
from lilong.floors.compute.rules.telling import SENTENCES
from lilong.floors.compute.store import waiting
from lilong.ground.db import Row, Tx

BY_SOMEBODY, BY_ARRAY = 1, 2
_ENDED = ", ".join(f"'{state.value}'" for state in sorted(FINISHED))
_COLUMNS = (
    "id", "place", "organisation", "project", "kind", "request_key", "digest", "ask", "priority", "rank", "cpus", "memory_mib", "service", "state", "attempt",
    "stops", "cancel_requested", "waits_for", "reason", "submitted_by", "created_at", "tidied", "held", "array_id", "array_index", "needs_left", "cost",
)  # fmt: skip
_ADD = f"INSERT INTO compute_jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join(':' + name for name in _COLUMNS)})"


def next_place(tx: Tx) -> int:
    return int(tx.value("SELECT COALESCE(MAX(place), 0) FROM compute_jobs") or 0) + 1


def add(tx: Tx, rows: Sequence[Mapping[str, Any]], needs: Mapping[str, bool]) -> None:
    """New jobs of one tenant, each of which needs the same others: id -> whether it must have succeeded."""
    tx.many(_ADD, rows)
    tx.many(
        "INSERT INTO compute_needs (job, needs, success) VALUES (:job, :needs, :success)",
        [{"job": row["id"], "needs": need, "success": int(success)} for row in rows for need, success in needs.items()],
    )
    waiting.touched(tx, rows[0]["organisation"], rows[0]["project"], len(rows))


def add_array(tx: Tx, array_id: str, organisation: str, at_once: int, running: int) -> None:
    tx.run(
        "INSERT INTO compute_arrays (id, organisation, at_once, running) VALUES (:id, :organisation, :at_once, :running)",
        id=array_id, organisation=organisation, at_once=at_once, running=running,
    )  # fmt: skip


def array(tx: Tx, array_id: str) -> Row | None:
    return tx.row("SELECT id, organisation, at_once, running FROM compute_arrays WHERE id = :id", id=array_id)


def at_once(tx: Tx, array_id: str) -> int:
    """How many of an array may be under way at once; 0: any number."""
    return int(tx.value("SELECT at_once FROM compute_arrays WHERE id = :id", id=array_id) or 0)


def close_array(tx: Tx, array_id: str) -> None:
    """None of those that wait for a slot gets one any more."""
    tx.run("UPDATE compute_arrays SET running = at_once + 1000000 WHERE id = :id", id=array_id)


def elements(tx: Tx, array_id: str) -> list[Row]:
    """Those that have not ended, in their order."""
    return tx.rows(
        f"SELECT id, array_index, state, held FROM compute_jobs WHERE array_id = :id AND state NOT IN ({_ENDED}) ORDER BY array_index",
        id=array_id,
    )


def array_counts(tx: Tx, array_id: str) -> dict[str, int]:
    rows = tx.rows("SELECT state, COUNT(*) AS n FROM compute_jobs WHERE array_id = :id GROUP BY state", id=array_id)
    return {row["state"]: int(row["n"]) for row in rows}


def facts(tx: Tx, job_id: str) -> Row | None:
    """What the verbs here look at."""
    return tx.row(
        "SELECT id, organisation, project, kind, state, held, needs_left, array_id, attempt, created_at, cost FROM compute_jobs WHERE id = :id",
        id=job_id,
    )


def named(tx: Tx, name: str, organisation: str) -> list[Row]:
    """The job with this id, or all of the array with it, in this organisation: id and state."""
    column = "array_id" if name.startswith("array-") else "id"
    return tx.rows(
        f"SELECT id, state FROM compute_jobs WHERE {column} = :name AND organisation = :organisation ORDER BY place",
        name=name, organisation=organisation,
    )  # fmt: skip


def set_held(tx: Tx, job_id: str, held: int) -> None:
    tx.run("UPDATE compute_jobs SET held = :held, promised_at = NULL WHERE id = :id", id=job_id, held=held)
    _changed(tx, job_id)


def dependents(tx: Tx, job_id: str) -> list[Row]:
    """Queued jobs that need this one."""
    return tx.rows(
        "SELECT compute_needs.job AS id, compute_needs.success AS success FROM compute_needs JOIN compute_jobs ON compute_jobs.id = compute_needs.job"
        " WHERE compute_needs.needs = :id AND compute_jobs.state = 'queued' ORDER BY compute_jobs.place",
        id=job_id,
    )


def met(tx: Tx, job_id: str) -> None:
    """One of the jobs that this one needs has ended as it should."""
    tx.run("UPDATE compute_jobs SET needs_left = needs_left - 1 WHERE id = :id AND needs_left > 0", id=job_id)
    _changed(tx, job_id)


def _changed(tx: Tx, job_id: str) -> None:
    explain(tx, job_id)
    waiting.stirred(tx, job_id)


def give_slots(tx: Tx, array_id: str, freed: int) -> None:
    """So many slots of an array are free again; the next of it take them."""
    found = array(tx, array_id)
    if found is None or int(found["at_once"]) == 0:
        return
    running = int(found["running"]) - freed
    while running < int(found["at_once"]):
        row = tx.row(
            "SELECT id FROM compute_jobs WHERE array_id = :id AND held = :waiting AND state = 'queued' AND cancel_requested = 0 ORDER BY array_index LIMIT 1",
            id=array_id, waiting=BY_ARRAY,
        )  # fmt: skip
        if row is None:
            break
        set_held(tx, row["id"], 0)
        running += 1
    tx.run("UPDATE compute_arrays SET running = :running WHERE id = :id", id=array_id, running=max(running, 0))


def explain(tx: Tx, job_id: str) -> None:
    """Say of a queued job what keeps it from being looked at; nothing if nothing does."""
    row = tx.row("SELECT held, needs_left FROM compute_jobs WHERE id = :id AND state = 'queued'", id=job_id)
    if row is None:
        return
    first = tx.value(
        "SELECT compute_needs.needs FROM compute_needs JOIN compute_jobs ON compute_jobs.id = compute_needs.needs"
        f" WHERE compute_needs.job = :id AND compute_jobs.state NOT IN ({_ENDED}) ORDER BY compute_jobs.place LIMIT 1",
        id=job_id,
    ) if int(row["needs_left"]) else None  # fmt: skip
    reason, text = told(int(row["held"]), int(row["needs_left"]), first)
    tx.run("UPDATE compute_jobs SET reason = :reason, waits_for = :text WHERE id = :id", id=job_id, reason=reason, text=text)


def told(held: int, needs_left: int, first: str | None) -> tuple[str | None, str | None]:
    """(reason code, words for people). `first`: of the jobs that it needs."""
    if held & BY_SOMEBODY:
        return ReasonCode.HELD.value, SENTENCES[ReasonCode.HELD]
    if needs_left:
        more = f" and {needs_left - 1} more" if needs_left > 1 else ""
        return ReasonCode.AFTER.value, f"it starts after {first or 'another job'}{more}"
    if held & BY_ARRAY:
        return ReasonCode.ARRAY_LIMIT.value, SENTENCES[ReasonCode.ARRAY_LIMIT]
    return None, None


def end_queued(tx: Tx, job_id: str, exit_text: str, now: str) -> bool:
    """A queued job is cancelled: it holds nothing, so that is all there is to do. False if it is not queued any more."""
    row = tx.row("SELECT organisation, project FROM compute_jobs WHERE id = :id AND state = 'queued'", id=job_id)
    if row is None:
        return False
    tx.run(
        "UPDATE compute_jobs SET state = 'cancelled', cancel_requested = 1, exit = :exit, waits_for = NULL, reason = NULL, promised_at = NULL,"
        " finished_at = :now WHERE id = :id",
        id=job_id, exit=exit_text, now=now,
    )  # fmt: skip
    waiting.touched(tx, row["organisation"], row["project"], -1)
    waiting.ended(tx, JobState.CANCELLED.value)
    return True


def relabel(tx: Tx, job_id: str, labels: Mapping[str, str]) -> None:
    ask = json.loads(tx.value("SELECT ask FROM compute_jobs WHERE id = :id", id=job_id))
    text = json.dumps({**ask, "labels": dict(labels)}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    tx.run("UPDATE compute_jobs SET ask = :ask WHERE id = :id", id=job_id, ask=text)


def published(tx: Tx, job_id: str, revision: str | None, problem: str | None) -> bool:
    changed = tx.run(
        "UPDATE compute_jobs SET published = :revision, unpublished = :problem WHERE id = :id AND published IS NULL AND unpublished IS NULL",
        id=job_id, revision=revision, problem=problem,
    )  # fmt: skip
    return bool(changed)
