"""The client's way to evidence: walks, statements, and answers that are read as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from lilong.client import Client, _failure


def stream(client: Client, path: str, **query: Any) -> Iterator[bytes]:
    """The body of a GET, piece by piece. Raises ServerError before the first piece."""
    headers = {"authorization": f"Bearer {client._token}"} if client._token else {}
    status, _, chunks = client._transport.request("GET", path + ("?" + urlencode(query) if query else ""), headers, None)
    if status >= 400:
        raise _failure(status, b"".join(chunks))
    return chunks


def trace(client: Client, of: str, direction: str = "down") -> dict[str, Any]:
    """Walk from a receipt, organisation/name@revision, registration number or digest, `down` or `up`."""
    found: dict[str, Any] = client.get("/api/evidence/trace", of=of, direction=direction)
    return found


def bundle(client: Client, of: str, files: str = "subject") -> Iterator[bytes]:
    """The evidence of a thing as a tar stream (`lilong.operations.bundles.export.unpack` lays it down)."""
    return stream(client, "/api/evidence/bundle", of=of, files=files)


def verification(client: Client) -> Iterator[bytes]:
    """The check of the whole house, as lines of JSON: how far it is, and last its findings."""
    return stream(client, "/api/evidence/verification")


def revoke(client: Client, statement: str, reason: str) -> dict[str, Any]:
    """The revocation."""
    made: dict[str, Any] = client.post(f"/api/evidence/statements/{statement}/revocation", {"reason": reason})
    return made
