"""What holds of every schedule, whatever the jobs and the policy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.compute.scheduler import cycle
from lilong.floors.compute.scheduler.compiled import plainly, quick
from lilong.floors.compute.scheduler.cycle import look
from lilong.floors.compute.scheduler.decide import Plan, Queue, Reason, decide
from lilong.floors.compute.scheduler.jobs import FINISHED, NEVER, REFUSED, RUNNING, WAITING, Job, Option, Shape
from lilong.floors.compute.scheduler.order import enqueue
from lilong.floors.compute.scheduler.policy import policies
from lilong.floors.compute.scheduler.simulation.run import Run, opened, simulate
from lilong.floors.compute.scheduler.start import release
from lilong.floors.compute.scheduler.state import OPEN, WHOLE, Node, Site, site
from lilong.floors.compute.scheduler.tenants import Tenant, Tenants, age, tenants, totals

NAMES = sorted(policies())
PATIENT = [name for name in NAMES if policies()[name].preempts == "nobody" and not policies()[name].round]
EASY = policies()["easy"]
Case = tuple[list[Node], list[Job]]


@st.composite
def shapes(draw: st.DrawFn, pool: int) -> Shape:
    devices = draw(st.integers(0, 4))
    milli = draw(st.sampled_from([WHOLE, 500, 300])) if devices == 1 else WHOLE
    return Shape(devices, milli, draw(st.integers(0, 4)) * 1000, draw(st.integers(0, 3)) * 100, draw(st.sampled_from([-1, -1, 1, 2])), pool)


@st.composite
def clusters(draw: st.DrawFn, *, closing: bool = True) -> Case:
    """Up to six nodes in two pools and racks, some of which close, and up to twenty-five jobs of three tenants."""
    nodes = [
        Node(
            f"n{at}",
            draw(st.integers(0, 1)),
            draw(st.integers(0, 1)),
            draw(st.integers(0, 4)),
            draw(st.integers(1, 8)) * 1000,
            draw(st.integers(1, 8)) * 100,
            (0, draw(st.integers(0, 1))),
            draw(st.sampled_from([OPEN, OPEN, OPEN, 80])) if closing else OPEN,
        )
        for at in range(draw(st.integers(1, 6)))
    ]
    jobs = []
    for at in range(draw(st.integers(1, 25))):
        pool = draw(st.integers(0, 1))
        options = tuple(
            Option(
                draw(shapes(pool)),
                draw(st.integers(1, 3)),
                draw(shapes(pool)) if draw(st.booleans()) else None,
                level=draw(st.sampled_from([0, 0, 0, 1, 2])),
                near=draw(st.sampled_from([0, 2])),
            )
            for _ in range(draw(st.integers(1, 2)))
        )
        run = draw(st.integers(1, 40))
        limit = run + draw(st.integers(0, 30))
        jobs.append(Job(str(at), options, draw(st.integers(0, 60)), limit, run, draw(st.integers(0, 2)), draw(st.integers(0, 1))))
    return nodes, jobs


def placements(run: Run, job: int) -> list[tuple[int, int, int]]:
    row = run.book.jobs.job[job]
    return [(int(p.node), int(p.need), int(p.devices)) for p in run.book.jobs.place[row.room : row.room + row.placed]]


def plain(nodes: list[Node], jobs: list[Job], name: str, tree: Tenants | None = None) -> Run:
    with plainly():  # little cases, and compiling takes longer than all of them
        return simulate(nodes, jobs, policies()[name], seed=3, tenants=tree)


@given(name=st.sampled_from(PATIENT), case=clusters())
@settings(max_examples=60, deadline=None)
def test_no_device_core_or_memory_is_given_twice(name: str, case: Case) -> None:
    run = plain(*case, name)
    jobs = run.book.jobs.job[:-1]
    moments = sorted({int(at) for at in jobs.start[jobs.state == FINISHED]})
    for now in moments:
        held: dict[tuple[int, str], int] = defaultdict(int)
        for job in np.flatnonzero((jobs.state == FINISHED) & (jobs.start <= now) & (jobs.end > now)):
            for node, need, devices in placements(run, int(job)):
                shape = run.book.asked[need]
                assert devices.bit_count() == shape.devices
                assert shape.devices == 0 or (shape.classes >> run.nodes[node].kind) & 1
                assert run.nodes[node].pool == shape.pool
                held[node, "cpu"] += shape.cpu
                held[node, "memory"] += shape.memory
                for d in range(devices.bit_length()):
                    if devices >> d & 1:
                        held[node, str(d)] += shape.milli
        for (node, part), amount in held.items():
            has = (
                run.nodes[node].cpu
                if part == "cpu"
                else run.nodes[node].memory
                if part == "memory"
                else WHOLE
                if int(part) < run.nodes[node].devices
                else 0
            )
            assert amount <= has


@given(name=st.sampled_from(PATIENT), case=clusters(closing=False))
@settings(max_examples=60, deadline=None)
def test_a_gang_gets_all_its_tasks_or_waits_and_everybody_ends_or_was_refused(name: str, case: Case) -> None:
    run = plain(*case, name)
    asked = {job.id: job for job in case[1]}
    for at, id in enumerate(run.book.names):
        row = run.book.jobs.job[at]
        got = [run.book.asked[need] for _, need, _ in placements(run, at)]
        ways = [[option.shape] * option.tasks + ([option.rest] if option.rest else []) for option in asked[id].options]
        assert (row.state == FINISHED and got in ways and row.end == row.start + asked[id].run) or (row.state == REFUSED and got == [])


@given(name=st.sampled_from(PATIENT), case=clusters())
@settings(max_examples=60, deadline=None)
def test_a_gang_stays_in_its_domain_and_nothing_runs_into_a_maintenance(name: str, case: Case) -> None:
    run = plain(*case, name)
    asked = {job.id: job for job in case[1]}
    for at, id in enumerate(run.book.names):
        row = run.book.jobs.job[at]
        if row.state != FINISHED:
            continue
        nodes = [run.nodes[node] for node, _, _ in placements(run, at)]
        level = asked[id].options[row.option - row.first].level
        assert len({node.domains[:level] for node in nodes}) == 1
        assert row.start + asked[id].limit <= min(node.closes for node in nodes)


TREE = [Tenant("city"), Tenant("a", 0, (2000, 1000, 3000), (1000, None, 0)), Tenant("b", 0, (2000, None, 3000), (None,), (0,))]


@given(name=st.sampled_from(PATIENT), case=clusters())
@settings(max_examples=60, deadline=None)
def test_no_tenant_ever_holds_more_than_its_quota_and_what_it_may_borrow(name: str, case: Case) -> None:
    run = plain(*case, name, tenants(TREE, 2, totals(case[0], 2), reclaim=20))
    rows = run.book.jobs.job[:-1]
    limits = {job.id: job.limit for job in case[1]}
    for now in sorted({int(row.start) for row in rows if row.state == FINISHED}):
        held, lasting = np.zeros((3, 3), np.int64), np.zeros((3, 3), np.int64)
        for job in np.flatnonzero((rows.state == FINISHED) & (rows.start <= now) & (rows.end > now)):
            for node, need, _ in placements(run, int(job)):
                shape = run.book.asked[need]
                of = rows[job].tenant, run.nodes[node].kind if shape.devices else 2
                amount = shape.devices * shape.milli if shape.devices else shape.cpu
                held[of] += amount
                lasting[of] += amount if limits[run.book.names[job]] > 20 else 0
        for at, tenant in enumerate(TREE[1:], 1):
            for k, (nominal, borrow) in enumerate(zip_longest(tenant.nominal, tenant.borrow)):
                assert nominal is None or borrow is None or held[at, k] <= nominal + borrow
                assert nominal is None or lasting[at, k] <= nominal
        there = totals(case[0], 2)
        assert held[1, 0] <= max(there[0] - 2000, 0)  # b lends none of its devices of the first class


@given(case=clusters())
@settings(max_examples=30, deadline=None)
def test_fair_share_lets_everybody_run_in_the_end(case: Case) -> None:
    nodes = [replace(node, closes=OPEN) for node in case[0]]
    run = plain(nodes, case[1], "drf-tree")
    assert set(run.book.jobs.job.state[:-1].tolist()) <= {FINISHED, REFUSED}


def stepped(nodes: list[Node], jobs: list[Job], name: str, tree: Tenants | None = None) -> Iterator[tuple[Site, Queue, int]]:
    """Every moment at which jobs come or end, with the state as it is before anything starts."""
    policy = policies()[name]
    s, queue = opened(nodes, jobs, policy, seed=5, tenants=tree)
    b, q, T, h = queue.book.jobs, queue.lines, queue.tenants, queue.book.shapes
    coming, running = 0, list[int]()
    while True:
        times = [int(b.job.submit[coming])] if coming < len(jobs) else []
        times += [int(b.job.start[job] + b.job.run[job]) for job in running]
        times += [int(wake) for wake in q.wake if wake < NEVER]
        if not times:
            return
        now = min(times)
        if T.tenant.size > 1:
            age(T, now)
        for job in [job for job in running if b.job.start[job] + b.job.run[job] == now]:
            release(s, h, b, q, T, job)
            b.job.state[job], b.job.end[job] = FINISHED, now
            running.remove(job)
        while coming < len(jobs) and b.job.submit[coming] == now:
            if b.job.state[coming] != REFUSED:
                enqueue(q, b, coming, policy.backfill == "easy-sjbf")
            coming += 1
        for pool in np.flatnonzero(q.wake <= now).tolist():
            q.wake[pool] = NEVER
            q.cycles[2] += 1
        yield s, queue, now
        for pool in range(s.bounds.size - 1):
            look(s, h, b, q, queue.usual, T, policy.rules(), pool, now)
        running += [int(job) for job in q.fresh[: q.cycles[1]]]
        q.cycles[1] = q.cycles[3] = 0


@given(case=clusters())
@settings(max_examples=30, deadline=None)
def test_under_easy_the_first_never_starts_later_than_it_was_promised(case: Case) -> None:
    # jobs of one priority: one that comes later and matters more may rightly go first
    jobs = [replace(job, priority=0) for job in case[1]]
    promised: dict[int, int] = {}
    book = None
    with plainly():
        for s, queue, now in stepped(case[0], jobs, "easy"):
            book = queue.book
            for job, at in decide(s, queue, EASY, now, 0).reservations.items():
                promised.setdefault(job, at)
    if book is not None:
        for job, at in promised.items():
            assert book.jobs.job.start[job] <= at


def stream(wide: Job, narrow: Job, every: int = 700) -> list[Job]:
    """Two that run, a wide one that waits, and narrow ones that always come before enough is free for it."""
    runs = [replace(narrow, id=name, submit=0, limit=limit, run=limit, tenant=wide.tenant) for name, limit in (("s1", 1000), ("s2", 2000))]
    return [*runs, replace(wide, submit=10), *(replace(narrow, id=f"n{at}", submit=20 + every * at) for at in range(40))]


def start_of(run: Run, id: str) -> int:
    return int(run.book.jobs.job.start[run.book.names.index(id)])


RESERVING = ["easy", "easy-sjbf", "easy-4", "conservative", "drf-tree", "fifo"]


@pytest.mark.parametrize("name", RESERVING)
def test_a_quota_of_one_class_changes_nothing_for_another(name: str) -> None:
    nodes = [Node("a", devices=8), Node("b", devices=8), Node("c", kind=1, devices=8)]
    wide = Job("wide", (Option(Shape(8, classes=1), 2),), 0, 3000, 3000, 1)
    jobs = stream(wide, Job("n", (Option(Shape(8, classes=1)),), 0, 1500, 1500, 2))
    starts = []
    for nominal in ((), (None, 8000)):
        tree = tenants([Tenant("city"), Tenant("a", 0), Tenant("b", 0, nominal)], 2, totals(nodes, 2))
        starts.append(plain(nodes, jobs, name, tree).book.jobs.job.start.tolist())
    assert starts[0] == starts[1]


@pytest.mark.parametrize("name", RESERVING)
def test_a_tenants_own_small_jobs_do_not_keep_its_wide_one_from_its_quota(name: str) -> None:
    nodes = [Node("a", devices=8), Node("b", devices=8)]
    wide = Job("wide", (Option(Shape(8)),), 0, 7200, 3000, 1)
    jobs = [Job("other", (Option(Shape(8)),), 0, 90_000, 90_000, 2), *stream(wide, Job("n", (Option(Shape(4)),), 0, 7200, 1500, 1))]
    tree = [Tenant("city"), Tenant("a", 0, (8000,)), Tenant("b", 0, (8000,))]
    assert start_of(plain(nodes, jobs, name, tenants(tree, 1, totals(nodes, 1))), "wide") == 2000


def test_behind_a_turn_others_of_the_tenant_start_if_they_end_before_it_or_fit_beside_it() -> None:
    nodes = [Node("a", devices=8), Node("b", devices=8)]
    tree = [Tenant("city"), Tenant("a", 0, (8000,)), Tenant("b", 0, (8000,))]
    runs = [Job("five", (Option(Shape(5)),), 0, 100, 100, 1), Job("other", (Option(Shape(8)),), 0, 900, 900, 2)]
    wide = Job("wide", (Option(Shape(6)),), 0, 50, 50, 1)
    behind = [Job(f"{devices} for {limit}", (Option(Shape(devices)),), 0, limit, limit, 1) for devices, limit in ((1, 100), (1, 101), (2, 101))]
    run = plain(nodes, [*runs, wide, *behind], "easy", tenants(tree, 1, totals(nodes, 1)))
    assert [start_of(run, job.id) for job in [wide, *behind]] == [100, 0, 0, 101]


def test_what_one_makes_room_for_another_may_have_too_though_it_was_refused_before() -> None:
    """`wide` waits for a turn, `first` stops `low` for half of what that held, and `second` finds the rest."""
    nodes, tree = [Node("a", devices=8), Node("b", devices=8)], [Tenant("city"), Tenant("a", 0, (8000,), (0,))]
    runs = [Job("low", (Option(Shape(4)),), 0, 90_000, 90_000, 1, preemptible=True), Job("firm", (Option(Shape(4)),), 0, 90_000, 90_000, 1)]
    asks = (("wide", 6, 3), ("first", 2, 2), ("second", 2, 1))
    waits = [Job(name, (Option(Shape(devices)),), 9000, 50, 50, 1, priority) for name, devices, priority in asks]
    run = plain(nodes, [*runs, *waits], "drf-tree", tenants(tree, 1, totals(nodes, 1)))
    assert [start_of(run, name) for name in ("first", "second")] == [9000, 9000]


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Job], list[Tenant]]:
    """Of four tenants, two of which share a quota, far more jobs than their quotas allow: some may be preempted, some go before others."""
    jobs = []
    for at in range(draw(st.integers(6, 30))):
        ways = tuple(Option(Shape(draw(st.sampled_from([0, 1, 2, 4])), cpu=1000), draw(st.integers(1, 2))) for _ in range(draw(st.integers(1, 2))))
        submit, limit, tenant, priority = (draw(st.integers(*span)) for span in ((0, 60), (1, 60), (1, 4), (0, 2)))
        jobs.append(Job(str(at), ways, submit, limit, draw(st.integers(1, limit)), tenant, priority, preemptible=draw(st.booleans())))
    quotas = [(draw(st.integers(2, 6)) * 1000, draw(st.sampled_from([None, 2000]))) for _ in "abc"]
    tree = [Tenant("city"), *(Tenant(name, 0, quota) for name, quota in zip("abc", quotas, strict=True)), Tenant("of c", 3)]
    return sorted(jobs, key=lambda job: job.submit), tree


@given(name=st.sampled_from(["fifo", "easy", "easy-sjbf", "drf-tree", "srtf"]), case=crowds(), reclaim=st.sampled_from([5, 100]))
@settings(max_examples=60, deadline=None)
def test_what_is_known_of_those_before_saves_work_and_changes_nothing(name: str, case: tuple[list[Job], list[Tenant]], reclaim: int) -> None:
    jobs, tree = case
    nodes = [Node(str(at), devices=4, cpu=8000) for at in range(3)]
    who, found = tenants(tree, 1, totals(nodes, 1), reclaim=reclaim), []
    for shortcut in (True, False):
        with plainly(), pytest.MonkeyPatch.context() as patch:
            if not shortcut:
                patch.setattr(cycle, "stands_behind", lambda *_: False)
            found.append(simulate(nodes, jobs, policies()[name], tenants=who).book.jobs.job)
    assert found[0].tolist() == found[1].tolist()


@st.composite
def crowded(draw: st.DrawFn) -> list[Job]:
    """Of two tenants, more jobs than a quota of four devices allows at once."""
    jobs = []
    for at in range(draw(st.integers(4, 24))):
        run = draw(st.integers(1, 40))
        shape = Shape(draw(st.sampled_from([1, 1, 2, 4])))
        jobs.append(Job(str(at), (Option(shape),), draw(st.integers(0, 60)), run + draw(st.integers(0, 10)), run, draw(st.integers(1, 2))))
    return sorted(jobs, key=lambda job: job.submit)


@given(name=st.sampled_from(["easy", "easy-4", "conservative", "drf-tree"]), jobs=crowded())
@settings(max_examples=40, deadline=None)
def test_under_quotas_too_the_first_in_line_never_starts_later_than_its_turn(name: str, jobs: list[Job]) -> None:
    nodes = [Node(str(at), devices=4) for at in range(4)]  # so that the quotas alone decide
    tree = [Tenant("city"), *(Tenant(word, 0, (4000,), (0,)) for word in "ab")]
    due: dict[int, int] = {}
    with plainly():
        for _, queue, now in stepped(nodes, jobs, name, tenants(tree, 1, totals(nodes, 1))):
            b = queue.book.jobs.job
            for tenant in (1, 2):
                line = [at for at in range(len(jobs)) if b.state[at] == WAITING and jobs[at].tenant == tenant]
                for first in line[:1]:
                    due.setdefault(first, earliest_end(jobs, b, tenant, first, 4000 - int(queue.tenants.held[tenant, 0]), now))
    for job, at in due.items():
        assert b.start[job] <= at


def earliest_end(jobs: list[Job], rows: Any, tenant: int, first: int, free: int, now: int) -> int:
    """When its quota has as much left as the job asks, if all that run take as long as they may."""
    need = jobs[first].options[0].shape
    ends = sorted((int(rows.end[at]), at) for at in range(len(jobs)) if rows.state[at] == RUNNING and jobs[at].tenant == tenant)
    while free < need.devices * need.milli and ends:
        now, at = ends.pop(0)
        free += jobs[at].options[0].shape.devices * jobs[at].options[0].shape.milli
    return now if free >= need.devices * need.milli else NEVER


@given(name=st.sampled_from([name for name in PATIENT if name not in ("random", "qssf")]), case=clusters())
@settings(max_examples=25, deadline=None)
def test_decide_plans_what_the_simulation_does_and_changes_nothing(name: str, case: Case) -> None:
    with plainly():
        played = simulate(*case, policies()[name], seed=5)
        planned: dict[int, int] = {}
        for s, queue, now in stepped(*case, name):
            parts = (*s, *queue.book.jobs, *queue.lines, *queue.tenants, queue.book.shapes)
            before = [part.copy() for part in parts]
            plan = decide(s, queue, policies()[name], now, 5)
            assert plan == decide(s, queue, policies()[name], now, 5)
            assert all(np.array_equal(a, b) for a, b in zip(before, parts, strict=True))
            planned |= {start.job: now for start in plan.starts}
    rows = played.book.jobs.job[:-1]
    assert planned == {at: int(rows.start[at]) for at in range(rows.size) if rows.state[at] == FINISHED}


def waiting(nodes: list[Node], jobs: list[Job], name: str) -> tuple[Site, Queue]:
    s, queue = opened(nodes, jobs, policies()[name], 0)
    for job in range(len(jobs)):
        if queue.book.jobs.job.state[job] != REFUSED:
            enqueue(queue.lines, queue.book.jobs, job, name == "easy-sjbf")
    return s, queue


def planned(nodes: list[Node], jobs: list[Job], name: str) -> Plan:
    with plainly():
        return decide(*waiting(nodes, jobs, name), policies()[name], 0, 0)


def gang(id: str, tasks: int, devices: int, limit: int = 10, *more: Option) -> Job:
    return Job(id, (Option(Shape(devices), tasks), *more), 0, limit)


def test_every_job_that_does_not_start_has_a_reason() -> None:
    jobs = [gang("runs", 1, 3, 50), gang("first", 1, 4), gang("short", 1, 1, 40), gang("long", 1, 2, 60), gang("never", 1, 9)]
    plan = planned([Node("a", devices=4)], jobs, "easy")
    assert [start.job for start in plan.starts] == [0, 2]
    assert plan.reservations == {1: 50}
    assert plan.reasons == {1: Reason.NO_ROOM, 3: Reason.BEHIND, 4: Reason.IMPOSSIBLE}
    assert plan.ticks == 3 * WHOLE * 50 + WHOLE * 40


def test_a_job_takes_the_second_way_when_the_first_does_not_fit() -> None:
    nodes = [Node("a", kind=0, devices=8), Node("b", kind=1, devices=8), Node("c", kind=1, devices=8)]
    either = Job("either", (Option(Shape(8, classes=1)), Option(Shape(8, classes=2), 2)), 0, 10)
    plan = planned(nodes, [Job("holds", (Option(Shape(1, classes=1)),), 0, 10), either], "easy")
    assert [sorted(node for node, _ in start.places) for start in plan.starts] == [[0], [1, 2]]


def test_identical_nodes_share_one_group() -> None:
    with plainly():
        full = site([Node(str(at), devices=8) for at in range(500)], 1, memo=False, mixes=False, seed=0)
    assert (full.group.count > 0).sum() == 1


def test_whole_devices_are_consolidated_on_the_fullest_node_that_fits() -> None:
    nodes = [Node(name, devices=8) for name in "ab"]
    plan = planned(nodes, [gang("six", 1, 6), gang("four", 1, 4), gang("two", 1, 2)], "fifo")
    assert [start.places[0][0] for start in plan.starts] == [0, 1, 0]


def mixed() -> tuple[list[Node], list[Job]]:
    """A busy little cluster with every kind of request."""
    nodes = [
        Node(f"n{at}", at % 2, at % 3, 4 + at % 2 * 4, 32_000 + at % 4 * 16_000, 64_000, (0, at % 5), OPEN if at % 7 else 900)
        for at in range(10)
    ]
    jobs = []
    for at in range(160):
        pool, kind = at % 2, at * 7 % 5
        shape = [Shape(1, 300, 2000, 500), Shape(2, WHOLE, 4000), Shape(0, WHOLE, 3000, 800), Shape(4, WHOLE, 8000), Shape(1, 700, 1000)][
            kind
        ]
        shape = Shape(shape.devices, shape.milli, shape.cpu, shape.memory, -1 if at % 3 else 0b101, pool)
        jobs.append(
            Job(
                str(at),
                (Option(shape, 1 + at % 3 // 2, level=at % 4 // 3 * 2, near=at % 2 * 2),),
                at * 3,
                20 + at * 13 % 90,
                10 + at * 11 % 80,
                at % 4,
                at % 11 // 10,
            )
        )
    return nodes, jobs


def test_without_numba_the_plans_are_the_same() -> None:
    for name, policy in policies().items():
        answers = []
        for plain in (False, True):
            with plainly(plain):
                assert quick() is not plain
                tree = tenants([*TREE, Tenant("c", 0), Tenant("d", 3)], 3, totals(mixed()[0], 3), reclaim=60)
                rows = simulate(*mixed(), policy, seed=11, tenants=tree if name == "drf-tree" else None).book.jobs
            answers.append([rows.job.start.tolist(), rows.place.node.tolist(), rows.place.devices.tolist()])
        assert answers[0] == answers[1], name
        if name == "easy":
            assert max(start for start in answers[0][0] if start < NEVER) > 200
