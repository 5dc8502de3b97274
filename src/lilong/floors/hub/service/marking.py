"""What refs, uploads and buckets still reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from lilong.floors.hub import store
from lilong.floors.hub.git.objects import parents_of
from lilong.floors.hub.git.trees import EMPTY
from lilong.floors.hub.store import collecting
from lilong.ground.db import Tx

Named = tuple[str, str]  # repository, and the id or digest of something in it


@dataclass(slots=True)
class Marks:
    """What is reached from the refs that were there; it may grow later, by `follow`."""

    refs: set[Named] = field(default_factory=set)
    commits: set[Named] = field(default_factory=set)
    trees: set[str] = field(default_factory=set)
    contents: set[Named] = field(default_factory=set)  # repository and digest of a large file
    digests: set[str] = field(default_factory=set)  # of all files
    _known: dict[str, _Inside] = field(default_factory=dict)

    def enter(self, tx: Tx, repository: str, tree: str, seen: set[str]) -> None:
        """All that lies in a tree of this repository; `seen`: its trees that need not be entered again. Raises Corrupt."""
        waiting = [tree]
        while waiting:
            identity = waiting.pop()
            if identity in seen or identity == EMPTY:
                continue
            seen.add(identity)
            self.trees.add(identity)
            inside = self._known.get(identity)
            if inside is None:
                entries = store.folder(tx, identity).values()
                inside = self._known[identity] = _Inside(
                    tuple(entry.id for entry in entries if entry.folder),
                    tuple(entry.digest for entry in entries if not entry.folder and entry.large),
                )
                self.digests.update(entry.digest for entry in entries if not entry.folder)
            self.contents.update((repository, digest) for digest in inside.large)
            waiting += inside.folders


@dataclass(frozen=True, slots=True)
class _Inside:
    folders: tuple[str, ...]
    large: tuple[str, ...]  # digests


def mark(tx: Tx) -> tuple[Marks, set[Named]]:
    """What is reached, and the commits that are not. Raises Corrupt: nothing is collected in a house that is broken."""
    marks, lost = Marks(refs=collecting.all_refs(tx)), set[Named]()
    heads: dict[str, list[str]] = {}
    for repository, target in marks.refs:
        heads.setdefault(repository, []).append(target)
    for repository, rows in groupby(collecting.all_commits(tx), key=lambda row: row[0]):
        known = {identity: (tree, parents_of(content)) for _, identity, tree, content in rows}
        reached = set(_reached(known, heads.get(repository, [])))
        lost |= {(repository, identity) for identity in known.keys() - reached}
        seen: set[str] = set()
        for identity in reached:
            marks.commits.add((repository, identity))
            marks.enter(tx, repository, known[identity][0], seen)
    return marks, lost


def _reached(known: dict[str, tuple[str, list[str]]], heads: list[str]) -> Iterator[str]:
    waiting, seen = list(heads), set[str]()
    while waiting:
        identity = waiting.pop()
        if identity in known and identity not in seen:
            seen.add(identity)
            yield identity
            waiting += known[identity][1]


def follow(tx: Tx, marks: Marks) -> None:
    """Add what refs reach that were set since."""
    for repository, target in collecting.all_refs(tx) - marks.refs:
        marks.refs.add((repository, target))
        waiting, seen = [target], set[str]()
        while waiting:
            identity = waiting.pop()
            if (repository, identity) in marks.commits:
                continue
            found = collecting.commit(tx, repository, identity)
            if found is None:
                continue
            marks.commits.add((repository, identity))
            marks.enter(tx, repository, found[0], seen)
            waiting += parents_of(found[1])
