"""What the alliance speaks of: its members, takedowns, data-rights requests, contributions, quality, drift, and answers about texts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from lilong.floors.corpus.contract import State, VersionNotFound, Without
from lilong.ground.errors import Conflict, Forbidden, NotFound, Refused, Unavailable


class Membership(StrEnum):
    ASKED = "asked"
    MEMBER = "member"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation in the data corpus alliance, on its way in, or out again."""

    organisation: str
    state: Membership
    asked_by: str
    asked_at: str
    admitted_by: str | None = None
    admitted_at: str | None = None
    left_at: str | None = None


@dataclass(frozen=True, slots=True)
class MemberAsk:
    organisation: str


@dataclass(frozen=True, slots=True)
class TakedownAsk:
    """Take one thing down: a document by its id, a source by its name, or all that a contributor gave. `version` names what holds it: a
    version (its id, organisation/name or organisation/name@commit), or by its id a source set that the organisation owns or gave."""

    version: str
    key: str
    reason: str
    document: str = ""
    source: str = ""
    contributor: str = ""

    @property
    def without(self) -> Without:
        return Without(*([one] if one else [] for one in (self.document, self.source, self.contributor)))


@dataclass(frozen=True, slots=True)
class Takedown:
    """`version`: what it was asked of; a source set has no `repository` and no `commit`, and those who only have versions
    that it reached are told none of the three. `next`: the version that is built without it; done once that one is published."""

    id: str
    organisation: str
    key: str
    state: State
    version: str
    repository: str
    commit: str
    what: Without
    reason: str
    requested_by: str
    created_at: str
    statement: str
    next: str | None = None
    finished_at: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ReachedVersion:
    """A version that holds, or held, what is taken down. `documents`: how many of it stand there; None where its files are gone, so that
    nobody can say. `next`: id of the version that follows it."""

    id: str
    organisation: str
    repository: str
    commit: str
    documents: int | None
    superseded: bool
    next: str | None = None


@dataclass(frozen=True, slots=True)
class ReachedJob:
    id: str
    kind: str
    title: str
    state: str


@dataclass(frozen=True, slots=True)
class ReachedThing:
    """A model, deployment, registration, report or answer that was made from such a version. `depth`: statements in between."""

    kind: str
    name: str
    digest: str
    depth: int


@dataclass(frozen=True, slots=True)
class Reach:
    """What a takedown reaches, as far as one may see it. `hidden`: how many more there are, by kind."""

    versions: list[ReachedVersion]
    jobs: list[ReachedJob]
    things: list[ReachedThing]
    hidden: dict[str, int]


@dataclass(frozen=True, slots=True)
class TakedownShown:
    takedown: Takedown
    reach: Reach


class RightsKind(StrEnum):
    """What a person asks for whose data may stand in a corpus."""

    ACCESS = "access"
    CORRECTION = "correction"
    ERASURE = "erasure"
    OBJECTION = "objection"


class RightsState(StrEnum):
    OPEN = "open"
    FULFILLED = "fulfilled"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class RightsAsk:
    """A request that has reached an organisation. `subject`: by which the person can be found again; kept until it is forgotten.
    `due_at`: by when it is to be answered; 30 days after it was received where it is left out."""

    organisation: str
    key: str
    kind: RightsKind
    subject: str
    note: str = ""
    received_at: str = ""
    due_at: str = ""


@dataclass(frozen=True, slots=True)
class RightsAnswer:
    """`takedown`: the id of the one that carries it out, where there is one."""

    state: RightsState
    answer: str
    takedown: str = ""


@dataclass(frozen=True, slots=True)
class RightsRequest:
    """`subject` and `note` are None once they are forgotten."""

    id: str
    organisation: str
    key: str
    kind: RightsKind
    state: RightsState
    subject: str | None
    note: str | None
    received_at: str
    due_at: str
    logged_by: str
    answer: str | None = None
    answered_by: str | None = None
    answered_at: str | None = None
    takedown: str | None = None
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one contributor gave to a version. `unique`: kept documents in whose cluster nobody else has one."""

    contributor: str
    sources: int
    offered_documents: int
    offered_bytes: int
    kept_documents: int
    kept_bytes: int
    own_copies: int
    others_copies: int
    unique_documents: int
    unique_bytes: int


@dataclass(frozen=True, slots=True)
class Contributions:
    version: str
    repository: str
    commit: str
    contributions: list[Contribution]


@dataclass(frozen=True, slots=True)
class Quality:
    """The score card of a version's sources: a row for each, as tables/sources.parquet has it."""

    version: str
    repository: str
    commit: str
    sources: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SignalDrift:
    """How far the values of a signal lie apart in two versions. `psi`: population stability index; `divergence`: Jensen–Shannon, in bits."""

    signal: str
    psi: float
    divergence: float
    mean_before: float
    mean_after: float


