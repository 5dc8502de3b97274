"""Does the hub still hold what it once answered? For `lilong verify` and after a restore."""

from __future__ import annotations

from collections.abc import Iterator

from lilong.floors.hub import store
from lilong.floors.hub.git import trees
from lilong.floors.hub.git.objects import Pointer, object_id
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.store import imports as mirrored
from lilong.ground import manifest
from lilong.ground.blobs import digest_of
from lilong.ground.db import Tx
from lilong.ground.errors import Corrupt
from lilong.ground.house import House


def problems(house: House) -> Iterator[str]:
    """Each ref, commit, folder and file that is not what its id says, or whose bytes are missing. The bytes themselves are not read."""
    folders, files = house.db.read(_folders)
    for identity, folder in folders.items():
        if isinstance(folder, str):
            yield f"tree {identity}: {folder}"
        elif trees.folder_id(folder) != identity:
            yield f"tree {identity}: its entries have another id"
    broken = house.db.read(lambda tx: [digest for digest, content in store.inline_contents(tx) if digest_of(content) != digest])
    yield from (f"file with the digest {digest}: its bytes in the database have another one" for digest in broken)
    away = house.db.read(mirrored.away)
    for digest, (path, size) in files.items():
        if digest in away:
            continue  # a mirror's file that nobody has read yet
        if not house.blobs.has(digest):
            yield f"file {path}: its bytes {digest} are missing"
        elif house.blobs.size(digest) != size:
            yield f"file {path}: its bytes {digest} have another size"
    yield from house.db.read(lambda tx: _commits(tx, {key: folder for key, folder in folders.items() if not isinstance(folder, str)}))


def _folders(tx: Tx) -> tuple[dict[str, trees.Folder | str], dict[str, tuple[str, int]]]:
    folders: dict[str, trees.Folder | str] = {}
    files: dict[str, tuple[str, int]] = {}
    for identity in store.folder_ids(tx):
        try:
            folders[identity] = folder = store.folder(tx, identity)
        except Corrupt as corrupt:
            folders[identity] = str(corrupt)
            continue
        files |= {entry.digest: (name, entry.size) for name, entry in folder.items() if not entry.folder}
        odd = [name for name, entry in folder.items() if not _pointer_fits(entry)]
        if odd:
            folders[identity] = f"the pointer of {odd[0]} has another id"
    return folders, files


def _pointer_fits(entry: Entry) -> bool:
    return not entry.large or Pointer(entry.digest.removeprefix("sha256:"), entry.size).id() == entry.id


def _commits(tx: Tx, folders: dict[str, trees.Folder]) -> list[str]:
    found = []
    manifests = store.manifests(tx)
    for name, commit, content in store.commits(tx):
        place = f"commit {commit.id} of {name}"
        if object_id("commit", content) != commit.id or not content.startswith(f"tree {commit.tree}\n".encode()):
            found.append(f"{place}: its content has another id")
            continue
        try:
            files = trees.files(folders.__getitem__, commit.tree)
        except KeyError as missing:
            found.append(f"{place}: the tree {missing.args[0]} is missing or broken")
            continue
        kept = {commit.manifest, manifests.get(commit.tree, "")} - {""}
        if kept and kept != {manifest.root({path: entry.digest for path, entry in files.items()})}:
            found.append(f"{place}: its files have another manifest")
    found += [f"ref {ref} of {name}: the commit {target} is missing" for name, ref, target in store.dangling_refs(tx)]
    return found
