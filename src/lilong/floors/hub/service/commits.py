"""Commits: files are looked at outside any transaction, then one transaction compares and swaps the ref."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lilong.floors.hub import store
from lilong.floors.hub.contract import Committed, EntryNotFound, Kind, RefMoved, RepositoryExists, Revision, RevisionNotFound
from lilong.floors.hub.git import attributes, trees
from lilong.floors.hub.git.objects import POINTER_LIMIT, Pointer, Signature, blob_id, commit_bytes, object_id, parse_pointer
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.rules import files, names
from lilong.floors.hub.store import Commit, Held
from lilong.ground import intake, manifest
from lilong.ground.access import Actor
from lilong.ground.blobs import digest_of
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import reading, repositories

T = TypeVar("T")
_ATTEMPTS = 8  # for a commit that does not say which parent it expects


@dataclass(frozen=True, slots=True)
class Put:
    """A blob of the house to be laid down at a path."""

    digest: str
    size: int  # bytes
    large: bool = False  # the client has sent it as an LFS file


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client wants committed to a branch. `removed` are files and folders; a path in both is replaced."""

    puts: Mapping[str, Put]
    message: str
    removed_files: Collection[str] = ()
    removed_folders: Collection[str] = ()
    parent: str | None = None  # the head that the client has seen; None: whatever it is

    def paths(self) -> set[str]:
        return {*self.puts, *self.removed_files, *self.removed_folders}


@dataclass(frozen=True, slots=True)
class Draft:
    """A commit's content, worked out but not yet recorded."""

    base: Commit | None
    tree: str
    folders: Mapping[str, bytes]  # those that are new, as they are stored
    files: dict[str, Entry]  # all of them
    manifest: str
    contents: Mapping[str, int] = field(default_factory=dict)  # large files that are new: digest -> bytes

    @property
    def changes_nothing(self) -> bool:
        return self.base is not None and self.base.tree == self.tree


class PathConflict(BadInput):
    """The path '{path}' would be a file and a folder at once."""

    status = 400


class PointerNotTaken(BadInput):
    """The file '{path}' is a Git LFS pointer, not the bytes it stands for. Upload the file itself."""

    status = 400


def kept(house: House, data: bytes) -> Put:
    digest = digest_of(data)
    if not house.blobs.has(digest):
        house.blobs.put(data)
    return Put(digest, len(data))


def draft(
    house: House, kind: Kind, base: Commit | None, puts: Mapping[str, Put], removed: Collection[str] = (), *, replace: bool = False
) -> Draft:
    """Put files on top of a commit (with `replace`, in place of all its files). Reads those blobs that are new there.

    As on the public Hub, `.gitattributes` gets a line for each LFS file that it does not cover, so that a clone finds the bytes.
    Raises BadInput for paths and UnsafeFile for files that are not taken.
    """

    known: dict[str, trees.Folder] = {}

    def read(tx: Tx) -> dict[str, Entry]:
        load = reading.loader(tx)

        def remembered(identity: str) -> trees.Folder:
            known[identity] = load(identity)
            return known[identity]

        return trees.files(remembered, base.tree) if base is not None else {}

    before = house.db.read(read)
    text = _attributes_text(house, base, before, puts, removed, replace)
    rules = attributes.parse(text)
    after: dict[str, Entry] = {}
    for path, put in puts.items():
        intake.path(path)
        large = path != attributes.PATH and ((put.large and put.size > 0) or files.large(path, put.size, rules))
        old = before.get(path)
        same = old is not None and old.digest == put.digest and old.large == large
        after[path] = old if old is not None and same else _entry(house, kind, path, put, large=large)
    new_text = attributes.with_paths(text, (path for path, entry in after.items() if entry.large))
    if new_text != text or (attributes.PATH not in puts and (base is None or replace)):
        after[attributes.PATH] = _entry(house, kind, attributes.PATH, kept(house, new_text.encode()), large=False)
    changes: dict[str, Entry | None] = dict.fromkeys(before if replace else removed)
    changes.update(after)
    try:
        tree, folders = trees.change(known.__getitem__, base.tree if base is not None else trees.EMPTY, changes)
    except trees.PathClash as clash:
        raise PathConflict(path=str(clash)) from clash
    if tree == trees.EMPTY:
        folders = {tree: {}}
    whole = trees.files({**known, **folders}.__getitem__, tree)
    contents = {entry.digest: entry.size for path, entry in after.items() if entry.large and before.get(path) != entry}
    root = manifest.root({path: entry.digest for path, entry in whole.items()})
    return Draft(base, tree, {identity: store.encoded(folder) for identity, folder in folders.items()}, whole, root, contents)


