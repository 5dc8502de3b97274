"""SQL on imports, mirrors and what other houses have signed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lilong.floors.hub.contract import Kind
from lilong.ground.db import Row, Tx

OPEN = ("requested", "running")


@dataclass(frozen=True, slots=True)
class Import:
    """One fetch of a repository from another hub. `mode`: copy, or mirror (large files stay away until somebody reads them)."""

    id: str
    mode: str
    kind: Kind
    name: str
    private: bool
    endpoint: str
    source: str
    revision: str
    pinned: str
    excluded: tuple[str, ...]
    with_token: bool
    state: str  # requested | running | done | failed | cancelled
    stage: str  # resolve | list | fetch | commit
    error: str
    commit: str
    manifest: str
    statement: str
    asked_by: str
    created_at: str
    updated_at: str

    @property
    def organisation(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class File:
    path: str
    size: int  # bytes
    git_id: str
    sha256: str  # as the source says; "" for files that git holds itself
    digest: str = ""  # of the bytes here; "" while they are not
    received: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    files: int
    files_done: int
    bytes: int
    bytes_done: int


def _import(row: Row) -> Import:
    return Import(
        row["id"], row["mode"], Kind(row["kind"]), row["name"], bool(row["private"]), row["endpoint"], row["source"], row["revision"],
        row["pinned"], tuple(json.loads(row["excluded"])), bool(row["with_token"]), row["state"], row["stage"], row["error"], row["made"],
        row["manifest"], row["statement"], row["asked_by"], row["created_at"], row["updated_at"],
    )  # fmt: skip


def add(tx: Tx, new: Import) -> None:
    tx.run(
        "INSERT INTO hub_imports (id, mode, kind, organisation, name, private, endpoint, source, revision, pinned, excluded, with_token, state, "
        "stage, error, made, manifest, statement, asked_by, created_at, updated_at) VALUES (:id, :mode, :kind, :organisation, :name, :private, "
        ":endpoint, :source, :revision, :pinned, :excluded, :with_token, :state, :stage, :error, :made, :manifest, :statement, :by, :at, :at)",
        id=new.id, mode=new.mode, kind=new.kind.value, organisation=new.organisation, name=new.name, private=int(new.private),
        endpoint=new.endpoint, source=new.source, revision=new.revision, pinned=new.pinned, excluded=json.dumps(list(new.excluded)),
        with_token=int(new.with_token), state=new.state, stage=new.stage, error=new.error, made=new.commit, manifest=new.manifest,
        statement=new.statement, by=new.asked_by, at=new.created_at,
    )  # fmt: skip


def get(tx: Tx, identity: str) -> Import | None:
    row = tx.row("SELECT * FROM hub_imports WHERE id = :id", id=identity)
    return None if row is None else _import(row)


def listed(tx: Tx, seen: tuple[str, Mapping[str, Any]], limit: int, before: str = "") -> list[Import]:
    condition, parameters = seen
    rows = tx.rows(
        f"SELECT * FROM hub_imports i WHERE {condition} AND (:before = '' OR i.id < :before) ORDER BY i.id DESC LIMIT :limit",
        before=before, limit=limit, **parameters,
    )  # fmt: skip
    return [_import(row) for row in rows]


def unfinished(tx: Tx) -> list[str]:
    return [row["id"] for row in tx.rows("SELECT id FROM hub_imports WHERE state IN ('requested', 'running') ORDER BY created_at, id")]


def unfinished_of(tx: Tx, kind: Kind, name: str) -> Import | None:
    row = tx.row(
        "SELECT * FROM hub_imports WHERE kind = :kind AND name = :name AND state IN ('requested', 'running')", kind=kind.value, name=name
    )
    return None if row is None else _import(row)


def update(tx: Tx, identity: str, now: str, **changed: str) -> int:
    """Change columns of an import that is not over; 0 where it is."""
    known = {"pinned", "state", "stage", "error", "made", "manifest", "statement"}
    assert changed.keys() <= known
    return tx.run(
        f"UPDATE hub_imports SET {', '.join(f'{column} = :{column}' for column in changed)}, updated_at = :now "
        "WHERE id = :id AND state IN ('requested', 'running')",
        id=identity, now=now, **changed,
    )  # fmt: skip


def again(tx: Tx, identity: str, now: str) -> int:
    return tx.run(
        "UPDATE hub_imports SET state = 'requested', error = '', updated_at = :now WHERE id = :id AND state IN ('failed', 'cancelled')",
        id=identity, now=now,
    )  # fmt: skip


def set_files(tx: Tx, identity: str, files: Iterable[File]) -> None:
    """Idempotent: what has come already stays."""
    tx.many(
        "INSERT INTO hub_import_files (import, path, size, git_id, sha256, digest, received) "
        "VALUES (:import, :path, :size, :git_id, :sha256, '', 0) ON CONFLICT (import, path) DO NOTHING",
        ({"import": identity, "path": f.path, "size": f.size, "git_id": f.git_id, "sha256": f.sha256} for f in files),
    )


def files(tx: Tx, identity: str) -> list[File]:
    rows = tx.rows("SELECT * FROM hub_import_files WHERE import = :id ORDER BY path", id=identity)
    return [File(row["path"], row["size"], row["git_id"], row["sha256"], row["digest"], row["received"]) for row in rows]


def set_received(tx: Tx, identity: str, path: str, received: int, digest: str = "") -> None:
    tx.run(
        "UPDATE hub_import_files SET received = :received, digest = CASE WHEN :digest = '' THEN digest ELSE :digest END WHERE import = :id AND path = :path",
        id=identity, path=path, received=received, digest=digest,
    )  # fmt: skip


def progress(tx: Tx, identity: str) -> Progress:
    row = tx.row(
        "SELECT COUNT(*) AS files, COALESCE(SUM(size), 0) AS bytes, COALESCE(SUM(CASE WHEN digest <> '' THEN 1 ELSE 0 END), 0) AS files_done, "
        "COALESCE(SUM(CASE WHEN digest <> '' THEN size ELSE received END), 0) AS bytes_done FROM hub_import_files WHERE import = :id",
        id=identity,
    )
    assert row is not None
    return Progress(int(row["files"]), int(row["files_done"]), int(row["bytes"]), int(row["bytes_done"]))


# --- mirrors ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mirror:
    repository: str  # id of its row
    endpoint: str
    source: str
    revision: str
    pinned: str
    excluded: tuple[str, ...]
    import_: str
    refreshed_at: str


@dataclass(frozen=True, slots=True)
class Away:
    """A large file of a mirror: where its bytes are to be had, and whether they have come."""

    repository: str
    digest: str
    size: int
    path: str
    pinned: str
    present: bool


def set_mirror(tx: Tx, mirror: Mirror) -> None:
    tx.run(
        "INSERT INTO hub_mirrors (repository, endpoint, source, revision, pinned, excluded, import, refreshed_at) "
        "VALUES (:repository, :endpoint, :source, :revision, :pinned, :excluded, :import, :at) ON CONFLICT (repository) DO UPDATE SET "
        "endpoint = excluded.endpoint, source = excluded.source, revision = excluded.revision, pinned = excluded.pinned, "
        "excluded = excluded.excluded, import = excluded.import, refreshed_at = excluded.refreshed_at",
        repository=mirror.repository, endpoint=mirror.endpoint, source=mirror.source, revision=mirror.revision, pinned=mirror.pinned,
        excluded=json.dumps(list(mirror.excluded)), at=mirror.refreshed_at, **{"import": mirror.import_},
    )  # fmt: skip


def mirror(tx: Tx, repository: str) -> Mirror | None:
    row = tx.row("SELECT * FROM hub_mirrors WHERE repository = :id", id=repository)
    if row is None:
        return None
    excluded = tuple(json.loads(row["excluded"]))
    return Mirror(
        row["repository"], row["endpoint"], row["source"], row["revision"], row["pinned"], excluded, row["import"], row["refreshed_at"]
    )


def add_away(tx: Tx, files: Iterable[Away]) -> None:
    """Files whose bytes have come already stay present."""
    tx.many(
        "INSERT INTO hub_mirror_files (repository, digest, size, path, pinned, present) VALUES (:repository, :digest, :size, :path, :pinned, :present) "
        "ON CONFLICT (repository, digest) DO UPDATE SET path = excluded.path, pinned = excluded.pinned",
        (
            {"repository": f.repository, "digest": f.digest, "size": f.size, "path": f.path, "pinned": f.pinned, "present": int(f.present)}
            for f in files
        ),
    )


def _away(row: Row) -> Away:
    return Away(row["repository"], row["digest"], row["size"], row["path"], row["pinned"], bool(row["present"]))


def away_file(tx: Tx, repository: str, digest: str) -> Away | None:
    """The file of this mirror, where its bytes have not come yet."""
    row = tx.row("SELECT * FROM hub_mirror_files WHERE repository = :id AND digest = :digest AND present = 0", id=repository, digest=digest)
    return None if row is None else _away(row)


def mirrored_size(tx: Tx, repository: str, digest: str) -> int | None:
    """Bytes of a large file of this mirror, whether it has come or not."""
    size: int | None = tx.value(
        "SELECT size FROM hub_mirror_files WHERE repository = :id AND digest = :digest", id=repository, digest=digest
    )
    return size


def away_anywhere(tx: Tx, digest: str) -> Away | None:
    row = tx.row("SELECT * FROM hub_mirror_files WHERE digest = :digest AND present = 0 ORDER BY repository LIMIT 1", digest=digest)
    return None if row is None else _away(row)


def away_of(tx: Tx, repository: str) -> list[Away]:
    return [
        _away(row) for row in tx.rows("SELECT * FROM hub_mirror_files WHERE repository = :id AND present = 0 ORDER BY path", id=repository)
    ]


def absent(tx: Tx, repository: str) -> frozenset[str]:
    """Digests of the large files of a mirror whose bytes have not come to it yet; none for what is no mirror."""
    rows = tx.rows("SELECT digest FROM hub_mirror_files WHERE repository = :id AND present = 0", id=repository)
    return frozenset(row["digest"] for row in rows)


def away(tx: Tx) -> set[str]:
    """Digests of all large files of mirrors that have not come yet: nothing is wrong with their being missing."""
    return {row["digest"] for row in tx.rows("SELECT digest FROM hub_mirror_files WHERE present = 0")}


def set_present(tx: Tx, repository: str, digest: str) -> None:
    tx.run("UPDATE hub_mirror_files SET present = 1 WHERE repository = :id AND digest = :digest", id=repository, digest=digest)


# --- statements of other houses -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ForeignStatement:
    """A statement that another house has signed. Its signatures fit the keys that came with it; whose keys they are, is told by `origin`."""

    id: str
    predicate_type: str
    envelope: str
    keys: Mapping[str, tuple[str, str]]  # keyid -> (holder, PEM)
    origin: str
    at: str


def add_foreign(tx: Tx, repository: str, statements: Iterable[ForeignStatement]) -> None:
    tx.many(
        "INSERT INTO hub_foreign_statements (repository, id, predicate_type, envelope, keys, origin, at) "
        "VALUES (:repository, :id, :type, :envelope, :keys, :origin, :at) ON CONFLICT (repository, id) DO NOTHING",
        (
            {
                "repository": repository,
                "id": s.id,
                "type": s.predicate_type,
                "envelope": s.envelope,
                "keys": json.dumps(dict(s.keys)),
                "origin": s.origin,
                "at": s.at,
            }
            for s in statements
        ),
    )


def foreign(tx: Tx, repository: str) -> list[ForeignStatement]:
    rows = tx.rows("SELECT * FROM hub_foreign_statements WHERE repository = :id ORDER BY at, id", id=repository)
    return [
        ForeignStatement(
            row["id"],
            row["predicate_type"],
            row["envelope"],
            {key: (held[0], held[1]) for key, held in json.loads(row["keys"]).items()},
            row["origin"],
            row["at"],
        )
        for row in rows
    ]
