"""SQL on large files: which repositories have held them, and who has proven to have their bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lilong.ground.access import Actor
from lilong.ground.db import Tx

from .groups import in_groups
from .repositories import Held


@dataclass(frozen=True, slots=True)
class Content:
    digest: str
    size: int  # bytes


def add_contents(tx: Tx, held: Held, sizes: Mapping[str, int]) -> int:
    """Bytes that the repository did not have before. What a mirror still waits for, no commit that names it makes its own."""
    more = 0
    waited_for: set[str] = set()
    if sizes:
        rows = tx.rows("SELECT digest FROM hub_mirror_files WHERE repository = :id AND present = 0", id=held.id)
        waited_for = {row["digest"] for row in rows}
    for digest, size in sizes.items():
        if digest not in waited_for and tx.run(
            "INSERT INTO hub_contents (digest, repository, size) VALUES (:digest, :repository, :size) ON CONFLICT (digest, repository) DO NOTHING",
            digest=digest, repository=held.id, size=size,
        ):  # fmt: skip
            more += size
    if more:
        tx.run("UPDATE hub_repositories SET used_bytes = used_bytes + :more WHERE id = :id", more=more, id=held.id)
    return more


def contents(tx: Tx, held: Held) -> list[Content]:
    rows = tx.rows("SELECT digest, size FROM hub_contents WHERE repository = :id ORDER BY size DESC, digest", id=held.id)
    return [Content(row["digest"], row["size"]) for row in rows]


def remove_contents(tx: Tx, held: Held, digests: Iterable[str]) -> None:
    for digest in digests:
        tx.run("DELETE FROM hub_contents WHERE repository = :id AND digest = :digest", id=held.id, digest=digest)
    recount(tx, held)


def recount(tx: Tx, held: Held) -> None:
    tx.run(
        "UPDATE hub_repositories SET used_bytes = (SELECT COALESCE(SUM(size), 0) FROM hub_contents WHERE repository = :id) WHERE id = :id",
        id=held.id,
    )


def in_repository(tx: Tx, held: Held, digest: str) -> bool:
    return tx.row("SELECT 1 FROM hub_contents WHERE digest = :digest AND repository = :id", digest=digest, id=held.id) is not None


def add_upload(tx: Tx, actor: Actor, digest: str, size: int, now: str) -> None:
    tx.run(
        "INSERT INTO hub_uploads (digest, user_name, size, at) VALUES (:digest, :user, :size, :at) "
        "ON CONFLICT (digest, user_name) DO UPDATE SET at = excluded.at",
        digest=digest, user=actor.user, size=size, at=now,
    )  # fmt: skip


def known_to(tx: Tx, actor: Actor, digests: Iterable[str], seen: tuple[str, Mapping[str, Any]]) -> set[str]:
    """Those of these digests whose bytes the actor has uploaded, or may read as a large file of some repository.

    A gated repository's files count as readable only for its own organisation: being let in is no licence to copy from server to server.
    """
    condition, parameters = seen
    known: set[str] = set()
    for digest in set(digests):
        uploaded = tx.row("SELECT 1 FROM hub_uploads WHERE digest = :digest AND user_name = :user", digest=digest, user=actor.user)
        if uploaded or tx.row(
            "SELECT 1 FROM hub_contents c JOIN hub_repositories r ON r.id = c.repository "
            f"WHERE c.digest = :digest AND ((r.private = 0 AND r.gated = '') OR {condition}) LIMIT 1",
            digest=digest, **parameters,
        ):  # fmt: skip
            known.add(digest)
    return known


def xet_hashes(tx: Tx, digests: Iterable[str], held: Held | None = None) -> dict[str, str]:
    """digest -> Xet hash of those files that are kept as Xet; with `held`, of those whose bytes this repository has.

    A tree may name what its repository does not have (a mirror's files that were not fetched yet): that must not lead to another's bytes.
    """
    within = "" if held is None else " AND EXISTS (SELECT 1 FROM hub_contents c WHERE c.digest = f.digest AND c.repository = :held)"
    given = {} if held is None else {"held": held.id}
    found: dict[str, str] = {}
    for among, values in in_groups(digests):
        rows = tx.rows(
            f"SELECT f.digest, MIN(f.hash) AS hash FROM hub_xet_files f WHERE f.digest IN ({among}){within} GROUP BY f.digest",
            **given,
            **values,
        )
        found |= {row["digest"]: row["hash"] for row in rows}
    return found
