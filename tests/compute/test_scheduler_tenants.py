"""Quotas in a tree, and whose turn it is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.compute.scheduler.compiled import plainly
from lilong.floors.compute.scheduler.decide import decide
from lilong.floors.compute.scheduler.fair import fairly
from lilong.floors.compute.scheduler.jobs import Job, Jobs, Option, Shape, book
from lilong.floors.compute.scheduler.order import enqueue, queues
from lilong.floors.compute.scheduler.policy import policies
from lilong.floors.compute.scheduler.simulation.run import Held, opened, simulate
from lilong.floors.compute.scheduler.state import Node
from lilong.floors.compute.scheduler.tenants import (
    UNBOUNDED,
    Tenant,
    Tenants,
    age,
    borrowed,
    bounded,
    check,
    hold,
    lent,
    may_hold,
    open_kinds,
    tenants,
    totals,
    usage,
)  # fmt: skip

AMOUNT = st.integers(0, 12)
MAYBE = st.none() | AMOUNT


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[Tenant], int]:
    """A tree of up to eight tenants in any shape over one class, whose parts fit into the whole, and what there is of the class."""
    many = draw(st.integers(1, 8))
    parents = [-1] + [draw(st.integers(0, at - 1)) for at in range(1, many)]
    own: list[int | None] = [draw(MAYBE) for _ in range(many)]
    parts = [0] * many
    for at in reversed(range(many)):  # parents come before their parts
        more = own[at]
        if more is not None:
            own[at] = parts[at] = more + parts[at]
        if at:
            parts[parents[at]] += parts[at]
    capacity = parts[0] + draw(AMOUNT)
    tree = [
        Tenant(
            f"t{at}", parents[at], (own[at],), (draw(MAYBE),) if own[at] is not None else (), (draw(MAYBE),) if own[at] is not None else ()
        )
        for at in range(many)
    ]
    return tree, capacity


def limit(of: Sequence[int | None]) -> int | None:
    return of[0] if of else None


class Ledger:
    """The same rules worked out anew from a list of who holds what."""

    def __init__(self, tree: list[Tenant], capacity: int) -> None:
        self.tree, self.capacity = tree, capacity
        self.held: list[tuple[int, int, bool]] = []

    def nominal(self, at: int) -> int:
        own = limit(self.tree[at].nominal)
        if own is not None:
            return own
        return self.capacity if any(limit(one.nominal) is not None for one in self.tree) else UNBOUNDED

    def home(self, at: int) -> int:
        while at and limit(self.tree[at].nominal) is None:
            at = self.tree[at].parent
        return at

    def parts(self, at: int) -> list[int]:
        return [one for one in range(1, len(self.tree)) if self.home(one) == one and self.home(self.tree[one].parent) == at]

    def loose(self, at: int, *, firm: bool = False) -> int:
        return sum(much for who, much, back in self.held if self.home(who) == at and not (firm and back))

    def reserved(self, at: int) -> int:
        return self.kept(at) + sum(self.reserved(part) for part in self.parts(at))

    def own(self, at: int) -> int:
        return self.nominal(at) - sum(self.reserved(part) for part in self.parts(at))

    def kept(self, at: int) -> int:
        lend = limit(self.tree[at].lend)
        return 0 if lend is None or at == 0 else max(self.own(at) - lend, 0)

    def used(self, at: int) -> int:
        return self.loose(at) + sum(max(self.used(part) - self.kept(part), 0) for part in self.parts(at))

    def common(self, at: int) -> int:
        return self.nominal(at) - sum(self.nominal(part) for part in self.parts(at))

    def broken(self) -> bool:
        for at in range(len(self.tree)):
            if self.home(at) != at:
                continue
            borrow = 0 if at == 0 else limit(self.tree[at].borrow)
            if borrow is not None and self.used(at) > self.own(at) + borrow:
                return True
            if self.loose(at, firm=True) > self.common(at):
                return True
        return False

    def may(self, who: int, much: int, back: bool) -> bool:
        self.held.append((who, much, back))
        answer = not self.broken()
        self.held.pop()
        return answer


def stepped(case: tuple[list[Tenant], int], steps: list[tuple[int, int, bool]]) -> tuple[Tenants, Ledger]:
    """Each step takes if it may, or gives back the oldest if the amount is 0."""
    tree, capacity = case
    T, ledger = tenants(tree, 1, [capacity, 0]), Ledger(tree, capacity)
    for who, much, back in steps:
        who %= len(tree)
        if much == 0 and ledger.held:
            one, amount, was = ledger.held.pop(0)
            hold(T, one, 0, amount, -1, was)
        elif much > 0:
            assert may_hold(T, who, 0, much, back) == ledger.may(who, much, back)
            if may_hold(T, who, 0, much, back):
                hold(T, who, 0, much, 1, back)
                ledger.held.append((who, much, back))
    return T, ledger


STEPS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 6), st.booleans()), max_size=25)


@given(trees(), STEPS)
@settings(max_examples=150, deadline=None)
def test_quotas_are_kept_just_as_if_worked_out_anew(case: tuple[list[Tenant], int], steps: list[tuple[int, int, bool]]) -> None:
    with plainly():
        assert check(case[0], [case[1]], ["h20"]) == []
        T, ledger = stepped(case, steps)
        assert not ledger.broken()
        for at, one in enumerate(case[0]):
            below = sum(much for who, much, _ in ledger.held if at in ancestors(case[0], who))
            assert T.held[at, 0] == below
            nominal, borrow = limit(one.nominal), limit(one.borrow)
            if nominal is not None and borrow is not None:
                assert below <= nominal + borrow
        if ledger.nominal(0) < UNBOUNDED:  # where nobody has a quota, what is there is what bounds them
            assert T.held[0, 0] <= case[1]


def ancestors(tree: list[Tenant], at: int) -> list[int]:
    found = [at]
    while tree[found[-1]].parent >= 0:
        found.append(tree[found[-1]].parent)
    return found


@given(trees(), STEPS)
@settings(max_examples=150, deadline=None)
def test_under_every_parent_as_much_is_lent_as_is_borrowed(case: tuple[list[Tenant], int], steps: list[tuple[int, int, bool]]) -> None:
    with plainly():
        T, ledger = stepped(case, steps)
        gives = lent(T)[:, 0].tolist()
        takes = [0] * len(case[0])
        for at in range(len(case[0])):
            if ledger.home(at) == at:
                idle = max(ledger.common(at) - ledger.loose(at), 0)
                takes[at] = max(ledger.loose(at) - ledger.common(at), 0)
                assert 0 <= gives[at] <= idle
            else:
                assert gives[at] == 0
        assert sum(gives) == sum(takes)
        for at in range(1, len(case[0])):
            if ledger.home(at) != at:
                continue
            subtree = [one for one in range(len(case[0])) if at in ancestors(case[0], one)]
            to_others = sum(gives[one] - takes[one] for one in subtree)
            from_above, lend = max(ledger.used(at) - ledger.own(at), 0), limit(case[0][at].lend)
            assert to_others == -from_above if from_above else 0 <= to_others <= (ledger.nominal(at) if lend is None else lend)


@given(trees(), STEPS, st.integers(0, 7), st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_what_is_lent_comes_back_when_what_borrows_is_stopped(
    case: tuple[list[Tenant], int], steps: list[tuple[int, int, bool]], who: int, much: int
) -> None:
    with plainly():
        T, ledger = stepped(case, steps)
        who %= len(case[0])
        own = ledger.common(ledger.home(who)) - ledger.loose(ledger.home(who))
        if much > own:
            return  # it is not all the tenant's own
        for one in [held for held in ledger.held if held[2]]:
            if may_hold(T, who, 0, much, False):
                break
            if borrowed(T, one[0], 0) > 0:
                hold(T, one[0], 0, one[1], -1, True)
                ledger.held.remove(one)
        assert may_hold(T, who, 0, much, False)


def test_a_tenant_borrows_what_others_lend_and_no_more() -> None:
    tree = [Tenant("city"), Tenant("a", 0, (8,), (6,)), Tenant("b", 0, (8,), (), (4,)), Tenant("c", 0, (4,), (), (0,))]
    with plainly():
        T = tenants(tree, 1, [20, 0])
        hold(T, 1, 0, 8, 1, False)
        assert [may_hold(T, 1, 0, much, True) for much in (4, 5)] == [True, False]  # b lends 4, c nothing
        assert not may_hold(T, 1, 0, 1, False)
        hold(T, 1, 0, 4, 1, True)
        assert (borrowed(T, 1, 0), borrowed(T, 2, 0)) == (4, 0)
        assert lent(T)[:, 0].tolist() == [0, 0, 4, 0]
        assert [may_hold(T, 2, 0, much, False) for much in (4, 5)] == [True, False]  # the rest only once a gives it back
        hold(T, 1, 0, 4, -1, True)
        assert may_hold(T, 2, 0, 8, False)


def test_what_ends_in_time_or_may_be_stopped_can_borrow() -> None:
    made = book(
        [
            Job("short", (Option(Shape(1)),), 0, 600),
            Job("long", (Option(Shape(1)),), 0, 9000),
            Job("spot", (Option(Shape(1)),), 0, 9000, preemptible=True),
        ]
    )
    with plainly():
        T = tenants([Tenant("city", nominal=(8000,)), Tenant("a", 0, (0,))], 1, [8000, 0], reclaim=3600)
        made.jobs.job.tenant = 1
        assert [bounded(T, made.jobs, job, job) for job in range(3)] == [True, False, True]
        assert [open_kinds(T, made.shapes, made.jobs, job, job) for job in range(3)] == [1, 0, 1]


def test_a_gang_may_use_the_classes_of_which_the_tenant_may_hold_all_of_it() -> None:
    nodes = [Node("x", kind=0, devices=8, cpu=64_000), Node("y", kind=1, devices=16, cpu=64_000), Node("z", kind=2, devices=8, cpu=9000)]
    made = book(
        [
            Job("four", (Option(Shape(2), 2),), 0, 60),
            Job("two", (Option(Shape(2)),), 0, 60),
            Job("cores", (Option(Shape(0, cpu=3000)),), 0, 60),
        ]
    )
    with plainly():
        there = totals(nodes, 2, [0, 1, 0])  # the first class stands at two sites
        assert there == [16_000, 16_000, 137_000]
        T = tenants([Tenant("city"), Tenant("a", 0, (3000, 9000, 2000), (0, 0, 0))], 2, there, column=[0, 1, 0])
        made.jobs.job.tenant = 1
        assert [open_kinds(T, made.shapes, made.jobs, job, job) for job in range(3)] == [0b010, 0b111, 0]
        assert open_kinds(tenants([], 2, there, column=[0, 1, 0]), made.shapes, made.jobs, 0, 0) == -1


def test_past_use_halves_in_a_half_life_however_often_one_looks() -> None:
    with plainly():
        seldom, often = (tenants([Tenant("city"), Tenant("a", 0, half_life=5000)], 1, [8000, 0]) for _ in range(2))
        chance = random.Random(4)
        for start, amount in ((0, 3000), (7000, 0), (7123, 5000), (30_000, -8000)):
            for at in sorted(chance.sample(range(start), min(start, 20))):
                age(often, at)
            age(seldom, start)
            age(often, start)
            if amount:
                hold(seldom, 1, 0, abs(amount), 1 if amount > 0 else -1, True)
                hold(often, 1, 0, abs(amount), 1 if amount > 0 else -1, True)
        assert (seldom.past == often.past).all()
        before = usage(seldom, 1, 0)
        age(seldom, 35_000)
        assert usage(seldom, 1, 0) == pytest.approx(before / 2, rel=0.02)
        age(seldom, 35_000_000)
        assert usage(seldom, 1, 0) == 0


def test_who_always_held_the_same_has_used_that_on_the_average() -> None:
    with plainly():
        T = tenants([Tenant("city", half_life=3600)], 1, [8000, 0])
        hold(T, 0, 0, 4000, 1, True)
        age(T, 100 * 3600)
        assert usage(T, 0, 0) == pytest.approx(8000, rel=0.02)
        again = tenants([Tenant("city", half_life=3600, past=tuple(T.past[1]))], 1, [8000, 0], aged=100 * 3600)
        assert (again.past == T.past).all()


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ([Tenant("city", nominal=(8000,)), Tenant("a", 0, (5000,)), Tenant("b", 0, (4000,))], "The parts of city have a nominal quota of 9 of h20 together, more than its own 8."),
        ([Tenant("city"), Tenant("a", 0, (20_000,))], "The tenants have a nominal quota of 20 of h20 in all, but there are 16."),
        ([Tenant("city"), Tenant("a", 2), Tenant("b", 1)], "The parents of a, b lead in a circle"),
        ([Tenant("city"), Tenant("a", 7)], "a stands under a tenant that is not there (number 7)."),
        ([Tenant("city"), Tenant("a", 0, (-1000,))], "The nominal quota of a of h20 is -1; it cannot be negative."),
        ([Tenant("city"), Tenant("a", 0, (), (1000,))], "a has a borrowing limit of h20, but no nominal quota of it that could be lent or exceeded."),
        ([Tenant("city"), Tenant("a", 0, weight=0)], "The weight of a is 0; it must be from 1 to 1000000."),
        ([Tenant("city"), Tenant("town")], "A tree has one tenant without a parent; here are 2: city, town."),
        ([Tenant("city"), Tenant("a", 0), Tenant("a", 0)], "There are 2 tenants called a; give each a name of its own."),
        ([Tenant("city"), Tenant("a", 0, half_life=-1)], "The half-life of a is -1; it cannot be negative."),
        ([Tenant("city"), Tenant("a", 0, (1, 1))], "a has a nominal quota of 2 classes, but there are 1."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_tree_is_said(tree: list[Tenant], says: str) -> None:
    assert any(problem.startswith(says) for problem in check(tree, [16_000], ["h20"])), check(tree, [16_000], ["h20"])


# Whose turn it is.


def in_order(T: Tenants, jobs: Sequence[Job], now: int) -> tuple[list[int], Jobs]:
    made = book(jobs)
    q = queues(made.jobs, 1)
    for job in range(len(jobs)):
        enqueue(q, made.jobs, job, False)
    order = np.full(len(jobs), -1, np.int64)
    assert fairly(T, made.shapes, made.jobs, q, 0, now, order) == len(jobs)
    return order.tolist(), made.jobs


def by_the_book(T: Tenants, tree: list[Tenant], jobs: list[Job], ageing: int, now: int) -> list[int]:
    """Progressive filling worked out anew for every turn. `jobs` by submission, each with one task of one class."""
    top = max(job.priority for job in jobs)
    rank = [min(job.priority + (now - job.submit) // ageing, top) if ageing else job.priority for job in jobs]
    direct = [[Fraction(usage(T, len(tree) + at, k)) for k in range(3)] for at in range(len(tree))]
    whole = [[Fraction(usage(T, at, k)) for k in range(3)] for at in range(len(tree))]
    waiting, order = list(range(len(jobs))), list[int]()
    held = [[int(part) for part in row] for row in T.held]

    def beyond(row: int, job: int) -> bool:
        return held[row][kind(job)] + jobs[job].options[0].shape.devices * 1000 > int(T.claim[row, kind(job)])

    def kind(job: int) -> int:
        return jobs[job].options[0].shape.classes.bit_length() - 1

    def turn(at: int, level: list[int]) -> tuple[Fraction, int] | None:
        """The share of the subtree of a tenant for the sake of the job that would be its next, and that job."""
        branches = []
        mine = [job for job in level if jobs[job].tenant == at]
        if mine:
            share = max(part / int(T.capacity[k]) for k, part in enumerate(direct[at]))
            branches.append((beyond(len(tree) + at, mine[0]), share / tree[at].weight, mine[0], share))
        for child in range(len(tree)):
            if tree[child].parent == at and (found := turn(child, level)):
                branches.append((beyond(child, found[1]), found[0] / tree[child].weight, found[1], found[0]))
        if not branches:
            return None
        _, _, job, share = min(branches)
        return max(share, whole[at][kind(job)] / int(T.capacity[kind(job)])), job

    while waiting:
        highest = max(rank[job] for job in waiting)
        found = turn(0, [job for job in waiting if rank[job] == highest])
        assert found is not None
        job = found[1]
        order.append(job)
        waiting.remove(job)
        amount = jobs[job].options[0].shape.devices * 1000
        direct[jobs[job].tenant][kind(job)] += amount
        held[len(tree) + jobs[job].tenant][kind(job)] += amount
        for at in ancestors(tree, jobs[job].tenant):
            whole[at][kind(job)] += amount
            held[at][kind(job)] += amount
    return order


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Tenant], list[Job], list[tuple[int, int, int]], int]:
    many = draw(st.integers(1, 7))
    tree = [
        Tenant(
            f"t{at}",
            draw(st.integers(0, at - 1)) if at else -1,
            draw(st.sampled_from([(), (), (4000,), (2000, 8000)])) if at else (),
            weight=draw(st.sampled_from([1, 1, 2, 3])),
            half_life=draw(st.sampled_from([0, 100])),
        )
        for at in range(many)
    ]
    jobs = [
        Job(str(at), (Option(Shape(draw(st.integers(1, 4)), classes=draw(st.sampled_from([1, 2])))),), at, 10, tenant=draw(st.integers(0, many - 1)), priority=draw(st.integers(0, 2)))
        for at in range(draw(st.integers(1, 20)))
    ]  # fmt: skip
    held = draw(st.lists(st.tuples(st.integers(0, many - 1), st.integers(0, 1), st.integers(0, 8)), max_size=4))
    return tree, jobs, held, draw(st.sampled_from([0, 10, 30]))


@given(crowds())
@settings(max_examples=150, deadline=None)
def test_the_fair_order_is_that_of_filling_step_by_step(case: tuple[list[Tenant], list[Job], list[tuple[int, int, int]], int]) -> None:
    tree, jobs, held, ageing = case
    with plainly():
        # capacities that divide the scale of a share, so that nothing is rounded
        T = tenants(tree, 2, [1 << 14, 1 << 15, 1 << 10], ageing=ageing)
        for who, kind, amount in held:
            hold(T, who, kind, amount * 1000, 1, True)
        age(T, 40)
        for who, kind, amount in held[1:]:
            hold(T, who, kind, amount * 1000, -1, True)
        order, rows = in_order(T, jobs, 40)
        assert sorted(order) == list(range(len(jobs)))
        assert order == by_the_book(T, tree, jobs, ageing, 40)
        if not ageing:
            assert [rows.job.priority[job] for job in order] == sorted((job.priority for job in jobs), reverse=True)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 8)), min_size=2, max_size=40))
@settings(max_examples=60, deadline=None)
def test_splitting_a_job_gains_nothing(asked: list[tuple[int, int]]) -> None:
    jobs = [Job(str(at), (Option(Shape(devices)),), at, 10, tenant=1 + who) for at, (who, devices) in enumerate(asked)]
    with plainly():
        order, _ = in_order(tenants([Tenant("city"), Tenant("a", 0), Tenant("b", 0)], 1, [8000, 0]), jobs, 100)
    left, got = [sum(job.tenant == who for job in jobs) for who in (1, 2)], [0, 0]
    for job in order:
        if all(left):
            assert abs(got[0] - got[1]) <= max(devices for _, devices in asked)
        got[jobs[job].tenant - 1] += asked[job][1]
        left[jobs[job].tenant - 1] -= 1


def wants(tenant: int, kind: int, many: int) -> list[Job]:
    return [Job(f"{tenant}-{kind}-{at}", (Option(Shape(1, classes=1 << kind)),), 0, 10, tenant=tenant) for at in range(many)]


def test_nobody_starves_because_a_sibling_holds_another_class() -> None:
    """The example of Bhattacharya et al., SoCC'13, figure 4, on plain sums over a subtree."""
    tree = [Tenant("root"), Tenant("n1", 0), Tenant("n2", 0), Tenant("n21", 2), Tenant("n22", 2)]
    with plainly():
        T = tenants(tree, 2, [8000, 8000, 0])
        hold(T, 4, 1, 8000, 1, True)
        jobs = wants(1, 0, 8) + wants(3, 0, 8) + wants(4, 1, 8)
        order, _ = in_order(T, jobs, 0)
    first = [jobs[job].tenant for job in order][:8]
    assert (first.count(1), first.count(3)) == (4, 4)


