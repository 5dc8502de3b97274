"""SQL on repositories: rows, old names, and lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lilong.floors.hub.contract import Kind, Listed, Repository
from lilong.ground.access import Actor
from lilong.ground.db import Row, Tx


@dataclass(frozen=True, slots=True)
class Held:
    """A repository with all of its row."""

    id: str
    repository: Repository
    created_by: str
    updated_at: str
    gated: str = ""  # "" | auto | manual
    card: Mapping[str, Any] = field(default_factory=dict)  # front matter of README.md on main
    facts: Mapping[str, Any] = field(default_factory=dict)  # what jobs found in main
    likes: int = 0
    downloads: int = 0
    trending: int = 0
    used_bytes: int = 0
    parameters: int | None = None

    @property
    def kind(self) -> Kind:
        return self.repository.kind

    @property
    def name(self) -> str:
        return self.repository.name

    @property
    def organisation(self) -> str:
        return self.repository.organisation

    @property
    def short(self) -> str:
        return self.repository.name.partition("/")[2]


_ROW = (
    "r.id, r.kind, r.organisation, r.name, r.private, r.created_by, r.created_at, r.updated_at, r.gated, r.card, r.facts, r.likes, "
    "r.downloads, r.trending, r.used_bytes, r.parameters"
)


def held_of(row: Row) -> Held:
    return Held(
        row["id"],
        Repository(Kind(row["kind"]), f"{row['organisation']}/{row['name']}", bool(row["private"]), row["created_at"]),
        row["created_by"], row["updated_at"], row["gated"], json.loads(row["card"]), json.loads(row["facts"]), row["likes"],
        row["downloads"], row["trending"], row["used_bytes"], row["parameters"],
    )  # fmt: skip


def repository(tx: Tx, kind: Kind, name: str) -> Held | None:
    organisation, _, short = name.partition("/")
    row = tx.row(
        f"SELECT {_ROW} FROM hub_repositories r WHERE r.kind = :kind AND r.organisation = :organisation AND r.name = :name",
        kind=kind.value, organisation=organisation, name=short,
    )  # fmt: skip
    return None if row is None else held_of(row)


def repository_by_id(tx: Tx, identity: str) -> Held | None:
    row = tx.row(f"SELECT {_ROW} FROM hub_repositories r WHERE r.id = :id", id=identity)
    return None if row is None else held_of(row)


def same_but_for_case(tx: Tx, kind: Kind, name: str) -> str | None:
    organisation, _, short = name.partition("/")
    found = tx.value(
        "SELECT name FROM hub_repositories WHERE kind = :kind AND organisation = :organisation AND lower(name) = lower(:name)",
        kind=kind.value, organisation=organisation, name=short,
    )  # fmt: skip
    return None if found is None else f"{organisation}/{found}"


def add_repository(tx: Tx, identity: str, repository: Repository, actor: Actor) -> Held:
    organisation, _, short = repository.name.partition("/")
    tx.run(
        "INSERT INTO hub_repositories (id, kind, organisation, name, private, created_by, created_at, updated_at) "
        "VALUES (:id, :kind, :organisation, :name, :private, :by, :at, :at)",
        id=identity, kind=repository.kind.value, organisation=organisation, name=short, private=int(repository.private), by=actor.user,
        at=repository.created_at,
    )  # fmt: skip
    tx.run(
        "DELETE FROM hub_redirects WHERE kind = :kind AND organisation = :organisation AND name = :name",
        kind=repository.kind.value, organisation=organisation, name=short,
    )  # fmt: skip
    return Held(identity, repository, actor.user, repository.created_at)


# Whoever keeps rows by repository adds their table here: they go with it.
_OF_A_REPOSITORY = [
    "hub_refs", "hub_changes", "hub_lines", "hub_commits", "hub_contents", "hub_tags", "hub_redirects", "hub_downloads",
]  # fmt: skip


def goes_with_repository(table: str) -> None:
    """Rows of this table (by its column `repository`) are deleted with the repository, before those of the hub's own tables."""
    if table not in _OF_A_REPOSITORY:
        _OF_A_REPOSITORY.insert(0, table)


def delete_repository(tx: Tx, held: Held) -> None:
    """Trees and bytes stay until they are collected: other repositories may share them."""
    for table in _OF_A_REPOSITORY:
        tx.run(f"DELETE FROM {table} WHERE repository = :id", id=held.id)
    tx.run("DELETE FROM hub_repositories WHERE id = :id", id=held.id)


