"""`decide`: what starts now, what is promised, and why the rest waits. It changes nothing that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from lilong.floors.compute.scheduler.cycle import look
from lilong.floors.compute.scheduler.fragmentation import Typical
from lilong.floors.compute.scheduler.jobs import NEVER, REFUSED, WAITING, Book, Jobs
from lilong.floors.compute.scheduler.order import Queues
from lilong.floors.compute.scheduler.policy import Policy
from lilong.floors.compute.scheduler.state import Site, copied


class Reason(IntEnum):
    """Why a job does not start, the gravest first."""

    IMPOSSIBLE = 1  # it would not fit if nothing else ran
    NO_ROOM = 2  # it is the first of its pool; what it needs is held by running jobs
    WOULD_DELAY = 3  # there may be room, but not without delaying the first
    BEHIND = 4  # this policy lets nobody overtake the first


@dataclass(frozen=True, slots=True)
class Start:
    job: int
    places: tuple[tuple[int, int], ...]  # of each task: node, devices as a bit set


@dataclass(frozen=True, slots=True)
class Plan:
    """`reservations`: job -> promised start. `cost`: thousandths of device (or core) times ticks that the starts may use."""

    starts: tuple[Start, ...]
    reservations: Mapping[int, int]
    reasons: Mapping[int, Reason]
    cost: int


@dataclass(frozen=True, slots=True)
class Queue:
    """Who waits and who runs, over the jobs of a book, and what tasks are usual."""

    book: Book
    lines: Queues
    usual: Typical


def decide(state: Site, queue: Queue, policy: Policy, now: int, seed: int) -> Plan:
    s, h = copied(state), queue.book.shapes.copy()
    b, q = Jobs(*(part.copy() for part in queue.book.jobs)), Queues(*(part.copy() for part in queue.lines))
    s.luck[0] = seed % 2147483646 + 1
    q.cycles[1] = 0
    for pool in range(s.bounds.size - 1):
        look(s, h, b, q, queue.usual, policy.rules(), pool, now)
    rows = b.job[:-1].view(np.ndarray)
    started = q.fresh[: q.cycles[1]].tolist()
    starts = tuple(Start(at, _places(b, at)) for at in started)
    heads = [int(q.waiting[q.base[pool]]) for pool in range(s.bounds.size - 1) if q.waits[pool]]
    behind = {"none": Reason.BEHIND, "skip": Reason.NO_ROOM}.get(policy.backfill, Reason.WOULD_DELAY)
    reasons = dict.fromkeys(np.flatnonzero(rows["state"] == WAITING).tolist(), behind)
    reasons |= dict.fromkeys(heads, Reason.NO_ROOM)
    reasons |= dict.fromkeys(np.flatnonzero(rows["state"] == REFUSED).tolist(), Reason.IMPOSSIBLE)
    reservations = {at: int(rows["reserved"][at]) for at in heads if rows["reserved"][at] < NEVER}
    limits = rows["limit"][started]
    cost = int((rows["width"][started] * np.where(limits < NEVER, limits, 0)).sum())
    return Plan(starts, reservations, reasons, cost)


def _places(b: Jobs, job: int) -> tuple[tuple[int, int], ...]:
    row = b.job.view(np.ndarray)[job]
    part = b.place.view(np.ndarray)[row["room"] : row["room"] + row["placed"]]
    return tuple(zip(part["node"].tolist(), part["devices"].tolist(), strict=True))
