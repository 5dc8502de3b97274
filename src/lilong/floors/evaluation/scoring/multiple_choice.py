"""Multiple choice by log-likelihood: which answer does the model find likeliest after the question?

Scored as lm-evaluation-harness scores it (its `multiple_choice` tasks with a causal model): context = the question, continuation =
a space and the choice; spaces at the end of the context move to the continuation; the continuation's tokens are those of the whole
text after as many as the context alone has. `acc` takes the highest log-likelihood, `acc_norm` the highest one per UTF-8 byte of the
choice. Unlike the harness, the context is computed once for all choices.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from lilong.floors.evaluation.contract import UnusableItem
from lilong.floors.evaluation.rules import canonical
from lilong.ground.blobs import digest_of

DELIMITER = " "


@dataclass(frozen=True, slots=True)
class Question:
    """`answer` is the index of the right choice; `digest` is over question, choices and answer."""

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int
    digest: str


@dataclass(frozen=True, slots=True)
class ChoiceScore:
    """Log-likelihood in nats and length of every choice, in the order of the question's choices."""

    log_likelihoods: tuple[float, ...]
    bytes: tuple[int, ...]

    @property
    def acc_choice(self) -> int:
        """The likeliest choice; of equal ones the first."""
        return max(range(len(self.bytes)), key=lambda index: (self.log_likelihoods[index], -index))

    @property
    def acc_norm_choice(self) -> int:
        """The likeliest choice per byte; of equal ones the first."""
        return max(range(len(self.bytes)), key=lambda index: (self.log_likelihoods[index] / self.bytes[index], -index))


class Scorer(Protocol):
    """What this needs of a model (LanguageModel is one)."""

    window: int
    first_token: int

    def encode(self, text: str) -> list[int]: ...
    def continuation_log_likelihoods(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[Sequence[int]]]
    ) -> list[list[float]]: ...


def question(id: str, text: str, choices: Sequence[str], answer: int) -> Question:
    """A question with its digest. Raises UnusableItem when it is none."""
    if len(choices) < 2 or not all(choices) or not 0 <= answer < len(choices):
        raise UnusableItem(id, "it needs two or more choices that are not empty, and one of them as its answer")
    content = {"question": text, "choices": list(choices), "answer": answer}
    return Question(id, text, tuple(choices), answer, digest_of(canonical(content)))


def read_questions(path: Path) -> list[Question]:
    """Questions from JSON lines {id, question, choices, answer, digest}. A digest that is not the content's raises UnusableItem."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row: Mapping[str, Any] = json.loads(line)
            item = question(str(row["id"]), row["question"], row["choices"], row["answer"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnusableItem(f"{path.name}:{number}", f"the line is not a question ({error})") from error
        if item.digest != row.get("digest"):
            raise UnusableItem(item.id, f"its content has the digest {item.digest}, not {row.get('digest')}")
        found.append(item)
    return found


def encode_pair(encode: Callable[[str], list[int]], context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Tokens of context and continuation, split where the context alone would end. The continuation may come out empty."""
    bare = context.rstrip()
    whole = encode(context + continuation)
    head = encode(bare) if bare else []
    return head, whole[len(head) :]


def encode_question(model: Scorer, item: Question) -> tuple[list[int], list[list[int]]]:
    """The tokens of the shared context and of every choice. Raises UnusableItem where a choice has none, or one is too long."""
    context: list[int] = []
    tails = []
    for choice in item.choices:
        context, tail = encode_pair(model.encode, item.question, DELIMITER + choice)
        if not tail:
            raise UnusableItem(item.id, f"the choice '{choice}' has no token of its own after the question")
        tails.append(tail)
    context = context or [model.first_token]
    if len(context) + max(map(len, tails)) - 1 > model.window:
        raise UnusableItem(item.id, f"it is longer than the model's window of {model.window} tokens")
    return context, tails


def question_batches(
    model: Scorer, items: Sequence[Question], most_items: int = 8
) -> Iterator[tuple[list[int], Callable[[], list[ChoiceScore]]]]:
    """Questions in batches of contexts of one length: their indices, and what scores them when called."""
    encoded = [encode_question(model, item) for item in items]
    by_length: dict[int, list[int]] = {}
    for index, (context, _) in enumerate(encoded):
        by_length.setdefault(len(context), []).append(index)
    for length in sorted(by_length, reverse=True):
        for start in range(0, len(by_length[length]), most_items):
            batch = by_length[length][start : start + most_items]
            yield batch, partial(_score, model, [items[index] for index in batch], [encoded[index] for index in batch])


def _score(model: Scorer, items: Sequence[Question], encoded: Sequence[tuple[list[int], list[list[int]]]]) -> list[ChoiceScore]:
    found = model.continuation_log_likelihoods([context for context, _ in encoded], [tails for _, tails in encoded])
    return [
        ChoiceScore(tuple(logs), tuple(len(choice.encode()) for choice in item.choices)) for logs, item in zip(found, items, strict=True)
    ]
