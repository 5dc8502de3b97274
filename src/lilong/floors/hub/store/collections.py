"""SQL on collections and what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lilong.ground.db import Row, Tx

Seen = tuple[str, Mapping[str, Any]]  # an SQL condition with its parameters


@dataclass(frozen=True, slots=True)
class Item:
    """`name`: organisation/name of a repository or bucket, the slug of a collection, the number of a paper."""

    id: str
    kind: str  # model | dataset | bucket | collection | paper
    name: str
    position: int
    note: str
    title: str = ""  # of a collection
    private: bool = False
    likes: int = 0
    downloads: int = 0
    updated_at: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    id: str  # 24 hex digits
    owner: str
    words: str  # the title's, for the address
    title: str
    description: str
    private: bool
    theme: str
    position: int  # among its owner's
    upvotes: int
    created_by: str
    created_at: str
    updated_at: str
    items: tuple[Item, ...] = ()

    @property
    def slug(self) -> str:
        return f"{self.owner}/{self.words}-{self.id}"


_COLUMNS = "id, owner, words, title, description, private, theme, position, upvotes, created_by, created_at, updated_at"


def _collection(row: Row) -> Collection:
    found = {key: row[key] for key in _COLUMNS.split(", ")}
    return Collection(**{**found, "private": bool(row["private"])})


def add(tx: Tx, made: Collection) -> None:
    names = _COLUMNS.split(", ")
    given = {name: getattr(made, name) for name in names} | {"private": int(made.private)}
    tx.run(f"INSERT INTO hub_collections ({_COLUMNS}) VALUES ({', '.join(':' + name for name in names)})", **given)


def get(tx: Tx, identity: str) -> Collection | None:
    """Without its items."""
    row = tx.row(f"SELECT {_COLUMNS} FROM hub_collections WHERE id = :id", id=identity)
    return None if row is None else _collection(row)


def titled(tx: Tx, owner: str, title: str) -> Collection | None:
    row = tx.row(f"SELECT {_COLUMNS} FROM hub_collections WHERE owner = :owner AND title = :title", owner=owner, title=title)
    return None if row is None else _collection(row)


def next_position(tx: Tx, owner: str) -> int:
    last = tx.value("SELECT MAX(position) FROM hub_collections WHERE owner = :owner", owner=owner)
    return 0 if last is None else int(last) + 1


def change(tx: Tx, changed: Collection) -> None:
    tx.run(
        "UPDATE hub_collections SET words = :words, title = :title, description = :description, private = :private, theme = :theme, "
        "position = :position, updated_at = :updated_at WHERE id = :id",
        words=changed.words, title=changed.title, description=changed.description, private=int(changed.private), theme=changed.theme,
        position=changed.position, updated_at=changed.updated_at, id=changed.id,
    )  # fmt: skip


def touch(tx: Tx, identity: str, now: str) -> None:
    tx.run("UPDATE hub_collections SET updated_at = :now WHERE id = :id", now=now, id=identity)


def delete(tx: Tx, identity: str) -> None:
    tx.run("DELETE FROM hub_collection_items WHERE kind = 'collection' AND name = :id", id=identity)
    tx.run("DELETE FROM hub_collections WHERE id = :id", id=identity)


# --- lists --------------------------------------------------------------------------------------------------------------

SORTS = {"lastModified": "updated_at", "upvotes": "upvotes", "trending": "upvotes"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which collections a list shows. `items`: (kind, name) of which one must be in it."""

    owners: tuple[str, ...] = ()
    items: tuple[tuple[str, str], ...] = ()
    search: str | None = None
    sort: str = "lastModified"  # of SORTS, the greatest first
    limit: int = 100
    before: tuple[str, str] | None = None  # what it is sorted by, and the id, of the last one on the page before