def _attributes_text(
    house: House, base: Commit | None, before: Mapping[str, Entry], puts: Mapping[str, Put], removed: Collection[str], replace: bool
) -> str:
    if attributes.PATH in puts:
        digest, size = puts[attributes.PATH].digest, puts[attributes.PATH].size
    elif base is None or replace:
        return attributes.DEFAULT
    elif attributes.PATH in before and attributes.PATH not in removed:
        digest, size = before[attributes.PATH].digest, before[attributes.PATH].size
    else:
        return ""
    intake.check_size(attributes.PATH, size, attributes.LIMIT)
    try:
        return house.blobs.read(digest).decode()
    except UnicodeDecodeError:
        raise BadInput(field=attributes.PATH, problem="it is not UTF-8", way_out="Write it as UTF-8.") from None


def _entry(house: House, kind: Kind, path: str, put: Put, *, large: bool) -> Entry:
    """Look at a file and give it its git id. Raises UnsafeFile, PointerNotTaken, NotFound."""
    files.check_name(kind, path)
    with house.blobs.open(put.digest) as file:
        if kind is Kind.MODEL and files.is_weights(path):
            intake.check_model_file(path, file, put.size)
        files.check_start(kind, path, file.read(files.SNIFFED), put.size)
        if large:
            return Entry(Pointer(put.digest.removeprefix("sha256:"), put.size).id(), digest=put.digest, size=put.size, large=True)
        file.seek(0)
        # A pointer kept as a plain file would have the id of the large file itself, and so would lead to bytes that may be another's.
        if put.size < POINTER_LIMIT and parse_pointer(file.read()) is not None:
            raise PointerNotTaken(path=path)
        file.seek(0)
        return Entry(blob_id(file, put.size), digest=put.digest, size=put.size)


def record(house: House, tx: Tx, actor: Actor, held: Held, ref: str, draft: Draft, message: str) -> Commit:
    """Write the drafted commit and move the ref from the draft's base to it. Raises RefMoved."""
    now = house.clock.now()
    author = Signature(actor.user, f"{actor.user}@users.invalid", int(now.timestamp()))
    parent = draft.base.id if draft.base is not None else None
    message = message.strip() or "Change files"
    content = commit_bytes(draft.tree, [parent] if parent else [], author, message)
    commit = Commit(object_id("commit", content), draft.tree, parent, draft.manifest, actor.user, message, stamp(now))
    store.add_folders(tx, draft.folders)
    store.add_commit(tx, held, commit, content)
    store.add_contents(tx, held, draft.contents)
    store.move_ref(tx, held, ref, parent, commit.id, commit.at)
    house.events.append(tx, actor, Committed(held.name, held.repository.organisation, held.kind.value, ref, commit.id, commit.manifest))
    return commit


def create(house: House, actor: Actor, kind: Kind, name: str, *, private: bool) -> Held:
    """A new repository with its first commit, as the public Hub makes it. Raises RepositoryExists, Forbidden, BadInput."""
    repositories.check_name(name)
    first = draft(house, kind, None, {attributes.PATH: kept(house, attributes.DEFAULT.encode())})

    def write(tx: Tx) -> Held:
        held = repositories.add(house, tx, actor, kind, name, private=private)
        record(house, tx, actor, held, names.MAIN, first, "initial commit")
        return held

    return house.db.write(write)


# --- what clients send --------------------------------------------------------------------------------------------------


def commit(house: House, actor: Actor, kind: Kind, name: str, branch: str, ask: Ask) -> Commit:
    """Commit to a branch; the bytes are in the house already. A commit that changes nothing, or that was made before, is its head.

    Raises RepositoryNotFound, Forbidden, RevisionNotFound, EntryNotFound, RefMoved (with a parent given), UnsafeFile, BadInput.
    """
    if not ask.paths():
        raise BadInput(field="operations", problem="there are none", way_out="Add or delete at least one file.")
    for attempt in range(1, _ATTEMPTS + 1):
        held, ref, head = house.db.read(lambda tx: _branch(house, tx, actor, kind, name, branch))
        if ask.parent is not None and not head.id.startswith(ask.parent):
            if _made_before(house, kind, held, head, ask):
                return head
            raise RefMoved(ref=ref, repository=name, found=head.id, expected=ask.parent)
        try:
            removed = _removed(house, held, head, ask)
        except EntryNotFound:
            if _made_before(house, kind, held, head, ask):
                return head
            raise
        made = draft(house, kind, head, ask.puts, removed)
        if made.changes_nothing:
            return head

        def write(tx: Tx, made: Draft = made, ref: str = ref) -> Commit:
            return record(house, tx, actor, opened_again(house, tx, actor, kind, name), ref, made, ask.message)

        try:
            return house.db.write(write)
        except RefMoved:
            if ask.parent is not None or attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def opened_again(house: House, tx: Tx, actor: Actor, kind: Kind, name: str) -> Held:
    """Rights may have changed since the draft was begun."""
    return reading.opened(house, tx, actor, kind, name, "hub.write")


