"""SQL for git's view of a repository: refs as git shows them, tag objects, and contents by the hundred."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lilong.ground.db import Tx

from .groups import in_groups
from .repositories import Held, goes_with_repository

TreeRow = Sequence[Any]  # name, mode, id, digest, size, large, …

goes_with_repository("hub_tag_objects")


@dataclass(frozen=True, slots=True)
class Shown:
    """A ref as git sees it: an annotated tag is an object of its own, which leads to the commit."""

    name: str
    commit: str
    tag: str | None = None

    @property
    def id(self) -> str:
        return self.tag or self.commit


def shown_refs(tx: Tx, held: Held) -> list[Shown]:
    rows = tx.rows(
        "SELECT f.name, f.target, t.id AS tag FROM hub_refs f LEFT JOIN hub_tag_objects t "
        "ON t.repository = f.repository AND t.name = f.name AND t.target = f.target AND t.at = f.updated_at WHERE f.repository = :id",
        id=held.id,
    )
    return sorted((Shown(row["name"], row["target"], row["tag"]) for row in rows), key=lambda shown: shown.name.encode())


def tag_content(tx: Tx, held: Held, identity: str) -> bytes | None:
    found = tx.value("SELECT content FROM hub_tag_objects WHERE repository = :repository AND id = :id", repository=held.id, id=identity)
    return None if found is None else bytes(found)


def set_tag(tx: Tx, held: Held, shown: Shown, content: bytes, at: str) -> None:
    """Keep the object of an annotated tag whose ref was moved at this time."""
    tx.run(
        "INSERT INTO hub_tag_objects (repository, name, id, target, at, content) VALUES (:repository, :name, :id, :target, :at, :content) "
        "ON CONFLICT (repository, name) DO UPDATE SET id = excluded.id, target = excluded.target, at = excluded.at, content = excluded.content",
        repository=held.id, name=shown.name, id=shown.id, target=shown.commit, at=at, content=content,
    )  # fmt: skip


def commit_contents(tx: Tx, held: Held, identities: Collection[str]) -> dict[str, bytes]:
    """Git's bytes of those of these commits that the repository has."""
    found: dict[str, bytes] = {}
    for places, words in in_groups(identities):
        rows = tx.rows(
            f"SELECT id, content FROM hub_commits WHERE repository = :repository AND id IN ({places})", repository=held.id, **words
        )
        found |= {row["id"]: bytes(row["content"]) for row in rows}
    return found


def all_commit_contents(tx: Tx, held: Held) -> dict[str, bytes]:
    rows = tx.rows("SELECT id, content FROM hub_commits WHERE repository = :repository", repository=held.id)
    return {row["id"]: bytes(row["content"]) for row in rows}


def tree_rows(tx: Tx, identities: Collection[str]) -> dict[str, list[TreeRow]]:
    """The entries of these trees as they are stored, in the order of their names: quicker than folders, for those who read thousands."""
    found: dict[str, list[TreeRow]] = {}
    for places, words in in_groups(identities):
        rows = tx.rows(f"SELECT id, entries FROM hub_trees WHERE id IN ({places})", **words)
        found |= {row["id"]: msgspec.msgpack.decode(row["entries"]) for row in rows}
    return found


def present_trees(tx: Tx, identities: Collection[str]) -> int:
    """How many of these trees there are."""
    return sum(int(tx.value(f"SELECT COUNT(*) FROM hub_trees WHERE id IN ({places})", **words)) for places, words in in_groups(identities))


def repository_ids(tx: Tx) -> set[str]:
    return {row["id"] for row in tx.rows("SELECT id FROM hub_repositories")}


def touch(tx: Tx, held: Held, now: str) -> None:
    """A push may bring commits that are long made; to a list of what is new, the repository changes now."""
    tx.run("UPDATE hub_repositories SET updated_at = :now WHERE id = :id AND updated_at < :now", now=now, id=held.id)
