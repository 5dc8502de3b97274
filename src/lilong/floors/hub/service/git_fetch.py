"""Repositories as git reads them: bare folders made from the tables, a cache that can be thrown away at any time.

What a commit leads to is in the folder whenever the commit is: each pack holds all that its commits need beyond earlier packs, and
becomes visible as a whole. So what is missing is found by walking back from the refs to commits that are there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git import packs
from lilong.floors.hub.git.objects import FOLDER, Pointer, Type, object_id, parents_of, tree_lines
from lilong.floors.hub.store import Held
from lilong.floors.hub.store import git as git_store
from lilong.floors.hub.store.git import Shown, TreeRow
from lilong.ground.access import Actor
from lilong.ground.blobs import sync_folder, write_durably, writing
from lilong.ground.db import Tx
from lilong.ground.errors import Corrupt
from lilong.ground.house import House
from lilong.ground.seams import run

from . import git_program, reading

log = structlog.get_logger("lilong.hub.git")

_STEPS = 64  # generations of commits that are looked up one by one; a longer way back reads all commits at once
_TOGETHER = 400
_RECENT = 200_000  # entries of folders that are kept at hand for differences
_PACKS = 24  # more than that are joined
_KEPT = 30 * 24 * 3600  # seconds without a fetch after which a folder goes
_EVERY = 3600.0


def start(house: House) -> None:
    shutil.rmtree(incoming(house), ignore_errors=True)  # a crash came between: nobody was told of these
    house.chore("hub-git-folders", _EVERY, tidy)


def root(house: House) -> Path:
    return house.settings.house / "git"


def incoming(house: House) -> Path:
    return root(house) / "incoming"


def scratch(house: House) -> Path:
    """A fresh folder for one push or one repository in the making; whoever asks takes it away."""
    incoming(house).mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=incoming(house)))


def opened(house: House, actor: Actor, kind: Kind, name: str) -> Held:
    """A repository whose files the actor may have. Raises RepositoryNotFound, GatedRepo."""

    def read(tx: Tx) -> Held:
        held = reading.opened(house, tx, actor, kind, name)
        reading.readable(house, tx, actor, held)
        return held

    return house.db.read(read)


@contextlib.contextmanager
def _alone(house: House, identity: str) -> Iterator[None]:
    """One at a time works on a repository's folder."""
    locks = root(house) / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / identity).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ready(house: House, held: Held) -> Path:
    """The repository's folder, with its refs as they are at this moment and all objects behind them. Raises Corrupt, StorageFull."""
    folder = root(house) / f"{held.id}.git"
    if _is_current(folder, _packed(house.db.read(lambda tx: git_store.shown_refs(tx, held)))):
        os.utime(folder)
        return folder
    with writing(folder), _alone(house, held.id):
        shown = house.db.read(lambda tx: git_store.shown_refs(tx, held))
        if _is_current(folder, _packed(shown)):
            return folder
        if not (folder / "HEAD").exists():
            shutil.rmtree(folder, ignore_errors=True)
            made = scratch(house)
            try:
                git_program.lay_out(made)
                made.replace(folder)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
        _fill(house, held, folder, shown)
        write_durably(folder / "packed-refs", _packed(shown))
        if len(list((folder / "objects/pack").glob("*.pack"))) > _PACKS:
            run(["git", "repack", "-q", "-d", "--geometric=2"], cwd=folder, env=git_program.environment())
    return folder


def _is_current(folder: Path, packed: bytes) -> bool:
    try:
        return (folder / "packed-refs").read_bytes() == packed and (folder / "HEAD").exists()
    except FileNotFoundError:
        return False


def _packed(shown: Collection[Shown]) -> bytes:
    lines = ["# pack-refs with: peeled fully-peeled sorted "]
    for ref in shown:
        lines.append(f"{ref.id} {ref.name}")
        if ref.tag is not None:
            lines.append(f"^{ref.commit}")
    return ("\n".join(lines) + "\n").encode()


# --- objects ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Present:
    """What the packs of a folder hold."""

    indexes: list[packs.Index]

    def __contains__(self, identity: str) -> bool:
        return any(identity in index for index in self.indexes)


