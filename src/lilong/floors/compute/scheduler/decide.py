"""`decide`: what starts now, who gives way, what is promised, and why the rest waits. It changes nothing that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from lilong.floors.compute.scheduler import start as whys
from lilong.floors.compute.scheduler.cycle import look
from lilong.floors.compute.scheduler.fragmentation import Typical
from lilong.floors.compute.scheduler.jobs import NEVER, REFUSED, WAITING, Book, Jobs
from lilong.floors.compute.scheduler.order import Queues
from lilong.floors.compute.scheduler.policy import Policy
from lilong.floors.compute.scheduler.state import WHOLE, Site, copied
from lilong.floors.compute.scheduler.tenants import Tenants, age


class Reason(IntEnum):
    """Why a job does not start, the gravest first."""

    IMPOSSIBLE = whys.IMPOSSIBLE  # it would not fit if nothing else ran
    QUOTA = whys.QUOTA  # its tenant, or one above, holds all that it may
    MAINTENANCE = whys.MAINTENANCE  # there is room, but it could run into the time that this is kept for maintenance
    NO_ROOM = whys.NO_ROOM  # it is the first of its pool, or needs not care who is; what it needs is held by others
    RESERVED = whys.RESERVED  # it is not the first, and a start is reserved for it
    WOULD_DELAY = whys.WOULD_DELAY  # there is room, but not without delaying a start that is reserved for another
    BEHIND = whys.BEHIND  # there is no room, or this policy lets nobody overtake; others go first
    NOT_LOOKED_AT = whys.NOT_LOOKED_AT  # it stands behind as many as one cycle looks at


@dataclass(frozen=True, slots=True)
class Start:
    """`option`: which of its own, from 0. `places`: of each task the node, and devices as a bit set."""

    job: int
    places: tuple[tuple[int, int], ...]
    option: int = 0


@dataclass(frozen=True, slots=True)
class Preemption:
    """`job` gives way to `to` (-1: to nobody, it moves), whose start must wait until it has. A job may be among the starts too."""

    job: int
    to: int


@dataclass(frozen=True, slots=True)
class Plan:
    """`reservations`: job -> promised start. `ticks`: thousandths of device (or core) times ticks that the starts may use, where they
    have a limit; `cost`: the same times the price of their options, in millionths.
    """

    starts: tuple[Start, ...]
    preemptions: tuple[Preemption, ...]
    reservations: Mapping[int, int]
    reasons: Mapping[int, Reason]
    cost: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Queue:
    """Who waits and who runs, over the jobs of a book; what tasks are usual; and what tenants hold."""

    book: Book
    lines: Queues
    usual: Typical
    tenants: Tenants

    def copied(self) -> Queue:
        book = self.book
        jobs = Jobs(*(part.copy() for part in book.jobs))
        lines, tenants = Queues(*(part.copy() for part in self.lines)), Tenants(*(part.copy() for part in self.tenants))
        twin = Book(book.names, jobs, book.shapes.copy(), book.asked, book.uses, book.levels, book.together)
        return Queue(twin, lines, self.usual, tenants)


def copy_into(scratch: tuple[Site, Queue], state: Site, queue: Queue) -> None:
    """Into arrays of the same shapes that are there already, which is much quicker than making new ones; without what is of one look."""
    s, mine = scratch
    used = int(state.top.max(initial=0))  # what stands in slots that were never used is never looked at
    for name, to, of in zip(Site._fields, s, state, strict=True):
        many = used if name in ("group", "group_free", "memo") else None
        np.copyto(_bytes(to[:many]), _bytes(of[:many]))
    pairs = [*zip(mine.book.jobs, queue.book.jobs, strict=True), (mine.book.shapes, queue.book.shapes)]
    lines = [pair for name, *pair in zip(Queues._fields, mine.lines, queue.lines, strict=True) if name not in ("victims", "worth", "herd")]
    for to, of in [*pairs, *lines, *zip(mine.tenants, queue.tenants, strict=True)]:
        np.copyto(_bytes(to), _bytes(of))


def _bytes(of: Any) -> Any:
    """The array's own bytes: numpy copies records field by field, which takes ten times as long."""
    assert of.flags.c_contiguous
    return of.reshape(-1).view(np.uint8)


def decide(state: Site, queue: Queue, policy: Policy, now: int, seed: int) -> Plan:
    """Raises SolverMissing, where the policy needs a solver that is not installed."""
    return planned(decided(state, queue, policy, now, seed)[1])


def decided(state: Site, queue: Queue, policy: Policy, now: int, seed: int) -> tuple[Site, Queue]:
    """The same, as copies of the state and the queue as they are once it is done."""
    s, mine = copied(state), queue.copied()
    play_once(s, mine, policy, now, seed)
    return s, mine


def play_once(s: Site, mine: Queue, policy: Policy, now: int, seed: int) -> None:
    """Decide and do so, in what is given."""
    b, q = mine.book.jobs, mine.lines
    s.luck[0] = seed % 2147483646 + 1
    q.cycles[1] = q.cycles[3] = 0
    if mine.tenants.tenant.size > 1:
        age(mine.tenants, now)
    if policy.round:
        from lilong.floors.compute.scheduler.gavel import Rounds

        Rounds().turn(s, mine, policy.rules(), now)
    for pool in range(s.bounds.size - 1):
        look(s, mine.book.shapes, b, q, mine.usual, mine.tenants, policy.rules(), pool, now)


def planned(queue: Queue) -> Plan:
    """What was decided."""
    b, q = queue.book.jobs, queue.lines
    rows = b.job[:-1].view(np.ndarray)
    started = q.fresh[: q.cycles[1]].tolist()
    starts = tuple(Start(at, _places(b, at), int(rows["option"][at] - rows["first"][at])) for at in started)
    stopped = zip(q.stopped[: q.cycles[3]].tolist(), q.stopped_for[: q.cycles[3]].tolist(), strict=True)
    waiting = np.flatnonzero(rows["state"] == WAITING)
    reasons = {at: Reason(why) for at, why in zip(waiting.tolist(), rows["why"][waiting].tolist(), strict=True)}
    reasons |= dict.fromkeys(np.flatnonzero(rows["state"] == REFUSED).tolist(), Reason.IMPOSSIBLE)
    reservations = {at: int(rows["reserved"][at]) for at in waiting[rows["reserved"][waiting] < NEVER].tolist()}
    cost, ticks = _bill(queue.book, started)
    return Plan(starts, tuple(Preemption(*one) for one in stopped), reservations, reasons, cost, ticks)


def _places(b: Jobs, job: int) -> tuple[tuple[int, int], ...]:
    row = b.job.view(np.ndarray)[job]
    part = b.place.view(np.ndarray)[row["room"] : row["room"] + row["placed"]]
    return tuple(zip(part["node"].tolist(), part["devices"].tolist(), strict=True))


def _bill(made: Book, started: list[int]) -> tuple[int, int]:
    """What the starts may cost and use. In a job without devices it is cores that count."""
    cost = ticks = 0
    for job in started:
        option = made.jobs.option[int(made.jobs.job.option[job])]
        limit = int(option.limit)
        if limit >= NEVER:
            continue
        parts = [(int(option.need), int(option.tasks))] + ([(int(option.rest), 1)] if option.rest >= 0 else [])
        shapes = [(made.asked[need], tasks) for need, tasks in parts]
        held = sum(tasks * (shape.devices * shape.milli if shape.devices else shape.cpu) for shape, tasks in shapes)
        ticks += held * limit
        cost += held * limit * int(option.price)
    return cost // WHOLE, ticks
