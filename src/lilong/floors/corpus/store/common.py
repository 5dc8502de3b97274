"""What source sets and versions have in common."""

from __future__ import annotations

import json
from typing import Any

from lilong.ground.db import Tx

OPEN = "state IN ('requested', 'running')"


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def started(tx: Tx, job: str) -> None:
    """The job that makes a set or a version has begun."""
    for table in ("corpus_source_sets", "corpus_versions"):
        tx.run(f"UPDATE {table} SET state = 'running' WHERE job = :job AND state = 'requested'", job=job)


def fail(tx: Tx, table: str, identity: str, error: str, at: str) -> bool:
    """False where it was finished before."""
    return bool(
        tx.run(
            f"UPDATE {table} SET state = 'failed', error = :error, finished_at = :at WHERE id = :id AND {OPEN}",
            id=identity,
            error=error,
            at=at,
        )
    )