@dataclass(slots=True)
class _Missing:
    commits: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, bytes] = field(default_factory=dict)


def _fill(house: House, held: Held, folder: Path, shown: Collection[Shown]) -> None:
    """Write one pack of what the refs need and the folder lacks."""
    place = folder / "objects/pack"
    for left_over in place.glob("tmp_*"):
        left_over.unlink()
    present = _Present(_indexes(house, folder))
    torn = place / "tmp_pack"
    try:
        missing = house.db.read(lambda tx: _missing(tx, held, present, shown))
        if missing.commits or missing.tags:
            with torn.open("w+b") as file:
                pack = packs.Writer(file)
                _write(house, present, missing, pack)
                checksum = pack.finish()
                file.flush()
                os.fsync(file.fileno())
            write_durably(place / "tmp_index", pack.index(checksum), 0o444)
            torn.replace(place / f"pack-{checksum.hex()}.pack")  # without its index git does not see it
            (place / "tmp_index").replace(place / f"pack-{checksum.hex()}.idx")
            sync_folder(place)
    finally:
        torn.unlink(missing_ok=True)
        for index in present.indexes:
            index.close()


def _indexes(house: House, folder: Path) -> list[packs.Index]:
    """Those of the packs that are there; none, and no packs any more, where one of them is damaged."""
    paths = list((folder / "objects/pack").glob("*.idx"))
    if all(path.with_suffix(".pack").exists() and packs.is_whole(path) for path in paths):
        return [packs.Index(path) for path in paths]
    log.error("damaged git folder", folder=folder.name)
    for path in (folder / "objects/pack").iterdir():
        path.unlink()
    return []


def _missing(tx: Tx, held: Held, present: _Present, shown: Collection[Shown]) -> _Missing:
    found = _Missing()
    for ref in shown:
        if ref.tag is not None and ref.tag not in present:
            content = git_store.tag_content(tx, held, ref.tag)
            if content is not None:
                found.tags[ref.tag] = content
    wanted = {ref.commit for ref in shown if ref.commit not in present}
    for _ in range(_STEPS):
        if not wanted:
            return found
        wanted = _take(found, git_store.commit_contents(tx, held, wanted), wanted, present)
    everything = git_store.all_commit_contents(tx, held)
    while wanted:
        wanted = _take(found, everything, wanted, present)
    return found


def _take(found: _Missing, contents: Mapping[str, bytes], wanted: Collection[str], present: _Present) -> set[str]:
    """Take these commits; the parents that are wanted next."""
    onward: set[str] = set()
    for identity in wanted:
        if identity not in contents:
            raise Corrupt(place=f"commit {identity}", problem="it is missing")
        found.commits[identity] = contents[identity]
        onward.update(parents_of(contents[identity]))
    return {identity for identity in onward if identity not in found.commits and identity not in present}


def _write(house: House, present: _Present, missing: _Missing, pack: packs.Writer) -> None:
    for identity, content in missing.commits.items():
        _add(pack, "commit", identity, content)
    for identity, content in missing.tags.items():
        _add(pack, "tag", identity, content)
    trees = _Trees(house, present, pack)
    for content in reversed(missing.commits.values()):  # they were found from the newest on
        parents = parents_of(content)
        before = missing.commits.get(parents[0]) if parents else None
        trees.add(_tree_of(content), _tree_of(before) if before is not None else None)
    trees.flush()


def _tree_of(commit: bytes) -> str:
    return commit[5:45].decode()


