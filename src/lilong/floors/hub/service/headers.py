"""The headers of a model's safetensors, all shards at once."""

from __future__ import annotations

import json
from typing import Any

from lilong.floors.hub.contract import EntryNotFound, Kind
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.scan import tensors
from lilong.floors.hub.store import Commit, Held
from lilong.ground.access import Actor
from lilong.ground.errors import BadInput
from lilong.ground.house import House

from . import mirrors, reading, revision_facts

_INDEX_LIMIT = 64 << 20  # bytes
_SHARDS = 2000
_ALL_LIMIT = 64 << 20  # bytes of all headers of one answer


class NoSafetensors(BadInput):
    """The file '{path}' cannot be read as safetensors or as an index of them: {problem}."""

    status = 400


def of_index(house: House, actor: Actor, name: str, path: str) -> dict[str, Any]:
    """`{index, headers: {shard: header}}` on main, the index without its map of tensors, which the headers repeat.

    Raises RepositoryNotFound, GatedRepository, EntryNotFound, NoSafetensors.
    """
    held, commit = reading.pinned(house, actor, Kind.MODEL, name, "main")
    house.db.read(lambda tx: reading.readable(house, tx, actor, held))
    entry = _file(house, held, commit, path)
    if path.endswith(".safetensors"):
        return {"index": {}, "headers": {path: _header(house, path, entry, _ALL_LIMIT)[0]}}
    index = _index(house, path, entry)
    folder = path.rpartition("/")[0]
    shards = sorted({revision_facts.plain(shard) for shard in index["weight_map"].values() if isinstance(shard, str)})
    if len(shards) > _SHARDS:
        raise NoSafetensors(path=path[:300], problem=f"it names more than {_SHARDS} shards")
    headers, left = {}, _ALL_LIMIT
    for shard in shards:
        place = f"{folder}/{shard}" if folder else shard
        headers[shard], size = _header(house, place, _file(house, held, commit, place), left)
        left -= size
    return {"index": revision_facts.plain({key: value for key, value in index.items() if key != "weight_map"}), "headers": headers}


def _file(house: House, held: Held, commit: Commit, path: str) -> Entry:
    entry = reading.entry_at(house, held, commit, path)
    if entry.folder:
        raise EntryNotFound(revision=commit.id, repository=held.name, path=path[:300])
    if entry.large:  # a mirror's file is its own only once its source has sent it
        mirrors.fetch(house, held, entry.digest)
    return entry


def _index(house: House, path: str, entry: Entry) -> dict[str, Any]:
    if entry.size > _INDEX_LIMIT:
        raise NoSafetensors(path=path[:300], problem="it is too large to be an index")
    try:
        index = json.loads(house.blobs.read(entry.digest))
    except (ValueError, RecursionError):
        raise NoSafetensors(path=path[:300], problem="it is not JSON") from None
    if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict):
        raise NoSafetensors(path=path[:300], problem="it has no weight_map")
    return index


def _header(house: House, path: str, entry: Entry, limit: int) -> tuple[dict[str, Any], int]:
    with house.blobs.open(entry.digest) as file:
        try:
            header = tensors.safetensors_header(file, entry.size, limit)
            return revision_facts.plain(header), file.tell()
        except tensors.NoHeader as problem:
            raise NoSafetensors(path=path[:300], problem=str(problem)) from problem
        except RecursionError:
            raise NoSafetensors(path=path[:300], problem="its header is nested too deeply") from None
