"""What goes wrong about one job stops no other; and how a decision is worked out changes nothing in it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.compute.memory_site import MemorySite, TestClock, opened, program, submitted

from lilong.floors.compute import store
from lilong.floors.compute.contract import Job, JobState, ReasonCode, SiteDown, SiteNode
from lilong.floors.compute.scheduler.by_name import decide, plan_text
from lilong.floors.compute.scheduler.snapshot import Decision, Snapshot
from lilong.floors.compute.store import attempts
from lilong.floors.compute.work import Dispatcher, deciding, warming
from lilong.floors.compute.work.snapshotting import snapshot
from lilong.ground import seams
from lilong.ground.house import House


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def house(tmp_path: Path, clock: TestClock) -> Iterator[House]:
    site = MemorySite("local", clock, (SiteNode("a", 2, 4096),))
    made = opened(tmp_path / "house", clock, [site], "look = 3")
    yield made
    made.close()


def now(house: House, job: Job) -> Job:
    return house.db.read(lambda tx: store.job(tx, job.id))


def break_decisions(monkeypatch: pytest.MonkeyPatch, bad: list[str]) -> None:
    def breaking(seen: Snapshot, *, compiled: bool | None = None) -> Decision:
        if any(job.id in bad for job in seen.jobs):
            raise ArithmeticError("these are no numbers")
        return decide(seen, compiled=compiled)

    monkeypatch.setattr(deciding, "decide", breaking)


def test_a_job_about_which_no_decision_can_be_made_is_set_aside_and_says_why(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [submitted(house, program()) for _ in range(3)]
    break_decisions(monkeypatch, [jobs[0].id])
    house.port(Dispatcher).step()
    assert [now(house, job).state for job in jobs] == [JobState.QUEUED, JobState.RUNNING, JobState.RUNNING]
    said = now(house, jobs[0])
    assert said.reason is ReasonCode.IMPOSSIBLE
    assert "set aside: ArithmeticError: these are no numbers" in (said.waits_for or "")
    assert jobs[0].id not in {job.id for job in house.db.read(lambda tx: snapshot(house, tx)).jobs}


def test_a_decision_that_cannot_be_made_whoever_waits_leaves_what_runs_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submitted(house, program(5))
    house.port(Dispatcher).step()
    monkeypatch.setattr(deciding, "decide", lambda *_, **__: 1 // 0)
    waiting = submitted(house, program(5))
    house.clock.sleep(10)
    house.port(Dispatcher).step()
    assert (now(house, job).state, now(house, waiting).state) == (JobState.SUCCEEDED, JobState.QUEUED)
    monkeypatch.undo()
    house.clock.sleep(deciding.AT_LEAST_S)
    house.port(Dispatcher).step()
    assert now(house, waiting).state is JobState.RUNNING


def test_a_job_that_cannot_be_read_is_set_aside(house: House) -> None:
    jobs = [submitted(house, program()) for _ in range(2)]
    ask = house.db.read(lambda tx: tx.value("SELECT ask FROM compute_jobs WHERE id = :id", id=jobs[0].id))
    house.db.write(lambda tx: tx.run("UPDATE compute_jobs SET ask = '{}' WHERE id = :id", id=jobs[0].id))
    house.port(Dispatcher).step()
    house.db.write(lambda tx: tx.run("UPDATE compute_jobs SET ask = :ask WHERE id = :id", id=jobs[0].id, ask=ask))
    assert [now(house, job).state for job in jobs] == [JobState.QUEUED, JobState.RUNNING]
    assert "set aside" in (now(house, jobs[0]).waits_for or "")


def test_a_job_that_others_push_out_of_sight_says_so(house: House) -> None:
    submitted(house, program(60, cpus=2))
    house.port(Dispatcher).step()
    early = submitted(house, program(cpus=2))
    house.port(Dispatcher).step()
    assert now(house, early).reason in (ReasonCode.NO_ROOM, ReasonCode.RESERVED)
    for _ in range(3):
        submitted(house, program(cpus=2, priority=5))
    house.port(Dispatcher).step()
    assert now(house, early).reason is ReasonCode.NOT_LOOKED_AT
    submitted(house, program(cpus=2, priority=5))
    house.port(Dispatcher).step()
    assert now(house, early).reason is ReasonCode.NOT_LOOKED_AT


@pytest.mark.parametrize("policy", ["drf-tree"])
def test_a_compiled_decision_is_the_plain_one(policy: str) -> None:
    sample = warming.sample(policy)
    plain = decide(sample, compiled=False)
    assert plain.starts
    assert plan_text(decide(sample, compiled=True)) == plan_text(plain)


def test_decisions_are_plain_until_another_process_has_compiled_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = warming.sample("drf-tree")
    large = replace(sample, nodes=tuple(replace(sample.nodes[0], name=f"a/m{number}") for number in range(100)))
    gate = tmp_path / "gate"
    begun: list[list[str]] = []

    def start(argv, **given):
        begun.append(argv)
        code = f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)"
        return started(["nice", sys.executable, "-c", code], **given)

    started = seams.start
    monkeypatch.setattr(seams, "start", start)
    made = warming.Warming(tmp_path)
    try:
        assert not made.compiled(sample), "so few are decided about plainly for ever"
        assert begun == []
        assert not made.compiled(large)
        assert not made.compiled(large)
        assert [argv[-1] for argv in begun] == ["drf-tree"]
        gate.touch()
        while made.busy:
            time.sleep(0.01)
        assert made.compiled(large)
    finally:
        made.stop()


def test_a_decision_knows_what_a_job_was_given_before_and_how_often_it_was_stopped(house: House) -> None:
    job = submitted(house, program(60, preemptible=True, cpus=2))
    house.port(Dispatcher).step()
    house.clock.sleep(10)
    house.db.write(lambda tx: attempts.preempt(tx, job.id))
    dispatcher = house.port(Dispatcher)
    dispatcher.sites.down("local", SiteDown(site="local", problem="a test", way_out="Wait."))  # so that it does not begin again at once
    dispatcher._turn()
    seen = {one.id: one for one in house.db.read(lambda tx: snapshot(house, tx)).jobs}[job.id]
    assert (seen.attained, seen.stops, seen.started) == (2 * 1000 * 10, 1, None)
