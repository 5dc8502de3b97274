"""What is listed and asked of many versions: pages are full, and what is laid down to be asked is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lilong.floors.corpus import service, store
from lilong.floors.corpus.alliance.shapes import ContainsAsk, NoIndex
from lilong.floors.corpus.contract import BuildAsk, State, Terms, Version
from lilong.floors.corpus.service import asking
from lilong.ground.db import Tx
from lilong.ground.house import House
from tests.corpus import texts
from tests.corpus.houses import HANA, HARBOUR, LANTERN, MEI, TOM, WHARF, built, closed, fetched, opened, settle
from tests.corpus.test_takedowns import document


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = opened(tmp_path_factory.mktemp("looking"))
    yield made
    closed(made)


@pytest.fixture(scope="module")
def two(house: House) -> list[Version]:
    return [built(house, TOM, LANTERN, name, fetched(house, TOM, LANTERN, name, seeds)) for name, seeds in (("a", range(2)), ("b", range(2, 4)))]


def added(tx: Tx, number: int, organisation: str, terms: Terms, contributor: str) -> str:
    identity = f"corpus-{organisation}-{number:04d}"
    ask = BuildAsk(organisation, identity, [], f"{organisation}/some")
    store.add_version(
        tx,
        Version(
            identity, organisation, identity, State.DONE, [], ask.repository, {}, 1, identity, "mei", f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z",
            terms=terms, contributors=[contributor],
        ),
        ask,
    )  # fmt: skip
    return identity


def test_a_page_is_full_whatever_the_asker_may_not_see_of_what_is_newer(house: House) -> None:
    def write(tx: Tx) -> list[str]:
        own = [added(tx, number, HARBOUR, Terms.PRIVATE, HARBOUR) for number in range(5)]
        for number in range(5, 255):  # public, but in a repository that is not
            added(tx, number, WHARF, Terms.PUBLIC, HARBOUR)
        return own

    own = house.db.write(write)
    assert [one.id for one in service.versions(house, HANA, limit=3)] == own[:1:-1]
    assert {one.id for one in service.versions(house, HANA)} == set(own)
    assert service.versions(house, MEI, f"{HARBOUR}/some") == []
    found = building_versions(house, HARBOUR)
    assert found == own[::-1]


def building_versions(house: House, contributor: str) -> list[str]:
    from lilong.floors.corpus.service.building import versions_with

    return [one.id for one in versions_with(house, HANA, contributor)]


def asked(house: House, version: Version, text: str) -> list[str]:
    try:
        return service.contains(house, MEI, ContainsAsk(version.id, text)).copies
    except NoIndex:
        settle(house)
        return service.contains(house, MEI, ContainsAsk(version.id, text)).copies


def test_of_the_indexes_that_are_laid_down_those_that_were_asked_last_stay(
    house: House, two: list[Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_LAID_DOWN", 1)
    place: Path = house.settings.run / "corpus-indexes"
    kept: set[Path] = set()
    for at in (0, 1, 0, 1):
        assert asked(house, two[at], texts.english(2 * at)) == [document(2 * at)]
        now = set(place.iterdir())
        assert len(now) == 1 and now != kept
        kept = now
    monkeypatch.setattr(asking, "_LAID_DOWN", 1 << 30)
    for at in (0, 1):
        assert asked(house, two[at], texts.english(2 * at + 1)) == [document(2 * at + 1)]
    assert len(list(place.iterdir())) == 2
