"""SQL on commits: the lines they form, and what each has changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from lilong.floors.hub.contract import RevisionNotFound
from lilong.floors.hub.rules import names
from lilong.ground.db import Row, Tx

from .groups import in_groups
from .refs import ref
from .repositories import Held, repository_by_id


@dataclass(frozen=True, slots=True)
class Commit:
    id: str
    tree: str
    parent: str | None  # the first
    manifest: str  # "" where it has not been worked out with the commit
    author: str
    message: str
    at: str
    line: int = 0
    depth: int = -1  # first parents before it

    @property
    def title(self) -> str:
        return self.message.split("\n", 1)[0]

    @property
    def description(self) -> str:
        return self.message.partition("\n")[2].strip("\n")


_COMMIT = "id, tree, parent, manifest, author, message, at, line, depth"


def _commit(row: Row) -> Commit:
    return Commit(*(row[key] for key in _COMMIT.split(", ")))


def commit(tx: Tx, held: Held, identity: str) -> Commit | None:
    row = tx.row(f"SELECT {_COMMIT} FROM hub_commits WHERE repository = :repository AND id = :id", repository=held.id, id=identity)
    return None if row is None else _commit(row)


def commit_content(tx: Tx, held: Held, identity: str) -> bytes | None:
    """Git's canonical bytes of a commit."""
    found = tx.value("SELECT content FROM hub_commits WHERE repository = :repository AND id = :id", repository=held.id, id=identity)
    return None if found is None else bytes(found)


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


def add_commit(tx: Tx, held: Held, commit: Commit, content: bytes) -> Commit:
    """Idempotent. The commit with its place: behind its first parent on the parent's line, or on a new line where that goes on already."""
    line, depth = _place(tx, held, commit)
    placed = replace(commit, line=line, depth=depth)
    added = tx.run(
        "INSERT INTO hub_commits (repository, id, tree, parent, manifest, author, message, at, content, line, depth) "
        "VALUES (:repository, :id, :tree, :parent, :manifest, :author, :message, :at, :content, :line, :depth) "
        "ON CONFLICT (repository, id) DO NOTHING",
        repository=held.id, id=commit.id, tree=commit.tree, parent=commit.parent, manifest=commit.manifest, author=commit.author,
        message=commit.message, at=commit.at, content=content, line=line, depth=depth,
    )  # fmt: skip
    tx.run("UPDATE hub_repositories SET updated_at = :at WHERE id = :id AND updated_at < :at", at=commit.at, id=held.id)
    if not added:
        return _known(tx, held, commit.id)
    if tx.row("SELECT 1 FROM hub_lines WHERE repository = :r AND line = :line", r=held.id, line=line) is None:
        parent = _known(tx, held, commit.parent) if commit.parent else None
        tx.run(
            "INSERT INTO hub_lines (repository, line, parent_line, parent_depth) VALUES (:r, :line, :parent_line, :parent_depth)",
            r=held.id, line=line, parent_line=parent.line if parent else None, parent_depth=parent.depth if parent else None,
        )  # fmt: skip
    return placed


def _known(tx: Tx, held: Held, identity: str) -> Commit:
    found = commit(tx, held, identity)
    if found is None:
        raise RevisionNotFound(repository=held.name, name=identity)
    return found


def _place(tx: Tx, held: Held, commit: Commit) -> tuple[int, int]:
    if commit.parent is not None:
        parent = _known(tx, held, commit.parent)
        goes_on = tx.row(
            "SELECT 1 FROM hub_commits WHERE repository = :r AND line = :line AND depth = :depth",
            r=held.id,
            line=parent.line,
            depth=parent.depth + 1,
        )
        if goes_on is None:
            return parent.line, parent.depth + 1
        depth = parent.depth + 1
    else:
        depth = 0
    last = tx.value("SELECT MAX(line) FROM hub_lines WHERE repository = :r", r=held.id)
    return (0 if last is None else last + 1), depth


def set_place(tx: Tx, held: Held, commit: Commit) -> Commit:
    """Work out line and depth of a commit that was kept before there were any; its parent has its own already."""
    line, depth = _place(tx, held, commit)
    tx.run(
        "UPDATE hub_commits SET line = :line, depth = :depth WHERE repository = :r AND id = :id",
        line=line,
        depth=depth,
        r=held.id,
        id=commit.id,
    )
    if depth == 0 or line != _known(tx, held, str(commit.parent)).line:
        parent = _known(tx, held, commit.parent) if commit.parent else None
        tx.run(
            "INSERT INTO hub_lines (repository, line, parent_line, parent_depth) VALUES (:r, :line, :parent_line, :parent_depth)",
            r=held.id, line=line, parent_line=parent.line if parent else None, parent_depth=parent.depth if parent else None,
        )  # fmt: skip
    return replace(commit, line=line, depth=depth)


def without_place(tx: Tx, limit: int) -> list[tuple[Held, Commit]]:
    """Commits from before there were lines whose parent, if any, has its place; the oldest first."""
    rows = tx.rows(
        f"SELECT c.repository, {', '.join('c.' + key for key in _COMMIT.split(', '))} FROM hub_commits c "
        "LEFT JOIN hub_commits p ON p.repository = c.repository AND p.id = c.parent "
        "WHERE c.depth < 0 AND (c.parent IS NULL OR p.depth >= 0) ORDER BY c.at, c.id LIMIT :limit",
        limit=limit,
    )
    found = []
    for row in rows:
        held = repository_by_id(tx, row["repository"])
        assert held is not None
        found.append((held, _commit(row)))
    return found


