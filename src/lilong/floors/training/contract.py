"""What other floors may import from the training floor: frozen types, errors, event types."""

from __future__ import annotations

from lilong.ground.errors import BadInput, Corrupt, Refused, Unavailable


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
