"""Commits compared: what differs between two, and what becomes of two that went their own ways from a third."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from lilong.floors.hub import store
from lilong.floors.hub.git import attributes, trees
from lilong.floors.hub.git.objects import parents_of
from lilong.floors.hub.git.trees import EMPTY, Entry
from lilong.floors.hub.rules import diff, merging
from lilong.floors.hub.rules.diff import ABSENT, EDITS, Diff, FileDiff
from lilong.floors.hub.rules.merging import Both
from lilong.floors.hub.store import Commit, Held
from lilong.ground.db import Tx
from lilong.ground.house import House

from . import reading

_FILES = 300  # of a comparison that are listed
_TEXT = 512 << 10  # bytes of one file that are compared by lines
_TEXTS = 2 << 20  # bytes of all files of one comparison
_ALL_EDITS = 8 * EDITS
_MERGED = 1 << 20  # bytes of a text that is merged by lines
_MERGED_TEXTS = 60  # such texts in one merge; of more, each is a conflict
_LOOKED_AT = 200  # commits of a pull request in which merges from the base are looked for


# --- what differs -------------------------------------------------------------------------------------------------------


def compared(house: House, old: Commit | None, new: Commit) -> Diff:
    """Between two commits; without an old one every file is new. Binary, large and very long files are named only."""

    def read(tx: Tx) -> tuple[list[tuple[str, Entry | None, Entry | None]], int]:
        walking = trees.changed(reading.loader(tx), old.tree if old is not None else EMPTY, new.tree)
        return list(islice(walking, _FILES)), sum(1 for _ in walking)

    changed, omitted = house.db.read(read)
    bytes_left, edits_left = _TEXTS, _ALL_EDITS
    shown = []
    for path, before, after in changed:
        size = sum(entry.size for entry in (before, after) if entry is not None)
        file = _file(house, path, before, after, budget=bytes_left, edits=min(edits_left, EDITS))
        if file.hunks:
            bytes_left -= size
            edits_left -= min(file.added + file.removed, edits_left)
        shown.append(file)
    return Diff(tuple(shown), omitted)


def _file(house: House, path: str, before: Entry | None, after: Entry | None, *, budget: int, edits: int) -> FileDiff:
    status = "added" if before is None else "deleted" if after is None else "changed"
    some = [entry for entry in (before, after) if entry is not None]
    mode = some[0].mode
    named = FileDiff(
        path, status, before.id if before else ABSENT, after.id if after else ABSENT, before.mode if before else mode,
        after.mode if after else mode, before.size if before else 0, after.size if after else 0,
    )  # fmt: skip
    if named.old_id == named.new_id:
        return named
    if any(entry.large for entry in some):
        return _noted(named, "large")
    if max(entry.size for entry in some) > _TEXT or sum(entry.size for entry in some) > budget:
        return _noted(named, "too long")
    old, new = (diff.lines_of(house.blobs.read(entry.digest)) if entry is not None else [] for entry in (before, after))
    if old is None or new is None:
        return _noted(named, "binary")
    hunks = diff.hunks(old, new, edits)
    signs = [line.sign for hunk in hunks for line in hunk.lines]
    return FileDiff(
        path, status, named.old_id, named.new_id, named.old_mode, named.new_mode, named.old_size, named.new_size, "", hunks, signs.count("+"),
        signs.count("-"),
    )  # fmt: skip


def _noted(file: FileDiff, note: str) -> FileDiff:
    return FileDiff(file.path, file.status, file.old_id, file.new_id, file.old_mode, file.new_mode, file.old_size, file.new_size, note)


# --- merges -------------------------------------------------------------------------------------------------------------


def common(tx: Tx, held: Held, base: Commit, head: Commit) -> Commit | None:
    """What a three-way merge of `head` into `base` is based on.

    The commit where their first parents part; or a newer one of the base's that was merged into the head's side since (by git).
    """
    found = store.fork_point(tx, held, base, head)
    for own in store.history(tx, held, head.id, _LOOKED_AT):
        if found is not None and own.id == found.id:
            break
        for parent in parents_of(store.commit_content(tx, held, own.id) or b"")[1:]:
            other = store.commit(tx, held, parent)
            met = store.fork_point(tx, held, base, other) if other is not None else None
            if met is not None and (found is None or store.is_ancestor(tx, held, found, met)):
                found = met
    return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be put on top of our commit. `texts`: contents that are new, with their modes."""

    changes: Mapping[str, Entry | None] = field(default_factory=dict)
    texts: Mapping[str, tuple[bytes, str]] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()  # paths


def merged(house: House, base: Commit | None, ours: Commit, theirs: Commit) -> Outcome:
    """By paths, and by lines where both have changed a text; nothing is stored."""
    found = house.db.read(lambda tx: merging.merge(reading.loader(tx), base.tree if base is not None else EMPTY, ours.tree, theirs.tree))
    texts: dict[str, tuple[bytes, str]] = {}
    for number, (path, both) in enumerate(found.both.items()):
        content = _text(house, path, both) if number < _MERGED_TEXTS else None
        if content is None:
            found.conflicts.add(path)
        else:
            texts[path] = content, both.ours.mode
    return Outcome(found.changes, texts, tuple(sorted(found.conflicts)))


def _text(house: House, path: str, both: Both) -> bytes | None:
    if max(entry.size for entry in (both.base, both.ours, both.theirs) if entry is not None) > _MERGED:
        return None
    base = house.blobs.read(both.base.digest) if both.base is not None else b""
    ours, theirs = house.blobs.read(both.ours.digest), house.blobs.read(both.theirs.digest)
    content = merging.texts(base, ours, theirs) if both.base is not None else None
    if content is None and path == attributes.PATH:  # each side only adds the rules that its own large files need
        return merging.union(base, ours, theirs)
    return content