@dataclass(frozen=True, slots=True)
class ShareDrift:
    name: str
    before: float  # share of the documents
    after: float


@dataclass(frozen=True, slots=True)
class SharesDrift:
    """Of languages or sources: how far their shares lie apart, and the shares, the largest change first."""

    psi: float
    divergence: float
    shares: list[ShareDrift]


@dataclass(frozen=True, slots=True)
class Drift:
    """Between the kept documents of two versions."""

    before: str
    after: str
    documents_before: int
    documents_after: int
    signals: list[SignalDrift]  # the largest index first
    languages: SharesDrift
    sources: SharesDrift


@dataclass(frozen=True, slots=True)
class ContainsAsk:
    """Is this text in the version (an id, organisation/name or organisation/name@commit)?"""

    version: str
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """`share`: of the text's passages that stand in the document."""

    document: str
    share: float


@dataclass(frozen=True, slots=True)
class Contained:
    """`copies`: documents that are the same letter by letter. `share`: of the text's passages that stand anywhere in the version."""

    version: str
    repository: str
    commit: str
    passages: int
    share: float
    copies: list[str]
    documents: list[Found]


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """An organisation asks to join the alliance, was admitted, or has left."""

    kind: ClassVar[str] = "corpus.member-changed"
    subject: str  # organisation
    state: str


@dataclass(frozen=True, slots=True)
class TakenDown:
    kind: ClassVar[str] = "corpus.taken-down"
    subject: str  # id of the takedown
    organisation: str
    repository: str
    statement: str
    versions: tuple[str, ...]  # ids of those that held it
    next: str  # id of the version that is built without it; '' where none can be


@dataclass(frozen=True, slots=True)
class TakedownFinished:
    kind: ClassVar[str] = "corpus.takedown-finished"
    subject: str
    organisation: str
    error: str  # '' where the next version is published


@dataclass(frozen=True, slots=True)
class RightsRequested:
    """`subject_digest`: SHA-256 of the salt of the row and the reference, so that the log holds no person's data."""

    kind: ClassVar[str] = "corpus.rights-requested"
    subject: str  # id of the request
    organisation: str
    request: str
    subject_digest: str
    due_at: str


@dataclass(frozen=True, slots=True)
class RightsAnswered:
    kind: ClassVar[str] = "corpus.rights-answered"
    subject: str
    organisation: str
    state: str
    takedown: str


@dataclass(frozen=True, slots=True)
class RightsForgotten:
    kind: ClassVar[str] = "corpus.rights-forgotten"
    subject: str
    organisation: str


class NothingToTakeDown(NotFound):
    """{place} holds no {kind} '{name}'. {way_out}"""


class GaveOnlySources(Forbidden):
    """The version {version} is of {organisation}, and is for its stewards. To take down what you gave to it, name the source set {sets} instead."""


class TakedownNotFound(NotFound):
    """There is no takedown '{name}' that you may see."""


class RightsRequestNotFound(NotFound):
    """There is no data-rights request '{name}' that you may see."""


class AnsweredBefore(Conflict):
    """The request {name} was answered before: {state}. An answer is not changed; log a new request."""


class NoSuchTable(Refused):
    """The version {version} has no {path}: it was made before versions had one. Build it again."""


class NotPublished(VersionNotFound):
    """The version {version} has no documents: its state is {state}. `lilong dataset show` tells more of it."""


class FilesGone(NotFound):
    """The version {version} has no files any more: its repository {repository} was deleted, or its history was rewritten."""


class NothingToBuildFrom(Refused):
    """There is nothing to build the next version from: {problem}. Bring the texts again, and build a version of them: lilong corpus sources add."""


class AnotherRepository(Conflict):
    """The repository was deleted, and another one has its name now, which is left as it is. Build the next version in one of its own: lilong corpus build."""


class NoIndex(Unavailable):
    """The version {version} cannot be asked yet: its index is {state}. {way_out}"""


class RunNotUsable(Refused):
    """The run cannot be published: {problem}. Curate again with `lilong corpus curate`, and publish that folder."""
