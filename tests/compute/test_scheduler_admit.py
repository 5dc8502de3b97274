"""What could never start, and why."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.compute.scheduler.admit import impossible, refuse_impossible
from lilong.floors.compute.scheduler.compiled import plainly
from lilong.floors.compute.scheduler.fragmentation import typical
from lilong.floors.compute.scheduler.jobs import Job, Option, Shape, book
from lilong.floors.compute.scheduler.state import Node, site
from lilong.floors.compute.scheduler.tenants import Tenant, tenants

CLASSES = ("h20", "910b")
LEVELS = ("site", "rack")
NODES = [Node(f"r{rack}-{at}", 0, rack % 2, 8, 64_000, 500_000, (0, rack), 5) for rack in range(4) for at in range(3)]


@st.composite
def asked(draw: st.DrawFn) -> tuple[list[Node], Job]:
    nodes = []
    for at in range(draw(st.integers(1, 6))):
        domains = (draw(st.integers(0, 1)), draw(st.integers(0, 1)))[: draw(st.sampled_from([2, 2, 1, 0]))]
        nodes.append(
            Node(
                f"n{at}",
                draw(st.integers(0, 1)),
                draw(st.integers(0, 1)),
                draw(st.integers(0, 4)),
                draw(st.integers(0, 4)) * 1000,
                800,
                domains,
            )
        )

    def shape() -> Shape:
        devices = draw(st.integers(0, 3))
        milli = draw(st.sampled_from([1000, 400])) if devices == 1 else 1000
        return Shape(
            devices,
            milli,
            draw(st.integers(0 if devices else 1, 2)) * 1000,
            draw(st.integers(0, 5)) * 100,
            draw(st.sampled_from([-1, 1, 2])),
        )

    options = tuple(
        Option(shape(), draw(st.integers(1, 5)), shape() if draw(st.booleans()) else None, level=draw(st.integers(0, 3)))
        for _ in range(draw(st.integers(1, 2)))
    )
    return nodes, Job("job", options, 0, 10)


@given(asked())
@settings(max_examples=200, deadline=None)
def test_a_job_is_impossible_if_it_cannot_be_laid_out_on_empty_nodes(case: tuple[list[Node], Job]) -> None:
    nodes, job = case
    told = impossible(nodes, CLASSES, job, tenants([], 2), "lantern-works", LEVELS)
    assert len(told) in (0, len(job.options))
    with plainly():
        made = book([job])
        s = site(nodes, len(made.asked), memo=False, mixes=False, seed=0, levels=made.levels, together=made.together)
        refused = refuse_impossible(s, made.shapes, made.jobs, typical(made.asked, made.uses), np.zeros(len(made.asked), np.int64))
    if not refused:
        assert told == []
    elif not any(option.rest for option in job.options):  # laying out one task after another may miss how a smaller one fits beside
        assert told


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (Option(Shape(8)), None),
        (Option(Shape(8), 3, level=2), None),
        (Option(Shape(9)), "A task asks for 9 devices; the most devices on one node are 8."),
        (Option(Shape(4, cpu=96_000, classes=1)), "A task asks for 4 h20 and 96 cores; the most cores on such a node are 64."),
        (Option(Shape(memory=600_000, cpu=1000)), "A task asks for 1 cores and 600000 MiB; the most MiB on such a node are 500000."),
        (Option(Shape(1, classes=4)), "There is no node with a device of its class."),
        (Option(Shape(8, classes=2), 7), "It has 7 tasks, of 8 910b each, and all nodes together have room for 6."),
        (Option(Shape(8), 4, level=2), "It has 4 tasks, of 8 devices each, that must be in one rack; the largest rack has room for 3."),
        (Option(Shape(8), 2, level=3), "It has 2 tasks, of 8 devices each, that must be in one node; the largest node has room for 1."),
        (Option(Shape(8), 3, Shape(1), level=2), "It has 3 tasks and a smaller one, of 8 devices each, that must be in one rack; the largest rack has room for 2."),
    ],
)  # fmt: skip
def test_the_reason_is_one_that_a_person_can_act_on(option: Option, says: str | None) -> None:
    told = impossible(NODES, CLASSES, Job("job", (option,), 0, 10), tenants([], 2), "lantern-works", LEVELS)
    assert told == ([] if says is None else [says])


def test_a_quota_that_would_never_allow_it_is_named() -> None:
    tree = [Tenant("city"), Tenant("a", 0, (16_000, 8000), (8000, 0)), Tenant("b", 0, (16_000,), (), (4000,))]
    empty = tenants(tree, 2, [48_000, 48_000, 768_000], reclaim=3600)

    def told(shape: Shape, tasks: int, limit: int, **more: bool) -> list[str]:
        return impossible(NODES, CLASSES, Job("job", (Option(shape, tasks),), 0, limit, tenant=1, **more), empty, "a", LEVELS)

    assert told(Shape(8, classes=1), 3, 3600) == []
    assert told(Shape(8, classes=1), 2, 9000) == []
    assert told(Shape(8, classes=1), 3, 9000, preemptible=True) == []
    assert told(Shape(8, classes=1), 4, 3600) == ["It asks for 32 h20, and a may never hold more than 24."]
    assert told(Shape(8, classes=1), 3, 9000) == [
        "It asks for 24 h20, and a may never hold more than 16 with jobs that run for longer than 3600 s and cannot be preempted."
    ]
    assert told(Shape(8), 3, 3600) == []  # of the other class it may


def test_what_fits_in_another_way_is_not_impossible() -> None:
    both = Job("job", (Option(Shape(9)), Option(Shape(4), 2)), 0, 10)
    assert impossible(NODES, CLASSES, both, tenants([], 2), "a", LEVELS) == []