def move_repository(tx: Tx, held: Held, name: str) -> None:
    """The old name leads to the new one from now on, until another repository takes it."""
    organisation, _, short = name.partition("/")
    given = {"kind": held.kind.value, "organisation": organisation, "name": short}
    tx.run("DELETE FROM hub_redirects WHERE kind = :kind AND organisation = :organisation AND name = :name", **given)
    tx.run(
        "UPDATE hub_repositories SET organisation = :organisation, name = :name WHERE id = :id",
        id=held.id,
        **{k: given[k] for k in ("organisation", "name")},
    )
    tx.run(
        "INSERT INTO hub_redirects (kind, organisation, name, repository) VALUES (:kind, :organisation, :name, :id) "
        "ON CONFLICT (kind, organisation, name) DO UPDATE SET repository = excluded.repository",
        kind=held.kind.value, organisation=held.organisation, name=held.short, id=held.id,
    )  # fmt: skip


def redirect(tx: Tx, kind: Kind, name: str) -> Held | None:
    """The repository that once had this name."""
    organisation, _, short = name.partition("/")
    identity = tx.value(
        "SELECT repository FROM hub_redirects WHERE kind = :kind AND organisation = :organisation AND name = :name",
        kind=kind.value, organisation=organisation, name=short,
    )  # fmt: skip
    return repository_by_id(tx, identity) if identity else None


def set_private(tx: Tx, held: Held, private: bool) -> None:
    tx.run("UPDATE hub_repositories SET private = :private WHERE id = :id", private=int(private), id=held.id)


def set_gated(tx: Tx, held: Held, gated: str) -> None:
    tx.run("UPDATE hub_repositories SET gated = :gated WHERE id = :id", gated=gated, id=held.id)


def next_number(tx: Tx, held: Held) -> int:
    """The number of the next discussion or pull request."""
    tx.run("UPDATE hub_repositories SET last_number = last_number + 1 WHERE id = :id", id=held.id)
    return int(tx.value("SELECT last_number FROM hub_repositories WHERE id = :id", id=held.id))


def set_card(tx: Tx, held: Held, metadata: Mapping[str, Any], tags: Iterable[str]) -> None:
    tx.run("UPDATE hub_repositories SET card = :card WHERE id = :id", card=json.dumps(metadata, ensure_ascii=False), id=held.id)
    _set_tags(tx, held, [*tags, *_fact_tags(tx, held)])


def set_facts(tx: Tx, held: Held, facts: Mapping[str, Any], parameters: int | None, card_tags: Iterable[str]) -> None:
    """`facts["tags"]`, if there are any, are searched by like the card's."""
    tx.run(
        "UPDATE hub_repositories SET facts = :facts, parameters = :parameters WHERE id = :id",
        facts=json.dumps(facts, ensure_ascii=False), parameters=parameters, id=held.id,
    )  # fmt: skip
    _set_tags(tx, held, [*card_tags, *facts.get("tags", [])])


def _fact_tags(tx: Tx, held: Held) -> list[str]:
    facts = json.loads(tx.value("SELECT facts FROM hub_repositories WHERE id = :id", id=held.id) or "{}")
    return [tag for tag in facts.get("tags", []) if isinstance(tag, str)]


def _set_tags(tx: Tx, held: Held, tags: Iterable[str]) -> None:
    tx.run("DELETE FROM hub_tags WHERE repository = :id", id=held.id)
    rows = [{"id": held.id, "tag": tag} for tag in dict.fromkeys(tag[:200].lower() for tag in tags)]
    tx.many("INSERT INTO hub_tags (repository, tag) VALUES (:id, :tag)", rows[:500])


def tags_in_use(tx: Tx, kind: Kind, seen: tuple[str, Mapping[str, Any]]) -> list[tuple[str, int]]:
    """(tag, how many repositories that may be seen have it), the most frequent first."""
    condition, parameters = seen
    rows = tx.rows(
        "SELECT t.tag, COUNT(*) AS n FROM hub_tags t JOIN hub_repositories r ON r.id = t.repository "
        f"WHERE r.kind = :kind AND (r.private = 0 OR {condition}) GROUP BY t.tag ORDER BY n DESC, t.tag LIMIT 5000",
        kind=kind.value, **parameters,
    )  # fmt: skip
    return [(row["tag"], row["n"]) for row in rows]


