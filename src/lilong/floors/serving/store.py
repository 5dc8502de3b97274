"""SQL on serving's own tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lilong.floors.serving.contract import DeploymentRow, SegmentHead, Usage
from lilong.ground.db import Row, Tx

_LIVE = "('requested', 'ready', 'stopping')"


def add(tx: Tx, row: DeploymentRow) -> None:
    tx.run(
        "INSERT INTO serving_deployments (id, organisation, key, name, repository, commit_id, manifest, stack, file, plan, shared, state, job,"
        " attempt, certificate, registration, registration_number, created_by, created_at)"
        " VALUES (:id, :organisation, :key, :name, :repository, :commit_id, :manifest, :stack, :file, :plan, :shared, :state, :job,"
        " :attempt, :certificate, :registration, :number, :created_by, :created_at)",
        id=row.id, organisation=row.organisation, key=row.key, name=row.name, repository=row.repository, commit_id=row.commit,
        manifest=row.manifest, stack=row.stack, file=row.file, plan=json.dumps(dict(row.plan)), shared=int(row.shared), state=row.state,
        job=row.job, attempt=row.attempt, certificate=row.certificate, registration=row.registration, number=row.registration_number,
        created_by=row.created_by, created_at=row.created_at,
    )  # fmt: skip


def change(tx: Tx, deployment: str, **columns: Any) -> None:
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    tx.run(f"UPDATE serving_deployments SET {assignments} WHERE id = :id", id=deployment, **columns)


def deployment(tx: Tx, name: str) -> DeploymentRow | None:
    return _one(tx.row("SELECT * FROM serving_deployments WHERE id = :name", name=name))


def by_key(tx: Tx, organisation: str, key: str) -> DeploymentRow | None:
    return _one(
        tx.row("SELECT * FROM serving_deployments WHERE organisation = :organisation AND key = :key", organisation=organisation, key=key)
    )


def by_job(tx: Tx, job: str) -> DeploymentRow | None:
    return _one(tx.row("SELECT * FROM serving_deployments WHERE job = :job", job=job))


def live_by_name(tx: Tx, name: str) -> DeploymentRow | None:
    return _one(tx.row(f"SELECT * FROM serving_deployments WHERE name = :name AND state IN {_LIVE}", name=name))


def live(tx: Tx) -> list[DeploymentRow]:
    return [_deployment(row) for row in tx.rows(f"SELECT * FROM serving_deployments WHERE state IN {_LIVE} ORDER BY name")]


def deployments(tx: Tx, condition: str, parameters: Mapping[str, Any]) -> list[DeploymentRow]:
    """Newest first."""
    rows = tx.rows(f"SELECT * FROM serving_deployments WHERE {condition} ORDER BY created_at DESC, id DESC", **parameters)
    return [_deployment(row) for row in rows]


def _one(row: Row | None) -> DeploymentRow | None:
    return None if row is None else _deployment(row)


def _deployment(row: Row) -> DeploymentRow:
    fields = {name: row[name] for name in DeploymentRow.__dataclass_fields__ if name not in ("commit", "plan", "shared")}
    return DeploymentRow(**fields, commit=row["commit_id"], plan=json.loads(row["plan"]), shared=bool(row["shared"]))


def seals(tx: Tx) -> dict[str, tuple[SegmentHead, int]]:
    """The newest seal of every segment: (head, bytes of the file when it was made)."""
    rows = tx.rows("SELECT segment, records, size, root FROM serving_seals ORDER BY segment, records")
    return {row["segment"]: (SegmentHead(row["segment"], row["records"], row["root"]), row["size"]) for row in rows}


def seal(tx: Tx, head: SegmentHead, size: int, statement: str, at: str) -> None:
    tx.run(
        "INSERT INTO serving_seals (segment, records, size, root, statement, created_at)"
        " VALUES (:segment, :records, :size, :root, :statement, :at)",
        segment=head.segment, records=head.records, size=size, root=head.root, statement=statement, at=at,
    )  # fmt: skip


def seal_over(tx: Tx, segment: str, index: int) -> tuple[SegmentHead, str] | None:
    """The first seal that covers record `index` of a segment, and its statement."""
    row = tx.row(
        "SELECT segment, records, root, statement FROM serving_seals WHERE segment = :segment AND records > :index ORDER BY records LIMIT 1",
        segment=segment, index=index,
    )  # fmt: skip
    return None if row is None else (SegmentHead(row["segment"], row["records"], row["root"]), row["statement"])


def all_heads(tx: Tx) -> list[SegmentHead]:
    rows = tx.rows("SELECT segment, records, root FROM serving_seals ORDER BY segment, records")
    return [SegmentHead(row["segment"], row["records"], row["root"]) for row in rows]


def count(tx: Tx, usage: Iterable[Usage]) -> None:
    """Add usage to what was counted before."""
    columns = ("requests", "prompt_tokens", "completion_tokens", "billed_prompt", "billed_completion")
    sums = ", ".join(f"{name} = serving_usage.{name} + excluded.{name}" for name in columns)
    tx.many(
        "INSERT INTO serving_usage (organisation, day, deployment, model, policy, requests, prompt_tokens, completion_tokens, billed_prompt,"
        " billed_completion) VALUES (:organisation, :day, :deployment, :model, :policy, :requests, :prompt_tokens, :completion_tokens,"
        f" :billed_prompt, :billed_completion) ON CONFLICT (organisation, day, deployment, policy) DO UPDATE SET {sums}",
        [{name: getattr(each, name) for name in Usage.__dataclass_fields__} for each in usage],
    )


def usage(tx: Tx, condition: str, parameters: Mapping[str, Any]) -> list[Usage]:
    rows = tx.rows(f"SELECT * FROM serving_usage WHERE {condition} ORDER BY day DESC, organisation, model, deployment", **parameters)
    return [Usage(**{name: row[name] for name in Usage.__dataclass_fields__}) for row in rows]
