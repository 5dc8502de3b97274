"""Takedowns: what is found to be bad leaves the versions, stays out, and all that it reached is named to those who may know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from lilong.floors.compute.contract import Compute, Job, JobAsk, UseRefused
from lilong.floors.corpus import service, store
from lilong.floors.corpus.alliance.shapes import ContainsAsk, MemberAsk, NoIndex, NothingToTakeDown, TakedownAsk, TakedownNotFound
from lilong.floors.corpus.contract import (
    TAKEDOWN,
    AskedOtherwise,
    BuildAsk,
    SourceSet,
    State,
    TakenOutOfUse,
    Terms,
    Version,
    VersionNotFound,
)
from lilong.floors.corpus.service import uses
from lilong.floors.hub.contract import Hub, Kind
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden
from lilong.ground.evidence import Artifact
from lilong.ground.house import House
from tests.corpus import texts
from tests.corpus.houses import HANA, HARBOUR, LANTERN, MEI, STEWARD, TOM, WIM, built, closed, database, fetched, opened, settle

WHY = "Its author asks for it."
MODELS = (f"{LANTERN}/tide-model", f"{HARBOUR}/tide-model")


def document(seed: int) -> str:
    return hashlib.sha256(texts.english(seed).encode()).hexdigest()


def ids(house: House, version: Version, actor: Actor = TOM) -> set[str]:
    """Of all documents in a version's files with texts."""
    hub = house.port(Hub)  # type: ignore[type-abstract]
    files = house.db.read(lambda tx: hub.revision(tx, actor, Kind.DATASET, version.repository, version.commit or "")).tree("data/")
    return {one for digest in files.values() for one in pq.read_table(house.blobs.open(digest), columns=["id"]).column("id").to_pylist()}


def reading(house: House, actor: Actor, version: Version, organisation: str) -> Job:
    def ask(tx: Tx) -> Job:
        files = house.port(Hub).revision(tx, actor, Kind.DATASET, version.repository, version.commit or "").tree("data/")  # type: ignore[type-abstract]
        wanted = JobAsk(
            kind="training.run", organisation=organisation, argv=("python", "-c", "pass"), inputs={"corpus": files}, title="Learn"
        )
        return house.port(Compute).submit(tx, actor, wanted)  # type: ignore[type-abstract]

    return house.db.write(ask)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = opened(tmp_path_factory.mktemp("takedowns"), database(request))
    for actor, organisation in ((MEI, LANTERN), (HANA, HARBOUR)):
        service.join(made, actor, MemberAsk(organisation))
        service.admit(made, STEWARD, organisation)
    yield made
    closed(made)


@pytest.fixture(scope="module")
def tides(house: House) -> SourceSet:
    return fetched(house, TOM, LANTERN, "tides", range(8), Terms.ALLIANCE)


@pytest.fixture(scope="module")
def before(house: House, tides: SourceSet) -> Version:
    return built(house, TOM, LANTERN, "tides", tides)


@pytest.fixture(scope="module")
def elsewhere(house: House, tides: SourceSet) -> Version:
    """Another member's version of the same sources."""
    return built(house, HANA, HARBOUR, "tides", tides)


@pytest.fixture(scope="module")
def learned(house: House, before: Version, elsewhere: Version) -> Job:
    """A job and a model that were made from it."""
    job = reading(house, TOM, before, LANTERN)
    settle(house)
    corpus = Artifact(before.repository, before.manifest or "", "corpus")
    hub = house.port(Hub)  # type: ignore[type-abstract]
    for name in MODELS:
        files = {"README.md": house.blobs.put(f"# {name}\n".encode()).digest}
        model = hub.publish(
            SYSTEM, Kind.MODEL, name, files, "taught", lambda _, revision: Artifact(revision.repository.name, revision.manifest, "model")
        )
        house.db.write(lambda tx, model=model: _made(house, tx, model, corpus))  # type: ignore[misc]
        served = Artifact(f"{name} served", "sha256:" + hashlib.sha256(name.encode()).hexdigest(), "deployment")
        house.db.write(lambda tx, served=served, model=model: _made(house, tx, served, model))  # type: ignore[misc]
    return job


def _made(house: House, tx: Tx, made: Artifact, of: Artifact) -> None:
    house.evidence.issue(tx, TOM, predicate_type="https://lilong.dev/test/v1", subjects=[made], materials=[of], predicate={})


@pytest.fixture(scope="module")
def ask(before: Version) -> TakedownAsk:
    return TakedownAsk(before.repository, "first", WHY, document=document(3))


def test_a_preview_tells_what_it_would_reach_and_changes_nothing(house: House, before: Version, learned: Job, ask: TakedownAsk) -> None:
    size = house.db.read(house.events.size)
    reach = service.preview(house, MEI, ask)
    assert {one.repository: one.documents for one in reach.versions} == {f"{LANTERN}/tides": 1, f"{HARBOUR}/tides": 1}
    assert [one.id for one in reach.jobs] == [learned.id]
    assert house.db.read(house.events.size) == size


