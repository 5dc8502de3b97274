"""Conservative backfilling against a plain account of it, and a round of Gavel against its definition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.compute.scheduler import reserve
from lilong.floors.compute.scheduler.backfill import lay_later
from lilong.floors.compute.scheduler.compiled import plainly
from lilong.floors.compute.scheduler.course import MOMENTS, foresee
from lilong.floors.compute.scheduler.cycle import look
from lilong.floors.compute.scheduler.jobs import FINISHED, NEVER, RUNNING, Job, Option, Shape, ends
from lilong.floors.compute.scheduler.policy import policies
from lilong.floors.compute.scheduler.rounds import LAST, LATER, PARTS, even_share, pairs_of, turn
from lilong.floors.compute.scheduler.simulation.run import Held, Run, opened, simulate
from lilong.floors.compute.scheduler.state import OPEN, WHOLE, Node
from lilong.floors.compute.scheduler.tenants import Tenant, tenants, totals

CONSERVATIVE = policies()["conservative"]
Case = tuple[list[Node], list[Job]]
Places = list[tuple[int, int]]


@pytest.fixture(autouse=True)
def _plainly() -> Iterator[None]:
    with plainly():  # little cases, and compiling takes longer than all of them
        yield


@st.composite
def crowds(draw: st.DrawFn) -> Case:
    """Of whole devices, on up to three nodes: jobs that nearly all end before they have to."""
    nodes = [Node(str(at), devices=draw(st.integers(1, 4))) for at in range(draw(st.integers(1, 3)))]
    most = max(node.devices for node in nodes)
    jobs = []
    for at in range(draw(st.integers(2, 14))):
        run = draw(st.integers(1, 30))
        way = Option(Shape(draw(st.integers(1, most))), draw(st.sampled_from([1, 1, 1, 2])))
        jobs.append(
            Job(
                str(at), (way,), draw(st.integers(0, 40)), run + draw(st.integers(0, 30)), run, priority=draw(st.sampled_from([0, 0, 0, 1]))
            )
        )
    return nodes, sorted(jobs, key=lambda job: job.submit)


@dataclass
class Account:
    """Who holds what of a cluster from when to when, by what was planned; each question is answered from nothing."""

    nodes: list[Node]
    jobs: list[Job]
    held: dict[int, tuple[int, int, Places]] = field(default_factory=dict)  # job -> from, to, places: of the running and the promised

    def places(self, job: int, at: int) -> Places | None:
        """Where the job could be from then on: each task on the node that is left the fewest devices; or None."""
        until, option = at + self.jobs[job].limit, self.jobs[job].options[0]
        free = [set(range(node.devices)) for node in self.nodes]
        for other, (start, end, places) in self.held.items():
            for node, devices in places if other != job and start < until and end > at else []:
                free[node] -= {d for d in range(4) if devices >> d & 1}
        found: Places = []
        for _ in range(option.tasks):
            able = [node for node in range(len(free)) if len(free[node]) >= option.shape.devices]
            if not able:
                return None
            node = min(able, key=lambda node: (len(free[node]), node))
            taken = sorted(free[node])[: option.shape.devices]
            free[node] -= set(taken)
            found.append((node, sum(1 << d for d in taken)))
        return found

    def earliest(self, job: int, now: int, before: int) -> tuple[int, Places] | None:
        for at in sorted({now, *(end for _, end, _ in self.held.values() if end > now)}):
            places = self.places(job, at) if at < before else None
            if places is not None:
                return at, places
        return None


def plainly_conservative(nodes: list[Node], jobs: list[Job], reservations: int) -> dict[int, tuple[int, Places]]:
    """Start and places of every job that ever starts."""
    book, waiting, running, found, coming = Account(nodes, jobs), list[int](), dict[int, int](), dict[int, tuple[int, Places]](), 0
    while True:
        promised = [book.held[job][0] for job in waiting if job in book.held]
        times = [*running.values(), *promised, *(job.submit for job in jobs[coming : coming + 1])]
        if not times:
            return found
        now = min(times)
        ended = [job for job, end in running.items() if end == now]
        for job in ended:
            del running[job], book.held[job]
        while coming < len(jobs) and jobs[coming].submit == now:
            if Account(nodes, jobs).places(coming, 0):
                waiting.append(coming)
            coming += 1
        waiting.sort(key=lambda job: (-jobs[job].priority, job))
        made = 0
        for job in waiting.copy():
            had = book.held.get(job)
            place = None
            if had is None:
                place = book.earliest(job, now, NEVER if made < reservations else now + 1)
            elif (ended or now in promised) and had[0] > now:
                place = book.earliest(job, now, had[0])
            if place is not None:
                book.held[job] = place[0], place[0] + jobs[job].limit, place[1]
            if job in book.held and book.held[job][0] == now:
                running[job], found[job] = now + jobs[job].run, (now, book.held[job][2])
                waiting.remove(job)
            else:
                made += job in book.held


def kept(run: Run) -> dict[int, tuple[int, Places]]:
    """Start and places of every job that has run."""
    found = {}
    for at, row in enumerate(run.book.jobs.job[:-1]):
        if row.state == FINISHED:
            places = run.book.jobs.place[row.room : row.room + row.placed]
            found[at] = int(row.start), list(zip(places.node.tolist(), places.devices.tolist(), strict=True))
    return found


@given(case=crowds(), reservations=st.sampled_from([1, 2, 100]))
@settings(max_examples=30, deadline=None)
def test_conservative_backfilling_is_what_thinking_everything_over_gives(case: Case, reservations: int) -> None:
    assert kept(simulate(*case, replace(CONSERVATIVE, reservations=reservations))) == plainly_conservative(*case, reservations)


def starts(jobs: list[Job], reservations: int = 100) -> dict[str, int]:
    """On one node with two devices."""
    run = simulate([Node("n", devices=2)], jobs, replace(CONSERVATIVE, reservations=reservations))
    return dict(zip(run.book.names, run.book.jobs.job.start.tolist(), strict=False))


def test_what_a_promise_leaves_that_moves_forward_is_there_for_the_next() -> None:
    """`wide` was to begin at 20 and end at 1020, and begins at 10: `next` moves with it, far behind what was given back."""
    both = (Option(Shape(2)),)
    jobs = [Job("runs", both, 0, 20, 10), Job("wide", both, 1, 1000, 1000), Job("next", both, 2, 50, 50)]
    assert starts(jobs) == {"runs": 0, "wide": 10, "next": 1010}


def test_of_equal_jobs_behind_those_start_that_are_short_enough() -> None:
    one, both = (Option(Shape(1)),), (Option(Shape(2)),)
    lengths = {f"for {limit}": limit for limit in (100, 60, 50)}
    jobs = [
        Job("runs", one, 0, 50, 50),
        Job("wide", both, 0, 10, 10),
        *(Job(name, one, 0, limit, limit) for name, limit in lengths.items()),
    ]
    assert starts(jobs, reservations=1) == {"runs": 0, "wide": 50, "for 100": 60, "for 60": 60, "for 50": 0}


@st.composite
def mixtures(draw: st.DrawFn) -> Case:
    """Fractions, cores, unequal gangs, racks, maintenance, several ways."""
    nodes = [
        Node(str(at), 0, draw(st.integers(0, 1)), draw(st.integers(0, 3)), draw(st.integers(2, 8)) * 1000, 400, (0, draw(st.integers(0, 1))),
             draw(st.sampled_from([OPEN, OPEN, 90])))
        for at in range(draw(st.integers(2, 4)))
    ]  # fmt: skip
    shapes = st.sampled_from(
        [Shape(1), Shape(2, cpu=1000), Shape(1, 400), Shape(1, 700, 500), Shape(0, cpu=2000, memory=100), Shape(3, classes=1)]
    )
    rests = st.one_of(st.none(), shapes)
    ways = st.builds(Option, shapes, st.integers(1, 3), rests, level=st.sampled_from([0, 0, 2]), near=st.sampled_from([0, 2]))
    jobs = []
    for at in range(draw(st.integers(4, 14))):
        run = draw(st.integers(1, 30))
        options = tuple(draw(st.lists(ways, min_size=1, max_size=2)))
        jobs.append(Job(str(at), options, draw(st.integers(0, 40)), run + draw(st.integers(0, 20)), run, draw(st.integers(0, 2))))
    return nodes, jobs


@given(case=mixtures(), quota=st.booleans(), reservations=st.sampled_from([2, 100]))
@settings(max_examples=15, deadline=None)
def test_what_is_passed_over_as_hopeless_would_have_been_in_vain(case: Case, quota: bool, reservations: int) -> None:
    """Every moment is tried node by node, every promise is thought over at every turn; nothing else comes of it."""

    def every_moment(s: Any, h: Any, b: Any, c: Any, job: int, at: int, before: int, kinds: int) -> int:
        for time in [int(time) for time in c.time[: c.size[MOMENTS]] if time < before]:
            until = ends(b.job[job], b.option[at], time)
            foresee(s, h, b, c, b.job[job].pool, time, until, job)
            if lay_later(s, h, b, job, at, until, kinds):
                return time
        return NEVER

    def always(s: Any, h: Any, b: Any, q: Any, T: Any, c: Any, job: int, now: int, before: int) -> int:
        had = int(b.job[job].reserved)
        found = earliest(s, h, b, q, T, c, job, now, had if had < NEVER else before)
        b.job[job].gained = NEVER
        return found

    tree = [Tenant("city"), Tenant("a", 0, (2000, None, 3000)), Tenant("b", 0)]
    who = tenants(tree, 2, totals(case[0], 2), reclaim=20) if quota else None
    earliest, found = reserve.earliest, []
    for shortcut in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not shortcut:
                patch.setattr(reserve, "first_place", every_moment)
                patch.setattr(reserve, "earliest", always)
                patch.setattr(
                    reserve,
                    "fits_beside_all",
                    lambda s, h, b, q, T, c, job, now: always(s, h, b, q, T, c, job, now, now + 1) < NEVER,
                )
            found.append(kept(simulate(*case, replace(CONSERVATIVE, reservations=reservations), tenants=who)))
    assert found[0] == found[1]


def test_a_job_that_began_later_than_promised_does_not_push_others_off_their_places() -> None:
    """The clock goes by in steps, so that `late` begins at 25 and not at 20, and holds until 45 what `next` was promised from 40 on."""
    nodes = [Node("n", devices=2)]
    held = [
        Held(Job("late", (Option(Shape(2)),), 0, 20), 20, 0, ((0, 3),)),
        Held(Job("next", (Option(Shape(2)),), 0, 20), 40, 0, ((0, 3),)),
    ]
    s, queue = opened(nodes, [], CONSERVATIVE, 0, held, 10)
    rows, q = queue.book.jobs.job, queue.lines
    look(s, queue.book.shapes, queue.book.jobs, q, queue.usual, queue.tenants, CONSERVATIVE.rules(), 0, 25)
    assert [int(rows.start[0]), int(rows.end[0]), int(rows.reserved[1])] == [25, 45, 40]
    q.cycles[2] += 1
    look(s, queue.book.shapes, queue.book.jobs, q, queue.usual, queue.tenants, CONSERVATIVE.rules(), 0, 40)
    assert int(rows.reserved[1]) == 45


@given(
    widths=st.lists(st.sampled_from([0, 400, 1000, 2000, 4000, 8000]), min_size=1, max_size=30),
    capacity=st.integers(0, 40).map(lambda n: n * 1000),
)
def test_an_even_share_fills_from_the_narrowest_on(widths: list[int], capacity: int) -> None:
    left, level = float(capacity), 0.0
    for at, width in enumerate(sorted(widths)):
        level = left / (len(widths) - at)
        if width >= level:
            break
        left, level = left - width, width
    expected = [round(min(width, level) / max(width, 1) * PARTS) for width in widths]
    assert even_share(np.array(widths), capacity).tolist() == expected


@st.composite
def rounds(draw: st.DrawFn) -> tuple[list[Node], list[Held], list[Job], int]:
    nodes = [Node(str(at), kind=draw(st.integers(0, 1)), devices=2) for at in range(3)]
    kinds = sorted({node.kind for node in sorted(nodes, key=lambda node: node.kind)})
    ways = st.builds(Option, st.builds(Shape, st.integers(1, 2), classes=st.sampled_from([-1, 1 << kinds[0]])), st.integers(1, 2), limit=st.sampled_from([None, 50]))  # fmt: skip
    options = st.lists(ways, min_size=1, max_size=2).map(tuple)
    jobs = [
        Job(
            f"w{at}",
            draw(options),
            draw(st.integers(0, 90)),
            100,
            100,
            priority=draw(st.integers(0, 1)),
            attained=draw(st.sampled_from([0, 0, 5000])),
        )
        for at in range(draw(st.integers(1, 20)))
    ]
    runs = [
        Held(Job(f"r{at}", (Option(Shape(1)),), draw(st.integers(0, 20)), 100), draw(st.integers(30, 90)), 0, ((at, 1),)) for at in range(3)
    ]
    return nodes, runs, jobs, draw(st.integers(0, 1 << 30))


@given(case=rounds())
@settings(max_examples=60, deadline=None)
def test_a_round_puts_those_first_who_got_least_of_what_they_should_have(case: tuple[list[Node], list[Held], list[Job], int]) -> None:
    nodes, runs, jobs, seed = case
    s, queue = opened(nodes, jobs, policies()["gavel"], 0, runs, 100)
    b, q = queue.book.jobs, queue.lines
    rows, p = b.job, pairs_of(s, queue.book.shapes, b, q, 0, True)
    share = np.random.default_rng(seed).choice([0, PARTS // 3, PARTS], p.job.size)
    had = (
        rows.attained[p.active] + np.where(rows.state[p.active] == RUNNING, (100 - rows.start[p.active]) * rows.width[p.active], 0)
    ) // rows.width[p.active]
    due = share * np.maximum(100 - rows.submit[p.active], 1)[p.job] // (had[p.job] + 1)
    rank = np.lexsort((p.job, -share, -due)).tolist()
    left, chosen = p.capacity.copy(), dict[int, int]()
    for k in rank:
        job, width = int(p.active[p.job[k]]), b.option.width[p.option[k]]
        if job not in chosen and share[k] and width <= left[p.kind[k]]:
            chosen[job] = int(p.option[k])
            left[p.kind[k]] -= width
    keys = dict.fromkeys(p.active.tolist(), LAST)
    for at, k in reversed(list(enumerate(rank))):
        keys[int(p.active[p.job[k]])] = LATER + at
    keys |= {job: at for at, job in enumerate(chosen)}
    turn(s, queue.book.shapes, b, q, queue.tenants, policies()["gavel"].rules(), 0, 100, p, share)
    line = q.waiting[: q.waits[0]].tolist()
    assert {job: int(rows.key[job]) for job in keys} == keys
    assert {job: int(rows.prefer[job]) for job in chosen} == chosen
    assert line == sorted(line, key=lambda job: (-rows.priority[job], keys[job], job))
    assert s.free.sum() == WHOLE * (6 - len(runs))
