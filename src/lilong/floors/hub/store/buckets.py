"""SQL on buckets and their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lilong.ground.access import Actor
from lilong.ground.db import Row, Tx

from .groups import in_groups

_TOGETHER = 500  # rows fetched at once on the way through a folder


@dataclass(frozen=True, slots=True)
class Bucket:
    id: str
    organisation: str
    short: str
    private: bool
    files: int
    bytes: int
    created_by: str
    created_at: str

    @property
    def name(self) -> str:
        return f"{self.organisation}/{self.short}"


@dataclass(frozen=True, slots=True)
class BucketFile:
    path: str
    xet_hash: str
    digest: str
    size: int  # bytes
    mtime: str  # "" where the client gave none
    content_type: str
    uploaded_at: str


@dataclass(frozen=True, slots=True)
class BucketFolder:
    path: str
    uploaded_at: str


_BUCKET = "b.id, b.organisation, b.name, b.private, b.files, b.bytes, b.created_by, b.created_at"
_FILE = "path, xet_hash, digest, size, mtime, content_type, uploaded_at"


def _bucket(row: Row) -> Bucket:
    return Bucket(
        row["id"], row["organisation"], row["name"], bool(row["private"]), int(row["files"]), int(row["bytes"]), row["created_by"], row["created_at"]
    )  # fmt: skip


def _file(row: Row) -> BucketFile:
    return BucketFile(*(row[key] for key in _FILE.split(", ")))


def bucket(tx: Tx, name: str) -> Bucket | None:
    """By its name, or by one that it had before."""
    organisation, _, short = name.partition("/")
    row = tx.row(f"SELECT {_BUCKET} FROM hub_buckets b WHERE b.organisation = :o AND b.name = :n", o=organisation, n=short)
    if row is None:
        row = tx.row(
            f"SELECT {_BUCKET} FROM hub_buckets b JOIN hub_bucket_redirects r ON r.bucket = b.id WHERE r.organisation = :o AND r.name = :n",
            o=organisation, n=short,
        )  # fmt: skip
    return None if row is None else _bucket(row)


def same_but_for_case(tx: Tx, name: str) -> str | None:
    organisation, _, short = name.partition("/")
    found = tx.value("SELECT name FROM hub_buckets WHERE organisation = :o AND lower(name) = lower(:n)", o=organisation, n=short)
    return None if found is None else f"{organisation}/{found}"


def add(tx: Tx, new: Bucket) -> None:
    tx.run(
        "INSERT INTO hub_buckets (id, organisation, name, private, created_by, created_at) VALUES (:id, :o, :n, :private, :by, :at)",
        id=new.id, o=new.organisation, n=new.short, private=int(new.private), by=new.created_by, at=new.created_at,
    )  # fmt: skip
    tx.run("DELETE FROM hub_bucket_redirects WHERE organisation = :o AND name = :n", o=new.organisation, n=new.short)


def delete(tx: Tx, bucket: Bucket) -> None:
    """The bytes stay until they are collected."""
    tx.run("DELETE FROM hub_bucket_files WHERE bucket = :id", id=bucket.id)
    tx.run("DELETE FROM hub_bucket_redirects WHERE bucket = :id", id=bucket.id)
    tx.run("DELETE FROM hub_buckets WHERE id = :id", id=bucket.id)


def set_private(tx: Tx, bucket: Bucket, private: bool) -> None:
    tx.run("UPDATE hub_buckets SET private = :private WHERE id = :id", private=int(private), id=bucket.id)


def move(tx: Tx, bucket: Bucket, name: str) -> None:
    organisation, _, short = name.partition("/")
    tx.run("DELETE FROM hub_bucket_redirects WHERE organisation = :o AND name = :n", o=organisation, n=short)
    tx.run("UPDATE hub_buckets SET organisation = :o, name = :n WHERE id = :id", o=organisation, n=short, id=bucket.id)
    tx.run(
        "INSERT INTO hub_bucket_redirects (organisation, name, bucket) VALUES (:o, :n, :id) "
        "ON CONFLICT (organisation, name) DO UPDATE SET bucket = excluded.bucket",
        o=bucket.organisation, n=bucket.short, id=bucket.id,
    )  # fmt: skip


def listed(tx: Tx, organisation: str, seen: tuple[str, Mapping[str, Any]], search: str, after: str, limit: int) -> list[Bucket]:
    """By name. `seen`: the condition on `b.organisation` (and `b.name`) under which the actor reads what is private."""
    condition, parameters = seen
    pattern = search.lower()
    for sign in "!%_":
        pattern = pattern.replace(sign, "!" + sign)
    rows = tx.rows(
        f"SELECT {_BUCKET} FROM hub_buckets b WHERE b.organisation = :o AND (b.private = 0 OR {condition}) AND b.name > :after "
        "AND lower(b.name) LIKE :pattern ESCAPE '!' ORDER BY b.name LIMIT :limit",
        o=organisation, after=after, pattern=f"%{pattern}%", limit=limit, **parameters,
    )  # fmt: skip
    return [_bucket(row) for row in rows]


# --- files --------------------------------------------------------------------------------------------------------------


def _ordered(tx: Tx) -> str:
    """Paths by their bytes, whatever the database's own order of words is: what is in a folder stands together then."""
    return 'path COLLATE "C"' if tx.dialect == "postgresql" else "path"


def file(tx: Tx, bucket: Bucket, path: str) -> BucketFile | None:
    row = tx.row(f"SELECT {_FILE} FROM hub_bucket_files WHERE bucket = :id AND path = :path", id=bucket.id, path=path)
    return None if row is None else _file(row)


