"""What jobs may cost at worst, and did cost, by month."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lilong.floors.compute.store.asking import among
from lilong.ground.db import Row, Tx


def spend(tx: Tx, organisation: str, project: str, month: str, amount: int) -> None:
    """`amount`: millionths of money, counted for the month in which a job was submitted; negative where it cost less than it might have."""
    if amount:
        tx.run(
            "INSERT INTO compute_spending (organisation, project, month, amount) VALUES (:organisation, :project, :month, :amount)"
            " ON CONFLICT (organisation, project, month) DO UPDATE SET amount = compute_spending.amount + excluded.amount",
            organisation=organisation, project=project, month=month, amount=amount,
        )  # fmt: skip


def spent(tx: Tx, month: str) -> dict[tuple[str, str], int]:
    """By organisation and project."""
    rows = tx.rows("SELECT organisation, project, amount FROM compute_spending WHERE month = :month", month=month)
    return {(row["organisation"], row["project"]): int(row["amount"]) for row in rows}


def attempts(tx: Tx, job_ids: Collection[str]) -> list[Row]:
    sql = "SELECT job, accelerator, milli, cpus, started_at, ended_at FROM compute_attempts WHERE job IN ({})"
    return [row for names, given in among(job_ids) for row in tx.rows(sql.format(names), **given)]


SERVICES = "SELECT id, organisation, project, created_at, cost FROM compute_jobs WHERE state IN ('starting', 'running', 'ready') AND service = 1"


def services(tx: Tx) -> list[Row]:
    """Those under way."""
    return tx.rows(SERVICES)


def set_costs(tx: Tx, amounts: Mapping[str, int]) -> None:
    tx.many("UPDATE compute_jobs SET cost = :amount WHERE id = :id", [{"id": job_id, "amount": one} for job_id, one in amounts.items()])
