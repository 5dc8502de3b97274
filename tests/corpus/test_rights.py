"""Data-rights requests: logged once, due in time, seen by stewards only, and forgotten without breaking the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lilong.floors.corpus import service
from lilong.floors.corpus.alliance import rights
from lilong.floors.corpus.alliance.shapes import (
    AnsweredBefore,
    RightsAnswer,
    RightsAsk,
    RightsKind,
    RightsRequestNotFound,
    RightsState,
    TakedownNotFound,
)
from lilong.floors.corpus.contract import AskedOtherwise
from lilong.floors.corpus.service.rights import StillOpen
from lilong.ground.errors import BadInput, Forbidden
from lilong.ground.house import House
from tests.corpus.houses import HANA, HARBOUR, LANTERN, MEI, STEWARD, TOM, closed, database, opened

ASK = RightsAsk(LANTERN, "letter 7", RightsKind.ERASURE, "Ada Quay, 3 Quay Lane", "She found her letters in it.", "2026-01-02")
DONE = RightsAnswer(RightsState.FULFILLED, "Taken down.")


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = opened(tmp_path_factory.mktemp("rights"), database(request))
    yield made
    closed(made)


def test_a_request_is_logged_once_and_due_in_thirty_days(house: House) -> None:
    made = service.log_request(house, MEI, ASK)
    assert (made.state, made.received_at[:10], made.due_at[:10]) == (RightsState.OPEN, "2026-01-02", "2026-02-01")
    assert service.log_request(house, MEI, ASK) == made
    with pytest.raises(AskedOtherwise):
        service.log_request(house, MEI, replace(ASK, subject="somebody else"))


def test_only_stewards_see_it(house: House) -> None:
    made = service.log_request(house, MEI, ASK)
    assert (
        [one.id for one in service.rights_requests(house, STEWARD)] == [made.id] == [one.id for one in service.rights_requests(house, MEI)]
    )
    for actor in (TOM, HANA):
        assert service.rights_requests(house, actor) == []
        with pytest.raises(RightsRequestNotFound):
            service.rights_request(house, actor, made.id)
    with pytest.raises(Forbidden):
        service.log_request(house, TOM, replace(ASK, key="other"))
    with pytest.raises(Forbidden):
        service.log_request(house, MEI, replace(ASK, key="other", organisation=HARBOUR))


def test_the_log_holds_nothing_of_the_person(house: House) -> None:
    made = service.log_request(house, MEI, ASK)
    service.answer_request(house, MEI, made.id, DONE)
    for event in house.db.read(lambda tx: house.events.about(tx, made.id)):
        for word in ("Ada", "Quay", "letters"):
            assert word not in (event.body_text or "") and word not in event.subject


def test_an_answer_stands(house: House) -> None:
    made = service.log_request(house, MEI, ASK)
    with pytest.raises(TakedownNotFound):
        service.answer_request(house, MEI, made.id, replace(DONE, takedown="takedown-none"))
    done = service.answer_request(house, MEI, made.id, DONE)
    assert (done.state, done.answer, done.answered_by) == (RightsState.FULFILLED, "Taken down.", "mei")
    assert service.answer_request(house, MEI, made.id, DONE) == done
    with pytest.raises(AnsweredBefore):
        service.answer_request(house, MEI, made.id, RightsAnswer(RightsState.REFUSED, "No."))


def test_what_is_forgotten_is_gone_and_the_log_still_holds(house: House) -> None:
    made = service.log_request(house, MEI, ASK)
    with pytest.raises(StillOpen):
        service.forget_request(house, MEI, made.id)
    service.answer_request(house, MEI, made.id, DONE)
    forgotten = service.forget_request(house, MEI, made.id)
    assert (forgotten.subject, forgotten.note, forgotten.answer) == (None, None, "Taken down.")
    assert service.forget_request(house, MEI, made.id) == forgotten
    row = house.db.read(lambda tx: tx.row("SELECT subject, note, salt FROM corpus_rights_requests WHERE id = :id", id=made.id))
    assert row is not None and set(row.values()) == {None}
    events = house.db.read(lambda tx: house.events.about(tx, made.id))
    assert [event.body_text for event in events if event.kind == "corpus.rights-requested"] == [None]
    assert all(event.body_fits for event in events)
    assert service.log_request(house, MEI, ASK).id == made.id


def test_an_open_request_past_its_day_is_overdue() -> None:
    received, due = rights.dates(ASK, datetime(2026, 3, 1, tzinfo=UTC))
    assert (received, due) == ("2026-01-02T00:00:00.000000Z", "2026-02-01T00:00:00.000000Z")


@pytest.mark.parametrize(
    "change", [{"subject": " "}, {"received_at": "soon"}, {"due_at": "2025-01-01"}, {"received_at": "2099-01-01"}, {"note": "x" * 10_001}]
)
def test_a_request_that_cannot_be_answered_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(BadInput):
        rights.dates(
            replace(ASK, **change),  # type: ignore[arg-type]
            datetime(2026, 3, 1, tzinfo=UTC),
        )
