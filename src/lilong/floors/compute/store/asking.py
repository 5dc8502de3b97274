"""What keeps a job from being looked at: holds, other jobs that must end first, a limit to how many of an array run at once.

`compute_jobs.held` has three bits: somebody holds the job, it has no slot of its array yet, and its end was asked for. Only rows with
none, and with no needs left, are in the index that decisions read, so that all others cost a decision nothing. What is said here of many
jobs is said in few statements: everybody else who writes waits for them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from lilong.floors.compute.contract import FINISHED, JobState, ReasonCode
from lilong.floors.compute.rules.telling import SENTENCES
from lilong.floors.compute.store import waiting
from lilong.ground.db import Row, Tx

BY_SOMEBODY, BY_ARRAY, BY_END = 1, 2, 4
"""With BY_END nothing starts a queued job any more, and `waits_for` is why it ends; the dispatcher ends it, if nobody does before."""
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


def end_array(tx: Tx, array_id: str, words: str) -> None:
    """Ask for the end of all of its jobs. None of those that are queued starts any more, or takes the slot of another that ends."""
    tx.run("UPDATE compute_arrays SET running = at_once + 1000000 WHERE id = :id", id=array_id)
    tx.run(f"UPDATE compute_jobs SET {_TO_END} WHERE array_id = :id AND state = 'queued'", id=array_id, words=words, reason=_HELD)
    tx.run(
        f"UPDATE compute_jobs SET cancel_requested = 1 WHERE array_id = :id AND state <> 'queued' AND state NOT IN ({_ENDED})", id=array_id
    )
    _array_changed(tx, array_id)


def to_end(tx: Tx, limit: int) -> dict[str, str]:
    """Queued jobs whose end was asked for, and why they end; `limit` of them, where there are more."""
    return {row["id"]: row["waits_for"] or "" for row in tx.rows(TO_END, limit=limit)}


TO_END = "SELECT id, waits_for FROM compute_jobs WHERE held >= 4 ORDER BY place LIMIT :limit"


def to_end_of_array(tx: Tx, array_id: str, beyond: int, limit: int) -> list[Row]:
    """The same of an array, in its order, from the number after `beyond` on: id, waits_for and array_index."""
    return tx.rows(
        "SELECT id, waits_for, array_index FROM compute_jobs WHERE array_id = :id AND array_index > :beyond AND held >= 4"
        " ORDER BY array_index LIMIT :limit",
        id=array_id, beyond=beyond, limit=limit,
    )  # fmt: skip


_TO_END = "held = held | 4, waits_for = :words, reason = :reason, promised_at = NULL"
_HELD = ReasonCode.HELD.value


def ask_for_end(tx: Tx, jobs: Mapping[str, str]) -> None:
    """Of queued jobs: job -> why it ends."""
    tx.many(
        f"UPDATE compute_jobs SET {_TO_END} WHERE id = :id AND state = 'queued'",
        [{"id": job_id, "words": words, "reason": _HELD} for job_id, words in jobs.items()],
    )


def hold_array(tx: Tx, array_id: str) -> None:
    """All of it that is queued; the slots that were theirs are free."""
    freed = int(tx.value("SELECT COUNT(*) FROM compute_jobs WHERE array_id = :id AND state = 'queued' AND held = 0", id=array_id) or 0)
    limited = at_once(tx, array_id) > 0
    reason, text = told(BY_SOMEBODY, 0, None)
    tx.run(
        "UPDATE compute_jobs SET held = held | :bits, promised_at = NULL, reason = :reason, waits_for = :text"
        " WHERE array_id = :id AND state = 'queued' AND held < 4 AND held <> (held | 1)",
        id=array_id, bits=BY_SOMEBODY | (BY_ARRAY if limited else 0), reason=reason, text=text,
    )  # fmt: skip
    if limited:
        give_slots(tx, array_id, freed)
    _array_changed(tx, array_id)


def release_array(tx: Tx, array_id: str) -> None:
    """Its jobs need the same others, so that one of them tells what all that are not held any more wait for."""
    of_it = "array_id = :id AND state = 'queued' AND held < 4 AND held = (held | 1)"
    one = tx.row(f"SELECT id, needs_left FROM compute_jobs WHERE {of_it} ORDER BY array_index LIMIT 1", id=array_id)
    if one is None:
        return
    needs_left = int(one["needs_left"])
    first = _first_need(tx, one["id"]) if needs_left else None
    for held in (0, BY_ARRAY):
        reason, text = told(held, needs_left, first)
        tx.run(
            f"UPDATE compute_jobs SET held = :held, promised_at = NULL, reason = :reason, waits_for = :text WHERE {of_it} AND held = :was",
            id=array_id, held=held, was=held | BY_SOMEBODY, reason=reason, text=text,
        )  # fmt: skip
    give_slots(tx, array_id, 0)
    _array_changed(tx, array_id)


def _array_changed(tx: Tx, array_id: str) -> None:
    one = tx.value("SELECT id FROM compute_jobs WHERE array_id = :id LIMIT 1", id=array_id)
    if one is not None:  # they are all of one tenant
        waiting.stirred(tx, one)


def array_counts(tx: Tx, array_id: str) -> dict[str, int]:
    rows = tx.rows("SELECT state, COUNT(*) AS n FROM compute_jobs WHERE array_id = :id GROUP BY state", id=array_id)
    return {row["state"]: int(row["n"]) for row in rows}


_FACTS = "SELECT id, place, organisation, project, kind, state, held, needs_left, array_id, attempt, created_at, cost, service FROM compute_jobs"


def facts(tx: Tx, job_id: str) -> Row | None:
    """What the verbs here look at."""
    return tx.row(f"{_FACTS} WHERE id = :id", id=job_id)


def all_facts(tx: Tx, job_ids: Collection[str], *, queued: bool = False) -> list[Row]:
    """The same of several, in the order of submission; `queued`: only of those that are."""
    only = " AND state = 'queued'" if queued else ""
    found = [row for names, given in among(job_ids) for row in tx.rows(f"{_FACTS} WHERE id IN ({names}){only}", **given)]
    return sorted(found, key=lambda row: int(row["place"]))


def among(ids: Collection[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Names of parameters for `IN (…)`, and their values: as many at a time as every database takes."""
    every = list(ids)
    for at in range(0, len(every), 500):
        given = {f"id{number}": value for number, value in enumerate(every[at : at + 500])}
        yield ", ".join(f":{name}" for name in given), given


