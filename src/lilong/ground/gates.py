"""Questions that a lower floor asks and an upper floor answers, without the lower one knowing the upper.

A gate with nobody to answer it stays shut; what an upper floor may only object to goes on where none does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    allowed: bool
    reason: str


Gate = Callable[..., Answer]


class Gates:
    def __init__(self) -> None:
        self._answers: dict[str, Gate] = {}

    def answer(self, question: str, gate: Gate) -> None:
        """An upper floor takes a question, such as `may-be-served`; one floor a question."""
        if question in self._answers:
            raise RuntimeError(f"two floors answer the gate {question}")
        self._answers[question] = gate

    def ask(self, question: str, **about: Any) -> Answer:
        gate = self._answers.get(question)
        if gate is None:
            return Answer(False, f"no floor of this house answers '{question}'")
        return gate(**about)

    def objection(self, question: str, **about: Any) -> str | None:
        """What the upper floor that takes this question has against it, with the way out; None where it has nothing, or there is no such floor."""
        gate = self._answers.get(question)
        answer = gate(**about) if gate is not None else None
        return None if answer is None or answer.allowed else answer.reason
