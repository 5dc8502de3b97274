"""Proving that past decisions were made as the journal says: each is decided again from what it saw, and compared bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lilong.floors.compute.scheduler.by_name import decide, plan_text
from lilong.floors.compute.scheduler.snapshot import digest, together
from lilong.floors.compute.store import attempts, journal
from lilong.ground.access import Actor
from lilong.ground.db import Row, Tx
from lilong.ground.errors import BadInput, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

_AT_ONCE = 50  # decisions of one call: the next goes on where it ended
_PAGE = 200
_TO_THE_SECOND = len("2026-03-01T00:00:00")


@dataclass(frozen=True, slots=True)
class DecisionShown:
    """`starts`, `preemptions`, `reservations`: how many of each. `waiting` is told by the snapshot, which is not read for a list."""

    number: int
    at: str
    policy: str
    digest: str
    whole: bool
    starts: int
    preemptions: int
    reservations: int
    cost: int  # millionths


@dataclass(frozen=True, slots=True)
class Difference:
    """A decision that does not come out again. `what`: row (there is none), snapshot (what it saw is not what its digest says), at, policy, or a part of the plan."""

    number: int
    at: str
    policy: str
    what: str
    journal: str
    replay: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """`next`: the number to go on with, if there are more; `asked`: the last number that was asked for."""

    first: int
    last: int
    same: int
    differences: list[Difference]
    next: int | None
    asked: int


def decisions(house: House, actor: Actor, before: int | None = None, limit: int = 50) -> list[DecisionShown]:
    """Newest first; `before`: only decisions with a smaller number."""

    def read(tx: Tx) -> list[Row]:
        house.access.require(tx, actor, "house.manage")
        return journal.listed(tx, (1 << 62) if before is None else before - 1, max(1, min(limit, _PAGE)))

    return [_shown(row) for row in house.db.read(read)]


def _shown(row: Row) -> DecisionShown:
    plan = _plan(row["plan"])
    counts = (len(plan.get("starts", ())), len(plan.get("preemptions", ())), len(plan.get("reservations", ())))
    return DecisionShown(int(row["number"]), row["at"], row["policy"], row["digest"], bool(row["whole"]), *counts, int(plan.get("cost", 0)))


def replay(house: House, actor: Actor, first: int | None = None, last: int | None = None) -> Replayed:
    """Decide again, from number `first` to `last` (all that are kept, if not told), at most 50 in one call. Raises BadInput, Forbidden, NotFound.

    It needs nothing but the journal: not the queue as it is now, nor the settings.
    """
    if first is not None and last is not None and first > last:
        raise BadInput(
            field="from", problem=f"{first} is greater than {last}, which is to be the last", way_out="Give the smaller number first."
        )

    def read(tx: Tx) -> tuple[int, int, int, list[Row]]:
        house.access.require(tx, actor, "house.manage")
        kept = journal.span(tx)
        start = kept[0] if first is None else first
        end = min(kept[1], kept[1] if last is None else last)
        if start > end and kept[1]:
            raise BadInput(
                field="from", problem=f"there is no decision {start} yet", way_out=f"Those from {kept[0]} to {kept[1]} are kept."
            )
        if start > end:
            raise NotFound(kind="decision", name=start)
        whole = journal.whole_before(tx, start)
        if whole is None:
            raise BadInput(
                field="from", problem=f"decision {start} is no longer kept with what it saw", way_out=f"Give {kept[0]} or a larger number."
            )
        upto = min(end, start + _AT_ONCE - 1)
        return start, upto, end, journal.rows(tx, whole, upto)

    start, upto, end, rows = house.db.read(read)
    seen: dict[str, str] = {}
    differences = house.db.read(_gone_since) if upto == end and last is None else []
    same, expected = 0, int(rows[0]["number"]) if rows else start
    for row in rows:
        number = int(row["number"])
        for missing in range(max(expected, start), number):
            differences.append(Difference(missing, row["at"], row["policy"], "row", "a row with this number", "there is none"))
        expected = number + 1
        found, seen = _again(row, seen)
        if number >= start:
            differences += found
            same += not found
    return Replayed(start, upto, same, differences, upto + 1 if upto < end else None, end)


def _gone_since(tx: Tx) -> list[Difference]:
    """The newest rows, if there are attempts that decisions after the last one have started."""
    last, cause = journal.span(tx)[1], attempts.last_decision(tx)
    if cause is None or int(cause["decision"]) <= last:
        return []
    return [Difference(int(cause["decision"]), cause["intended_at"], "", "row", f"what started {cause['token']}", "there is none")]


def _again(row: Row, before: Mapping[str, str]) -> tuple[list[Difference], dict[str, str]]:
    """What of a decision does not come out again, and what it saw. `before`: what the decision before it saw."""

    def difference(what: str, journalled: Any, replayed: Any) -> Difference:
        return Difference(int(row["number"]), row["at"], row["policy"], what, _short(journalled), _short(replayed))

    try:
        changed = journal.unpacked(row["seen"])
    except ValueError as problem:
        return [difference("snapshot", "what it saw", f"cannot be read: {problem}")], dict(before)
    seen = {} if row["whole"] else dict(before)
    for name, value in changed.items():
        if value is None:
            seen.pop(name, None)
        else:
            seen[name] = value
    if digest(seen) != row["digest"]:
        return [difference("snapshot", row["digest"], digest(seen))], seen
    try:
        snapshot = together(seen)
        now = stamp(datetime.fromtimestamp(snapshot.now, UTC))
        for what, length, true in (("at", _TO_THE_SECOND, now), ("policy", None, f"{snapshot.policy} {row['policy'].partition(' ')[2]}")):
            if row[what][:length] != true[:length]:
                return [difference(what, row[what], true)], seen
        decided = plan_text(decide(snapshot))
    except (KeyError, TypeError, ValueError) as problem:
        return [difference("plan", row["plan"], f"cannot be decided again: {problem!r}")], seen
    if decided == row["plan"]:
        return [], seen
    told, again = _plan(row["plan"]), _plan(decided)
    parts = sorted(name for name in told.keys() | again.keys() if told.get(name) != again.get(name))
    return [difference(name, told.get(name), again.get(name)) for name in parts or ["plan"]], seen


def _plan(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    return told if isinstance(told, dict) else {"plan": text}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 500 else text[:497] + "…"