def named(tx: Tx, name: str, organisation: str) -> list[Row]:
    """The job with this id, or all of the array with it, in this organisation: id and state."""
    column = "array_id" if name.startswith("array-") else "id"
    return tx.rows(
        f"SELECT id, state FROM compute_jobs WHERE {column} = :name AND organisation = :organisation ORDER BY place",
        name=name, organisation=organisation,
    )  # fmt: skip


def set_held(tx: Tx, jobs: Mapping[str, int]) -> None:
    """Job -> its bits."""
    tx.many(
        "UPDATE compute_jobs SET held = :held, promised_at = NULL WHERE id = :id",
        [{"id": job_id, "held": held} for job_id, held in jobs.items()],
    )
    _changed(tx, dict.fromkeys(jobs, ()))


def dependents(tx: Tx, job_ids: Collection[str]) -> list[Row]:
    """Queued jobs that need these: which, what and whether it must have succeeded."""
    found = [
        row
        for names, given in among(job_ids)
        for row in tx.rows(
            "SELECT n.job AS id, n.needs, n.success, j.place FROM compute_needs n JOIN compute_jobs j ON j.id = n.job"
            f" WHERE n.needs IN ({names}) AND j.state = 'queued'",
            **given,
        )
    ]
    return sorted(found, key=lambda row: int(row["place"]))


def met(tx: Tx, jobs: Mapping[str, Collection[str]]) -> None:
    """Some of the jobs that these need have ended as they should: job -> which of them."""
    tx.many(
        "UPDATE compute_jobs SET needs_left = needs_left - :n WHERE id = :id AND needs_left >= :n",
        [{"id": job_id, "n": len(ended)} for job_id, ended in jobs.items()],
    )
    _changed(tx, jobs)


