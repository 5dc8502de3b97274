"""What the pages of a repository show, gathered for one reader; each function is one piece of work in one thread."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from typing import Any

from lilong.floors.hub import store
from lilong.floors.hub.contract import EntryNotFound, GatedRepository, Kind
from lilong.floors.hub.git import trees
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.pages.door import Address
from lilong.floors.hub.rules import card
from lilong.floors.hub.rules.diff import Diff
from lilong.floors.hub.service import merging, pulls, reading, trust
from lilong.floors.hub.store import Commit, Held, Ref, community, overview
from lilong.floors.hub.store import imports as mirrored
from lilong.floors.hub.store.trust import FileStatus
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Forbidden, Unauthenticated
from lilong.ground.house import House

HEADS, TAGS = "refs/heads/", "refs/tags/"
TEXT_LIMIT = 512 << 10  # bytes of a file that are shown as text
_SNIFFED = 8192
_HEADER_LIMIT = 16 << 20  # bytes of a safetensors header that is read for a page
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
_FILES_LOOKED_AT = 2000


@dataclass(frozen=True, slots=True)
class Head:
    """What stands on top of every page of a repository."""

    held: Held
    at: Address
    may_write: bool
    may_manage: bool
    may_discuss: bool
    may_read_files: bool
    liked: bool
    open_discussions: int
    word: str = "main"  # the revision as it was asked for
    commit: Commit | None = None
    branches: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def private(self) -> bool:
        return self.held.repository.private

    @property
    def pull(self) -> int | None:
        """The pull request whose ref this is."""
        number = self.word.removeprefix("refs/pr/")
        return int(number) if number != self.word and number.isdigit() and number.isascii() else None


def head_in(house: House, tx: Tx, actor: Actor, kind: Kind, name: str, word: str | None = None) -> Head:
    """With a word, the revision that it names. Raises RepositoryNotFound, RevisionNotFound."""
    held = reading.opened(house, tx, actor, kind, name)
    may = {verb: house.access.allowed(tx, actor, f"hub.{verb}", held.organisation, held.short) for verb in ("write", "manage")}
    try:
        reading.readable(house, tx, actor, held)
        files = True
    except GatedRepository:
        files = False
    refs = store.refs(tx, held)
    return Head(
        held, Address(kind, held.name),
        may_write=may["write"],
        may_manage=may["manage"] or (may["write"] and held.created_by == actor.user),
        may_discuss=_may_discuss(house, tx, actor, held),
        may_read_files=files,
        liked=bool(actor.user) and community.likes(tx, held, actor.user),
        open_discussions=overview.open_discussions(tx, held),
        word=word or "main",
        commit=store.at(tx, held, word) if word is not None else None,
        branches=_short(refs, HEADS), tags=_short(refs, TAGS),
    )  # fmt: skip


def _may_discuss(house: House, tx: Tx, actor: Actor, held: Held) -> bool:
    try:
        pulls.opened_to_discuss(house, tx, actor, held.kind, held.name)
    except (Forbidden, Unauthenticated):
        return False
    return True


def _short(refs: list[Ref], prefix: str) -> tuple[str, ...]:
    found = sorted(ref.name.removeprefix(prefix) for ref in refs if ref.name.startswith(prefix))
    return ("main", *(name for name in found if name != "main")) if "main" in found else tuple(found)


def head(house: House, actor: Actor, kind: Kind, name: str, word: str | None = None) -> Head:
    return house.db.read(lambda tx: head_in(house, tx, actor, kind, name, word))


# --- home ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Home:
    head: Head
    card: card.Card
    facts: dict[str, Any]
    tags: tuple[str, ...]
    files: dict[str, Entry]  # at most _FILES_LOOKED_AT of them: what snippets name
    sums: Entry  # the root folder, with the number and the bytes of all files
    statements: tuple[Any, ...]


def home(house: House, actor: Actor, kind: Kind, name: str) -> Home:
    def read(tx: Tx) -> tuple[Head, card.Card, dict[str, Entry]]:
        top = head_in(house, tx, actor, kind, name, "main")
        assert top.commit is not None
        files: dict[str, Entry] = {}
        for path, entry in trees.walk(reading.loader(tx), top.commit.tree):
            if not entry.folder:
                files[path] = entry
            if len(files) == _FILES_LOOKED_AT:
                break
        return top, reading.card_in(house, tx, top.commit.tree), files

    top, about, files = house.db.read(read)
    assert top.commit is not None
    facts = trust.facts_now(house, top.held, top.commit)
    whole = reading.manifest_of(house, top.commit) if len(files) < _FILES_LOOKED_AT else ""
    statements = house.db.read(lambda tx: house.evidence.about(tx, whole)) if whole else []
    own = tuple(one for one in statements if any(artifact.digest == whole for artifact in one.subjects))
    words = tuple(
        dict.fromkeys([*card.tags(about.metadata, top.held.kind), *(tag for tag in facts.get("tags", []) if isinstance(tag, str))])
    )
    return Home(top, about, facts, words, files, reading.sums(house, top.commit), own)


# --- files --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """An entry of a folder with the commit that changed it last, and what the scans say of it."""

    path: str
    name: str
    entry: Entry
    last: Commit
    status: str  # "", safe, caution, unsafe, queued


@dataclass(frozen=True, slots=True)
class Listing:
    head: Head
    path: str
    lines: tuple[Line, ...]
    next: str  # the mark after which the next page begins
    total: Entry


def listing(house: House, actor: Actor, kind: Kind, name: str, word: str, path: str, after: str, limit: int) -> Listing:
    """A page of one folder. Raises EntryNotFound."""
    top = head(house, actor, kind, name, word)
    assert top.commit is not None
    found, mark = reading.page_of_tree(house, top.held, top.commit, path, recursive=False, after=after, limit=limit)
    last = reading.last_commits(house, top.held, top.commit, [at for at, _ in found])
    revision = top.commit
    seen = house.db.read(lambda tx: trust.status_of(tx, top.held, revision, [entry.digest for _, entry in found if not entry.folder]))
    lines = tuple(
        Line(
            at,
            at.rsplit("/", 1)[-1],
            entry,
            last[at],
            "" if entry.folder else seen[entry.digest].status if entry.digest in seen else "queued",
        )
        for at, entry in found
    )
    whole = reading.entry_at(house, top.held, top.commit, path) if path else reading.sums(house, top.commit)
    return Listing(top, path, lines, mark, whole)


@dataclass(frozen=True, slots=True)
class Shown:
    """One file. `how`: text, card, picture, safetensors, large, gated, or away (a mirror has not fetched it)."""

    head: Head
    path: str
    entry: Entry
    last: Commit
    how: str
    text: str = ""
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    status: str = "queued"
    detail: Any = None


def file(house: House, actor: Actor, kind: Kind, name: str, word: str, path: str) -> Shown:
    """Raises EntryNotFound for what is no file."""
    top = head(house, actor, kind, name, word)
    assert top.commit is not None
    entry = reading.entry_at(house, top.held, top.commit, path)
    if entry.folder:
        raise EntryNotFound(revision=top.commit.id, repository=name, path=path[:300])
    last = reading.last_commits(house, top.held, top.commit, [path])[path]
    revision = top.commit

    def known(tx: Tx) -> tuple[dict[str, FileStatus], bool]:
        return trust.status_of(tx, top.held, revision, [entry.digest]), entry.digest in mirrored.absent(tx, top.held.id)

    statuses, away = house.db.read(known)
    scan = statuses.get(entry.digest)
    base = Shown(
        top,
        path,
        entry,
        last,
        "large",
        status=scan.status if scan else "queued",
        detail=dict(scan.found) if scan and top.may_read_files else None,
    )
    if not top.may_read_files:
        return replace(base, how="gated")
    lower = path.lower()
    if away or not house.blobs.has(entry.digest):
        return replace(base, how="away")
    if lower.endswith(_PICTURES):
        return replace(base, how="picture")
    if lower.endswith(".safetensors"):
        tensors, metadata = _safetensors(house, entry)
        return replace(base, how="safetensors" if tensors else "large", tensors=tensors, metadata=metadata)
    if entry.size <= TEXT_LIMIT:
        content = house.blobs.read(entry.digest)
        if b"\0" not in content[:_SNIFFED]:
            with contextlib.suppress(UnicodeDecodeError):
                return replace(base, how="card" if lower.endswith(".md") else "text", text=content.decode())
    return base


def _safetensors(house: House, entry: Entry) -> tuple[tuple[tuple[str, str, tuple[int, ...]], ...], tuple[tuple[str, str], ...]]:
    """(name, type, shape) of each tensor, and the file's own words; nothing of what does not parse."""
    with house.blobs.open(entry.digest) as content:
        length = int.from_bytes(content.read(8), "little")
        if not 2 <= length <= min(_HEADER_LIMIT, entry.size - 8):
            return (), ()
        raw = content.read(length)
    try:
        header = json.loads(raw)
        words = header.pop("__metadata__", {})
        tensors = tuple((str(name), str(one["dtype"]), tuple(int(n) for n in one["shape"])) for name, one in header.items())
        return tensors, tuple((str(key), str(value)) for key, value in sorted(words.items()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return (), ()


# --- history ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Past:
    """A commit of a history with the tags on it."""

    commit: Commit
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class History:
    head: Head
    path: str
    commits: tuple[Past, ...]
    next: str  # what `after` takes for the page behind this one


def history(house: House, actor: Actor, kind: Kind, name: str, word: str, path: str, after: str, limit: int) -> History:
    """The commits behind a revision, or those that changed a path; the newest first."""

    def read(tx: Tx) -> History:
        top = head_in(house, tx, actor, kind, name, word)
        assert top.commit is not None
        tagged: dict[str, list[str]] = {}
        for ref in store.refs(tx, top.held):
            if ref.name.startswith(TAGS):
                tagged.setdefault(ref.target, []).append(ref.name.removeprefix(TAGS))
        if path:
            skip = int(after) if after.isascii() and after.isdigit() and len(after) < 7 else 0
            ids = overview.history_of(tx, top.held, tuple(store.spans(tx, top.held, top.commit)), path, limit + 1, skip)
            found = [commit for identity in ids if (commit := store.commit(tx, top.held, identity)) is not None]
            mark = str(skip + limit)
        else:
            start = store.at(tx, top.held, after) if after else top.commit
            found = store.history(tx, top.held, start.id, limit + 1)
            mark = found[limit].id if len(found) > limit else ""
        lines = tuple(Past(commit, tuple(tagged.get(commit.id, ()))) for commit in found[:limit])
        return History(top, path, lines, mark if len(found) > limit else "")

    return house.db.read(read)


@dataclass(frozen=True, slots=True)
class Compared:
    head: Head
    commit: Commit
    parents: tuple[str, ...]
    diff: Diff | None  # None: the reader may not have the files


def commit(house: House, actor: Actor, kind: Kind, name: str, identity: str) -> Compared:
    """A commit with what it changed against its first parent. Raises RevisionNotFound."""

    def read(tx: Tx) -> tuple[Head, Commit | None, tuple[str, ...]]:
        top = head_in(house, tx, actor, kind, name, identity)
        assert top.commit is not None
        before = store.commit(tx, top.held, top.commit.parent) if top.commit.parent else None
        content = store.commit_content(tx, top.held, top.commit.id) or b""
        said = content.split(b"\n\n", 1)[0].decode(errors="replace").split("\n")
        return top, before, tuple(line.removeprefix("parent ") for line in said if line.startswith("parent "))

    top, before, parents = house.db.read(read)
    assert top.commit is not None
    return Compared(top, top.commit, parents, merging.compared(house, before, top.commit) if top.may_read_files else None)
