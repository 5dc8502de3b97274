"""What a check of evidence found: how much was looked at, and every place that does not hold what it should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Progress = Callable[[str, int, int], None]  # what is being looked at, how far, of how much


def silent(_doing: str, _done: int, _of: int) -> None:
    """A Progress that tells nobody."""


@dataclass(frozen=True, slots=True)
class Problem:
    """`place` is what a person would open: a file of the bundle, `blob sha256:…`, `event 12`, `statement sha256:…`."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(frozen=True, slots=True)
class Findings:
    statements: int
    events: int
    files: int  # of a bundle, or blobs of a house
    size: int  # bytes read of these
    key: str  # the key that the checkpoint is signed with, to be compared with one got elsewhere
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        return not self.problems

    def summary(self) -> str:
        count = len(self.problems)
        return f"verified: {self.statements} statement{'' if self.statements == 1 else 's'}, {count} problem{'' if count == 1 else 's'}"


class Notes(list[Problem]):
    """Problems as they are met; each is noted once."""

    def add(self, place: str, what: str) -> None:
        problem = Problem(place, what)
        if problem not in self:
            self.append(problem)


def plain(findings: Findings) -> dict[str, Any]:
    """Findings in JSON."""
    return {
        "statements": findings.statements, "events": findings.events, "files": findings.files, "bytes": findings.size, "key": findings.key,
        "problems": [{"place": problem.place, "what": problem.what} for problem in findings.problems], "summary": findings.summary(),
    }  # fmt: skip
