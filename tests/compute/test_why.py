"""Why a job waits, and what would make it start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.compute.snapshots import houses, ways

from lilong.floors.compute.rules.counterfactuals import Change, Supposed, suppose
from lilong.floors.compute.rules.explaining import Explained, explained
from lilong.floors.compute.scheduler.compiled import plainly
from lilong.floors.compute.scheduler.opening import decided
from lilong.floors.compute.scheduler.snapshot import SnapJob, Snapshot, Way
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
    return explained(found, supposing.decision, job, supposing.order, mine)


# --- what is stated is so --------------------------------------------------------------------------------------------------


@given(found=houses(POLICIES), others=st.lists(ways(), max_size=2), data=st.data())
@SLOW
def test_a_stated_change_makes_decide_start_the_job_and_a_smaller_one_does_not(
    found: Snapshot, others: list[Way], data: st.DataObject
) -> None:
    supposing = Supposing(found)
    assume(not supposing.decision.starts and supposing.order)
    job = data.draw(st.sampled_from(supposing.order))
    for change in supposing.counterfactuals(job, others):
        assert starts(found, job, change.supposed), change
        less = _one_less(next(one for one in found.jobs if one.id == job), change)
        assert less is None or not starts(found, job, less), change


def _one_less(job: SnapJob, change: Change) -> Supposed | None:
    """What is nearer by one step to what is asked for."""
    step = {"limit": 1, "tasks": 1, "devices": 1, "cpu": 1000, "memory": 1}.get(change.dimension)
    if step is None:
        return None
    least = min(getattr(one, change.dimension) for one in job.ways) if change.dimension != "limit" else max(one.limit for one in job.ways)
    bound = change.value * (1000 if change.dimension == "cpu" else 1) + step
    if bound >= least:
        return None
    return Supposed(ways=tuple(replace(one, **{change.dimension: min(getattr(one, change.dimension), bound)}) for one in job.ways))


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
