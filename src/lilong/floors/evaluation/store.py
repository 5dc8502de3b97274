"""SQL on the evaluation floor's own tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from lilong.floors.evaluation.contract import EvaluationRun, PlannedProtocol, State
from lilong.ground.db import Row, Tx

Kept = TypeVar("Kept", bound=PlannedProtocol | EvaluationRun)
_TABLES: dict[type[Any], str] = {PlannedProtocol: "evaluation_protocols", EvaluationRun: "evaluation_runs"}
_JSON = frozenset({"recipe", "tasks", "figures"})


def put(tx: Tx, one: PlannedProtocol | EvaluationRun) -> None:
    """Write a row, or write it anew."""
    values = {name: json.dumps(value, sort_keys=True) if name in _JSON else value for name, value in asdict(one).items()}
    columns = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    changes = ", ".join(f"{name} = excluded.{name}" for name in values if name != "id")
    tx.run(f"INSERT INTO {_TABLES[type(one)]} ({columns}) VALUES ({places}) ON CONFLICT (id) DO UPDATE SET {changes}", **values)


def by_id(tx: Tx, kind: type[Kept], identity: str) -> Kept | None:
    return _one(tx, kind, "id = :value", identity)


def by_job(tx: Tx, kind: type[Kept], job: str) -> Kept | None:
    return _one(tx, kind, "job = :value", job)


def by_key(tx: Tx, kind: type[Kept], organisation: str, key: str) -> Kept | None:
    found = listed(tx, kind, "organisation = :organisation AND key = :key", {"organisation": organisation, "key": key}, 1)
    return found[0] if found else None


def fixed_protocol(tx: Tx, name: str, visible: str, parameters: Mapping[str, Any]) -> PlannedProtocol | None:
    """By its id or, once it is there, by its digest. `visible`: of whom; two organisations may well fix the same protocol."""
    return _one(tx, PlannedProtocol, f"(id = :value OR digest = :value) AND {visible}", name, parameters)


def reported(tx: Tx, name: str, visible: str, parameters: Mapping[str, Any]) -> EvaluationRun | None:
    """A run by its id or by its report's digest. `visible`: of whom; two organisations may well come to the same report."""
    return _one(tx, EvaluationRun, f"(id = :value OR report = :value) AND {visible}", name, parameters)


def keep_tasks(tx: Tx, requirement: str, files: Mapping[str, str], at: str) -> None:
    """Remember test items (path → digest) that were fetched from a package, so that they are fetched once."""
    tx.run(
        "INSERT INTO evaluation_tasks (requirement, files, created_at) VALUES (:requirement, :files, :at) ON CONFLICT (requirement) DO NOTHING",
        requirement=requirement,
        files=json.dumps(dict(files), sort_keys=True),
        at=at,
    )


def kept_tasks(tx: Tx, requirement: str) -> dict[str, str]:
    """What was kept of this package, or nothing."""
    files: dict[str, str] = json.loads(
        tx.value("SELECT files FROM evaluation_tasks WHERE requirement = :requirement", requirement=requirement) or "{}"
    )
    return files


def listed(tx: Tx, kind: type[Kept], condition: str, parameters: Mapping[str, Any], limit: int = 200) -> list[Kept]:
    """Rows, newest first. `condition` is SQL of our own."""
    found = tx.rows(
        f"SELECT * FROM {_TABLES[kind]} WHERE {condition} ORDER BY created_at DESC, id DESC LIMIT :row_limit", row_limit=limit, **parameters
    )
    return [_read(kind, row) for row in found]


def _one(tx: Tx, kind: type[Kept], condition: str, value: str, parameters: Mapping[str, Any] | None = None) -> Kept | None:
    found = listed(tx, kind, condition, {"value": value, **(parameters or {})}, 1)
    return found[0] if found else None


def _read(kind: type[Kept], row: Row) -> Kept:
    values = {field.name: row[field.name] for field in fields(kind)}
    values |= {name: json.loads(values[name]) for name in _JSON & values.keys()}
    return kind(**{**values, "state": State(values["state"])})