def files(tx: Tx, bucket: Bucket, paths: Iterable[str]) -> dict[str, BucketFile]:
    found: dict[str, BucketFile] = {}
    for names, values in in_groups(paths):
        rows = tx.rows(f"SELECT {_FILE} FROM hub_bucket_files WHERE bucket = :id AND path IN ({names})", id=bucket.id, **values)
        found |= {row["path"]: _file(row) for row in rows}
    return found


def digests(tx: Tx, bucket: Bucket) -> dict[str, str]:
    """Of its files: digest -> a path."""
    rows = tx.rows("SELECT digest, MIN(path) AS path FROM hub_bucket_files WHERE bucket = :id GROUP BY digest", id=bucket.id)
    return {row["digest"]: row["path"] for row in rows}


def below(tx: Tx, bucket: Bucket, folder: str, after: str, limit: int) -> list[BucketFile]:
    """Files in a folder ("" for all) and in those below it, by path, behind `after`."""
    path = _ordered(tx)
    first = f"{folder}/" if folder else ""
    given: dict[str, Any] = {"id": bucket.id, "limit": limit, "after": max(after, first)}
    where = [f"bucket = :id AND {path} > :after"]
    if folder:
        where.append(f"{path} < :end")
        given["end"] = f"{folder}0"  # the character behind the slash
    rows = tx.rows(f"SELECT {_FILE} FROM hub_bucket_files WHERE {' AND '.join(where)} ORDER BY {path} LIMIT :limit", **given)
    return [_file(row) for row in rows]


def end_of(folder: str) -> str:
    """A mark behind all that is in a folder, and before what comes after it: no path has this character."""
    return f"{folder}/\U0010ffff"


def right_in(tx: Tx, bucket: Bucket, folder: str, after: str, limit: int) -> list[BucketFile | BucketFolder]:
    """What lies right in a folder, by path: a folder in it costs one look, however much it holds."""
    prefix = f"{folder}/" if folder else ""
    found: list[BucketFile | BucketFolder] = []
    mark = after
    while len(found) < limit:
        some = below(tx, bucket, folder, mark, min(_TOGETHER, limit - len(found) + 1))
        if not some:
            break
        for one in some:
            inner, slash, _ = one.path[len(prefix) :].partition("/")
            if slash:
                found.append(BucketFolder(prefix + inner, one.uploaded_at))
                mark = end_of(prefix + inner)
                break
            found.append(one)
            mark = one.path
            if len(found) >= limit:
                break
    return found


def put(tx: Tx, bucket: Bucket, file: BucketFile) -> None:
    tx.run(
        "INSERT INTO hub_bucket_files (bucket, path, xet_hash, digest, size, mtime, content_type, uploaded_at) "
        "VALUES (:bucket, :path, :xet_hash, :digest, :size, :mtime, :content_type, :at) ON CONFLICT (bucket, path) DO UPDATE SET "
        "xet_hash = excluded.xet_hash, digest = excluded.digest, size = excluded.size, mtime = excluded.mtime, "
        "content_type = excluded.content_type, uploaded_at = excluded.uploaded_at",
        bucket=bucket.id, path=file.path, xet_hash=file.xet_hash, digest=file.digest, size=file.size, mtime=file.mtime,
        content_type=file.content_type, at=file.uploaded_at,
    )  # fmt: skip


def remove(tx: Tx, bucket: Bucket, path: str) -> None:
    tx.run("DELETE FROM hub_bucket_files WHERE bucket = :id AND path = :path", id=bucket.id, path=path)


def count(tx: Tx, bucket: Bucket, files: int, size: int) -> None:
    """So many files and bytes more."""
    tx.run("UPDATE hub_buckets SET files = files + :files, bytes = bytes + :size WHERE id = :id", files=files, size=size, id=bucket.id)


# --- where bytes are known from -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    hash: str
    digest: str
    size: int


def of_hashes(tx: Tx, hashes: Iterable[str]) -> dict[str, Known]:
    """Those of these Xet files that are here, whoever sent them."""
    found: dict[str, Known] = {}
    for names, values in in_groups(hashes):
        for row in tx.rows(f"SELECT hash, digest, size FROM hub_xet_files WHERE hash IN ({names})", **values):
            found[row["hash"]] = Known(row["hash"], row["digest"], row["size"])
    return found


def proven(tx: Tx, actor: Actor, known: Known, seen: tuple[str, Mapping[str, Any]]) -> bool:
    """Whether the actor has sent these bytes, or may read them in some repository or bucket (`seen`: on `r.organisation`)."""
    condition, parameters = seen
    if actor.user and tx.row("SELECT 1 FROM hub_uploads WHERE digest = :d AND user_name = :u", d=known.digest, u=actor.user) is not None:
        return True
    return (
        tx.row(
            "SELECT 1 FROM hub_contents c JOIN hub_repositories r ON r.id = c.repository "
            f"WHERE c.digest = :digest AND ((r.private = 0 AND r.gated = '') OR {condition}) LIMIT 1",
            digest=known.digest, **parameters,
        ) is not None
        or tx.row(
            f"SELECT 1 FROM hub_bucket_files f JOIN hub_buckets r ON r.id = f.bucket WHERE f.xet_hash = :hash AND (r.private = 0 OR {condition}) LIMIT 1",
            hash=known.hash, **parameters,
        ) is not None
    )  # fmt: skip


def holds(tx: Tx, bucket: Bucket, xet_hash: str) -> bool:
    return tx.row("SELECT 1 FROM hub_bucket_files WHERE bucket = :id AND xet_hash = :hash LIMIT 1", id=bucket.id, hash=xet_hash) is not None
