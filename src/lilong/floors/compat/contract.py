"""What other floors may know of compatibility: stacks, verdicts, rows, certificates, and the device under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NewType, Protocol

from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, LilongError, NotFound, Refused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Logits = NDArray[np.float32]

StackName = NewType("StackName", str)
"""A software stack on a kind of device, such as `torch-fp32` or `llama.cpp`; what follows a colon picks one of the model's files."""

REFERENCE = StackName("torch-fp32")
NOISE = StackName("torch-bf16")
STACKS: tuple[StackName, ...] = (REFERENCE, NOISE, StackName("llama.cpp"), StackName("onnxruntime"))


class Verdict(StrEnum):
    """From best to worst for a user who must rely on it: a refusal is honest, a silently wrong answer is the worst."""

    PASS = "pass"  # noqa: S105 - a verdict
    REFUSED = "refused"
    HANG = "hang"
    OOM = "oom"
    CRASH = "crash"
    INACCURATE = "inaccurate"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Probe:
    """What a stack says it is, and how it was run."""

    stack: StackName
    name: str
    version: str
    weights: str  # the number format of the stored weights it used: f32, bf16, f16, q4_1 ...
    compute: str  # the number format of its activations, as far as it can tell
    threads: int
    device: str
    features: str = ""
    file: str = ""  # the model file it read


class DeviceUnderTest(Protocol):
    """One stack on one device, with one model loaded.

    Calls raise DeviceRefused for an honest error; adapters that run in a process of their own also raise
    DeviceCrashed, DeviceHung and DeviceOutOfMemory.
    """

    def load(self, model: Path, threads: int) -> Probe:
        """Load the model from a folder with config.json, tokenizer.json, model.safetensors and possibly *.gguf."""

    def tokenize(self, text: str) -> list[int] | None:
        """The token ids of `text` without added special tokens; None where the stack has no tokenizer of its own."""

    def logits(self, tokens: Sequence[int]) -> Logits:
        """Teacher-forced logits, float32 [len(tokens), vocabulary]: row i predicts the token after tokens[: i + 1]."""

    def greedy(self, tokens: Sequence[int], count: int) -> tuple[list[int], Logits]:
        """`count` tokens that continue `tokens` by arg max, never stopping early, and the logits they were chosen from."""

    def spent(self) -> float:
        """CPU seconds used so far."""

    def peak_mib(self) -> int:
        """The most resident memory so far, in MiB; 0 where the device cannot tell."""

    def close(self) -> None: ...


class DeviceRefused(LilongError):
    """{stack} refused: {problem}"""


class DeviceCrashed(LilongError):
    """{stack} died {how} while it was asked to {doing}. Its last words: {words}"""


class DeviceHung(LilongError):
    """{stack} gave no answer within {limit:g} s when it was asked to {doing}."""


class DeviceOutOfMemory(LilongError):
    """{stack} ran out of memory when it was asked to {doing}: {words}"""


class UnknownStack(BadInput):
    """There is no stack '{stack}'. Known here: {known}."""


class ReferenceFailed(Refused):
    """The reference stack {stack} did not work, so nothing can be judged: {problem} Repair the model's files or the reference first."""


class TooLittleText(BadInput):
    """The held-out texts give {found} excerpts of {length} tokens; {wanted} are needed. Give more text or ask for fewer positions."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval and the number of observations behind it."""

    low: float
    point: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a greedy continuation first left the reference's, and how sure the reference was there."""

    prompt: int
    position: int  # 0 is the first generated token
    margin: float  # nats by which the reference preferred its own token over the stack's
    decisive: bool  # the margin exceeds the format's noise


@dataclass(frozen=True, slots=True)
class Tokenization:
    texts: int
    equal: int
    first_difference: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One stack's line of the matrix. Measures are None where the stack did not get that far."""

    stack: StackName
    verdict: Verdict
    reason: str
    reference: bool = False
    probe: Probe | None = None
    kl: Interval | None = None  # nats per token, KL(reference || stack), n in positions, interval over texts
    kl_max: float | None = None
    kl_limit: float | None = None
    agreement: Interval | None = None  # top-1, Wilson
    decisive_flips: int | None = None
    prompts: int = 0
    diverged: tuple[Divergence, ...] = ()
    tokenization: Tokenization | None = None
    deterministic: bool | None = None
    cpu_seconds: float = 0.0
    peak_mib: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes a device may use. The first case has its own limit: compilers are slow once, hung kernels always."""

    first_seconds: float = 180.0
    case_seconds: float = 60.0
    threads: int = 2
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one examination is made (the job's spec.json)."""

    stacks: tuple[StackName, ...] = STACKS
    positions: int = 1024
    length: int = 128
    prompts: int = 4
    greedy_tokens: int = 24
    seed: int = 0
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def parse(cls, spec: Mapping[str, Any]) -> Recipe:
        """Read spec.json; keys that are left out take their defaults. Raises BadInput for an unknown key or a value out of range."""
        _known("recipe", spec, cls)
        limits = spec.get("limits", {})
        if not isinstance(limits, Mapping):
            raise BadInput(field="recipe.limits", problem="it is not a table", way_out="Give seconds and bytes by name.")
        _known("recipe.limits", limits, Limits)
        for name, value in limits.items():
            if value is not None or name != "memory_bytes":
                _number(f"recipe.limits.{name}", value, 1, 1 << 50, whole=name in ("threads", "memory_bytes"))
        given = {name: value for name, value in spec.items() if name != "limits"}
        for name, (least, most) in _RANGES.items():
            if name in given:
                _number(f"recipe.{name}", given[name], least, most, whole=True)
        if "stacks" in given:
            stacks = given["stacks"]
            if not isinstance(stacks, list | tuple) or not stacks or not all(isinstance(stack, str) for stack in stacks):
                raise BadInput(field="recipe.stacks", problem="it is not a list of names", way_out=f"Known: {', '.join(STACKS)}.")
            given["stacks"] = tuple(StackName(stack) for stack in stacks)
        return cls(**given, limits=Limits(**limits))


