"""SQL for what pages show around a repository: counts, facets, and what happened."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lilong.floors.hub.contract import Kind
from lilong.ground.db import Tx
from lilong.ground.events import Recorded

from .repositories import Held, held_of

# What everybody may know who sees the repository: not who has asked for its files.
_TOLD = (
    "hub.committed", "hub.ref-changed", "hub.repository-created", "hub.repository-moved", "hub.repository-changed", "hub.imported",
    "hub.discussion-opened", "hub.discussion-commented", "hub.discussion-changed",
)  # fmt: skip
_EVENTS_LOOKED_AT = 400  # of repositories with one name but of different kinds


def open_discussions(tx: Tx, held: Held) -> int:
    return int(tx.value("SELECT COUNT(*) FROM hub_discussions WHERE repository = :id AND status IN ('open', 'draft')", id=held.id))


def organisations_in_use(tx: Tx, kind: Kind, seen: tuple[str, Mapping[str, Any]], limit: int) -> list[tuple[str, int]]:
    """(organisation, how many of its repositories may be seen), the most first."""
    condition, parameters = seen
    rows = tx.rows(
        f"SELECT r.organisation, COUNT(*) AS n FROM hub_repositories r WHERE r.kind = :kind AND (r.private = 0 OR {condition}) "
        "GROUP BY r.organisation ORDER BY n DESC, r.organisation LIMIT :limit",
        kind=kind.value, limit=limit, **parameters,
    )  # fmt: skip
    return [(row["organisation"], row["n"]) for row in rows]


def repositories_of(tx: Tx, organisation: str, seen: tuple[str, Mapping[str, Any]], limit: int) -> list[Held]:
    """Those of one organisation that may be seen, the newest first."""
    condition, parameters = seen
    rows = tx.rows(
        f"SELECT r.* FROM hub_repositories r WHERE r.organisation = :organisation AND (r.private = 0 OR {condition}) "
        "ORDER BY r.updated_at DESC, r.id DESC LIMIT :limit",
        organisation=organisation, limit=limit, **parameters,
    )  # fmt: skip
    return [held_of(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Told:
    """An event of a repository, with the repository that it is about."""

    recorded: Recorded
    held: Held


def activity(
    tx: Tx, repositories: Collection[Held], before: int | None, limit: int, *, shut: Collection[str] = ()
) -> tuple[list[Told], int | None]:
    """The newest events of these repositories, and the number before which the next page begins.

    A name may once have been another repository's: what happened before this one was made is not told. `shut`: ids of those whose gate
    is not open to the reader, who is not told what is said there.
    """
    names = {held.name for held in repositories}
    if not names:
        return [], None
    known = {(held.kind.value, held.name): held for held in repositories}
    given: dict[str, Any] = {f"n{i}": name for i, name in enumerate(sorted(names))}
    rows = tx.rows(
        f"SELECT * FROM ground_events WHERE subject IN ({', '.join(':' + key for key in given)}) "
        f"{'AND seq < :before ' if before is not None else ''}ORDER BY seq DESC LIMIT :limit",
        limit=_EVENTS_LOOKED_AT, **given, **({"before": before} if before is not None else {}),
    )  # fmt: skip
    found: list[Told] = []
    for row in rows:
        recorded = Recorded.from_row(row)
        if recorded.kind not in _TOLD or recorded.body_text is None:
            continue
        held = known.get((str(recorded.body.get("repository_kind")), recorded.subject))
        if held is None or recorded.at < held.repository.created_at:
            continue
        if held.id in shut and recorded.kind.startswith("hub.discussion"):
            continue
        if len(found) == limit:
            return found, found[-1].recorded.seq
        found.append(Told(recorded, held))
    return found, rows[-1]["seq"] if len(rows) == _EVENTS_LOOKED_AT else None


def history_of(tx: Tx, held: Held, spans: Collection[tuple[int, int]], path: str, limit: int, skip: int) -> list[str]:
    """Ids of the commits on these pieces of lines that changed a path, the newest first."""
    found: list[str] = []
    for line, depth in spans:
        rows = tx.rows(
            "SELECT c.id FROM hub_changes h JOIN hub_commits c ON c.repository = h.repository AND c.line = h.line AND c.depth = h.depth "
            "WHERE h.repository = :id AND h.path = :path AND h.line = :line AND h.depth <= :depth ORDER BY h.depth DESC LIMIT :limit",
            id=held.id, path=path, line=line, depth=depth, limit=limit + skip - len(found),
        )  # fmt: skip
        found += [row["id"] for row in rows]
        if len(found) >= limit + skip:
            break
    return found[skip:]