def test_a_subtree_gains_nothing_by_founding_tenants() -> None:
    tree = [Tenant("root"), Tenant("alone", 0), Tenant("many", 0), *(Tenant(f"m{at}", 2) for at in range(20))]
    jobs = wants(1, 0, 20) + [job for at in range(20) for job in wants(3 + at, 0, 1)]
    with plainly():
        order, _ = in_order(tenants(tree, 1, [8000, 0]), jobs, 0)
    assert sum(jobs[job].tenant == 1 for job in order[:20]) == 10


def test_weights_divide_what_there_is() -> None:
    jobs = wants(1, 0, 30) + wants(2, 0, 30)
    with plainly():
        order, _ = in_order(tenants([Tenant("city"), Tenant("a", 0, weight=3), Tenant("b", 0)], 1, [8000, 0]), jobs, 0)
    assert sum(jobs[job].tenant == 1 for job in order[:20]) == 15


def test_who_lends_has_its_own_quota_back_as_soon_as_what_it_lent_ends() -> None:
    """However heavy the borrower is: without preemption, since all that it runs ends in time."""
    nodes = [Node(name, devices=8) for name in "ab"]
    tree = [Tenant("city", nominal=(16_000,)), Tenant("heavy", 0, (8000,), weight=2), Tenant("light", 0, (8000,))]
    jobs = [Job(f"h{at}", (Option(Shape(2, classes=1)),), 0, 60, 60, tenant=1) for at in range(300)]
    jobs += [Job(f"l{at}", (Option(Shape(2, classes=1)),), 100, 60, 60, tenant=2) for at in range(40)]
    with plainly():
        T = tenants(tree, 1, totals(nodes, 1), reclaim=120)
        rows = simulate(nodes, jobs, policies()["drf-tree"], tenants=T).book
    begun = {name: (int(rows.jobs.job.start[at]), int(rows.jobs.job.end[at])) for at, name in enumerate(rows.names)}
    for moment in (161, 221, 281):
        held = {who: sum(2 for name, (start, end) in begun.items() if name[0] == who and start <= moment < end) for who in "hl"}
        assert held["l"] >= 8, (moment, held)


