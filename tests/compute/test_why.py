"""Why a job waits, and what would make it start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.compute.snapshots import houses, node, snapshot, way, ways

from lilong.floors.compute.contract import ReasonCode
from lilong.floors.compute.rules.counterfactuals import Change, Supposed, duration, largest, suppose
from lilong.floors.compute.rules.explaining import Explained, explained
from lilong.floors.compute.rules.scene import Scene
from lilong.floors.compute.rules.telling import code
from lilong.floors.compute.scheduler.compiled import plainly
from lilong.floors.compute.scheduler.decide import Reason
from lilong.floors.compute.scheduler.opening import decided
from lilong.floors.compute.scheduler.snapshot import SnapJob, Snapshot, SnapTenant, Way
from lilong.floors.compute.scheduler.supposing import Supposing

POLICIES = ("easy", "fifo", "drf-tree", "drf-tree", "fgd", "sjf", "easy-sjbf", "conservative")
SLOW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    with plainly():
        yield


def starts(found: Snapshot, job: str, supposed: Supposed) -> bool:
    return job in decided(suppose(found, job, supposed)).starts


def asked(found: Snapshot, job: str, others: tuple[Way, ...] = ()) -> dict[str, Change]:
    return {change.dimension: change for change in Supposing(found).counterfactuals(job, others)}


def told(found: Snapshot, job: str, mine: set[str]) -> Explained:
    supposing = Supposing(found)
    return explained(Scene(found, supposing.decision, supposing.order), job, mine)


# --- what is stated is so --------------------------------------------------------------------------------------------------


@given(found=houses(POLICIES), others=st.lists(ways(), max_size=2), data=st.data())
@SLOW
def test_a_stated_change_makes_decide_start_the_job_and_a_smaller_one_does_not(
    found: Snapshot, others: list[Way], data: st.DataObject
) -> None:
    supposing = Supposing(found)
    assume(not supposing.decision.starts and supposing.order)
    job = data.draw(st.sampled_from(supposing.order))
    empty = replace(found, jobs=tuple(one for one in found.jobs if one.id == job))
    possible = [way for way in others if starts(empty, job, Supposed(ways=(way,)))]
    for change in supposing.counterfactuals(job, possible):
        if change.at is not None:
            assert not starts(found, job, change.supposed), change
            assert starts(_alone(found, job, change.at), job, change.supposed), change
            continue
        assert starts(found, job, change.supposed), change
        less = _one_less(next(one for one in found.jobs if one.id == job), change)
        assert less is None or not starts(found, job, less), change


def _alone(found: Snapshot, job: str, at: int) -> Snapshot:
    """When all that may still run at that time does, and nobody else waits."""
    left = [one for one in found.jobs if one.id == job or (one.started is not None and one.started + one.ways[one.way].limit > at)]
    return replace(found, now=at, jobs=tuple(left))


def _one_less(job: SnapJob, change: Change) -> Supposed | None:
    """What is nearer by one step to what is asked for."""
    if change.dimension == "limit":
        asked, more = min(one.limit for one in job.ways), change.value + 1
        if more >= asked:
            return None
        return Supposed(ways=tuple(replace(one, limit=-(-one.limit * more // asked)) for one in job.ways))
    step = {"tasks": 1, "devices": 1, "cpu": 1000, "memory": 1}.get(change.dimension)
    if step is None:
        return None

    def at_most(one: Way, bound: int) -> Way:
        return replace(one, **{change.dimension: min(getattr(one, change.dimension), bound)})

    bound = change.value * (1000 if change.dimension == "cpu" else 1)
    these = [one for one in job.ways if at_most(one, bound) in (change.supposed.ways or ())]
    if bound + step >= min(getattr(one, change.dimension) for one in these):
        return None
    return Supposed(ways=tuple(at_most(one, bound + step) for one in these))


@given(found=houses(POLICIES), other=ways(), data=st.data())
@SLOW
def test_asking_with_one_job_patched_is_asking_anew(found: Snapshot, other: Way, data: st.DataObject) -> None:
    supposing = Supposing(found)
    assume(not supposing.decision.starts and supposing.order)
    chosen = data.draw(st.sampled_from(supposing.order))
    job = next(one for one in found.jobs if one.id == chosen)
    limit, tasks, priority = data.draw(st.integers(1, 3000)), data.draw(st.integers(1, 2)), data.draw(st.integers(0, 4))
    quota = {
        (tenant.name, kind): amount + 3000
        for tenant in found.tenants
        for kind, amount in tenant.nominal.items()
        if tenant.name == job.tenant
    }
    for supposed in (
        Supposed(ways=tuple(replace(one, limit=min(one.limit, limit)) for one in job.ways)),
        Supposed(ways=tuple(replace(one, tasks=min(one.tasks, tasks)) for one in job.ways)),
        Supposed(ways=tuple(replace(one, devices=min(one.devices, 1), tasks=1) for one in job.ways)),
        Supposed(ways=(other,)),
        Supposed(preemptible=not job.preemptible),
        Supposed(priority=priority),
        Supposed(quotas=quota),
        Supposed(no_maintenance=True),
    ):
        begins, truly = supposing.begins(job.id, supposed), starts(found, job.id, supposed)
        moves = found.policy == "drf-tree" and (supposed.priority is not None or supposed.ways == (other,))
        assert begins == truly or (moves and truly), supposed


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.lists(st.integers(-5, 65), max_size=4))
def test_the_largest_that_works_is_found_wherever_it_turns(low: int, high: int, turn: int, hints: list[int]) -> None:
    found = largest(low, high, lambda value: value <= turn, hints)
    assert found == (min(high, turn) if low <= min(high, turn) else None)


# --- known cases -----------------------------------------------------------------------------------------------------------

LONG = SnapJob("job-1", "lantern-works", 0, (way(limit=36_000),), started=0, places=(("pudong/a0", 255),))
WIDE = SnapJob("job-2", "harbour-lab", 10, (way(tasks=2, limit=7200),), 1)


def two_nodes(*jobs: SnapJob, tenants: tuple[SnapTenant, ...] = (), **more: object) -> Snapshot:
    return snapshot((node("a0"), node("a1"), node("b0", "lingang", "910b", 16)), jobs, tenants, **more)


def test_a_shorter_job_fits_before_the_promised_start() -> None:
    found = two_nodes(LONG, WIDE, SnapJob("job-3", "lantern-works", 20, (way(limit=72_000),), 2))
    changes = asked(found, "job-3", (way("lingang", "910b", limit=72_000, price=12),))
    assert changes["limit"].value == 36_000 - 1000
    assert changes["limit"].says == "It starts now with a time limit of at most 9 h 43 min instead of 20 h."
    assert changes["class"].says == "It starts now on 8 910b at lingang, 20 % dearer."
    assert set(changes) == {"limit", "class"}  # a priority above 0 is nobody's to ask for who does not run the house
    modest = SnapJob("job-3", "lantern-works", 20, (way(limit=72_000),), 2, priority=-5)
    assert asked(two_nodes(LONG, replace(WIDE, priority=-2), modest), "job-3")["priority"].value == -1


def test_another_class_that_is_free_sooner_is_told_with_its_time_and_price() -> None:
    mine = SnapJob("job-1", "lantern-works", 0, (way(limit=36_000, price=10),), 0, started=0, places=(("pudong/a", 255),))
    other = SnapJob("job-2", "harbour-lab", 0, (way("lingang", "910b", limit=9000),), 1, started=0, places=(("lingang/b", 255),))
    waits = SnapJob("job-3", "lantern-works", 10, (way(limit=3600, price=10),), 2)
    found = snapshot((node("a"), node("b", "lingang", "910b")), (mine, other, waits))
    change = asked(found, "job-3", (way("lingang", "910b", limit=3600, price=8),))["class"]
    assert (change.at, change.costlier_pct) == (9000, pytest.approx(-20))
    assert change.says == f"In {duration(9000 - found.now)} at the earliest it could start on 8 910b at lingang, 20 % cheaper."


def test_a_gang_is_told_with_how_many_tasks_it_starts_and_one_task_with_how_much_memory() -> None:
    assert asked(two_nodes(LONG, WIDE), "job-2")["tasks"].says == "It starts now with 1 task of 8 h20 instead of 2."
    small = SnapJob("job-4", "lantern-works", 0, (way(accelerator="", devices=0, cpu=1000, memory=600_000),))
    assert asked(two_nodes(LONG, small), "job-4")["memory"].says == "It starts now with 512000 MiB of memory instead of 600000."
    held = SnapJob(
        "job-5", "lantern-works", 0, (way(accelerator="", devices=0, memory=400_000, limit=9000),), started=0, places=(("here/n", 0),)
    )
    waits = SnapJob("job-6", "lantern-works", 5, (way("here", "", 0, memory=300_000),))
    one = snapshot((node("n", "here", "", 0),), (replace(held, ways=(replace(held.ways[0], site="here"),)), waits))
    assert asked(one, "job-6")["memory"].value == 112_000


def test_over_its_quota_a_job_starts_with_more_of_it_or_as_one_that_gives_way() -> None:
    tenants = (SnapTenant("lantern-works", nominal={"h20": 8000}), SnapTenant("harbour-lab", nominal={"h20": 8000}))
    found = two_nodes(LONG, SnapJob("job-3", "lantern-works", 20, (way(devices=4, limit=9000),), 2), tenants=tenants, policy="drf-tree")
    changes = asked(found, "job-3")
    assert changes["quota"].says == "It starts now with a quota of 12 instead of 8 h20 for lantern-works."
    assert "preemptible" in changes
    assert changes["limit"].value == 3600  # what ends within the tree's bound may borrow
    why = told(found, "job-3", {"job-1", "job-3"})
    assert why.code is ReasonCode.QUOTA
    assert why.says.startswith("It needs 4 h20; lantern-works holds 8 of its quota of 8 h20. A job that may not be preempted")


def test_a_job_that_would_run_into_maintenance_is_told_until_when_it_may_run() -> None:
    found = snapshot((node("a0", closes=5000),), (SnapJob("job-3", "lantern-works", 0, (way(limit=72_000),)),))
    changes = asked(found, "job-3")
    assert changes["limit"].value == 4000
    assert changes["maintenance"].says.startswith("It would start now but for the maintenance of pudong in 1 h 6 min")
    assert told(found, "job-3", set()).code is ReasonCode.MAINTENANCE


def test_the_sentence_tells_what_is_needed_what_is_free_and_who_has_the_rest() -> None:
    other = SnapJob("job-9", "harbour-lab", 0, (way(devices=2, limit=20_000),), started=0, places=(("pudong/a1", 3),))
    why = told(two_nodes(LONG, other, SnapJob("job-3", "lantern-works", 20, (way(limit=72_000),))), "job-3", {"job-1", "job-3"})
    assert why.code is ReasonCode.NO_ROOM
    assert why.says == (
        "It goes first. It needs 8 h20; free: 6 h20 at pudong, at most 6 on one node. Held by job-1 (8 h20), another tenant (2 h20)."
        " It starts at 05:33 UTC at the latest."
    )
    assert why.reserved_start == 20_000


def test_nodes_that_take_no_new_work_are_not_free() -> None:
    waits = SnapJob("job-3", "lantern-works", 20, (way(limit=7200),))
    shut = snapshot((node("a0", closes=0), node("a1", closes=0)), (waits,))
    assert (
        "; free: nothing at pudong: 2 nodes of h20 take no new work, drained, closed or under maintenance."
        in told(shut, "job-3", set()).says
    )
    half = snapshot((node("a0"), node("a1", closes=0)), (LONG, waits))
    assert "; free: 0 h20 at pudong (1 node of h20 takes no new work). Held by" in told(half, "job-3", set()).says


def test_whose_promised_start_would_be_delayed_is_told_of_ones_own_jobs_only() -> None:
    late = SnapJob("job-3", "lantern-works", 20, (way(limit=72_000),), 2)
    found = two_nodes(LONG, WIDE, late)
    assert "which would delay the start promised to another for 10:00 UTC." in told(found, "job-3", {"job-1", "job-3"}).says
    mine = two_nodes(LONG, replace(WIDE, tenant="lantern-works"), late)
    assert "which would delay the start promised to job-2 for 10:00 UTC." in told(mine, "job-3", {"job-1", "job-2", "job-3"}).says


CITY = (
    SnapTenant("city", nominal={"h20": 16_000}, borrow={"h20": 0}),
    SnapTenant("lantern-works", "city", nominal={"h20": 8000}),
    SnapTenant("harbour-lab", "city", nominal={"h20": 8000}),
)


def test_who_is_within_its_quota_is_told_that_others_have_borrowed_the_rest() -> None:
    """What was lent is being used by a job that runs beyond its time, so that nothing can be had back at once."""
    theirs = SnapJob("job-1", "lantern-works", 0, (way(limit=3000),), started=0, places=(("pudong/a0", 255),))
    more = SnapJob("job-2", "lantern-works", 0, (way(devices=2, limit=3000),), 1, started=0, places=(("pudong/a1", 3),))
    mine = SnapJob("job-3", "harbour-lab", 0, (way(devices=6, limit=9000),), 2, started=0, places=(("pudong/a1", 252),))
    waits = SnapJob("job-4", "harbour-lab", 20, (way(devices=2, limit=9000),), 3)
    found = snapshot((node("a0"), node("a1"), node("a2")), (theirs, more, mine, waits), CITY, policy="drf-tree")
    why = told(found, "job-4", {"job-3", "job-4"})
    assert why.code is ReasonCode.QUOTA
    assert why.says == (
        "It needs 2 h20; harbour-lab holds 6 of its quota of 8 h20; others have borrowed the rest, which comes back within 1 h."
    )


@pytest.mark.parametrize(
    ("borrow", "says"),
    [
        ({"h20": 2000}, "lantern-works holds 8 of its quota of 8 h20 and may borrow no more than 2."),
        ({"h20": 4000}, "lantern-works holds 8 of its quota of 8 h20 and may borrow 4, but nobody lends as much now."),
        ({}, "lantern-works holds 8 of its quota of 8 h20 and may borrow, but nobody lends as much now."),
    ],
)
def test_who_would_have_to_borrow_is_told_what_stands_against_it(borrow: dict[str, int], says: str) -> None:
    lends = replace(CITY[2], lend={"h20": 2000})
    waits = SnapJob("job-3", "lantern-works", 20, (way(devices=4, limit=600),))
    found = two_nodes(LONG, waits, tenants=(CITY[0], replace(CITY[1], borrow=borrow), lends), policy="drf-tree")
    assert told(found, "job-3", {"job-1", "job-3"}).says.endswith(says)


def test_what_parts_of_a_tenant_have_for_themselves_is_told() -> None:
    part = SnapTenant("lantern-works/tide", "lantern-works", nominal={"h20": 6000}, lend={"h20": 0})
    waits = SnapJob("job-3", "lantern-works", 20, (way(devices=4, limit=600),))
    found = two_nodes(waits, tenants=(*CITY[:2], part, replace(CITY[2], lend={"h20": 0})), policy="drf-tree")
    assert told(found, "job-3", {"job-3"}).says.endswith("lantern-works holds 0 of its quota of 8 h20, of which 6 are for its parts first.")


def test_who_is_ahead_is_counted_and_only_ones_own_are_named() -> None:
    jobs = (LONG, WIDE, *(SnapJob(f"job-{at}", TENANT_OF[at % 2], 20 + at, (way(tasks=2, limit=3600),), at) for at in range(3, 7)))
    why = told(two_nodes(*jobs), "job-6", {"job-1", "job-4", "job-6"})
    assert (why.ahead.count, why.ahead.own_count, why.ahead.own) == (4, 1, ("job-4",))
    assert why.ahead.device_hours == 16 * 2 + 3 * 16
    assert "4 jobs, 1 of them yours, go before it" in why.says


TENANT_OF = ("lantern-works", "harbour-lab")


@given(found=houses(POLICIES), data=st.data())
@SLOW
def test_an_explanation_names_nobody_elses_jobs_or_tenants(found: Snapshot, data: st.DataObject) -> None:
    supposing = Supposing(found)
    assume(supposing.order)
    chosen = data.draw(st.sampled_from(supposing.order))
    job = next(one for one in found.jobs if one.id == chosen)
    mine = {one.id for one in found.jobs if one.tenant == job.tenant}
    why = explained(Scene(supposing.snapshot, supposing.decision, supposing.order), job.id, mine)
    text = repr(why) + repr([(one.says, one.value) for one in supposing.counterfactuals(job.id)])
    for other in found.jobs:
        assert other.tenant == job.tenant or (other.tenant not in text and f"'{other.id}'" not in text and f"{other.id} " not in text)


def test_the_codes_are_in_one_total_order_and_every_reason_of_decide_has_one() -> None:
    codes = [code(reason.name.lower(), reserved=False, reachable=True) for reason in Reason]
    assert codes == sorted(codes, key=list(ReasonCode).index)


def test_durations_are_rounded_down_to_two_units() -> None:
    assert [duration(each) for each in (0, 59, 60, 3600, 10_079, 90_061, 1 << 60)] == [
        "0 s",
        "59 s",
        "1 min",
        "1 h",
        "2 h 47 min",
        "1 d 1 h",
        "no end",
    ]
