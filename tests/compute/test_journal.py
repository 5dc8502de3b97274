"""What was decided comes out again bit for bit; and if the journal was changed, that is seen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.compute.memory_site import MemorySite, TestClock, apply, attend, opened, program, submitted

from lilong.floors.compute.contract import Layout, SiteNode
from lilong.floors.compute.scheduler.snapshot import together
from lilong.floors.compute.service import opening, replay
from lilong.floors.compute.store import journal
from lilong.floors.compute.work import Dispatcher
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.errors import BadInput, Forbidden
from lilong.ground.house import House
from lilong.ground.seams import stamp

NODE = SiteNode("b", 8, 8192, "b910", 4, {"rack": "r1"})
SETTINGS = "[classes.b910]\nprice = 2.0\n[tenants.lantern-works]\nnominal = { b910 = 2 }\n[tenants.other-yard]\nnominal = { b910 = 2 }\n"


@pytest.fixture
def site() -> MemorySite:
    return MemorySite("local", TestClock(), (SiteNode("a", 2, 4096), NODE))


@pytest.fixture
def house(tmp_path: Path, site: MemorySite) -> Iterator[House]:
    made = opened(tmp_path / "house", site.clock, [site], SETTINGS)
    yield made
    made.close()


def busy(house: House, rounds: int = 8) -> None:
    """Jobs come and go."""
    for number in range(rounds):
        submitted(house, program(4 + number, cpus=1 + number % 2, organisation=("lantern-works", "other-yard")[number % 2]))
        submitted(house, program(9, any_of=(Layout("b910", devices=1 + number % 3),), preemptible=True))
        house.clock.sleep(3)
        house.port(Dispatcher).step()


def all_of(house: House) -> replay.Replayed:
    told = replay.replay(house, SYSTEM)
    assert told.next is None
    return told


def test_every_decision_comes_out_again(house: House) -> None:
    busy(house)
    told = all_of(house)
    assert told.differences == []
    assert told.same == told.last - told.first + 1 >= 8
    shown = replay.decisions(house, SYSTEM)
    assert sum(one.starts for one in shown) >= 5
    assert [one.number for one in shown] == sorted((one.number for one in shown), reverse=True)


def test_what_was_seen_is_kept_whole_now_and_then_and_else_what_changed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "WHOLE_EVERY", 3)
    busy(house)
    rows = house.db.read(lambda tx: journal.rows(tx, 1, 100))
    assert [bool(row["whole"]) for row in rows][:7] == [True, False, False, True, False, False, True]
    assert all_of(house).differences == []
    assert replay.replay(house, SYSTEM, 5, 5).same == 1


def test_a_snapshot_comes_together_from_its_entries(house: House) -> None:
    busy(house, 3)
    (row,) = house.db.read(lambda tx: journal.rows(tx, 1, 1))
    seen = {name: value for name, value in journal.unpacked(row["seen"]).items() if value is not None}
    assert together(seen).texts() == seen


def test_settings_that_changed_meanwhile_change_nothing_of_what_was(house: House) -> None:
    busy(house, 3)
    apply(house, 'policy = "fifo"\nlook = 3\n' + SETTINGS.replace("price = 2.0", "price = 9.0"))
    busy(house, 3)
    apply(house, 'policy = "easy-sjbf"\n[classes.b910]\nvendor = "elsewhere"\n')
    busy(house, 3)
    assert all_of(house).differences == []
    assert len({one.policy for one in replay.decisions(house, SYSTEM)}) == 3


def test_a_server_that_follows_a_killed_one_goes_on_with_the_journal(house: House, site: MemorySite) -> None:
    busy(house, 3)
    attend(house, [site])  # nothing in memory
    busy(house, 3)
    assert all_of(house).differences == []


@pytest.mark.parametrize("column", ["plan", "seen", "digest"])
def test_a_row_that_somebody_changed_is_named(column: str, house: House) -> None:
    busy(house)
    (row,) = house.db.read(lambda tx: journal.rows(tx, 3, 3))
    if column == "plan":
        plan = json.loads(row["plan"])
        changed: object = json.dumps({**plan, "cost": plan["cost"] + 1}, sort_keys=True, separators=(",", ":"))
    elif column == "seen":
        changed = journal.packed({**journal.unpacked(row["seen"]), "now": "1"})
    else:
        changed = "sha256:" + "0" * 64
    house.db.write(lambda tx: tx.run(f"UPDATE compute_decisions SET {column} = :value WHERE number = 3", value=changed))
    told = all_of(house)
    assert told.differences[0].number == 3
    assert told.differences[0].what == ("cost" if column == "plan" else "snapshot")
    if column != "seen":  # what was seen later builds on it
        assert {one.number for one in told.differences} == {3}


def test_a_row_that_is_gone_is_named(house: House) -> None:
    busy(house)
    house.db.write(lambda tx: tx.run("DELETE FROM compute_decisions WHERE number = 4"))
    assert (4, "row") in [(one.number, one.what) for one in all_of(house).differences]


@pytest.mark.parametrize(("column", "value"), [("at", "2026-02-01T00:00:00.000000Z"), ("at", "yesterday"), ("policy", "fifo 0.1.0")])
def test_a_time_or_policy_that_somebody_changed_is_named(column: str, value: str, house: House) -> None:
    busy(house)
    house.db.write(lambda tx: tx.run(f"UPDATE compute_decisions SET {column} = :value WHERE number = 3", value=value))
    assert [(one.number, one.what) for one in all_of(house).differences] == [(3, column)]


def test_the_newest_rows_are_missed_where_attempts_tell_of_them(house: House) -> None:
    busy(house)
    last = house.db.read(lambda tx: journal.span(tx)[1])
    house.db.write(lambda tx: tx.run("DELETE FROM compute_decisions WHERE number >= :last", last=last - 1))
    told = all_of(house).differences
    assert [one.what for one in told] == ["row"]
    assert told[0].number > last - 2


def test_bytes_that_are_no_snapshot_are_named(house: House) -> None:
    busy(house, 3)
    house.db.write(lambda tx: tx.run("UPDATE compute_decisions SET seen = :seen WHERE number = 2", seen=b"noise"))
    assert all_of(house).differences[0].what == "snapshot"


def test_a_span_that_ends_before_it_begins_is_refused(house: House) -> None:
    with pytest.raises(BadInput, match=r"9 is greater than 3, which is to be the last\. Give the smaller number first\."):
        replay.replay(house, SYSTEM, 9, 3)


def test_a_span_that_has_not_come_yet_is_refused_with_what_is_kept(house: House) -> None:
    busy(house, 1)
    last = house.db.read(journal.span)[1]
    with pytest.raises(BadInput, match=rf"there is no decision 9000 yet\. Those from 1 to {last} are kept\."):
        replay.replay(house, SYSTEM, 9000)


def test_old_decisions_go_and_what_is_left_can_still_be_replayed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "WHOLE_EVERY", 4)
    busy(house, 6)
    old = house.db.read(journal.span)
    house.clock.sleep(timedelta(days=91).total_seconds())
    busy(house, 2)
    opening.prune(house)
    first, last = house.db.read(journal.span)
    assert old[0] < first <= old[1] < last
    told = all_of(house)
    assert (told.first, told.differences) == (first, [])
    with pytest.raises(BadInput, match="no longer kept"):
        replay.replay(house, SYSTEM, first - 1)


def test_only_operators_see_what_was_decided(house: House) -> None:
    busy(house, 1)
    for verb in (replay.replay, replay.decisions):
        with pytest.raises(Forbidden):
            verb(house, Actor("mei"))
        assert verb(house, Actor("olga"))


def test_another_process_decides_the_same(house: House, tmp_path: Path) -> None:
    busy(house)
    rows = house.db.read(lambda tx: journal.rows(tx, 1, 100))
    told = [[row["digest"], bool(row["whole"]), journal.unpacked(row["seen"]), row["plan"]] for row in rows]
    (tmp_path / "journal.json").write_text(json.dumps(told))
    code = (
        "import json, sys\n"
        "from lilong.floors.compute.scheduler.by_name import decide, plan_text\n"
        "from lilong.floors.compute.scheduler.snapshot import digest, together\n"
        "seen = {}\n"
        "for known, whole, changed, plan in json.load(open(sys.argv[1])):\n"
        "    seen = ({} if whole else seen) | changed\n"
        "    seen = {name: value for name, value in seen.items() if value is not None}\n"
        "    assert digest(seen) == known\n"
        "    assert plan_text(decide(together(seen))) == plan\n"
        "print('same')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "journal.json")],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONHASHSEED": "7", "PATH": ""},
    )
    assert done.stdout == "same\n", done.stderr


def test_the_journal_works_on_both_databases(database_url: str, tmp_path: Path, site: MemorySite) -> None:
    house = opened(tmp_path / "other", site.clock, [site], SETTINGS, database=database_url)
    busy(house, 4)
    assert all_of(house).differences == []
    assert replay.decisions(house, SYSTEM, limit=2)[0].number == house.db.read(journal.span)[1]
    assert house.db.write(lambda tx: journal.prune(tx, stamp(house.clock.now()), 1000)) == 0
    house.close()
