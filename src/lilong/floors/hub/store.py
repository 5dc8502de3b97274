"""SQL on the hub's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from lilong.ground.access import Actor
from lilong.ground.db import Row, Tx
from lilong.ground.errors import Corrupt, Refused

from .contract import Kind, Listed, RefMoved, Repository, RevisionNotFound
from .git.trees import Entry, Folder
from .rules import names


@dataclass(frozen=True, slots=True)
class Held:
    """A repository with its row's id."""

    id: str
    repository: Repository
    created_by: str
    updated_at: str

    @property
    def kind(self) -> Kind:
        return self.repository.kind

    @property
    def name(self) -> str:
        return self.repository.name


@dataclass(frozen=True, slots=True)
class Commit:
    id: str
    tree: str
    parent: str | None
    manifest: str
    author: str
    message: str
    at: str

    @property
    def title(self) -> str:
        return self.message.split("\n", 1)[0]

    @property
    def description(self) -> str:
        return self.message.partition("\n")[2].strip("\n")


@dataclass(frozen=True, slots=True)
class Ref:
    name: str  # refs/…
    target: str


# --- repositories -------------------------------------------------------------------------------------------------------

_REPOSITORY = "r.id, r.kind, r.organisation, r.name, r.private, r.created_by, r.created_at, r.updated_at"


def _held(row: Row) -> Held:
    return Held(
        row["id"],
        Repository(Kind(row["kind"]), f"{row['organisation']}/{row['name']}", bool(row["private"]), row["created_at"]),
        row["created_by"],
        row["updated_at"],
    )


def repository(tx: Tx, kind: Kind, name: str) -> Held | None:
    organisation, _, short = name.partition("/")
    row = tx.row(
        f"SELECT {_REPOSITORY} FROM hub_repositories r WHERE r.kind = :kind AND r.organisation = :organisation AND r.name = :name",
        kind=kind.value, organisation=organisation, name=short,
    )  # fmt: skip
    return None if row is None else _held(row)


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
    return Held(identity, repository, actor.user, repository.created_at)


def delete_repository(tx: Tx, held: Held) -> None:
    """Trees and blobs stay until they are collected: other repositories may share them."""
    for table in ("hub_refs", "hub_commits", "hub_contents"):
        tx.run(f"DELETE FROM {table} WHERE repository = :id", id=held.id)
    tx.run("DELETE FROM hub_repositories WHERE id = :id", id=held.id)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which repositories a list shows. `before`: (updated_at, id) of the last one on the page before."""

    author: str | None = None
    search: str | None = None
    limit: int = 100
    before: tuple[str, str] | None = None


def repositories(tx: Tx, kind: Kind, seen: tuple[str, Mapping[str, Any]], wanted: Wanted) -> list[tuple[Held, Listed]]:
    """The newest first; `seen` is the SQL condition of the actor's own organisations, public ones are seen by all."""
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
    if wanted.before is not None:
        where.append("(r.updated_at < :before_at OR (r.updated_at = :before_at AND r.id < :before_id))")
        given["before_at"], given["before_id"] = wanted.before
    rows = tx.rows(
        f"SELECT {_REPOSITORY}, c.id AS head, c.manifest FROM hub_repositories r "
        "LEFT JOIN hub_refs f ON f.repository = r.id AND f.name = 'refs/heads/main' "
        "LEFT JOIN hub_commits c ON c.repository = r.id AND c.id = f.target "
        f"WHERE {' AND '.join(where)} ORDER BY r.updated_at DESC, r.id DESC LIMIT :limit",
        **given,
    )
    found = [(_held(row), row) for row in rows]
    return [(held, Listed(held.repository, row["head"], row["manifest"], held.updated_at)) for held, row in found]


# --- commits ------------------------------------------------------------------------------------------------------------

_COMMIT = "id, tree, parent, manifest, author, message, at"


def _commit(row: Row) -> Commit:
    return Commit(*(row[key] for key in _COMMIT.split(", ")))


def commit(tx: Tx, held: Held, identity: str) -> Commit | None:
    row = tx.row(f"SELECT {_COMMIT} FROM hub_commits WHERE repository = :repository AND id = :id", repository=held.id, id=identity)
    return None if row is None else _commit(row)