@dataclass(frozen=True, slots=True)
class Sight:
    """What the one who looks may see: conditions on the columns of repositories (r), buckets (b) and collections (c)."""

    repositories: Seen
    buckets: Seen
    collections: Seen

    @property
    def given(self) -> dict[str, Any]:
        return {**self.repositories[1], **self.buckets[1], **self.collections[1]}

    @property
    def items(self) -> str:
        return (
            f"(i.kind = 'paper' OR (r.id IS NOT NULL AND (r.private = 0 OR {self.repositories[0]})) "
            f"OR (b.id IS NOT NULL AND (b.private = 0 OR {self.buckets[0]})) OR (c.id IS NOT NULL AND (c.private = 0 OR {self.collections[0]})))"
        )


_ITEMS = (
    "FROM hub_collection_items i LEFT JOIN hub_repositories r ON r.id = i.repository "
    "LEFT JOIN hub_buckets b ON i.kind = 'bucket' AND b.id = i.name LEFT JOIN hub_collections c ON i.kind = 'collection' AND c.id = i.name"
)


def listed(tx: Tx, sight: Sight, wanted: Wanted) -> list[Collection]:
    condition, _ = sight.collections
    where = [f"(c.private = 0 OR {condition})"]
    given: dict[str, Any] = {**sight.given, "limit": wanted.limit}
    if wanted.owners:
        where.append(f"c.owner IN ({', '.join(f':owner{n}' for n in range(len(wanted.owners)))})")
        given |= {f"owner{n}": owner for n, owner in enumerate(wanted.owners)}
    if wanted.search:
        pattern = wanted.search.lower().replace("!", "!!").replace("%", "!%").replace("_", "!_")
        where.append("(lower(c.title) LIKE :search ESCAPE '!' OR lower(c.description) LIKE :search ESCAPE '!')")
        given["search"] = f"%{pattern}%"
    if wanted.items:
        ways = []
        for n, (kind, name) in enumerate(wanted.items):
            ways.append(f"(i.kind = :kind{n} AND {_named(kind, n)})")
            given |= {f"kind{n}": kind, f"name{n}": name}
        inner = _ITEMS.replace("hub_collections c ON", "hub_collections o ON").replace("c.id = i.name", "o.id = i.name")
        where.append(
            f"c.id IN (SELECT i.collection {inner} WHERE ({' OR '.join(ways)}) AND (r.id IS NULL OR r.private = 0 OR {sight.repositories[0]}) "
            f"AND (b.id IS NULL OR b.private = 0 OR {sight.buckets[0]}))"
        )
    column = SORTS[wanted.sort]
    if wanted.before is not None:
        key, given["before_id"] = wanted.before
        given["before_key"] = int(key) if column == "upvotes" else key
        where.append(f"(c.{column} < :before_key OR (c.{column} = :before_key AND c.id < :before_id))")
    columns = ", ".join("c." + name for name in _COLUMNS.split(", "))
    rows = tx.rows(
        f"SELECT {columns} FROM hub_collections c WHERE {' AND '.join(where)} ORDER BY c.{column} DESC, c.id DESC LIMIT :limit", **given
    )
    return [_collection(row) for row in rows]


def _named(kind: str, number: int) -> str:
    if kind in ("model", "dataset"):
        return f"r.organisation || '/' || r.name = :name{number}"
    if kind == "bucket":
        return f"b.organisation || '/' || b.name = :name{number}"
    return f"i.name = :name{number}"


def with_items(tx: Tx, sight: Sight, found: Sequence[Collection], most: int | None = None) -> list[Collection]:
    """What may be seen of each, the first `most` only if given."""
    if not found:
        return []
    items: dict[str, list[Item]] = {one.id: [] for one in found}
    rows = tx.rows(
        "SELECT i.id, i.collection, i.kind, i.name, i.position, i.note, r.organisation AS r_organisation, r.name AS r_name, r.private AS r_private, "
        "r.likes, r.downloads, r.updated_at, b.organisation AS b_organisation, b.name AS b_name, b.private AS b_private, c.owner, c.words, c.title, "
        f"c.private AS c_private {_ITEMS} WHERE i.collection IN ({', '.join(f':c{n}' for n in range(len(found)))}) AND {sight.items} "
        "ORDER BY i.collection, i.position, i.id",
        **{f"c{n}": one.id for n, one in enumerate(found)}, **sight.given,
    )  # fmt: skip
    for row in rows:
        items[row["collection"]].append(_item(row))
    return [replace(one, items=tuple(items[one.id][:most])) for one in found]