@dataclass(slots=True)
class _Trees:
    """Writes the trees and files of one commit after another; a folder that was changed is written as its difference."""

    house: House
    present: _Present
    pack: packs.Writer
    _seen: set[str] = field(default_factory=set)
    _recent: dict[str, _Written] = field(default_factory=dict)  # the trees written last
    _held: int = 0  # entries of them
    _files: dict[str, TreeRow] = field(default_factory=dict)

    def add(self, root: str, before: str | None) -> None:
        wanted: list[tuple[str, str | None]] = [(root, before)] if self._is_new(root) else []
        while wanted:
            some, wanted = wanted[-_TOGETHER:], wanted[:-_TOGETHER]
            loaded = self.house.db.read(lambda tx, some=some: git_store.tree_rows(tx, [tree for tree, _ in some]))  # type: ignore[misc]
            for tree, old in some:
                rows = loaded.get(tree, [])
                earlier = self._recent[old].folders if old in self._recent else {}
                self._write(tree, rows, old)
                for row in rows:
                    if self._is_new(row[2]):
                        if row[1] == FOLDER:
                            wanted.append((row[2], earlier.get(row[0])))
                        else:
                            self._files[row[2]] = row
                if len(self._files) >= _TOGETHER:
                    self.flush()

    def flush(self) -> None:
        """Write the files that were come by: a large one as its pointer."""
        small = {row[3] for row in self._files.values() if not row[5]}
        inline = self.house.db.read(lambda tx: store.inlines(tx, small))
        for _, _, identity, digest, size, large, *_ in self._files.values():
            if large:
                content = Pointer(digest.removeprefix("sha256:"), size).text()
            else:
                content = inline[digest] if digest in inline else self.house.blobs.read(digest)
            _add(self.pack, "blob", identity, content)
        self._files.clear()

    def _is_new(self, identity: str) -> bool:
        if identity in self._seen or identity in self.present:
            return False
        self._seen.add(identity)
        return True

    def _write(self, tree: str, rows: list[TreeRow], old: str | None) -> None:
        folders = {row[0]: row[2] for row in rows if row[1] == FOLDER}
        if folders:  # their places in git's order are not those of their names
            lines = tree_lines((row[0], row[1], row[2]) for row in rows)
        else:
            lines = [f"{row[1]} {row[0]}\0".encode() + bytes.fromhex(row[2]) for row in rows]
        content = b"".join(lines)
        _check("tree", tree, content)
        delta = packs.tree_delta(self._recent[old].lines, lines) if old is not None and old in self._recent else content
        if old is None or len(delta) * 2 > len(content) or not self.pack.add_delta(tree, old, delta):
            self.pack.add("tree", tree, content)
        self._recent[tree] = _Written(folders, lines)
        self._held += len(lines)
        while self._held > _RECENT and len(self._recent) > 1:
            self._held -= len(self._recent.pop(next(iter(self._recent))).lines)


@dataclass(frozen=True, slots=True)
class _Written:
    folders: Mapping[str, str]  # name -> tree
    lines: list[bytes]


def _add(pack: packs.Writer, kind: Type, identity: str, content: bytes) -> None:
    _check(kind, identity, content)
    pack.add(kind, identity, content)


def _check(kind: Type, identity: str, content: bytes) -> None:
    if object_id(kind, content) != identity:
        raise Corrupt(place=f"{kind} {identity}", problem="its content has another id")


# --- keeping house ------------------------------------------------------------------------------------------------------


def forget(house: House, identity: str) -> None:
    """Take a repository's folder away: it is made anew when somebody fetches, from what the tables hold then."""
    folder = root(house) / f"{identity}.git"
    with _alone(house, identity):
        gone = scratch(house)
        with contextlib.suppress(FileNotFoundError):
            folder.replace(gone / folder.name)  # at once: nobody finds half a repository
        shutil.rmtree(gone, ignore_errors=True)


def check(house: House, identity: str) -> bool:
    """Read a repository's folder, and take it away if what is in it is damaged; whether it was."""
    place = root(house) / f"{identity}.git" / "objects/pack"
    try:
        whole = all(packs.is_whole(path) for path in [*place.glob("*.pack"), *place.glob("*.idx")])
    except FileNotFoundError:  # somebody has joined packs meanwhile
        return False
    if not whole:
        log.error("damaged git folder", folder=place.parent.parent.name)
        forget(house, identity)
    return not whole


def tidy(house: House) -> None:
    """Take away the folders of repositories that are gone, and of those that nobody has fetched for long."""
    known = house.db.read(git_store.repository_ids)
    if not root(house).is_dir():
        return
    oldest = house.clock.now().timestamp() - _KEPT
    for folder in root(house).glob("*.git"):
        identity = folder.name.removesuffix(".git")
        if identity in known and folder.stat().st_mtime > oldest:
            check(house, identity)
            continue
        forget(house, identity)
        if identity not in known:
            (root(house) / "locks" / identity).unlink(missing_ok=True)
