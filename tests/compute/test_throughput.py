"""How fast programs run where: what floors above have measured, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compute.memory_site import MemorySite, TestClock, opened, program, submitted
from tests.conftest import deliver_all

from lilong.floors.compute.contract import Job, Layout, SiteNode, WorkMeasured
from lilong.floors.compute.service import throughput
from lilong.floors.compute.store import places
from lilong.floors.compute.work import Dispatcher
from lilong.ground.access import SYSTEM
from lilong.ground.house import House

SETTINGS = """
[classes.h20]
[classes.910b]
[sites.pudong]
driver = "slurm"
mode = "owned"
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = TestClock()
    here = MemorySite("local", clock, (SiteNode("here", 8, 4096),))
    nodes = (SiteNode("a", 32, 100_000, "h20", 8), SiteNode("b", 32, 100_000, "910b", 8))
    made = opened(tmp_path / "house", clock, [here, MemorySite("pudong", clock, nodes)], SETTINGS)
    throughput.start(made)
    yield made
    made.close()


def ran(house: House, seconds: float, kind: str, status: int = 0, **given: object) -> Job:
    layout = Layout(kind, devices=4 if kind else 0, cpus=2, memory_mib=100)
    job = submitted(house, program(seconds, status, any_of=(layout,), timeout_s=3600, **given))
    for _ in range(12):
        house.port(Dispatcher).step()
        house.clock.sleep(seconds / 4)
    return job


def measured(house: House, job: Job, units: float) -> None:
    told = WorkMeasured(job.id, job.ask.organisation, units, "sha256:" + "0" * 64)
    house.db.write(lambda tx: house.events.append(tx, SYSTEM, told))
    deliver_all(house)


def known(house: House) -> dict[tuple[str, str], float]:
    return house.db.read(places.rates)


def test_a_measure_is_the_speed_of_one_device_by_family_or_kind_and_class(house: House) -> None:
    measured(house, ran(house, 100, "h20", family="tide"), 40_000)
    measured(house, ran(house, 100, "910b", family="tide"), 20_000)
    measured(house, ran(house, 100, ""), 1_000)
    found = known(house)
    assert set(found) == {("tide", "h20"), ("tide", "910b"), ("test.run", "")}
    assert found["tide", "h20"] == pytest.approx(100, rel=0.3)  # the site tells of an end at its next look
    assert found["tide", "h20"] / found["tide", "910b"] == pytest.approx(2, rel=0.3)
    assert found["test.run", ""] == pytest.approx(5, rel=0.3)


def test_an_event_that_comes_twice_counts_once(house: House) -> None:
    job = ran(house, 100, "h20", family="tide")
    measured(house, job, 40_000)
    measured(house, job, 80_000)
    before = known(house)
    last = house.db.read(lambda tx: house.events.about(tx, job.id))[-1]
    throughput.follow(house, last)
    assert known(house) == before


@pytest.mark.parametrize("units", [0.0, -1.0])
def test_what_was_not_all_done_at_once_or_measures_nothing_counts_for_nothing(units: float, house: House) -> None:
    measured(house, ran(house, 100, "h20", status=1), 40_000)
    measured(house, ran(house, 100, "h20"), units)
    assert known(house) == {}


def test_a_job_on_a_class_that_was_measured_slower_may_run_for_longer(house: House) -> None:
    measured(house, ran(house, 100, "h20", family="tide"), 40_000)
    measured(house, ran(house, 100, "910b", family="tide"), 20_000)
    either = (Layout("h20", devices=8, cpus=1, memory_mib=100), Layout("910b", devices=8, cpus=1, memory_mib=100))
    jobs = [submitted(house, program(600, any_of=either, timeout_s=1000, family="tide")) for _ in range(2)]
    house.port(Dispatcher).step()
    rows = house.db.read(lambda tx: tx.rows("SELECT job, accelerator, snap FROM compute_attempts WHERE ended_at IS NULL"))
    limits = {row["accelerator"]: int(row["snap"].partition('"limit":')[2].partition(",")[0]) for row in rows}
    assert len(jobs) == len(limits) == 2
    assert limits["h20"] == 1000 and 1500 < limits["910b"] < 2600
