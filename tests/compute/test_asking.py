"""Why, when and what if, asked of a house with sites in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.compute.memory_site import MemorySite, TestClock, apply, opened, program, submitted

from lilong.floors.compute import store
from lilong.floors.compute.contract import Job, JobNotFound, JobState, Layout, ReasonCode, SiteNode
from lilong.floors.compute.service import estimate, whatif
from lilong.floors.compute.service.whatif import WhatIf
from lilong.floors.compute.service.why import FRESH_S, Why, why
from lilong.floors.compute.work import Dispatcher
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.errors import BadInput, Forbidden
from lilong.ground.house import House

SETTINGS = """
policy = "easy"
[classes.h20]
price = 10.0
watts = 400
[classes.910b]
price = 4.0
[sites.pudong]
driver = "slurm"
mode = "owned"
tariff = 0.5
kgco2 = 0.6
[sites.lingang]
driver = "slurm"
mode = "owned"
[tenants.lantern-works]
[tenants.other-yard]
"""
MEI = Actor("mei")
ADA = Actor("ada")
OLGA = Actor("olga")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = TestClock()
    here = MemorySite("local", clock, (SiteNode("here", 2, 4096),))
    there = MemorySite("pudong", clock, tuple(SiteNode(f"a{at}", 32, 100_000, "h20", 8) for at in range(2)))
    beyond = MemorySite("lingang", clock, (SiteNode("b0", 32, 100_000, "910b", 8),))
    made = opened(tmp_path / "house", clock, [here, there, beyond], SETTINGS)
    yield made
    made.close()


def gang(house: House, seconds: float = 600, tasks: int = 1, devices: int = 8, organisation: str = "lantern-works", **given: object) -> Job:
    layout = Layout("h20", devices=devices, tasks=tasks, cpus=1, memory_mib=100)
    return submitted(house, program(seconds, organisation=organisation, **{"any_of": (layout,), "timeout_s": 3600, **given}))


def step(house: House, seconds: float = 0) -> None:
    house.clock.sleep(seconds)
    house.port(Dispatcher).step()
    house.port(Dispatcher).step()


def asked(house: House, job: Job, actor: Actor = MEI) -> Why:
    house.clock.sleep(FRESH_S + 1)
    return why(house, actor, job.id)


def state(house: House, job: Job) -> JobState:
    return house.db.read(lambda tx: store.job(tx, job.id)).state


def test_a_job_that_waits_is_told_why_and_what_would_make_it_start(house: House) -> None:
    mine, theirs = gang(house), gang(house, devices=6, organisation="other-yard")
    step(house)
    wide = gang(house, tasks=2)
    late = gang(house, devices=2, timeout_s=36_000)
    step(house)
    found = asked(house, wide)
    assert (found.state, found.code) == (JobState.QUEUED, ReasonCode.NO_ROOM)
    assert found.ahead is not None and found.ahead.count == 0
    assert f"Held by {mine.id} (8 h20), another tenant (6 h20)." in found.says
    assert theirs.id not in repr(found) and "other-yard" not in repr(found)
    assert found.reserved_start is not None and found.reserved_start.startswith("2026-03-01T01:00:0")
    found = asked(house, late)
    assert (found.code, found.ahead and found.ahead.own) == (ReasonCode.WOULD_DELAY, (wide.id,))
    changes = {change.dimension: change for change in found.would_start}
    assert set(changes) == {"limit", "class"}
    assert changes["limit"].value < 3600
    assert changes["class"].value == {"site": "lingang", "accelerator": "910b"}
    assert changes["class"].costlier_pct is not None and changes["class"].costlier_pct < -50
    with pytest.raises(JobNotFound):
        why(house, ADA, late.id)


def test_a_job_that_was_changed_as_it_was_told_starts(house: House) -> None:
    gang(house), gang(house, devices=6)
    step(house)
    gang(house, tasks=2)
    late = gang(house, devices=2, timeout_s=36_000)
    step(house)
    limit = next(change.value for change in asked(house, late).would_start if change.dimension == "limit")
    again = gang(house, devices=2, timeout_s=limit - 60)
    step(house)
    assert (state(house, late), state(house, again)) == (JobState.QUEUED, JobState.RUNNING)


def test_jobs_that_do_not_wait_for_room_get_an_answer_too(house: House) -> None:
    running, held = gang(house, seconds=100), gang(house, hold=True)
    after = gang(house, after=(held.id,))
    step(house)
    assert asked(house, running).says.startswith("It runs at pudong on a")
    assert asked(house, running).code is None
    assert (asked(house, held).code, f"lilong job release {held.id}" in asked(house, held).says) == (ReasonCode.HELD, True)
    assert (asked(house, after).code, held.id in asked(house, after).says) == (ReasonCode.AFTER, True)
    step(house, 120)
    assert asked(house, running).says.startswith("It succeeded: it finished. It started at pudong on a0 after it had waited for")
    fresh = gang(house)
    assert "moment ago" in why(house, MEI, fresh.id).says


def test_a_job_whose_only_site_is_declared_no_longer_is_told_so(house: House) -> None:
    gang(house), gang(house)
    late = gang(house, sites=("pudong",))
    step(house)
    apply(house, SETTINGS.replace("[sites.pudong]", "[sites.minhang]"))
    step(house)
    found = asked(house, late)
    assert (found.code, found.needs) == (ReasonCode.IMPOSSIBLE, ("8 h20, 1 core and 100 MiB",))
    assert (
        found.says == "The only site that it may use is not declared any more: pudong. Cancel it, or ask an operator to declare it again."
    )
    apply(house, SETTINGS)
    step(house, FRESH_S)
    assert asked(house, late).code is ReasonCode.NO_ROOM


def test_starts_are_said_once_and_judged_when_they_have_come(house: House) -> None:
    jobs = []
    for _ in range(6):
        jobs.append(gang(house, seconds=600))
        step(house)
    assert estimate.say_starts(house) == 4
    assert estimate.say_starts(house) == 0
    start = asked(house, jobs[-1]).start
    assert start is not None and start.made_at < start.p50 <= start.p90
    for _ in range(80):
        step(house, 120)
    held = estimate.estimates_held(house, MEI).all
    assert (held.n, held.pending) == (4, 0)
    assert held.by_p90.n == 4 and held.by_p90.held == 4  # every job ended long before its limit
    assert held.pinball_p90_s is not None and held.pinball_p90_s > 0


@pytest.fixture
def past(house: House) -> House:
    """Two tenants of which one fills the site."""
    for _ in range(6):
        gang(house, seconds=500, devices=8)
        gang(house, seconds=100, devices=4, organisation="other-yard")
        step(house, 50)
    for _ in range(60):
        step(house, 60)
    return house


def test_with_nothing_changed_the_figures_before_and_after_are_equal(past: House) -> None:
    found = whatif.what_if(past, OLGA, WhatIf())
    assert found.jobs == 12
    assert found.before == found.after
    assert {row["verdict"] for row in found.tenants} == {"same"}
    assert found.curves["before"] == found.curves["after"]
    assert found.before["cost"] == pytest.approx(10 * found.before["device_hours"])
    assert found.before["kwh"] == pytest.approx(0.4 * found.before["device_hours"])
    assert found.before["kgco2"] == pytest.approx(0.6 * found.before["kwh"])
    assert found.before["energy_cost"] == pytest.approx(0.5 * found.before["kwh"])


def test_more_nodes_shorten_queues_and_fewer_lengthen_them(past: House) -> None:
    more, fewer = (whatif.what_if(past, OLGA, WhatIf(set=(f"nodes.pudong={many}",))) for many in (8, 1))
    assert more.after["mean_queue_s"] < more.before["mean_queue_s"] < fewer.after["mean_queue_s"]
    assert (more.after["nodes"], fewer.after["nodes"]) == (10, 3)
    assert {row["tenant"]: row["verdict"] for row in more.tenants} == {"lantern-works": "gains", "other-yard": "same"}
    assert max(more.curves["after"]["waiting"]) < max(more.curves["before"]["waiting"])


def test_quotas_weights_policies_and_sites_can_be_tried(past: House) -> None:
    one = whatif.what_if(past, OLGA, WhatIf(set=("quota.lantern-works.h20=8", "borrow.lantern-works.h20=0")))
    losers = {row["tenant"]: row["verdict"] for row in one.tenants}
    assert losers["lantern-works"] == "loses"
    site = {"name": "minhang", "nodes": "4", "class": "h20", "devices": "8", "price": "1"}
    assert whatif.what_if(past, OLGA, WhatIf(add_sites=(site,))).after["mean_queue_s"] < one.before["mean_queue_s"]
    assert whatif.what_if(past, OLGA, WhatIf(set=("policy=sjf", "weight.other-yard=3"))).after["jobs"] == 12


def test_what_nobody_has_said_of_an_added_site_is_not_counted_as_nothing(past: House) -> None:
    """Jobs move to minhang, so that what they burn there decides whether the house would be greener."""
    site = {"name": "minhang", "nodes": "4", "class": "h20", "devices": "8"}
    silent = whatif.what_if(past, OLGA, WhatIf(add_sites=(site,)))
    assert silent.unknown == {"kgco2": ["kgco2.minhang"], "energy_cost": ["tariff.minhang"]}
    assert (silent.after["kgco2"], silent.change["kgco2"], silent.after["energy_cost"]) == (None, None, None)
    assert silent.before["kgco2"] == pytest.approx(0.6 * silent.before["kwh"])
    assert silent.after["kwh"] == pytest.approx(0.4 * silent.after["device_hours"])
    assert None in {part["kgco2"] for part in silent.after["by_tenant"].values()}
    clean = whatif.what_if(past, OLGA, WhatIf(add_sites=({**site, "kgco2": "0", "tariff": "0.4"},)))
    assert clean.unknown == {} and 0 < clean.after["kgco2"] < clean.before["kgco2"]
    said = whatif.what_if(past, OLGA, WhatIf(add_sites=(site,), set=("kgco2.minhang=0.6", "tariff.minhang=0.5")))
    assert said.unknown == {} and said.after["kgco2"] == pytest.approx(said.before["kgco2"])


def test_a_class_without_watts_burns_an_unknown_amount_and_not_none(past: House) -> None:
    gang(past, devices=2, seconds=100, any_of=(Layout("910b", devices=2, cpus=1),))
    step(past, 300)
    found = whatif.what_if(past, OLGA, WhatIf())
    assert found.unknown["kwh"] == ["watts.910b"] and found.unknown["kgco2"] == ["kgco2.lingang", "watts.910b"]
    assert found.before["kwh"] is None and found.before["cost"] > 0


def test_without_its_only_site_a_job_is_refused_and_its_tenant_loses(past: House) -> None:
    gone = whatif.what_if(past, OLGA, WhatIf(remove_sites=("pudong",)))
    assert [(side["jobs"], side["refused"]) for side in (gone.before, gone.after)] == [(12, 0), (0, 12)]
    assert {row["tenant"]: (row["verdict"], row["after"]["refused"]) for row in gone.tenants} == {
        "lantern-works": ("loses", 6),
        "other-yard": ("loses", 6),
    }
    assert gone.left_out == {}


def test_a_job_that_no_quota_would_cover_is_refused_and_does_not_wait_for_ever(past: House) -> None:
    less = whatif.what_if(past, OLGA, WhatIf(set=("quota.lantern-works.h20=4", "borrow.lantern-works.h20=0")))
    assert (less.after["jobs"], less.after["finished"], less.after["refused"]) == (6, 6, 6)
    assert {row["tenant"]: row["verdict"] for row in less.tenants} == {"lantern-works": "loses", "other-yard": "same"}


def test_who_can_run_less_does_not_gain_by_it(past: House) -> None:
    for seconds in (10, 20):
        gang(past, seconds=seconds, devices=2, any_of=(Layout("910b", devices=2, cpus=1),))
        step(past, 60)
    gone = whatif.what_if(past, OLGA, WhatIf(remove_sites=("lingang",)))
    assert {row["tenant"]: row["verdict"] for row in gone.tenants} == {"lantern-works": "loses", "other-yard": "same"}


@pytest.mark.parametrize(
    ("ask", "field", "problem"),
    [
        (WhatIf(set=("quota.nobody=4",)), "--set quota.nobody", "no tenant 'nobody'"),
        (WhatIf(set=("quota.lantern-works.tpu=4",)), "--set quota.lantern-works.tpu", "no class 'tpu'"),
        (WhatIf(set=("quota.lantern-works=many",)), "--set quota.lantern-works", "'many' is no number"),
        (WhatIf(set=("colour=red",)), "--set", "nothing is called 'colour'"),
        (WhatIf(set=("policy",)), "--set", "no KEY=VALUE"),
        (WhatIf(set=("policy=best",)), "policy", "best"),
        (WhatIf(set=("nodes.mars=4",)), "--set nodes.mars", "no site 'mars'"),
        (WhatIf(remove_sites=("mars",)), "--remove-site", "no site 'mars'"),
        (WhatIf(add_sites=({"name": "pudong"},)), "--add-site", "a site 'pudong' already"),
        (WhatIf(add_sites=({"name": "minhang", "colour": "red"},)), "--add-site colour", "no such key"),
        (WhatIf(add_sites=({"name": "minhang", "class": "h21", "devices": "8"},)), "--add-site class", "Did you mean 'h20'?"),
        (WhatIf(add_sites=({"name": "minhang", "nodes": "-1"},)), "--add-site nodes", "'-1' is no whole number from 1"),
        (WhatIf(since="yesterday"), "since", "no length of time"),
    ],
)  # fmt: skip
def test_what_cannot_be_tried_is_said_by_its_name(house: House, ask: WhatIf, field: str, problem: str) -> None:
    if ask.set and ask.set[0].startswith("quota.lantern-works=many"):
        ask = replace(ask, set=("quota.lantern-works.h20=many",))
        field += ".h20"
    with pytest.raises(BadInput) as refused:
        whatif.what_if(house, OLGA, ask)
    assert refused.value.details["field"] == field and problem in str(refused.value)


def test_only_operators_try_things_out(past: House) -> None:
    with pytest.raises(Forbidden):
        whatif.what_if(past, MEI, WhatIf())
    assert whatif.what_if(past, SYSTEM, WhatIf()).jobs == 12
