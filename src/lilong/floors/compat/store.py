"""SQL on the compat floor's own tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lilong.floors.compat import rules
from lilong.floors.compat.contract import Examination, MatrixRow, State
from lilong.ground.db import Row, Tx


def add(tx: Tx, one: Examination, model_files: Mapping[str, str], corpus_manifest: str) -> None:
    tx.run(
        "INSERT INTO compat_examinations (id, organisation, key, state, repository, commit_id, manifest, model_files, corpus, corpus_manifest,"
        " recipe, requested_by, created_at, attempt, job) VALUES (:id, :organisation, :key, :state, :repository, :commit_id, :manifest,"
        " :model_files, :corpus, :corpus_manifest, :recipe, :requested_by, :created_at, :attempt, :job)",
        id=one.id,
        organisation=one.organisation,
        key=one.key,
        state=str(one.state),
        repository=one.repository,
        commit_id=one.commit,
        manifest=one.manifest,
        model_files=json.dumps(dict(model_files), sort_keys=True),
        corpus=one.corpus,
        corpus_manifest=corpus_manifest,
        recipe=json.dumps(dict(one.recipe), sort_keys=True),
        requested_by=one.requested_by,
        created_at=one.created_at,
        attempt=one.attempt,
        job=one.job,
    )


def retry(tx: Tx, one: Examination) -> None:
    """A failed examination is tried again with a new job."""
    tx.run(
        "UPDATE compat_examinations SET state = :state, attempt = :attempt, job = :job, error = NULL, finished_at = NULL WHERE id = :id",
        state=str(one.state),
        attempt=one.attempt,
        job=one.job,
        id=one.id,
    )


def start(tx: Tx, job: str) -> None:
    tx.run(
        "UPDATE compat_examinations SET state = :running WHERE job = :job AND state = :requested",
        running=str(State.RUNNING),
        job=job,
        requested=str(State.REQUESTED),
    )


def fail(tx: Tx, identity: str, error: str, at: str) -> None:
    tx.run(
        "UPDATE compat_examinations SET state = :state, error = :error, finished_at = :at WHERE id = :id",
        state=str(State.FAILED),
        error=error,
        at=at,
        id=identity,
    )


def finish(tx: Tx, identity: str, digests: Mapping[str, str], statement: str, rows: Sequence[Mapping[str, Any]], at: str) -> None:
    """`digests`: of certificate, suite and cases."""
    tx.run(
        "UPDATE compat_examinations SET state = :state, certificate = :certificate, suite = :suite, cases = :cases, statement = :statement,"
        " finished_at = :at WHERE id = :id",
        state=str(State.DONE),
        statement=statement,
        at=at,
        id=identity,
        **digests,
    )
    tx.many(
        "INSERT INTO compat_rows (examination, position, stack, verdict, content) VALUES (:examination, :position, :stack, :verdict, :content)",
        [
            {"examination": identity, "position": position, "stack": row["stack"], "verdict": row["verdict"], "content": json.dumps(row, sort_keys=True)}
            for position, row in enumerate(rows)
        ],
    )


def by_id(tx: Tx, identity: str) -> Examination | None:
    return _one(tx, "id = :value", identity)


def by_job(tx: Tx, job: str) -> Examination | None:
    return _one(tx, "job = :value", job)


def by_certificate(tx: Tx, digest: str, visible: str, parameters: Mapping[str, Any]) -> Examination | None:
    """The newest examination that gave this certificate (or whose id this is). `visible`: of whom; two may well give the same one."""
    return _one(tx, f"state = 'done' AND (certificate = :value OR id = :value) AND {visible}", digest, parameters)


def by_key(tx: Tx, organisation: str, key: str) -> Examination | None:
    row = tx.row("SELECT * FROM compat_examinations WHERE organisation = :organisation AND key = :key", organisation=organisation, key=key)
    return _examination(tx, row) if row is not None else None


def materials(tx: Tx, identity: str) -> tuple[dict[str, str], str]:
    """The model files given to the job (path → digest), and the corpus version's manifest."""
    row = tx.row("SELECT model_files, corpus_manifest FROM compat_examinations WHERE id = :id", id=identity)
    assert row is not None
    files: dict[str, str] = json.loads(row["model_files"])
    return files, str(row["corpus_manifest"])


def listed(tx: Tx, condition: str, parameters: Mapping[str, Any], limit: int = 200) -> list[Examination]:
    """Examinations, newest first. `condition` is SQL of our own."""
    found = tx.rows(
        f"SELECT * FROM compat_examinations WHERE {condition} ORDER BY COALESCE(finished_at, created_at) DESC, id DESC LIMIT :row_limit",
        row_limit=limit,
        **parameters,
    )
    return [_examination(tx, row) for row in found]


def _one(tx: Tx, condition: str, value: str, parameters: Mapping[str, Any] | None = None) -> Examination | None:
    found = listed(tx, condition, {"value": value, **(parameters or {})}, 1)
    return found[0] if found else None


def _examination(tx: Tx, row: Row) -> Examination:
    return Examination(
        id=row["id"],
        organisation=row["organisation"],
        key=row["key"],
        state=State(row["state"]),
        repository=row["repository"],
        commit=row["commit_id"],
        manifest=row["manifest"],
        corpus=row["corpus"],
        recipe=json.loads(row["recipe"]),
        requested_by=row["requested_by"],
        created_at=row["created_at"],
        attempt=row["attempt"],
        job=row["job"],
        finished_at=row["finished_at"],
        error=row["error"],
        certificate=row["certificate"],
        suite=row["suite"],
        cases=row["cases"],
        statement=row["statement"],
        rows=_rows(tx, row["id"]),
    )


def _rows(tx: Tx, identity: str) -> tuple[MatrixRow, ...]:
    found = tx.rows("SELECT content FROM compat_rows WHERE examination = :id ORDER BY position", id=identity)
    return tuple(rules.flat(json.loads(row["content"])) for row in found)
