"""What a push brings, read from its quarantine and held against the hub's rules. Nothing is recorded here."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git import trees
from lilong.floors.hub.git.objects import FOLDER, entries_of, parents_of, parse_pointer
from lilong.floors.hub.git.trees import Entry, Folder
from lilong.floors.hub.rules import files, pushes
from lilong.floors.hub.rules.pushes import NotTaken
from lilong.floors.hub.store import Commit, Held, collecting
from lilong.ground import intake
from lilong.ground.access import Actor
from lilong.ground.blobs import digest_of
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import commits, reading, transfer
from .commits import FOLDER_LIMIT
from .git_program import Objects
from .transfer import BytesNotKnown

_HELD = 64 << 20  # bytes of small files and folders that wait in memory for the transaction
_RECENT = 200_000  # entries of folders that are kept at hand


@dataclass(frozen=True, slots=True)
class Brought:
    """A commit that the repository does not have yet."""

    commit: Commit
    content: bytes
    changed: tuple[str, ...]  # paths of files, held against the first parent
    large: dict[str, int]  # digest -> bytes of the large files among them
    named: dict[str, str]  # digest -> path of all that it brings


@dataclass(slots=True)
class Examination:
    """Reads commits and all that is new in them. Raises NotTaken, UnsafeFile, BadInput and others with the path in the message."""

    house: House
    actor: Actor
    held: Held
    objects: Objects
    commits: dict[str, Brought] = field(default_factory=dict)
    folders: dict[str, bytes] = field(default_factory=dict)  # as they are stored; some are kept already
    kept: set[str] = field(default_factory=set)  # the trees that are
    inline: dict[str, bytes] = field(default_factory=dict)
    _waiting: int = 0  # bytes of `folders` and `inline`
    _recent: dict[str, Folder] = field(default_factory=dict)
    _entries: int = 0  # of `_recent`
    _pointers: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)  # (digest, suffix) -> (path, size), not looked at yet
    _looked_at: set[tuple[str, str]] = field(default_factory=set)
    _files: dict[tuple[str, str], Entry] = field(default_factory=dict)  # (blob's id, suffix) -> entry

    @property
    def kind(self) -> Kind:
        return self.held.kind

    def bring(self, tip: str) -> list[str]:
        """The new commits that lead to this one, parents before their children."""
        order: list[str] = []
        done: set[str] = set()
        stack = [(tip, False)]
        while stack:
            identity, parents_done = stack.pop()
            if identity in done:
                continue
            if parents_done:
                done.add(identity)
                if identity not in self.commits:
                    self.commits[identity] = self._examine(identity)
                order.append(identity)
            elif identity not in self.commits and self._known(identity) is not None:
                done.add(identity)
            else:
                content = self.commits[identity].content if identity in self.commits else self._object(identity, "commit")
                stack.append((identity, True))
                stack += [(parent, False) for parent in parents_of(content) if parent not in done]
        self._prove_pointers()
        return order

    def _known(self, identity: str) -> Commit | None:
        return self.house.db.read(lambda tx: store.commit(tx, self.held, identity))

    def _object(self, identity: str, kind: str) -> bytes:
        found = self.objects.get(identity)
        if found is None or found[0] != kind:
            raise NotTaken(
                path=identity, problem=f"there is no such {kind}", way_out="Push from a clone that is not shallow, or fetch first."
            )
        return found[1]

    def _examine(self, identity: str) -> Brought:
        content = self._object(identity, "commit")
        said = pushes.said_by(content)
        roots = []
        parents = parents_of(content)
        for parent in parents:
            before = self.commits[parent].commit if parent in self.commits else self._known(parent)
            assert before is not None
            roots.append(before.tree)
        self._folder(said.tree, [self._load(root) for root in roots], "")
        now = self.house.clock.now()
        at = datetime.fromtimestamp(min(max(said.seconds, 0), int(now.timestamp())), UTC)
        commit = Commit(identity, said.tree, parents[0] if parents else None, "", said.author, said.message, stamp(at))
        changed = list(trees.changed(self._load, roots[0] if roots else trees.EMPTY, said.tree))
        large = {now.digest: now.size for _, _, now in changed if now is not None and now.large}
        named = {now.digest: path for path, _, now in changed if now is not None}
        return Brought(commit, content, tuple(path for path, _, _ in changed), large, named)

    def _load(self, identity: str) -> Folder:
        if identity == trees.EMPTY:
            return {}
        if identity in self._recent:
            return self._recent[identity]
        if identity in self.folders:
            return store.decoded(self.folders[identity])
        return self.house.db.read(lambda tx: reading.loader(tx)(identity))

    def _folder(self, identity: str, parents: Sequence[Folder], prefix: str) -> Folder:
        """The folder with its entries checked, those apart that stand in a parent's folder under the same name."""
        folder: dict[str, Entry] = {}
        new: list[str] = []
        first = parents[0] if parents else {}
        for mode, raw, inner in _read_tree(self._object(identity, "tree"), prefix):
            name = pushes.text_of(raw, prefix)
            present = first.get(name)
            if present is not None and present.id == inner and present.mode == mode:
                folder[name] = present
                continue
            before = [parent[name] for parent in parents if name in parent]
            same = next((entry for entry in before if entry.id == inner and entry.mode == mode), None)
            if same is not None:
                folder[name] = same
                continue
            path = intake.path(prefix + name)
            pushes.check_entry(path, mode)
            if mode == FOLDER:
                content = self._folder(inner, [self._load(entry.id) for entry in before if entry.folder], path + "/")
                folder[name] = trees.as_entry(self._load, inner, content)
            else:
                folder[name] = self._file(path, mode, inner)
            if not before:
                new.append(name)
        pair = pushes.clash(folder, new)
        if pair is not None:
            way_out = "Rename one: on many computers they are the same file."
            raise NotTaken(path=prefix + pair[1], problem=f"the folder has '{pair[0]}' as well", way_out=way_out)
        if len(folder) > FOLDER_LIMIT:
            way_out = "Spread its files over folders of their own."
            raise NotTaken(path=prefix or "/", problem=f"the folder has more than {FOLDER_LIMIT} entries", way_out=way_out)
        self._remember(identity, folder)
        return folder

    def _remember(self, identity: str, folder: Folder) -> None:
        """Folders are large and many: all are held as they are stored, and only the last ones as they are read."""
        if identity not in self.folders and identity not in self.kept:
            self.folders[identity] = store.encoded(folder)
            self._waiting += len(self.folders[identity])
        if identity not in self._recent:
            self._recent[identity] = folder
            self._entries += len(folder)
        while self._entries > _RECENT and len(self._recent) > 1:
            self._entries -= len(self._recent.pop(next(iter(self._recent))))
        if self._waiting > _HELD:
            self.keep()

    def _file(self, path: str, mode: str, identity: str) -> Entry:
        files.check_name(self.kind, path)
        known = self._files.get((identity, _suffix(path)))
        if known is None:
            known = self._files[identity, _suffix(path)] = self._new_file(path, identity)
        return Entry(identity, mode, known.digest, known.size, known.large)

    def _new_file(self, path: str, identity: str) -> Entry:
        content = self._object(identity, "blob")
        pointer = parse_pointer(content)
        if pointer is not None:
            digest = f"sha256:{pointer.sha256}"
            if (digest, _suffix(path)) not in self._looked_at:
                self._pointers.setdefault((digest, _suffix(path)), (path, pointer.size))
            return Entry(identity, digest=digest, size=pointer.size, large=True)
        if len(content) >= pushes.RAW_LIMIT:
            raise pushes.RawFileTooLarge(
                path=path,
                size=len(content),
                limit=pushes.RAW_LIMIT,
                pattern=f"*{_suffix(path)}" if _suffix(path) else path.rpartition("/")[2],
            )
        commits.look(self.kind, path, io.BytesIO(content), len(content))
        digest = digest_of(content)
        if len(content) >= files.LARGE:
            blob = self.house.blobs.put(content)
            self.house.db.write(lambda tx: collecting.came(tx, blob, stamp(self.house.clock.now())))
        elif digest not in self.inline:
            self.inline[digest] = content
            self._waiting += len(content)
            if self._waiting > _HELD:
                self.keep()
        return Entry(identity, digest=digest, size=len(content))

    def keep(self) -> None:
        """Keep the small files and folders read so far; what no commit comes to name is collected later."""

        def write(tx: Tx) -> None:
            store.add_inline(tx, self.inline, stamp(self.house.clock.now()))
            store.add_folders(tx, self.folders)

        self.house.db.write(write)
        self.kept |= self.folders.keys()
        self.inline, self.folders, self._waiting = {}, {}, 0

    def _prove_pointers(self) -> None:
        """Every pointer must stand for bytes that the pusher has uploaded or may read. Raises NotTaken, UnsafeFile."""
        paths = {digest: path for (digest, _), (path, _) in self._pointers.items()}
        try:
            sizes = transfer.sizes_of(self.house, self.actor, paths)
        except BytesNotKnown as unknown:
            digest = str(unknown.details["digest"])
            problem = (
                f"its Git LFS object {digest.removeprefix('sha256:')} was not uploaded by you, and no repository that you may read has it"
            )
            raise NotTaken(path=paths[digest], problem=problem, way_out="Run `git lfs push --all origin`, and push again.") from unknown
        for (digest, suffix), (path, size) in list(self._pointers.items()):
            if sizes[digest] != size:
                problem = f"its Git LFS pointer says {size} bytes, but the object has {sizes[digest]}"
                raise NotTaken(path=path, problem=problem, way_out="Add the file again.")
            try:
                with self.house.blobs.open(digest) as file:
                    commits.look(self.kind, path, file, size)
            except NotFound as gone:
                raise NotTaken(path=path, problem="its Git LFS object is gone", way_out="Run `git lfs push --all origin`.") from gone
            self._looked_at.add((digest, suffix))
            del self._pointers[digest, suffix]


def _suffix(path: str) -> str:
    """What the rules for files go by."""
    name = path.rpartition("/")[2].lower()
    return "." + name.rpartition(".")[2] if "." in name else ""


def _read_tree(content: bytes, prefix: str) -> Iterator[tuple[str, bytes, str]]:
    try:
        yield from entries_of(content)
    except ValueError as problem:
        raise NotTaken(path=prefix or "/", problem=str(problem), way_out="Run `git fsck`.") from problem
