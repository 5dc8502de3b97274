"""SQL on governance's own table."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from lilong.floors.governance.contract import Decision, Registration, Result, Standing, State
from lilong.ground.db import Row, Tx

_FIELDS = (
    "id", "state", "organisation", "repository", "manifest", "profile", "profile_version", "stack", "requested_by", "requested_at",
    "number", "artifact", "statement", "reviewed_by", "reviewed_at", "comment", "review", "reason", "changed_at",
)  # fmt: skip


def _registration(row: Row) -> Registration:
    fields: dict[str, Any] = {field: row[field] for field in _FIELDS}
    return Registration(**{**fields, "state": State(row["state"]), "commit": row["revision"], "decision": decision(json.loads(row["decision"]))})


def decision(value: dict[str, Any]) -> Decision:
    results = tuple(
        Result(each["id"], Standing(each["standing"]), each["why"], tuple(each["statements"]), each["text"]) for each in value["requirements"]
    )
    return Decision(value["profile"], value["version"], value["at"], results)


def add(tx: Tx, registration: Registration, key: str) -> None:
    columns = ("request_key", "revision", "decision", *_FIELDS)
    values = {field: getattr(registration, field) for field in _FIELDS}
    tx.run(
        f"INSERT INTO governance_registrations ({', '.join(columns)}) VALUES ({', '.join(':' + column for column in columns)})",
        request_key=key, revision=registration.commit, decision=_json(registration.decision), **{**values, "state": registration.state.value},
    )  # fmt: skip


def update(tx: Tx, registration: Registration) -> None:
    """Write back what changes over a registration's life."""
    changing = ("state", "number", "artifact", "statement", "reviewed_by", "reviewed_at", "comment", "review", "reason", "changed_at")
    values = {field: getattr(registration, field) for field in changing}
    tx.run(
        f"UPDATE governance_registrations SET {', '.join(f'{field} = :{field}' for field in changing)}, decision = :decision WHERE id = :id",
        id=registration.id, decision=_json(registration.decision), **{**values, "state": registration.state.value},
    )  # fmt: skip


def by_key(tx: Tx, organisation: str, key: str) -> Registration | None:
    row = tx.row("SELECT * FROM governance_registrations WHERE organisation = :organisation AND request_key = :key", organisation=organisation, key=key)
    return None if row is None else _registration(row)


def visible(tx: Tx, name: str, condition: str, parameters: dict[str, Any]) -> Registration | None:
    """By id or by number, where the condition of who may see it holds."""
    row = tx.row(f"SELECT * FROM governance_registrations WHERE (id = :name OR number = :name) AND {condition}", name=name, **parameters)
    return None if row is None else _registration(row)


def listed(tx: Tx, condition: str, parameters: dict[str, Any]) -> list[Registration]:
    """The newest first."""
    rows = tx.rows(f"SELECT * FROM governance_registrations WHERE {condition} ORDER BY requested_at DESC, id DESC", **parameters)
    return [_registration(row) for row in rows]


def of_model(tx: Tx, manifest: str, stack: str) -> list[Registration]:
    """The newest first."""
    rows = tx.rows(
        "SELECT * FROM governance_registrations WHERE manifest = :manifest AND stack = :stack ORDER BY requested_at DESC, id DESC",
        manifest=manifest, stack=stack,
    )  # fmt: skip
    return [_registration(row) for row in rows]


def by_artifact(tx: Tx, digest: str) -> Registration | None:
    row = tx.row("SELECT * FROM governance_registrations WHERE artifact = :digest", digest=digest)
    return None if row is None else _registration(row)


def numbers(tx: Tx, year: int) -> list[str]:
    rows = tx.rows("SELECT number FROM governance_registrations WHERE number LIKE :prefix", prefix=f"LL-{year}-%")
    return [row["number"] for row in rows]


def _json(decision: Decision) -> str:
    return json.dumps(asdict(decision), sort_keys=True, ensure_ascii=False)
