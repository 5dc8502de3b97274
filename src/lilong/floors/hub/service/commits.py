"""Commits: files are looked at outside any transaction, then one transaction compares and swaps the ref."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, TypeVar

from lilong.floors.hub import store
from lilong.floors.hub.contract import Committed, EntryNotFound, Kind, RefMoved, RepositoryExists, Revision, RevisionNotFound
from lilong.floors.hub.git import attributes, trees
from lilong.floors.hub.git.objects import POINTER_LIMIT, Pointer, Signature, blob_id, commit_bytes, object_id, parse_pointer
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.rules import card, files, names, pickles, pushes
from lilong.floors.hub.store import Commit, Held
from lilong.ground import intake, manifest
from lilong.ground.access import Actor
from lilong.ground.blobs import digest_of
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import audience, pulls, quotas, reading, repositories, turns

T = TypeVar("T")
_TOGETHER = 1000  # small files read in one query
_ATTEMPTS = 8  # for a commit that does not say which parent it expects
FOLDER_LIMIT = 10_000  # entries; git's id of a folder takes in all of them, so larger ones make each commit slow


@dataclass(frozen=True, slots=True)
class Put:
    """Bytes that the house has, to be laid down at a path."""

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
    changed: Collection[str]  # paths of the files that differ from the base
    contents: Mapping[str, int] = field(default_factory=dict)  # large files that are new: digest -> bytes
    named: Mapping[str, str] = field(default_factory=dict)  # all files that are new: digest -> path

    @property
    def changes_nothing(self) -> bool:
        return self.base is not None and self.base.tree == self.tree


class PathConflict(BadInput):
    """The path '{path}' would be a file and a folder at once."""

    status = 400


class FolderTooFull(BadInput):
    """The folder '{path}' would have more than {limit} entries. Spread its files over folders of their own."""

    status = 400


class NamesClash(BadInput):
    """'{one}' and '{other}' are one name where case does not count, as on many laptops. Rename one of them."""

    status = 400


class PointerNotTaken(BadInput):
    """The file '{path}' is a Git LFS pointer, not the bytes it stands for. Upload the file itself."""

    status = 400


def kept(house: House, data: bytes) -> Put:
    """Keep the bytes of one small file."""
    return keep(house, [data])[0]


def keep(house: House, contents: Collection[bytes]) -> list[Put]:
    """Keep the bytes of small files, all in one transaction. What no commit comes to name is collected later."""
    named = {digest_of(data): data for data in contents}
    house.db.write(lambda tx: store.add_inline(tx, named, stamp(house.clock.now())))
    return [Put(digest_of(data), len(data)) for data in contents]


def draft(
    house: House, kind: Kind, base: Commit | None, puts: Mapping[str, Put], removed: Collection[str] = (), *, replace: bool = False
) -> Draft:
    """Put files on top of a commit (with `replace`, in place of all its files). Opens only the folders on the way to them.

    As on the public Hub, `.gitattributes` gets a line for each LFS file that it does not cover, so that a clone finds the bytes.
    Raises BadInput for paths and UnsafeFile for files that are not taken.
    """
    root = base.tree if base is not None else trees.EMPTY
    known: dict[str, trees.Folder] = {}
    before = house.db.read(lambda tx: _present(reading.loader(tx, known), root, [*puts, attributes.PATH], everything=replace))
    text = _attributes_text(house, base, before, puts, removed, replace)
    rules = attributes.parse(text)
    after: dict[str, Entry] = {}
    contents: dict[str, bytes] = {}  # of small files, read some at a time
    for number, (path, put) in enumerate(puts.items()):
        intake.path(path)
        if number % _TOGETHER == 0:
            some = [one.digest for one in islice(puts.values(), number, number + _TOGETHER) if one.size < files.LARGE]
            contents = house.db.read(lambda tx, some=some: store.inlines(tx, some))  # type: ignore[misc]
        large = path != attributes.PATH and ((put.large and put.size > 0) or files.large(path, put.size, rules))
        old = before.get(path)
        same = old is not None and old.digest == put.digest and old.large == large
        after[path] = old if old is not None and same else _entry(house, kind, path, put, large=large, content=contents.get(put.digest))
    new_text = attributes.with_paths(text, (path for path, entry in after.items() if entry.large))
    if new_text != text or (attributes.PATH not in puts and (base is None or replace)):
        after[attributes.PATH] = _entry(house, kind, attributes.PATH, kept(house, new_text.encode()), large=False)
    changes: dict[str, Entry | None] = dict.fromkeys(before if replace else removed)
    changes.update(after)
    return house.db.read(lambda tx: drafted(reading.loader(tx, known), base, changes))


def _present(load: trees.Load, root: str, paths: Collection[str], *, everything: bool) -> dict[str, Entry]:
    if everything:
        return trees.files(load, root)
    found = ((path, trees.find(load, root, path)) for path in paths)
    return {path: entry for path, entry in found if entry is not None and not entry.folder}


def drafted(load: trees.Load, base: Commit | None, changes: Mapping[str, Entry | None]) -> Draft:
    """Entries put on top of a commit (None: taken away). Raises PathConflict, FolderTooFull."""
    root = base.tree if base is not None else trees.EMPTY
    try:
        tree, folders = trees.change(load, root, changes)
    except trees.PathClash as clash:
        raise PathConflict(path=str(clash)) from clash
    if tree == trees.EMPTY:
        folders = {tree: {}}
    given = {part for path, entry in changes.items() if entry is not None for part in path.split("/")}
    for folder in folders.values():
        if len(folder) > FOLDER_LIMIT:
            raise FolderTooFull(path=_path_of(folder, changes), limit=FOLDER_LIMIT)
        if pair := pushes.clash(folder, given & folder.keys()):
            raise NamesClash(one=pair[0], other=pair[1])

    def both(identity: str) -> trees.Folder:
        return folders[identity] if identity in folders else load(identity)

    changed = list(trees.changed(both, root, tree))
    contents = {after.digest: after.size for _, _, after in changed if after is not None and after.large}
    named = {after.digest: path for path, _, after in changed if after is not None}
    written = {identity: store.encoded(folder) for identity, folder in folders.items()}
    return Draft(base, tree, written, [path for path, _, _ in changed], contents, named)


def _path_of(folder: trees.Folder, changes: Mapping[str, Entry | None]) -> str:
    return next((path.rpartition("/")[0] or "." for path in changes if path.rpartition("/")[2] in folder), ".")


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


def look(kind: Kind, path: str, file: BinaryIO, size: int) -> None:
    """Whether the hub takes a file of this name with these bytes. Raises UnsafeFile."""
    files.check_name(kind, path)
    start = file.read(files.SNIFFED)
    file.seek(0)
    if kind is Kind.MODEL and files.is_weights(path):
        intake.check_model_file(path, file, size)
    elif kind is Kind.MODEL and files.is_pickle(path, start):
        pickles.check(path, file, size)
    else:
        files.check_start(kind, path, start, size)


def _entry(house: House, kind: Kind, path: str, put: Put, *, large: bool, content: bytes | None = None) -> Entry:
    """Look at a file and give it its git id; `content`: its bytes, where they are at hand. Raises UnsafeFile, PointerNotTaken, NotFound."""
    with house.blobs.open(put.digest) if content is None else io.BytesIO(content) as file:
        look(kind, path, file, put.size)
        if large:
            return Entry(Pointer(put.digest.removeprefix("sha256:"), put.size).id(), digest=put.digest, size=put.size, large=True)
        file.seek(0)
        # A pointer kept as a plain file would have the id of the large file itself, and so would lead to bytes that may be another's.
        if put.size < POINTER_LIMIT and parse_pointer(file.read()) is not None:
            raise PointerNotTaken(path=path)
        file.seek(0)
        return Entry(blob_id(file, put.size), digest=put.digest, size=put.size)


def record(house: House, tx: Tx, actor: Actor, held: Held, ref: str, draft: Draft, message: str) -> Commit:
    """Write the drafted commit and move the ref from the draft's base to it (a ref without a base is made). Raises RefMoved, QuotaExceeded,
    MayNotStandHere."""
    audience.check_files(house, tx, held, draft.named)
    return _record(house, tx, actor, held, ref, draft, message)


def _record(house: House, tx: Tx, actor: Actor, held: Held, ref: str, draft: Draft, message: str) -> Commit:
    now = house.clock.now()
    author = Signature(actor.user, f"{actor.user}@users.invalid", int(now.timestamp()))
    parent = draft.base.id if draft.base is not None else None
    message = message.strip() or "Change files"
    content = commit_bytes(draft.tree, [parent] if parent else [], author, message)
    commit = Commit(object_id("commit", content), draft.tree, parent, "", actor.user, message, stamp(now))
    store.add_folders(tx, draft.folders)
    commit = store.add_commit(tx, held, commit, content)
    store.add_changes(tx, held, commit, draft.changed)
    if store.add_contents(tx, held, draft.contents):
        quotas.check(house, tx, held.organisation, 0)  # counted already
    advance(house, tx, actor, held, ref, parent, commit)
    return commit


def advance(house: House, tx: Tx, actor: Actor, held: Held, ref: str, expected: str | None, commit: Commit) -> None:
    """Move a ref to a recorded commit, and what a list shows of the repository with it. Raises RefMoved."""
    store.move_ref(tx, held, ref, expected, commit.id, stamp(house.clock.now()))
    if ref == names.MAIN:
        about = reading.card_in(house, tx, commit.tree)
        store.set_card(tx, held, about.metadata, card.tags(about.metadata, held.kind))
    house.events.append(tx, actor, Committed(held.name, held.organisation, held.kind.value, ref, commit.id))


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
    if ask.parent is not None:
        return _commit(house, actor, kind, name, branch, ask)
    with turns.of_branch(house, kind, name, names.branch_ref(branch)):
        return _commit(house, actor, kind, name, branch, ask)


def _commit(house: House, actor: Actor, kind: Kind, name: str, branch: str, ask: Ask) -> Commit:
    for attempt in range(1, _ATTEMPTS + 1):
        held, ref, head = house.db.read(lambda tx: _branch(house, tx, actor, kind, name, branch))
        if ask.parent is not None and not head.id.startswith(ask.parent):
            if _made_before(house, kind, held, head, ask):
                return head
            raise RefMoved(ref=ref, repository=name, found=head.id, expected=ask.parent)
        try:
            removed = paths_to_remove(house, held, head, ask)
        except EntryNotFound:
            if _made_before(house, kind, held, head, ask):
                return head
            raise
        made = draft(house, kind, head, ask.puts, removed)
        if made.changes_nothing:
            return head

        def write(tx: Tx, made: Draft = made, ref: str = ref) -> Commit:
            held = pulls.opened_for_commit(house, tx, actor, kind, name, ref)  # rights may have changed since the draft was begun
            return record(house, tx, actor, held, ref, made, ask.message)

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
    ref = names.branch_ref(branch)
    held = pulls.opened_for_commit(house, tx, actor, kind, name, ref)
    target = store.ref(tx, held, ref)
    head = store.commit(tx, held, target) if target else None
    if head is None:
        raise RevisionNotFound(repository=name, name=branch[:100])
    return held, ref, head


def paths_to_remove(house: House, held: Held, head: Commit, ask: Ask) -> set[str]:
    """The paths to take away; each must be there. What is named as a file may be a folder: clients ask so for either. Raises EntryNotFound."""
    wanted = {path.strip("/"): False for path in ask.removed_files} | {path.strip("/"): True for path in ask.removed_folders}
    found = dict(reading.entries_at(house, head, list(wanted)))
    for path, is_folder in wanted.items():
        if path not in found or (is_folder and not found[path].folder):
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
        return draft(house, kind, before, ask.puts, paths_to_remove(house, held, before, ask)).tree == head.tree
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
    branch: str = "main",
) -> T:
    """See contract.Hub. Besides the files given, the revision has a `.gitattributes` for Git LFS, which no manifest counts."""
    repositories.check_name(name)
    ref = names.HEADS + names.check(branch)
    puts = {path: Put(digest, house.blobs.size(digest)) for path, digest in blobs.items()}
    for attempt in range(1, _ATTEMPTS + 1):
        head = house.db.read(lambda tx: _head(house, tx, actor, kind, name, ref))
        made = draft(house, kind, head, puts, replace=replace)
        whole = reading.drafted_files(house, made.tree, made.folders)
        root = manifest.root({path: entry.digest for path, entry in whole.items()})

        def write(tx: Tx, head: Commit | None = head, made: Draft = made, whole: dict[str, Entry] = whole, root: str = root) -> T:
            held = store.repository(tx, kind, name)
            if held is None:
                held = repositories.add(house, tx, actor, kind, name, private=private)
            else:
                held = opened_again(house, tx, actor, kind, name)
            store.add_manifest(tx, made.tree, root)
            if head is not None and made.changes_nothing:
                found = store.ref(tx, held, ref)
                if found != head.id:
                    raise RefMoved(ref=ref, repository=name, found=found or "nothing", expected=head.id)
                return then(tx, reading.revision_of(tx, held, head, whole))
            commit = _record(house, tx, actor, held, ref, made, message)
            done = then(tx, reading.revision_of(tx, held, commit, whole))
            audience.check_files(house, tx, held, made.named)  # what the publisher has just said of them counts
            return done

        try:
            return house.db.write(write)
        except RepositoryExists:
            if attempt == _ATTEMPTS or house.db.read(lambda tx: store.repository(tx, kind, name)) is None:
                raise  # the other one differs in upper and lower case only
        except RefMoved:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _head(house: House, tx: Tx, actor: Actor, kind: Kind, name: str, ref: str) -> Commit | None:
    if store.repository(tx, kind, name) is None:
        return None
    held = reading.opened(house, tx, actor, kind, name, "hub.write")
    target = store.ref(tx, held, ref)
    return store.commit(tx, held, target) if target else None
