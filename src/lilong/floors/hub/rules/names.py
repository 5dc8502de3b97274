"""Names of branches and tags, and what a word given as a revision can mean."""

from __future__ import annotations

import re

from lilong.ground.errors import BadInput

HEADS = "refs/heads/"
TAGS = "refs/tags/"
PULLS = "refs/pr/"
MAIN = HEADS + "main"

_PULL = re.compile(r"refs/pr/[1-9]\d{0,8}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


class BadRef(BadInput):
    """The name '{name}' cannot be that of a branch or tag. Use letters, digits, '.', '_', '-', '+' and '/', not beginning with 'refs/'."""

    status = 400


def check(name: str) -> str:
    """A short name of a branch or tag (git-check-ref-format(1), only stricter). Raises BadRef."""
    parts = name.split("/")
    fine = (
        len(name) <= 200
        and not name.startswith("refs/")
        and ".." not in name
        and all(_PART.fullmatch(part) and not part.endswith((".", ".lock")) for part in parts)
        and not _COMMIT.fullmatch(name)
    )
    if not fine:
        raise BadRef(name=name[:100])
    return name


def is_commit(word: str) -> bool:
    return _COMMIT.fullmatch(word) is not None


def is_abbreviated(word: str) -> bool:
    return _ABBREVIATED.fullmatch(word) is not None


def is_pull(ref: str) -> bool:
    """Whether this full name is that of a pull request's ref."""
    return _PULL.fullmatch(ref) is not None


def branch_ref(word: str) -> str:
    """The full name of what a client commits to: a branch by its short or full name, or a pull request's ref."""
    return word if word.startswith(HEADS) or is_pull(word) else HEADS + word


def candidates(word: str) -> tuple[str, ...]:
    """The refs that a word may stand for, the first that exists counts: a full name, a branch, a tag."""
    if word == "HEAD":
        return (MAIN,)
    if word.startswith("pr/"):
        return (HEADS + word, TAGS + word, f"refs/{word}")
    return (word,) if word.startswith("refs/") else (HEADS + word, TAGS + word)
