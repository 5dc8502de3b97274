"""What follows from a job's end, in the transaction in which it ends."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

from lilong.floors.compute.contract import Exit, JobFinished, JobState
from lilong.floors.compute.store import asking, money
from lilong.floors.compute.store import secrets as sealed
from lilong.floors.compute.store import settings as declared
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp


def end_queued(house: House, tx: Tx, actor: Actor, job_id: str, reason: str) -> bool:
    """Cancel a job that is queued: at once, with all that follows. False if it is not queued any more."""
    facts = asking.facts(tx, job_id)
    text = json.dumps(asdict(Exit(None, None, reason, 0.0, 0.0, 0.0)), sort_keys=True)
    if facts is None or not asking.end_queued(tx, job_id, text, stamp(house.clock.now())):
        return False
    house.events.append(tx, actor, JobFinished(job_id, facts["organisation"], facts["kind"], JobState.CANCELLED.value))
    followed(house, tx, job_id, JobState.CANCELLED)
    return True


def followed(house: House, tx: Tx, job_id: str, state: JobState) -> None:
    """A job is over (its row says so): jobs that needed it may start or never will, its array's slot goes on, its cost is known."""
    doomed = [job_id]
    while doomed:
        _one(house, tx, doomed.pop(0), state, doomed)
        state = JobState.CANCELLED


def _one(house: House, tx: Tx, job_id: str, state: JobState, doomed: list[str]) -> None:
    facts = asking.facts(tx, job_id)
    if facts is None:
        return
    if facts["array_id"] is not None and not int(facts["held"]):
        asking.give_slots(tx, facts["array_id"], 1)
    sealed.forget(tx, job_id)
    _settle_cost(tx, job_id, facts["organisation"], facts["project"], facts["created_at"], int(facts["cost"]))
    for row in asking.dependents(tx, job_id):
        if state is JobState.SUCCEEDED or not int(row["success"]):
            asking.met(tx, row["id"])
            continue
        text = json.dumps(asdict(Exit(None, None, f"{job_id}, which it needed, is {state.value}", 0.0, 0.0, 0.0)), sort_keys=True)
        other = asking.facts(tx, row["id"])
        if other is not None and asking.end_queued(tx, row["id"], text, stamp(house.clock.now())):
            finished = JobFinished(row["id"], other["organisation"], other["kind"], JobState.CANCELLED.value)
            house.events.append(tx, SYSTEM, finished)
            doomed.append(row["id"])


def _settle_cost(tx: Tx, job_id: str, organisation: str, project: str, created_at: str, worst: int) -> None:
    if not worst:
        return
    _, settings = declared.current(tx)
    cost = 0.0
    for attempt in money.attempts(tx, job_id):
        if attempt["started_at"] is None or attempt["ended_at"] is None:
            continue
        hours = max((parse_stamp(attempt["ended_at"]) - parse_stamp(attempt["started_at"])).total_seconds(), 0.0) / 3600
        milli = int(attempt["milli"])
        many = milli / 1000 if milli else int(attempt["cpus"])
        cost += hours * many * settings.accelerator((attempt["accelerator"] or "") if milli else "").price
    amount = min(round(cost * 1_000_000), worst)
    money.spend(tx, organisation, project, month(parse_stamp(created_at)), amount - worst)
    money.set_cost(tx, job_id, amount)


def month(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m")
