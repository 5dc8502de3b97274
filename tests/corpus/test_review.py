"""Doors that stand between one organisation's texts and another: takedowns over organisations, gates, names and files that are not what they say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lilong.floors.corpus import service
from lilong.floors.corpus.alliance.shapes import ContainsAsk, MemberAsk, RightsAsk, RightsKind, TakedownAsk
from lilong.floors.corpus.contract import State, Terms
from lilong.floors.hub.service import duplicating, repositories, settings
from lilong.floors.hub.contract import Hub, Kind, MayNotBePublic, RepositoryNotFound
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.errors import BadInput, LilongError
from lilong.ground.house import House
from tests.corpus import texts
from tests.corpus.houses import HANA, HARBOUR, LANTERN, MEI, STEWARD, TOM, WHARF, WIM, built, closed, fetched, opened, settle
from tests.corpus.test_takedowns import WHY, document, ids


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = opened(tmp_path_factory.mktemp("review"))
    for actor, organisation in ((MEI, LANTERN), (HANA, HARBOUR)):
        service.join(made, actor, MemberAsk(organisation))
        service.admit(made, STEWARD, organisation)
    yield made
    closed(made)


def test_whoever_takes_down_for_several_organisations_takes_it_out_of_each_ones_next_version(house: House) -> None:
    shared = fetched(house, HANA, HARBOUR, "gulls", range(8), Terms.ALLIANCE)
    mine = built(house, TOM, LANTERN, "gulls", shared)
    theirs = built(house, HANA, HARBOUR, "gulls", shared)
    service.takedown(house, STEWARD, TakedownAsk(mine.id, "gulls", WHY, document=document(3)))
    settle(house)
    for actor, old in ((TOM, mine), (HANA, theirs)):
        assert service.version(house, actor, old.id).superseded is not None
        assert document(3) not in ids_of(house, actor, old.repository)


def ids_of(house: House, actor: Actor, repository: str) -> set[str]:
    import pyarrow.parquet as pq

    version = service.version(house, actor, repository)
    files = house.db.read(lambda tx: house.port(Hub).revision(tx, SYSTEM, Kind.DATASET, repository, version.commit or "")).tree("data/")
    return {one for digest in files.values() for one in pq.read_table(house.blobs.open(digest), columns=["id"]).column("id").to_pylist()}


def test_the_next_version_goes_where_the_repository_is_now(house: House) -> None:
    old = built(house, TOM, LANTERN, "terns", fetched(house, TOM, LANTERN, "terns", range(10, 18)))
    settings.move(house, MEI, Kind.DATASET, old.repository, f"{LANTERN}/terns-of-the-north")
    settle(house)
    made = service.takedown(house, MEI, TakedownAsk(old.id, "terns", WHY, document=document(11)))
    settle(house)
    assert service.version(house, TOM, made.next or "").repository == f"{LANTERN}/terns-of-the-north"


def test_a_gated_repositorys_texts_are_for_those_who_were_let_in(house: House) -> None:
    row = built(house, TOM, LANTERN, "auks", fetched(house, TOM, LANTERN, "auks", range(20, 28), Terms.PUBLIC))
    settings.change(house, MEI, Kind.DATASET, row.repository, private=False, gated="manual")
    from lilong.floors.corpus.service import exploring

    seen = exploring.opened(house, WIM, row.repository)
    assert not seen.texts
    assert service.datasheet(house, WIM, row.repository).kept == []
    with pytest.raises(LilongError):
        service.contains(house, WIM, ContainsAsk(row.repository, texts.english(20)))


def test_a_copy_of_a_private_version_is_not_made_public(house: House) -> None:
    row = built(house, TOM, LANTERN, "skuas", fetched(house, TOM, LANTERN, "skuas", range(30, 38)))
    copy = f"{LANTERN}/skuas-copied"
    duplicating.duplicate(house, MEI, Kind.DATASET, row.repository, copy, private=True)
    with pytest.raises(MayNotBePublic):
        settings.change(house, MEI, Kind.DATASET, copy, private=False)


def test_a_private_repository_that_has_the_name_of_one_that_was_shared_is_not_shared(house: House) -> None:
    row = built(house, TOM, LANTERN, "rails", fetched(house, TOM, LANTERN, "rails", range(40, 48), Terms.ALLIANCE))
    port = house.port(Hub)
    assert house.db.read(lambda tx: port.revision(tx, HANA, Kind.DATASET, row.repository))
    repositories.delete(house, MEI, Kind.DATASET, row.repository)
    settle(house)
    port.publish(SYSTEM, Kind.DATASET, row.repository, {"diary.txt": house.blobs.put(b"secret").digest}, "own", lambda tx, revision: None)
    with pytest.raises(RepositoryNotFound):
        house.db.read(lambda tx: port.revision(tx, HANA, Kind.DATASET, row.repository))


@pytest.mark.parametrize("change", [{"received_at": "0001-01-01T00:00:00+14:00"}, {"due_at": "9999-12-31T23:59:59-14:00"}])
def test_times_at_the_ends_of_the_calendar_are_refused(house: House, change: dict[str, str]) -> None:
    with pytest.raises(BadInput):
        service.log_request(house, MEI, RightsAsk(LANTERN, str(change), RightsKind.ACCESS, "Ada", **change))
