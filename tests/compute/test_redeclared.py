"""Sites that are declared otherwise while jobs wait, and nodes that decisions cannot take as they are: no job pays for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.compute.conftest import open_compute
from tests.compute.memory_site import MemorySite, TestClock, apply, opened, program, submitted
from tests.compute.test_doors import client_of

from lilong.client import ServerError, compute
from lilong.floors.compute import store
from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.compute.contract import MOST_DEVICES, Inventory, Job, JobAsk, JobState, Layout, Mode, SiteNode
from lilong.floors.compute.service import why
from lilong.floors.compute.work import Dispatcher, run_until_idle
from lilong.ground.access import SYSTEM
from lilong.ground.house import House

NODE = '{{ name = "{0}", cpus = 8, memory_gib = 8, accelerator = "h20", devices = {1} }}'
DOCUMENT = "[classes.h20]\n[sites.local]\n{0}\n[sites.local.options]\nnodes = [{1}]\n"
WANTED = JobAsk(
    "test.run", "lantern-works", ("python", "-c", "pass"), memory_mib=64, timeout_s=60, sites=("local",), any_of=(Layout("h20", devices=1),)
)


def declare(house: House, *names: str, more: str = "") -> None:
    apply(house, DOCUMENT.format(more, ", ".join(NODE.format(name, 1) for name in names)))


def now(house: House, job: Job) -> Job:
    return house.db.read(lambda tx: store.job(tx, job.id))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = open_compute(tmp_path / "house", sandbox="none")
    declare(made, "a", "b")
    made.port(Dispatcher).step()
    yield made
    made.port(LocalSite).stop()
    made.close()


def test_nothing_starts_on_a_node_that_was_taken_out_of_the_settings_a_moment_ago(house: House) -> None:
    job = submitted(house, WANTED)
    declare(house, "b")
    dispatcher = house.port(Dispatcher)
    dispatcher.sites.refresh()
    dispatcher._turn()  # before anybody has looked at the site again
    assert now(house, job).state is JobState.QUEUED
    run_until_idle(house)
    found = now(house, job)
    assert (found.state, found.attempt, [placed.node for placed in found.placement]) == (JobState.SUCCEEDED, 1, ["b"])


def test_a_job_whose_node_goes_before_it_is_handed_over_waits_again(house: House) -> None:
    job = submitted(house, WANTED)
    assert house.port(Dispatcher)._decider.decide() == [f"{job.id}.1"]
    declare(house, "c")
    run_until_idle(house)
    found = now(house, job)
    assert (found.state, found.attempt, [placed.node for placed in found.placement]) == (JobState.SUCCEEDED, 2, ["c"])


def test_a_site_whose_price_changes_goes_on_as_it_is(house: House) -> None:
    site = house.port(LocalSite)
    declare(house, "a", "b", more="tariff = 0.5")
    job = submitted(house, WANTED)
    dispatcher = house.port(Dispatcher)
    dispatcher.sites.refresh()
    dispatcher._turn()
    assert now(house, job).state is not JobState.QUEUED
    assert house.port(LocalSite) is site and dispatcher.sites.known()["local"].spec.tariff == 0.5
    run_until_idle(house)


def test_a_node_with_more_devices_than_can_be_told_apart_is_refused_and_one_of_old_is_used_in_part(house: House) -> None:
    document = DOCUMENT.format("", NODE.format("a", 64))
    with pytest.raises(ServerError, match=r"sites\.local\.options\.nodes\[0\]\.devices.*64 are more than the 62"):
        compute.apply_settings(client_of(house, "olga"), document)
    apply(house, document)
    job = submitted(house, replace(WANTED, any_of=(Layout("h20", devices=MOST_DEVICES),)))
    run_until_idle(house)
    assert now(house, job).state is JobState.SUCCEEDED


class Wide(MemorySite):
    """An engine of which a node counts shares of devices, some of them in others' hands."""

    def inventory(self) -> Inventory:
        return Inventory(super().inventory().nodes, {"big": (0, 0, 90)})


def test_a_node_of_an_engine_that_is_too_wide_holds_nobody_up(tmp_path: Path) -> None:
    clock = TestClock()
    here = MemorySite("local", clock, (SiteNode("here", 2, 4096),))
    there = Wide("pudong", clock, (SiteNode("big", 256, 500_000, "h20", 100),), Mode.DELEGATED)
    house = opened(tmp_path / "house", clock, [here, there], '[classes.h20]\n[sites.pudong]\ndriver = "slurm"\n')
    small = submitted(house, program(any_of=(Layout("h20", devices=8, cpus=1, memory_mib=100),)))
    large = submitted(house, program(any_of=(Layout("h20", devices=8, cpus=1, memory_mib=100),)))
    elsewhere = submitted(house, program())
    house.port(Dispatcher).step()
    house.port(Dispatcher).step()
    assert [now(house, job).state for job in (small, elsewhere)] == [JobState.RUNNING, JobState.RUNNING]
    assert now(house, large).state is JobState.QUEUED  # 2 of the 10 that others leave are free
    assert why.why(house, SYSTEM, large.id).free
    house.close()
