"""Folders as content-addressed trees: a change rewrites the folders on its way to the root and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from .objects import FILE, FOLDER, object_id, tree_bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder: a file with its content, or a folder (whose `digest` is empty and whose `size` is 0)."""

    id: str  # of the blob, of the LFS pointer's blob, or of the tree
    mode: str = FILE
    digest: str = ""  # sha256:… of the file's own bytes
    size: int = 0  # bytes of the file itself, not of its pointer
    large: bool = False  # git holds an LFS pointer in its place

    @property
    def folder(self) -> bool:
        return self.mode == FOLDER


Folder = Mapping[str, Entry]
Load = Callable[[str], Folder]  # by tree id; the empty tree is never asked for

EMPTY = object_id("tree", b"")


def folder_id(folder: Folder) -> str:
    return object_id("tree", tree_bytes((name, entry.mode, entry.id) for name, entry in folder.items()))


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
        else:
            folder[name] = Entry(changed, FOLDER)
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
