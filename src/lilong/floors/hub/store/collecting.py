"""SQL on what is there, and what of it nothing refers to any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from lilong.ground.blobs import Blob
from lilong.ground.db import Tx

from .groups import in_groups

KINDS = ("commit", "content", "tree", "inline", "file", "plain", "xorb")
_RUN = ("run", "last")
_PAGE = 2000  # rows read at a time


def came(tx: Tx, blob: Blob, now: str) -> None:
    """These bytes came by the hub: `blob` is the answer of the house's `put`. What was there before is somebody else's."""
    if blob.fresh:
        tx.run(
            "INSERT INTO hub_plain (digest, size, at) VALUES (:digest, :size, :at) ON CONFLICT (digest) DO UPDATE SET at = excluded.at",
            digest=blob.digest, size=blob.size, at=now,
        )  # fmt: skip


# --- what there is ------------------------------------------------------------------------------------------------------


def all_refs(tx: Tx) -> set[tuple[str, str]]:
    """(repository, commit) of every branch, tag and pull request."""
    return {(row["repository"], row["target"]) for row in tx.rows("SELECT repository, target FROM hub_refs")}


def all_commits(tx: Tx) -> Iterator[tuple[str, str, str, bytes]]:
    """(repository, id, tree, git's bytes), in pages: there may be millions."""
    repository, identity = "", ""
    while True:
        rows = tx.rows(
            "SELECT repository, id, tree, content FROM hub_commits WHERE repository > :repository OR (repository = :repository AND id > :id) "
            "ORDER BY repository, id LIMIT :page",
            repository=repository, id=identity, page=_PAGE,
        )  # fmt: skip
        for row in rows:
            yield row["repository"], row["id"], row["tree"], bytes(row["content"])
        if len(rows) < _PAGE:
            return
        repository, identity = rows[-1]["repository"], rows[-1]["id"]


def commit(tx: Tx, repository: str, identity: str) -> tuple[str, bytes] | None:
    """Its tree and git's bytes."""
    row = tx.row("SELECT tree, content FROM hub_commits WHERE repository = :repository AND id = :id", repository=repository, id=identity)
    return None if row is None else (row["tree"], bytes(row["content"]))


def all_trees(tx: Tx) -> set[str]:
    return {row["id"] for row in tx.rows("SELECT id FROM hub_trees")}


def all_contents(tx: Tx) -> set[tuple[str, str]]:
    """(repository, digest) of every large file that a repository has ever held."""
    return {(row["repository"], row["digest"]) for row in tx.rows("SELECT repository, digest FROM hub_contents")}


def all_inline(tx: Tx) -> set[str]:
    return {row["digest"] for row in tx.rows("SELECT digest FROM hub_inline")}


def all_files(tx: Tx) -> list[tuple[str, str]]:
    """(hash, digest) of Xet files."""
    return [(row["hash"], row["digest"]) for row in tx.rows("SELECT hash, digest FROM hub_xet_files")]


def all_plain(tx: Tx) -> set[str]:
    return {row["digest"] for row in tx.rows("SELECT digest FROM hub_plain")}


def in_buckets(tx: Tx) -> tuple[set[str], set[str]]:
    """Xet hashes and digests of the files in buckets."""
    rows = tx.rows("SELECT DISTINCT xet_hash, digest FROM hub_bucket_files")
    return {row["xet_hash"] for row in rows}, {row["digest"] for row in rows}


def all_xorbs(tx: Tx) -> set[str]:
    return {row["hash"] for row in tx.rows("SELECT hash FROM hub_xorbs WHERE state <> 'gone'")}


def all_uses(tx: Tx) -> list[tuple[str, str]]:
    """(xorb, file)"""
    return [(row["xorb"], row["file"]) for row in tx.rows("SELECT xorb, file FROM hub_xorb_files")]


def young(tx: Tx, kind: str, after: str) -> set[str]:
    """What has come, or was sent, used or named in an answer since: it stays, whatever refers to it."""
    uploaded = "digest IN (SELECT digest FROM hub_uploads WHERE at > :after)"
    found = {
        "inline": "SELECT digest AS id FROM hub_inline WHERE at > :after",
        "file": f"SELECT hash AS id FROM hub_xet_files WHERE created_at > :after OR {uploaded}",
        "plain": f"SELECT digest AS id FROM hub_plain WHERE at > :after OR {uploaded}",
        "xorb": "SELECT hash AS id FROM hub_xorbs WHERE touched_at > :after",
    }.get(kind)
    return {row["id"] for row in tx.rows(found, after=after)} if found else set()


def sizes(tx: Tx, kind: str, ids: Collection[str]) -> int:
    """Bytes that go with these: those of xorbs as stored, of plain blobs and of small files."""
    table, key = {"xorb": ("hub_xorbs", "hash"), "plain": ("hub_plain", "digest"), "inline": ("hub_inline", "digest")}[kind]
    return sum(
        int(tx.value(f"SELECT COALESCE(SUM(size), 0) FROM {table} WHERE {key} IN ({names})", **values)) for names, values in in_groups(ids)
    )


# --- since when ---------------------------------------------------------------------------------------------------------


def last_run(tx: Tx) -> str:
    found: str | None = tx.value("SELECT since FROM hub_garbage WHERE kind = :kind AND id = :id", kind=_RUN[0], id=_RUN[1])
    return found or ""


def ran(tx: Tx, now: str) -> None:
    tx.run(
        "INSERT INTO hub_garbage (kind, id, since) VALUES (:kind, :id, :now) ON CONFLICT (kind, id) DO UPDATE SET since = excluded.since",
        kind=_RUN[0], id=_RUN[1], now=now,
    )  # fmt: skip


def known_garbage(tx: Tx, kind: str) -> dict[str, str]:
    """id -> since."""
    return {row["id"]: row["since"] for row in tx.rows("SELECT id, since FROM hub_garbage WHERE kind = :kind", kind=kind)}


def add_garbage(tx: Tx, kind: str, ids: Iterable[str], now: str) -> None:
    tx.many(
        "INSERT INTO hub_garbage (kind, id, since) VALUES (:kind, :id, :now) ON CONFLICT (kind, id) DO NOTHING",
        ({"kind": kind, "id": identity, "now": now} for identity in ids),
    )


def forget_garbage(tx: Tx, kind: str, ids: Iterable[str]) -> None:
    for names, values in in_groups(ids):
        tx.run(f"DELETE FROM hub_garbage WHERE kind = :kind AND id IN ({names})", kind=kind, **values)


# --- away with it -------------------------------------------------------------------------------------------------------


def delete_commit(tx: Tx, repository: str, identity: str) -> None:
    given = {"repository": repository, "id": identity}
    row = tx.row("SELECT line, depth FROM hub_commits WHERE repository = :repository AND id = :id", **given)
    if row is None:
        return
    tx.run("DELETE FROM hub_commits WHERE repository = :repository AND id = :id", **given)
    if row["depth"] >= 0:
        tx.run(
            "DELETE FROM hub_changes WHERE repository = :repository AND line = :line AND depth = :depth",
            repository=repository, line=row["line"], depth=row["depth"],
        )  # fmt: skip


def delete_content(tx: Tx, repository: str, digest: str) -> None:
    tx.run("DELETE FROM hub_contents WHERE repository = :repository AND digest = :digest", repository=repository, digest=digest)


def recount(tx: Tx, repositories: Iterable[str]) -> None:
    for repository in repositories:
        tx.run(
            "UPDATE hub_repositories SET used_bytes = (SELECT COALESCE(SUM(size), 0) FROM hub_contents WHERE repository = :id) WHERE id = :id",
            id=repository,
        )


def delete_tree(tx: Tx, identity: str) -> bool:
    """Not while a commit has it."""
    gone = tx.run(
        "DELETE FROM hub_trees WHERE id = :id AND NOT EXISTS (SELECT 1 FROM hub_commits WHERE hub_commits.tree = hub_trees.id)", id=identity
    )
    if gone:
        tx.run("DELETE FROM hub_manifests WHERE tree = :id", id=identity)
    return bool(gone)


def delete_inline(tx: Tx, digest: str, before: str) -> bool:
    return bool(tx.run("DELETE FROM hub_inline WHERE digest = :digest AND at <= :before", digest=digest, before=before))


def delete_uploads(tx: Tx, digest: str, before: str) -> None:
    """To have had bytes long ago proves nothing once they are not here."""
    tx.run("DELETE FROM hub_uploads WHERE digest = :digest AND at <= :before", digest=digest, before=before)


def held_otherwise(tx: Tx, digest: str) -> bool:
    """Whether a repository, a bucket, an upload or a comment still names these bytes."""
    return any(
        tx.row(f"SELECT 1 FROM {table} WHERE digest = :digest LIMIT 1", digest=digest) is not None
        for table in ("hub_contents", "hub_bucket_files", "hub_uploads", "hub_attachments")
    )


def delete_file(tx: Tx, hash: str, before: str) -> bool:
    """A Xet file that nothing names: not by its digest, not by its hash."""
    digest = tx.value("SELECT digest FROM hub_xet_files WHERE hash = :hash AND created_at <= :before", hash=hash, before=before)
    if digest is None or held_otherwise(tx, digest):
        return False
    if tx.row("SELECT 1 FROM hub_bucket_files WHERE xet_hash = :hash LIMIT 1", hash=hash) is not None:
        return False
    tx.run("DELETE FROM hub_xorb_files WHERE file = :hash", hash=hash)
    tx.run("DELETE FROM hub_xet_files WHERE hash = :hash", hash=hash)
    return True


def plain_at(tx: Tx, digest: str) -> str | None:
    at: str | None = tx.value("SELECT at FROM hub_plain WHERE digest = :digest", digest=digest)
    return at


def forget_plain(tx: Tx, digest: str) -> None:
    tx.run("DELETE FROM hub_plain WHERE digest = :digest", digest=digest)


def bury_xorb(tx: Tx, hash: str, before: str) -> bool:
    """Leave a tombstone in its place, if no file has terms in it. Its bytes go afterwards."""
    gone = tx.run(
        "UPDATE hub_xorbs SET state = 'gone', chunks = :none WHERE hash = :hash AND state <> 'gone' AND touched_at <= :before "
        "AND NOT EXISTS (SELECT 1 FROM hub_xorb_files WHERE hub_xorb_files.xorb = hub_xorbs.hash)",
        hash=hash, before=before, none=b"",
    )  # fmt: skip
    if gone:
        tx.run("DELETE FROM hub_chunks WHERE xorb = :hash", hash=hash)
        tx.run("DELETE FROM hub_xorb_uploads WHERE xorb = :hash", hash=hash)
    return bool(gone)


def states(tx: Tx, hashes: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for names, values in in_groups(hashes):
        found |= {row["hash"]: row["state"] for row in tx.rows(f"SELECT hash, state FROM hub_xorbs WHERE hash IN ({names})", **values)}
    return found
