"""The data corpus alliance: who is in it, whose texts may be built from, and who may use what was built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lilong.floors.compute.contract import Compute, Job, JobAsk, UseRefused
from lilong.floors.corpus import service
from lilong.floors.corpus.alliance.shapes import MemberAsk, Membership
from lilong.floors.corpus.contract import (
    BadRecipe,
    BuildAsk,
    Conditions,
    RepositoryClosed,
    SourcesAsk,
    SourceSet,
    SourceSetNotFound,
    SourcesNotShared,
    State,
    Terms,
    TermsTooClosed,
    Use,
    Version,
    VersionNotFound,
)
from lilong.floors.hub import service as hub
from lilong.floors.hub.contract import Hub, Kind, MayNotBePublic, RepositoryNotFound
from lilong.floors.hub.service import settings
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden, LilongError
from lilong.ground.house import House
from tests.corpus.houses import HANA, HARBOUR, LANTERN, MEI, STEWARD, TOM, WHARF, WIM, built, closed, database, fetched, opened

FOR_TRAINING = Conditions(["training"], "Lantern Works, harbour texts", "Not for advertisements.")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = opened(tmp_path_factory.mktemp("alliance"), database(request))
    for actor, organisation in ((MEI, LANTERN), (HANA, HARBOUR)):
        service.join(made, actor, MemberAsk(organisation))
        service.admit(made, STEWARD, organisation)
    yield made
    closed(made)


@pytest.fixture(scope="module")
def tides(house: House) -> SourceSet:
    return fetched(house, TOM, LANTERN, "tides", range(8), Terms.ALLIANCE, FOR_TRAINING)


@pytest.fixture(scope="module")
def cranes(house: House) -> SourceSet:
    """Half of it is in `tides` too."""
    return fetched(house, HANA, HARBOUR, "cranes", range(4, 12), Terms.ALLIANCE)


@pytest.fixture(scope="module")
def shared(house: House, tides: SourceSet, cranes: SourceSet) -> Version:
    return built(house, TOM, LANTERN, "shared", tides, cranes)


def job(house: House, actor: Actor, version: Version, kind: str, organisation: str, **labels: str) -> Job:
    """A job that reads all of a version's texts."""

    def ask(tx: Tx) -> Job:
        files = house.port(Hub).revision(tx, actor, Kind.DATASET, version.repository, version.commit or "").tree("data/")  # type: ignore[type-abstract]
        return house.port(Compute).submit(  # type: ignore[type-abstract]
            tx, actor, JobAsk(kind=kind, organisation=organisation, argv=("python", "-c", "pass"), inputs={"corpus": files}, labels=labels)
        )

    return house.db.write(ask)


# --- members ---------------------------------------------------------------------------------------------------------------


def test_who_manages_an_organisation_asks_and_a_steward_of_the_house_admits(house: House) -> None:
    assert service.join(house, WIM, MemberAsk(WHARF)).state is Membership.ASKED
    assert WHARF not in {one.organisation for one in service.members(house, MEI)}
    for actor in (WIM, MEI, TOM):
        with pytest.raises(Forbidden):
            service.admit(house, actor, WHARF)
    assert service.admit(house, STEWARD, WHARF).state is Membership.MEMBER
    assert [one.organisation for one in service.members(house, MEI)] == [HARBOUR, LANTERN, WHARF]
    assert {one.organisation: bool(one.asked_by and one.admitted_by) for one in service.members(house, MEI)} == {
        HARBOUR: False, LANTERN: True, WHARF: False,
    }  # fmt: skip
    assert service.leave(house, WIM, WHARF).state is Membership.LEFT
    assert WHARF not in {one.organisation for one in service.members(house, MEI)}


def test_joining_for_others_is_refused(house: House) -> None:
    for actor in (WIM, TOM):
        with pytest.raises(Forbidden):
            service.join(house, actor, MemberAsk(HARBOUR))


# --- terms -----------------------------------------------------------------------------------------------------------------


def test_a_version_is_as_closed_as_its_most_closed_source_and_conditions_add_up(house: House, shared: Version, tides: SourceSet) -> None:
    assert shared.state is State.DONE, shared.error
    assert (shared.terms, shared.contributors) == (Terms.ALLIANCE, [HARBOUR, LANTERN])
    assert shared.conditions == Use(["training"], [FOR_TRAINING.attribution], [FOR_TRAINING.note])
    own = fetched(house, TOM, LANTERN, "ledger", range(20, 23), conditions=Conditions(["evaluation"]))
    mixed = service.build(house, TOM, BuildAsk(LANTERN, "mixed", [tides.id, own.id], f"{LANTERN}/mixed"))
    assert (mixed.terms, mixed.conditions.purposes) == (Terms.PRIVATE, [])


