"""SQL for putting plain blobs into xorbs."""

from __future__ import annotations

from lilong.ground.access import Actor
from lilong.ground.db import Tx


def plain_and_large(tx: Tx, least: int, after: str, limit: int) -> list[tuple[str, int]]:
    """(digest, bytes) of blobs that came by the hub and are in no xorbs yet, by digest."""
    rows = tx.rows(
        "SELECT p.digest, p.size FROM hub_plain p WHERE p.size >= :least AND p.digest > :after "
        "AND NOT EXISTS (SELECT 1 FROM hub_xet_files f WHERE f.digest = p.digest) ORDER BY p.digest LIMIT :limit",
        least=least, after=after, limit=limit,
    )  # fmt: skip
    return [(row["digest"], row["size"]) for row in rows]


def chunked_before(tx: Tx, before: str, limit: int) -> list[tuple[str, str]]:
    """(digest, when it came) of plain blobs that came before then and are in xorbs too."""
    rows = tx.rows(
        "SELECT p.digest, p.at FROM hub_plain p WHERE p.at <= :before "
        "AND EXISTS (SELECT 1 FROM hub_xet_files f WHERE f.digest = p.digest) ORDER BY p.at LIMIT :limit",
        before=before, limit=limit,
    )  # fmt: skip
    return [(row["digest"], row["at"]) for row in rows]


def uploaders(tx: Tx, digest: str) -> list[Actor]:
    return [Actor(row["user_name"]) for row in tx.rows("SELECT user_name FROM hub_uploads WHERE digest = :digest", digest=digest)]
