"""What is said of thousands of jobs at once keeps nobody else waiting, and is whole all the same, whatever breaks off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compute.memory_site import Killed, MemorySite, TestClock, attend, opened, program, submitted

from lilong.floors.compute import store
from lilong.floors.compute.contract import Job, JobState, ReasonCode, SiteNode
from lilong.floors.compute.service import ending, holding
from lilong.floors.compute.service.why import why
from lilong.floors.compute.work import Dispatcher
from lilong.ground.access import SYSTEM
from lilong.ground.house import House

MANY = 2 * ending.AT_ONCE + 50


@pytest.fixture
def site() -> MemorySite:
    return MemorySite("local", TestClock(), (SiteNode("here", 4, 4096),))


@pytest.fixture
def house(database_url: str, tmp_path: Path, site: MemorySite) -> Iterator[House]:
    made = opened(tmp_path / "house", site.clock, [site], database=database_url)
    yield made
    made.close()


def state(house: House, job: Job) -> JobState:
    return house.db.read(lambda tx: store.job(tx, job.id)).state


def states(house: House, array: str | None) -> dict[str, int]:
    return holding.array(house, SYSTEM, str(array)).states


def told(house: House, array: str | None) -> Counter[tuple[str | None, str | None]]:
    """How many jobs of an array wait for what, as code and in words."""
    rows = house.db.read(lambda tx: tx.rows("SELECT reason, waits_for FROM compute_jobs WHERE array_id = :array", array=array))
    return Counter((row["reason"], row["waits_for"]) for row in rows)


def ends_at_each_commit(house: House) -> list[int]:
    """How many jobs have ended so far, after each commit from now on."""
    found: list[int] = []
    house.db.on_commit(lambda: found.append(sum(n for name, n in house.db.read(store.counts).items() if name == "cancelled")))
    return found


def test_a_large_array_ends_some_at_a_time_so_that_others_write_in_between(house: House) -> None:
    first = submitted(house, program(array=f"0-{MANY - 1}", hold=True))
    ended = ends_at_each_commit(house)
    assert holding.cancel_array(house, SYSTEM, str(first.array)).states == {"cancelled": MANY}
    steps = [after - before for before, after in zip([0, *ended], ended, strict=False)]
    assert max(steps) <= ending.AT_ONCE and sum(steps) == MANY
    finished = house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM ground_events WHERE kind = 'compute.job-finished'"))
    assert finished == MANY
    assert house.db.read(store.counts) == {"queued": 0, "cancelled": MANY}


def test_of_an_array_whose_end_broke_off_nothing_starts_and_the_next_server_ends_the_rest(
    house: House, site: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submitted(house, program(60, array=f"0-{MANY - 1}"))
    house.port(Dispatcher).step()
    running = states(house, first.array)["running"]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ending, "end_queued", _killed_after_one(ending.end_queued))
        holding.cancel_array(house, SYSTEM, str(first.array))
    assert states(house, first.array) == {"queued": MANY - running - ending.AT_ONCE, "running": running, "cancelled": ending.AT_ONCE}
    left = house.db.read(lambda tx: tx.value("SELECT id FROM compute_jobs WHERE state = 'queued' ORDER BY place LIMIT 1"))
    assert why(house, SYSTEM, left).says == "Its end was asked for, and it ends in a moment: it was cancelled."
    holding.release_array(house, SYSTEM, str(first.array))
    next_server = attend(house, [site])
    for _ in range(6):
        next_server.step()
        site.clock.sleep(5)
    assert states(house, first.array) == {"cancelled": MANY}
    assert sum(site.starts.values()) == running


def test_an_array_whose_end_broke_off_ends_when_it_is_asked_for_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    first = submitted(house, program(array=f"0-{MANY - 1}%3"))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ending, "end_queued", _killed_after_one(ending.end_queued))
        holding.cancel_array(house, SYSTEM, str(first.array))
    assert holding.cancel_array(house, SYSTEM, str(first.array)).states == {"cancelled": MANY}


def _killed_after_one(real: object) -> object:
    calls = iter([real])

    def some(*given: object) -> bool:
        act = next(calls, None)
        if act is None:
            raise Killed
        return bool(act(*given))  # type: ignore[operator]

    return some


def test_of_many_that_needed_a_job_that_failed_those_end_later_that_would_keep_others_waiting(house: House) -> None:
    needed = submitted(house, program(hold=True))
    late = submitted(house, program(array=f"0-{MANY - 1}", after=(needed.id,)))
    last = submitted(house, program(after=(str(late.array),)))
    house.db.write(lambda tx: holding.cancel(house, tx, SYSTEM, needed.id))
    assert house.db.read(store.counts)["cancelled"] == 1 + ending.AT_ONCE
    for _ in range(6):
        house.port(Dispatcher).step()
    assert states(house, late.array) == {"cancelled": MANY}
    jobs = house.db.read(lambda tx: store.jobs(tx, "1 = 1", {}, state=None, kind=None, before=None, limit=MANY + 2))
    reasons = {job.exit.reason for job in jobs if job.exit and job.array == late.array}
    assert reasons == {f"{needed.id}, which it needed, is cancelled"}
    assert state(house, last) is JobState.CANCELLED


def test_holding_and_releasing_an_array_leaves_it_as_it_was(house: House) -> None:
    needed = submitted(house, program(hold=True))
    for given in ({}, {"after": (needed.id,)}):
        first = submitted(house, program(array="0-9%3", **given))
        before = told(house, first.array)
        holding.hold_array(house, SYSTEM, str(first.array))
        assert {reason for reason, _ in told(house, first.array)} == {ReasonCode.HELD}
        holding.release_array(house, SYSTEM, str(first.array))
        assert told(house, first.array) == before
        assert sum(before.values()) == 10


def test_of_an_array_under_a_limit_that_was_held_as_many_run_afterwards_as_may(house: House, site: MemorySite) -> None:
    first = submitted(house, program(10, array="0-9%3"))
    house.port(Dispatcher).step()
    holding.hold_array(house, SYSTEM, str(first.array))
    site.clock.sleep(11)
    house.port(Dispatcher).step()
    assert states(house, first.array) == {"queued": 7, "succeeded": 3}
    holding.release_array(house, SYSTEM, str(first.array))
    for _ in range(8):
        house.port(Dispatcher).step()
        assert len(site.running()) <= 3
        site.clock.sleep(11)
    assert states(house, first.array) == {"succeeded": 10}


def test_a_job_that_waits_for_several_names_the_first_that_has_not_ended(house: House) -> None:
    needed = submitted(house, program(hold=True, array="0-3"))
    last = submitted(house, program(after_any=(str(needed.array),)))
    waiting = house.db.read(lambda tx: [row["id"] for row in tx.rows("SELECT id FROM compute_jobs WHERE array_id IS NOT NULL ORDER BY id")])
    for done in range(4):
        said = house.db.read(lambda tx: store.job(tx, last.id)).waits_for or ""
        named, more = said.removeprefix("it starts after ").partition(" ")[::2]
        assert (named in waiting, more) == (True, f"and {3 - done} more" if done < 3 else "")
        waiting.remove(named)
        house.db.write(lambda tx, named=named: holding.cancel(house, tx, SYSTEM, named))
    assert house.db.read(lambda tx: store.job(tx, last.id)).waits_for is None


def test_the_jobs_of_an_array_are_written_and_told_of_together(house: House) -> None:
    first = submitted(house, program(array="5-9", key="once", env={"WORD": "same"}))
    jobs = house.db.read(lambda tx: store.jobs(tx, "1 = 1", {}, state=None, kind=None, before=None, limit=9))[::-1]
    assert [(job.index, job.ask.env["LILONG_ARRAY_INDEX"], job.ask.env["WORD"]) for job in jobs] == [
        (n, str(n), "same") for n in range(5, 10)
    ]
    assert [job.ask.key for job in jobs] == ["once", "", "", "", ""]
    events = house.db.read(lambda tx: tx.rows("SELECT subject FROM ground_events WHERE kind = 'compute.job-submitted' ORDER BY seq"))
    assert [row["subject"] for row in events] == [job.id for job in jobs]
    assert first == jobs[0]
