"""SQL on the corpus floor's own tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from lilong.floors.corpus.contract import BuildAsk, SourcesAsk, SourceSet, State, Tree, Version
from lilong.ground.db import Row, Tx

_OPEN = "state IN ('requested', 'running')"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


# --- source sets -----------------------------------------------------------------------------------------------------------


def add_source_set(tx: Tx, row: SourceSet, ask: SourcesAsk) -> None:
    """Add a set, or start the failed one with the same id again."""
    tx.run(
        "INSERT INTO corpus_source_sets (id, organisation, request_key, asked, state, attempt, job, requested_by, created_at)"
        " VALUES (:id, :organisation, :key, :asked, :state, :attempt, :job, :requested_by, :created_at)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempt = excluded.attempt, job = excluded.job,"
        " requested_by = excluded.requested_by, error = NULL, finished_at = NULL",
        id=row.id, organisation=row.organisation, key=row.key, asked=_json(asdict(ask)), state=row.state.value, attempt=row.attempt, job=row.job,
        requested_by=row.requested_by, created_at=row.created_at,
    )  # fmt: skip


def source_set_by_key(tx: Tx, organisation: str, key: str) -> tuple[SourceSet, dict[str, Any]] | None:
    """The set and what was asked for."""
    row = tx.row(
        "SELECT * FROM corpus_source_sets WHERE organisation = :organisation AND request_key = :key", organisation=organisation, key=key
    )
    return (_source_set(row), json.loads(row["asked"])) if row else None


def source_set(tx: Tx, identity: str) -> SourceSet | None:
    row = tx.row("SELECT * FROM corpus_source_sets WHERE id = :id", id=identity)
    return _source_set(row) if row else None


def source_set_of_job(tx: Tx, job: str) -> SourceSet | None:
    row = tx.row("SELECT * FROM corpus_source_sets WHERE job = :job", job=job)
    return _source_set(row) if row else None


def source_sets(tx: Tx, condition: str, parameters: Mapping[str, Any], limit: int) -> list[SourceSet]:
    """Newest first."""
    rows = tx.rows(
        f"SELECT * FROM corpus_source_sets WHERE {condition} ORDER BY created_at DESC, id DESC LIMIT :limit", limit=limit, **parameters
    )
    return [_source_set(row) for row in rows]


def tree(tx: Tx, source_set_id: str) -> dict[str, str]:
    """path -> digest of a fetched set."""
    found: dict[str, str] = json.loads(tx.value("SELECT tree FROM corpus_source_sets WHERE id = :id", id=source_set_id) or "{}")
    return found


def finish_source_set(tx: Tx, identity: str, result: Mapping[str, Any], files: Tree, at: str) -> bool:
    """False where it was finished before."""
    return bool(tx.run(
        "UPDATE corpus_source_sets SET state = 'done', kind = :kind, note = :note, sources = :sources, tree = :tree, finished_at = :at"
        f" WHERE id = :id AND {_OPEN}",
        id=identity, kind=result["kind"], note=result["note"], sources=_json(result["sources"]), tree=_json(dict(files)), at=at,
    ))  # fmt: skip


def _source_set(row: Row) -> SourceSet:
    asked = json.loads(row["asked"])
    return SourceSet(
        row["id"], row["organisation"], row["request_key"], State(row["state"]), asked["packages"], row["attempt"], row["job"],
        row["requested_by"], row["created_at"], row["finished_at"], row["kind"], row["note"], json.loads(row["sources"] or "[]"), row["error"],
    )  # fmt: skip


# --- versions --------------------------------------------------------------------------------------------------------------


def add_version(tx: Tx, row: Version, ask: BuildAsk) -> None:
    """Add a version, or start the failed one with the same id again."""
    tx.run(
        "INSERT INTO corpus_versions (id, organisation, request_key, asked, state, sources, repository, attempt, job, requested_by, created_at)"
        " VALUES (:id, :organisation, :key, :asked, :state, :sources, :repository, :attempt, :job, :requested_by, :created_at)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempt = excluded.attempt, job = excluded.job,"
        " requested_by = excluded.requested_by, error = NULL, finished_at = NULL",
        id=row.id, organisation=row.organisation, key=row.key, asked=_json(asdict(ask)), state=row.state.value, sources=row.sources,
        repository=row.repository, attempt=row.attempt, job=row.job, requested_by=row.requested_by, created_at=row.created_at,
    )  # fmt: skip


def version_by_key(tx: Tx, organisation: str, key: str) -> tuple[Version, dict[str, Any]] | None:
    """The version and what was asked for."""
    row = tx.row(
        "SELECT * FROM corpus_versions WHERE organisation = :organisation AND request_key = :key", organisation=organisation, key=key
    )
    return (_version(row), json.loads(row["asked"])) if row else None


def version(tx: Tx, name: str) -> Version | None:
    """By its id, as organisation/name@commit, or the newest one of a repository (a finished one before others)."""
    repository, _, commit = name.partition("@")
    row = tx.row("SELECT * FROM corpus_versions WHERE id = :id", id=name) or tx.row(
        "SELECT * FROM corpus_versions WHERE repository = :repository AND (:commit_id = '' OR commit_id = :commit_id)"
        " ORDER BY CASE state WHEN 'done' THEN 0 ELSE 1 END, created_at DESC, id DESC",
        repository=repository, commit_id=commit,
    )  # fmt: skip
    return _version(row) if row else None


def version_of_job(tx: Tx, job: str) -> Version | None:
    row = tx.row("SELECT * FROM corpus_versions WHERE job = :job", job=job)
    return _version(row) if row else None


def versions(tx: Tx, condition: str, parameters: Mapping[str, Any], limit: int) -> list[Version]:
    """Newest first."""
    rows = tx.rows(
        f"SELECT * FROM corpus_versions WHERE {condition} ORDER BY created_at DESC, id DESC LIMIT :limit", limit=limit, **parameters
    )
    return [_version(row) for row in rows]


def finish_version(
    tx: Tx, identity: str, *, commit: str, manifest: str, statement: str, figures: Mapping[str, Any], result: str, at: str
) -> bool:
    """False where it was finished before. `result`: digest of the job's whole result."""
    return bool(tx.run(
        "UPDATE corpus_versions SET state = 'done', commit_id = :commit_id, manifest = :manifest, statement = :statement, figures = :figures,"
        f" result = :result, finished_at = :at WHERE id = :id AND {_OPEN}",
        id=identity, commit_id=commit, manifest=manifest, statement=statement, figures=_json(dict(figures)), result=result, at=at,
    ))  # fmt: skip


