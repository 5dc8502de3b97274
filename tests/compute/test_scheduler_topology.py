"""Gangs that stay together, and nodes that close."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.compute.scheduler.compiled import plainly
from lilong.floors.compute.scheduler.fragmentation import Typical, typical
from lilong.floors.compute.scheduler.jobs import Book, Job, Option, Shape, book
from lilong.floors.compute.scheduler.place import lay, lift
from lilong.floors.compute.scheduler.score import CONSOLIDATED, WAYS
from lilong.floors.compute.scheduler.state import OPEN, Node, Site, ordered, site
from lilong.floors.compute.scheduler.topology import domain_end, domains_for

Case = tuple[list[Node], list[Job]]


@st.composite
def cities(draw: st.DrawFn) -> Case:
    """Up to twelve nodes in sites and racks (some of which nobody knows), and gangs with a required and a preferred level."""
    nodes = []
    for at in range(draw(st.integers(1, 12))):
        domains = (draw(st.integers(0, 1)), draw(st.integers(0, 2)))[: draw(st.sampled_from([2, 2, 2, 1, 0]))]
        closes = draw(st.sampled_from([OPEN, OPEN, 50]))
        nodes.append(
            Node(f"n{at}", 0, draw(st.integers(0, 1)), draw(st.integers(0, 4)), draw(st.integers(1, 8)) * 1000, 800, domains, closes)
        )
    jobs = []
    for at in range(draw(st.integers(1, 10))):
        devices = draw(st.integers(0, 3))
        milli = draw(st.sampled_from([1000, 400])) if devices == 1 else 1000
        shape = Shape(
            devices,
            milli,
            draw(st.integers(0 if devices else 1, 2)) * 1000,
            draw(st.integers(0, 2)) * 100,
            draw(st.sampled_from([-1, 1, 2])),
        )
        level = draw(st.integers(0, 2))
        option = Option(shape, draw(st.integers(1, 5)), level=level, near=draw(st.sampled_from([0, 2])))
        jobs.append(Job(str(at), (option,), 0, 10))
    return nodes, jobs


def opened(case: Case, way: str = "consolidated") -> tuple[Site, Book, Typical]:
    made = book(case[1])
    s = site(case[0], len(made.asked), memo=way == "fgd", mixes=True, seed=1, levels=made.levels, together=made.together)
    return s, made, typical(made.asked, made.uses)


def domain(node: Node, at: int, level: int) -> object:
    """What nodes of one domain have in common; a node that does not say where it is has it alone."""
    return node.domains[:level] if len(node.domains) >= level else at


def room(s: Site, at: int, node: Node, shape: Shape, until: int, kinds: int) -> int:
    """How many tasks fit a node."""
    if node.closes < until or not shape.classes >> node.kind & 1 or (shape.devices and not kinds >> node.kind & 1):
        return 0
    each = [99]
    if shape.cpu:
        each.append(int(s.node.cpu[at]) // shape.cpu)
    if shape.memory:
        each.append(int(s.node.memory[at]) // shape.memory)
    if shape.devices:
        each.append(sum(int(free) // shape.milli for free in s.free[at]) // shape.devices)
    return min(each)


@given(
    cities(),
    st.sampled_from(sorted(WAYS)),
    st.lists(st.tuples(st.booleans(), st.sampled_from([10, 60]), st.sampled_from([-1, 1, 2])), min_size=10, max_size=10),
)
@settings(max_examples=150, deadline=None)
def test_a_gang_gets_the_fullest_domain_with_room_and_waits_only_if_there_is_none(
    case: Case, way: str, turns: list[tuple[bool, int, int]]
) -> None:
    with plainly():
        s, made, usual = opened(case, way)
        b, nodes, laid = made.jobs, ordered(case[0]), list[int]()
        for job, (leave, until, kinds) in enumerate(turns[: len(case[1])]):
            if leave and laid:
                lift(s, made.shapes, b, laid.pop(0))
            option = case[1][job].options[0]
            rooms = [room(s, at, node, option.shape, until, kinds) for at, node in enumerate(nodes)]
            expected: set[int] | None = None
            alone = option.tasks == 1
            for level in [0] if alone else range(max(option.level, option.near), option.level - 1, -1):
                of: dict[object, list[int]] = {}
                for at, node in enumerate(nodes):
                    of.setdefault(domain(node, at, level) if level else None, []).append(at)
                fitting = [(sum(rooms[at] for at in members), members[0], set(members)) for members in of.values()]
                fitting = [one for one in fitting if one[0] >= option.tasks]
                if fitting:
                    expected = min(fitting, key=lambda one: one[:2])[2]
                    break
            got = lay(s, made.shapes, b, usual, WAYS[way], job, job, False, until, kinds)
            assert got == (expected is not None)
            if got and expected is not None:
                laid.append(job)
                places = b.place[b.job[job].room : b.job[job].room + b.job[job].placed]
                assert len(places) == option.tasks
                assert {int(place.node) for place in places} <= expected
                assert all(nodes[place.node].closes >= until for place in places)
                assert all(not option.shape.devices or kinds >> nodes[place.node].kind & 1 for place in places)


@given(cities(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_room_that_is_remembered_is_the_room_there_is(case: Case, seed: int) -> None:
    chance = random.Random(seed)
    with plainly():
        s, made, usual = opened(case)
        if not made.levels:
            return
        laid: list[int] = []
        for _ in range(12):
            job = chance.randrange(len(case[1]))
            if job in laid:
                lift(s, made.shapes, made.jobs, job)
                laid.remove(job)
            elif lay(s, made.shapes, made.jobs, usual, CONSOLIDATED, job, job, False, -1, -1):
                laid.append(job)
            fresh = s._replace(known=s.known * 0)
            for shape in range(len(made.asked)):
                for level in range(1, made.levels + 1):
                    asked = (made.shapes, 0, level, shape, 1, chance.choice([10, 60]), chance.choice([-1, 1]))
                    assert domains_for(s, *asked).tolist() == domains_for(fresh, *asked).tolist()


@given(cities())
@settings(max_examples=60, deadline=None)
def test_every_domain_is_a_stretch_of_nodes(case: Case) -> None:
    nodes = ordered(case[0])
    with plainly():
        s = site(case[0], 1, memo=False, mixes=False, seed=0, levels=2, together=1)
    for level in (1, 2):
        low, seen = 0, list[set[object]]()
        while low < len(nodes):
            with plainly():
                high = domain_end(s, 0, level, low)
            seen.append({domain(node, at, level) for at, node in enumerate(nodes) if low <= at < high})
            low = high
        assert all(len(names) == 1 for names in seen)
        assert len(set().union(*seen)) == len(seen)


def laid(case: Case, job: int = 0, until: int = 10) -> list[str]:
    with plainly():
        s, made, usual = opened(case)
        nodes = ordered(case[0])
        b = made.jobs
        for before in range(job):
            assert lay(s, made.shapes, b, usual, CONSOLIDATED, before, before, False, until, -1)
        if not lay(s, made.shapes, b, usual, CONSOLIDATED, job, int(b.job[job].first), False, until, -1):
            return []
        return sorted(nodes[place.node].name for place in b.place[b.job[job].room : b.job[job].room + b.job[job].placed])


def racks(many: int, each: int, devices: int = 8) -> list[Node]:
    return [Node(f"r{rack}-{at}", devices=devices, cpu=64_000, domains=(0, rack)) for rack in range(many) for at in range(each)]


def gang(tasks: int, devices: int, level: int = 0, near: int = 0) -> Job:
    return Job("gang", (Option(Shape(devices), tasks, level=level, near=near),), 0, 10)


def test_a_gang_that_must_stay_in_a_rack_waits_for_one() -> None:
    assert laid((racks(3, 4), [gang(4, 8, level=2)])) == ["r0-0", "r0-1", "r0-2", "r0-3"]
    assert laid((racks(3, 4), [gang(5, 8, level=2)])) == []


def test_a_gang_that_would_like_a_rack_takes_a_site_when_there_is_none() -> None:
    assert len(laid((racks(3, 4), [gang(5, 8, level=1, near=2)]))) == 5


def test_tasks_share_a_node_if_they_fit() -> None:
    assert laid((racks(2, 2), [gang(8, 2, level=2)])) == ["r0-0"] * 4 + ["r0-1"] * 4


def test_the_rack_that_keeps_the_least_room_is_taken() -> None:
    assert laid((racks(2, 3), [gang(2, 8, level=2), replace(gang(2, 4, level=2), id="second"), gang(3, 8, level=2)]), 1) == ["r0-2", "r0-2"]


def test_a_node_that_nobody_has_placed_is_in_no_rack_with_others() -> None:
    nodes = [Node(f"n{at}", devices=8) for at in range(4)]
    assert laid((nodes, [gang(2, 8, level=1)])) == []
    assert laid((nodes, [gang(2, 4, level=1)])) == ["n0", "n0"]


def test_what_may_run_into_the_maintenance_does_not_start_there() -> None:
    nodes = [replace(node, closes=100) for node in racks(1, 2)] + [Node("z", devices=8, domains=(1, 0))]
    assert laid((nodes, [gang(1, 8)]), until=100) == ["r0-0"]
    assert laid((nodes, [gang(1, 8)]), until=101) == ["z"]
    assert laid((nodes, [gang(2, 8, level=2)]), until=101) == []


def test_nodes_that_close_at_the_same_time_share_a_group() -> None:
    nodes = [replace(node, closes=100 if at % 3 else OPEN) for at, node in enumerate(racks(40, 5))]
    with plainly():
        s = site(nodes, 1, memo=False, mixes=False, seed=0)
    assert int((s.group["count"] > 0).sum()) == 2


def test_one_task_needs_no_topology() -> None:
    made = book([gang(1, 8, level=2, near=2)])
    assert (made.levels, made.together) == (0, 0)


def test_compiled_and_plain_lay_the_same() -> None:
    chance = random.Random(3)
    nodes = [Node(f"n{at}", 0, at % 2, 4, 16_000, 8000, (at % 2, at % 5), chance.choice([OPEN, OPEN, 60])) for at in range(24)]
    jobs = [
        Job(str(at), (Option(Shape(chance.randint(0, 2), 1000, 1000, 100, chance.choice([-1, 1, 2])), chance.randint(1, 6), level=chance.randint(0, 2), near=chance.choice([0, 2])),), 0, 10)
        for at in range(60)
    ]  # fmt: skip
    answers = []
    for plain in (True, False):
        with plainly(plain):
            s, made, usual = opened((nodes, jobs), "fgd")
            b, found = made.jobs, []
            for job in range(len(jobs)):
                found.append(bool(lay(s, made.shapes, b, usual, WAYS["fgd"], job, job, False, 50 + job, -1)))
                if found[-1] and job % 4 == 0:
                    lift(s, made.shapes, b, job)
            answers.append((found, b.place.node.tolist(), b.place.devices.tolist(), s.group["count"].tolist()))
    assert answers[0] == answers[1]
    assert 0 < sum(answers[0][0]) < len(jobs)
