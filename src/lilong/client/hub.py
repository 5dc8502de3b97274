"""The hub: repositories and their revisions. Files come and go through the Hugging Face clients with `HF_ENDPOINT`."""

from __future__ import annotations

from typing import Any

from lilong.client import Client
from lilong.floors.hub.contract import Kind, Listed, Shown
from lilong.ground.errors import Forbidden


def repositories(
    client: Client, kind: Kind = Kind.MODEL, *, search: str | None = None, organisation: str | None = None, limit: int = 100
) -> list[Listed]:
    """The newest first."""
    return client.get("/api/hub/repositories", list[Listed], kind=kind.value, search=search, organisation=organisation, limit=limit)


def shown(client: Client, name: str, kind: Kind = Kind.MODEL, ref: str | None = None) -> Shown:
    """One revision with its card, files and statements. `name` may be `organisation/name@revision`."""
    return client.get("/api/hub/revisions", Shown, kind=kind.value, name=name, ref=ref)


def signature(client: Client, name: str, kind: Kind = Kind.MODEL) -> dict[str, str]:
    """`signature`: the `model.sig` of a revision, for OpenSSF model-signing's own tool; `public_key`: the PEM it verifies with."""
    return client.get("/api/hub/signatures", dict[str, str], kind=kind.value, name=name)


def scan(client: Client, name: str, kind: Kind = Kind.MODEL) -> dict[str, Any]:
    """What was found in a revision's files: `scansDone`, `files` (those that are not safe), `facts`. Looked for now where the caller may ask for it."""
    repository, _, revision = name.partition("@")
    path = f"/api/{kind.value}s/{repository}/scan/{revision or 'main'}"
    found = client.get(path, dict[str, Any])
    if not found["scansDone"]:
        try:
            return client.post(path, None, dict[str, Any])
        except Forbidden:
            return found
    return found


def plain(value: Any) -> Any:
    """As JSON would have it."""
    import msgspec

    return msgspec.json.decode(msgspec.json.encode(value))
