"""A training recipe: every number that decides what the training does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from lilong.floors.training.contract import BadRecipe

Format = Literal["bf16-autocast", "fp32"]
Schedule = Literal["cosine", "constant"]
Read = Literal["text", "tokens"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Continued pre-training with AdamW (Loshchilov & Hutter, 2019). Tokens and steps are counts."""

    steps: int = 20
    tokens_per_step: int = 2048
    sequence_length: int = 512
    rows_at_once: int = 2
    """Sequences in one forward pass; a step of several passes adds up their gradients. Changes memory, not the result."""
    learning_rate: float = 5e-5
    schedule: Schedule = "cosine"
    warmup: int = 2
    """Steps of linear warm-up."""
    final_fraction: float = 0.1
    """What is left of the learning rate at the end of the cosine."""
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    gradient_clip: float = 1.0
    """Largest norm of the whole gradient."""
    seed: int = 0
    checkpoint_every: int = 5
    threads: int = 2
    format: Format = "bf16-autocast"
    passage_characters: int = 2048
    """Documents are cut into passages of about this many characters, which are shuffled."""
    read: Read = "text"
    """`tokens`: the corpus version's token shards (tokens/index.json), made with the base model's own tokenizer, instead of its text."""
    passage_tokens: int = 512
    """Documents of token shards are cut into passages of this many tokens."""
    largest_epochs: int = 4
    """A corpus is read this many times at the most: beyond it, repeated text teaches little (Muennighoff et al., 2023)."""

    @classmethod
    def parse(cls, spec: Mapping[str, Any]) -> Recipe:
        """Read a recipe; what is not given has its default. Raises BadRecipe, naming the field."""
        known = {field.name: field.type for field in fields(cls)}
        given: dict[str, Any] = {}
        for name, value in spec.items():
            if name not in known:
                raise _bad(name, "is not a field of a recipe", f"The fields are {', '.join(known)}.")
            number = not isinstance(value, bool) and isinstance(value, int | float)
            if known[name] == "int" and not (number and value == int(value)):
                raise _bad(name, f"is {value!r}, not a whole number")
            if known[name] == "float" and not (number and math.isfinite(value)):
                raise _bad(name, f"is {value!r}, not a number")
            given[name] = int(value) if known[name] == "int" else float(value) if known[name] == "float" else value
        recipe = cls(**given)
        recipe._check()
        return recipe

    def _check(self) -> None:
        positive = ("steps", "tokens_per_step", "sequence_length", "rows_at_once", "checkpoint_every", "threads", "largest_epochs")
        for name in positive:
            if getattr(self, name) < 1:
                raise _bad(name, f"is {getattr(self, name)}, less than 1")
        if self.tokens_per_step % self.sequence_length:
            raise _bad("tokens_per_step", f"is {self.tokens_per_step}, not a multiple of the sequence length {self.sequence_length}")
        for name in ("passage_characters", "passage_tokens"):
            if getattr(self, name) < 64:
                raise _bad(name, f"is {getattr(self, name)}, less than 64")
        if not 0 < self.learning_rate < 1:
            raise _bad("learning_rate", f"is {self.learning_rate}, not between 0 and 1")
        if not 0 <= self.warmup <= self.steps:
            raise _bad("warmup", f"is {self.warmup} steps of {self.steps}")
        for name in ("weight_decay", "final_fraction", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise _bad(name, f"is {getattr(self, name)}, not between 0 and 1")
        if self.gradient_clip <= 0:
            raise _bad("gradient_clip", f"is {self.gradient_clip}, not above 0")
        if self.schedule not in ("cosine", "constant"):
            raise _bad("schedule", f"is {self.schedule!r}", "Use 'cosine' or 'constant'.")
        if self.read not in ("text", "tokens"):
            raise _bad("read", f"is {self.read!r}", "Use 'text' or 'tokens'.")
        if self.format not in ("bf16-autocast", "fp32"):
            raise _bad("format", f"is {self.format!r}", "Use 'bf16-autocast' or 'fp32'.")

    @property
    def rows(self) -> int:
        """Sequences in a step."""
        return self.tokens_per_step // self.sequence_length

    def rate(self, step: int) -> float:
        """The learning rate of `step` (from 0): linear warm-up, then constant or a cosine down to `final_fraction` of it."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / (self.warmup + 1)
        if self.schedule == "constant":
            return self.learning_rate
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (self.final_fraction + (1 - self.final_fraction) * 0.5 * (1 + math.cos(math.pi * done)))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _bad(field: str, problem: str, way_out: str = "Correct it in the chain file or in the call.") -> BadRecipe:
    return BadRecipe(field=field, problem=problem, way_out=way_out)