@pytest.mark.parametrize("policy", ["easy-4", "conservative", "easy"])
def test_what_has_come_back_of_its_own_quota_is_kept_for_who_waits_for_all_of_it(policy: str) -> None:
    nodes = [Node(name, devices=8) for name in "ab"]
    tree = [Tenant("city", nominal=(16_000,)), Tenant("borrower", 0, (8000,)), Tenant("owner", 0, (8000,))]

    def small(name: str, submit: int) -> Job:
        return Job(name, (Option(Shape(2, classes=1)),), submit, 60, tenant=1)

    runs = [Held(small(f"r{at}", 0), 0, 0, ((at // 4, 3 << at % 4 * 2),)) for at in range(7)]
    waits = [Job("wide", (Option(Shape(4, classes=1)),), 1, 60, tenant=2), small("more", 2)]
    with plainly():
        T = tenants(tree, 1, totals(nodes, 1), reclaim=120)
        state, queue = opened(nodes, waits, policies()[policy], 0, runs, 10, T)
        assert decide(state, queue, policies()[policy], 10, 0).starts == ()


def test_waiting_long_lifts_a_job_to_the_highest_priority_and_no_further() -> None:
    jobs = [
        Job("old", (Option(Shape(1)),), 0, 10, tenant=1),
        Job("urgent", (Option(Shape(1)),), 900, 10, tenant=2, priority=5),
    ]
    with plainly():
        T = tenants([Tenant("city"), Tenant("a", 0), Tenant("b", 0)], 1, [8000, 0], ageing=100)
        assert in_order(T, jobs, 900)[0] == [0, 1]
        assert in_order(T, jobs, 400)[0] == [1, 0]
        hold(T, 1, 0, 1000, 1, True)  # at the same priority the smaller share counts
        assert in_order(T, jobs, 9_000_000)[0] == [1, 0]


def test_compiled_and_plain_agree() -> None:
    chance = random.Random(7)
    tree = [Tenant("city", half_life=500)]
    tree += [Tenant(f"o{at}", 0, (30_000, None), (5000,), (8000,), 1 + at, 300) for at in range(3)]
    tree += [Tenant(f"p{at}", 1 + at % 3, (5000 if at % 2 else None,), half_life=200) for at in range(9)]
    jobs = [
        Job(str(at), (Option(Shape(chance.randint(0, 4), cpu=1000, classes=chance.choice([1, 2, -1])), chance.randint(1, 2)),), at * 3, 10, tenant=chance.randrange(13), priority=chance.randrange(3))
        for at in range(60)
    ]  # fmt: skip
    steps = [(chance.randrange(13), chance.randrange(3), chance.randint(1, 9000), chance.random() < 0.7) for _ in range(80)]
    answers = []
    for plain in (True, False):
        with plainly(plain):
            T, found, now = tenants(tree, 2, [100_000, 50_000, 64_000], ageing=70), list[object](), 0
            for who, kind, amount, back in steps:
                now += amount % 97
                age(T, now)
                found.append((may_hold(T, who, kind, amount, back), borrowed(T, who, kind)))
                if may_hold(T, who, kind, amount, back):
                    hold(T, who, kind, amount, 1, back)
            found.append(in_order(T, jobs, now)[0])
            found.append([part.tolist() for part in (T.past, T.used, T.firm, T.loose, T.held)])
            answers.append(found)
    assert answers[0] == answers[1]
