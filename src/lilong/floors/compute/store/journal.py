"""Every decision with what it saw."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from lilong.ground.db import Row, Tx

WHOLE_EVERY = 500  # decisions between two whole snapshots


@dataclass(frozen=True, slots=True)
class Entry:
    """`seen`: entry of the snapshot -> canonical JSON; where it is not `whole`, only those that changed, None for those that are gone."""

    number: int
    at: str
    policy: str
    digest: str
    whole: bool
    seen: Mapping[str, str | None]
    plan: str


def packed(seen: Mapping[str, str | None]) -> bytes:
    inner = ",".join(f"{json.dumps(name)}:{'null' if value is None else value}" for name, value in seen.items())
    return zlib.compress(("{" + inner + "}").encode())


def unpacked(seen: bytes) -> dict[str, str | None]:
    """Raises ValueError for what is none."""
    try:
        told = json.loads(zlib.decompress(bytes(seen)))
    except zlib.error as problem:
        raise ValueError(str(problem)) from problem
    return {
        name: None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        for name, value in told.items()
    }


def add(tx: Tx, entry: Entry) -> None:
    tx.run(
        "INSERT INTO compute_decisions (number, at, policy, digest, whole, seen, plan) VALUES (:number, :at, :policy, :digest, :whole, :seen, :plan)",
        number=entry.number, at=entry.at, policy=entry.policy, digest=entry.digest, whole=int(entry.whole), seen=packed(entry.seen),
        plan=entry.plan,
    )  # fmt: skip


def span(tx: Tx) -> tuple[int, int]:
    """(first, last) number that is kept; (1, 0) if there is none."""
    row = tx.row("SELECT MIN(number) AS first, MAX(number) AS last FROM compute_decisions")
    return (1, 0) if row is None or row["last"] is None else (int(row["first"]), int(row["last"]))


def whole_before(tx: Tx, number: int) -> int | None:
    """The last decision up to `number` that was kept with its whole snapshot."""
    found = tx.value("SELECT MAX(number) FROM compute_decisions WHERE whole = 1 AND number <= :number", number=number)
    return None if found is None else int(found)


def rows(tx: Tx, first: int, last: int) -> list[Row]:
    return tx.rows("SELECT * FROM compute_decisions WHERE number BETWEEN :first AND :last ORDER BY number", first=first, last=last)


def listed(tx: Tx, last: int, limit: int) -> list[Row]:
    """Newest first, from number `last` down, without what they saw."""
    return tx.rows(
        "SELECT number, at, policy, digest, whole, plan FROM compute_decisions WHERE number <= :last ORDER BY number DESC LIMIT :limit",
        last=last, limit=limit,
    )  # fmt: skip


def prune(tx: Tx, before: str, most: int) -> int:
    """Drop up to `most` decisions older than `before`, up to a whole snapshot, so that what is left can be replayed. How many went."""
    old = tx.value("SELECT MAX(number) FROM compute_decisions WHERE at < :before", before=before)
    keep = None if old is None else tx.value("SELECT MAX(number) FROM compute_decisions WHERE whole = 1 AND number <= :old", old=old)
    first = tx.value("SELECT MIN(number) FROM compute_decisions")
    if keep is None or first is None:
        return 0
    upto = min(int(keep), int(first) + most)
    if upto < int(keep):  # not in the middle of a stretch
        upto = int(tx.value("SELECT MAX(number) FROM compute_decisions WHERE whole = 1 AND number <= :upto", upto=upto) or first)
    return tx.run("DELETE FROM compute_decisions WHERE number < :upto", upto=upto)
