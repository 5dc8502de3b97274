"""Changes to the past: a branch squashed into one commit, large files taken out of every commit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind, RevisionNotFound
from lilong.floors.hub.git import trees
from lilong.floors.hub.git.objects import Signature, commit_bytes, object_id, with_parents_and_tree
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.rules import names
from lilong.floors.hub.store import Commit, Held
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Conflict
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import commits, git_fetch, quotas, reading, settings


class StillNamed(Conflict):
    """Large files that revisions still name cannot be deleted without rewriting them. Ask with rewriteHistory, or delete them from all branches first."""


def squash(house: House, actor: Actor, kind: Kind, name: str, branch: str, message: str) -> Commit:
    """One commit without parents in place of a branch's history. Raises RepositoryNotFound, RevisionNotFound, Forbidden."""

    def write(tx: Tx) -> tuple[str, Commit]:
        held = settings.managed(house, tx, actor, kind, name)
        ref = names.branch_ref(branch)
        target = store.ref(tx, held, ref)
        head = store.commit(tx, held, target) if target else None
        if head is None:
            raise RevisionNotFound(repository=name, name=branch[:100])
        now = house.clock.now()
        author = Signature(actor.user, f"{actor.user}@users.invalid", int(now.timestamp()))
        text = message.strip() or f"Super-squash branch '{branch}'"
        content = commit_bytes(head.tree, [], author, text)
        made = store.add_commit(
            tx, held, Commit(object_id("commit", content), head.tree, None, head.manifest, actor.user, text, stamp(now)), content
        )
        store.add_changes(tx, held, made, trees.files(reading.loader(tx), head.tree))
        commits.advance(house, tx, actor, held, ref, head.id, made)
        return held.id, made

    identity, made = house.db.write(write)
    git_fetch.forget(house, identity)  # its folder has the old commits still
    return made


@dataclass(frozen=True, slots=True)
class LargeFile:
    digest: str
    path: str  # the one it was first committed under
    size: int  # bytes
    at: str
    ref: str


def large_files(house: House, actor: Actor, kind: Kind, name: str) -> list[LargeFile]:
    """Every large file that a revision of the repository holds, the newest first. Raises RepositoryNotFound."""

    def read(tx: Tx) -> list[LargeFile]:
        held = reading.opened(house, tx, actor, kind, name)
        load = reading.loader(tx)
        found: dict[str, LargeFile] = {}
        heads = {ref.target: ref.name for ref in store.refs(tx, held)}
        known = {commit.id: commit for commit in _reachable(tx, held)}
        ref = names.MAIN
        for commit in known.values():
            parent = known.get(commit.parent or "")
            ref = heads.get(commit.id, ref)
            for path, _, entry in trees.changed(load, parent.tree if parent else trees.EMPTY, commit.tree):
                if entry is not None and entry.large and entry.digest not in found:
                    found[entry.digest] = LargeFile(entry.digest, path, entry.size, commit.at, ref)
        return sorted(found.values(), key=lambda file: file.at, reverse=True)

    return house.db.read(read)


def delete_large_files(house: House, actor: Actor, kind: Kind, name: str, digests: Collection[str], *, rewrite: bool) -> None:
    """Take large files out of the repository; with `rewrite` out of every commit too, whose ids change. Raises StillNamed, Forbidden."""
    wanted = set(digests)

    def write(tx: Tx) -> str:
        held = settings.managed(house, tx, actor, kind, name)
        if rewrite:
            _rewrite(house, tx, actor, held, wanted)
        elif any(_names(tx, commit, wanted) for commit in _reachable(tx, held)):
            raise StillNamed()
        store.remove_contents(tx, held, wanted)
        return held.id

    git_fetch.forget(house, house.db.write(write))  # its folder has the old commits still


def _reachable(tx: Tx, held: Held) -> list[Commit]:
    known = {commit.id: commit for commit in store.commits_of(tx, held)}
    seen: dict[str, Commit] = {}
    for ref in store.refs(tx, held):
        at: str | None = ref.target
        while at is not None and at not in seen and at in known:
            seen[at] = known[at]
            at = known[at].parent
    return sorted(seen.values(), key=lambda commit: commit.depth)


def _names(tx: Tx, commit: Commit, digests: Collection[str]) -> bool:
    return any(entry.digest in digests for entry in trees.files(reading.loader(tx), commit.tree).values())


def _rewrite(house: House, tx: Tx, actor: Actor, held: Held, digests: Collection[str]) -> None:
    load = reading.loader(tx)
    replaced: dict[str, Commit] = {}
    for commit in _reachable(tx, held):
        gone: dict[str, Entry | None] = {path: None for path, entry in trees.files(load, commit.tree).items() if entry.digest in digests}
        moved_parent = replaced.get(commit.parent or "")
        if not gone and moved_parent is None:
            continue
        tree, folders = trees.change(load, commit.tree, gone)
        store.add_folders(
            tx, {identity: store.encoded(folder) for identity, folder in ({tree: {}} if tree == trees.EMPTY else folders).items()}
        )
        old = store.commit_content(tx, held, commit.id)
        assert old is not None
        parent = moved_parent.id if moved_parent else commit.parent
        content = with_parents_and_tree(old, tree, {key: value.id for key, value in replaced.items()})
        made = store.add_commit(
            tx, held, Commit(object_id("commit", content), tree, parent, "", commit.author, commit.message, commit.at), content
        )
        before = store.commit(tx, held, parent) if parent else None
        paths = [path for path, _, _ in trees.changed(load, before.tree if before else trees.EMPTY, tree)]
        store.add_changes(tx, held, made, paths)
        replaced[commit.id] = made
    for ref in store.refs(tx, held):
        if ref.target in replaced:
            commits.advance(house, tx, actor, held, ref.name, ref.target, replaced[ref.target])


def duplicate(house: House, actor: Actor, kind: Kind, name: str, into: tuple[Kind, str], digests: Collection[str]) -> set[str]:
    """Let the actor commit large files of one repository to another without sending them; those that this one does not have.

    Raises RepositoryNotFound, Forbidden, GatedRepository, QuotaExceeded.
    """

    def write(tx: Tx) -> set[str]:
        held = reading.opened(house, tx, actor, kind, name)
        reading.readable(house, tx, actor, held)
        target = reading.opened(house, tx, actor, *into, "hub.write")
        sizes = {content.digest: content.size for content in store.contents(tx, held) if content.digest in set(digests)}
        quotas.check(
            house, tx, target.organisation, sum(size for digest, size in sizes.items() if not store.in_repository(tx, target, digest))
        )
        for digest, size in sizes.items():
            store.add_upload(tx, actor, digest, size, stamp(house.clock.now()))
        return set(digests) - sizes.keys()

    return house.db.write(write)
