"""Repositories, files and commits in the JSON that the Hugging Face clients read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lilong.floors.hub.contract import Kind, Listed
from lilong.floors.hub.git.objects import Pointer
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.rules import card
from lilong.floors.hub.store import Commit, Held


def time(stamp: str) -> str:
    """Milliseconds, as the public Hub writes them."""
    return stamp[:23] + "Z" if len(stamp) > 24 else stamp


def pointer_size(entry: Entry) -> int:
    return len(Pointer(entry.digest.removeprefix("sha256:"), entry.size).text())


def tree_entry(path: str, entry: Entry) -> dict[str, Any]:
    if entry.folder:
        return {"type": "directory", "path": path, "oid": entry.id, "size": 0}
    shown: dict[str, Any] = {"type": "file", "path": path, "oid": entry.id, "size": entry.size}
    if entry.large:
        shown["lfs"] = {"oid": entry.digest.removeprefix("sha256:"), "size": entry.size, "pointerSize": pointer_size(entry)}
    return shown


def last_commit(commit: Commit) -> dict[str, str]:
    return {"id": commit.id, "title": commit.title, "date": time(commit.at)}


def sibling(path: str, entry: Entry, *, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    shown: dict[str, Any] = {"rfilename": path, "size": entry.size, "blobId": entry.id}
    if entry.large:
        shown["lfs"] = {"sha256": entry.digest.removeprefix("sha256:"), "size": entry.size, "pointerSize": pointer_size(entry)}
    return shown


def brief(held: Held, listed: Listed) -> dict[str, Any]:
    """One repository of a list."""
    repository = held.repository
    shown: dict[str, Any] = {
        "_id": held.id, "id": repository.name, "author": repository.organisation, "sha": listed.commit, "private": repository.private,
        "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": [],
        "createdAt": time(repository.created_at), "lastModified": time(listed.updated_at),
    }  # fmt: skip
    if held.kind is Kind.MODEL:
        shown["modelId"] = repository.name
    return shown


def info(held: Held, commit: Commit, files: Mapping[str, Entry], about: card.Card, used: int, *, blobs: bool) -> dict[str, Any]:
    """All of one revision."""
    shown = brief(held, Listed(held.repository, commit.id, commit.manifest, held.updated_at))
    shown |= {
        "lastModified": time(commit.at),
        "tags": card.tags(about.metadata),
        "cardData": dict(about.metadata),
        "siblings": [sibling(path, entry, blobs=blobs) for path, entry in sorted(files.items())],
        "usedStorage": used,
        "xetEnabled": False,
    }
    if held.kind is Kind.MODEL:
        shown |= {"library_name": about.metadata.get("library_name"), "pipeline_tag": about.metadata.get("pipeline_tag"), "spaces": []}
        shown = {key: value for key, value in shown.items() if value is not None}
    return shown


def expanded(shown: Mapping[str, Any], wanted: Collection[str]) -> dict[str, Any]:
    """Only the keys that were asked for, and the identity."""
    return {key: value for key, value in shown.items() if key in wanted or key in ("_id", "id", "modelId")} if wanted else dict(shown)
