"""Folders as content-addressed trees: a change rewrites the folders on its way to the root and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from .objects import FILE, FOLDER, object_id, tree_bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder: a file with its content, or a folder (whose `digest` is empty)."""

    id: str  # of the blob, of the LFS pointer's blob, or of the tree
    mode: str = FILE
    digest: str = ""  # sha256:… of the file's own bytes
    size: int = 0  # bytes of the file itself, not of its pointer; of a folder, of all files in it
    large: bool = False  # git holds an LFS pointer in its place
    count: int = 1  # files: of a folder, of all in it (-1 where that was not kept)

    @property
    def folder(self) -> bool:
        return self.mode == FOLDER


Folder = Mapping[str, Entry]
Load = Callable[[str], Folder]  # by tree id; the empty tree is never asked for

EMPTY = object_id("tree", b"")


def folder_id(folder: Folder) -> str:
    return object_id("tree", tree_bytes((name, entry.mode, entry.id) for name, entry in folder.items()))


def as_entry(load: Load, identity: str, folder: Folder | None = None) -> Entry:
    """A folder as an entry of the folder above it, with the sums over its files."""
    size = count = 0
    for inner in (load(identity) if folder is None else folder).values():
        if inner.count < 0:
            inner = as_entry(load, inner.id)
        size, count = size + inner.size, count + inner.count
    return Entry(identity, FOLDER, size=size, count=count)


class PathClash(ValueError):
    """A path that is a file and a folder at once."""


@dataclass(slots=True)
class _Change:
    files: dict[str, Entry | None] = field(default_factory=dict)
    folders: dict[str, _Change] = field(default_factory=dict)


def change(load: Load, root: str, changes: Mapping[str, Entry | None]) -> tuple[str, dict[str, Folder]]:
    """Put files (None: take away) into the tree `root`; the new root's id and the new folders by id.

    A removed path may be a folder; a path that is not there is passed over. Folders that end up empty go. Raises PathClash.
    """
    top = _Change()
    for path, entry in changes.items():
        *parents, name = path.split("/")
        at = top
        for parent in parents:
            at = at.folders.setdefault(parent, _Change())
        at.files[name] = entry
    made: dict[str, Folder] = {}
    identity = _apply(load, root, top, made, "")
    return identity or EMPTY, made


def _apply(load: Load, identity: str | None, asked: _Change, made: dict[str, Folder], place: str) -> str | None:
    folder = dict(load(identity)) if identity and identity != EMPTY else {}
    for name, entry in asked.files.items():
        if entry is None:
            folder.pop(name, None)
        else:
            present = folder.get(name)
            if present is not None and present.folder:
                raise PathClash(f"{place}{name}")
            folder[name] = entry
    for name, inner in asked.folders.items():
        present = folder.get(name)
        adds = _adds(inner)
        if present is not None and not present.folder:
            if adds:
                raise PathClash(f"{place}{name}")
            continue
        changed = _apply(load, present.id if present else None, inner, made, f"{place}{name}/")
        if changed is None:
            folder.pop(name, None)
        elif present is None or changed != present.id:
            folder[name] = as_entry(load, changed, made.get(changed))
    if not folder:
        return None
    new = folder_id(folder)
    if new != identity:
        made[new] = folder
    return new


def _adds(asked: _Change) -> bool:
    return any(entry is not None for entry in asked.files.values()) or any(_adds(inner) for inner in asked.folders.values())


def find(load: Load, root: str, path: str) -> Entry | None:
    """The entry at a path ("" is the root itself)."""
    entry = Entry(root, FOLDER)
    for part in path.split("/") if path else ():
        if not entry.folder or entry.id == EMPTY:
            return None
        inner = load(entry.id).get(part)
        if inner is None:
            return None
        entry = inner
    return entry


def walk(load: Load, root: str, *, prefix: str = "", recursive: bool = True, after: str = "") -> Iterator[tuple[str, Entry]]:
    """(path, entry) of a folder's content in git's order, a folder before what is in it.

    `after` goes on behind a `mark` (relative to the folder), without opening the folders before it.
    """
    if root == EMPTY:
        return
    first, slash, rest = after.partition("/")
    last = first + slash
    for name, entry in sorted(load(root).items(), key=lambda item: mark(*item)):
        here = mark(name, entry)
        if here < last:
            continue
        if here > last:
            yield prefix + name, entry
        if entry.folder and recursive:
            yield from walk(load, entry.id, prefix=f"{prefix}{name}/", after=rest if here == last else "")


def mark(path: str, entry: Entry) -> str:
    """The place of an entry in the order of `walk`."""
    return path + "/" if entry.folder else path


def files(load: Load, root: str) -> dict[str, Entry]:
    """Every file by its path."""
    return {path: entry for path, entry in walk(load, root) if not entry.folder}


def changed(load: Load, old: str, new: str, prefix: str = "") -> Iterator[tuple[str, Entry | None, Entry | None]]:
    """(path, entry before, entry after) of each file that differs between two trees; folders that are the same are not opened."""
    if old == new:
        return
    before = load(old) if old != EMPTY else {}
    after = load(new) if new != EMPTY else {}
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was is not None and now is not None and (was.id, was.mode, was.digest) == (now.id, now.mode, now.digest):
            continue
        was_tree = was.id if was is not None and was.folder else EMPTY
        now_tree = now.id if now is not None and now.folder else EMPTY
        file_before = was if was is not None and not was.folder else None
        file_after = now if now is not None and not now.folder else None
        if file_before is not None or file_after is not None:
            yield prefix + name, file_before, file_after
        yield from changed(load, was_tree, now_tree, f"{prefix}{name}/")