def at(tx: Tx, held: Held, word: str) -> Commit:
    """The commit that a branch, a tag, or an id (or its unambiguous beginning) names. Raises RevisionNotFound."""
    missing = RevisionNotFound(repository=held.name, name=word[:100])
    if not names.is_commit(word):
        for candidate in names.candidates(word):
            target = ref(tx, held, candidate)
            if target is not None:
                word = target
                break
        else:
            if not names.is_abbreviated(word):
                raise missing
            last = word + "g"  # sorts behind every id that begins with the word
            rows = tx.rows(
                f"SELECT {_COMMIT} FROM hub_commits WHERE repository = :repository AND id >= :first AND id < :last LIMIT 2",
                repository=held.id, first=word, last=last,
            )  # fmt: skip
            if len(rows) != 1:
                raise missing
            return _commit(rows[0])
    found = commit(tx, held, word)
    if found is None:
        raise missing
    return found


def add_commit(tx: Tx, held: Held, commit: Commit, content: bytes) -> None:
    tx.run(
        "INSERT INTO hub_commits (repository, id, tree, parent, manifest, author, message, at, content) "
        "VALUES (:repository, :id, :tree, :parent, :manifest, :author, :message, :at, :content) ON CONFLICT (repository, id) DO NOTHING",
        repository=held.id, id=commit.id, tree=commit.tree, parent=commit.parent, manifest=commit.manifest, author=commit.author,
        message=commit.message, at=commit.at, content=content,
    )  # fmt: skip
    tx.run("UPDATE hub_repositories SET updated_at = :at WHERE id = :id AND updated_at < :at", at=commit.at, id=held.id)


def history(tx: Tx, held: Held, start: str, limit: int) -> list[Commit]:
    """The commit `start` and its first parents, the newest first."""
    rows = tx.rows(
        "WITH RECURSIVE line (depth, id, tree, parent, manifest, author, message, at) AS ("
        f"SELECT 0, {_COMMIT} FROM hub_commits WHERE repository = :repository AND id = :start "
        "UNION ALL SELECT line.depth + 1, c.id, c.tree, c.parent, c.manifest, c.author, c.message, c.at FROM line "
        "JOIN hub_commits c ON c.repository = :repository AND c.id = line.parent WHERE line.depth + 1 < :limit) "
        f"SELECT {_COMMIT} FROM line ORDER BY depth",
        repository=held.id, start=start, limit=limit,
    )  # fmt: skip
    return [_commit(row) for row in rows]


def first_with_manifest(tx: Tx, manifest: str) -> tuple[Held, Commit] | None:
    """The oldest commit whose files have this root."""
    row = tx.row(
        f"SELECT {_REPOSITORY}, c.id AS commit_id FROM hub_commits c JOIN hub_repositories r ON r.id = c.repository "
        "WHERE c.manifest = :manifest ORDER BY c.at, r.created_at, r.id LIMIT 1",
        manifest=manifest,
    )
    if row is None:
        return None
    held = _held(row)
    found = commit(tx, held, row["commit_id"])
    assert found is not None
    return held, found


# --- refs ---------------------------------------------------------------------------------------------------------------


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


# --- trees --------------------------------------------------------------------------------------------------------------


def folder(tx: Tx, identity: str) -> Folder:
    """Raises Corrupt: whoever names a tree has found it in a commit or in another tree."""
    content = tx.value("SELECT entries FROM hub_trees WHERE id = :id", id=identity)
    if content is None:
        raise Corrupt(place=f"tree {identity}", problem="it is missing")
    try:
        return {name: Entry(i, mode, digest, size, large) for name, mode, i, digest, size, large in msgspec.msgpack.decode(content)}
    except (msgspec.DecodeError, ValueError, TypeError) as problem:
        raise Corrupt(place=f"tree {identity}", problem=str(problem)) from problem


def encoded(folder: Folder) -> bytes:
    return msgspec.msgpack.encode([[name, e.mode, e.id, e.digest, e.size, e.large] for name, e in sorted(folder.items())])


