"""The corpus floor through the client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lilong.client import Client
from lilong.floors.corpus.contract import Datasheet, SourceSet, Text, Version
from lilong.floors.corpus.curation.formats import DECLARATION, EVIDENCE, MAX_FILE, text_format
from lilong.ground.errors import BadInput


def keep_folder(client: Client, organisation: str, folder: Path) -> dict[str, str]:
    """Upload a folder's texts and what says their licence; path -> digest, as `sources` takes it. Links and files of other kinds
    are left out. Idempotent. Raises BadInput."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink() and _wanted(path)]
    if not files:
        raise BadInput(
            field="texts", problem=f"{folder} holds no texts", way_out="Put .txt, .md, .rst, .html or man files in it, and a LICENSE."
        )
    kept = {}
    for path in files:
        if path.stat().st_size > MAX_FILE:
            raise BadInput(
                field="texts", problem=f"{path} is larger than {MAX_FILE >> 20} MiB", way_out="Split it, or move it out of the folder."
            )
        kept[path.relative_to(folder).as_posix()] = keep_bytes(client, organisation, path.read_bytes())
    return kept


def keep_bytes(client: Client, organisation: str, content: bytes) -> str:
    """Upload one text; its digest. Idempotent."""
    _, answer = client.send("POST", "/api/corpus/texts", content, {"organisation": organisation})
    return _text(answer).digest


def _wanted(path: Path) -> bool:
    return text_format(path.as_posix()) is not None or path.name == DECLARATION or EVIDENCE.fullmatch(path.name) is not None


def _text(answer: bytes) -> Text:
    import msgspec

    return msgspec.json.decode(answer, type=Text)


def fetch(
    client: Client,
    *,
    organisation: str,
    key: str,
    packages: Sequence[str] = (),
    texts: Mapping[str, str] | None = None,
    fallback: bool = True,
    contributor: str = "",
    terms: str = "private",
    conditions: Mapping[str, Any] | None = None,
) -> SourceSet:
    """Ask for sources; the same key answers the same set. `terms`: private, alliance or public; `conditions` as contract.Conditions."""
    ask = {
        "organisation": organisation,
        "key": key,
        "packages": list(packages),
        "texts": dict(texts) if texts else None,
        "fallback": fallback,
        "contributor": contributor,
        "terms": terms,
        "conditions": dict(conditions or {}),
    }
    return client.post("/api/corpus/sources", ask, SourceSet)


def source_set(client: Client, identity: str) -> SourceSet:
    return client.get(f"/api/corpus/sources/{identity}", SourceSet)


def build(
    client: Client, *, organisation: str, key: str, sources: str | Sequence[str], repository: str, recipe: Mapping[str, Any] | None = None
) -> Version:
    """Ask for a corpus version; the same key answers the same one."""
    named = sources if isinstance(sources, str) else list(sources)
    ask = {"organisation": organisation, "key": key, "sources": named, "repository": repository, "recipe": dict(recipe or {})}
    return client.post("/api/corpus/versions", ask, Version)


def version(client: Client, name: str) -> Version:
    """`name`: an id, organisation/name, or organisation/name@commit."""
    return client.get(f"/api/corpus/versions/{name}", Version)


def versions(client: Client, repository: str | None = None) -> list[Version]:
    return client.get("/api/corpus/versions", list[Version], repository=repository)


def datasheet(client: Client, name: str) -> Datasheet:
    return client.get(f"/api/corpus/datasheets/{name}", Datasheet)
