"""What was said of jobs' starts, and what became of it; and what part of their limits jobs have used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from statistics import median

from lilong.floors.compute.contract import FINISHED
from lilong.floors.compute.rules.estimating import Ran, Told
from lilong.ground.db import Row, Tx
from lilong.ground.seams import parse_stamp

HISTORY = 2_000  # runs of each site that are looked at
JUDGED = 20_000  # the last estimates that are judged by
_ENDED = {state.value for state in FINISHED}


def ran(tx: Tx) -> tuple[list[Ran], float]:
    """The last runs at each site that ended by themselves or at their limit, and the median of the seconds from decision to start.

    A run counts from the decision on: so long it keeps others from its place.
    """
    rows: list[Row] = []
    for site in tx.rows("SELECT DISTINCT site FROM compute_attempts"):
        rows += tx.rows(
            "SELECT j.organisation, j.project, j.submitted_by, j.kind, j.ask, a.intended_at, a.started_at, a.ended_at FROM compute_attempts a"
            " JOIN compute_jobs j ON j.id = a.job WHERE a.site = :site AND a.ended_at IS NOT NULL AND a.started_at IS NOT NULL"
            " AND a.ending IN ('exited', 'timeout') ORDER BY a.ended_at DESC LIMIT :most",
            site=site["site"],
            most=HISTORY,
        )
    lags = [_between(row["intended_at"], row["started_at"]) for row in rows]
    return [_ran(row) for row in rows], median(lags) if lags else 0.0


def _between(began: str, ended: str) -> float:
    return max((parse_stamp(ended) - parse_stamp(began)).total_seconds(), 0.0)


def _ran(row: Row) -> Ran:
    ask = json.loads(row["ask"])
    took = _between(row["intended_at"], row["ended_at"])
    family = ask.get("family") or row["kind"]
    return Ran(f"{row['organisation']}/{row['project']}", row["submitted_by"], family, took / max(int(ask["timeout_s"]), 1))


def past(tx: Tx, since: str) -> list[Row]:
    """Jobs submitted since then, in that order, with their last attempt: where it ran, from when to when."""
    return tx.rows(
        "SELECT j.id, j.place, j.organisation, j.project, j.submitted_by, j.priority, j.created_at, j.ask, a.site AS ran_at, a.accelerator,"
        " a.started_at, a.ended_at FROM compute_jobs j LEFT JOIN compute_attempts a ON a.job = j.id AND a.attempt = j.attempt"
        " WHERE j.created_at >= :since ORDER BY j.place",
        since=since,
    )


def families(tx: Tx, job_ids: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """job -> (organisation/project, who submitted it, family or kind)."""
    found: dict[str, tuple[str, str, str]] = {}
    for chunk in _chunks(job_ids):
        rows = tx.rows(
            f"SELECT id, organisation, project, submitted_by, kind, ask FROM compute_jobs WHERE id IN ({_names(chunk)})", **chunk
        )
        for row in rows:
            family = json.loads(row["ask"]).get("family") or row["kind"]
            found[row["id"]] = (f"{row['organisation']}/{row['project']}", row["submitted_by"], family)
    return found


def add(tx: Tx, made_at: str, told: Iterable[tuple[str, tuple[str, str], tuple[str, str]]]) -> None:
    """`told`: job, P50 and P90 of its start as they are told, and as futures alone made them."""
    tx.many(
        "INSERT INTO compute_estimates (job, made_at, p50, p90, played50, played90) VALUES (:job, :made_at, :p50, :p90, :played50, :played90)"
        " ON CONFLICT DO NOTHING",
        [
            {"job": job, "made_at": made_at, "p50": said[0], "p90": said[1], "played50": played[0], "played90": played[1]}
            for job, said, played in told
        ],
    )


def last(tx: Tx, job_id: str) -> Row | None:
    """made_at, p50 and p90 of what was said last."""
    return tx.row("SELECT made_at, p50, p90 FROM compute_estimates WHERE job = :job ORDER BY made_at DESC LIMIT 1", job=job_id)


def made(tx: Tx, job_ids: Sequence[str]) -> dict[str, str]:
    """job -> when something was said of it last."""
    found: dict[str, str] = {}
    for chunk in _chunks(job_ids):
        rows = tx.rows(f"SELECT job, MAX(made_at) AS made_at FROM compute_estimates WHERE job IN ({_names(chunk)}) GROUP BY job", **chunk)
        found |= {row["job"]: row["made_at"] for row in rows}
    return found


def told(tx: Tx, most: int = JUDGED) -> list[Told]:
    """The last estimates with what became of them."""
    rows = tx.rows(
        "SELECT e.made_at, e.p50, e.p90, e.played50, e.played90, j.state, j.started_at, j.finished_at FROM compute_estimates e"
        " JOIN compute_jobs j ON j.id = e.job ORDER BY e.made_at DESC LIMIT :most",
        most=most,
    )
    return [_told(row) for row in rows]


def _told(row: Row) -> Told:
    times = [
        None if row[name] is None else parse_stamp(row[name]).timestamp()
        for name in ("made_at", "p50", "p90", "started_at", "finished_at", "played50", "played90")
    ]
    made_at, p50, p90, started, finished, *played = times
    assert made_at is not None and p50 is not None and p90 is not None
    return Told(made_at, p50, p90, started, finished if row["state"] in _ENDED and started is None else None, *played)


def _chunks(job_ids: Sequence[str]) -> list[dict[str, str]]:
    parts = [job_ids[at : at + 500] for at in range(0, len(job_ids), 500)]
    return [{f"job{number}": job_id for number, job_id in enumerate(part)} for part in parts]


def _names(chunk: Iterable[str]) -> str:
    return ", ".join(":" + name for name in chunk)