def _item(row: Row) -> Item:
    kind = row["kind"]
    if kind in ("model", "dataset"):
        return Item(
            row["id"], kind, f"{row['r_organisation']}/{row['r_name']}", row["position"], row["note"], private=bool(row["r_private"]),
            likes=row["likes"], downloads=row["downloads"], updated_at=row["updated_at"],
        )  # fmt: skip
    if kind == "bucket":
        return Item(
            row["id"], kind, f"{row['b_organisation']}/{row['b_name']}", row["position"], row["note"], private=bool(row["b_private"])
        )
    if kind == "collection":
        slug = f"{row['owner']}/{row['words']}-{row['name']}"
        return Item(row["id"], kind, slug, row["position"], row["note"], row["title"], private=bool(row["c_private"]))
    return Item(row["id"], kind, row["name"], row["position"], row["note"])


# --- items --------------------------------------------------------------------------------------------------------------


def order(tx: Tx, collection: str) -> list[str]:
    """The ids of all items, as they stand."""
    rows = tx.rows("SELECT id FROM hub_collection_items WHERE collection = :c ORDER BY position, id", c=collection)
    return [row["id"] for row in rows]


def has(tx: Tx, collection: str, kind: str, repository: str | None, name: str) -> bool:
    where = "repository = :repository" if repository is not None else "name = :name"
    given = {"repository": repository} if repository is not None else {"name": name}
    return (
        tx.row(f"SELECT 1 FROM hub_collection_items WHERE collection = :c AND kind = :kind AND {where}", c=collection, kind=kind, **given)
        is not None
    )


@dataclass(frozen=True, slots=True)
class Place:
    """What an item points to: a repository by its row's id, or something else by `name`."""

    kind: str
    repository: str | None
    name: str = ""


def add_item(tx: Tx, collection: str, identity: str, place: Place, note: str, by: str, now: str) -> None:
    last = tx.value("SELECT MAX(position) FROM hub_collection_items WHERE collection = :c", c=collection)
    tx.run(
        "INSERT INTO hub_collection_items (id, collection, kind, repository, name, position, note, added_by, added_at) "
        "VALUES (:id, :c, :kind, :repository, :name, :position, :note, :by, :now)",
        id=identity, c=collection, kind=place.kind, repository=place.repository, name=place.name,
        position=0 if last is None else last + 1, note=note, by=by, now=now,
    )  # fmt: skip


def set_note(tx: Tx, identity: str, note: str) -> None:
    tx.run("UPDATE hub_collection_items SET note = :note WHERE id = :id", note=note, id=identity)


def set_order(tx: Tx, identities: Sequence[str]) -> None:
    rows = ({"id": identity, "position": position} for position, identity in enumerate(identities))
    tx.many("UPDATE hub_collection_items SET position = :position WHERE id = :id", rows)


def delete_item(tx: Tx, identity: str) -> None:
    tx.run("DELETE FROM hub_collection_items WHERE id = :id", id=identity)


def upvote(tx: Tx, identity: str, user: str) -> None:
    if tx.run(
        "INSERT INTO hub_collection_upvotes (collection, user_name) VALUES (:c, :user) ON CONFLICT (collection, user_name) DO NOTHING",
        c=identity, user=user,
    ):  # fmt: skip
        tx.run("UPDATE hub_collections SET upvotes = upvotes + 1 WHERE id = :c", c=identity)


def take_upvote(tx: Tx, identity: str, user: str) -> None:
    if tx.run("DELETE FROM hub_collection_upvotes WHERE collection = :c AND user_name = :user", c=identity, user=user):
        tx.run("UPDATE hub_collections SET upvotes = upvotes - 1 WHERE id = :c", c=identity)