def add_folders(tx: Tx, folders: Mapping[str, bytes]) -> None:
    for identity, content in folders.items():
        if not tx.run(
            "INSERT INTO hub_trees (id, entries) VALUES (:id, :entries) ON CONFLICT (id) DO NOTHING", id=identity, entries=content
        ):
            present = tx.value("SELECT entries FROM hub_trees WHERE id = :id", id=identity)
            if bytes(present) != content:  # two contents with one SHA-1 (SHAttered): git could not tell them apart either
                raise Refused(
                    problem="A file has the same SHA-1 as a different file that is stored already.", way_out="Change it by a byte."
                )


# --- contents and uploads -----------------------------------------------------------------------------------------------


def add_contents(tx: Tx, held: Held, sizes: Mapping[str, int]) -> None:
    tx.many(
        "INSERT INTO hub_contents (digest, repository, size) VALUES (:digest, :repository, :size) ON CONFLICT (digest, repository) DO NOTHING",
        ({"digest": digest, "repository": held.id, "size": size} for digest, size in sizes.items()),
    )


def in_repository(tx: Tx, held: Held, digest: str) -> bool:
    return tx.row("SELECT 1 FROM hub_contents WHERE digest = :digest AND repository = :id", digest=digest, id=held.id) is not None


def used_storage(tx: Tx, held: Held) -> int:
    """Bytes of all large files that the repository has ever held."""
    return int(tx.value("SELECT COALESCE(SUM(size), 0) FROM hub_contents WHERE repository = :id", id=held.id))


def add_upload(tx: Tx, actor: Actor, digest: str, size: int, now: str) -> None:
    tx.run(
        "INSERT INTO hub_uploads (digest, user_name, size, at) VALUES (:digest, :user, :size, :at) "
        "ON CONFLICT (digest, user_name) DO UPDATE SET at = excluded.at",
        digest=digest, user=actor.user, size=size, at=now,
    )  # fmt: skip


def known_to(tx: Tx, actor: Actor, digests: Iterable[str], seen: tuple[str, Mapping[str, Any]]) -> set[str]:
    """Those of these digests whose bytes the actor has uploaded, or may read as a large file of some repository."""
    condition, parameters = seen
    known: set[str] = set()
    for digest in set(digests):
        uploaded = tx.row("SELECT 1 FROM hub_uploads WHERE digest = :digest AND user_name = :user", digest=digest, user=actor.user)
        if uploaded or tx.row(
            "SELECT 1 FROM hub_contents c JOIN hub_repositories r ON r.id = c.repository "
            f"WHERE c.digest = :digest AND (r.private = 0 OR {condition}) LIMIT 1",
            digest=digest, **parameters,
        ):  # fmt: skip
            known.add(digest)
    return known


# --- everything, for checking -------------------------------------------------------------------------------------------


def folder_ids(tx: Tx) -> list[str]:
    return [row["id"] for row in tx.rows("SELECT id FROM hub_trees ORDER BY id")]


def commits(tx: Tx) -> list[tuple[str, Commit, bytes]]:
    """(repository's name, commit, git's bytes) of every commit."""
    rows = tx.rows(
        "SELECT r.organisation, r.name, c.* FROM hub_commits c JOIN hub_repositories r ON r.id = c.repository ORDER BY r.organisation, r.name, c.at"
    )
    return [
        (f"{row['organisation']}/{row['name']}", Commit(*(row[key] for key in _COMMIT.split(", "))), bytes(row["content"])) for row in rows
    ]


def dangling_refs(tx: Tx) -> list[tuple[str, str, str]]:
    """(repository's name, ref, target) of every ref whose commit is not there."""
    rows = tx.rows(
        "SELECT r.organisation, r.name AS short, f.name, f.target FROM hub_refs f JOIN hub_repositories r ON r.id = f.repository "
        "WHERE NOT EXISTS (SELECT 1 FROM hub_commits c WHERE c.repository = f.repository AND c.id = f.target)"
    )
    return [(f"{row['organisation']}/{row['short']}", row["name"], row["target"]) for row in rows]