def _changed(tx: Tx, jobs: Mapping[str, Collection[str]]) -> None:
    """Say of queued jobs what keeps them from being looked at; nothing if nothing does. Job -> those that it needed and that have ended."""
    said, tenants = [], set()
    for names, given in among(jobs):
        rows = tx.rows(
            f"SELECT id, organisation, project, held, needs_left, waits_for FROM compute_jobs WHERE id IN ({names}) AND state = 'queued'"
            " AND held < 4",
            **given,
        )
        for row in rows:
            tenants.add((row["organisation"], row["project"]))
            first = _still_first(tx, row, jobs[row["id"]]) if int(row["needs_left"]) else None
            reason, text = told(int(row["held"]), int(row["needs_left"]), first)
            said.append({"id": row["id"], "reason": reason, "text": text})
    tx.many("UPDATE compute_jobs SET reason = :reason, waits_for = :text WHERE id = :id", said)
    for organisation, project in sorted(tenants):
        waiting.touched(tx, organisation, project)


def _still_first(tx: Tx, row: Row, ended: Collection[str]) -> str | None:
    """The one that it is said to wait for, as long as that has not ended: going through all that it needs at each end would never end."""
    named = _AFTER.match(row["waits_for"] or "")
    if named is not None and named[1] not in ended:
        return named[1]
    return (_first_need(tx, row["id"], named[1]) if named else None) or _first_need(tx, row["id"])


def _first_need(tx: Tx, job_id: str, beyond: str = "") -> str | None:
    """The first by its id, and so about by its time, of those that it needs and that have not ended."""
    found: str | None = tx.value(
        "SELECT n.needs FROM compute_needs n JOIN compute_jobs j ON j.id = n.needs"
        f" WHERE n.job = :id AND n.needs > :beyond AND j.state NOT IN ({_ENDED}) ORDER BY n.needs LIMIT 1",
        id=job_id, beyond=beyond,
    )  # fmt: skip
    return found


def give_slots(tx: Tx, array_id: str, freed: int) -> None:
    """So many slots of an array are free again; the next of it take them."""
    found = array(tx, array_id)
    if found is None or int(found["at_once"]) == 0:
        return
    running = max(int(found["running"]) - freed, 0)
    free = int(found["at_once"]) - running
    rows = tx.rows(
        "SELECT id FROM compute_jobs WHERE array_id = :id AND held = :waiting AND state = 'queued' AND cancel_requested = 0"
        " ORDER BY array_index LIMIT :free",
        id=array_id, waiting=BY_ARRAY, free=free,
    ) if free > 0 else []  # fmt: skip
    set_held(tx, {row["id"]: 0 for row in rows})
    tx.run("UPDATE compute_arrays SET running = :running WHERE id = :id", id=array_id, running=running + len(rows))


_STARTS_AFTER = "it starts after "
_AFTER = re.compile(_STARTS_AFTER + r"(job-\S+)")


def told(held: int, needs_left: int, first: str | None) -> tuple[str | None, str | None]:
    """(reason code, words for people). `first`: of the jobs that it needs."""
    if held & BY_SOMEBODY:
        return ReasonCode.HELD.value, SENTENCES[ReasonCode.HELD]
    if needs_left:
        more = f" and {needs_left - 1} more" if needs_left > 1 else ""
        return ReasonCode.AFTER.value, f"{_STARTS_AFTER}{first or 'another job'}{more}"
    if held & BY_ARRAY:
        return ReasonCode.ARRAY_LIMIT.value, SENTENCES[ReasonCode.ARRAY_LIMIT]
    return None, None


def end_queued(tx: Tx, jobs: Sequence[Row], exits: Mapping[str, str], now: str) -> None:
    """Queued jobs are cancelled: they hold nothing, so that is all there is to do. `jobs`: as `all_facts` tells; job -> its exit as JSON."""
    tx.many(
        "UPDATE compute_jobs SET state = 'cancelled', cancel_requested = 1, exit = :exit, held = held & 3, waits_for = NULL, reason = NULL,"
        " promised_at = NULL, finished_at = :now WHERE id = :id AND state = 'queued'",
        [{"id": row["id"], "exit": exits[row["id"]], "now": now} for row in jobs],
    )
    for (organisation, project), many in Counter((row["organisation"], row["project"]) for row in jobs).items():
        waiting.touched(tx, organisation, project, -many)
    if jobs:
        waiting.ended(tx, JobState.CANCELLED.value, len(jobs))


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