def result(tx: Tx, identity: str) -> str | None:
    """The digest of the whole result of a finished version's job."""
    found = tx.value("SELECT result FROM corpus_versions WHERE id = :id", id=identity)
    return str(found) if found else None


def _version(row: Row) -> Version:
    asked = json.loads(row["asked"])
    return Version(
        row["id"], row["organisation"], row["request_key"], State(row["state"]), row["sources"], row["repository"], asked["recipe"],
        row["attempt"], row["job"], row["requested_by"], row["created_at"], row["finished_at"], row["commit_id"], row["manifest"],
        row["statement"], json.loads(row["figures"] or "{}"), row["error"],
    )  # fmt: skip


# --- both ------------------------------------------------------------------------------------------------------------------


def started(tx: Tx, job: str) -> None:
    """The job that makes a set or a version has begun."""
    for table in ("corpus_source_sets", "corpus_versions"):
        tx.run(f"UPDATE {table} SET state = 'running' WHERE job = :job AND state = 'requested'", job=job)


def fail(tx: Tx, table: str, identity: str, error: str, at: str) -> bool:
    """False where it was finished before."""
    return bool(
        tx.run(
            f"UPDATE {table} SET state = 'failed', error = :error, finished_at = :at WHERE id = :id AND {_OPEN}",
            id=identity,
            error=error,
            at=at,
        )
    )


# --- texts -----------------------------------------------------------------------------------------------------------------


def keep_text(tx: Tx, organisation: str, digest: str, size: int, by: str, at: str) -> None:
    tx.run(
        "INSERT INTO corpus_texts (organisation, digest, size, kept_by, kept_at) VALUES (:organisation, :digest, :size, :by, :at)"
        " ON CONFLICT (organisation, digest) DO NOTHING",
        organisation=organisation, digest=digest, size=size, by=by, at=at,
    )  # fmt: skip


def missing_text(tx: Tx, organisation: str, digests: Iterable[str]) -> str | None:
    """A digest among these that the organisation has not uploaded, if there is one."""
    kept = {
        row["digest"] for row in tx.rows("SELECT digest FROM corpus_texts WHERE organisation = :organisation", organisation=organisation)
    }
    return next((digest for digest in digests if digest not in kept), None)
