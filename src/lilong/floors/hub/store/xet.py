"""SQL on the Xet content store as it is written: xorbs, who sent them, files as runs of their chunks, and the chunks that are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lilong.floors.hub.xet.reader import Term
from lilong.floors.hub.xet.xorbs import Table
from lilong.ground.access import Actor
from lilong.ground.db import Tx

from .groups import in_groups

Seen = tuple[str, Mapping[str, Any]]  # the SQL condition of the organisations whose files the actor may read


@dataclass(frozen=True, slots=True)
class Xorb:
    hash: str
    size: int  # bytes as stored
    length: int  # bytes of the chunks' contents
    chunks: Table
    state: str  # live | gone
    touched_at: str

    @property
    def live(self) -> bool:
        return self.state == "live"


@dataclass(frozen=True, slots=True)
class XetFile:
    hash: str
    digest: str
    size: int  # bytes
    terms: tuple[Term, ...]


def may_act(tx: Tx, actor: Actor, now: str) -> bool:
    """Whether the user is not disabled, and the token by which they came neither revoked nor expired."""
    if not actor.user:
        return True
    user = tx.row("SELECT disabled_at FROM ground_users WHERE name = :name", name=actor.user)
    if user is None or user["disabled_at"] is not None:
        return False
    return actor.token is None or bool(
        tx.row(
            "SELECT 1 FROM ground_tokens WHERE id = :id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)",
            id=actor.token, now=now,
        )
    )  # fmt: skip


# --- xorbs --------------------------------------------------------------------------------------------------------------


def xorb(tx: Tx, hash: str) -> Xorb | None:
    return xorbs(tx, (hash,)).get(hash)


def xorbs(tx: Tx, hashes: Iterable[str]) -> dict[str, Xorb]:
    """Those of them that are known, collected ones too."""
    found: dict[str, Xorb] = {}
    for names, values in in_groups(hashes):
        for row in tx.rows(f"SELECT hash, size, length, chunks, state, touched_at FROM hub_xorbs WHERE hash IN ({names})", **values):
            table = Table(bytes(row["chunks"]))
            found[row["hash"]] = Xorb(row["hash"], row["size"], row["length"], table, row["state"], row["touched_at"])
    return found


def put_xorb(tx: Tx, xorb: Xorb) -> None:
    """Also where a xorb of this hash was collected, or is stored in other bytes now."""
    tx.run(
        "INSERT INTO hub_xorbs (hash, size, length, chunks, state, touched_at) VALUES (:hash, :size, :length, :chunks, :state, :at) "
        "ON CONFLICT (hash) DO UPDATE SET size = excluded.size, length = excluded.length, chunks = excluded.chunks, "
        "state = excluded.state, touched_at = excluded.touched_at",
        hash=xorb.hash, size=xorb.size, length=xorb.length, chunks=bytes(xorb.chunks), state=xorb.state, at=xorb.touched_at,
    )  # fmt: skip


def touch(tx: Tx, hashes: Iterable[str], now: str) -> int:
    """These are in use: nothing is collected that was touched lately. How many of them are live."""
    return sum(
        tx.run(f"UPDATE hub_xorbs SET touched_at = :now WHERE hash IN ({names}) AND state = 'live'", now=now, **values)
        for names, values in in_groups(hashes)
    )


def add_sender(tx: Tx, xorb: str, actor: Actor) -> None:
    """The actor has sent these bytes, so they had them."""
    tx.run(
        "INSERT INTO hub_xorb_uploads (xorb, user_name) VALUES (:xorb, :user) ON CONFLICT (xorb, user_name) DO NOTHING",
        xorb=xorb, user=actor.user,
    )  # fmt: skip


def unused_by(tx: Tx, actor: Actor) -> int:
    """Bytes of xorbs that the actor has sent and that no file uses."""
    return int(
        tx.value(
            "SELECT COALESCE(SUM(x.size), 0) FROM hub_xorb_uploads u JOIN hub_xorbs x ON x.hash = u.xorb "
            "WHERE u.user_name = :user AND x.state = 'live' AND NOT EXISTS (SELECT 1 FROM hub_xorb_files f WHERE f.xorb = u.xorb)",
            user=actor.user,
        )
    )  # fmt: skip


_READABLE = (
    "EXISTS (SELECT 1 FROM hub_xet_files f WHERE f.hash = x.file AND ("
    "EXISTS (SELECT 1 FROM hub_contents c JOIN hub_repositories r ON r.id = c.repository "
    "WHERE c.digest = f.digest AND ((r.private = 0 AND r.gated = '') OR {condition})) "
    "OR EXISTS (SELECT 1 FROM hub_bucket_files b JOIN hub_buckets r ON r.id = b.bucket "
    "WHERE b.xet_hash = f.hash AND (r.private = 0 OR {condition}))))"
)


def usable(tx: Tx, actor: Actor, hashes: Collection[str], seen: Seen) -> set[str]:
    """Those of these xorbs that the actor has sent, or may read as part of a file in some repository or bucket.

    `seen`: the condition on `r.organisation` under which the actor reads what is private.
    """
    condition, parameters = seen
    known: set[str] = set()
    for names, values in in_groups(hashes):
        rows = tx.rows(f"SELECT xorb FROM hub_xorb_uploads WHERE user_name = :user AND xorb IN ({names})", user=actor.user, **values)
        known |= {row["xorb"] for row in rows}
    for names, values in in_groups(set(hashes) - known):
        readable = _READABLE.format(condition=condition)
        rows = tx.rows(f"SELECT DISTINCT x.xorb FROM hub_xorb_files x WHERE x.xorb IN ({names}) AND {readable}", **values, **parameters)
        known |= {row["xorb"] for row in rows}
    return known


# --- files --------------------------------------------------------------------------------------------------------------


def decoded_terms(content: bytes) -> tuple[Term, ...]:
    return tuple(Term(*term) for term in msgspec.msgpack.decode(content))


def encoded_terms(terms: Sequence[Term]) -> bytes:
    return msgspec.msgpack.encode([[term.xorb, term.begin, term.end, term.length] for term in terms])


def files(tx: Tx, hashes: Iterable[str]) -> dict[str, XetFile]:
    found: dict[str, XetFile] = {}
    for names, values in in_groups(hashes):
        for row in tx.rows(f"SELECT hash, digest, size, terms FROM hub_xet_files WHERE hash IN ({names})", **values):
            found[row["hash"]] = XetFile(row["hash"], row["digest"], row["size"], decoded_terms(bytes(row["terms"])))
    return found


def put_files(tx: Tx, files: Sequence[XetFile], changed: Collection[str], now: str) -> None:
    """`changed`: hashes of those that are here with other terms. The terms of the last registration stand: they name what is live now."""
    for names, values in in_groups(changed):
        tx.run(f"DELETE FROM hub_xorb_files WHERE file IN ({names})", **values)
    tx.many(
        "INSERT INTO hub_xet_files (hash, digest, size, terms, created_at) VALUES (:hash, :digest, :size, :terms, :at) "
        "ON CONFLICT (hash) DO UPDATE SET terms = excluded.terms",
        ({"hash": f.hash, "digest": f.digest, "size": f.size, "terms": encoded_terms(f.terms), "at": now} for f in files),
    )
    tx.many(
        "INSERT INTO hub_xorb_files (xorb, file) VALUES (:xorb, :file) ON CONFLICT (xorb, file) DO NOTHING",
        ({"xorb": xorb, "file": file.hash} for file in files for xorb in sorted({term.xorb for term in file.terms})),
    )


def put_file(tx: Tx, file: XetFile, now: str) -> None:
    put_files(tx, (file,), (file.hash,), now)


def add_senders(tx: Tx, files: Iterable[XetFile], actor: Actor, now: str) -> None:
    """The actor has had the bytes of these files, and may name them in a commit."""
    tx.many(
        "INSERT INTO hub_uploads (digest, user_name, size, at) VALUES (:digest, :user, :size, :at) "
        "ON CONFLICT (digest, user_name) DO UPDATE SET at = excluded.at",
        ({"digest": digest, "user": actor.user, "size": size, "at": now} for digest, size in {f.digest: f.size for f in files}.items()),
    )


def organisation_of(tx: Tx, kind: str, identity: str) -> str | None:
    """Of a repository or a bucket; None where it has been deleted."""
    table = "hub_buckets" if kind == "bucket" else "hub_repositories"
    found: str | None = tx.value(f"SELECT organisation FROM {table} WHERE id = :id", id=identity)
    return found


def held_in(tx: Tx, kind: str, identity: str, files: Iterable[str]) -> set[str]:
    """Hashes of those of these files that a repository or a bucket holds already."""
    if kind == "bucket":
        query = "SELECT b.xet_hash AS hash FROM hub_bucket_files b WHERE b.bucket = :id AND b.xet_hash IN ({})"
    else:
        query = "SELECT f.hash FROM hub_xet_files f JOIN hub_contents c ON c.digest = f.digest WHERE c.repository = :id AND f.hash IN ({})"
    return {row["hash"] for names, values in in_groups(files) for row in tx.rows(query.format(names), id=identity, **values)}


def neighbours(tx: Tx, xorb: str, files: int) -> list[XetFile]:
    """A few of the files that have terms in a xorb, the newest first."""
    rows = tx.rows(
        "SELECT f.hash, f.digest, f.size, f.terms FROM hub_xorb_files x JOIN hub_xet_files f ON f.hash = x.file "
        "WHERE x.xorb = :xorb ORDER BY f.created_at DESC, f.hash LIMIT :files",
        xorb=xorb, files=files,
    )  # fmt: skip
    return [XetFile(row["hash"], row["digest"], row["size"], decoded_terms(bytes(row["terms"]))) for row in rows]


# --- chunks -------------------------------------------------------------------------------------------------------------


def add_chunks(tx: Tx, chunks: Iterable[tuple[str, str, int]]) -> None:
    """(hash, xorb, position) of chunks that clients ask for."""
    tx.many(
        "INSERT INTO hub_chunks (hash, xorb, position) VALUES (:hash, :xorb, :position) ON CONFLICT (hash, xorb) DO NOTHING",
        ({"hash": hash, "xorb": xorb, "position": position} for hash, xorb, position in chunks),
    )


def with_chunk(tx: Tx, hash: str, limit: int) -> list[str]:
    """Live xorbs that hold this chunk, those touched last first."""
    rows = tx.rows(
        "SELECT c.xorb FROM hub_chunks c JOIN hub_xorbs x ON x.hash = c.xorb WHERE c.hash = :hash AND x.state = 'live' "
        "ORDER BY x.touched_at DESC, c.xorb LIMIT :limit",
        hash=hash, limit=limit,
    )  # fmt: skip
    return [row["xorb"] for row in rows]
