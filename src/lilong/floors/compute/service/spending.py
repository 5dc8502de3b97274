"""What jobs cost: at worst until they end, then what they held for as long as they ran. Services, which have no end, by what they have cost so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from lilong.floors.compute.rules.settings import ComputeSettings
from lilong.floors.compute.store import money
from lilong.floors.compute.store import settings as declared
from lilong.ground.db import Row, Tx
from lilong.ground.seams import parse_stamp

Owner = tuple[str, str]  # organisation and project


def settle(tx: Tx, rows: Sequence[Row]) -> None:
    """Jobs are over: what they might have cost at worst goes back to the month in which they were submitted, less what they did cost.

    A service may have cost more than the time that it named, and in months of its own.
    """
    if not rows:
        return
    _, settings = declared.current(tx)
    parts: dict[str, Counter[str]] = {row["id"]: Counter() for row in rows}
    for attempt in money.attempts(tx, list(parts)):
        if attempt["ended_at"] is not None:
            parts[attempt["job"]].update(_by_month(attempt, settings, parse_stamp(attempt["ended_at"])))
    booked: Counter[tuple[str, str, str]] = Counter()
    amounts = {}
    for row in rows:
        cost, worst, submitted = parts[row["id"]], int(row["cost"]), month(parse_stamp(row["created_at"]))
        if not int(row["service"]):
            cost = Counter({submitted: min(cost.total(), worst)})
        amounts[row["id"]] = cost.total()
        cost[submitted] -= worst
        for when, amount in cost.items():
            booked[row["organisation"], row["project"], when] += amount
    for key, amount in booked.items():
        money.spend(tx, *key, amount)
    money.set_costs(tx, amounts)


def beyond(tx: Tx, settings: ComputeSettings, now: datetime) -> Mapping[Owner, int]:
    """What services that run have cost this month beyond what is kept back for them."""
    services, this = money.services(tx), month(now)
    if not services:
        return {}
    cost: Counter[str] = Counter()
    for attempt in money.attempts(tx, [row["id"] for row in services]):
        until = parse_stamp(attempt["ended_at"]) if attempt["ended_at"] else now
        cost[attempt["job"]] += _by_month(attempt, settings, until)[this]
    found: Counter[Owner] = Counter()
    for row in services:
        kept = int(row["cost"]) if month(parse_stamp(row["created_at"])) == this else 0
        found[row["organisation"], row["project"]] += max(cost[row["id"]] - kept, 0)
    return found


def month(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m")


def _by_month(attempt: Row, settings: ComputeSettings, until: datetime) -> Counter[str]:
    """Millionths of money for what an attempt held: its devices, or, if it had none, its cores."""
    found: Counter[str] = Counter()
    if attempt["started_at"] is None:
        return found
    milli = int(attempt["milli"])
    many = milli / 1000 if milli else int(attempt["cpus"])
    price = settings.accelerator((attempt["accelerator"] or "") if milli else "").price
    for when, seconds in _months(parse_stamp(attempt["started_at"]), until):
        found[when] += round(seconds / 3600 * many * price * 1_000_000)
    return found


def _months(start: datetime, end: datetime) -> Iterator[tuple[str, float]]:
    """Each month between two times, and how many seconds of it lie there."""
    while start < end:
        following = (start.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
        yield month(start), (min(end, following) - start).total_seconds()
        start = following