def test_only_stewards_take_down(house: House, before: Version, ask: TakedownAsk) -> None:
    for actor, error in ((TOM, Forbidden), (HANA, Forbidden), (WIM, VersionNotFound)):
        with pytest.raises(error):
            service.takedown(house, actor, ask)


@pytest.mark.parametrize(
    "change",
    [
        {"document": ""},
        {"source": "tides"},
        {"document": "no id"},
        {"reason": " "},
        {"document": "0" * 64},
        {"document": "", "source": "nothing"},
    ],
)
def test_what_is_not_one_thing_that_is_there_is_refused(house: House, before: Version, ask: TakedownAsk, change: dict[str, str]) -> None:
    with pytest.raises((BadInput, NothingToTakeDown)):
        service.takedown(house, MEI, replace(ask, key="none", **change))


class TestAfterwards:
    """After a document was taken down."""

    @pytest.fixture(scope="class")
    def taken(self, house: House, before: Version, learned: Job, ask: TakedownAsk) -> Iterator[str]:
        made = service.takedown(house, MEI, ask)
        assert made.state is State.REQUESTED and made.next is not None
        assert service.takedown(house, MEI, ask) == made
        settle(house)
        yield made.id

    def test_the_next_version_is_without_it_and_follows_the_old_one(self, house: House, before: Version, taken: str) -> None:
        after = service.version(house, TOM, before.repository)
        assert after.id == service.takedown_shown(house, TOM, taken).takedown.next
        assert ids(house, before) - ids(house, after) == {document(3)}
        assert after.superseded is None and after.without.documents == [document(3)]
        assert service.takedown_shown(house, TOM, taken).takedown.state is State.DONE

    def test_the_old_version_says_so_and_stays_as_history(self, house: House, before: Version, taken: str) -> None:
        old = service.version(house, TOM, before.id)
        assert old.superseded is not None and (old.superseded.takedown, old.superseded.reason) == (taken, WHY)
        assert old.superseded.next == service.version(house, TOM, before.repository).id
        assert document(3) in ids(house, before)
        assert service.datasheet(house, TOM, before.id).kept == []

    def test_new_uses_are_refused_and_told_what_to_use(self, house: House, before: Version, taken: str) -> None:
        after = service.version(house, TOM, before.repository)
        with pytest.raises(UseRefused, match=f"put out of use by the takedown {taken}.*Use {after.repository}@{(after.commit or '')[:12]}"):
            reading(house, TOM, before, LANTERN)
        assert reading(house, TOM, after, LANTERN)

    def test_a_refusal_of_what_both_hold_speaks_of_the_version_in_use(
        self, house: House, before: Version, taken: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, after = service.version(house, TOM, before.id), service.version(house, TOM, before.repository)
        monkeypatch.setattr(store, "versions_by_file", lambda *_: {"sha256:shared": [old, after]})
        answer = house.db.read(
            lambda tx: uses._used(
                house, tx=tx, actor=TOM, organisation="west-wharf", job_kind="training.run", labels={}, digests=["sha256:shared"]
            )
        )
        assert "are for members of the data corpus alliance" in answer.reason and (after.commit or "")[:12] in answer.reason

    def test_what_its_owner_takes_back_leaves_other_members_versions_too(self, house: House, elsewhere: Version, taken: str) -> None:
        old, new = service.version(house, HANA, elsewhere.id), service.version(house, HANA, elsewhere.repository)
        assert old.superseded is not None and new.id != old.id and new.requested_by == "house"
        assert document(3) not in ids(house, new)

    def test_it_names_models_and_jobs_to_those_who_may_know_and_counts_the_rest(self, house: House, learned: Job, taken: str) -> None:
        mine = service.takedown_shown(house, MEI, taken).reach
        assert [one.id for one in mine.jobs] == [learned.id]
        assert [(one.kind, one.name) for one in mine.things] == [("model", MODELS[0]), ("deployment", f"{MODELS[0]} served")]
        assert (mine.hidden["model"], mine.hidden["deployment"]) == (1, 1)
        everything = service.takedown_shown(house, STEWARD, taken).reach
        assert {one.name for one in everything.things if one.kind == "model"} == set(MODELS)
        theirs = service.takedown_shown(house, HANA, taken).reach
        assert [one.name for one in theirs.things] == [MODELS[1], f"{MODELS[1]} served"]
        assert (theirs.jobs, theirs.hidden["job"], theirs.hidden["model"]) == ([], 1, 1)
        with pytest.raises(TakedownNotFound):
            service.takedown_shown(house, WIM, taken)

    def test_a_signed_statement_says_what_and_why_and_names_nobody_else(self, house: House, before: Version, taken: str) -> None:
        shown = service.takedown_shown(house, MEI, taken).takedown
        statement = house.db.read(lambda tx: house.evidence.get(tx, shown.statement))
        assert statement.predicate_type == TAKEDOWN
        assert (statement.predicate["reason"], statement.predicate["taken_down"]["documents"]) == (WHY, [document(3)])
        assert before.manifest in {subject.digest for subject in statement.subjects}
        assert HARBOUR not in str(statement.predicate) + str(statement.subjects)
        for subject in statement.subjects:
            if subject.kind == "review":
                assert "sha256:" + hashlib.sha256(house.blobs.read(subject.digest)).hexdigest() == subject.digest

    def test_it_stays_out_of_every_later_build(self, house: House, tides: SourceSet, taken: str) -> None:
        for actor, organisation in ((TOM, LANTERN), (HANA, HARBOUR)):
            later = built(house, actor, organisation, "later", tides)
            assert later.without.documents == [document(3)] and document(3) not in ids(house, later)

    def test_the_index_answers_for_the_new_version_only(self, house: House, before: Version, taken: str) -> None:
        with pytest.raises(TakenOutOfUse):
            service.contains(house, TOM, ContainsAsk(before.id, texts.english(3)))
        with pytest.raises(NoIndex, match="being made"):
            service.contains(house, TOM, ContainsAsk(before.repository, texts.english(3)))
        settle(house)
        assert service.contains(house, TOM, ContainsAsk(before.repository, texts.english(3))).copies == []
        assert service.contains(house, TOM, ContainsAsk(before.repository, texts.english(2))).copies == [document(2)]
        with pytest.raises(VersionNotFound):
            service.contains(house, WIM, ContainsAsk(before.repository, "text"))

    def test_the_same_key_for_something_else_is_refused(self, house: House, ask: TakedownAsk, taken: str) -> None:
        with pytest.raises(AskedOtherwise):
            service.takedown(house, MEI, replace(ask, document=document(4)))

    def test_a_second_one_follows_the_first(self, house: House, before: Version, ask: TakedownAsk, taken: str) -> None:
        second = service.takedown(house, MEI, replace(ask, key="second", document=document(5)))
        settle(house)
        newest = service.version(house, TOM, before.repository)
        assert newest.id == second.next and newest.without.documents == sorted((document(3), document(5)))
        with pytest.raises(UseRefused, match=f"Use {newest.repository}@{(newest.commit or '')[:12]}"):
            reading(house, TOM, before, LANTERN)


def test_a_newer_version_that_has_nothing_of_it_follows_without_a_build(house: House) -> None:
    old = built(house, TOM, LANTERN, "kelp", fetched(house, TOM, LANTERN, "kelp", range(80, 84)))
    dulse = fetched(house, TOM, LANTERN, "dulse", range(84, 88))
    newer = service.build(house, TOM, BuildAsk(LANTERN, "dulse", [dulse.id], old.repository))
    settle(house)
    made = service.takedown(house, MEI, TakedownAsk(old.id, "kelp", WHY, document=document(81)))
    assert (made.state, made.next) == (State.DONE, newer.id)
    assert service.version(house, TOM, old.repository).id == newer.id


def test_a_version_that_was_being_made_meanwhile_is_not_published(house: House) -> None:
    moss = fetched(house, TOM, LANTERN, "moss", range(50, 56))
    first = built(house, TOM, LANTERN, "moss", moss)
    meanwhile = BuildAsk(LANTERN, "meanwhile", [moss.id], f"{LANTERN}/meanwhile")
    asked = service.build(house, TOM, meanwhile)
    service.takedown(house, MEI, TakedownAsk(first.repository, "moss", WHY, document=document(51)))
    settle(house)
    failed = service.version(house, TOM, asked.id)
    assert failed.state is State.FAILED and "was taken down while it was made" in (failed.error or "")
    service.build(house, TOM, meanwhile)
    settle(house)
    assert document(51) not in ids(house, service.version(house, TOM, asked.id))


def test_a_source_is_taken_down_by_its_name_in_its_own_organisation(house: House) -> None:
    lichen, fern = (fetched(house, TOM, LANTERN, name, seeds) for name, seeds in (("lichen", range(60, 64)), ("fern", range(64, 68))))
    both = built(house, TOM, LANTERN, "plants", lichen, fern)
    made = service.takedown(house, MEI, TakedownAsk(both.repository, "lichen", WHY, source="lichen"))
    settle(house)
    after = service.version(house, TOM, both.repository)
    assert after.id == made.next and ids(house, after) == {document(seed) for seed in range(64, 68)}
    again = fetched(house, TOM, LANTERN, "lichen", range(60, 64), Terms.ALLIANCE)
    assert service.version(house, TOM, built(house, TOM, LANTERN, "more-plants", again, fern).id).without.sources == [f"lichen.{again.id}"]


def test_where_nothing_is_left_the_takedown_stands_and_says_so(house: House) -> None:
    reeds = fetched(house, TOM, LANTERN, "reeds", range(70, 73))
    only = built(house, TOM, LANTERN, "reeds", reeds)
    made = service.takedown(house, MEI, TakedownAsk(only.id, "reeds", WHY, contributor=LANTERN))
    settle(house)
    shown = service.takedown_shown(house, MEI, made.id).takedown
    assert shown.state is State.FAILED and "Nothing is left" in (shown.error or "")
    assert service.version(house, TOM, only.id).superseded is not None
    again = service.takedown(house, MEI, TakedownAsk(only.id, "reeds", WHY, contributor=LANTERN))
    assert (again.id, again.state) == (made.id, State.REQUESTED)
    settle(house)