def add_downloads(tx: Tx, counted: Mapping[str, int], day: str) -> None:
    """`counted`: repository id -> fetches."""
    for identity, count in counted.items():
        if tx.run("UPDATE hub_repositories SET downloads = downloads + :n WHERE id = :id", n=count, id=identity):
            tx.run(
                "INSERT INTO hub_downloads (repository, day, count) VALUES (:id, :day, :n) "
                "ON CONFLICT (repository, day) DO UPDATE SET count = hub_downloads.count + excluded.count",
                id=identity, day=day, n=count,
            )  # fmt: skip


def used_by_namespace(tx: Tx, organisation: str) -> int:
    """Bytes of large files in the repositories of an organisation."""
    return int(tx.value("SELECT COALESCE(SUM(used_bytes), 0) FROM hub_repositories WHERE organisation = :o", o=organisation))


def sizes_in(tx: Tx, repository: str) -> set[int]:
    """The sizes of the large files that a repository has ever held."""
    return {int(row["size"]) for row in tx.rows("SELECT DISTINCT size FROM hub_contents WHERE repository = :r", r=repository)}


# --- lists --------------------------------------------------------------------------------------------------------------

SORTS = {"lastModified": "updated_at", "createdAt": "created_at", "downloads": "downloads", "likes": "likes", "trendingScore": "trending"}
_NUMBERS = ("downloads", "likes", "trending")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which repositories a list shows. `before`: (what it is sorted by, id) of the last one on the page before."""

    author: str | None = None
    search: str | None = None
    limit: int = 100
    before: tuple[str, str] | None = None
    tags: tuple[str, ...] = ()  # all of them
    gated: bool | None = None
    parameters: tuple[int | None, int | None] = (None, None)  # least and most
    sort: str = "lastModified"  # of SORTS, the greatest first


def sort_key(held: Held, wanted: Wanted) -> str:
    """What `Wanted.before` takes for the page after this one."""
    column = SORTS[wanted.sort]
    return str(held.repository.created_at if column == "created_at" else getattr(held, column))


def repositories(tx: Tx, kind: Kind, seen: tuple[str, Mapping[str, Any]], wanted: Wanted) -> list[tuple[Held, Listed]]:
    """`seen` is the SQL condition of the actor's own organisations, public ones are seen by all."""
    condition, parameters = seen
    given: dict[str, Any] = {"kind": kind.value, "limit": wanted.limit, **parameters}
    where = [f"r.kind = :kind AND (r.private = 0 OR {condition})"]
    if wanted.author is not None:
        where.append("r.organisation = :author")
        given["author"] = wanted.author
    if wanted.search:
        where.append("lower(r.organisation || '/' || r.name) LIKE :search ESCAPE '!'")
        pattern = wanted.search.lower()
        for sign in "!%_":
            pattern = pattern.replace(sign, "!" + sign)
        given["search"] = f"%{pattern}%"
    for number, tag in enumerate(wanted.tags):
        where.append(f"EXISTS (SELECT 1 FROM hub_tags t WHERE t.repository = r.id AND t.tag = :tag_{number})")
        given[f"tag_{number}"] = tag.lower()
    if wanted.gated is not None:
        where.append("r.gated <> ''" if wanted.gated else "r.gated = ''")
    for name, sign, bound in zip(("least", "most"), (">=", "<="), wanted.parameters, strict=True):
        if bound is not None:
            where.append(f"r.parameters {sign} :{name}")
            given[name] = bound
    column = SORTS[wanted.sort]
    if wanted.before is not None:
        where.append(f"(r.{column} < :before_key OR (r.{column} = :before_key AND r.id < :before_id))")
        key, given["before_id"] = wanted.before
        given["before_key"] = (int(key) if key.isascii() and key.isdigit() else 0) if column in _NUMBERS else key
    rows = tx.rows(
        f"SELECT {_ROW}, c.id AS head, c.manifest, m.manifest AS worked_out FROM "
        f"(SELECT r.* FROM hub_repositories r WHERE {' AND '.join(where)} ORDER BY r.{column} DESC, r.id DESC LIMIT :limit) r "
        "LEFT JOIN hub_refs f ON f.repository = r.id AND f.name = 'refs/heads/main' "
        "LEFT JOIN hub_commits c ON c.repository = r.id AND c.id = f.target LEFT JOIN hub_manifests m ON m.tree = c.tree "
        f"ORDER BY r.{column} DESC, r.id DESC",
        **given,
    )
    found = [(held_of(row), row) for row in rows]
    return [(held, Listed(held.repository, row["head"], row["manifest"] or row["worked_out"], held.updated_at)) for held, row in found]