def test_members_build_from_each_others_sources_and_nobody_else_does(house: House, tides: SourceSet, cranes: SourceSet) -> None:
    private = fetched(house, HANA, HARBOUR, "drafts", range(30, 32))
    with pytest.raises(SourceSetNotFound):
        service.build(house, TOM, BuildAsk(LANTERN, "drafts", [private.id], f"{LANTERN}/drafts"))
    with pytest.raises(SourceSetNotFound):
        service.build(house, WIM, BuildAsk(WHARF, "tides", [tides.id], f"{WHARF}/tides"))
    both = Actor("both")
    house.db.write(lambda tx: _in_two(house, tx))
    with pytest.raises(
        SourcesNotShared, match=f"belongs to {LANTERN}, whose terms for it are alliance; {WHARF} may not .* corpus alliance join"
    ):
        service.build(house, both, BuildAsk(WHARF, "tides", [tides.id], f"{WHARF}/tides"))


def _in_two(house: House, tx: Tx) -> None:
    house.access.add_user(tx, SYSTEM, "both")
    for organisation in (LANTERN, WHARF):
        house.access.grant(tx, SYSTEM, "both", "owner", organisation)


def test_a_licence_for_a_source_that_is_not_there_is_refused_with_the_names_of_those_that_are(
    house: House, tides: SourceSet, cranes: SourceSet
) -> None:
    ask = BuildAsk(LANTERN, "misread", [tides.id, cranes.id], f"{LANTERN}/misread", {"licences": {"tide": "MIT"}})
    with pytest.raises(
        BadRecipe, match=r"'licences\.tide' cannot be used: there is no source of this name\. The sources are: cranes, tides\."
    ):
        service.build(house, TOM, ask)
    again = fetched(house, HANA, HARBOUR, "tides", range(60, 62), Terms.ALLIANCE)
    named = ", ".join(sorted(f"tides.{one.id}" for one in (tides, again)))
    with pytest.raises(BadRecipe, match=rf"The sources are: {named}\."):
        service.build(house, TOM, BuildAsk(LANTERN, "misread", [tides.id, again.id], f"{LANTERN}/misread", {"licences": {"tides": "MIT"}}))


def test_naming_another_contributor_needs_the_right_to_build_for_it(house: House) -> None:
    digest = service.keep_text(house, TOM, LANTERN, b"a text").digest
    with pytest.raises(Forbidden):
        service.fetch(house, TOM, SourcesAsk(LANTERN, "borrowed name", texts={"a.txt": digest}, contributor=HARBOUR))


@pytest.mark.parametrize("conditions", [Conditions(["selling"]), Conditions(attribution="x" * 2001)])
def test_conditions_that_mean_nothing_are_refused(house: House, conditions: Conditions) -> None:
    with pytest.raises(BadInput):
        service.fetch(house, TOM, SourcesAsk(LANTERN, "conditions", conditions=conditions))


# --- who sees it -----------------------------------------------------------------------------------------------------------


def test_an_alliance_version_is_seen_by_members_and_by_nobody_else(house: House, shared: Version) -> None:
    for actor in (MEI, HANA):
        assert service.version(house, actor, shared.repository).id == shared.id
        assert shared.id in {one.id for one in service.versions(house, actor)}
        revision = house.db.read(lambda tx, actor=actor: house.port(Hub).revision(tx, actor, Kind.DATASET, shared.repository))  # type: ignore[type-abstract, misc]
        assert revision.commit == shared.commit
    with pytest.raises(VersionNotFound):
        service.version(house, WIM, shared.repository)
    assert service.versions(house, WIM) == []
    with pytest.raises(RepositoryNotFound):
        house.db.read(lambda tx: house.port(Hub).revision(tx, WIM, Kind.DATASET, shared.repository))  # type: ignore[type-abstract]


def test_a_private_version_goes_into_no_repository_that_others_read(house: House, shared: Version, tides: SourceSet) -> None:
    own = fetched(house, TOM, LANTERN, "diary", range(40, 43))
    with pytest.raises(TermsTooClosed, match="open to the members of the alliance, and this version's terms are private"):
        service.build(house, TOM, BuildAsk(LANTERN, "diary", [own.id], shared.repository))
    kept = built(house, TOM, LANTERN, "diary", own)
    assert kept.state is State.DONE, kept.error
    with pytest.raises(RepositoryClosed):
        service.build(house, TOM, BuildAsk(LANTERN, "beside", [tides.id], kept.repository))
    with pytest.raises(VersionNotFound):
        service.version(house, HANA, kept.id)
    with pytest.raises(MayNotBePublic, match="private"):
        settings.change(house, MEI, Kind.DATASET, kept.repository, private=False)


def test_a_version_for_members_is_refused_by_a_public_repository(house: House, tides: SourceSet) -> None:
    digest = house.blobs.put(b"# open\n").digest
    name = f"{LANTERN}/open"
    house.port(Hub).publish(SYSTEM, Kind.DATASET, name, {"README.md": digest}, "open", lambda *_: None, private=False)  # type: ignore[type-abstract]
    with pytest.raises(TermsTooClosed, match="open to everybody"):
        service.build(house, TOM, BuildAsk(LANTERN, "open", [tides.id], name))