_RANGES = {"positions": (4, 1 << 20), "length": (2, 4096), "prompts": (0, 1024), "greedy_tokens": (0, 1024), "seed": (0, 1 << 63)}


def _known(place: str, given: Mapping[str, Any], of: Any) -> None:
    known = sorted(of.__dataclass_fields__)
    for key in sorted(set(given) - set(known)):
        raise BadInput(field=f"{place}.{key}", problem="nobody knows it", way_out=f"Known: {', '.join(known)}.")


def _number(place: str, value: Any, least: float, most: float, *, whole: bool = False) -> None:
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and least <= value <= most
    if not fits:
        kind = "a whole number" if whole else "a number"
        raise BadInput(field=place, problem=f"{value!r} is not {kind} from {least:g} to {most:g}", way_out="Give one.")


# --- what the house keeps of it ----------------------------------------------------------------------------------------------


class State(StrEnum):
    REQUESTED = "requested"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ExaminationAsk:
    """Examine a revision. Revisions are `organisation/name@ref`; asking twice with one key is one examination."""

    organisation: str
    key: str
    model: str
    corpus: str  # its held-out texts are what the model is asked about
    recipe: Mapping[str, Any] = field(default_factory=dict)  # see Recipe


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One stack's line, flat, for tables and pages. None where the stack did not get that far, or where a bound is infinite."""

    stack: str
    verdict: str
    reason: str
    reference: bool
    software: str | None
    version: str | None
    weights: str | None
    compute: str | None
    file: str | None
    device: str | None
    threads: int | None
    positions: int
    kl: float | None  # nats per token
    kl_low: float | None
    kl_high: float | None
    kl_max: float | None
    kl_limit: float | None
    agreement: float | None
    agreement_low: float | None
    agreement_high: float | None
    decisive_flips: int | None
    prompts: int
    diverged: int
    first_divergence: int | None  # earliest position of all continuations that left the reference
    tokenized: int | None  # strings compared; None where the stack has no tokenizer of its own
    tokenized_equal: int | None
    deterministic: bool | None
    cpu_seconds: float
    peak_mib: int


@dataclass(frozen=True, slots=True)
class Examination:
    id: str
    organisation: str
    key: str
    state: State
    repository: str
    commit: str
    manifest: str
    corpus: str  # organisation/name@commit
    recipe: Mapping[str, Any]
    requested_by: str
    created_at: str
    attempt: int
    job: str
    finished_at: str | None = None
    error: str | None = None
    certificate: str | None = None  # digest of certificate.json
    suite: str | None = None  # digest of suite.json
    cases: str | None = None  # digest of cases.parquet
    statement: str | None = None
    rows: tuple[MatrixRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as it stands now. It holds while its statement is not revoked; `passed` names the stacks it holds for."""

    digest: str
    examination: str
    organisation: str
    repository: str
    commit: str
    manifest: str
    suite: str
    cases: str
    statement: str
    revoked_by: str | None
    at: str
    passed: tuple[str, ...]
    rows: tuple[MatrixRow, ...]


@dataclass(frozen=True, slots=True)
class CertificateShown:
    certificate: Certificate
    content: Mapping[str, Any]  # certificate.json: model files, tolerances, what was tested and what was not


@dataclass(frozen=True, slots=True)
class MatrixLine:
    """A model revision on a stack, by its newest certificate that holds."""

    repository: str
    commit: str
    manifest: str
    certificate: str
    at: str
    row: MatrixRow


@dataclass(frozen=True, slots=True)
class Certified:
    """The answer to \"does this revision run correctly on this stack?\", with its evidence where there is any."""

    holds: bool
    reason: str
    certificate: str | None = None
    statement: str | None = None
    at: str | None = None
    version: str | None = None  # of the stack, as examined
    file: str | None = None  # the model file that the stack read


class Certificates(Protocol):
    def check(self, tx: Tx, manifest: str, stack: str) -> Certified:
        """The newest certificate that is not revoked and has a row for this revision on this stack decides."""

    def of(self, tx: Tx, manifest: str) -> list[Certificate]:
        """All certificates of a revision, newest first, revoked ones included."""


@dataclass(frozen=True, slots=True)
class ExaminationRequested:
    kind: ClassVar[str] = "compat.examination-requested"
    subject: str  # the examination's id
    organisation: str
    repository: str
    commit: str
    manifest: str
    job: str
    stacks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExaminationFailed:
    kind: ClassVar[str] = "compat.examination-failed"
    subject: str  # the examination's id
    organisation: str
    reason: str


@dataclass(frozen=True, slots=True)
class CertificateIssued:
    kind: ClassVar[str] = "compat.certificate-issued"
    subject: str  # the certificate's digest
    organisation: str
    examination: str
    repository: str
    commit: str
    manifest: str
    statement: str
    passed: tuple[str, ...]


class ExaminationNotFound(NotFound):
    """There is no examination '{name}' that you may see."""


class CertificateNotFound(NotFound):
    """There is no certificate '{name}' that you may see."""


class NothingToExamine(BadInput):
    """{reference} cannot be examined: {problem}. {way_out}"""
