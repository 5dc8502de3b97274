"""SQL on branches, tags and the refs of pull requests."""

from __future__ import annotations

from dataclasses import dataclass

from lilong.floors.hub.contract import RefMoved
from lilong.ground.db import Tx

from .repositories import Held


@dataclass(frozen=True, slots=True)
class Ref:
    name: str  # refs/…
    target: str


def ref(tx: Tx, held: Held, name: str) -> str | None:
    target: str | None = tx.value(
        "SELECT target FROM hub_refs WHERE repository = :repository AND name = :name", repository=held.id, name=name
    )
    return target


def refs(tx: Tx, held: Held) -> list[Ref]:
    return [
        Ref(row["name"], row["target"])
        for row in tx.rows("SELECT name, target FROM hub_refs WHERE repository = :id ORDER BY name", id=held.id)
    ]


def move_ref(tx: Tx, held: Held, name: str, expected: str | None, target: str, now: str, message: str = "") -> None:
    """Compare and swap; `expected` None: there must be no such ref. Raises RefMoved."""
    given = {"repository": held.id, "name": name, "target": target, "at": now}
    if expected is None:
        moved = tx.run(
            "INSERT INTO hub_refs (repository, name, target, message, updated_at) VALUES (:repository, :name, :target, :message, :at) "
            "ON CONFLICT (repository, name) DO NOTHING",
            message=message, **given,
        )  # fmt: skip
    else:
        moved = tx.run(
            "UPDATE hub_refs SET target = :target, updated_at = :at WHERE repository = :repository AND name = :name AND target = :expected",
            expected=expected, **given,
        )  # fmt: skip
    if not moved:
        raise RefMoved(ref=name, repository=held.name, found=ref(tx, held, name) or "nothing", expected=expected or "nothing")


def delete_ref(tx: Tx, held: Held, name: str) -> bool:
    return bool(tx.run("DELETE FROM hub_refs WHERE repository = :repository AND name = :name", repository=held.id, name=name))
