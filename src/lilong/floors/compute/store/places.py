"""What was last seen of the sites, and how fast programs run where."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from lilong.floors.compute.contract import Inventory, SiteNode
from lilong.ground.db import Tx


@dataclass(frozen=True, slots=True)
class SiteRow:
    name: str
    cursor: str
    inventory: Inventory | None
    seen_at: str | None
    problem: str | None
    drained: frozenset[str] = frozenset()  # nodes that it was told to keep free


def rows(tx: Tx) -> dict[str, SiteRow]:
    found = tx.rows("SELECT name, cursor, inventory, seen_at, problem, drained FROM compute_sites")
    return {
        row["name"]: SiteRow(
            row["name"], row["cursor"], inventory(row["inventory"]), row["seen_at"], row["problem"], frozenset(json.loads(row["drained"]))
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
        "INSERT INTO compute_sites (name, cursor, inventory, seen_at, problem) VALUES (:name, '', :inventory, :now, NULL)"
        " ON CONFLICT (name) DO UPDATE SET inventory = excluded.inventory, seen_at = excluded.seen_at, problem = NULL",
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


def rates(tx: Tx) -> dict[tuple[str, str], float]:
    """(family, class) -> speed, as measured."""
    rows = tx.rows("SELECT family, accelerator, rate FROM compute_throughput")
    return {(row["family"], row["accelerator"]): float(row["rate"]) for row in rows}
