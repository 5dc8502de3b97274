# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""What waits: jobs as arrays. A job is a gang that may be laid out in one of several ways, all or nothing.

A *shape* is what one task needs of one node: whole devices or a fraction of one, cores, memory, the accelerator classes that will do.
An *option* is one way to lay a job out: so many tasks of a shape, and perhaps one smaller task after them. Options are tried in
their order, which is how "8 of class A or 16 of class B" and gangs of min..max tasks are said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.state import WHOLE, table

WAITING, RUNNING, FINISHED, REFUSED, ABSENT = 0, 1, 2, 3, 4
ANY_CLASS = -1
NEVER = 1 << 60


@dataclass(frozen=True, slots=True)
class Shape:
    """What one task needs. `milli`: thousandths of each device; below 1000 only with one device."""

    devices: int = 0
    milli: int = WHOLE
    cpu: int = 0
    memory: int = 0
    classes: int = ANY_CLASS  # bit set of accelerator classes
    pool: int = 0


@dataclass(frozen=True, slots=True)
class Option:
    shape: Shape
    tasks: int = 1
    rest: Shape | None = None  # one more, smaller task
    limit: int | None = None  # the longest that it may run laid out so; the job's own, if not said
    level: int = 0  # all tasks within one domain of this level of the topology; 0: anywhere in the pool
    near: int = 0  # the narrower level that is preferred; 0: none
    price: int = 0  # of one device (or core) for one tick, in millionths


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    options: tuple[Option, ...]
    submit: int  # in ticks, as all times
    limit: int  # the longest that it may run; what is planned with
    run: int = NEVER  # how long it will really run: only a simulation knows
    tenant: int = 0
    priority: int = 0
    user: int = 0  # whose history predicts how long it runs
    preemptible: bool = False
    checkpoint: int = 0  # ticks between two checkpoints; 0: none, what ran is lost with a preemption
    done: int = 0  # ticks of its work that earlier attempts have kept
    predicted: int = 0  # how long it is expected to run; 0: nobody knows, which is planned as its limit
    attained: int = 0  # device-ticks (in thousandths) that attempts before this one were given
    stops: int = 0  # how often it was preempted


SHAPE = (
    "pool", "devices", "milli", "cpu", "memory", "classes",
    "bucket",  # kind of task for the clustering score; -1 without a device
    "spot",  # its number among the shapes of gangs that stay together, or -1
    "failed_in", "failed_tasks",  # the cycle in which it was last found not to fit, and with how many tasks
    "limited_in", "limited_tasks", "limited_until",  # the same beside a reservation; beside several, of those that run so long
    "denied_in", "denied_tasks", "denied_to",  # the same with all gone that may be preempted, for a tenant (see preempt)
)  # fmt: skip
# Side by side stands what is looked at together: of a job that waits, then, with its tenant and state, of one that runs.
JOB = (
    "first",  # its first option; one more row ends the last job's
    "done",
    "prefer",  # the way that is tried first
    "why",  # it does not start (see cycle)
    "pool", "preemptible", "tenant", "state",
    "end",  # the planned one while it runs, the true one when it has ended
    "room",  # its first row among the placements
    "placed",  # how many placements it holds
    "option",  # the way in which it is laid out while it runs, or will be when it is promised a start
    "limit", "priority", "start",
    "width",  # thousandths of device that it holds; of core, where nobody asks for devices
    "reserved",  # start promised to it in the last cycle, or NEVER
    "gained",  # up to when others were to hold what they gave back since that was thought over (see reserve)
    "key",  # what its order follows, smaller first
    "submit", "run", "user", "checkpoint",
    "attained",  # device-ticks (in thousandths) that it was given by attempts before this one
    "stops",  # how often it was preempted
    "predicted",  # how long it is expected to run
)  # fmt: skip
OPTION = ("need", "tasks", "rest", "limit", "level", "near", "price", "width")  # need: a shape; rest: that of the smaller task, or -1
PLACE = ("node", "need", "devices")  # devices: a bit set


class Jobs(NamedTuple):
    job: Any  # see JOB
    option: Any
    place: Any


@dataclass(slots=True)
class Book:
    """The jobs with the shapes that they use; `names` by index. Jobs stand in the order of submission and id."""

    names: list[str]
    jobs: Jobs
    shapes: Any  # see SHAPE
    asked: list[Shape]
    uses: list[int] = field(default_factory=list)  # shape -> jobs that ask for it first
    levels: int = 0  # of the topology that any of them looks at
    together: int = 0  # shapes of gangs that must or would like to stay together