def _branch(house: House, tx: Tx, actor: Actor, kind: Kind, name: str, branch: str) -> tuple[Held, str, Commit]:
    held = reading.opened(house, tx, actor, kind, name, "hub.write")
    ref = branch if branch.startswith(names.HEADS) else names.HEADS + branch
    target = store.ref(tx, held, ref)
    head = store.commit(tx, held, target) if target else None
    if head is None:
        raise RevisionNotFound(repository=name, name=branch[:100])
    return held, ref, head


def _removed(house: House, held: Held, head: Commit, ask: Ask) -> set[str]:
    """The paths to take away; a file must be there, unless it is a folder that is meant. Raises EntryNotFound."""
    wanted = {path.strip("/"): False for path in ask.removed_files} | {path.strip("/"): True for path in ask.removed_folders}
    found = dict(reading.entries_at(house, head, list(wanted)))
    for path, is_folder in wanted.items():
        if path not in found or found[path].folder is not is_folder:
            raise EntryNotFound(revision=head.id, repository=held.name, path=path[:300])
    return set(wanted)


def _made_before(house: House, kind: Kind, held: Held, head: Commit, ask: Ask) -> bool:
    """Whether `head` is this very commit: a client that lost our answer asks again."""
    if head.parent is None or head.message != (ask.message.strip() or "Change files"):
        return False
    if ask.parent is not None and not head.parent.startswith(ask.parent):
        return False
    before = house.db.read(lambda tx: store.commit(tx, held, str(head.parent)))
    if before is None:
        return False
    try:
        return draft(house, kind, before, ask.puts, _removed(house, held, before, ask)).tree == head.tree
    except EntryNotFound:
        return False


# --- what other floors publish ------------------------------------------------------------------------------------------


def publish(
    house: House,
    actor: Actor,
    kind: Kind,
    name: str,
    blobs: Mapping[str, str],
    message: str,
    then: Callable[[Tx, Revision], T],
    *,
    private: bool = True,
    replace: bool = True,
) -> T:
    """See contract.Hub. Besides the files given, the revision has a `.gitattributes` for Git LFS, which no manifest counts."""
    repositories.check_name(name)
    puts = {path: Put(digest, house.blobs.size(digest)) for path, digest in blobs.items()}
    for attempt in range(1, _ATTEMPTS + 1):
        head = house.db.read(lambda tx: _main(house, tx, actor, kind, name))
        made = draft(house, kind, head, puts, replace=replace)

        def write(tx: Tx, head: Commit | None = head, made: Draft = made) -> T:
            held = store.repository(tx, kind, name)
            if held is None:
                held = repositories.add(house, tx, actor, kind, name, private=private)
            else:
                held = opened_again(house, tx, actor, kind, name)
            if head is not None and made.changes_nothing:
                found = store.ref(tx, held, names.MAIN)
                if found != head.id:
                    raise RefMoved(ref=names.MAIN, repository=name, found=found or "nothing", expected=head.id)
                return then(tx, reading.revision_of(tx, held, head, made.files))
            commit = record(house, tx, actor, held, names.MAIN, made, message)
            return then(tx, reading.revision_of(tx, held, commit, made.files))

        try:
            return house.db.write(write)
        except RepositoryExists:
            if attempt == _ATTEMPTS or house.db.read(lambda tx: store.repository(tx, kind, name)) is None:
                raise  # the other one differs in upper and lower case only
        except RefMoved:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _main(house: House, tx: Tx, actor: Actor, kind: Kind, name: str) -> Commit | None:
    if store.repository(tx, kind, name) is None:
        return None
    held = reading.opened(house, tx, actor, kind, name, "hub.write")
    target = store.ref(tx, held, names.MAIN)
    return store.commit(tx, held, target) if target else None
