"""What a webhook is sent: the public Hub's payload, version 3, and when it is tried again."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DOMAINS = ("repo", "discussion")
TYPES = ("user", "org", "model", "dataset")
PAUSES = (10, 60, 300, 1800, 7200, 21600)  # seconds before the second try, the third …
KINDS = (
    "hub.repository-created", "hub.repository-deleted", "hub.repository-moved", "hub.repository-changed", "hub.committed", "hub.ref-changed",
    "hub.discussion-opened", "hub.discussion-commented", "hub.discussion-changed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Repo:
    """The repository as it is now; `identity` is empty for one that is gone."""

    kind: str
    name: str
    identity: str
    private: bool
    head: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Talk:
    """A discussion, as a payload shows it."""

    number: int
    title: str
    status: str
    author: str
    pull_request: bool
    base: str | None
    merge_commit: str | None


@dataclass(frozen=True, slots=True)
class Comment:
    identity: str
    author: str
    text: str | None  # None: hidden
    hidden: bool


def event_of(kind: str, body: Mapping[str, Any]) -> tuple[str, str]:
    """(action, scope) of one of the house's events."""
    if kind == "hub.discussion-commented":
        return ("create" if body.get("action") == "created" else "update"), "discussion.comment"
    return {
        "hub.repository-created": ("create", "repo"),
        "hub.repository-deleted": ("delete", "repo"),
        "hub.repository-moved": ("move", "repo"),
        "hub.repository-changed": ("update", "repo.config"),
        "hub.committed": ("update", "repo.content"),
        "hub.ref-changed": ("update", "repo.content"),
        "hub.discussion-opened": ("create", "discussion"),
        "hub.discussion-changed": ("update", "discussion"),
    }[kind]


def domain_of(scope: str) -> str:
    return scope.partition(".")[0]


def payload(
    kind: str,
    body: Mapping[str, Any],
    at: str,
    repo: Repo,
    *,
    parent: str | None = None,
    talk: Talk | None = None,
    comment: Comment | None = None,
) -> dict[str, Any]:
    """Everything but the webhook's own id. `at`: the address of this hub."""
    action, scope = event_of(kind, body)
    prefix = "datasets/" if repo.kind == "dataset" else ""
    web, api = f"{at}/{prefix}{repo.name}", f"{at}/api/{repo.kind}s/{repo.name}"
    shown: dict[str, Any] = {
        "event": {"action": action, "scope": scope},
        "repo": {
            "type": repo.kind, "name": repo.name, "id": repo.identity or repo.name, "private": repo.private, "url": {"web": web, "api": api},
            "owner": {"id": repo.name.partition("/")[0]}, "headSha": repo.head, "tags": list(repo.tags),
        },
    }  # fmt: skip
    if kind in ("hub.committed", "hub.ref-changed"):
        shown["updatedRefs"] = [{"ref": body.get("ref", ""), "oldSha": parent, "newSha": body.get("commit") or None}]
    if kind == "hub.repository-moved":
        shown["movedTo"] = {"name": repo.name, "owner": {"id": repo.name.partition("/")[0]}}
        shown["repo"]["name"] = body.get("old_name", repo.name)
    if kind == "hub.repository-changed":
        shown["updatedConfig"] = {"private": bool(body.get("private"))}
    if talk is not None:
        shown["discussion"] = _shown_talk(talk, web, api, at)
    if comment is not None and talk is not None:
        place = f"{web}/discussions/{talk.number}#{comment.identity}"
        shown["comment"] = {
            "id": comment.identity,
            "author": {"id": comment.author},
            "content": comment.text,
            "hidden": comment.hidden,
            "url": {"web": place},
        }
    return shown


def _shown_talk(talk: Talk, web: str, api: str, at: str) -> dict[str, Any]:
    changes = {"changes": {"base": talk.base or "refs/heads/main", "mergeCommitId": talk.merge_commit}} if talk.pull_request else {}
    return {
        "id": f"{web.removeprefix(at + '/')}#{talk.number}", "num": talk.number, "title": talk.title, "status": talk.status, "author": {"id": talk.author},
        "isPullRequest": talk.pull_request, "pinned": False,
        "url": {"web": f"{web}/discussions/{talk.number}", "api": f"{api}/discussions/{talk.number}"}, **changes,
    }  # fmt: skip


def signature(secret: str, at: int, body: bytes) -> str:
    """`t=…,v1=…`: HMAC-SHA-256 over the time of sending, a dot and the body, so that nothing old is taken for new."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def next_pause(attempts: int) -> int | None:
    """Seconds until the next try after so many; None: no more."""
    return PAUSES[attempts - 1] if attempts <= len(PAUSES) else None


def taken(status: int) -> bool:
    return 200 <= status < 300
