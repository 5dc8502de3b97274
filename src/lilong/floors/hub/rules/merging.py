"""Three-way merges: of trees by their paths, and of texts by their lines."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Generic, TypeVar

from lilong.floors.hub.git.trees import EMPTY, Entry, Load, files

from .diff import matches

Text = TypeVar("Text", bound=Hashable)
_EDITS = 500  # lines of one side that change, up to which the shortest way is looked for


@dataclass(frozen=True, slots=True)
class Both:
    """A regular file that both sides have changed, each in its own way. `base` is None where both have added it."""

    base: Entry | None
    ours: Entry
    theirs: Entry


@dataclass(slots=True)
class Merge:
    """What is to be put on top of our tree (None: taken away); what only the texts can decide; and where the two cannot agree."""

    changes: dict[str, Entry | None] = field(default_factory=dict)
    both: dict[str, Both] = field(default_factory=dict)
    conflicts: set[str] = field(default_factory=set)


def merge(load: Load, base: str, ours: str, theirs: str) -> Merge:
    """Trees by their ids; folders that need no look are not opened."""
    found = Merge()
    if theirs not in (base, ours):
        _folder(load, (base, ours, theirs), "", found)
    return found


def _folder(load: Load, trees: tuple[str, str, str], prefix: str, found: Merge) -> None:
    base, ours, theirs = ({} if identity == EMPTY else load(identity) for identity in trees)
    for name in sorted(base.keys() | ours.keys() | theirs.keys()):
        _name(load, (base.get(name), ours.get(name), theirs.get(name)), prefix + name, found)


def _name(load: Load, three: tuple[Entry | None, Entry | None, Entry | None], path: str, found: Merge) -> None:
    base, ours, theirs = three
    if _same(ours, theirs) or _same(base, theirs):
        return
    opened = [EMPTY if entry is None or not entry.folder else entry.id for entry in three]
    if not any(entry is not None and not entry.folder for entry in (ours, theirs)):
        _folder(load, (opened[0], opened[1], opened[2]), path + "/", found)
    elif _same(base, ours):
        _take(load, ours, theirs, path, found)
    elif ours is None or theirs is None or ours.folder or theirs.folder or not _mergeable(base, ours, theirs):
        found.conflicts.add(path)
    else:
        found.both[path] = Both(None if base is None or base.folder else base, ours, theirs)


def _same(one: Entry | None, other: Entry | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.id, one.mode, one.digest) == (other.id, other.mode, other.digest)


def _take(load: Load, ours: Entry | None, theirs: Entry | None, path: str, found: Merge) -> None:
    """Only they have changed it; at least one of the two is a file."""
    if theirs is None or not theirs.folder:
        if ours is not None and ours.folder:
            found.conflicts.add(path)  # a folder that became a file: no commit here can do both at once
            return
        found.changes[path] = theirs
        return
    found.changes[path] = None
    found.changes.update({f"{path}/{name}": entry for name, entry in files(load, theirs.id).items()})


def _mergeable(base: Entry | None, ours: Entry, theirs: Entry) -> bool:
    return not (ours.large or theirs.large or (base is not None and base.large)) and ours.mode == theirs.mode


# --- texts --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Edit(Generic[Text]):
    begin: int  # lines of the base that go: begin … end - 1
    end: int
    lines: tuple[Text, ...]  # and what stands in their place


def _edits(base: Sequence[Text], other: Sequence[Text]) -> list[_Edit[Text]]:
    blocks = [(0, 0, 0), *matches(base, other, _EDITS), (len(base), len(other), 0)]
    found: list[_Edit[Text]] = []
    for (i, j, count), (next_i, next_j, _) in pairwise(blocks):
        if next_i > i + count or next_j > j + count:
            found.append(_Edit(i + count, next_i, tuple(other[j + count : next_j])))
    return found


def lines(base: Sequence[Text], ours: Sequence[Text], theirs: Sequence[Text]) -> list[Text] | None:
    """Both sides' changes to a text, or None where they meet. As in git, changes that touch each other meet, and equal ones do not."""
    agreed = sorted({*_edits(base, ours), *_edits(base, theirs)}, key=lambda edit: (edit.begin, edit.end))
    for before, after in pairwise(agreed):
        if after.begin <= before.end:
            return None
    merged: list[Text] = []
    place = 0
    for edit in agreed:
        merged += base[place : edit.begin]
        merged += edit.lines
        place = edit.end
    return [*merged, *base[place:]]


def texts(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """`lines` of three contents; None also for what is not text."""
    if any(b"\0" in content for content in (base, ours, theirs)):
        return None
    merged = lines(*(content.split(b"\n") for content in (base, ours, theirs)))
    return None if merged is None else b"\n".join(merged)


def union(base: bytes, ours: bytes, theirs: bytes) -> bytes:
    """For lists of rules: our lines, then those that they have added."""
    known = {line.strip() for content in (base, ours) for line in content.splitlines()}
    more = [line for line in theirs.splitlines() if line.strip() and line.strip() not in known]
    start = ours if ours.endswith(b"\n") or not ours else ours + b"\n"
    return start + b"".join(line + b"\n" for line in more)
