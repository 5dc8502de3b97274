"""The data corpus alliance through the client: members, takedowns, data-rights requests, what a version's tables tell, and publishing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lilong.client import Client
from lilong.client.corpus import keep_bytes
from lilong.floors.corpus.alliance.runs import DROPPED, EVIDENCE, NEEDED, PART_BYTES
from lilong.floors.corpus.alliance.shapes import (
    Contained,
    Contributions,
    Drift,
    Member,
    Quality,
    Reach,
    RightsRequest,
    RunNotUsable,
    Takedown,
    TakedownShown,
)
from lilong.floors.corpus.contract import Version


def members(client: Client) -> list[Member]:
    return client.get("/api/corpus/alliance/members", list[Member])


def join(client: Client, organisation: str) -> Member:
    return client.post("/api/corpus/alliance/members", {"organisation": organisation}, Member)


def admit(client: Client, organisation: str) -> Member:
    return client.post(f"/api/corpus/alliance/members/{organisation}/admit", None, Member)


def leave(client: Client, organisation: str) -> Member:
    return client.post(f"/api/corpus/alliance/members/{organisation}/leave", None, Member)


def preview(client: Client, *, version: str, reason: str = "preview", document: str = "", source: str = "", contributor: str = "") -> Reach:
    """What a takedown would reach. Nothing is changed."""
    ask = {"version": version, "key": "preview", "reason": reason, "document": document, "source": source, "contributor": contributor}
    return client.post("/api/corpus/takedowns/preview", ask, Reach)


def takedown(
    client: Client, *, version: str, key: str, reason: str, document: str = "", source: str = "", contributor: str = ""
) -> Takedown:
    """Take one document, source or contributor down; the same key answers the same takedown."""
    ask = {"version": version, "key": key, "reason": reason, "document": document, "source": source, "contributor": contributor}
    return client.post("/api/corpus/takedowns", ask, Takedown)


def takedowns(client: Client) -> list[Takedown]:
    return client.get("/api/corpus/takedowns", list[Takedown])


def takedown_shown(client: Client, identity: str) -> TakedownShown:
    return client.get(f"/api/corpus/takedowns/{identity}", TakedownShown)


def log_request(
    client: Client, *, organisation: str, key: str, kind: str, subject: str, note: str = "", received_at: str = "", due_at: str = ""
) -> RightsRequest:
    ask = {
        "organisation": organisation,
        "key": key,
        "kind": kind,
        "subject": subject,
        "note": note,
        "received_at": received_at,
        "due_at": due_at,
    }
    return client.post("/api/corpus/rights", ask, RightsRequest)


def rights_requests(client: Client) -> list[RightsRequest]:
    return client.get("/api/corpus/rights", list[RightsRequest])


def rights_request(client: Client, identity: str) -> RightsRequest:
    return client.get(f"/api/corpus/rights/{identity}", RightsRequest)


def answer_request(client: Client, identity: str, *, state: str, answer: str, takedown: str = "") -> RightsRequest:
    return client.post(f"/api/corpus/rights/{identity}/answer", {"state": state, "answer": answer, "takedown": takedown}, RightsRequest)


def forget_request(client: Client, identity: str) -> RightsRequest:
    return client.post(f"/api/corpus/rights/{identity}/forget", None, RightsRequest)


def contributions(client: Client, name: str) -> Contributions:
    return client.get(f"/api/corpus/contributions/{name}", Contributions)


def quality(client: Client, name: str) -> Quality:
    return client.get(f"/api/corpus/quality/{name}", Quality)


def drift(client: Client, before: str, after: str) -> Drift:
    return client.get("/api/corpus/drift", Drift, before=before, after=after)


def reach(client: Client, name: str) -> Reach:
    return client.get(f"/api/corpus/reach/{name}", Reach)


def contains(client: Client, version: str, text: str) -> Contained:
    return client.post("/api/corpus/contains", {"version": version, "text": text}, Contained)


def keep_run(client: Client, organisation: str, folder: Path, evidence: Path | None = None) -> dict[str, list[str]]:
    """Upload a finished curation run; name of each file -> digests of its parts, as `publish` takes them. Idempotent. Raises RunNotUsable."""
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise RunNotUsable(problem=f"the folder {folder} has no {', '.join(missing)}")
    paths = {name: folder / name for name in NEEDED} | ({EVIDENCE: evidence} if evidence else {})
    if (folder / DROPPED).is_file():
        paths[DROPPED] = folder / DROPPED
    return {name: [keep_bytes(client, organisation, part) for part in _parts(path)] for name, path in paths.items()}


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part


def publish(
    client: Client, *, organisation: str, key: str, repository: str, files: dict[str, list[str]], licence: str = "", terms: str = "private",
    purposes: Sequence[str] = (), attribution: str = "", held_out: float = 0.0,
) -> Version:  # fmt: skip
    """Ask for a version of an uploaded run; the same key answers the same one."""
    ask = {
        "organisation": organisation, "key": key, "repository": repository, "files": files, "licence": licence, "terms": terms,
        "conditions": {"purposes": list(purposes), "attribution": attribution}, "recipe": {"held_out": held_out} if held_out else {},
    }  # fmt: skip
    return client.post("/api/corpus/runs", ask, Version)
