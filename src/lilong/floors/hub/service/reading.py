"""What an actor may see, and how it is read."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from cryptography.hazmat.primitives import serialization

from lilong.floors.hub import store
from lilong.floors.hub.contract import About, EntryNotFound, File, GatedRepository, Kind, Listed, RepositoryNotFound, Revision, Shown
from lilong.floors.hub.git import trees
from lilong.floors.hub.git.objects import FOLDER
from lilong.floors.hub.git.trees import Entry, Folder, Load
from lilong.floors.hub.rules import card
from lilong.floors.hub.store import Commit, Held, Wanted, community, imports
from lilong.ground import manifest
from lilong.ground.access import Actor
from lilong.ground.blobs import digest_of
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Corrupt
from lilong.ground.house import House

SHARED_WITH = "shared-with"  # a gate
ANONYMOUS = Actor("", frozenset())  # whoever comes without a token: sees what is public


def opened(house: House, tx: Tx, actor: Actor, kind: Kind, name: str, permission: str | None = None) -> Held:
    """A repository that the actor may see, and with `permission` do this to.

    Raises RepositoryNotFound (private, foreign and missing are one and the same), Forbidden.
    """
    held = store.repository(tx, kind, name)
    if held is None:
        raise RepositoryNotFound(kind=kind.value, name=name[:200])
    if permission is not None and house.access.allowed(tx, actor, permission, held.organisation, held.short):
        return held
    if hidden(house, tx, actor, held):
        raise RepositoryNotFound(kind=kind.value, name=name[:200])
    if permission is not None:
        house.access.require(tx, actor, permission, held.organisation, name=held.short)
    return held


def hidden(house: House, tx: Tx, actor: Actor, held: Held) -> bool:
    """Whether the actor may not see that there is this repository. An upper floor may share a private one with others: it stays
    out of lists then, and whoever has its name reads it."""
    if not held.repository.private or house.access.allowed(tx, actor, "hub.read", held.organisation, held.short):
        return False
    return not house.gates.ask(SHARED_WITH, tx=tx, actor=actor, kind=held.kind.value, repository=held.name).allowed


def readable(house: House, tx: Tx, actor: Actor, held: Held) -> None:
    """Whether the actor may have the files of a repository that they may see. Raises GatedRepository."""
    if not held.gated or house.access.allowed(tx, actor, "hub.write", held.organisation, held.short):
        return
    if actor.user and community.accepted(tx, held.id, actor.user):
        return
    raise GatedRepository(kind=held.kind.value, name=held.name)


def may_read(house: House, tx: Tx, actor: Actor, held: Held) -> bool:
    try:
        readable(house, tx, actor, held)
    except GatedRepository:
        return False
    return True


class _Folders:
    """The folders read last, for all repositories: what one id names never changes. Bounded by their entries."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[str, Folder] = {}
        self._entries = 0
        self._lock = threading.Lock()

    def get(self, identity: str) -> Folder | None:
        with self._lock:
            found = self._known.pop(identity, None)
            if found is not None:
                self._known[identity] = found  # the last one used stands last
            return found

    def put(self, identity: str, folder: Folder) -> None:
        with self._lock:
            if identity not in self._known:
                self._known[identity] = folder
                self._entries += len(folder)
            while self._entries > self._limit and len(self._known) > 1:
                first = next(iter(self._known))
                self._entries -= len(self._known.pop(first))


_FOLDERS = _Folders(100_000)


def loader(tx: Tx, known: dict[str, Folder] | None = None) -> Load:
    """Folders by id, each read once; `known` may be given to go on with in another transaction."""
    seen: dict[str, Folder] = {} if known is None else known

    def load(identity: str) -> Folder:
        if identity not in seen:
            folder = _FOLDERS.get(identity)
            if folder is None:
                folder = store.folder(tx, identity)
                _FOLDERS.put(identity, folder)
            seen[identity] = folder
        return seen[identity]

    return load


def drafted_files(house: House, tree: str, folders: Mapping[str, bytes]) -> dict[str, Entry]:
    """All files of a tree whose new folders are not stored yet."""

    def read(tx: Tx) -> dict[str, Entry]:
        load = loader(tx)
        return trees.files(lambda identity: store.decoded(folders[identity]) if identity in folders else load(identity), tree)

    return house.db.read(read)


def revision_of(tx: Tx, held: Held, commit: Commit, entries: dict[str, Entry] | None = None) -> Revision:
    found = trees.files(loader(tx), commit.tree) if entries is None else entries
    files = tuple(File(path, entry.digest, entry.size) for path, entry in sorted(found.items()))
    whole = store.manifest_of(tx, commit) or manifest.root({file.path: file.digest for file in files})
    return Revision(held.repository, commit.id, whole, files, commit.message, commit.author, commit.at)


def manifest_of(house: House, commit: Commit) -> str:
    """The model-signing root over a commit's files, worked out once and kept."""
    found = house.db.read(lambda tx: store.manifest_of(tx, commit))
    if not found:
        found = manifest.root({path: entry.digest for path, entry in all_files(house, commit).items()})
        house.db.write(lambda tx: store.add_manifest(tx, commit.tree, found))
    return found


