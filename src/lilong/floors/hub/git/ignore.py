"""`.gitignore` (gitignore(5)): which files a client leaves at home."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .attributes import LIMIT, LONGEST, matches

MOST_RULES = 1000  # that count, the first ones: each is held against each file and every folder on its way


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: str
    folders_only: bool
    again: bool  # `!pattern` takes back what an earlier line left out


@dataclass(frozen=True, slots=True)
class Ignore:
    rules: Sequence[_Rule]

    def ignores(self, path: str) -> bool:
        """The last matching line decides; what lies in a folder that is left out cannot be taken back."""
        parts = path.split("/")
        return any(self._says("/".join(parts[:end]), folder=end < len(parts)) for end in range(1, len(parts) + 1))

    def _says(self, path: str, *, folder: bool) -> bool:
        for rule in reversed(self.rules):
            if (folder or not rule.folders_only) and matches(rule.pattern, path):
                return not rule.again
        return False


def parse(text: str) -> Ignore:
    rules = []
    for line in text[:LIMIT].splitlines():
        pattern = line.rstrip()
        if not pattern or pattern.startswith("#") or len(pattern) > LONGEST:
            continue
        again = pattern.startswith("!")
        pattern = pattern[1:] if again else pattern.removeprefix("\\") if pattern.startswith(("\\#", "\\!")) else pattern
        folders_only = pattern.endswith("/")
        pattern = pattern.rstrip("/")
        if pattern:
            rules.append(_Rule(pattern, folders_only, again))
        if len(rules) == MOST_RULES:
            break
    return Ignore(tuple(rules))
