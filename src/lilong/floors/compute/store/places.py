"""What was last seen of the sites, and how fast programs run where."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from lilong.floors.compute.contract import Inventory, SiteNode
from lilong.ground.db import Tx
from lilong.ground.seams import parse_stamp


@dataclass(frozen=True, slots=True)
class SiteRow:
    name: str
    cursor: str
    inventory: Inventory | None
    seen_at: str | None
    problem: str | None
    drained: frozenset[str] = frozenset()  # nodes that it was told to keep free
    first_seen: str | None = None


def rows(tx: Tx) -> dict[str, SiteRow]:
    found = tx.rows("SELECT name, cursor, inventory, seen_at, problem, drained, first_seen FROM compute_sites")
    return {
        row["name"]: SiteRow(
            row["name"], row["cursor"], inventory(row["inventory"]), row["seen_at"], row["problem"], frozenset(json.loads(row["drained"])),
            row["first_seen"],
        )
        for row in found
    }  # fmt: skip


def inventory(text: str) -> Inventory | None:
    """What `saw` wrote."""
    told: dict[str, Any] = json.loads(text) if text else {}
    if not told:
        return None
    foreign = {node: (int(held[0]), int(held[1]), int(held[2])) for node, held in told["foreign"].items()}
    return Inventory(tuple(SiteNode(**node) for node in told["nodes"]), foreign)


def saw(tx: Tx, name: str, found: Inventory, now: str) -> None:
    tx.run(
        "INSERT INTO compute_sites (name, cursor, inventory, seen_at, problem, first_seen) VALUES (:name, '', :inventory, :now, NULL, :now)"
        " ON CONFLICT (name) DO UPDATE SET inventory = excluded.inventory, seen_at = excluded.seen_at, problem = NULL,"
        " first_seen = COALESCE(compute_sites.first_seen, excluded.first_seen)",
        name=name, inventory=json.dumps(asdict(found), sort_keys=True), now=now,
    )  # fmt: skip


def keep_cursor(tx: Tx, name: str, cursor: str) -> None:
    tx.run(
        "INSERT INTO compute_sites (name, cursor, inventory) VALUES (:name, :cursor, '')"
        " ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor",
        name=name, cursor=cursor,
    )  # fmt: skip


def problem(tx: Tx, name: str, words: str | None) -> None:
    tx.run(
        "INSERT INTO compute_sites (name, cursor, inventory, problem) VALUES (:name, '', '', :words)"
        " ON CONFLICT (name) DO UPDATE SET problem = excluded.problem",
        name=name, words=words,
    )  # fmt: skip


def told_to_drain(tx: Tx, name: str, nodes: set[str]) -> None:
    tx.run(
        "INSERT INTO compute_sites (name, cursor, inventory, drained) VALUES (:name, '', '', :nodes)"
        " ON CONFLICT (name) DO UPDATE SET drained = excluded.drained",
        name=name, nodes=json.dumps(sorted(nodes)),
    )  # fmt: skip


def in_use(tx: Tx) -> set[str]:
    """Sites with attempts that have not ended."""
    return {row["site"] for row in tx.rows("SELECT DISTINCT site FROM compute_attempts WHERE ended_at IS NULL")}


def drains(tx: Tx) -> set[tuple[str, str]]:
    """(site, node) of the nodes that take no new work because somebody said so."""
    return {(row["site"], row["node"]) for row in tx.rows("SELECT site, node FROM compute_drains")}


@dataclass(frozen=True, slots=True)
class Stint:
    """How a job ran that ended well at its first attempt. `amount`: devices (cores, if it took none) in all."""

    family: str
    accelerator: str
    amount: float
    seconds: float


def stint(tx: Tx, job_id: str) -> Stint | None:
    """None for a job that has not succeeded, or only after it was begun again: nobody knows which attempt did how much of the work."""
    row = tx.row(
        "SELECT j.kind, j.ask, a.accelerator, a.milli, a.cpus, a.started_at, a.ended_at FROM compute_jobs j"
        " JOIN compute_attempts a ON a.job = j.id AND a.attempt = 1"
        " WHERE j.id = :job AND j.state = 'succeeded' AND j.attempt = 1 AND a.started_at IS NOT NULL AND a.ended_at IS NOT NULL",
        job=job_id,
    )
    if row is None:
        return None
    took = (parse_stamp(row["ended_at"]) - parse_stamp(row["started_at"])).total_seconds()
    amount = row["milli"] / 1000 if row["milli"] else float(row["cpus"])
    return Stint(json.loads(row["ask"]).get("family") or row["kind"], row["accelerator"] or "", amount, took)


def rate(tx: Tx, family: str, accelerator: str) -> tuple[float, str] | None:
    """The measured speed and where it was last taken from."""
    row = tx.row(
        "SELECT rate, source FROM compute_throughput WHERE family = :family AND accelerator = :kind", family=family, kind=accelerator
    )
    return None if row is None else (float(row["rate"]), row["source"])


def measured(tx: Tx, family: str, accelerator: str, speed: float, source: str, now: str) -> None:
    tx.run(
        "INSERT INTO compute_throughput (family, accelerator, rate, source, at) VALUES (:family, :kind, :speed, :source, :now)"
        " ON CONFLICT (family, accelerator) DO UPDATE SET rate = excluded.rate, source = excluded.source, at = excluded.at",
        family=family, kind=accelerator, speed=speed, source=source, now=now,
    )  # fmt: skip


def rates(tx: Tx) -> dict[tuple[str, str], float]:
    """(family, class) -> speed, as measured."""
    rows = tx.rows("SELECT family, accelerator, rate FROM compute_throughput")
    return {(row["family"], row["accelerator"]): float(row["rate"]) for row in rows}
