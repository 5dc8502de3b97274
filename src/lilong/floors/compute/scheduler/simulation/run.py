"""A trace under a policy, from the first job to the last."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lilong.floors.compute.scheduler.admit import refuse_impossible
from lilong.floors.compute.scheduler.decide import Queue, copy_into
from lilong.floors.compute.scheduler.fragmentation import typical
from lilong.floors.compute.scheduler.gavel import UNRANKED, Rounds
from lilong.floors.compute.scheduler.jobs import ABSENT, FINISHED, NEVER, RUNNING, WAITING, Book, Job, book, width
from lilong.floors.compute.scheduler.order import queues
from lilong.floors.compute.scheduler.policy import Policy
from lilong.floors.compute.scheduler.simulation.loop import Clock, clock, play, take_note
from lilong.floors.compute.scheduler.start import fill
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Node, Site, copied, ordered, site
from lilong.floors.compute.scheduler.tenants import Tenant, Tenants, totals
from lilong.floors.compute.scheduler.tenants import tenants as make_tenants

STEPS = 20_000  # moments of the clock between two words to the caller


@dataclass(frozen=True, slots=True)
class Run:
    """`nodes` in the order of the placements' numbers."""

    book: Book
    nodes: list[Node]


@dataclass(frozen=True, slots=True)
class Held:
    """A job that runs: since when, in which of its options, and where: for each task in turn the node and its devices as a bit set.

    A node's number is its place among all nodes as `state.ordered` has them, as in a plan's starts.
    """

    job: Job
    start: int
    option: int
    places: tuple[tuple[int, int], ...]


def opened(
    nodes: Sequence[Node],
    jobs: Sequence[Job],
    policy: Policy,
    seed: int,
    held: Sequence[Held] = (),
    now: int | None = None,
    tenants: Tenants | None = None,
) -> tuple[Site, Queue]:
    """The cluster at a moment: `held` run, those of `jobs` that were submitted by `now` wait, the impossible ones are refused.

    Without `now` nobody has come yet. The book has all jobs in the order of submission; of equal times the held ones are first.
    Without `tenants` nobody has a quota, and those that the jobs name are all alike. Raises ValueError if a held job's places are not
    those of its option, or a job is of no tenant.
    """
    made = book([*(one.job for one in held), *jobs])
    usual = typical(made.asked, made.uses)
    memo, mixes = "fgd" in (policy.place, policy.fractions), policy.place in ("clustering", "packing")
    empty = site(nodes, len(made.asked), memo=memo, mixes=mixes, seed=seed, levels=made.levels, together=made.together)
    rows = made.jobs.job
    rows.key = _keys(rows, policy.order)
    refuse_impossible(empty, made.shapes, made.jobs, usual, np.zeros(len(made.asked), np.int64))
    lines, who = queues(made.jobs, empty.bounds.size - 1), _alike(nodes, rows, policy)
    if tenants is not None:
        who = Tenants(*(part.copy() for part in tenants))
    if (tenants is not None or policy.order == "fair") and rows.tenant.max(initial=0) >= who.tenant.size:
        raise ValueError(f"a job is of tenant {rows.tenant.max()}, and there are {who.tenant.size}")
    running = _hold(made, held, now or 0)
    come = np.flatnonzero((rows.submit[:-1] <= now) & np.isin(rows.state[:-1], (ABSENT, WAITING))) if now is not None else running[:0]
    if running.size or come.size:
        fill(empty, made.shapes, made.jobs, lines, who, running, come, policy.backfill == "easy-sjbf", now or 0)
    return empty, Queue(made, lines, usual, who)


def _keys(rows: Any, order: str) -> Any:
    keys = {"shortest": rows.limit, "predicted": rows.predicted * rows.width, "remaining": rows.limit - rows.done, "attained": rows.submit}
    return keys.get(order, UNRANKED if order == "rounds" else 0)


def _alike(nodes: Sequence[Node], rows: Any, policy: Policy) -> Tenants:
    """Under one root, if it matters who they are."""
    names = range(1 + int(rows.tenant.max(initial=0))) if policy.order == "fair" else ()
    kinds = 1 + max((node.kind for node in nodes), default=0)
    tree = [*(Tenant(str(name), len(names)) for name in names), Tenant("all")]
    return make_tenants(tree, kinds, totals(nodes, kinds))


def _hold(made: Book, held: Sequence[Held], now: int) -> Ints:
    """Give the held jobs their places, those that start later as a promise; the numbers of those that run."""
    rows, option = made.jobs.job, made.jobs.option
    number = {name: at for at, name in enumerate(made.names)} if held else {}
    jobs = np.array([number[one.job.id] for one in held], np.int64)
    ways = rows.first[jobs] + np.array([one.option for one in held], np.int64)
    tasks, need, rest, room = (part.tolist() for part in (option.tasks[ways], option.need[ways], option.rest[ways], rows.room[jobs]))
    places: list[tuple[int, int, int, int]] = []
    for at, one in enumerate(held):
        needs = [need[at]] * tasks[at] + ([rest[at]] if rest[at] >= 0 else [])
        if len(needs) != len(one.places):
            raise ValueError(f"job {one.job.id} holds {len(one.places)} places, and its option has {len(needs)} tasks")
        places += [(room[at] + k, node, what, devices) for k, (what, (node, devices)) in enumerate(zip(needs, one.places, strict=True))]
    where, node, what, devices = np.array(places, np.int64).reshape(-1, 4).T
    made.jobs.place.node[where], made.jobs.place.need[where], made.jobs.place.devices[where] = node, what, devices
    rows.placed[jobs], rows.option[jobs], rows.width[jobs] = [len(one.places) for one in held], ways, option.width[ways]
    start = np.array([one.start for one in held], np.int64)
    runs, later = jobs[start <= now], jobs[start > now]
    rows.state[runs], rows.start[runs] = RUNNING, start[start <= now]
    rows.state[later], rows.reserved[later] = WAITING, start[start > now]
    return np.sort(runs)


