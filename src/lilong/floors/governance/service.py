"""Governance's verbs: ask for a registration, review it, revoke it, and answer whether a model may be served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import rfc8785

from lilong.floors.governance import profiles, rules, store, work
from lilong.floors.governance.contract import (
    MAY_BE_SERVED,
    REVIEW,
    VERIFICATION_SUMMARY,
    Decision,
    ModelRegistered,
    NotIndependent,
    NotInReview,
    NotRegistered,
    NotYourModel,
    Profile,
    Registration,
    RegistrationNotFound,
    RegistrationRequested,
    RegistrationReviewed,
    RegistrationRevoked,
    Registrations,
    RegistrationSuspended,
    RequestAsk,
    RequirementsNotMet,
    ReviewAsk,
    RevokeAsk,
    State,
)
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.blobs import digest_of
from lilong.ground.db import Tx
from lilong.ground.envelope import REVOCATION
from lilong.ground.errors import BadInput
from lilong.ground.events import Recorded
from lilong.ground.evidence import Artifact, Statement, StatementRevoked
from lilong.ground.gates import Answer
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

CHECKPOINT_EVERY = 30.0  # seconds


def start(house: House) -> None:
    house.provide(Registrations, Lookup())  # type: ignore[type-abstract]
    house.gates.answer(MAY_BE_SERVED, lambda *, manifest, stack, tx=None, **_about: may_be_served(house, manifest, stack, tx))
    house.subscribe("governance.revocations", (StatementRevoked.kind,), suspend)
    house.chore("governance.checkpoints", CHECKPOINT_EVERY, work.seal_the_log)


class Lookup:
    """Registrations for the floors above."""

    def find(self, tx: Tx, manifest: str, stack: str) -> Registration | None:
        return next(iter(store.of_model(tx, manifest, stack)), None)

    def numbered(self, tx: Tx, number: str) -> Registration | None:
        return store.visible(tx, number, "1 = 1", {})


# --- asking ------------------------------------------------------------------------------------------------------------------


def request(house: House, actor: Actor, ask: RequestAsk) -> Registration:
    """Ask for a registration. Its decision tells at once what is met; asking again with the same key is the same request.

    Raises Forbidden, RepositoryNotFound, RevisionNotFound, NotYourModel, UnknownProfile.
    """
    profile = _profile(house, ask.profile)

    def write(tx: Tx) -> Registration:
        house.access.require(tx, actor, "governance.request", ask.organisation)
        revision = _revision(house, tx, actor, ask.model)
        key = ask.key or house.ids.new("key")
        known = store.by_key(tx, ask.organisation, key)
        if known is not None:
            return known
        if revision.repository.organisation != ask.organisation:
            raise NotYourModel(model=ask.model, owner=revision.repository.organisation, organisation=ask.organisation)
        now = stamp(house.clock.now())
        registration = Registration(
            id=house.ids.new("reg"), state=State.IN_REVIEW, organisation=ask.organisation, repository=revision.repository.name,
            commit=revision.commit, manifest=revision.manifest, profile=profile.name, profile_version=profile.version, stack=ask.stack,
            requested_by=actor.user, requested_at=now, changed_at=now, decision=_decide(house, tx, profile, revision, ask.stack),
        )  # fmt: skip
        store.add(tx, registration, key)
        house.events.append(tx, actor, RegistrationRequested(registration.id, ask.organisation, revision.manifest, profile.name))
        return registration

    return house.db.write(write)


def preview(house: House, actor: Actor, model: str, profile: str, stack: str) -> Decision:
    """How the requirements stand for a revision now: the path to its registration."""
    rules_of = _profile(house, profile)

    def read(tx: Tx) -> Decision:
        revision = _revision(house, tx, actor, model)
        house.access.require(tx, actor, "governance.read", revision.repository.organisation)
        return _decide(house, tx, rules_of, revision, stack)

    return house.db.read(read)


def shown(house: House, actor: Actor, name: str) -> Registration:
    """By id or number. Raises RegistrationNotFound."""
    return house.db.read(lambda tx: _shown(house, tx, actor, name))


def listed(house: House, actor: Actor) -> list[Registration]:
    condition, parameters = house.access.visible(actor, "governance.read", "organisation")
    return house.db.read(lambda tx: store.listed(tx, condition, parameters))


def known_profiles(house: House, _actor: Actor) -> list[Profile]:
    return [_profile(house, name) for name in profiles.sources(house.settings.house / "profiles")]


# --- reviewing ---------------------------------------------------------------------------------------------------------------


def review(house: House, actor: Actor, name: str, ask: ReviewAsk) -> Registration:
    """Approve or reject a request, signed with the reviewer's own key; approval gives a number and the registration statement.

    The same verdict by the same reviewer again answers what it answered before.
    Raises Forbidden, RegistrationNotFound, NotIndependent, NotInReview, RequirementsNotMet.
    """
    if not ask.comment.strip():
        raise BadInput(field="comment", problem="it is empty", way_out="Say what you looked at and why you decide so.")
    while True:
        draft = house.db.read(lambda tx: _draft(house, tx, actor, name, ask))
        if isinstance(draft, Registration):
            return draft
        for document in draft.documents():
            house.blobs.put(document)  # durable before any statement speaks of it
        done = house.db.write(lambda tx: _give(house, tx, actor, draft, ask))  # noqa: B023 - called at once
        if done is not None:
            return done


_ENDS_AS = {"approve": State.REGISTERED, "reject": State.REJECTED}


class _Draft:
    """A review worked out on one snapshot. It holds only if nothing that it rests on has changed when it is written."""

    def __init__(self, house: House, registration: Registration, decision: Decision, profile: Profile, actor: Actor, ask: ReviewAsk, number: str | None) -> None:
        self.registration, self.decision, self.profile, self.number = registration, decision, profile, number
        self.at = stamp(house.clock.now())
        facts: dict[str, Any] = {
            "registration": registration.id, "model": registration.model, "manifest": registration.manifest, "stack": registration.stack,
            "profile": {"name": profile.name, "version": profile.version, "digest": profile.digest}, "at": self.at,
            "decision": asdict(decision), "reviewer": actor.user,
        }  # fmt: skip
        self.review = rfc8785.dumps({**facts, "verdict": ask.verdict, "comment": ask.comment.strip()})
        self.document = rfc8785.dumps({**facts, "number": number, "organisation": registration.organisation, "review": digest_of(self.review)})

    def documents(self) -> list[bytes]:
        return [self.review] if self.number is None else [self.review, self.document]

    def same_ground(self, registration: Registration, decision: Decision, number: str | None) -> bool:
        return (registration, replace(decision, at=""), number) == (self.registration, replace(self.decision, at=""), self.number)


def _draft(house: House, tx: Tx, actor: Actor, name: str, ask: ReviewAsk) -> _Draft | Registration:
    registration = _shown(house, tx, actor, name)
    house.access.require(tx, actor, "governance.review", hidden=RegistrationNotFound(kind="registration", name=name))
    if registration.reviewed_by == actor.user and registration.state is _ENDS_AS[ask.verdict]:
        return registration
    _require_independence(house, tx, actor, registration)
    if registration.state is not State.IN_REVIEW:
        raise NotInReview(name=name, state=registration.state)
    profile, decision, number = _ground(house, tx, registration, ask)
    return _Draft(house, registration, decision, profile, actor, ask, number)


def _ground(house: House, tx: Tx, registration: Registration, ask: ReviewAsk) -> tuple[Profile, Decision, str | None]:
    """What a verdict rests on: the profile, how it stands now, and the number an approval gives."""
    profile = _profile(house, registration.profile)
    hub = house.port(Hub)  # type: ignore[type-abstract]
    revision = hub.revision(tx, SYSTEM, Kind.MODEL, registration.repository, registration.commit)
    decision = _decide(house, tx, profile, revision, registration.stack)
    if ask.verdict == "reject":
        return profile, decision, None
    if not decision.met:
        raise RequirementsNotMet(unmet=rules.unmet(decision))
    year = house.clock.now().year
    return profile, decision, rules.next_number(year, store.numbers(tx, year))


def _give(house: House, tx: Tx, actor: Actor, draft: _Draft, ask: ReviewAsk) -> Registration | None:
    """Write the verdict; None when something changed meanwhile and it must be worked out anew."""
    registration = store.visible(tx, draft.registration.id, "1 = 1", {})
    if registration is None or registration.state is not State.IN_REVIEW:
        return None
    _, decision, number = _ground(house, tx, registration, ask)
    if not draft.same_ground(registration, decision, number):
        return None
    model = Artifact(registration.model, registration.manifest, "model")
    rests_on = [house.evidence.get(tx, identity) for result in draft.decision.requirements for identity in result.statements]
    materials = _materials(model, rests_on)
    reviewed = Artifact(f"review of {registration.id}", digest_of(draft.review), "review")
    verdict = house.evidence.issue(
        tx, actor, predicate_type=REVIEW, subjects=[reviewed], materials=materials, signers=(actor.user,),
        predicate={"registration": registration.id, "verdict": ask.verdict, "comment": ask.comment.strip(), "profile": draft.profile.name},
    )  # fmt: skip
    house.events.append(tx, actor, RegistrationReviewed(registration.id, registration.organisation, ask.verdict, verdict.id))
    after = replace(
        registration, state=State.REJECTED, decision=draft.decision, reviewed_by=actor.user, reviewed_at=draft.at,
        comment=ask.comment.strip(), review=verdict.id, changed_at=draft.at,
    )  # fmt: skip
    if number is not None:
        after = _register(house, tx, actor, draft, after, [*materials, reviewed], rests_on)
    store.update(tx, after)
    return after


def _register(
    house: House, tx: Tx, actor: Actor, draft: _Draft, registration: Registration, materials: list[Artifact], rests_on: list[Statement]
) -> Registration:
    number = str(draft.number)
    document = Artifact(number, digest_of(draft.document), "registration")
    statement = house.evidence.issue(
        tx, actor, predicate_type=VERIFICATION_SUMMARY, subjects=[document], materials=materials, signers=("house", actor.user),
        predicate=_summary(house, draft, registration, rests_on),
    )  # fmt: skip
    registered = ModelRegistered(registration.id, registration.organisation, number, registration.manifest, statement.id)
    house.events.append(tx, actor, registered)
    return replace(registration, state=State.REGISTERED, number=number, artifact=document.digest, statement=statement.id)


def _summary(house: House, draft: _Draft, registration: Registration, rests_on: list[Statement]) -> dict[str, Any]:
    """The fields of SLSA's verification summary v1, and the house's own beside them."""
    return {
        "verifier": {"id": f"urn:lilong:house:{house.settings.name}"},
        "timeVerified": draft.at,
        "resourceUri": f"urn:lilong:model:{registration.model}",
        "policy": {"uri": f"urn:lilong:profile:{draft.profile.name}:v{draft.profile.version}", "digest": {"sha256": draft.profile.digest[7:]}},
        "inputAttestations": [{"uri": f"urn:lilong:statement:{each.id}", "digest": {"sha256": each.id[7:]}} for each in rests_on],
        "verificationResult": "PASSED",
        "verifiedLevels": [f"LILONG_{draft.profile.name.upper()}_V{draft.profile.version}"],
        "number": draft.number,
        "stack": registration.stack,
        "organisation": registration.organisation,
        "reviewer": registration.reviewed_by,
        "requirements": [{"id": result.id, "standing": result.standing.value, "why": result.why} for result in draft.decision.requirements],
    }


def _materials(model: Artifact, rests_on: list[Statement]) -> list[Artifact]:
    """The model, what the statements are about, and the statements themselves: whichever falls, the registration is reached."""
    about = {artifact.digest: artifact for statement in rests_on for artifact in statement.claim.made if artifact.digest != model.digest}
    return [model, *about.values(), *(Artifact(each.predicate_type, each.id, "statement") for each in {each.id: each for each in rests_on}.values())]


def _require_independence(house: House, tx: Tx, actor: Actor, registration: Registration) -> None:
    own = {organisation for organisation, _ in house.access.organisations_of(tx, actor.user)}
    control = {row["name"]: row["controlled_by"] for row in tx.rows("SELECT name, controlled_by FROM ground_organisations")}
    if problem := rules.conflict(registration.requested_by, registration.organisation, actor.user, own, control):
        raise NotIndependent(reviewer=actor.user, problem=problem)


# --- taking back -------------------------------------------------------------------------------------------------------------


def revoke(house: House, actor: Actor, name: str, ask: RevokeAsk) -> Registration:
    """Take a registration back for good, by revoking its statement. Raises Forbidden, RegistrationNotFound, NotRegistered."""

    def write(tx: Tx) -> Registration:
        registration = _shown(house, tx, actor, name)
        house.access.require(tx, actor, "governance.revoke", registration.organisation)
        if registration.state not in (State.REGISTERED, State.SUSPENDED) or registration.statement is None:
            raise NotRegistered(name=name, state=registration.state)
        house.evidence.revoke(tx, actor, registration.statement, ask.reason)
        after = replace(registration, state=State.REVOKED, reason=ask.reason.strip(), changed_at=stamp(house.clock.now()))
        store.update(tx, after)
        house.events.append(tx, actor, RegistrationRevoked(after.id, after.organisation, str(after.number), ask.reason.strip()))
        return after

    return house.db.write(write)


def suspend(house: House, recorded: Recorded) -> None:
    """A statement was revoked: suspend every registration that no longer holds for it, near or far. Idempotent."""

    def write(tx: Tx) -> None:
        reason = f"{house.evidence.get(tx, recorded.subject).predicate_type} was revoked: {recorded.body['reason']}"
        for artifact in house.evidence.up(tx, recorded.subject).of_kind("registration"):
            registration = store.by_artifact(tx, artifact.digest)
            if registration is None or registration.state is not State.REGISTERED:
                continue
            if house.evidence.down(tx, artifact.digest).undone(artifact.digest) is None:
                continue  # another statement says the same and holds
            after = replace(registration, state=State.SUSPENDED, reason=reason, changed_at=stamp(house.clock.now()))
            store.update(tx, after)
            told = RegistrationSuspended(after.id, after.organisation, str(after.number), recorded.subject, reason)
            house.events.append(tx, SYSTEM, told)

    house.db.write(write)


# --- the gate ----------------------------------------------------------------------------------------------------------------


def may_be_served(house: House, model: str, stack: str, tx: Tx | None = None) -> Answer:
    """Whether a model (by manifest digest) may be served on a stack. It is worked out from the evidence as it is at this moment."""
    if tx is None:
        return house.db.read(lambda own: may_be_served(house, model, stack, own))
    known = store.of_model(tx, model, stack)
    for registration in known:
        if registration.state is State.REGISTERED and registration.artifact is not None:
            undone = house.evidence.down(tx, registration.artifact).undone(registration.artifact)
            if undone is None:
                return Answer(True, f"it is registered as {registration.number} for {stack}")
            return Answer(False, f"its registration {registration.number} rests on {undone.predicate_type}, which was revoked")
    if known:
        number = f" ({known[0].number})" if known[0].number else ""
        because = f": {known[0].reason}" if known[0].reason else ""
        return Answer(False, f"its registration{number} for {stack} is {known[0].state}{because}")
    return Answer(False, f"it has no registration for {stack}; ask for one with `lilong registration request`")


# --- shared ------------------------------------------------------------------------------------------------------------------


def _shown(house: House, tx: Tx, actor: Actor, name: str) -> Registration:
    condition, parameters = house.access.visible(actor, "governance.read", "organisation")
    registration = store.visible(tx, name, condition, parameters)
    if registration is None:
        raise RegistrationNotFound(kind="registration", name=name)
    return registration


def _profile(house: House, name: str) -> Profile:
    return profiles.load(name, house.settings.house / "profiles")


def _revision(house: House, tx: Tx, actor: Actor, model: str) -> Revision:
    name, _, ref = model.partition("@")
    hub = house.port(Hub)  # type: ignore[type-abstract]
    return hub.revision(tx, actor, Kind.MODEL, name, ref or "main")


def _decide(house: House, tx: Tx, profile: Profile, revision: Revision, stack: str) -> Decision:
    return rules.decide(profile, _case(house, tx, revision, stack), house.clock.now())


def _case(house: House, tx: Tx, revision: Revision, stack: str) -> rules.Case:
    graph = house.evidence.down(tx, revision.manifest)
    corpora = tuple(graph.of_kind("corpus"))
    earlier = {each.digest for each in house.evidence.versions(tx, revision.repository.name, "model")} - {revision.manifest}
    found: dict[str, Statement] = {}
    for digest in (revision.manifest, *(corpus.digest for corpus in corpora), *sorted(earlier)):
        found.update({statement.id: statement for statement in house.evidence.about(tx, digest)})
    made = [statement.at for statement in found.values() if any(each.digest == revision.manifest for each in statement.claim.made)]
    return rules.Case(
        model=revision.manifest,
        stack=stack,
        files=frozenset(file.path for file in revision.files),
        made_at=parse_stamp(min(made)) if made else None,
        corpora=corpora,
        earlier=frozenset(earlier),
        claims=tuple(_claimed(house, tx, statement) for statement in found.values() if statement.predicate_type != REVOCATION),
    )


def _claimed(house: House, tx: Tx, statement: Statement) -> rules.Claimed:
    broken = ""
    if statement.revoked_by is not None:
        broken = f"it was revoked: {_reason(house.evidence.get(tx, statement.revoked_by).predicate)}"
    elif (undone := house.evidence.down(tx, statement.id).undone(statement.id)) is not None:
        broken = f"it rests on {undone.predicate_type}, which was revoked"
    claim = statement.claim
    return rules.Claimed(
        statement.id, statement.predicate_type, parse_stamp(statement.at), claim.made, claim.made_of, claim.predicate, claim.judged, broken
    )


def _reason(predicate: Mapping[str, Any]) -> str:
    return str(predicate.get("reason", ""))
