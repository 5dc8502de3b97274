"""Sealed values: an organisation's secrets, and those that were given for one job only (`organisation` is then the job's id)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lilong.floors.compute.store.asking import among
from lilong.ground.db import Row, Tx


def put(tx: Tx, organisation: str, name: str, sealed: str, by: str, at: str) -> bool:
    """Whether there was none before."""
    known = find(tx, organisation, name) is not None
    tx.run(
        "INSERT INTO compute_secrets (organisation, name, sealed, by, at) VALUES (:organisation, :name, :sealed, :by, :at)"
        " ON CONFLICT (organisation, name) DO UPDATE SET sealed = excluded.sealed, by = excluded.by, at = excluded.at",
        organisation=organisation, name=name, sealed=sealed, by=by, at=at,
    )  # fmt: skip
    return not known


def find(tx: Tx, organisation: str, name: str) -> str | None:
    value: str | None = tx.value(
        "SELECT sealed FROM compute_secrets WHERE organisation = :organisation AND name = :name", organisation=organisation, name=name
    )
    return value


def remove(tx: Tx, organisation: str, name: str) -> bool:
    return bool(
        tx.run("DELETE FROM compute_secrets WHERE organisation = :organisation AND name = :name", organisation=organisation, name=name)
    )


def forget(tx: Tx, job_ids: Collection[str]) -> None:
    """What was given for these jobs only."""
    for names, given in among(job_ids):
        tx.run(f"DELETE FROM compute_secrets WHERE organisation IN ({names})", **given)


def listed(tx: Tx, condition: str, parameters: Mapping[str, Any], organisation: str | None) -> list[Row]:
    """Those of organisations, without what was given for one job only."""
    only = "" if organisation is None else " AND s.organisation = :only"
    given = {} if organisation is None else {"only": organisation}
    return tx.rows(
        "SELECT s.organisation, s.name, s.by, s.at FROM compute_secrets s JOIN ground_organisations o ON o.name = s.organisation"
        f" WHERE {condition}{only} ORDER BY s.organisation, s.name",
        **parameters, **given,
    )  # fmt: skip
