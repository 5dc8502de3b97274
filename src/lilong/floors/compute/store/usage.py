"""What attempts held, and when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lilong.ground.db import Tx


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt's hold on a site. `milli`: thousandths of device in all; `cpus`: cores in all."""

    job: str
    organisation: str
    project: str
    site: str
    accelerator: str
    milli: int
    cpus: int
    began: str
    ended: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a job, for its history."""

    number: int
    site: str
    intended_at: str
    started_at: str | None
    ended_at: str | None
    ending: str | None
    accelerator: str
    milli: int
    cpus: int
    placed: list[Any]
    usage: dict[str, float | None]
    decision: int | None


_HELD = "SELECT a.job, j.organisation, j.project, a.site, COALESCE(a.accelerator, '') AS accelerator, a.milli, a.cpus, COALESCE(a.started_at, a.intended_at) AS began, a.ended_at FROM compute_attempts a JOIN compute_jobs j ON j.id = a.job"  # fmt: skip


def held_since(tx: Tx, since: str) -> list[Held]:
    """All that was held at any time from `since` on."""
    rows = tx.rows(_HELD + " WHERE a.ended_at IS NULL OR a.ended_at >= :since", since=since)
    return [Held(*row.values()) for row in rows]


def held_now(tx: Tx) -> list[Held]:
    return [Held(*row.values()) for row in tx.rows(_HELD + " WHERE a.ended_at IS NULL")]


def attempts(tx: Tx, job_id: str) -> list[Attempt]:
    rows = tx.rows("SELECT * FROM compute_attempts WHERE job = :job ORDER BY attempt", job=job_id)
    return [
        Attempt(
            int(row["attempt"]), row["site"], row["intended_at"], row["started_at"], row["ended_at"], row["ending"], row["accelerator"] or "",
            int(row["milli"]), int(row["cpus"]), json.loads(row["placed"] or "[]"), json.loads(row["usage"] or "{}"), row["decision"],
        )
        for row in rows
    ]  # fmt: skip


def placed_now(tx: Tx, site: str) -> dict[str, set[int]]:
    """Node -> numbers of its devices that attempts hold now."""
    found: dict[str, set[int]] = {}
    for row in tx.rows("SELECT placed FROM compute_attempts WHERE site = :site AND ended_at IS NULL", site=site):
        for node, devices, _ in json.loads(row["placed"] or "[]"):
            found.setdefault(node, set()).update(devices)
    return found