def book(asked: Sequence[Job]) -> Book:
    ordered = sorted(asked, key=lambda job: job.submit)  # stable: equal times keep the order given
    known: dict[tuple[Shape, int, int], int] = {}  # what does not fit in one rack may fit elsewhere: rows of their own
    uses: list[int] = []

    def shape(one: Shape, level: int = 0, near: int = 0) -> int:
        key = one, level, near
        if key not in known:
            known[key] = len(uses)
            uses.append(0)
        return known[key]

    first, shapes, tasks, rests, more, room = [0], [], [], [], [], [0]
    for job in ordered:
        widest = 0
        for option in job.options:
            alone = option.tasks == 1 and option.rest is None  # one task is in one domain wherever it is
            level, near = (0, 0) if alone else (option.level, option.near)
            shapes.append(shape(option.shape, level, near))
            tasks.append(option.tasks)
            rests.append(-1 if option.rest is None else shape(option.rest))
            limit = job.limit if option.limit is None else option.limit
            more.append((limit, level, near, option.price))
            widest = max(widest, option.tasks + (option.rest is not None))
        uses[shapes[first[-1]]] += 1
        first.append(len(shapes))
        room.append(room[-1] + widest)
    rows = table(JOB, len(ordered) + 1)
    inner = rows[:-1]
    for name in (
        "submit",
        "limit",
        "run",
        "tenant",
        "priority",
        "user",
        "preemptible",
        "checkpoint",
        "done",
        "predicted",
        "attained",
        "stops",
    ):
        inner[name] = [getattr(job, name) for job in ordered]
    inner.pool = [job.options[0].shape.pool for job in ordered]
    counted = any(shape.devices for shape, _, _ in known)
    rows.first, rows.room = first, room
    rows.state, rows.start, rows.end, rows.reserved, rows.gained = ABSENT, NEVER, NEVER, NEVER, NEVER
    ways = table(OPTION, len(shapes))
    ways.need, ways.tasks, ways.rest = shapes, tasks, rests
    ways.limit, ways.level, ways.near, ways.price = np.array(more, np.int64).reshape(-1, 4).T
    ways.width = [width(option, devices=counted) for job in ordered for option in job.options]
    inner.width, inner.prefer = ways.width[first[:-1]], first[:-1]
    inner.predicted = np.where(inner.predicted > 0, np.minimum(inner.predicted, inner.limit), inner.limit)
    shapes_asked = [shape for shape, _, _ in known]
    kinds, apart = _shapes(shapes_asked), [at for at, (_, level, near) in enumerate(known) if level or near]
    kinds.spot[apart] = range(len(apart))
    deepest = max((max(level, near) for _, level, near in known), default=0)
    placed = table(PLACE, room[-1])
    return Book([job.id for job in ordered], Jobs(rows, ways, placed), kinds, shapes_asked, uses, deepest, len(apart))


def _shapes(known: Sequence[Shape]) -> Any:
    rows = table(SHAPE, len(known))
    rows.spot = -1
    for name in ("pool", "devices", "milli", "cpu", "memory", "classes"):
        rows[name] = [getattr(shape, name) for shape in known]
    rows.bucket = [-1 if s.devices == 0 else 0 if s.milli < WHOLE else min(s.devices, 9) for s in known]
    rows.failed_in = rows.limited_in = rows.denied_in = -1
    return rows


def width(option: Option, *, devices: bool) -> int:
    """What an option holds: thousandths of a device, or of a core where nobody asks for devices."""
    parts = [option.shape] * option.tasks + ([option.rest] if option.rest else [])
    return sum(part.devices * part.milli if devices else part.cpu for part in parts)


@compiled
def pace(work: int, own: int, limit: int) -> int:
    """How long a part of a job takes in an option: a job of limit `own` that may take `limit` there does all of it in proportion."""
    return work if own == limit or own <= 0 or own >= NEVER or limit >= NEVER or work >= NEVER else -(-work * limit // own)


@compiled
def ends(row: Any, option: Any, now: int) -> int:
    """When a job that starts now in an option has ended at the latest, if what earlier attempts have kept need not be done again."""
    if option.limit >= NEVER:
        return NEVER
    return now + max(option.limit - (pace(row.done, row.limit, option.limit) if row.done > 0 else 0), 1)
