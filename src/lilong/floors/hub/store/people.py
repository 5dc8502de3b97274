"""SQL on who is where, and on what the repositories of a namespace take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lilong.ground.db import Tx


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    title: str


@dataclass(frozen=True, slots=True)
class Used:
    """One repository and the bytes it takes."""

    name: str  # namespace/name
    kind: str
    updated_at: str
    private: bool
    bytes: int


def something_public(tx: Tx, organisation: str) -> bool:
    return tx.row("SELECT 1 FROM hub_repositories WHERE organisation = :o AND private = 0 LIMIT 1", o=organisation) is not None


def together(tx: Tx, user: str, inside: tuple[str, Mapping[str, Any]]) -> bool:
    """Whether the user has a role in an organisation of which the condition (over `o.name`) holds."""
    condition, parameters = inside
    return tx.row(
        "SELECT 1 FROM ground_grants g JOIN ground_organisations o ON g.scope = '@' || o.name "
        f"WHERE g.user_name = :shared_user AND o.personal = 0 AND {condition} LIMIT 1",
        shared_user=user, **parameters,
    ) is not None  # fmt: skip


def members(tx: Tx, organisation: str, after: str, limit: int) -> list[Person]:
    rows = tx.rows(
        "SELECT DISTINCT u.name, u.title FROM ground_grants g JOIN ground_users u ON u.name = g.user_name "
        "WHERE g.scope = '@' || :organisation AND u.disabled_at IS NULL AND u.name > :after ORDER BY u.name LIMIT :limit",
        organisation=organisation, after=after, limit=limit,
    )  # fmt: skip
    return [Person(row["name"], row["title"]) for row in rows]


def count_members(tx: Tx, organisation: str) -> int:
    return int(
        tx.value(
            "SELECT COUNT(DISTINCT g.user_name) FROM ground_grants g JOIN ground_users u ON u.name = g.user_name "
            "WHERE g.scope = '@' || :organisation AND u.disabled_at IS NULL",
            organisation=organisation,
        )
    )


def count_repositories(tx: Tx, organisation: str, seen: tuple[str, Mapping[str, Any]]) -> dict[str, int]:
    """How many of each kind may be seen. `seen`: the condition over `r.organisation` and `r.name`."""
    condition, parameters = seen
    rows = tx.rows(
        f"SELECT r.kind, COUNT(*) AS n FROM hub_repositories r WHERE r.organisation = :o AND (r.private = 0 OR {condition}) GROUP BY r.kind",
        o=organisation, **parameters,
    )  # fmt: skip
    return {row["kind"]: row["n"] for row in rows}


def used(tx: Tx, organisation: str, seen: tuple[str, Mapping[str, Any]], after: tuple[str, str], limit: int) -> list[Used]:
    """Repositories and buckets, by name and kind."""
    condition, parameters = seen
    rows = tx.rows(
        "SELECT x.kind, x.name, x.updated_at, x.private, x.bytes FROM ("
        "SELECT r.kind, r.name, r.updated_at, r.private, r.used_bytes AS bytes FROM hub_repositories r "
        f"WHERE r.organisation = :o AND (r.private = 0 OR {condition}) UNION ALL "
        "SELECT 'bucket', r.name, r.created_at, r.private, r.bytes FROM hub_buckets r "
        f"WHERE r.organisation = :o AND (r.private = 0 OR {condition})) x "
        "WHERE x.name > :name OR (x.name = :name AND x.kind > :kind) ORDER BY x.name, x.kind LIMIT :limit",
        o=organisation, name=after[0], kind=after[1], limit=limit, **parameters,
    )  # fmt: skip
    return [Used(f"{organisation}/{row['name']}", row["kind"], row["updated_at"], bool(row["private"]), row["bytes"]) for row in rows]


def used_by_all(tx: Tx, organisation: str) -> int:
    """Bytes of all its repositories and buckets, whoever may see them."""
    tables = (("hub_repositories", "used_bytes"), ("hub_buckets", "bytes"))
    return sum(
        int(tx.value(f"SELECT COALESCE(SUM({column}), 0) FROM {table} WHERE organisation = :o", o=organisation)) for table, column in tables
    )


def kinds_of(tx: Tx, organisation: str, name: str, seen: tuple[str, Mapping[str, Any]]) -> list[str]:
    """The kinds of the repositories of this name that may be seen."""
    condition, parameters = seen
    rows = tx.rows(
        f"SELECT r.kind FROM hub_repositories r WHERE r.organisation = :o AND r.name = :n AND (r.private = 0 OR {condition}) ORDER BY r.kind",
        o=organisation, n=name, **parameters,
    )  # fmt: skip
    return [row["kind"] for row in rows]
