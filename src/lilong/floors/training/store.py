"""SQL on the training floor's own tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from lilong.floors.training.contract import Base, BaseAsk, Run, RunAsk, State
from lilong.ground.db import Row, Tx

Table = Literal["training_bases", "training_runs"]
_OPEN = "state IN ('requested', 'running')"


def fail(tx: Tx, table: Table, identity: str, reason: str, at: str) -> bool:
    """False where it had ended before."""
    return bool(
        tx.run(
            f"UPDATE {table} SET state = 'failed', error = :reason, finished_at = :at WHERE id = :id AND {_OPEN}",
            id=identity,
            reason=reason,
            at=at,
        )
    )


def started(tx: Tx, job: str) -> None:
    tx.run("UPDATE training_bases SET state = 'running' WHERE (fetch_job = :job OR import_job = :job) AND state = 'requested'", job=job)
    tx.run("UPDATE training_runs SET state = 'running' WHERE job = :job AND state = 'requested'", job=job)


# --- bases -----------------------------------------------------------------------------------------------------------------


def add_base(tx: Tx, row: Base, ask: BaseAsk) -> None:
    """Add an import, or start the failed one with the same id again."""
    tx.run(
        "INSERT INTO training_bases (id, organisation, request_key, asked, state, repository, attempt, fetch_job, requested_by, created_at)"
        " VALUES (:id, :organisation, :key, :asked, :state, :repository, :attempt, :job, :requested_by, :created_at)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempt = excluded.attempt, fetch_job = excluded.fetch_job,"
        " import_job = NULL, fetched = NULL, requested_by = excluded.requested_by, error = NULL, finished_at = NULL",
        id=row.id, organisation=row.organisation, key=row.key, asked=_json(asdict(ask)), state=row.state.value, repository=row.repository,
        attempt=row.attempt, job=row.jobs[0], requested_by=row.requested_by, created_at=row.created_at,
    )  # fmt: skip


def base_by_key(tx: Tx, organisation: str, key: str) -> tuple[Base, BaseAsk] | None:
    row = tx.row(
        "SELECT * FROM training_bases WHERE organisation = :organisation AND request_key = :key", organisation=organisation, key=key
    )
    return (_base(row), BaseAsk(**json.loads(row["asked"]))) if row else None


def base(tx: Tx, name: str) -> Base | None:
    """By its id, as organisation/name@commit, or the newest finished one of a repository."""
    row = _named(tx, "training_bases", name)
    return _base(row) if row else None


def bases(tx: Tx, condition: str, parameters: Mapping[str, Any], limit: int) -> list[Base]:
    """Newest first."""
    return [_base(row) for row in _listed(tx, "training_bases", condition, parameters, limit)]


def base_of_job(tx: Tx, job: str) -> tuple[Base, BaseAsk, dict[str, Any] | None] | None:
    """An import by either of its jobs, what was asked for, and what was fetched."""
    row = tx.row("SELECT * FROM training_bases WHERE fetch_job = :job OR import_job = :job", job=job)
    if row is None:
        return None
    return _base(row), BaseAsk(**json.loads(row["asked"])), json.loads(row["fetched"]) if row["fetched"] else None


def go_on(tx: Tx, identity: str, job: str, fetched: Mapping[str, Any]) -> bool:
    """The package is there, and `job` makes the model out of it. False where that was recorded before."""
    return bool(tx.run(
        f"UPDATE training_bases SET import_job = :job, fetched = :fetched WHERE id = :id AND import_job IS NULL AND {_OPEN}",
        id=identity, job=job, fetched=_json(fetched),
    ))  # fmt: skip


def finish_base(tx: Tx, identity: str, *, commit: str, manifest: str, statement: str, figures: Mapping[str, Any], at: str) -> bool:
    """False where it had ended before."""
    return bool(tx.run(
        "UPDATE training_bases SET state = 'done', commit_id = :commit_id, manifest = :manifest, statement = :statement, figures = :figures,"
        f" finished_at = :at WHERE id = :id AND {_OPEN}",
        id=identity, commit_id=commit, manifest=manifest, statement=statement, figures=_json(figures), at=at,
    ))  # fmt: skip


def _base(row: Row) -> Base:
    jobs = tuple(job for job in (row["fetch_job"], row["import_job"]) if job)
    return Base(
        row["id"], row["organisation"], row["request_key"], State(row["state"]), row["repository"], json.loads(row["asked"])["requirement"],
        row["attempt"], jobs, row["requested_by"], row["created_at"], row["finished_at"], row["commit_id"], row["manifest"], row["statement"],
        json.loads(row["figures"] or "{}"), row["error"],
    )  # fmt: skip


# --- runs ------------------------------------------------------------------------------------------------------------------


def add_run(tx: Tx, row: Run, ask: RunAsk) -> None:
    """Add a training, or start the failed one with the same id again."""
    tx.run(
        "INSERT INTO training_runs (id, organisation, request_key, asked, state, base, base_manifest, corpus, corpus_manifest, repository,"
        " recipe, attempt, job, requested_by, created_at) VALUES (:id, :organisation, :key, :asked, :state, :base, :base_manifest, :corpus,"
        " :corpus_manifest, :repository, :recipe, :attempt, :job, :requested_by, :created_at)"
        " ON CONFLICT (id) DO UPDATE SET state = excluded.state, base = excluded.base, base_manifest = excluded.base_manifest,"
        " corpus = excluded.corpus, corpus_manifest = excluded.corpus_manifest, recipe = excluded.recipe, attempt = excluded.attempt,"
        " job = excluded.job, requested_by = excluded.requested_by, error = NULL, finished_at = NULL",
        id=row.id, organisation=row.organisation, key=row.key, asked=_json(asdict(ask)), state=row.state.value, base=row.base,
        base_manifest=row.base_manifest, corpus=row.corpus, corpus_manifest=row.corpus_manifest, repository=row.repository,
        recipe=_json(row.recipe), attempt=row.attempt, job=row.job, requested_by=row.requested_by, created_at=row.created_at,
    )  # fmt: skip


def run_by_key(tx: Tx, organisation: str, key: str) -> tuple[Run, RunAsk] | None:
    row = tx.row(
        "SELECT * FROM training_runs WHERE organisation = :organisation AND request_key = :key", organisation=organisation, key=key
    )
    return (_run(row), RunAsk(**json.loads(row["asked"]))) if row else None


def run(tx: Tx, name: str) -> Run | None:
    """By its id, as organisation/name@commit, or the newest finished one of a repository."""
    row = _named(tx, "training_runs", name)
    return _run(row) if row else None


def runs(tx: Tx, condition: str, parameters: Mapping[str, Any], limit: int) -> list[Run]:
    """Newest first."""
    return [_run(row) for row in _listed(tx, "training_runs", condition, parameters, limit)]


def run_of_job(tx: Tx, job: str) -> Run | None:
    row = tx.row("SELECT * FROM training_runs WHERE job = :job", job=job)
    return _run(row) if row else None


def finish_run(
    tx: Tx, identity: str, *, commit: str, manifest: str, statement: str, figures: Mapping[str, Any], losses: str, at: str
) -> bool:
    """`losses`: the digest of loss.jsonl. False where it had ended before."""
    return bool(tx.run(
        "UPDATE training_runs SET state = 'done', commit_id = :commit_id, manifest = :manifest, statement = :statement, figures = :figures,"
        f" losses = :losses, finished_at = :at WHERE id = :id AND {_OPEN}",
        id=identity, commit_id=commit, manifest=manifest, statement=statement, figures=_json(figures), losses=losses, at=at,
    ))  # fmt: skip


def losses(tx: Tx, identity: str) -> str | None:
    """The digest of loss.jsonl of a finished run."""
    digest: str | None = tx.value("SELECT losses FROM training_runs WHERE id = :id", id=identity)
    return digest


def _run(row: Row) -> Run:
    return Run(
        row["id"], row["organisation"], row["request_key"], State(row["state"]), row["base"], row["base_manifest"], row["corpus"],
        row["corpus_manifest"], row["repository"], json.loads(row["recipe"]), row["attempt"], row["job"], row["requested_by"],
        row["created_at"], row["finished_at"], row["commit_id"], row["manifest"], row["statement"], json.loads(row["figures"] or "{}"),
        row["error"],
    )  # fmt: skip


def _named(tx: Tx, table: Table, name: str) -> Row | None:
    repository, _, commit = name.partition("@")
    return tx.row(f"SELECT * FROM {table} WHERE id = :id", id=name) or tx.row(
        f"SELECT * FROM {table} WHERE repository = :repository AND (:commit_id = '' OR commit_id = :commit_id)"
        " ORDER BY CASE state WHEN 'done' THEN 0 ELSE 1 END, created_at DESC, id DESC LIMIT 1",
        repository=repository, commit_id=commit,
    )  # fmt: skip


def _listed(tx: Tx, table: Table, condition: str, parameters: Mapping[str, Any], limit: int) -> list[Row]:
    return tx.rows(
        f"SELECT * FROM {table} WHERE {condition} ORDER BY created_at DESC, id DESC LIMIT :row_limit", row_limit=limit, **parameters
    )


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
