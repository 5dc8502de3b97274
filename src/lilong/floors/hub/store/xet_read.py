"""SQL on the Xet content store as it is read."""

from __future__ import annotations

from collections.abc import Iterable

from lilong.floors.hub.xet.xorbs import Table
from lilong.ground.db import Row, Tx

from .groups import in_groups
from .xet import XetFile, Xorb, decoded_terms

_FILE = "hash, digest, size, terms"


def _file(row: Row | None) -> XetFile | None:
    return None if row is None else XetFile(row["hash"], row["digest"], row["size"], decoded_terms(bytes(row["terms"])))


def by_digest(tx: Tx, digest: str) -> XetFile | None:
    """Clients may have cut the same bytes in more ways than one: the same one always."""
    return _file(tx.row(f"SELECT {_FILE} FROM hub_xet_files WHERE digest = :digest ORDER BY hash LIMIT 1", digest=digest))


def by_hash(tx: Tx, hash: str) -> XetFile | None:
    return _file(tx.row(f"SELECT {_FILE} FROM hub_xet_files WHERE hash = :hash", hash=hash))


def size_of(tx: Tx, digest: str) -> int | None:
    size: int | None = tx.value("SELECT size FROM hub_xet_files WHERE digest = :digest LIMIT 1", digest=digest)
    return size


def tables(tx: Tx, hashes: Iterable[str]) -> dict[str, Table]:
    """Where the chunks of these xorbs lie; without those that nobody knows."""
    found: dict[str, Table] = {}
    for names, values in in_groups(hashes):
        for row in tx.rows(f"SELECT hash, chunks FROM hub_xorbs WHERE hash IN ({names})", **values):
            found[row["hash"]] = Table(bytes(row["chunks"]))
    return found


def in_repository(tx: Tx, file: XetFile, repository: str) -> bool:
    row = tx.row("SELECT 1 FROM hub_contents WHERE digest = :digest AND repository = :id", digest=file.digest, id=repository)
    return row is not None


def in_bucket(tx: Tx, file: XetFile, bucket: str) -> bool:
    return tx.row("SELECT 1 FROM hub_bucket_files WHERE xet_hash = :hash AND bucket = :id LIMIT 1", hash=file.hash, id=bucket) is not None


def uploaded_by(tx: Tx, file: XetFile, user: str) -> bool:
    return tx.row("SELECT 1 FROM hub_uploads WHERE digest = :digest AND user_name = :user", digest=file.digest, user=user) is not None


def mark_damaged(tx: Tx, hash: str) -> bool:
    """No new file is built upon it, and the same xorb sent again takes its place; whether that is news."""
    return bool(tx.run("UPDATE hub_xorbs SET state = 'damaged' WHERE hash = :hash AND state = 'live'", hash=hash))


def damaged(tx: Tx, limit: int) -> list[str]:
    return [row["hash"] for row in tx.rows("SELECT hash FROM hub_xorbs WHERE state = 'damaged' ORDER BY hash LIMIT :limit", limit=limit)]


def mark_whole(tx: Tx, hash: str) -> None:
    """It was read to its end, and is as it was."""
    tx.run("UPDATE hub_xorbs SET state = 'live' WHERE hash = :hash AND state = 'damaged'", hash=hash)


def page_of_xorbs(tx: Tx, after: str, limit: int) -> list[Xorb]:
    rows = tx.rows(
        "SELECT hash, size, length, chunks, state, touched_at FROM hub_xorbs WHERE hash > :after AND state <> 'gone' ORDER BY hash LIMIT :limit",
        after=after, limit=limit,
    )  # fmt: skip
    return [Xorb(row["hash"], row["size"], row["length"], Table(bytes(row["chunks"])), row["state"], row["touched_at"]) for row in rows]


def page_of_files(tx: Tx, after: str, limit: int) -> list[XetFile]:
    rows = tx.rows(f"SELECT {_FILE} FROM hub_xet_files WHERE hash > :after ORDER BY hash LIMIT :limit", after=after, limit=limit)
    return [XetFile(row["hash"], row["digest"], row["size"], decoded_terms(bytes(row["terms"]))) for row in rows]
