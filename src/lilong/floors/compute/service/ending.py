"""What follows from jobs' ends, in the transaction in which they end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

from lilong.floors.compute.contract import Exit, JobFinished, JobState
from lilong.floors.compute.service import spending
from lilong.floors.compute.store import asking
from lilong.floors.compute.store import secrets as sealed
from lilong.floors.compute.store.asking import BY_ARRAY, BY_SOMEBODY
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.house import House
from lilong.ground.seams import stamp

AT_ONCE = 200
"""Jobs that are ended in one transaction: others who write come in between."""


def end_queued(house: House, tx: Tx, actor: Actor, jobs: Mapping[str, str]) -> bool:
    """Cancel queued jobs, AT_ONCE at most, with all that follows: job -> why. False if none of them is queued any more."""
    ended = _end(house, tx, actor, jobs)
    followed(house, tx, ended)
    return bool(ended)


def _end(house: House, tx: Tx, actor: Actor, jobs: Mapping[str, str]) -> dict[str, JobState]:
    rows = asking.all_facts(tx, jobs, queued=True)
    exits = {job_id: json.dumps(asdict(Exit(None, None, why, 0.0, 0.0, 0.0)), sort_keys=True) for job_id, why in jobs.items()}
    asking.end_queued(tx, rows, exits, stamp(house.clock.now()))
    state = JobState.CANCELLED
    if rows:
        house.events.append_all(tx, actor, [JobFinished(row["id"], row["organisation"], row["kind"], state.value) for row in rows])
    return dict.fromkeys((row["id"] for row in rows), state)


def followed(house: House, tx: Tx, over: Mapping[str, JobState]) -> None:
    """Jobs are over (their rows say so): jobs that needed them may start or never will, their arrays' slots go on, their cost is known.

    Of those that never will AT_ONCE end here; of the rest the end is asked for, and the dispatcher ends them.
    """
    room = AT_ONCE
    while over:
        doomed = list(_one_step(tx, over).items())
        asking.ask_for_end(tx, dict(doomed[room:]))
        over = _end(house, tx, SYSTEM, dict(doomed[:room]))
        room -= len(over)


def _one_step(tx: Tx, over: Mapping[str, JobState]) -> dict[str, str]:
    """Job that needed one of them and never starts -> why."""
    rows = asking.all_facts(tx, over)
    slots = Counter(row["array_id"] for row in rows if row["array_id"] is not None and not int(row["held"]) & (BY_SOMEBODY | BY_ARRAY))
    for array_id, freed in slots.items():
        asking.give_slots(tx, array_id, freed)
    sealed.forget(tx, over)
    spending.settle(tx, [row for row in rows if int(row["cost"])])
    met: dict[str, list[str]] = {}
    doomed: dict[str, str] = {}
    for row in asking.dependents(tx, over):
        state = over[row["needs"]]
        if state is JobState.SUCCEEDED or not int(row["success"]):
            met.setdefault(row["id"], []).append(row["needs"])
        else:
            doomed.setdefault(row["id"], f"{row['needs']}, which it needed, is {state.value}")
    asking.met(tx, {job_id: ended for job_id, ended in met.items() if job_id not in doomed})
    return doomed