def listed(house: House, actor: Actor, kind: Kind, wanted: Wanted) -> list[tuple[Held, Listed]]:
    seen = house.access.visible(actor, "hub.read", "r.organisation", "r.name")
    return house.db.read(lambda tx: store.repositories(tx, kind, seen, wanted))


def pinned(house: House, actor: Actor, kind: Kind, name: str, word: str) -> tuple[Held, Commit]:
    """Raises RepositoryNotFound, RevisionNotFound."""

    def read(tx: Tx) -> tuple[Held, Commit]:
        held = opened(house, tx, actor, kind, name)
        return held, store.at(tx, held, word)

    return house.db.read(read)


@dataclass(frozen=True, slots=True)
class Located:
    """What an address of a file leads to."""

    held: Held
    commit: Commit
    entry: Entry | None  # None: the revision has no such path
    xet: str | None  # hash, where the file is kept as Xet


def located(house: House, actor: Actor, kind: Kind, name: str, word: str, path: str) -> Located:
    """Raises RepositoryNotFound, RevisionNotFound, GatedRepository."""

    def read(tx: Tx) -> Located:
        held = opened(house, tx, actor, kind, name)
        commit = store.at(tx, held, word)
        readable(house, tx, actor, held)
        entry = trees.find(loader(tx), commit.tree, path)
        if entry is None or not entry.large:
            return Located(held, commit, entry, None)
        if not store.in_repository(tx, held, entry.digest) and imports.away_file(tx, held.id, entry.digest) is None:
            return Located(held, commit, None, None)  # taken out of the repository, though an old commit still names it
        return Located(held, commit, entry, store.xet_hashes(tx, (entry.digest,), held).get(entry.digest))

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


def files_up_to(house: House, commit: Commit, limit: int) -> dict[str, Entry] | None:
    """Every file by its path; None, without looking at them, where there are more than `limit`."""
    return None if sums(house, commit).count > limit else all_files(house, commit)


_TYPES = {name: name for name in ("license", "base_model", "dataset", "region", "benchmark", *card.TYPED)}


def tags_by_type(house: House, actor: Actor, kind: Kind) -> dict[str, list[dict[str, str]]]:
    """The tags in use among what the actor may see, as the public Hub groups them; the most frequent first."""
    seen = house.access.visible(actor, "hub.read", "r.organisation", "r.name")
    found: dict[str, list[dict[str, str]]] = {}
    for tag, _ in house.db.read(lambda tx: store.tags_in_use(tx, kind, seen)):
        start, colon, rest = tag.partition(":")
        group, label = (_TYPES[start], rest) if colon and start in _TYPES else ("other", tag)
        found.setdefault(group, []).append({"id": tag, "label": label, "type": group})
    return found


def sums(house: House, commit: Commit) -> Entry:
    """The root folder with the number and the bytes of all files; not one of them is looked at."""
    return house.db.read(
        lambda tx: trees.as_entry(loader(tx), commit.tree) if commit.tree != trees.EMPTY else Entry(trees.EMPTY, FOLDER, count=0)
    )


def card_in(house: House, tx: Tx, tree: str) -> card.Card:
    """The card, empty where there is none or where it is too long to be one, or kept as a large file: whether a repository has its bytes
    is another question than whether it names them."""
    entry = trees.find(loader(tx), tree, card.PATH)
    if entry is None or entry.folder or entry.large or entry.size > card.LIMIT:
        return card.Card("", {})
    content = store.inline(tx, entry.digest)
    return card.read((house.blobs.read(entry.digest) if content is None else content).decode(errors="replace"))


def card_of(house: House, commit: Commit) -> card.Card:
    return house.db.read(lambda tx: card_in(house, tx, commit.tree))


def show(house: House, actor: Actor, kind: Kind, name: str, word: str = "main") -> Shown:
    """Raises RepositoryNotFound, RevisionNotFound."""
    held, commit = pinned(house, actor, kind, name, word)
    about = card_of(house, commit)
    whole = manifest_of(house, commit)

    def read(tx: Tx) -> Shown:
        # What judged the revision counts as well as what made it; what others made from it is theirs to show.
        statements = [s for s in house.evidence.about(tx, whole) if any(a.digest == whole for a in s.subjects)]
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


def last_commits(house: House, held: Held, commit: Commit, paths: list[str]) -> dict[str, Commit]:
    """For each path of a commit's tree the newest commit that changed it."""
    return house.db.read(lambda tx: dict.fromkeys(paths, commit) | store.last_changes(tx, held, commit, paths))


class Inline:
    """The small files that lie in the database, for everybody who asks the house for bytes."""

    def __init__(self, house: House) -> None:
        self._house = house

    def size(self, digest: str) -> int | None:
        return self._house.db.read(lambda tx: store.inline_size(tx, digest))

    def open(self, digest: str) -> BinaryIO | None:
        found = self._house.db.read(lambda tx: store.inline(tx, digest))
        if found is not None and digest_of(found) != digest:
            raise Corrupt(place=f"file {digest}", problem=f"its bytes in the database are those of {digest_of(found)}")
        return None if found is None else io.BytesIO(found)
