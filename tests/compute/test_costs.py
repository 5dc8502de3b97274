"""What jobs are said to have taken, and what they cost: as long as they ran, whenever the house came to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.compute.memory_site import MemorySite, TestClock, attend, opened, program, submitted

from lilong.floors.compute import store
from lilong.floors.compute.contract import Compute, Job, JobState, Layout, OverBudget, SiteNode
from lilong.floors.compute.store import money
from lilong.floors.compute.work import Dispatcher
from lilong.ground.access import SYSTEM
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

PRICED = """
[classes.cpu]
price = 3600        # 1 a second
[classes.h20]
price = 3600
[tenants.lantern-works]
allowance = 1000
"""
DEVICE = (Layout("h20", devices=1),)


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def here(clock: TestClock) -> MemorySite:
    return MemorySite("local", clock, (SiteNode("here", 4, 8192, "h20", 4),))


@pytest.fixture
def house(tmp_path: Path, clock: TestClock, here: MemorySite) -> Iterator[House]:
    made = opened(tmp_path / "house", clock, [here], PRICED)
    yield made
    made.close()


def shown(house: House, job: Job) -> Job:
    return house.db.read(lambda tx: store.job(tx, job.id))


def spent(house: House, month: str = "2026-03") -> float:
    found = house.db.read(lambda tx: money.spent(tx, month))
    return sum(found.values()) / 1_000_000


def took(job: Job) -> timedelta:
    assert job.started_at is not None
    assert job.finished_at is not None
    return parse_stamp(job.finished_at) - parse_stamp(job.started_at)


def test_a_job_that_ended_before_anybody_saw_it_run_took_and_cost_what_it_ran(house: House, here: MemorySite, clock: TestClock) -> None:
    here.queue = True
    job = submitted(house, program(40))
    house.port(Dispatcher).step()
    clock.sleep(100)
    here.admit(f"{job.id}.1")
    clock.sleep(50)
    house.port(Dispatcher).step()
    assert shown(house, job).started_at == stamp(clock.now() - timedelta(seconds=40))
    assert took(shown(house, job)) == timedelta(seconds=40)
    assert spent(house) == 40


def test_a_house_that_was_down_when_a_job_ended_counts_the_time_that_it_ran(house: House, here: MemorySite, clock: TestClock) -> None:
    job = submitted(house, program(40))
    house.port(Dispatcher).step()
    clock.sleep(6 * 3600)
    attend(house, [here]).step()
    assert took(shown(house, job)) == timedelta(seconds=40)
    assert spent(house) == 40


def test_a_clock_that_was_set_back_meanwhile_makes_no_job_free(house: House, here: MemorySite, clock: TestClock) -> None:
    job = submitted(house, program(40))
    house.port(Dispatcher).step()
    clock.sleep(40)
    clock.set_by = -7200
    attend(house, [here]).step()
    assert took(shown(house, job)) == timedelta(seconds=40)
    assert spent(house) == 40


def test_a_service_costs_what_it_runs_and_not_only_the_time_that_it_named(house: House, clock: TestClock) -> None:
    service = submitted(house, program(1e9, service=True, timeout_s=1, any_of=DEVICE))
    for _ in range(2):
        house.port(Dispatcher).step()
    clock.sleep(600)
    house.db.write(lambda tx: house.port(Compute).cancel(tx, SYSTEM, service.id))  # type: ignore[type-abstract]
    for _ in range(2):
        house.port(Dispatcher).step()
    assert shown(house, service).state is JobState.CANCELLED
    assert spent(house) == 600


def test_a_service_that_runs_has_used_up_its_tenants_allowance_before_it_ends(house: House, clock: TestClock) -> None:
    submitted(house, program(1e9, service=True, timeout_s=1, any_of=DEVICE))
    for _ in range(2):
        house.port(Dispatcher).step()
    clock.sleep(990)
    with pytest.raises(OverBudget, match=r"may cost 20\.00, and .* 10\.00 are left"):
        submitted(house, program(1, timeout_s=20))
    submitted(house, program(1, timeout_s=10))


def test_each_month_bears_its_part_of_a_service(house: House, clock: TestClock) -> None:
    clock.sleep(31 * 86400 - 100)  # the last of March
    service = submitted(house, program(1e9, service=True, timeout_s=60, any_of=DEVICE))
    for _ in range(2):
        house.port(Dispatcher).step()
    clock.sleep(400)
    with pytest.raises(OverBudget, match=r"of this month's allowance of lantern-works \(1000\) 700\.00 are left"):
        submitted(house, program(1, timeout_s=701))
    house.db.write(lambda tx: house.port(Compute).cancel(tx, SYSTEM, service.id))  # type: ignore[type-abstract]
    for _ in range(2):
        house.port(Dispatcher).step()
    assert (spent(house, "2026-03"), spent(house, "2026-04")) == (100, 300)
