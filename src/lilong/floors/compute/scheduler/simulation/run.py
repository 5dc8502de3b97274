"""A trace under a policy, from the first job to the last."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lilong.floors.compute.scheduler.admit import refuse_impossible
from lilong.floors.compute.scheduler.decide import Queue
from lilong.floors.compute.scheduler.fragmentation import typical
from lilong.floors.compute.scheduler.jobs import NEVER, Book, Job, book, width
from lilong.floors.compute.scheduler.order import queues
from lilong.floors.compute.scheduler.policy import SHORTEST, Policy
from lilong.floors.compute.scheduler.simulation.loop import clock, play
from lilong.floors.compute.scheduler.state import WHOLE, Node, Site, site

STEPS = 20_000  # moments of the clock between two words to the caller


@dataclass(frozen=True, slots=True)
class Run:
    """`nodes` in the order of the placements' numbers."""

    book: Book
    nodes: list[Node]


def opened(nodes: Sequence[Node], jobs: Sequence[Job], policy: Policy, seed: int) -> tuple[Site, Queue]:
    """The cluster before the first job, and the jobs with the impossible ones refused."""
    made = book(jobs)
    usual = typical(made.asked, made.uses)
    empty = site(nodes, len(made.asked), memo=policy.place == "fgd", mixes=policy.place in ("clustering", "packing"), seed=seed)
    if policy.order == SHORTEST:
        made.jobs.job.key = made.jobs.job.limit
    refuse_impossible(empty, made.shapes, made.jobs, usual, np.zeros(len(made.asked), np.int64))
    return empty, Queue(made, queues(made.jobs, empty.bounds.size - 1), usual)


def simulate(
    nodes: Sequence[Node], jobs: Sequence[Job], policy: Policy, seed: int = 0, tell: Callable[[int, int], None] | None = None
) -> Run:
    """`tell` hears now and then how many jobs came, of how many."""
    s, queue = opened(nodes, jobs, policy, seed)
    c = clock(len(jobs), s.bounds.size - 1)
    while play(s, queue.book.shapes, queue.book.jobs, queue.lines, queue.usual, policy.rules(), c, STEPS):
        if tell:
            tell(int(c.at[1]), len(jobs))
    return Run(queue.book, sorted(nodes, key=lambda node: node.pool))


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
