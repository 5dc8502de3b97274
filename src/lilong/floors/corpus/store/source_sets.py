"""Source sets: what was asked for, and what came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from lilong.floors.corpus.contract import SourcesAsk, SourceSet, State, Terms, Tree
from lilong.ground.db import Row, Tx

from .common import OPEN, as_json


def add_source_set(tx: Tx, row: SourceSet, ask: SourcesAsk) -> None:
    """Add a set, or start the failed one with the same id again."""
    tx.run(
        "INSERT INTO corpus_source_sets (id, organisation, request_key, asked, state, attempt, job, requested_by, created_at, contributor, terms)"
        " VALUES (:id, :organisation, :key, :asked, :state, :attempt, :job, :requested_by, :created_at, :contributor, :terms)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempt = excluded.attempt, job = excluded.job,"
        " requested_by = excluded.requested_by, error = NULL, finished_at = NULL",
        id=row.id, organisation=row.organisation, key=row.key, asked=as_json(asdict(ask)), state=row.state.value, attempt=row.attempt, job=row.job,
        requested_by=row.requested_by, created_at=row.created_at, contributor=row.contributor, terms=row.terms.value,
    )  # fmt: skip


def source_set_by_key(tx: Tx, organisation: str, key: str) -> tuple[SourceSet, SourcesAsk] | None:
    """The set and what was asked for."""
    row = tx.row(
        "SELECT * FROM corpus_source_sets WHERE organisation = :organisation AND request_key = :key", organisation=organisation, key=key
    )
    return (_source_set(row), _asked(row)) if row else None


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
        f" WHERE id = :id AND {OPEN}",
        id=identity, kind=result["kind"], note=result["note"], sources=as_json(result["sources"]), tree=as_json(dict(files)), at=at,
    ))  # fmt: skip


def _asked(row: Row) -> SourcesAsk:
    return msgspec.convert(json.loads(row["asked"]), SourcesAsk)


def _source_set(row: Row) -> SourceSet:
    asked = _asked(row)
    return SourceSet(
        row["id"], row["organisation"], row["request_key"], State(row["state"]), asked.packages, row["attempt"], row["job"],
        row["requested_by"], row["created_at"], row["finished_at"], row["kind"], row["note"], json.loads(row["sources"] or "[]"), row["error"],
        row["contributor"], Terms(row["terms"]), asked.conditions,
    )  # fmt: skip
