"""However many jobs are queued, nothing that is done again and again goes through all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.compute.memory_site import MemorySite, TestClock, opened, program, submitted

from lilong.floors.compute import store
from lilong.floors.compute.contract import SiteNode
from lilong.floors.compute.store import asking, attempts, money, queue, waiting
from lilong.floors.compute.work import Dispatcher
from lilong.floors.compute.work.snapshotting import window
from lilong.ground.house import House

REPEATED = {
    "a tenant's next jobs": waiting.FIRST,
    "the next pause's end": waiting.NEXT_PAUSE,
    "a user's last runs": waiting.LAST_RUNS,
    "promised starts": waiting.PROMISED,
    "counts of what runs": waiting.ACTIVE_COUNTS,
    "what holds resources": queue.ACTIVE,
    "what is to be handed over": queue.STARTING,
    "what is to end": queue.TO_STOP,
    "what is to end and has not begun": asking.TO_END,
    "what is to be tidied": queue.UNTIDIED,
    "attempts that run": attempts.OPEN,
    "attempts at a site": attempts.OPEN_AT,
    "attempts": attempts.OPEN_TOKENS,
    "nodes that are being left": attempts.STOPPING,
    "what waits at engines": attempts.WAITING_AT,
    "services under way": money.SERVICES,
}
GIVEN = {
    "organisation": "lantern-works",
    "project": "default",
    "now": "2026-01-01T00:00:00.000000Z",
    "latest": "2026-01-01T00:05:00.000000Z",
    "limit": 10,
    "site": "local",
    "user": "mei",
}


@pytest.fixture
def house(tmp_path: Path):
    clock = TestClock()
    made = opened(tmp_path / "house", clock, [MemorySite("local", clock, (SiteNode("here", 2, 4096),))])
    yield made
    made.close()


@pytest.mark.parametrize("what", REPEATED)
def test_no_question_that_is_asked_again_and_again_reads_a_whole_table(what: str, house: House) -> None:
    given = {name: value for name, value in GIVEN.items() if f":{name}" in REPEATED[what]}
    plan = house.db.read(lambda tx: [row["detail"] for row in tx.rows("EXPLAIN QUERY PLAN " + REPEATED[what], **given)])
    assert not [step for step in plan if step.startswith("SCAN") and "INDEX" not in step], plan
    assert not [step for step in plan if "compute_jobs_by_state (state=?)" in step and "queued" in REPEATED[what]], plan


def test_the_counts_are_kept_as_jobs_come_and_go(house: House) -> None:
    work = house.port(Dispatcher)
    for number in range(3):
        submitted(house, program(5, number % 2, cpus=2))
    work.step()
    assert house.db.read(store.counts) == {"queued": 2, "running": 1}
    for _ in range(20):
        house.clock.sleep(6)
        work.step()
    assert house.db.read(store.counts) == {"queued": 0, "succeeded": 2, "failed": 1}


def test_each_tenant_gets_its_part_of_what_a_decision_looks_at(house: House) -> None:
    for organisation, many in (("lantern-works", 40), ("other-yard", 3)):
        for _ in range(many):
            submitted(house, program(organisation=organisation, hold=False))
    rows, cut = house.db.read(lambda tx: window(tx, "2027-01-01T00:00:00.000000Z", 20))
    seen = [row["organisation"] for row in rows]
    assert (seen.count("other-yard"), seen.count("lantern-works"), cut) == (3, 17, True)
    rows, cut = house.db.read(lambda tx: window(tx, "2027-01-01T00:00:00.000000Z", 100))
    assert (len(rows), cut) == (43, False)


def test_a_million_held_jobs_would_not_be_looked_at(house: House) -> None:
    held = submitted(house, program(hold=True))
    free = submitted(house, program())
    rows, _ = house.db.read(lambda tx: window(tx, "2027-01-01T00:00:00.000000Z", 20))
    assert [row["id"] for row in rows] == [free.id] != [held.id]
