"""Whose texts a steward may take down: all in the organisation's own versions, and in those of others only what it gave itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lilong.floors.corpus import service
from lilong.floors.corpus.alliance.shapes import (
    MemberAsk,
    NothingToTakeDown,
    RightsAnswer,
    RightsAsk,
    RightsKind,
    RightsState,
    TakedownAsk,
    TakedownNotFound,
)
from lilong.floors.corpus.contract import BuildAsk, SourceSet, SourceSetNotFound, State, Terms, Version
from lilong.floors.hub import service as hub
from lilong.floors.hub.contract import Kind
from lilong.ground.errors import Forbidden
from lilong.ground.house import House
from tests.corpus.houses import HANA, HARBOUR, LANTERN, MEI, STEWARD, TOM, WIM, built, closed, fetched, opened, settle
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
    assert f"{own.repository}@{(newer.commit or '')[:12]} holds no document" in str(refused.value) and f"It stands in {named}" in str(
        refused.value
    )
    assert [one.id for one in service.preview(house, MEI, TakedownAsk(named, "older", WHY, document=document(1))).versions] == [own.id]


# --- by the source set, where only others have built from it --------------------------------------------------------------------


@pytest.mark.parametrize("what", [{"contributor": LANTERN}, {"source": "tides"}, {"document": document(1)}])
def test_who_gave_a_source_set_takes_it_out_of_the_versions_that_only_others_have_made(
    house: House, elsewhere: Version, sets: tuple[SourceSet, SourceSet], what: dict[str, str]
) -> None:
    made = service.takedown(house, MEI, TakedownAsk(sets[0].id, "mine", WHY, **what))
    assert (made.organisation, made.version, made.repository) == (LANTERN, sets[0].id, "")
    settle(house)
    shown = service.takedown_shown(house, MEI, made.id)
    assert shown.takedown.state is State.DONE and [one.id for one in shown.reach.versions] == [elsewhere.id]
    following = service.version(house, HANA, elsewhere.repository)
    assert following.id != elsewhere.id and document(1) not in ids(house, following) and document(11) in ids(house, following)
    assert document(1) not in ids(house, built(house, HANA, HARBOUR, "mixed-again", *sets))


def test_whose_version_it_reached_is_told_of_it_but_not_what_it_was_asked_of(house: House, own: Version, elsewhere: Version) -> None:
    made = service.takedown(house, MEI, TakedownAsk(own.repository, "mine", WHY, document=document(1)))
    settle(house)
    [told] = service.takedowns(house, HANA)
    shown = service.takedown_shown(house, HANA, made.id)
    assert told == shown.takedown and (told.what, told.reason, told.state) == (made.what, WHY, State.DONE)
    assert (told.version, told.repository, told.commit, told.next) == ("", "", "", None)
    assert elsewhere.id in {one.id for one in shown.reach.versions}
    request = service.log_request(house, HANA, RightsAsk(HARBOUR, "letter", RightsKind.ERASURE, "Ada Quay"))
    answered = service.answer_request(house, HANA, request.id, RightsAnswer(RightsState.FULFILLED, "It was taken down.", made.id))
    assert answered.takedown == made.id
    assert service.takedowns(house, WIM) == []
    with pytest.raises(TakedownNotFound):
        service.takedown_shown(house, WIM, made.id)


def test_a_document_of_another_source_set_is_not_in_the_one_that_is_named(house: House, own: Version) -> None:
    other = fetched(house, TOM, LANTERN, "mists", range(20, 24), Terms.ALLIANCE)
    with pytest.raises(NothingToTakeDown, match=f"The source set {other.id} holds no document"):
        service.preview(house, MEI, TakedownAsk(other.id, "mine", WHY, document=document(1)))


def test_a_version_that_its_contributor_may_not_see_is_left_too_and_only_counted(house: House, sets: tuple[SourceSet, SourceSet]) -> None:
    closed_set = fetched(house, HANA, HARBOUR, "logs", range(30, 34), Terms.PRIVATE)
    version = built(house, HANA, HARBOUR, "closed", sets[0], closed_set)
    reach = service.preview(house, MEI, TakedownAsk(sets[0].id, "mine", WHY, contributor=LANTERN))
    assert (reach.versions, reach.hidden["version"]) == ([], 1)
    service.takedown(house, MEI, TakedownAsk(sets[0].id, "mine", WHY, contributor=LANTERN))
    settle(house)
    assert service.version(house, HANA, version.id).superseded is not None
    following = ids(house, service.version(house, HANA, version.repository), HANA)
    assert document(1) not in following and document(31) in following


def test_the_name_of_another_s_repository_is_not_told_where_nothing_can_be_built_there(
    house: House, elsewhere: Version, sets: tuple[SourceSet, SourceSet]
) -> None:
    hub.delete(house, HANA, Kind.DATASET, elsewhere.repository)
    hub.create(house, HANA, Kind.DATASET, elsewhere.repository, private=True)
    made = service.takedown(house, MEI, TakedownAsk(sets[0].id, "mine", WHY, source="tides"))
    assert made.state is State.FAILED and (made.error or "").startswith("A repository of another organisation: ")
    assert elsewhere.repository not in (made.error or "")


@pytest.mark.parametrize("what", [{"contributor": LANTERN}, {"source": "tides"}, {"document": document(1)}])
def test_a_source_set_is_no_power_over_what_stands_in_another(
    house: House, elsewhere: Version, sets: tuple[SourceSet, SourceSet], what: dict[str, str]
) -> None:
    with pytest.raises(NothingToTakeDown, match=sets[1].id):
        service.takedown(house, HANA, TakedownAsk(sets[1].id, "theirs", WHY, **what))
    for actor in (HANA, TOM):
        with pytest.raises(Forbidden):
            service.takedown(house, actor, TakedownAsk(sets[0].id, "theirs", WHY, **what))
    with pytest.raises(SourceSetNotFound):
        service.takedown(house, WIM, TakedownAsk(sets[0].id, "theirs", WHY, **what))
    assert service.version(house, HANA, elsewhere.id).superseded is None


def test_who_gave_a_source_of_another_s_version_is_told_to_name_the_source_set(
    house: House, elsewhere: Version, sets: tuple[SourceSet, SourceSet]
) -> None:
    with pytest.raises(Forbidden, match=f"name the source set {sets[0].id}"):
        service.preview(house, MEI, TakedownAsk(elsewhere.id, "mine", WHY, source="tides"))


def test_what_nobody_has_built_from_yet_stays_out_of_all_that_is_built(house: House, sets: tuple[SourceSet, SourceSet]) -> None:
    made = service.takedown(house, MEI, TakedownAsk(sets[0].id, "early", WHY, source="tides"))
    assert (made.state, service.takedown_shown(house, MEI, made.id).reach.versions) == (State.DONE, [])
    assert document(1) not in ids(house, built(house, HANA, HARBOUR, "mixed", *sets))


def test_all_that_a_contributor_gave_leaves_whatever_was_built_from_any_of_its_source_sets(
    house: House, own: Version, sets: tuple[SourceSet, SourceSet]
) -> None:
    other = fetched(house, TOM, LANTERN, "mists", range(20, 24), Terms.ALLIANCE)
    version = built(house, HANA, HARBOUR, "mists", other, sets[1])
    service.takedown(house, MEI, TakedownAsk(own.repository, "all", WHY, contributor=LANTERN))
    settle(house)
    assert service.version(house, HANA, version.id).superseded is not None
    following = service.version(house, HANA, version.repository)
    assert document(20) not in ids(house, following) and document(11) in ids(house, following)


def test_a_source_is_taken_down_by_whose_it_is_whatever_it_is_called_in_a_version(house: House, sets: tuple[SourceSet, SourceSet]) -> None:
    namesake = fetched(house, HANA, HARBOUR, "tides", range(40, 44), Terms.ALLIANCE)
    both, theirs = built(house, HANA, HARBOUR, "both", sets[0], namesake), built(house, TOM, LANTERN, "theirs", namesake)
    service.takedown(house, MEI, TakedownAsk(sets[0].id, "mine", WHY, source="tides"))
    settle(house)
    following = service.version(house, HANA, both.repository)
    assert following.id != both.id and document(1) not in ids(house, following) and document(41) in ids(house, following)
    assert service.version(house, TOM, theirs.id).superseded is None
