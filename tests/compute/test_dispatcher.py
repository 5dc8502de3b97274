"""The dispatcher over sites in memory, on a clock that stands still: what starts where, what makes room, and servers that are killed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.compute.memory_site import Killed, MemorySite, RunningClock, TestClock, apply, attend, opened, program, submitted

from lilong.floors.compute import store
from lilong.floors.compute.contract import FINISHED, Compute, Job, JobState, Layout, Mode, ReasonCode, SiteNode
from lilong.floors.compute.service import replay
from lilong.floors.compute.service.settings import drain, nodes
from lilong.floors.compute.work import Dispatcher, run_until_idle
from lilong.floors.compute.work.sites import Sites
from lilong.floors.compute.work.snapshotting import snapshot
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.errors import Refused
from lilong.ground.house import House

GANG = Layout("h20", devices=4, tasks=2, cpus=1, memory_mib=100)
PUDONG = """
[classes.h20]
price = 1.0
[sites.pudong]
driver = "slurm"
window = 2
"""


def local(clock: TestClock, cpus: int = 2) -> MemorySite:
    return MemorySite("local", clock, (SiteNode("here", cpus, 4096),))


def pudong(clock: TestClock, **given: bool) -> MemorySite:
    nodes = tuple(SiteNode(f"a{n}", 32, 100_000, "h20", 8, {"rack": f"r{n // 2}"}) for n in range(2))
    return MemorySite("pudong", clock, nodes, Mode.DELEGATED, **given)


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def here(clock: TestClock) -> MemorySite:
    return local(clock)


@pytest.fixture
def there(clock: TestClock) -> MemorySite:
    return pudong(clock)


@pytest.fixture
def house(tmp_path: Path, clock: TestClock, here: MemorySite, there: MemorySite) -> Iterator[House]:
    made = opened(tmp_path / "house", clock, [here, there], PUDONG)
    yield made
    made.close()


def step(house: House, seconds: float = 0) -> None:
    house.clock.sleep(seconds)
    house.port(Dispatcher).step()
    house.port(Dispatcher).step()


def now(house: House, job: Job) -> Job:
    return house.db.read(lambda tx: store.job(tx, job.id))


def cancel(house: House, job: Job) -> None:
    house.db.write(lambda tx: house.port(Compute).cancel(tx, SYSTEM, job.id))  # type: ignore[type-abstract]


def until_idle(house: House) -> None:
    for _ in range(400):
        step(house, 3)
        if not house.db.read(lambda tx: store.active(tx) or store.counts(tx)["queued"]):
            return
    raise AssertionError(house.db.read(lambda tx: [(e.job.id, e.job.state) for e in store.active(tx)]))


def test_a_job_goes_where_what_it_needs_is(house: House, there: MemorySite) -> None:
    job = submitted(house, program(any_of=(GANG,)))
    step(house)
    found = now(house, job)
    assert (found.state, found.site) == (JobState.RUNNING, "pudong")
    assert [placed.node for placed in found.placement] == ["a0", "a0"]
    assert there.begun[f"{job.id}.1"].task.tasks == 2
    until_idle(house)
    assert now(house, job).state is JobState.SUCCEEDED


def test_of_several_sites_the_cheaper_one_is_taken_and_the_other_while_it_is_full(house: House, clock: TestClock) -> None:
    apply(house, PUDONG + "[classes.cpu]\nprice = 1.0\n[sites.local]\ntariff = 1.0\n")
    jobs = [submitted(house, program(cpus=32)) for _ in range(1)] + [submitted(house, program(cpus=1, sites=("local",)))]
    step(house)
    assert [now(house, job).site for job in jobs] == ["pudong", "local"]


def test_a_job_waits_with_a_code_and_a_sentence(house: House) -> None:
    running = submitted(house, program(cpus=2, sites=("local",)))
    first, second = (submitted(house, program(cpus=2, sites=("local",))) for _ in range(2))
    step(house)
    assert now(house, running).state is JobState.RUNNING
    assert now(house, first).reason in (ReasonCode.NO_ROOM, ReasonCode.RESERVED)
    assert now(house, first).promised_at is not None
    assert now(house, second).reason in (ReasonCode.BEHIND, ReasonCode.WOULD_DELAY)
    assert (now(house, second).waits_for or "") != ""
    until_idle(house)
    assert now(house, first).promised_at is None


@pytest.mark.parametrize("set_by", [-86400.0, 86400.0])
def test_a_pause_ends_when_it_should_though_the_clock_was_set_meanwhile(set_by: float, house: House, clock: TestClock) -> None:
    job = submitted(house, program(1, 1, attempts=2))
    house.port(Dispatcher).step()
    clock.sleep(1)
    house.port(Dispatcher).step()
    assert now(house, job).reason is ReasonCode.PAUSED
    house.port(Dispatcher).step()
    clock.set_by = set_by
    clock.sleep(3.5)
    house.port(Dispatcher).step()
    assert now(house, job).attempt == 2


class Stubborn(MemorySite):
    """Its engine lets nobody drain its nodes."""

    def drain(self, node: str, *, on: bool) -> None:
        raise Refused


def test_an_engine_that_cannot_be_kept_from_a_node_says_so_and_is_looked_at_all_the_same(tmp_path: Path, clock: TestClock) -> None:
    there = Stubborn("pudong", clock, pudong(clock).nodes, Mode.DELEGATED)
    house = opened(tmp_path / "stubborn", clock, [local(clock), there], PUDONG)
    olga = Actor("olga")
    with pytest.raises(Refused):
        drain(house, olga, "pudong", "a0", on=True)
    assert [node.drained for node in nodes(house, olga, "pudong")] == [True, False]
    there.nodes = (*there.nodes, replace(there.nodes[0], name="a2"))
    house.port(Sites).look("pudong", at_once=True)
    assert [node.name for node in nodes(house, olga, "pudong")] == ["a0", "a1", "a2"]
    house.close()


def test_a_site_that_does_not_answer_changes_no_job_and_gets_none(house: House, there: MemorySite) -> None:
    job = submitted(house, program(20, any_of=(GANG,)))
    step(house)
    there.down = True
    step(house, 31)
    other = submitted(house, program(any_of=(GANG,)))
    step(house, 1)
    assert now(house, job).state is JobState.RUNNING
    assert now(house, other).reason is ReasonCode.SITE_DOWN
    there.down = False
    until_idle(house)
    assert [now(house, one).state for one in (job, other)] == [JobState.SUCCEEDED] * 2
    assert there.starts == {f"{job.id}.1": 1, f"{other.id}.1": 1}


def test_what_is_handed_to_an_engine_waits_there_in_a_small_window(tmp_path: Path, clock: TestClock) -> None:
    engine = pudong(clock, queue=True)
    house = opened(tmp_path / "house", clock, [local(clock), engine], PUDONG)
    jobs = [submitted(house, program(any_of=(Layout("h20", devices=1, cpus=1),))) for _ in range(4)]
    step(house)
    step(house)
    assert len(engine.begun) == 2
    handed = [now(house, job) for job in jobs if f"{job.id}.1" in engine.begun]
    assert {(job.state, job.reason) for job in handed} == {(JobState.STARTING, ReasonCode.ENGINE)}
    assert all("Resources" in (job.waits_for or "") for job in handed)
    for _ in range(40):
        for token in list(engine.begun):
            if token not in engine.running():
                engine.admit(token)
        step(house, 11)
    assert {now(house, job).state for job in jobs} == {JobState.SUCCEEDED}
    house.close()


def test_a_job_that_makes_room_begins_again_from_its_checkpoint_and_nothing_starts_in_its_place_before_it_has_left(
    tmp_path: Path, clock: TestClock
) -> None:
    engine = pudong(clock)
    engine.mode = Mode.OWNED
    engine.slow_to_stop = True
    quotas = PUDONG + (
        '[tenants.city]\nnominal = { h20 = 16 }\n[tenants.lantern-works]\nparent = "city"\nnominal = { h20 = 8 }\n'
        '[tenants.other-yard]\nparent = "city"\nnominal = { h20 = 8 }\n'
    )
    house = opened(tmp_path / "house", clock, [local(clock), engine], quotas)
    whole = Layout("h20", devices=8, cpus=1)
    lent = [submitted(house, program(1000, any_of=(whole,), timeout_s=2000, preemptible=True, checkpoint_s=100)) for _ in range(2)]
    step(house)
    assert {now(house, job).state for job in lent} == {JobState.RUNNING}
    step(house, 450)
    owner = submitted(house, program(any_of=(whole,), organisation="other-yard"))
    step(house)
    (victim,) = [job for job in lent if f"{job.id}.1" in engine.cancelled]
    assert f"{owner.id}.1" not in engine.begun
    step(house, 5)
    engine.stopped()
    step(house, 1)
    step(house, 1)
    assert now(house, owner).state is JobState.RUNNING
    assert (now(house, victim).state, now(house, victim).attempt) == (JobState.QUEUED, 1)
    entry = house.db.read(lambda tx: store.entry(tx, victim.id))
    assert (entry.stops, entry.done) == (1, 400)
    engine.slow_to_stop = False
    for _ in range(80):
        step(house, 30)
    assert {now(house, job).state for job in (*lent, owner)} == {JobState.SUCCEEDED}
    house.close()


def test_a_site_that_was_taken_out_of_the_settings_is_watched_to_the_end(house: House, there: MemorySite) -> None:
    job = submitted(house, program(any_of=(GANG,)))
    step(house)
    apply(house, "[classes.h20]\nprice = 1.0\n")
    until_idle(house)
    assert now(house, job).state is JobState.SUCCEEDED
    assert set(house.port(Dispatcher).sites.inventories()) == {"local"}


def test_a_lost_attempt_is_a_state_and_not_a_guess(house: House, there: MemorySite) -> None:
    job = submitted(house, program(any_of=(GANG,)))
    step(house)
    there.lose(f"{job.id}.1")
    step(house)
    assert now(house, job).state is JobState.LOST


def test_past_use_is_counted_for_the_tenant_when_an_attempt_ends(house: House) -> None:
    submitted(house, program(40, any_of=(GANG,)))
    until_idle(house)
    (row,) = house.db.read(lambda tx: tx.rows("SELECT * FROM compute_usage"))
    assert (row["organisation"], row["accelerator"]) == ("lantern-works", "h20")
    assert row["amount"] >= 8000 * 40


def test_jobs_of_one_tenant_with_deadlines_go_by_them(house: House) -> None:
    blocking = submitted(house, program(30, cpus=2, sites=("local",)))
    step(house)
    late = submitted(house, program(cpus=2, sites=("local",), deadline="2026-05-01T00:00:00Z"))
    early = submitted(house, program(cpus=2, sites=("local",), deadline="2026-04-01T00:00:00Z"))
    until_idle(house)
    assert (now(house, blocking).started_at or "") < (now(house, early).started_at or "") < (now(house, late).started_at or "")


def test_what_comes_after_a_failed_job_is_cancelled_with_the_reason_and_what_comes_after_any_end_runs(house: House) -> None:
    failing = submitted(house, program(5, 3))
    needs = submitted(house, program(after=(failing.id,)))
    further = submitted(house, program(after=(needs.id,)))
    anyhow = submitted(house, program(after_any=(failing.id,)))
    step(house)
    assert now(house, needs).reason is ReasonCode.AFTER
    until_idle(house)
    assert [now(house, job).state for job in (failing, needs, further, anyhow)] == [
        JobState.FAILED, JobState.CANCELLED, JobState.CANCELLED, JobState.SUCCEEDED,
    ]  # fmt: skip
    ended = now(house, needs).exit
    assert ended is not None and failing.id in ended.reason


def test_of_an_array_no_more_run_at_once_than_may(house: House, here: MemorySite, there: MemorySite) -> None:
    first = submitted(house, program(10, array="0-5%2"))
    most = 0
    for _ in range(60):
        step(house, 2)
        most = max(most, len(here.running()) + len(there.running()))
    ids = house.db.read(lambda tx: [row["id"] for row in tx.rows("SELECT id FROM compute_jobs WHERE array_id = :id", id=first.array)])
    states = {house.db.read(lambda tx, job=job: store.job(tx, job)).state for job in ids}
    assert (len(ids), states, most) == (6, {JobState.SUCCEEDED}, 2)


def test_an_engine_that_hangs_holds_up_nobody_elsewhere(tmp_path: Path) -> None:
    clock = RunningClock()
    here, there = local(clock), pudong(clock)
    house = opened(tmp_path / "house", clock, [here, there], PUDONG)
    there.answering.clear()
    house.port(Dispatcher).start()
    stuck = submitted(house, program(0.1, any_of=(GANG,)))
    free = [submitted(house, program(0.1, sites=("local",))) for _ in range(6)]
    try:
        reach(house, free, JobState.SUCCEEDED)
        assert now(house, stuck).state is JobState.STARTING
    finally:
        there.answering.set()
    reach(house, [stuck], JobState.SUCCEEDED)
    house.port(Dispatcher).halt()
    house.close()


def reach(house: House, jobs: list[Job], state: JobState) -> None:
    end = time.monotonic() + 60
    while not all(now(house, job).state is state for job in jobs):
        assert time.monotonic() < end, [now(house, job) for job in jobs]
        time.sleep(0.02)


# --- servers that are killed, sites that do not answer, whatever happens when ---------------------------------------------------


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from([1, 2]), st.integers(0, 8), st.sampled_from([0, 0, 0, 1])),
        st.tuples(st.just("gang"), st.integers(1, 2), st.integers(0, 8), st.just(0)),
        st.tuples(st.just("step"), st.integers(0, 6), st.just(0), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 20), st.just(0), st.just(0)),
        st.tuples(st.just("down"), st.integers(0, 1), st.just(0), st.just(0)),
        st.tuples(st.just("up"), st.integers(0, 1), st.just(0), st.just(0)),
        st.tuples(st.just("kill"), st.integers(0, 1), st.integers(0, 12), st.just(0)),
        st.tuples(st.just("die"), st.integers(0, 6), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, list[MemorySite]]]:
    clock = TestClock()
    sites = [local(clock), pudong(clock)]
    sites[1].mode = Mode.OWNED
    made = opened(tmp_path_factory.mktemp("world") / "house", clock, sites, PUDONG)
    yield made, sites
    made.close()


@given(actions=ACTIONS)
@settings(max_examples=50, deadline=None)
def test_whatever_is_killed_and_when_each_attempt_starts_once_and_each_end_is_told_once(
    actions: list[tuple[str, int, int, int]], world: tuple[House, list[MemorySite]]
) -> None:
    house, sites = world
    jobs: list[Job] = []
    writes = house.db.write
    left = [1 << 30]

    def write(run):  # the server is killed after a write has become durable
        answer = writes(run)
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return answer

    for what, one, two, three in actions:
        if what == "submit":
            jobs.append(submitted(house, program(two, three, cpus=one, attempts=1 + three)))
        elif what == "gang":
            jobs.append(submitted(house, program(two, any_of=(Layout("h20", devices=4, tasks=one, cpus=1),), preemptible=True)))
        elif what == "cancel" and jobs:
            cancel(house, jobs[one % len(jobs)])
        elif what in ("down", "up"):
            sites[one].down = what == "down"
        elif what == "kill":
            sites[one].dies_after = two
        elif what == "die":
            left[0] = one
        house.db.write = write  # type: ignore[method-assign]
        try:
            step(house, one if what == "step" else 1)
        except Killed:
            left[0] = 1 << 30
            for site in sites:
                site.dies_after = None
            house.db.write = writes  # type: ignore[method-assign]
            attend(house, sites)
        finally:
            house.db.write = writes  # type: ignore[method-assign]
    for site in sites:
        site.dies_after, site.down = None, False
    until_idle(house)
    assert all(count == 1 for site in sites for count in site.starts.values())
    assert not any(site.running() for site in sites)
    for job in jobs:
        done = now(house, job)
        assert done.state in FINISHED
        kinds = [event.kind for event in house.db.read(lambda tx, job=job: house.events.about(tx, job.id))]
        assert kinds.count("compute.job-finished") == 1
        started = sum(f"{job.id}.{number}" in site.starts for site in sites for number in range(1, done.attempt + 1))
        assert started <= done.attempt
    assert house.db.read(store.counts) == house.db.read(
        lambda tx: (
            {"queued": 0} | {row["state"]: row["n"] for row in tx.rows("SELECT state, COUNT(*) AS n FROM compute_jobs GROUP BY state")}
        )
    )
    assert house.db.read(lambda tx: tx.value("SELECT COALESCE(SUM(waiting), 0) FROM compute_queues")) == 0


def test_all_that_was_decided_meanwhile_comes_out_again(world: tuple[House, list[MemorySite]]) -> None:
    house, _ = world
    told = replay.replay(house, SYSTEM)
    while told.next is not None:
        assert told.differences == []
        told = replay.replay(house, SYSTEM, told.next)
    assert told.differences == []
    json.dumps([told.first, told.last])


def test_how_long_a_users_jobs_run_is_expected_of_the_next(house: House) -> None:
    for seconds in (10, 20):
        submitted(house, program(seconds, sites=("local",)))
        until_idle(house)
    blocking = submitted(house, program(50, cpus=2, sites=("local",)))
    step(house)
    waits = submitted(house, program(cpus=2, sites=("local",)))
    seen = house.db.read(lambda tx: snapshot(house, tx))
    predicted = {job.id: job.predicted for job in seen.jobs}
    assert 10 <= predicted[waits.id] <= 25
    assert blocking.id in predicted


def test_a_house_is_idle_only_when_what_its_jobs_no_longer_need_is_gone(house: House) -> None:
    job = submitted(house, program(seconds=0))
    run_until_idle(house)
    assert now(house, job).state is JobState.SUCCEEDED
    assert house.db.read(store.untidied) == {}
