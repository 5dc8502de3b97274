"""SQL on folders, and on the bytes of small files that lie beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from lilong.floors.hub.git.trees import Entry, Folder
from lilong.ground.db import Tx
from lilong.ground.errors import Corrupt, Refused

from .groups import in_groups


def folder(tx: Tx, identity: str) -> Folder:
    """Raises Corrupt: whoever names a tree has found it in a commit or in another tree."""
    content = tx.value("SELECT entries FROM hub_trees WHERE id = :id", id=identity)
    if content is None:
        raise Corrupt(place=f"tree {identity}", problem="it is missing")
    try:
        return decoded(content)
    except (msgspec.DecodeError, ValueError, TypeError) as problem:
        raise Corrupt(place=f"tree {identity}", problem=str(problem)) from problem


def _entries(content: bytes) -> list[tuple[str, tuple[str, str, str, int, bool, int]]]:
    """As they are stored, in order: name, mode, id, digest, size, large, and (newer rows) how many files."""
    return [
        (row[0], (row[2], row[1], row[3], row[4], row[5], row[6] if len(row) > 6 else -1 if row[1] == "40000" else 1))
        for row in msgspec.msgpack.decode(content)
    ]


def decoded(content: bytes) -> Folder:
    return {name: Entry(*rest) for name, rest in _entries(content)}


def encoded(folder: Folder) -> bytes:
    return msgspec.msgpack.encode([[name, e.mode, e.id, e.digest, e.size, e.large, e.count] for name, e in sorted(folder.items())])


def add_folders(tx: Tx, folders: Mapping[str, bytes]) -> None:
    """`folders`: git's id -> `encoded`."""
    for identity, content in folders.items():
        if not tx.run(
            "INSERT INTO hub_trees (id, entries) VALUES (:id, :entries) ON CONFLICT (id) DO NOTHING", id=identity, entries=content
        ):
            present = tx.value("SELECT entries FROM hub_trees WHERE id = :id", id=identity)
            # Two contents with one SHA-1 (SHAttered): git could not tell them apart either.
            if bytes(present) != content and [_said(e) for e in _entries(bytes(present))] != [_said(e) for e in _entries(content)]:
                raise Refused(
                    problem="A file has the same SHA-1 as a different file that is stored already.", way_out="Change it by a byte."
                )


def _said(entry: tuple[str, tuple[str, str, str, int, bool, int]]) -> tuple[str, str, str, str, bool]:
    """An entry without the sums over its content, which older rows do not have."""
    name, (identity, mode, digest, _, large, _) = entry
    return name, identity, mode, digest, large


# --- small files --------------------------------------------------------------------------------------------------------


def add_inline(tx: Tx, contents: Mapping[str, bytes], now: str) -> None:
    """`contents`: `sha256:…` -> bytes."""
    tx.many(
        "INSERT INTO hub_inline (digest, size, content, at) VALUES (:digest, :size, :content, :at) ON CONFLICT (digest) DO UPDATE SET at = excluded.at",
        [{"digest": digest, "size": len(content), "content": content, "at": now} for digest, content in contents.items()],
    )


def inline(tx: Tx, digest: str) -> bytes | None:
    found = tx.value("SELECT content FROM hub_inline WHERE digest = :digest", digest=digest)
    return None if found is None else bytes(found)


def inlines(tx: Tx, digests: Iterable[str]) -> dict[str, bytes]:
    """The bytes of those that lie here."""
    found: dict[str, bytes] = {}
    for among, values in in_groups(digests):
        rows = tx.rows(f"SELECT digest, content FROM hub_inline WHERE digest IN ({among})", **values)
        found |= {row["digest"]: bytes(row["content"]) for row in rows}
    return found


def inline_size(tx: Tx, digest: str) -> int | None:
    size: int | None = tx.value("SELECT size FROM hub_inline WHERE digest = :digest", digest=digest)
    return size