def simulate(
    nodes: Sequence[Node],
    jobs: Sequence[Job],
    policy: Policy,
    seed: int = 0,
    tell: Callable[[int, int], None] | None = None,
    held: Sequence[Held] = (),
    now: int | None = None,
    tenants: Tenants | None = None,
) -> Run:
    """From the first job to the last; with `now`, from that moment on (see `opened`). `tell` hears now and then how many jobs came, of
    how many. Raises SolverMissing, where the policy needs a solver that is not installed.
    """
    s, queue = opened(nodes, jobs, policy, seed, held, now, tenants)
    c = begun(s, queue, policy, now)
    if policy.round:
        in_rounds(s, queue, policy, c, tell)
    else:
        while played(s, queue, policy, c):
            if tell:
                tell(int(c.at[1]), len(jobs))
    return Run(queue.book, ordered(nodes))


def begun(s: Site, queue: Queue, policy: Policy, now: int | None) -> Clock:
    """The clock of a state: what runs will end, and if somebody waits, all is looked at in the first moment."""
    rows, q = queue.book.jobs.job[:-1], queue.lines
    c = clock(rows.size, s.bounds.size - 1, 1 + int(rows.user.max(initial=0)), -1 if now is None else now)
    if now is not None:
        c.at[1] = np.searchsorted(rows.submit, now, side="right")
        q.fresh[: int((rows.state == RUNNING).sum())] = np.flatnonzero(rows.state == RUNNING)
        q.cycles[1] = (rows.state == RUNNING).sum()
        take_note(queue.book.jobs, q, c)
        q.wake[:] = now
    return c


def played(s: Site, queue: Queue, policy: Policy, c: Clock, steps: int = STEPS, until: int = NEVER, grain: int = 1) -> bool:
    b = queue.book
    return play(s, b.shapes, b.jobs, queue.lines, queue.usual, queue.tenants, policy.rules(), c, steps, until, grain)


def in_rounds(s: Site, queue: Queue, policy: Policy, c: Clock, tell: Callable[[int, int], None] | None = None, last: int = NEVER) -> None:
    """All of a trace under a policy that thinks its order over in rounds; or up to the tick `last`."""
    rounds, b, q, many = Rounds(), queue.book.jobs, queue.lines, len(queue.book.names)
    until = max(int(b.job.submit[0]) if many else 0, int(c.at[0])) + policy.round
    while until <= last and played(s, queue, policy, c, steps=1 << 40, until=until):
        goes_on = c.at[1] < many or c.at[2] > 0  # or else whoever waits now waits for ever
        c.at[0] = until
        rounds.turn(s, queue, policy.rules(), until)
        if q.cycles[3]:
            take_note(b, q, c)
        if goes_on:
            q.wake[q.waits > 0] = until
        until += policy.round
        if tell:
            tell(int(c.at[1]), many)


def forward(
    state: Site, queue: Queue, policy: Policy, now: int, runs: Ints, grains: Sequence[tuple[int, int]] = ((NEVER, 1),)
) -> npt.NDArray[np.int64]:
    """When each job starts if jobs run as long as each row of `runs` (runs × jobs of the book, in ticks) says; NEVER where it does not by
    then. Running jobs have their own start. `grains`: up to when, and how many ticks together are taken as one moment until then: quicker
    and less exact, if it is more than 1.
    """
    found = np.full((runs.shape[0], len(queue.book.names)), NEVER, np.int64)
    s, mine = copied(state), queue.copied()
    rows = mine.book.jobs.job[:-1]
    for at in range(runs.shape[0]):
        if at > 0:
            copy_into((s, mine), state, queue)
        rows.run = runs[at]
        c = begun(s, mine, policy, now)
        if policy.round:
            in_rounds(s, mine, policy, c, last=grains[-1][0])
        else:
            for until, grain in grains:
                played(s, mine, policy, c, steps=1 << 40, until=until, grain=grain)
                if c.at[1] >= rows.size and not mine.lines.waits.any():
                    break  # all have started
        come = (rows.state == RUNNING) | (rows.state == FINISHED)
        found[at, come] = rows.start[come]
    return found


def arriving(nodes: Sequence[Node], jobs: Sequence[Job], ratio: float, seed: int) -> tuple[list[Node], list[Job]]:
    """The FGD paper's protocol (ATC'23, §6.2): the trace's tasks in random order, one after another, none ever ending, filled up with
    tasks drawn from it (or thinned) until they ask for `ratio` of the devices there are. Ties between nodes are broken at random too.
    """
    chance = random.Random(seed)  # noqa: S311
    capacity = ratio * WHOLE * sum(node.devices for node in nodes)
    chosen, shuffled = list(jobs), list(nodes)
    sizes = {job.id: width(job.options[0], devices=True) for job in jobs}
    total = sum(sizes.values())
    chance.shuffle(chosen)
    while total > capacity:
        total -= sizes[chosen.pop().id]
    while total < capacity and total > 0:
        more = chance.choice(jobs)
        if total + sizes[more.id] > capacity:
            break
        total += sizes[more.id]
        chosen.append(more)
    chance.shuffle(shuffled)
    return shuffled, [replace(job, submit=at, run=NEVER, limit=NEVER) for at, job in enumerate(chosen)]
