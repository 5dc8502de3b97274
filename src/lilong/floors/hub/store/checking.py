"""SQL that reads everything, for checking."""

from __future__ import annotations

from collections.abc import Iterator

from lilong.ground.db import Tx

from .commits import _COMMIT, Commit


def folder_ids(tx: Tx) -> list[str]:
    return [row["id"] for row in tx.rows("SELECT id FROM hub_trees ORDER BY id")]


def commits(tx: Tx) -> list[tuple[str, Commit, bytes]]:
    """(repository's name, commit, git's bytes) of every commit."""
    rows = tx.rows(
        "SELECT r.organisation, r.name, c.* FROM hub_commits c JOIN hub_repositories r ON r.id = c.repository ORDER BY r.organisation, r.name, c.at"
    )
    return [
        (f"{row['organisation']}/{row['name']}", Commit(*(row[key] for key in _COMMIT.split(", "))), bytes(row["content"])) for row in rows
    ]


def inline_contents(tx: Tx) -> Iterator[tuple[str, bytes]]:
    for row in tx.rows("SELECT digest FROM hub_inline ORDER BY digest"):
        yield row["digest"], bytes(tx.value("SELECT content FROM hub_inline WHERE digest = :digest", digest=row["digest"]))


def manifests(tx: Tx) -> dict[str, str]:
    """tree -> manifest."""
    return {row["tree"]: row["manifest"] for row in tx.rows("SELECT tree, manifest FROM hub_manifests")}


def dangling_refs(tx: Tx) -> list[tuple[str, str, str]]:
    """(repository's name, ref, target) of every ref whose commit is not there."""
    rows = tx.rows(
        "SELECT r.organisation, r.name AS short, f.name, f.target FROM hub_refs f JOIN hub_repositories r ON r.id = f.repository "
        "WHERE NOT EXISTS (SELECT 1 FROM hub_commits c WHERE c.repository = f.repository AND c.id = f.target)"
    )
    return [(f"{row['organisation']}/{row['short']}", row["name"], row["target"]) for row in rows]
