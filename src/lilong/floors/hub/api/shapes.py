"""Repositories, files and commits in the JSON that the Hugging Face clients read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
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


def tree_entry(path: str, entry: Entry, xet: Mapping[str, str] | None = None) -> dict[str, Any]:
    """`xet`: digest -> Xet hash of those large files that are kept as Xet."""
    if entry.folder:
        return {"type": "directory", "path": path, "oid": entry.id, "size": 0}
    shown: dict[str, Any] = {"type": "file", "path": path, "oid": entry.id, "size": entry.size}
    if entry.large:
        shown["lfs"] = {"oid": entry.digest.removeprefix("sha256:"), "size": entry.size, "pointerSize": pointer_size(entry)}
        if xet and entry.digest in xet:
            shown["xetHash"] = xet[entry.digest]
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
    words = [*card.tags(held.card, held.kind), *(tag for tag in held.facts.get("tags", []) if isinstance(tag, str))]
    shown: dict[str, Any] = {
        "_id": held.id, "id": repository.name, "author": repository.organisation, "sha": listed.commit, "private": repository.private,
        "gated": held.gated or False, "disabled": False, "downloads": held.downloads, "downloadsAllTime": held.downloads, "likes": held.likes,
        "trendingScore": held.trending, "tags": list(dict.fromkeys(words)), "createdAt": time(repository.created_at),
        "lastModified": time(listed.updated_at),
    }  # fmt: skip
    if held.kind is Kind.MODEL:
        shown["modelId"] = repository.name
        for key in ("library_name", "pipeline_tag"):
            word = held.card.get(key) or held.facts.get(key)
            if isinstance(word, str):
                shown[key] = word
    elif isinstance(held.card.get("pretty_name"), str):
        shown["description"] = held.card["pretty_name"]
    return shown


SIBLINGS = 2000  # files; of more, clients are to ask for the tree page by page, as they do when there is no list

_OF_FILES = ("safetensors", "gguf", "config", "transformersInfo", "library_name", "pipeline_tag", "model-index", "evalResults")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one revision."""

    held: Held
    commit: Commit
    files: Mapping[str, Entry] | None  # None: too many of them
    about: card.Card
    facts: Mapping[str, Any]


def info(known: Known, *, blobs: bool, security: bool = False) -> dict[str, Any]:
    """All of one revision. `siblings` is empty where there are more than SIBLINGS files."""
    held, about = known.held, known.about
    shown = brief(replace(held, card=about.metadata, facts=known.facts), Listed(held.repository, known.commit.id, None, held.updated_at))
    shown |= {
        "lastModified": time(known.commit.at),
        "cardData": dict(about.metadata),
        "siblings": [sibling(path, entry, blobs=blobs) for path, entry in sorted((known.files or {}).items())],
        "usedStorage": held.used_bytes,
        "xetEnabled": True,
    }
    shown |= {key: known.facts[key] for key in _OF_FILES if key in known.facts and key not in shown}
    if security and "securityRepoStatus" in known.facts:
        shown["securityRepoStatus"] = known.facts["securityRepoStatus"]
    if held.kind is Kind.MODEL:
        bases = about.metadata.get("base_model")
        shown |= {"spaces": [], "baseModels": [bases] if isinstance(bases, str) else bases if isinstance(bases, list) else None}
        if isinstance(about.metadata.get("model-index"), list):
            shown["model-index"] = about.metadata["model-index"]
    else:
        shown |= {key: about.metadata.get(key) for key in ("citation", "paperswithcode_id")}
    return {key: value for key, value in shown.items() if value is not None}


def expanded(shown: Mapping[str, Any], wanted: Collection[str]) -> dict[str, Any]:
    """Only the keys that were asked for, and the identity."""
    return {key: value for key, value in shown.items() if key in wanted or key in ("_id", "id", "modelId")} if wanted else dict(shown)
