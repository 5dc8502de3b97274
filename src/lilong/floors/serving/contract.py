"""What other floors and the gateway know of serving: keys, deployments, receipts, and the policy's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from lilong.ground.errors import BadInput, Conflict, Corrupt, NotFound, Refused, Unavailable

if TYPE_CHECKING:  # the gateway's process needs no SQL
    from lilong.ground.access import Actor


class Terminal(StrEnum):
    """How a request ended. The billing policy (`rules.billable`) reads nothing else of the ending."""

    COMPLETED = "completed"  # the engine said it was done and the last bytes were handed over
    CLIENT_GONE = "client_gone"  # the client closed the connection first; the engine was told to stop
    UPSTREAM_ERROR = "upstream_error"  # the engine refused, died, or stopped mid-answer
    INTERRUPTED = "interrupted"  # the gateway itself died; what it had delivered was read back from the ledger


@dataclass(frozen=True, slots=True)
class Key:
    """One API token as the gateway needs it. The table is keyed by the SHA-256 hex of the token; the token itself is never kept."""

    user: str
    token: str  # the token's id, not its secret
    organisations: tuple[str, ...] = ()  # in which its user may use models and its scopes let it; the first one is the default payer
    everywhere: bool = False  # its user may use models in every organisation of the house
    models: frozenset[str] | None = None  # the served names this token may ask for; None = all its organisation may see
    expires: float | None = None  # seconds since 1970; None = never
    per_minute: int | None = None  # requests a minute; None = no limit
    parallel: int | None = None  # requests at once; None = no limit


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model that is served: one name, one revision, one upstream."""

    id: str
    model: str  # the name clients ask for, unique in a snapshot
    upstream: str  # 'unix:/path/model.sock' or 'tcp:127.0.0.1:8080'
    revision: str  # digest of the model revision, 'sha256:<hex>'
    organisation: str = ""  # whose deployment it is
    repository: str = ""  # 'organisation/name'
    commit: str = ""  # the hub's commit id
    statement: str = ""  # id of the deployment statement
    registration: str = ""  # registration number, where there is one
    shared: bool = False  # every organisation of the house may use it, not only its own
    engine: str = "llama.cpp"
    ready: bool = True
    created: int = 0  # seconds since 1970, shown by /v1/models
    parallel: int = 2  # answers generated at once
    queue: int = 64  # requests that may wait beyond those

    def seen_by(self, organisation: str) -> bool:
        return self.shared or organisation == self.organisation


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the gateway may know, in one immutable object that is swapped as a whole."""

    keys: dict[str, Key] = field(default_factory=dict)  # SHA-256 hex of the token -> key; never changed after construction
    deployments: dict[str, Deployment] = field(default_factory=dict)  # served name -> deployment; likewise
    version: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """One answered request, as it stands in a segment for good. Token counts are what was measured, before any policy."""

    id: str
    at: str  # RFC 3339, when the request came
    milliseconds: int  # from then to the end
    organisation: str
    user: str
    token: str
    deployment: str
    model: str
    repository: str
    commit: str
    revision: str  # sha256:…
    statement: str
    request: str  # sha256:… of the request body's bytes
    response: str  # sha256:… of the answer's text (see `gateway.answers`); '' where the gateway died before it was known
    prompt_tokens: int
    completion_tokens: int
    state: str  # a Terminal
    gateway: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """An RFC 6962 tree head over the first `records` records of one segment: what a seal signs and a proof leads to."""

    segment: str
    records: int
    root: str  # hex


@dataclass(frozen=True, slots=True)
class ReceiptProof:
    """Shows one record of a segment without the others: leaf = the record's bytes as stored."""

    record: str  # its JSON text
    index: int
    head: SegmentHead
    path: tuple[str, ...]  # hex, from the leaf upwards


@dataclass(frozen=True, slots=True)
class Billable:
    """The tokens a receipt is charged for under one version of the policy."""

    prompt: int
    completion: int
    policy: str