def spans(tx: Tx, held: Held, start: Commit) -> Iterator[tuple[int, int]]:
    """(line, greatest depth) of the pieces that make up a commit and its first parents, the newest first."""
    line: int | None = start.line
    depth = start.depth
    while line is not None:
        yield line, depth
        row = tx.row("SELECT parent_line, parent_depth FROM hub_lines WHERE repository = :r AND line = :line", r=held.id, line=line)
        line, depth = (row["parent_line"], row["parent_depth"]) if row is not None else (None, 0)


def history(tx: Tx, held: Held, start: str, limit: int) -> list[Commit]:
    """The commit `start` and its first parents, the newest first. A page costs the same wherever it lies."""
    first = commit(tx, held, start)
    found: list[Commit] = []
    for line, depth in spans(tx, held, first) if first is not None else ():
        rows = tx.rows(
            f"SELECT {_COMMIT} FROM hub_commits WHERE repository = :r AND line = :line AND depth <= :depth ORDER BY depth DESC LIMIT :limit",
            r=held.id, line=line, depth=depth, limit=limit - len(found),
        )  # fmt: skip
        found += [_commit(row) for row in rows]
        if len(found) >= limit:
            break
    return found


def is_ancestor(tx: Tx, held: Held, older: Commit, newer: Commit) -> bool:
    """Whether `older` is `newer` or among its first parents."""
    return any(line == older.line and older.depth <= depth for line, depth in spans(tx, held, newer))


def fork_point(tx: Tx, held: Held, one: Commit, other: Commit) -> Commit | None:
    """The newest commit among the first parents of both: what a three-way merge is based on."""
    reach = dict(spans(tx, held, one))
    for line, depth in spans(tx, held, other):
        if line in reach:
            row = tx.row(
                f"SELECT {_COMMIT} FROM hub_commits WHERE repository = :r AND line = :line AND depth = :depth",
                r=held.id, line=line, depth=min(depth, reach[line]),
            )  # fmt: skip
            return None if row is None else _commit(row)
    return None


# --- what changed -------------------------------------------------------------------------------------------------------


def add_changes(tx: Tx, held: Held, commit: Commit, paths: Iterable[str]) -> None:
    """`paths` of files; the folders above them count as changed too."""
    every = set(paths)
    for path in list(every):
        while "/" in path:
            path = path.rpartition("/")[0]
            if path in every:
                break
            every.add(path)
    tx.many(
        "INSERT INTO hub_changes (repository, path, line, depth) VALUES (:r, :path, :line, :depth) ON CONFLICT (repository, path, line, depth) DO NOTHING",
        ({"r": held.id, "path": path, "line": commit.line, "depth": commit.depth} for path in every),
    )


def last_changes(tx: Tx, held: Held, start: Commit, paths: Iterable[str]) -> dict[str, Commit]:
    """For each path the newest commit, from `start` back along first parents, that changed it."""
    wanted = set(paths)
    places: dict[str, tuple[int, int]] = {}
    for line, depth in spans(tx, held, start):
        open_paths = wanted - places.keys()
        if not open_paths:
            break
        for among, values in in_groups(open_paths):
            rows = tx.rows(
                f"SELECT path, MAX(depth) AS depth FROM hub_changes WHERE repository = :r AND path IN ({among}) AND line = :line AND depth <= :depth "
                "GROUP BY path",
                r=held.id, line=line, depth=depth, **values,
            )  # fmt: skip
            places |= {row["path"]: (line, row["depth"]) for row in rows}
    known: dict[tuple[int, int], Commit] = {}
    for line, depth in set(places.values()):
        row = tx.row(
            f"SELECT {_COMMIT} FROM hub_commits WHERE repository = :r AND line = :line AND depth = :depth",
            r=held.id,
            line=line,
            depth=depth,
        )
        if row is not None:
            known[line, depth] = _commit(row)
    return {path: known[place] for path, place in places.items() if place in known}


# --- manifests ----------------------------------------------------------------------------------------------------------


def manifest_of(tx: Tx, commit: Commit) -> str:
    """ "" where nobody has asked for it yet."""
    return commit.manifest or tx.value("SELECT manifest FROM hub_manifests WHERE tree = :tree", tree=commit.tree) or ""


def add_manifest(tx: Tx, tree: str, manifest: str) -> None:
    tx.run(
        "INSERT INTO hub_manifests (tree, manifest) VALUES (:tree, :manifest) ON CONFLICT (tree) DO NOTHING", tree=tree, manifest=manifest
    )


def first_with_manifest(tx: Tx, manifest: str) -> tuple[Held, Commit] | None:
    """The oldest commit whose files have this root."""
    row = tx.row(
        f"SELECT {_COMMIT}, repository FROM hub_commits WHERE manifest = :manifest OR tree IN (SELECT tree FROM hub_manifests WHERE manifest = :manifest) "
        "ORDER BY at, repository LIMIT 1",
        manifest=manifest,
    )
    if row is None:
        return None
    held = repository_by_id(tx, row["repository"])
    assert held is not None
    return held, _commit(row)


def commits_of(tx: Tx, held: Held) -> list[Commit]:
    """All of a repository's commits, those that no ref leads to as well; parents before their children."""
    return [_commit(row) for row in tx.rows(f"SELECT {_COMMIT} FROM hub_commits WHERE repository = :r ORDER BY depth, line", r=held.id)]
