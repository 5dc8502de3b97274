"""What waits: jobs as arrays. A job is a gang that may be laid out in one of several ways, all or nothing.

A *shape* is what one task needs of one node: whole devices or a fraction of one, cores, memory, the accelerator classes that will do.
An *option* is one way to lay a job out: so many tasks of a shape, and perhaps one smaller task after them. Options are tried in
their order, which is how "8 of class A or 16 of class B" and gangs of min..max tasks are said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    options: tuple[Option, ...]
    submit: int  # in ticks, as all times
    limit: int  # the longest that it may run; what is planned with
    run: int = NEVER  # how long it will really run: only a simulation knows
    tenant: int = 0
    priority: int = 0


SHAPE = (
    "pool", "devices", "milli", "cpu", "memory", "classes",
    "bucket",  # kind of task for the clustering score; -1 without a device
    "failed_in", "failed_tasks",  # the cycle in which it was last found not to fit, and with how many tasks
    "limited_in", "limited_tasks",  # the same beside a reservation
)  # fmt: skip
JOB = (
    "submit", "limit", "run", "tenant", "priority", "pool",
    "width",  # thousandths of device that it holds; of core, where nobody asks for devices
    "first",  # its first option; one more row ends the last job's
    "room",  # its first row among the placements
    "placed",  # how many placements it holds
    "state",
    "key",  # what its order follows, smaller first
    "start", "end",  # the end is the planned one while it runs, the true one when it has ended
    "reserved",  # start promised to it in the last cycle, or NEVER
)  # fmt: skip
OPTION = ("need", "tasks", "rest")  # need: a shape; rest: that of the smaller task, or -1
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


def book(asked: Sequence[Job]) -> Book:
    ordered = sorted(asked, key=lambda job: job.submit)  # stable: equal times keep the order given
    known: dict[Shape, int] = {}
    uses: list[int] = []

    def shape(one: Shape) -> int:
        if one not in known:
            known[one] = len(uses)
            uses.append(0)
        return known[one]

    first, shapes, tasks, rests, room = [0], [], [], [], [0]
    for job in ordered:
        widest = 0
        for option in job.options:
            shapes.append(shape(option.shape))
            tasks.append(option.tasks)
            rests.append(-1 if option.rest is None else shape(option.rest))
            widest = max(widest, option.tasks + (option.rest is not None))
        uses[shapes[first[-1]]] += 1
        first.append(len(shapes))
        room.append(room[-1] + widest)
    rows = table(JOB, len(ordered) + 1)
    inner = rows[:-1]
    for name in ("submit", "limit", "run", "tenant", "priority"):
        inner[name] = [getattr(job, name) for job in ordered]
    inner.pool = [job.options[0].shape.pool for job in ordered]
    counted = any(shape.devices for shape in known)
    inner.width = [width(job.options[0], devices=counted) for job in ordered]
    rows.first, rows.room = first, room
    rows.state, rows.start, rows.end, rows.reserved = ABSENT, NEVER, NEVER, NEVER
    ways = table(OPTION, len(shapes))
    ways.need, ways.tasks, ways.rest = shapes, tasks, rests
    return Book([job.id for job in ordered], Jobs(rows, ways, table(PLACE, room[-1])), _shapes(list(known)), list(known), uses)


def _shapes(known: Sequence[Shape]) -> Any:
    rows = table(SHAPE, len(known))
    for name in ("pool", "devices", "milli", "cpu", "memory", "classes"):
        rows[name] = [getattr(shape, name) for shape in known]
    rows.bucket = [-1 if s.devices == 0 else 0 if s.milli < WHOLE else min(s.devices, 9) for s in known]
    rows.failed_in = rows.limited_in = -1
    return rows


def width(option: Option, *, devices: bool) -> int:
    """What an option holds: thousandths of a device, or of a core where nobody asks for devices."""
    parts = [option.shape] * option.tasks + ([option.rest] if option.rest else [])
    return sum(part.devices * part.milli if devices else part.cpu for part in parts)