def test_a_public_repository_that_is_still_empty_takes_no_closed_version_either(house: House, tides: SourceSet) -> None:
    hub.create(house, MEI, Kind.DATASET, f"{LANTERN}/empty", private=False)
    with pytest.raises(TermsTooClosed, match="open to everybody"):
        service.build(house, TOM, BuildAsk(LANTERN, "empty", [tides.id], f"{LANTERN}/empty"))


# --- who uses it -----------------------------------------------------------------------------------------------------------


def test_a_member_s_training_passes_and_one_for_another_organisation_does_not(house: House, shared: Version) -> None:
    assert job(house, HANA, shared, "training.run", HARBOUR).ask.organisation == HARBOUR
    both = Actor("both")
    with pytest.raises(UseRefused) as refused:
        job(house, both, shared, "training.run", WHARF)
    for said in (WHARF, shared.repository, HARBOUR, "is none", f"corpus alliance join {WHARF}"):
        assert said in str(refused.value)
    with pytest.raises(LilongError):
        job(house, WIM, shared, "training.run", WHARF)


def test_a_purpose_that_a_contributor_does_not_allow_is_refused(house: House, shared: Version) -> None:
    with pytest.raises(UseRefused, match=f": {LANTERN} gave texts for training only"):
        job(house, HANA, shared, "evaluation.score", HARBOUR)
    with pytest.raises(UseRefused, match="label purpose=training"):
        job(house, HANA, shared, "own.program", HARBOUR)
    assert job(house, HANA, shared, "own.program", HARBOUR, purpose="training")


def test_a_copy_of_the_files_is_the_same_texts(house: House, shared: Version) -> None:
    """In another repository, under other names."""
    files = house.db.read(lambda tx: house.port(Hub).revision(tx, TOM, Kind.DATASET, shared.repository)).tree("data/")  # type: ignore[type-abstract]
    renamed = {f"texts/{number}.bin": digest for number, digest in enumerate(files.values())}
    ask = JobAsk(kind="training.run", organisation=WHARF, argv=("python", "-c", "pass"), inputs={"mine": renamed})
    with pytest.raises(UseRefused):
        house.db.write(lambda tx: house.port(Compute).submit(tx, Actor("both"), ask))  # type: ignore[type-abstract]


def test_a_program_that_names_the_revision_is_asked_the_same(house: House, shared: Version) -> None:
    ask = JobAsk(
        kind="own.program",
        organisation=WHARF,
        argv=("python", "-c", "pass"),
        revisions={"corpus": f"datasets/{shared.repository}"},
        labels={"purpose": "training"},
    )
    with pytest.raises(UseRefused):
        house.db.write(lambda tx: house.port(Compute).submit(tx, Actor("both"), ask))  # type: ignore[type-abstract]
    assert house.db.write(lambda tx: house.port(Compute).submit(tx, HANA, replace(ask, organisation=HARBOUR)))  # type: ignore[type-abstract]


def test_versions_of_before_files_were_noted_are_known_after_a_start(house: House, shared: Version) -> None:
    house.db.write(lambda tx: tx.run("DELETE FROM corpus_version_files"))
    for start in house.starting:
        start()
    with pytest.raises(UseRefused):
        job(house, Actor("both"), shared, "training.run", WHARF)


def test_who_has_left_the_alliance_may_not_use_it_any_more(house: House, shared: Version) -> None:
    service.leave(house, HANA, HARBOUR)
    with pytest.raises(LilongError):
        job(house, HANA, shared, "training.run", HARBOUR)
    assert job(house, TOM, shared, "training.run", LANTERN)
    service.join(house, HANA, MemberAsk(HARBOUR))
    service.admit(house, STEWARD, HARBOUR)


# --- what it tells ---------------------------------------------------------------------------------------------------------


def test_contributions_say_what_each_has_given_alone(house: House, shared: Version) -> None:
    given = {one.contributor: one for one in service.contributions(house, HANA, shared.id).contributions}
    assert given[LANTERN].offered_documents == given[HARBOUR].offered_documents == 8
    assert given[LANTERN].kept_documents + given[HARBOUR].kept_documents == 12
    assert given[LANTERN].unique_documents == given[HARBOUR].unique_documents == 4
    assert given[LANTERN].others_copies + given[HARBOUR].others_copies == 4
    assert [(one.version, len(one.contributions)) for one in service.contributor(house, HANA, HARBOUR)] == [(shared.id, 1)]


def test_a_score_card_has_a_row_for_each_source(house: House, shared: Version) -> None:
    rows = {one["name"]: one for one in service.quality(house, HANA, shared.id).sources}
    assert {name: one["contributor"] for name, one in rows.items()} == {"tides": LANTERN, "cranes": HARBOUR}
    assert all(0 < one["pass_rate"] <= 1 for one in rows.values())
    with pytest.raises(VersionNotFound):
        service.quality(house, WIM, shared.id)