@dataclass(frozen=True, slots=True)
class DeployAsk:
    """A deployment that is wanted. Asking again with one key is the same deployment; one that has ended is begun anew."""

    organisation: str
    key: str
    model: str  # 'organisation/name@revision'; a branch or tag is resolved to a commit at once
    name: str = ""  # what clients ask for; the repository's name when empty
    stack: str = "llama.cpp"  # 'llama.cpp:file.gguf' picks one of several files
    shared: bool = False  # every organisation of the house may use it
    context: int = 2048  # tokens for each answer and its prompt
    parallel: int = 2  # answers at once
    threads: int = 1
    memory_mib: int = 0  # 0: estimated from the file


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """A deployment as the house keeps it. state: requested, ready, stopping, stopped, suspended or failed."""

    id: str
    organisation: str
    key: str
    name: str
    repository: str
    commit: str
    manifest: str
    stack: str
    file: str
    plan: Mapping[str, Any]
    shared: bool
    state: str
    job: str | None
    attempt: int
    artifact: str | None  # digest that statements speak of
    statement: str | None
    certificate: str | None  # statement ids
    registration: str | None
    registration_number: str | None
    error: str | None
    created_by: str
    created_at: str
    ready_at: str | None
    ended_at: str | None


@dataclass(frozen=True, slots=True)
class ReceiptShown:
    """A receipt with what it is charged and where it lies."""

    receipt: Receipt
    billable: Billable
    segment: str


@dataclass(frozen=True, slots=True)
class AnswerEvidence:
    """Where the walk from one answer begins: the artifact of its receipt, in the statements' graph, and its place in a sealed batch."""

    receipt: Receipt
    digest: str  # of the record's bytes: the artifact of kind 'answer', a blob of the house
    statement: str  # `answer/v1`, from that artifact to the deployment
    deployment: str  # digest of the deployment's artifact
    seal: str  # statement `usage-batch/v1` over the root
    proof: ReceiptProof


@dataclass(frozen=True, slots=True)
class Usage:
    """What an organisation used of a deployment on one day (UTC), as counted and as charged under a policy."""

    organisation: str
    day: str
    deployment: str
    model: str
    policy: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    billed_prompt: int
    billed_completion: int


@dataclass(frozen=True, slots=True)
class AskAsk:
    """A question to a served model, asked by the house on a person's behalf."""

    model: str  # the served name
    prompt: str
    max_tokens: int = 128
    organisation: str = ""  # who pays; the deployment's own when empty and the actor works for it
    chat: bool = True
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class AskAnswer:
    model: str
    text: str
    receipt: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class DeploymentRequested:
    kind: ClassVar[str] = "serving.deployment-requested"
    subject: str
    organisation: str
    name: str
    manifest: str


@dataclass(frozen=True, slots=True)
class DeploymentReady:
    kind: ClassVar[str] = "serving.deployment-ready"
    subject: str
    organisation: str
    name: str
    statement: str


@dataclass(frozen=True, slots=True)
class DeploymentEnded:
    kind: ClassVar[str] = "serving.deployment-ended"
    subject: str
    organisation: str
    name: str
    state: str  # stopped, suspended or failed
    reason: str


@dataclass(frozen=True, slots=True)
class UsageSealed:
    kind: ClassVar[str] = "serving.usage-sealed"
    subject: str  # the segment
    records: int
    root: str
    statement: str


class Serving(Protocol):
    """What floors above may ask."""

    def evidence_of(self, actor: Actor, receipt: str) -> AnswerEvidence:
        """Seal and state one receipt, once. Raises ReceiptNotFound."""

    def usage(self, actor: Actor, organisation: str) -> list[Usage]: ...


class ReceiptNotFound(NotFound):
    """There is no receipt '{name}' that you may see."""


class DeploymentNotFound(NotFound):
    """There is no deployment '{name}' that you may see."""


class NameTaken(Conflict):
    """The name '{name}' is already served by deployment {deployment}. Stop that one first, or serve this one under another name."""


class NotServable(Refused):
    """{model} may not be served: {problem} {way_out}"""


class BadAddress(BadInput):
    """'{address}' is not an upstream of this house. Give 'unix:/path/name.sock' or 'tcp:127.0.0.1:port'."""


class ModelBusy(Refused):
    """The model '{name}' did not answer: {problem} {way_out}"""


class LedgerBusy(Unavailable):
    """The meter in {folder} is in use by another gateway process. Stop that one, or give this one a gateway name of its own."""


class MeterFull(Unavailable):
    """The gateway cannot write down another request: {problem}. Nothing is served unmetered; make room and ask again."""


class SegmentDamaged(Corrupt):
    """{place} does not hold the record that was written there: {problem}. Restore the file from a backup."""
