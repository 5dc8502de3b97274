"""What others may know of governance: profiles, decisions, registrations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import ClassVar, Literal, Protocol

from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Conflict, Forbidden, NotFound, Refused

REVIEW = "https://lilong.dev/review/v1"
VERIFICATION_SUMMARY = "https://slsa.dev/verification_summary/v1"
MAY_BE_SERVED = "may-be-served"  # the gate: manifest=<digest>, stack=<name>, tx=<Tx or None>


class Standing(StrEnum):
    """How a requirement stands."""

    MET = "met"
    MISSING = "missing"
    STALE = "stale"  # there is evidence, but of an earlier revision, or too old
    REVOKED = "revoked"  # there is evidence, but it, or something that it rests on, was taken back


class State(StrEnum):
    """in_review → registered | rejected; registered → suspended | revoked; suspended → revoked. Suspended ends by a new request."""

    IN_REVIEW = "in_review"
    REGISTERED = "registered"
    REJECTED = "rejected"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a profile asks for.

    Evidence is a statement of type `predicate` that made `of` (the model, or each corpus it learned from; role `subject`) or is a
    judgement of it (role `judged`), and passes `test`; or, where `file` is given, a file of the revision.
    """

    id: str
    text: Mapping[str, str]  # language → what is asked for
    predicate: str = ""
    of: Literal["model", "corpus"] = "model"
    role: Literal["subject", "judged"] = "subject"
    test: str = ""  # a name of rules.TESTS
    fresh: bool = False  # not issued before the revision itself
    max_age_days: int | None = None
    file: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """A set of requirements, kept as a data file. It is no legal advice."""

    name: str
    version: int
    title: Mapping[str, str]
    source: str
    owner: str
    dated: date
    review_by: date
    requirements: tuple[Requirement, ...]
    digest: str  # sha256:… of the file


@dataclass(frozen=True, slots=True)
class Result:
    """How one requirement stands, why, and the statements that were looked at (those that meet it, if it is met)."""

    id: str
    standing: Standing
    why: str
    statements: tuple[str, ...]
    text: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    profile: str
    version: int
    at: str  # RFC 3339, UTC
    requirements: tuple[Result, ...]

    @property
    def met(self) -> bool:
        return all(result.standing is Standing.MET for result in self.requirements)


@dataclass(frozen=True, slots=True)
class RequestAsk:
    """`model`: organisation/name@revision; `stack`: the software that is to serve it, as compatibility certificates name it."""

    organisation: str
    model: str
    profile: str = "house"
    stack: str = "llama.cpp"
    key: str = ""


@dataclass(frozen=True, slots=True)
class ReviewAsk:
    verdict: Literal["approve", "reject"]
    comment: str


@dataclass(frozen=True, slots=True)
class RevokeAsk:
    reason: str


@dataclass(frozen=True, slots=True)
class Registration:
    """A model's registration, from the request on. `decision` is the one of the request, then that of the review."""

    id: str
    state: State
    organisation: str
    repository: str
    commit: str
    manifest: str
    profile: str
    profile_version: int
    stack: str
    requested_by: str
    requested_at: str
    decision: Decision
    number: str | None = None
    artifact: str | None = None  # digest of the registration document
    statement: str | None = None
    reviewed_by: str | None = None
    reviewed_at: str | None = None
    comment: str | None = None
    review: str | None = None  # id of the review statement
    reason: str | None = None  # why it was suspended or revoked
    changed_at: str | None = None

    @property
    def model(self) -> str:
        return f"{self.repository}@{self.commit}"


@dataclass(frozen=True, slots=True)
class RegistrationRequested:
    kind: ClassVar[str] = "governance.registration-requested"
    subject: str
    organisation: str
    manifest: str
    profile: str


@dataclass(frozen=True, slots=True)
class RegistrationReviewed:
    kind: ClassVar[str] = "governance.registration-reviewed"
    subject: str
    organisation: str
    verdict: str
    statement: str


@dataclass(frozen=True, slots=True)
class ModelRegistered:
    kind: ClassVar[str] = "governance.model-registered"
    subject: str
    organisation: str
    number: str
    manifest: str
    statement: str


@dataclass(frozen=True, slots=True)
class RegistrationSuspended:
    kind: ClassVar[str] = "governance.registration-suspended"
    subject: str
    organisation: str
    number: str
    statement: str  # the one whose revocation did it
    reason: str


@dataclass(frozen=True, slots=True)
class RegistrationRevoked:
    kind: ClassVar[str] = "governance.registration-revoked"
    subject: str
    organisation: str
    number: str
    reason: str


class RegistrationNotFound(NotFound):
    """There is no registration '{name}' that you may see."""


class UnknownProfile(BadInput):
    """There is no profile '{name}'. Known: {known}."""


class BadProfile(BadInput):
    """The profile {place} cannot be used: {problem}. {way_out}"""


class NotYourModel(Refused):
    """The model {model} belongs to {owner}, not to {organisation}. Its own organisation asks for its registration."""


class NotInReview(Conflict):
    """The registration {name} is {state}, so it cannot be reviewed. Ask for a new registration."""


class NotRegistered(Conflict):
    """The registration {name} is {state}, so there is nothing to revoke."""


class NotIndependent(Forbidden):
    """{reviewer} may not review this request: {problem}. A person of an organisation that has no part in it must."""


class RequirementsNotMet(Refused):
    """The registration cannot be given: {unmet}. Bring that evidence and ask again; nothing else has to be done anew."""


class Registrations(Protocol):
    def find(self, tx: Tx, manifest: str, stack: str) -> Registration | None:
        """The newest registration of a model for a stack, whatever its state."""

    def numbered(self, tx: Tx, number: str) -> Registration | None: ...
