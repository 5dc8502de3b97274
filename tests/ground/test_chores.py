"""Deliveries: each event reaches its subscriber, and one that could not be handled is not forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest

from lilong.ground import chores
from lilong.ground.access import SYSTEM
from lilong.ground.chores import Background, deliver, retry_parked
from lilong.ground.events import Recorded
from lilong.ground.house import House, Subscription


@dataclass(frozen=True, slots=True)
class BellRung:
    kind: ClassVar[str] = "test.bell-rung"
    subject: str


def ring(house: House, *names: str) -> None:
    house.db.write(lambda tx: [house.events.append(tx, SYSTEM, BellRung(name)) for name in names])


def parked(house: House) -> int:
    return int(house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM ground_parked")))


def waiting(house: House, subscription: Subscription) -> int:
    return len(house.db.read(lambda tx: house.events.pending(tx, subscription.name, subscription.kinds, 100)))


def subscriber(heard: list[str], cannot: set[str]) -> Subscription:
    def handle(_: House, recorded: Recorded) -> None:
        if recorded.subject in cannot:
            raise OSError("the disk is full")
        heard.append(recorded.subject)

    return Subscription("test.bells", (BellRung.kind,), handle)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_event_that_cannot_be_handled_is_parked_and_the_next_goes_on(house: House) -> None:
    heard: list[str] = []
    bells = subscriber(heard, {"one"})
    ring(house, "one", "two")
    assert deliver(house, bells) == 2
    assert (heard, parked(house)) == (["two"], 1)


def test_what_is_parked_is_handed_over_once_it_can_be_handled(house: House) -> None:
    heard: list[str] = []
    cannot = {"one", "two"}
    bells = subscriber(heard, cannot)
    ring(house, "one", "two", "three")
    deliver(house, bells)
    assert retry_parked(house, bells) == 0
    cannot.clear()
    assert retry_parked(house, bells) == 2
    assert (heard, parked(house)) == (["three", "one", "two"], 0)
    assert retry_parked(house, bells) == 0


def test_a_server_that_starts_tries_what_was_parked_before(house: House) -> None:
    heard: list[str] = []
    cannot = {"one"}
    bells = subscriber(heard, cannot)
    ring(house, "one")
    deliver(house, bells)
    cannot.clear()
    house.subscriptions[:], house.chores[:] = [bells], []
    background = Background(house)
    background.start()
    try:
        until(lambda: parked(house) == 0)
    finally:
        background.stop()
    assert heard == ["one"]


def test_what_is_parked_while_a_server_runs_is_tried_again_without_a_restart(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "_PARKED_EVERY", 0.05)
    monkeypatch.setattr(chores, "_PAUSE", 0.001)
    heard: list[str] = []
    cannot = {"one"}
    house.subscriptions[:], house.chores[:] = [subscriber(heard, cannot)], []
    background = Background(house)
    background.start()
    try:
        ring(house, "one")
        until(lambda: parked(house) == 1)
        cannot.clear()
        ring(house, "two")
        until(lambda: parked(house) == 0)
    finally:
        background.stop()
    assert sorted(heard) == ["one", "two"]


def test_many_events_are_noted_as_handled_in_a_few_transactions(house: House) -> None:
    heard: list[str] = []
    bells = subscriber(heard, set())
    ring(house, *map(str, range(250)))
    commits: list[None] = []
    house.db.on_commit(lambda: commits.append(None))
    while deliver(house, bells):
        pass
    assert heard == [str(each) for each in range(250)]
    assert len(commits) <= 4


def test_what_was_handled_before_a_server_stops_is_not_handed_over_again(house: House) -> None:
    heard: list[str] = []
    cannot = {"three"}
    bells = subscriber(heard, cannot)
    ring(house, "one", "two", "three")
    stop = threading.Event()
    stop.set()
    assert deliver(house, bells, stop) == 0
    cannot.clear()
    assert deliver(house, bells) == 1
    assert heard == ["one", "two", "three"]


def test_what_was_handled_a_second_ago_is_noted_before_the_rest_is_handed_over(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "_NOTED_EVERY", 0.0)
    noted: list[int] = []
    bells = Subscription("test.bells", (BellRung.kind,), lambda house, _: noted.append(waiting(house, bells)))
    ring(house, "one", "two", "three")
    deliver(house, bells)
    assert noted == [3, 2, 1]
