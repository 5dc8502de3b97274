"""Ending, holding and releasing jobs, one or all of an array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lilong.floors.compute import store
from lilong.floors.compute.contract import FINISHED, Job, JobNotFound, JobState
from lilong.floors.compute.service import ending
from lilong.floors.compute.store import asking
from lilong.ground.access import Actor
from lilong.ground.db import Row, Tx
from lilong.ground.errors import Conflict, NotFound
from lilong.ground.house import House

_CANCELLED = "it was cancelled"


class NotWaiting(Conflict):
    """The job {name} is {state}; only one that waits can be held or released. {way_out}"""


class ArrayNotFound(NotFound):
    """There is no array of jobs '{name}' that you may see."""


@dataclass(frozen=True, slots=True)
class Array:
    """Jobs that were submitted together. `at_once`: how many may be under way at once; 0: any number. `states`: how many are in which."""

    id: str
    organisation: str
    at_once: int
    states: dict[str, int]


def cancel(house: House, tx: Tx, actor: Actor, job_id: str) -> Job:
    """Ask for a job's end; one that is queued ends at once. Raises JobNotFound, Forbidden."""
    job = store.job(tx, job_id)
    house.access.require(tx, actor, "jobs.cancel", job.ask.organisation, hidden=JobNotFound(name=job_id))
    if not ending.end_queued(house, tx, actor, {job_id: _CANCELLED}):
        store.request_cancel(tx, job_id)
    return store.job(tx, job_id)


def hold(house: House, actor: Actor, job_id: str) -> Job:
    """Keep a waiting job from starting. Idempotent. Raises JobNotFound, NotWaiting, Forbidden."""
    return house.db.write(lambda tx: _change(house, tx, actor, job_id, _hold))


def release(house: House, actor: Actor, job_id: str) -> Job:
    """Let a job start that was held. Idempotent. Raises JobNotFound, NotWaiting, Forbidden."""
    return house.db.write(lambda tx: _change(house, tx, actor, job_id, _release))


def _change(house: House, tx: Tx, actor: Actor, job_id: str, change: Callable[[Tx, Row], None]) -> Job:
    facts = asking.facts(tx, job_id)
    hidden = JobNotFound(name=job_id)
    if facts is None:
        raise hidden
    house.access.require(tx, actor, "jobs.cancel", facts["organisation"], hidden=hidden)
    if facts["state"] != JobState.QUEUED.value:
        over = JobState(facts["state"]) in FINISHED
        raise NotWaiting(
            name=job_id, state=facts["state"], way_out="Submit it again to run it once more." if over else "Cancel it to end it."
        )
    change(tx, facts)
    return store.job(tx, job_id)


def _hold(tx: Tx, facts: Row) -> None:
    held = int(facts["held"])
    if held & asking.BY_SOMEBODY:
        return
    limited = facts["array_id"] is not None and asking.at_once(tx, facts["array_id"])
    asking.set_held(tx, {facts["id"]: held | asking.BY_SOMEBODY | (asking.BY_ARRAY if limited else 0)})
    if limited and not held:  # its slot goes to the next
        asking.give_slots(tx, facts["array_id"], 1)


def _release(tx: Tx, facts: Row) -> None:
    held = int(facts["held"])
    if held & asking.BY_SOMEBODY:
        asking.set_held(tx, {facts["id"]: held & ~asking.BY_SOMEBODY})
        if facts["array_id"] is not None:
            asking.give_slots(tx, facts["array_id"], 0)


# --- arrays ----------------------------------------------------------------------------------------------------------------


def array(house: House, actor: Actor, array_id: str) -> Array:
    """Raises ArrayNotFound."""
    return house.db.read(lambda tx: _shown(tx, _array(house, tx, actor, array_id, "jobs.read")))


def cancel_array(house: House, actor: Actor, array_id: str) -> Array:
    """End all of its jobs that wait, and ask for the end of the others; idempotent. Raises ArrayNotFound, Forbidden.

    First nothing of it starts any more; then its jobs end some at a time, so that others who write come in between. Of what a crash
    leaves in the middle the dispatcher, or the same once more, ends the rest.
    """

    def begin(tx: Tx) -> Row:
        found = _array(house, tx, actor, array_id, "jobs.cancel")
        asking.end_array(tx, array_id, _CANCELLED)
        return found

    def go_on(tx: Tx) -> int | None:
        rows = asking.to_end_of_array(tx, array_id, -1 if at is None else at, ending.AT_ONCE)
        ending.end_queued(house, tx, actor, {row["id"]: row["waits_for"] for row in rows})
        return rows[-1]["array_index"] if rows else None

    found, at = house.db.write(begin), None
    while (at := house.db.write(go_on)) is not None:
        pass
    return house.db.read(lambda tx: _shown(tx, found))


def hold_array(house: House, actor: Actor, array_id: str) -> Array:
    """Keep all of its jobs that wait from starting. Raises ArrayNotFound, Forbidden."""
    return house.db.write(lambda tx: _all(house, tx, actor, array_id, asking.hold_array))


def release_array(house: House, actor: Actor, array_id: str) -> Array:
    """Raises ArrayNotFound, Forbidden."""
    return house.db.write(lambda tx: _all(house, tx, actor, array_id, asking.release_array))


def _all(house: House, tx: Tx, actor: Actor, array_id: str, change: Callable[[Tx, str], None]) -> Array:
    found = _array(house, tx, actor, array_id, "jobs.cancel")
    change(tx, array_id)
    return _shown(tx, found)


def _array(house: House, tx: Tx, actor: Actor, array_id: str, permission: str) -> Row:
    found = asking.array(tx, array_id)
    hidden = ArrayNotFound(kind="array", name=array_id[:100])
    if found is None:
        raise hidden
    house.access.require(tx, actor, permission, found["organisation"], hidden=hidden)
    return found


def _shown(tx: Tx, found: Row) -> Array:
    return Array(found["id"], found["organisation"], int(found["at_once"]), asking.array_counts(tx, found["id"]))
