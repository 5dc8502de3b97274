"""What an actor may see, and how it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from cryptography.hazmat.primitives import serialization

from lilong.floors.hub import store
from lilong.floors.hub.contract import About, EntryNotFound, File, Kind, Listed, RepositoryNotFound, Revision, Shown
from lilong.floors.hub.git import trees
from lilong.floors.hub.git.trees import Entry, Folder, Load
from lilong.floors.hub.rules import card
from lilong.floors.hub.store import Commit, Held, Wanted
from lilong.ground import manifest
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput
from lilong.ground.house import House

ANONYMOUS = Actor("", frozenset())  # whoever comes without a token: sees what is public


def opened(house: House, tx: Tx, actor: Actor, kind: Kind, name: str, permission: str | None = None) -> Held:
    """A repository that the actor may see, and with `permission` do this to.

    Raises RepositoryNotFound (private, foreign and missing are one and the same), Forbidden.
    """
    held = store.repository(tx, kind, name)
    if held is None:
        raise RepositoryNotFound(kind=kind.value, name=name[:200])
    organisation = held.repository.organisation
    if permission is not None and house.access.allowed(tx, actor, permission, organisation):
        return held
    if held.repository.private and not house.access.allowed(tx, actor, "hub.read", organisation):
        raise RepositoryNotFound(kind=kind.value, name=name[:200])
    if permission is not None:
        house.access.require(tx, actor, permission, organisation)
    return held


def loader(tx: Tx) -> Load:
    """Folders by id, each read once."""
    known: dict[str, Folder] = {}

    def load(identity: str) -> Folder:
        if identity not in known:
            known[identity] = store.folder(tx, identity)
        return known[identity]

    return load


def revision_of(tx: Tx, held: Held, commit: Commit, entries: dict[str, Entry] | None = None) -> Revision:
    found = trees.files(loader(tx), commit.tree) if entries is None else entries
    files = tuple(File(path, entry.digest, entry.size) for path, entry in sorted(found.items()))
    return Revision(held.repository, commit.id, commit.manifest, files, commit.message, commit.author, commit.at)


def listed(house: House, actor: Actor, kind: Kind, wanted: Wanted) -> list[tuple[Held, Listed]]:
    seen = house.access.visible(actor, "hub.read", "r.organisation")
    return house.db.read(lambda tx: store.repositories(tx, kind, seen, wanted))


def pinned(house: House, actor: Actor, kind: Kind, name: str, word: str) -> tuple[Held, Commit]:
    """Raises RepositoryNotFound, RevisionNotFound."""

    def read(tx: Tx) -> tuple[Held, Commit]:
        held = opened(house, tx, actor, kind, name)
        return held, store.at(tx, held, word)

    return house.db.read(read)


def entry_at(house: House, held: Held, commit: Commit, path: str) -> Entry:
    """Raises EntryNotFound."""
    found = house.db.read(lambda tx: trees.find(loader(tx), commit.tree, path))
    if found is None:
        raise EntryNotFound(revision=commit.id, repository=held.name, path=path[:300])
    return found


def entries_at(house: House, commit: Commit, paths: list[str]) -> list[tuple[str, Entry]]:
    """Those of the paths that there are."""

    def read(tx: Tx) -> list[tuple[str, Entry]]:
        load = loader(tx)
        found = ((path.strip("/"), trees.find(load, commit.tree, path.strip("/"))) for path in paths)
        return [(path, entry) for path, entry in found if entry is not None and path]

    return house.db.read(read)


def page_of_tree(
    house: House, held: Held, commit: Commit, path: str, *, recursive: bool, after: str, limit: int
) -> tuple[list[tuple[str, Entry]], str]:
    """One page of a folder's content, and the mark after which the next one begins ("" for none). Raises EntryNotFound."""
    top = entry_at(house, held, commit, path)
    if not top.folder:
        raise EntryNotFound(revision=commit.id, repository=held.name, path=path[:300])
    prefix = path + "/" if path else ""

    def read(tx: Tx) -> list[tuple[str, Entry]]:
        walking: Iterator[tuple[str, Entry]] = trees.walk(loader(tx), top.id, prefix=prefix, recursive=recursive, after=after)
        return list(islice(walking, limit + 1))

    found = house.db.read(read)
    if len(found) <= limit:
        return found, ""
    last, entry = found[limit - 1]
    return found[:limit], trees.mark(last, entry).removeprefix(prefix)


def all_files(house: House, commit: Commit) -> dict[str, Entry]:
    return house.db.read(lambda tx: trees.files(loader(tx), commit.tree))


def card_of(house: House, commit: Commit) -> card.Card:
    """The card, empty where there is none or where it is too long to be one."""
    entry = house.db.read(lambda tx: trees.find(loader(tx), commit.tree, card.PATH))
    if entry is None or entry.folder or entry.size > card.LIMIT:
        return card.Card("", {})
    return card.read(house.blobs.read(entry.digest).decode(errors="replace"))


def show(house: House, actor: Actor, kind: Kind, name: str, word: str = "main") -> Shown:
    """Raises RepositoryNotFound, RevisionNotFound."""
    held, commit = pinned(house, actor, kind, name, word)
    about = card_of(house, commit)

    def read(tx: Tx) -> Shown:
        # What judged the revision counts as well as what made it; what others made from it is theirs to show.
        statements = [s for s in house.evidence.about(tx, commit.manifest) if any(a.digest == commit.manifest for a in s.subjects)]
        short = tuple(About(s.id, s.predicate_type, s.at, s.revoked_by is not None) for s in statements)
        return Shown(revision_of(tx, held, commit), about.text, about.metadata, short)

    return house.db.read(read)


@dataclass(frozen=True, slots=True)
class Signature:
    """A `model.sig` for a download of a revision, and the key that it verifies with."""

    signature: str
    public_key: str  # PEM, EC P-256


def signature(house: House, actor: Actor, kind: Kind, name: str, word: str = "main") -> Signature:
    """For `model_signing verify key DIR --signature model.sig --public_key FILE`. Raises RepositoryNotFound, RevisionNotFound."""
    held, commit = pinned(house, actor, kind, name, word)
    files = {path: entry.digest for path, entry in all_files(house, commit).items()}
    key = house.keys.models()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Signature(manifest.sign(f"{held.name}@{commit.id}", files, key).decode(), public.decode())


def history(house: House, held: Held, commit: Commit, limit: int) -> list[Commit]:
    if limit < 1:
        raise BadInput(field="limit", problem="it is less than 1", way_out="Give a number from 1 on.")
    return house.db.read(lambda tx: store.history(tx, held, commit.id, limit))


def last_commits(house: House, held: Held, commit: Commit, paths: list[str], depth: int = 200) -> dict[str, Commit]:
    """For each path the newest commit that changed it, or the oldest of the `depth` looked at where the change is further back."""

    def read(tx: Tx) -> dict[str, Commit]:
        load = loader(tx)
        line = store.history(tx, held, commit.id, depth)
        open_paths = {path: trees.find(load, commit.tree, path) for path in paths}
        found: dict[str, Commit] = {}
        for newer, older in pairwise(line):
            for path, entry in list(open_paths.items()):
                if trees.find(load, older.tree, path) != entry:
                    found[path] = newer
                    del open_paths[path]
            if not open_paths:
                break
        return found | dict.fromkeys(open_paths, line[-1])

    return house.db.read(read)
