"""Doors that stand between one organisation's texts and another: takedowns over organisations, gates, names and files that are not what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lilong.floors.corpus import service
from lilong.floors.corpus.alliance import publishing, runs
from lilong.floors.corpus.alliance.shapes import ContainsAsk, MemberAsk, RightsAsk, RightsKind, RunNotUsable, TakedownAsk
from lilong.floors.corpus.contract import Terms
from lilong.floors.corpus.curation.exploring.alike import words_compared
from lilong.floors.corpus.service import exploring
from lilong.floors.hub.contract import GatedRepository, Hub, Kind, MayNotBePublic, RepositoryNotFound
from lilong.floors.hub.service import duplicating, repositories, settings
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.errors import BadInput
from lilong.ground.house import House
from tests.corpus import explored, texts
from tests.corpus.houses import HANA, HARBOUR, LANTERN, MEI, STEWARD, TOM, WIM, built, closed, fetched, opened, settle
from tests.corpus.test_takedowns import WHY, document


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
    version = service.version(house, actor, repository)
    hub = house.port(Hub)  # type: ignore[type-abstract]
    files = house.db.read(lambda tx: hub.revision(tx, SYSTEM, Kind.DATASET, repository, version.commit or "")).tree("data/")
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
    seen = exploring.opened(house, WIM, row.repository)
    assert not seen.texts
    assert service.datasheet(house, WIM, row.repository).kept == []
    with pytest.raises(GatedRepository):
        service.contains(house, WIM, ContainsAsk(row.repository, texts.english(20)))


def test_a_copy_of_a_private_version_is_not_made_public(house: House) -> None:
    row = built(house, TOM, LANTERN, "skuas", fetched(house, TOM, LANTERN, "skuas", range(30, 38)))
    copy = f"{LANTERN}/skuas-copied"
    duplicating.duplicate(house, MEI, Kind.DATASET, row.repository, copy, private=True)
    with pytest.raises(MayNotBePublic):
        settings.change(house, MEI, Kind.DATASET, copy, private=False)


def test_a_private_repository_that_has_the_name_of_one_that_was_shared_is_not_shared(house: House) -> None:
    row = built(house, TOM, LANTERN, "rails", fetched(house, TOM, LANTERN, "rails", range(40, 48), Terms.ALLIANCE))
    port = house.port(Hub)  # type: ignore[type-abstract]
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


def test_texts_that_were_dropped_are_quoted_to_readers_of_the_organisation_only(house: House) -> None:
    row = explored.built(house, TOM, f"{LANTERN}/dunlins", "dunlins", explored.records(), Terms.ALLIANCE)
    assert service.datasheet(house, TOM, row.id).lost
    seen = service.datasheet(house, HANA, row.id)
    assert seen.kept and not seen.lost


@pytest.mark.parametrize("name", ["../../elsewhere", "/tmp/elsewhere", "a\nb", "", "\ud800", "x" * 201, 7, None, {}])
def test_a_source_whose_name_leads_elsewhere_is_not_published(name: Any) -> None:
    said = {"sources": [{"source": name}], "run": {"inputs": {"files": 1, "digest": "d"}, "code": "c"}, "software": {"python": "3"}}
    with pytest.raises((RunNotUsable, UnicodeEncodeError)):
        runs.check_said(said)


@pytest.mark.parametrize(
    ("table", "saying"),
    [
        (pa.table({"id": ["0"] * 20_000}), "row groups of more"),
        (pa.table({"id": ["0"], "uri": ["x" * 20_000]}), "uri is longer"),
        (pa.table({"id": ["0"], "more": [[1, 2]]}), "such as more"),
        (pa.table({"id": ["0"], **{f"signal_{n}": [0] for n in range(600)}}), "columns that no run writes"),
        (pa.table({"reason": [str(n) for n in range(12_000)]}), "different texts in the column reason"),
    ],
)
def test_a_table_in_which_few_bytes_stand_for_many_is_not_published(tmp_path: Path, table: pa.Table, saying: str) -> None:
    pq.write_table(table, tmp_path / "signals.parquet")
    with pytest.raises(RunNotUsable, match=saying):
        publishing._check_table(tmp_path / "signals.parquet")


def test_texts_made_to_be_slow_to_compare_are_one_change() -> None:
    left, right = (" ".join(f"a {mark}{n}" for n in range(620)) for mark in "xy")
    pieces = words_compared(left, right)
    assert ("".join(one.left for one in pieces), "".join(one.right for one in pieces)) == (left, right)
    assert len(pieces) == 1
