"""Whose texts a steward may take down: all in the organisation's own versions, and in those of others only what it gave itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lilong.floors.corpus import service
from lilong.floors.corpus.alliance.shapes import MemberAsk, NothingToTakeDown, TakedownAsk
from lilong.floors.corpus.contract import BuildAsk, SourceSet, State, Terms, Version
from lilong.ground.house import House
from tests.corpus.houses import HANA, HARBOUR, LANTERN, MEI, STEWARD, TOM, built, closed, fetched, opened, settle
from tests.corpus.test_takedowns import WHY, document, ids

SHARED, THEIRS = range(4), range(10, 14)


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = opened(tmp_path_factory.mktemp("authority"))
    for actor, organisation in ((MEI, LANTERN), (HANA, HARBOUR)):
        service.join(made, actor, MemberAsk(organisation))
        service.admit(made, STEWARD, organisation)
    yield made
    closed(made)


@pytest.fixture
def sets(house: House) -> tuple[SourceSet, SourceSet]:
    """One of lantern-works, and one of harbour-lab."""
    return fetched(house, TOM, LANTERN, "tides", SHARED, Terms.ALLIANCE), fetched(house, HANA, HARBOUR, "cranes", THEIRS, Terms.ALLIANCE)


@pytest.fixture
def own(house: House, sets: tuple[SourceSet, SourceSet]) -> Version:
    return built(house, TOM, LANTERN, "mixed", *sets)


@pytest.fixture
def elsewhere(house: House, sets: tuple[SourceSet, SourceSet]) -> Version:
    """harbour-lab's own version, of what lantern-works gives too."""
    return built(house, HANA, HARBOUR, "mixed", *sets)


@pytest.mark.parametrize("what", [{"contributor": HARBOUR}, {"source": "cranes"}, {"document": document(11)}])
def test_what_another_member_gave_leaves_one_s_own_versions_and_stays_in_that_member_s(
    house: House, own: Version, elsewhere: Version, sets: tuple[SourceSet, SourceSet], what: dict[str, str]
) -> None:
    service.takedown(house, MEI, TakedownAsk(own.repository, "theirs", WHY, **what))
    settle(house)
    following = service.version(house, TOM, own.repository)
    assert following.id != own.id and document(11) not in ids(house, following) and document(1) in ids(house, following)
    assert service.version(house, HANA, elsewhere.id).superseded is None
    assert document(11) in ids(house, built(house, HANA, HARBOUR, "mixed-again", *sets))
    assert document(11) not in ids(house, built(house, TOM, LANTERN, "mixed-again", *sets))


@pytest.mark.parametrize("what", [{"contributor": LANTERN}, {"source": "tides"}, {"document": document(1)}])
def test_what_one_gave_oneself_leaves_the_versions_of_others_too(
    house: House, own: Version, elsewhere: Version, sets: tuple[SourceSet, SourceSet], what: dict[str, str]
) -> None:
    service.takedown(house, MEI, TakedownAsk(own.repository, "mine", WHY, **what))
    settle(house)
    assert service.version(house, HANA, elsewhere.id).superseded is not None
    following = service.version(house, HANA, elsewhere.repository)
    assert following.state is State.DONE, following.error
    assert document(1) not in ids(house, following) and document(11) in ids(house, following)
    assert document(1) not in ids(house, built(house, HANA, HARBOUR, "mixed-again", *sets))


def test_where_an_older_version_holds_it_the_refusal_names_that_one(house: House, own: Version, sets: tuple[SourceSet, SourceSet]) -> None:
    asked = service.build(house, TOM, BuildAsk(LANTERN, "newer", [sets[1].id], own.repository))
    settle(house)
    newer = service.version(house, TOM, asked.id)
    with pytest.raises(NothingToTakeDown) as refused:
        service.preview(house, MEI, TakedownAsk(own.repository, "older", WHY, document=document(1)))
    named = f"{own.repository}@{(own.commit or '')[:12]}"
    assert f"{own.repository}@{(newer.commit or '')[:12]} holds no document" in str(refused.value) and f"It stands in {named}" in str(refused.value)
    assert [one.id for one in service.preview(house, MEI, TakedownAsk(named, "older", WHY, document=document(1))).versions] == [own.id]
