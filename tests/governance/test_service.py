"""A model on its way to a number, and how it loses it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lilong.app import open_house_with_floors
from lilong.floors.governance import service, work
from lilong.floors.governance.contract import (
    MAY_BE_SERVED,
    NotIndependent,
    NotInReview,
    NotYourModel,
    Registration,
    RegistrationNotFound,
    Registrations,
    RequestAsk,
    RequirementsNotMet,
    ReviewAsk,
    RevokeAsk,
    Standing,
    State,
)
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.config import load
from lilong.ground.db import Tx
from lilong.ground.envelope import open_envelope
from lilong.ground.errors import BadInput, Conflict, Forbidden
from lilong.ground.evidence import Artifact, Statement
from lilong.ground.house import House
from lilong.operations.bundles.audit import verify_house
from tests.conftest import deliver_all, furnish
from tests.governance.test_rules import ROWS, TYPES

MEI, LI, BO, ANYBODY = Actor("mei"), Actor("li"), Actor("bo"), Actor("anybody")
APPROVE = ReviewAsk("approve", "Documented, measured, certified.")


@dataclass
class Street:
    """A house with a model of Lantern Works, all of its evidence, and people of three organisations."""

    house: House
    corpus: Artifact
    model: Revision
    statements: dict[str, Statement]

    def request(self, actor: Actor = MEI, key: str = "k1", **changes: Any) -> Registration:
        ask = {"organisation": "lantern-works", "model": "lantern-works/handbook-model@main", "key": key, **changes}
        return service.request(self.house, actor, RequestAsk(**ask))

    def registered(self) -> Registration:
        return service.review(self.house, LI, self.request().id, APPROVE)

    def may_be_served(self, stack: str = "llama.cpp") -> bool:
        return self.house.gates.ask(MAY_BE_SERVED, manifest=self.model.manifest, stack=stack, repository="any").allowed

    def issue(self, predicate_type: str, subject: Artifact, *materials: Artifact, **predicate: Any) -> Statement:
        def write(tx: Tx) -> Statement:
            return self.house.evidence.issue(tx, SYSTEM, predicate_type=predicate_type, subjects=[subject], materials=materials, predicate=predicate)

        return self.house.db.write(write)

    def revoke(self, statement: str, reason: str = "a source was not free") -> None:
        self.house.db.write(lambda tx: self.house.evidence.revoke(tx, SYSTEM, statement, reason))
        deliver_all(self.house)


def published(house: House, kind: Kind, name: str, *files: str) -> Revision:
    blobs = {file: house.blobs.put(f"{name} {file}".encode()).digest for file in files}
    hub = house.port(Hub)  # type: ignore[type-abstract]
    return hub.publish(SYSTEM, kind, name, blobs, "first", lambda _tx, revision: revision)


def people(house: House, tx: Tx) -> None:
    for organisation, above in (("harbour-lab", None), ("lantern-lab", "lantern-works")):
        house.access.add_organisation(tx, SYSTEM, organisation, organisation.title(), above)
    for user, organisation in (("li", "harbour-lab"), ("bo", "lantern-lab"), ("anybody", None)):
        house.access.add_user(tx, SYSTEM, user)
        if organisation:
            house.access.grant(tx, SYSTEM, user, "member", organisation)
            house.access.grant(tx, SYSTEM, user, "reviewer", None)
    house.access.grant(tx, SYSTEM, "mei", "reviewer", None)


@pytest.fixture
def street(house: House) -> Street:
    return lay_street(house)


def lay_street(house: House) -> Street:
    house.db.write(lambda tx: people(house, tx))
    dataset = published(house, Kind.DATASET, "lantern-works/handbooks", "data/0.parquet")
    model = published(house, Kind.MODEL, "lantern-works/handbook-model", "README.md", "config.json")
    corpus = Artifact("lantern-works/handbooks@1", dataset.manifest, "corpus")
    made = Street(house, corpus, model, {})
    subject = Artifact(f"lantern-works/handbook-model@{model.commit}", model.manifest, "model")

    def kept(name: str, kind: str) -> Artifact:
        return Artifact(name, house.blobs.put(name.encode()).digest, kind)

    made.statements["corpus"] = made.issue(TYPES["corpus"], corpus, kept("python3-doc", "source"), kept("PSF-2.0", "licence"))
    made.statements["training"] = made.issue(TYPES["training"], subject, corpus, buildDefinition={})
    made.statements["report"] = made.issue(TYPES["report"], kept("report", "report"), subject)
    made.statements["compatibility"] = made.issue(TYPES["compatibility"], kept("certificate", "certificate"), subject, **ROWS)
    return made


def test_a_request_tells_at_once_how_each_requirement_stands(street: Street) -> None:
    registration = street.request()
    assert registration.state is State.IN_REVIEW
    assert {result.id: result.standing for result in registration.decision.requirements} == dict.fromkeys(
        ("corpus", "training", "report", "compatibility", "card"), Standing.MET
    )
    shown = service.preview(street.house, MEI, registration.model, "house", "llama.cpp")
    assert shown.requirements == registration.decision.requirements


def test_asking_twice_with_one_key_is_one_request(street: Street) -> None:
    assert street.request() == street.request()
    assert street.request(key="k2").id != street.request().id


def test_a_reviewer_of_another_organisation_signs_and_a_number_is_given(street: Street) -> None:
    registration = street.registered()
    year = street.house.clock.now().year
    assert (registration.state, registration.number, registration.reviewed_by) == (State.REGISTERED, f"LL-{year}-0001", "li")
    assert street.may_be_served()
    house = street.house
    keys = house.db.read(house.evidence.keys)
    review, given = (house.db.read(lambda tx, identity=identity: house.evidence.envelope(tx, identity)) for identity in (registration.review, registration.statement))  # type: ignore[misc]
    assert [key.holder for key in open_envelope(review, keys)[1]] == ["li"]
    claim, signers = open_envelope(given, keys)
    assert [key.holder for key in signers] == ["house", "li"]
    assert claim.predicate["verificationResult"] == "PASSED"
    assert {each["digest"]["sha256"] for each in claim.predicate["inputAttestations"]} == {each.id[7:] for each in street.statements.values()}
    assert house.blobs.has(claim.subjects[0].digest)
    assert verify_house(house).problems == ()


def test_numbers_count_up_and_a_second_approval_by_the_same_reviewer_is_the_first(street: Street) -> None:
    first = street.registered()
    assert service.review(street.house, LI, first.id, APPROVE) == first
    second = service.review(street.house, LI, street.request(key="k2", stack="torch-fp32").id, APPROVE)
    assert str(second.number).endswith("-0002")


@pytest.mark.parametrize("reviewer", [MEI, BO])
def test_nobody_reviews_their_own_request_nor_one_of_a_related_organisation(street: Street, reviewer: Actor) -> None:
    with pytest.raises(NotIndependent):
        service.review(street.house, reviewer, street.request().id, APPROVE)
    with pytest.raises(NotIndependent):
        service.review(street.house, SYSTEM, street.request().id, APPROVE)


def test_who_may_not_see_a_registration_finds_none(street: Street) -> None:
    registration = street.request()
    for verb in (lambda: service.shown(street.house, ANYBODY, registration.id), lambda: service.review(street.house, ANYBODY, registration.id, APPROVE)):
        with pytest.raises(RegistrationNotFound):
            verb()
    assert service.listed(street.house, ANYBODY) == []
    assert service.listed(street.house, MEI) == [registration]
    with pytest.raises(Forbidden):
        street.request(LI, "k9")


def test_a_model_is_registered_by_its_own_organisation_only(street: Street) -> None:
    street.house.db.write(lambda tx: street.house.access.grant(tx, SYSTEM, "mei", "owner", "harbour-lab"))
    with pytest.raises(NotYourModel):
        street.request(organisation="harbour-lab", key="k3")


def test_without_all_the_evidence_there_is_no_number(street: Street) -> None:
    registration = street.request(stack="onnxruntime")
    with pytest.raises(RequirementsNotMet, match="compatibility is missing, the certificate does not speak of the stack onnxruntime"):
        service.review(street.house, LI, registration.id, APPROVE)
    with pytest.raises(BadInput):
        service.review(street.house, LI, registration.id, ReviewAsk("reject", " "))
    rejected = service.review(street.house, LI, registration.id, ReviewAsk("reject", "Certify the stack first."))
    assert (rejected.state, rejected.number) == (State.REJECTED, None)
    with pytest.raises(NotInReview):
        service.review(street.house, LI, registration.id, APPROVE)
    assert not street.may_be_served("onnxruntime")


def test_evidence_that_falls_between_request_and_review_stops_the_review(street: Street) -> None:
    registration = street.request()
    street.revoke(street.statements["report"].id, "the wrong items were scored")
    with pytest.raises(RequirementsNotMet, match="report is revoked, it was revoked: the wrong items were scored"):
        service.review(street.house, LI, registration.id, APPROVE)


@pytest.mark.parametrize("fallen", ["corpus", "training", "report", "compatibility"])
def test_revoking_any_input_suspends_the_registration_and_shuts_the_gate(street: Street, fallen: str) -> None:
    registration = street.registered()
    street.house.db.write(lambda tx: street.house.evidence.revoke(tx, SYSTEM, street.statements[fallen].id, "it was wrong"))
    assert not street.may_be_served()  # at once, before any event is handed over
    deliver_all(street.house)
    after = service.shown(street.house, MEI, str(registration.number))
    assert (after.state, "it was wrong" in str(after.reason)) == (State.SUSPENDED, True)
    assert not street.may_be_served()
    kinds = [event.kind for event in street.house.db.read(lambda tx: street.house.events.about(tx, registration.id))]
    assert kinds == ["governance.registration-requested", "governance.registration-reviewed", "governance.model-registered", "governance.registration-suspended"]


def test_a_new_request_after_a_suspension_needs_new_evidence_and_gets_a_new_number(street: Street) -> None:
    street.registered()
    street.revoke(street.statements["report"].id, "the wrong items were scored")
    again = street.request(key="k2")
    assert {result.id: result.standing for result in again.decision.requirements}["report"] is Standing.REVOKED
    subject = Artifact(f"lantern-works/handbook-model@{street.model.commit}", street.model.manifest, "model")
    street.issue(TYPES["report"], Artifact("second report", street.house.blobs.put(b"second").digest, "report"), subject)
    assert str(service.review(street.house, LI, again.id, APPROVE).number).endswith("-0002")
    assert street.may_be_served()


def test_a_revoked_registration_stays_revoked(street: Street) -> None:
    registration = street.registered()
    with pytest.raises(Forbidden):
        service.revoke(street.house, MEI, str(registration.number), RevokeAsk("no longer wanted"))
    after = service.revoke(street.house, SYSTEM, str(registration.number), RevokeAsk("an incident"))
    deliver_all(street.house)
    assert service.shown(street.house, MEI, registration.id) == after
    assert (after.state, after.reason) == (State.REVOKED, "an incident")
    assert not street.may_be_served()
    with pytest.raises(Conflict):
        service.revoke(street.house, SYSTEM, registration.id, RevokeAsk("again"))


def test_the_gate_stays_shut_for_what_was_never_registered(street: Street) -> None:
    answer = street.house.gates.ask(MAY_BE_SERVED, manifest=street.model.manifest, stack="llama.cpp")
    assert (answer.allowed, "it has no registration for llama.cpp" in answer.reason) == (False, True)


def test_floors_above_find_a_registration_by_model_and_by_number(street: Street) -> None:
    registration = street.registered()
    lookup = street.house.port(Registrations)  # type: ignore[type-abstract]
    assert street.house.db.read(lambda tx: lookup.find(tx, street.model.manifest, "llama.cpp")) == registration
    assert street.house.db.read(lambda tx: lookup.numbered(tx, str(registration.number))) == registration


def test_a_house_may_lay_down_a_profile_of_its_own(street: Street) -> None:
    folder = Path(street.house.settings.house) / "profiles"
    folder.mkdir()
    shipped = next(profile for profile in service.known_profiles(street.house, MEI) if profile.name == "house")
    source = f'name = "card"\nversion = 1\nsource = "s"\nowner = "o"\ndated = {shipped.dated}\nreview_by = {shipped.review_by}\ntitle = {{en = "Card", zh = "卡"}}\n'
    (folder / "card.toml").write_text(source + '[[requirements]]\nid = "card"\nfile = "README.md"\ntext = {en = "A card.", zh = "模型卡。"}\n')
    assert [result.id for result in street.request(profile="card").decision.requirements] == ["card"]


def test_the_log_is_signed_when_it_has_grown_and_only_then(street: Street) -> None:
    def sizes() -> list[int]:
        return [row["size"] for row in street.house.db.read(lambda tx: tx.rows("SELECT size FROM ground_checkpoints ORDER BY size"))]

    work.seal_the_log(street.house)
    work.seal_the_log(street.house)
    street.request()
    work.seal_the_log(street.house)
    assert sizes() == [street.house.db.read(street.house.events.size) - 1, street.house.db.read(street.house.events.size)]


def test_a_registration_lives_and_falls_on_either_database(tmp_path: Path, database_url: str) -> None:
    house = open_house_with_floors(load(tmp_path / "house", {"database": database_url}, environment={}))
    try:
        house.db.write(lambda tx: furnish(house, tx))
        street = lay_street(house)
        registration = street.registered()
        assert street.may_be_served()
        assert verify_house(house).problems == ()
        street.revoke(street.statements["corpus"].id)
        assert service.shown(house, MEI, str(registration.number)).state is State.SUSPENDED
        assert street.request(key="k2").decision.requirements[0].standing is Standing.REVOKED
    finally:
        house.close()
