"""The settings' versions, and nodes that take no new work."""

from __future__ import annotations

import json
from functools import lru_cache

from lilong.floors.compute.rules import settings as rules
from lilong.floors.compute.rules.settings import ComputeSettings
from lilong.ground.db import Row, Tx


@lru_cache(maxsize=8)
def _read(source: str) -> ComputeSettings:
    return rules.read(source)


def current(tx: Tx) -> tuple[int, ComputeSettings]:
    """The newest version; 0 is what a house begins with."""
    row = tx.row("SELECT version, document FROM compute_settings ORDER BY version DESC LIMIT 1")
    return (0, _read("")) if row is None else (int(row["version"]), _read(json.loads(row["document"])["toml"]))


def version(tx: Tx, number: int | None = None) -> Row | None:
    """The row of a version, the newest if not told. `document` is JSON with the text of the file as `toml`."""
    if number is None:
        return tx.row("SELECT * FROM compute_settings ORDER BY version DESC LIMIT 1")
    return tx.row("SELECT * FROM compute_settings WHERE version = :number", number=number)


def versions(tx: Tx, limit: int) -> list[Row]:
    """Newest first."""
    return tx.rows("SELECT version, applied_by, applied_at FROM compute_settings ORDER BY version DESC LIMIT :limit", limit=limit)


def add_version(tx: Tx, number: int, source: str, by: str, at: str) -> None:
    tx.run(
        "INSERT INTO compute_settings (version, document, applied_by, applied_at) VALUES (:number, :document, :by, :at)",
        number=number, document=json.dumps({"toml": source}, ensure_ascii=False), by=by, at=at,
    )  # fmt: skip


def site_rows(tx: Tx) -> list[Row]:
    return tx.rows("SELECT name, inventory, seen_at, problem FROM compute_sites ORDER BY name")


def drained(tx: Tx) -> set[tuple[str, str]]:
    """(site, node) of the nodes that take no new work because somebody said so."""
    return {(row["site"], row["node"]) for row in tx.rows("SELECT site, node FROM compute_drains")}


def drain(tx: Tx, site: str, node: str, by: str, at: str, *, on: bool) -> bool:
    """Whether that changed anything."""
    if on:
        sql = "INSERT INTO compute_drains (site, node, by, at) VALUES (:site, :node, :by, :at) ON CONFLICT (site, node) DO NOTHING"
        return bool(tx.run(sql, site=site, node=node, by=by, at=at))
    return bool(tx.run("DELETE FROM compute_drains WHERE site = :site AND node = :node", site=site, node=node))
