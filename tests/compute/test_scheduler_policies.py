"""Policies that preempt, promise or predict: what holds of them whatever the jobs, and what each does in a case one can follow."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.compute.scheduler.compiled import plainly
from lilong.floors.compute.scheduler.decide import Plan, Preemption, Queue, decide
from lilong.floors.compute.scheduler.gavel import SolverMissing, even
from lilong.floors.compute.scheduler.jobs import FINISHED, NEVER, REFUSED, RUNNING, WAITING, Job, Option, Shape
from lilong.floors.compute.scheduler.policy import Policy, policies
from lilong.floors.compute.scheduler.predict import expected, histories, note, quantile
from lilong.floors.compute.scheduler.rounds import PARTS, even_share
from lilong.floors.compute.scheduler.simulation.run import Held, begun, forward, in_rounds, opened, played, simulate
from lilong.floors.compute.scheduler.state import WHOLE, Node, Site, ordered
from lilong.floors.compute.scheduler.tenants import Tenant, Tenants, tenants, totals

PREEMPTING = sorted(name for name, policy in policies().items() if policy.preempts != "nobody")
TREE = [Tenant("city"), Tenant("a", 0, (4000,)), Tenant("b", 0, (4000,)), Tenant("c", 0, (2000,), (2000,))]


@pytest.fixture(autouse=True)
def _plainly() -> Iterator[None]:
    with plainly():  # little cases, and compiling takes longer than all of them
        yield


def tree(nodes: Sequence[Node], of: Sequence[Tenant] = TREE) -> Tenants:
    return tenants(of, 1, totals(nodes, 1), reclaim=10)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Node], list[Job]]:
    """Too many jobs for up to four nodes: gangs, fractions, tenants, priorities; most may be preempted, some keep checkpoints."""
    nodes = [Node(f"n{at}", devices=draw(st.integers(1, 4)), cpu=8000, memory=100) for at in range(draw(st.integers(1, 4)))]
    jobs = []
    for at in range(draw(st.integers(1, 18))):
        devices = draw(st.integers(1, 4))
        milli = draw(st.sampled_from([WHOLE, 400])) if devices == 1 else WHOLE
        ways = tuple(
            Option(Shape(devices, milli, draw(st.integers(0, 2)) * 1000), draw(st.integers(1, 3)), limit=limit)
            for limit in draw(st.sampled_from([(None,), (None,), (None, 90)]))
        )
        run = draw(st.integers(1, 50))
        jobs.append(
            Job(
                str(at), ways, draw(st.integers(0, 60)), run + draw(st.integers(0, 20)), run, draw(st.integers(1, 3)), draw(st.integers(0, 1)),
                preemptible=draw(st.sampled_from([True, True, False])), checkpoint=draw(st.sampled_from([0, 5])),
            )
        )  # fmt: skip
    return nodes, jobs


def moments(
    nodes: Sequence[Node], jobs: Sequence[Job], policy: Policy, check: Callable[[Site, Queue, int], None], who: Tenants | None
) -> Queue:
    """Play it all, with a check after every moment of the clock (or every round)."""
    s, queue = opened(nodes, jobs, policy, 3, tenants=who)
    c = begun(s, queue, policy, None)
    if policy.round:
        in_rounds(s, queue, policy, c, lambda *_: check(s, queue, int(c.at[0])))
    else:
        while played(s, queue, policy, c, steps=1):
            check(s, queue, int(c.at[0]))
    return queue


def hasty(name: str) -> Policy:
    """The policy with costs and rounds in proportion to jobs of less than a minute."""
    policy = policies()[name]
    return replace(policy, overhead=(2, 3), threshold=10, round=min(policy.round, 7), least_run=min(policy.least_run, 7))


@given(name=st.sampled_from(PREEMPTING), case=crowds())
@settings(max_examples=40, deadline=None)
def test_with_preemption_nothing_is_given_twice_and_gangs_are_whole(name: str, case: tuple[list[Node], list[Job]]) -> None:
    nodes, jobs = case
    asked, whole = {job.id: job for job in jobs}, ordered(nodes)

    def check(s: Site, queue: Queue, _: int) -> None:
        rows, place = queue.book.jobs.job[:-1], queue.book.jobs.place
        free = np.where(np.arange(s.free.shape[1]) < np.array([[node.devices] for node in whole]), WHOLE, 0)
        cpu = np.array([node.cpu for node in whole])
        for job in np.flatnonzero(rows.state == RUNNING):
            held = place[rows.room[job] : rows.room[job] + rows.placed[job]]
            option = asked[queue.book.names[job]].options[rows.option[job] - rows.first[job]]
            assert [queue.book.asked[need] for need in held.need] == [option.shape] * option.tasks
            for node, devices in zip(held.node, held.devices, strict=True):
                assert int(devices).bit_count() == option.shape.devices
                free[node] -= np.where(devices >> np.arange(free.shape[1]) & 1, option.shape.milli, 0)
                cpu[node] -= option.shape.cpu
        assert (free >= 0).all()
        assert (cpu >= 0).all()
        assert (free == s.free).all()
        assert (rows.placed[rows.state == WAITING] == 0).all()

    moments(nodes, jobs, hasty(name), check, tree(nodes))


@given(name=st.sampled_from(PREEMPTING), case=crowds())
@settings(max_examples=30, deadline=None)
def test_who_was_preempted_does_all_of_the_work_in_the_end(name: str, case: tuple[list[Node], list[Job]]) -> None:
    queue = moments(*case, hasty(name), lambda *_: None, tree(case[0]))
    rows = queue.book.jobs.job
    for at, row in enumerate(rows[:-1]):
        # a tenant that may hold nothing of the kind never starts; everybody else ends
        assert row.state in (FINISHED, REFUSED) or (row.state == WAITING and row.start == NEVER)
        if row.state == FINISHED and rows.first[at + 1] - row.first == 1:
            assert row.end - row.start == max(row.run - row.done, 1)
            assert row.attained // row.width + row.end - row.start >= row.run
            assert row.done == 0 or row.stops > 0


@given(name=st.sampled_from(PREEMPTING), case=crowds())
@settings(max_examples=10, deadline=None)
def test_the_same_jobs_are_always_played_the_same_way(name: str, case: tuple[list[Node], list[Job]]) -> None:
    one, other = (simulate(*case, hasty(name), 3, tenants=tree(case[0])).book.jobs for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@given(case=crowds())
@settings(max_examples=30, deadline=None)
def test_no_promise_of_conservative_backfilling_is_ever_delayed(case: tuple[list[Node], list[Job]]) -> None:
    promised: dict[int, int] = {}

    def check(_: Site, queue: Queue, now: int) -> None:
        rows = queue.book.jobs.job[:-1]
        for job in np.flatnonzero(rows.state != REFUSED).tolist():
            at = int(rows.reserved[job] if rows.state[job] == WAITING else rows.start[job])
            assert at <= promised.get(job, NEVER)
            if at < NEVER:
                promised[job] = at

    queue = moments(*case, policies()["conservative"], check, None)  # a promise is of nodes; a quota may be used up until then
    assert set(queue.book.jobs.job.state[:-1].tolist()) <= {FINISHED, REFUSED} or promised


def job(id: str, devices: int, limit: int = 100, tasks: int = 1, **more: object) -> Job:
    return Job(id, (Option(Shape(devices), tasks),), 0, limit, **more)  # type: ignore[arg-type]


def held(one: Job, start: int, *places: tuple[int, int]) -> Held:
    return Held(one, start, 0, places)


def plan(policy: str | Policy, nodes: Sequence[Node], jobs: Sequence[Job], running: Sequence[Held], now: int, who: Tenants | None = None) -> tuple[Plan, list[str]]:  # fmt: skip
    policy = policies()[policy] if isinstance(policy, str) else policy
    s, queue = opened(nodes, jobs, policy, 0, running, now, who)
    return decide(s, queue, policy, now, 0), queue.book.names


@given(widths=st.lists(st.integers(1, 3), min_size=1, max_size=8), wanted=st.integers(1, 4), starts=st.lists(st.integers(0, 90), min_size=8, max_size=8))  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_who_owns_a_quota_has_it_back_in_the_same_look(widths: list[int], wanted: int, starts: list[int]) -> None:
    """b has filled all nodes with jobs that may be preempted; a wants some of its four devices."""
    nodes = [Node(str(at), devices=4) for at in range(2)]
    running, free = [], [4, 4]
    for at, width in enumerate([*widths, *[1] * 8]):
        node = 0 if free[0] >= width else 1
        if free[node] >= width:
            devices = ((1 << width) - 1) << (4 - free[node])
            free[node] -= width
            running.append(held(job(f"b{at}", width, 1000, tenant=2, preemptible=True), starts[at % 8], (node, devices)))
    assert sum(free) == 0
    found, names = plan("drf-tree", nodes, [job("a", 1, tasks=wanted, tenant=1)], running, 100, tree(nodes))
    a = names.index("a")
    assert [start.job for start in found.starts][:1] == [a]
    freed = sum(next(one for one in running if one.job.id == names[gone.job]).job.options[0].shape.devices for gone in found.preemptions)
    assert all(gone.to == a for gone in found.preemptions)
    assert wanted <= freed < wanted + 3  # no more than the last one's devices too many


def test_the_least_of_a_loss_goes_first_counted_from_the_last_checkpoint() -> None:
    nodes = [Node("n", devices=4)]
    running = [
        held(job("old", 1, 1000, tenant=2, preemptible=True), 0, (0, 1)),
        held(job("kept", 1, 1000, tenant=2, preemptible=True, checkpoint=10), 0, (0, 2)),  # lost the last 3 ticks
        held(job("young", 1, 1000, tenant=2, preemptible=True), 90, (0, 4)),  # lost 13
        held(job("firm", 1, 1000, tenant=2), 102, (0, 8)),
    ]
    who = tree(nodes, [Tenant("city"), Tenant("a", 0, (3000,)), Tenant("b", 0, (1000,))])
    for wanted, gone in ((1, ["kept"]), (2, ["kept", "young"]), (3, ["kept", "old", "young"])):
        found, names = plan("drf-tree", nodes, [job("a", 1, tasks=wanted, tenant=1)], running, 103, who)
        assert sorted(names[one.job] for one in found.preemptions) == gone


def test_a_victim_whose_place_was_not_needed_stays() -> None:
    nodes = [Node("one", devices=2), Node("two", devices=2)]
    running = [
        held(job("small", 1, 1000, tenant=2, preemptible=True), 99, (0, 1)),  # the least of a loss, but on the wrong node
        held(job("firm", 1, 1000, tenant=2), 0, (0, 2)),
        held(job("large", 2, 1000, tenant=2, preemptible=True), 0, (1, 3)),
    ]
    who = tree(nodes, [Tenant("city"), Tenant("a", 0, (2000,)), Tenant("b", 0, (2000,))])
    found, names = plan("drf-tree", nodes, [job("a", 2, tenant=1)], running, 100, who)
    assert [(names[one.job], names[one.to]) for one in found.preemptions] == [("large", "a")]


def test_nobody_is_stopped_if_it_would_not_suffice() -> None:
    nodes = [Node("n", devices=4)]
    running = [held(job("b", 1, 1000, tenant=2, preemptible=True), 0, (0, 1)), held(job("firm", 3, 1000, tenant=2), 0, (0, 14))]
    found, _ = plan("drf-tree", nodes, [job("a", 2, tenant=1)], running, 50, tree(nodes))
    assert (found.starts, found.preemptions) == ((), ())


def test_within_a_tenant_higher_priorities_take_from_lower_ones_and_not_from_equals() -> None:
    nodes = [Node("n", devices=2)]
    running = [held(job("low", 2, 1000, preemptible=True), 0, (0, 3))]
    for priority, gone in ((1, 1), (0, 0)):
        found, _ = plan("drf-tree", nodes, [job("high", 2, priority=priority)], running, 50)
        assert len(found.preemptions) == gone


def test_who_was_preempted_before_is_left_alone_ever_longer() -> None:
    nodes, policy = [Node("n", devices=1)], policies()["drf-tree"]
    for stops, ran, gone in ((0, 1, 1), (1, 299, 0), (1, 300, 1), (2, 899, 0), (2, 900, 1)):
        s, queue = opened(nodes, [job("high", 1, priority=1)], policy, 0, [held(job("low", 1, NEVER, preemptible=True), 0, (0, 1))], ran)
        queue.book.jobs.job.stops[queue.book.names.index("low")] = stops
        assert len(decide(s, queue, policy, ran, 0).preemptions) == gone


def test_the_shortest_remaining_time_goes_on_where_it_was() -> None:
    long, short = job("long", 1, 100, run=100), replace(job("short", 1, 20, run=20), submit=10)
    run = simulate([Node("n", devices=1)], [long, short], replace(policies()["srtf"], overhead=(5, 5)))
    rows = run.book.jobs.job
    assert [int(rows.start[1]), int(rows.end[1])] == [10, 30]
    assert [int(rows.end[0]), int(rows.stops[0]), int(rows.done[0])] == [30 + 90 + 5, 1, 5]


def test_after_its_share_of_service_a_job_goes_to_the_second_queue() -> None:
    first, later = job("first", 2, 1000, run=1000), replace(job("later", 2, 1000, run=30), submit=10)
    run = simulate([Node("n", devices=2)], [first, later], replace(policies()["las2q"], threshold=100, overhead=(0, 0)))
    assert [int(run.book.jobs.job.start[1]), int(run.book.jobs.job.end[0])] == [50, 1030]  # 100 device-ticks on two devices


def test_the_mean_of_the_last_two_runs_is_what_is_expected() -> None:
    last = histories(2)
    assert expected(last, 0, 50) == 50
    for ran, next_one in ((10, 10), (20, 15), (100, 50)):  # never more than the limit
        note(last, 0, ran)
        assert expected(last, 0, 50) == next_one
    assert expected(last, 1, 50) == 50
    assert [quantile([5, 1, 9, 3], part, 8) for part in (0, 500, 900)] == [1, 5, 8]


def test_qssf_goes_by_what_the_users_jobs_took_and_how_wide_they_are() -> None:
    past = [Job(f"p{user}", (Option(Shape(1)),), 0, 500, run, user=user) for user, run in ((0, 40), (1, 4))]
    wall = replace(job("wall", 2, 100, run=100), submit=50)
    wide = [
        Job(id, (Option(Shape(width)),), 60, 500, 10, user=user) for id, user, width in (("slow", 0, 1), ("wide", 1, 2), ("quick", 1, 1))
    ]
    run = simulate([Node("n", devices=2)], [*past, wall, *wide], policies()["qssf"])
    start = dict(zip(run.book.names, run.book.jobs.job.start.tolist(), strict=False))
    assert start["quick"] <= start["wide"] <= start["slow"]
    assert start["quick"] < start["slow"]


def test_each_way_has_its_own_limit() -> None:
    nodes = [Node("slow", kind=0, devices=1), Node("quick", kind=1, devices=2)]
    head = Job("head", (Option(Shape(2, classes=2)),), 0, 100)
    either = Job("either", (Option(Shape(1, classes=2), limit=40), Option(Shape(1, classes=1), limit=90)), 0, 90)
    busy = held(Job("busy", (Option(Shape(1, classes=2)),), 0, 50), 0, (1, 1))
    found, names = plan("easy", nodes, [head, either], [busy], 5)
    assert [(names[one.job], one.option) for one in found.starts] == [("either", 0)]  # it is gone by 45, when the head may start at 50
    assert found.ticks == 40 * WHOLE
    found, _ = plan("easy", nodes, [head, either], [busy], 15)
    assert [one.option for one in found.starts] == [1]


def test_several_promises_hold_back_those_who_would_delay_any_of_them() -> None:
    nodes = [Node("n", devices=4)]
    running = [held(job("busy", 3, 100), 0, (0, 7))]
    jobs = [job("one", 4, 50), job("two", 2, 300), job("long", 1, 200), job("short", 1, 90)]
    found, names = plan("easy-4", nodes, jobs, running, 0)
    assert {names[at]: when for at, when in found.reservations.items()} == {"one": 100, "two": 150, "long": 150}
    assert [names[one.job] for one in found.starts] == ["short"]


def test_a_promise_that_was_kept_in_mind_is_not_given_to_another() -> None:
    nodes = [Node("n", devices=2)]
    running = [held(job("busy", 1, 100), 0, (0, 1)), held(replace(job("later", 2, 50), submit=5), 100, (0, 3))]
    found, names = plan("conservative", nodes, [job("long", 1, 120)], running, 10)
    assert {names[at]: when for at, when in found.reservations.items()} == {"later": 100, "long": 150}


def test_gavel_gives_every_job_the_class_on_which_it_gains_most() -> None:
    jobs = [Job(id, (Option(Shape(1, classes=1), limit=100), Option(Shape(1, classes=2), limit=slow)), 0, 100, 100) for id, slow in (("same", 100), ("gains", 400))]  # fmt: skip
    run = simulate([Node("quick", kind=0, devices=1), Node("slow", kind=1, devices=1)], jobs, replace(policies()["gavel"], round=10, least_run=10, overhead=(0, 0)))  # fmt: skip
    rows = run.book.jobs.job
    assert rows.end[:-1].max() <= 130  # and not 400, as it would be with the classes the other way round


def test_an_even_share_is_max_min_of_what_each_gains() -> None:
    two = np.array([0, 0, 1, 1])
    shares = even(np.full(4, 1000.0), np.array([2.0, 1.0, 1.0, 1.0]), two, np.array([0, 1, 0, 1]), np.array([1000.0, 1000.0]))
    assert shares.round(3).tolist() == [1, 0, 0, 1]
    assert even_share(np.array([4000, 1000, 1000]), 4000).tolist() == [PARTS // 2, PARTS, PARTS]


def test_with_one_class_gavel_slices_time_and_needs_no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)
    jobs = [job(name, 1, 1000, run=1000) for name in ("one", "two")]
    run = simulate([Node("n", devices=1)], jobs, replace(policies()["gavel"], overhead=(0, 0)))
    ends = sorted(run.book.jobs.job.end[:-1].tolist())
    assert ends[1] == 2000
    assert ends[0] > 1300  # side by side, and not one after the other
    unequal = Job("unequal", (Option(Shape(1, classes=1)), Option(Shape(1, classes=2), limit=50)), 0, 100, 100)
    with pytest.raises(SolverMissing, match="pip install"):
        simulate([Node("n", devices=1), Node("m", kind=1, devices=1)], [replace(unequal, id=str(at)) for at in range(3)], hasty("gavel"))


def test_going_forward_with_the_true_run_times_is_what_the_simulation_does() -> None:
    nodes = [Node("n", devices=4)]
    jobs = [replace(job(str(at), 1 + at % 3, 60, run=10 + at * 7 % 50), submit=at) for at in range(30)]
    for name in ("easy", "drf-tree", "srtf"):
        policy = policies()[name]
        s, queue = opened(nodes, jobs, policy, 0, now=29)
        rows = queue.book.jobs.job[:-1]
        before = [part.copy() for part in (*s, *queue.book.jobs, *queue.lines)]
        found = forward(s, queue, policy, 29, np.stack([rows.run, rows.run * 2]))
        assert all(np.array_equal(a, b) for a, b in zip(before, (*s, *queue.book.jobs, *queue.lines), strict=True))
        run = simulate(nodes, jobs, policy, now=29)
        assert found[0].tolist() == run.book.jobs.job.start[:-1].tolist()
        assert found[1].max() > found[0].max()
        assert (forward(s, queue, policy, 29, rows.run[None], [(40, 1)]) < NEVER).sum() < len(jobs)


def test_what_runs_now_is_where_it_is_said_to_be() -> None:
    nodes = [Node("a", devices=2), Node("b", devices=2)]
    found, names = plan("easy", nodes, [job("next", 2, 10)], [held(job("runs", 1, 50), 0, (0, 2))], 20)
    assert [(names[one.job], one.places) for one in found.starts] == [("next", ((1, 3),))]
    found, names = plan("easy", nodes, [job("next", 2, 10, tasks=2)], [held(job("runs", 1, 50), 0, (0, 2))], 20)
    assert {names[at]: when for at, when in found.reservations.items()} == {"next": 50}
    with pytest.raises(ValueError, match="holds 1 places"):
        opened(nodes, [], policies()["easy"], 0, [held(job("runs", 1, 50, tasks=2), 0, (0, 2))], 20)
    assert Preemption(1, 2) != Preemption(2, 1)
