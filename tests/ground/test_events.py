"""Events are numbered without gaps, logged in the transaction of their state, erasable, and heard by each subscriber once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from lilong.ground import log
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.errors import NotFound
from lilong.ground.events import SqlNodes, origin_of
from lilong.ground.house import House
from tests.ground.opened import ground

MEI = Actor("mei")


@dataclass(frozen=True, slots=True)
class RoomBooked:
    kind: ClassVar[str] = "rooms.booked"
    subject: str
    seats: int
    guest: str = "somebody"


@dataclass(frozen=True, slots=True)
class RoomFreed:
    kind: ClassVar[str] = "rooms.freed"
    subject: str


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    opened = ground(tmp_path, database_url)
    yield opened
    opened.close()


def book(house: House, *rooms: str) -> list[int]:
    return [house.db.write(lambda tx, room=room: house.events.append(tx, MEI, RoomBooked(room, 4))) for room in rooms]  # type: ignore[misc]


def test_an_event_comes_back_as_it_was_written(house: House) -> None:
    (seq,) = book(house, "red")
    recorded = house.db.read(lambda tx: house.events.get(tx, seq))
    assert (recorded.actor, recorded.kind, recorded.subject, recorded.body) == ("mei", "rooms.booked", "red", {"seats": 4, "guest": "somebody"})
    assert recorded.body_fits


def test_numbers_have_no_gaps_even_after_a_failed_transaction(house: House) -> None:
    book(house, "red")

    def fails(tx: object) -> None:
        house.events.append(tx, MEI, RoomBooked("blue", 1))  # type: ignore[arg-type]
        raise ValueError

    with pytest.raises(ValueError):
        house.db.write(fails)
    assert book(house, "green") == [1]


def test_the_log_of_the_database_has_the_root_of_its_leaves(house: House) -> None:
    book(house, *(f"room-{number}" for number in range(11)))
    rebuilt = log.MemoryNodes()
    for number, event in enumerate(house.db.read(lambda tx: house.events.since(tx, 0))):
        log.append(rebuilt, number, event.leaf)
    assert house.db.read(lambda tx: log.root(SqlNodes(tx), 11)) == log.root(rebuilt, 11)


def test_several_at_once_make_the_log_that_one_by_one_would(house: House) -> None:
    firsts = []
    for many in (3, 1, 0, 6, 2):
        events = [RoomBooked(f"room-{number}", number) if number % 2 else RoomFreed(f"room-{number}") for number in range(many)]
        firsts.append(house.db.write(lambda tx, events=events: house.events.append_all(tx, MEI, events)))  # type: ignore[misc]
    assert firsts == [0, 3, 4, 4, 10]
    recorded = house.db.read(lambda tx: house.events.since(tx, 0))
    assert [event.subject for event in recorded[4:10]] == [f"room-{number}" for number in range(6)]
    rebuilt = log.MemoryNodes()
    for number, event in enumerate(recorded):
        log.append(rebuilt, number, event.leaf)
    assert house.db.read(lambda tx: log.root(SqlNodes(tx), 12)) == log.root(rebuilt, 12)
    assert house.db.read(lambda tx: int(tx.value("SELECT COUNT(*) FROM ground_log_nodes"))) == len(rebuilt)


def test_every_field_of_an_event_is_bound_by_its_leaf(house: House) -> None:
    (seq,) = book(house, "red")
    event = house.db.read(lambda tx: house.events.get(tx, seq))
    for change in ({"seq": 7}, {"at": "2020"}, {"actor": "li"}, {"kind": "rooms.freed"}, {"subject": "blue"}, {"body_sha256": "0" * 64}):
        assert replace(event, **change).leaf != event.leaf  # type: ignore[arg-type]
    assert not replace(event, body_text='{"guest":"nobody","seats":4}').body_fits
    assert not replace(event, salt="another").body_fits
    assert not replace(event, salt=None).body_fits


def test_an_erased_body_is_gone_and_the_proofs_still_hold(house: House) -> None:
    first, _ = book(house, "red", "blue")
    before = house.db.read(lambda tx: house.events.get(tx, first))
    house.db.write(lambda tx: house.events.erase(tx, first))
    after = house.db.read(lambda tx: house.events.get(tx, first))
    assert (after.body_text, after.salt) == (None, None)
    assert after.leaf == before.leaf and after.body_fits
    with pytest.raises(NotFound):
        _ = after.body


def test_a_subscriber_hears_each_event_of_its_kinds_once_and_from_the_first(house: House) -> None:
    book(house, "red", "blue")
    house.db.write(lambda tx: house.events.append(tx, SYSTEM, RoomFreed("red")))
    book(house, "green")
    heard: list[str] = []
    while waiting := house.db.read(lambda tx: house.events.pending(tx, "kitchen", ("rooms.booked",), 2)):
        heard += [event.subject for event in waiting]
        house.db.write(lambda tx, last=waiting[-1].seq: house.events.advance(tx, "kitchen", last))  # type: ignore[misc]
    assert heard == ["red", "blue", "green"]
    assert len(house.db.read(lambda tx: house.events.pending(tx, "another", (), 100))) == 4


def test_a_cursor_never_moves_back(house: House) -> None:
    book(house, "red", "blue")
    house.db.write(lambda tx: house.events.advance(tx, "kitchen", 1))
    house.db.write(lambda tx: house.events.advance(tx, "kitchen", 0))
    assert house.db.read(lambda tx: house.events.pending(tx, "kitchen", (), 9)) == []


def test_a_checkpoint_is_signed_kept_and_consistent_with_the_one_before(house: House) -> None:
    signer, origin = house.keys.house(), origin_of("Lane House No. 7")
    assert origin == "lilong/lane-house-no.-7"
    book(house, "red", "blue", "green")
    notes = [house.db.write(lambda tx: house.events.checkpoint(tx, signer, origin)) for _ in range(2)]
    assert notes[0] == notes[1]
    book(house, "white")
    notes.append(house.db.write(lambda tx: house.events.checkpoint(tx, signer, origin)))
    key = log.Verifier(origin, signer.public.raw())
    old, new = (log.Checkpoint.parse(log.open_note(note, [key])) for note in notes[1:])
    proof = house.db.read(lambda tx: log.consistency(SqlNodes(tx), old.size, new.size))
    assert (old.size, new.size) == (3, 4)
    assert log.verify_consistency(3, 4, old.root, new.root, proof)
