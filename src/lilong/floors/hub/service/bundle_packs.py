"""The history behind some refs as one pack without deltas, which a few lines of code can read again; and the large files it points to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import BinaryIO

from lilong.floors.hub import store
from lilong.floors.hub.git import packs
from lilong.floors.hub.git.objects import Pointer, Type, object_id, parents_of, tree_bytes
from lilong.floors.hub.git.trees import EMPTY, Entry
from lilong.floors.hub.store import Commit, Held
from lilong.floors.hub.store import git as git_store
from lilong.floors.hub.store.git import Shown
from lilong.ground.errors import Corrupt
from lilong.ground.house import House

_TOGETHER = 400  # objects read from the database at a time


def write(house: House, held: Held, shown: Collection[Shown], file: BinaryIO) -> tuple[list[Commit], dict[str, int]]:
    """The commits that the refs lead to, by every parent, and their large files (digest -> bytes). `file` is open for reading as well.

    Raises Corrupt.
    """
    pack = packs.Writer(file)
    for ref in shown:
        if ref.tag is not None:
            tag = ref.tag
            content = house.db.read(lambda tx, tag=tag: git_store.tag_content(tx, held, tag))  # type: ignore[misc]
            _add(pack, "tag", tag, content)
    commits = _commits(house, held, {ref.commit for ref in shown}, pack)
    large = _trees(house, dict.fromkeys(commit.tree for commit in commits), pack)
    pack.finish()
    return commits, large


def _add(pack: packs.Writer, kind: Type, identity: str, content: bytes | None) -> None:
    if content is None or object_id(kind, content) != identity:
        raise Corrupt(place=f"{kind} {identity}", problem="it is missing" if content is None else "its content has another id")
    pack.add(kind, identity, content)


def _commits(house: House, held: Held, tips: Iterable[str], pack: packs.Writer) -> list[Commit]:
    found: dict[str, Commit] = {}
    waiting = list(tips)
    while waiting:
        some, waiting = list(dict.fromkeys(waiting[-_TOGETHER:])), waiting[:-_TOGETHER]
        some = [identity for identity in some if identity not in found]
        contents = house.db.read(lambda tx, some=some: git_store.commit_contents(tx, held, some))  # type: ignore[misc]
        rows = house.db.read(lambda tx, some=some: [store.commit(tx, held, identity) for identity in some])  # type: ignore[misc]
        for identity, row in zip(some, rows, strict=True):
            _add(pack, "commit", identity, contents.get(identity))
            assert row is not None
            found[identity] = row
            waiting += [parent for parent in parents_of(contents[identity]) if parent not in found]
    return list(found.values())


def _trees(house: House, roots: Iterable[str], pack: packs.Writer) -> dict[str, int]:
    seen: set[str] = set()
    large: dict[str, int] = {}
    small: dict[str, Entry] = {}
    waiting = list(roots)
    while waiting:
        some, waiting = waiting[-_TOGETHER:], waiting[:-_TOGETHER]
        some = [identity for identity in dict.fromkeys(some) if identity not in seen]
        folders = house.db.read(lambda tx, some=some: {tree: store.folder(tx, tree) if tree != EMPTY else {} for tree in some})  # type: ignore[misc]
        for tree, folder in folders.items():
            seen.add(tree)
            _add(pack, "tree", tree, tree_bytes((name, entry.mode, entry.id) for name, entry in folder.items()))
            for entry in folder.values():
                if entry.id in seen:
                    continue
                if entry.folder:
                    waiting.append(entry.id)
                    continue
                seen.add(entry.id)
                if entry.large:
                    large[entry.digest] = entry.size
                    _add(pack, "blob", entry.id, Pointer(entry.digest.removeprefix("sha256:"), entry.size).text())
                else:
                    small[entry.id] = entry
            if len(small) >= _TOGETHER:
                _files(house, small, pack)
                small.clear()
    _files(house, small, pack)
    return large


def _files(house: House, files: dict[str, Entry], pack: packs.Writer) -> None:
    inline = house.db.read(lambda tx: store.inlines(tx, {entry.digest for entry in files.values()}))
    for identity, entry in files.items():
        _add(pack, "blob", identity, inline.get(entry.digest) or house.blobs.read(entry.digest))
