"""Lines that bring users and organisations over from another hub, and what their roles are called here.

{"org": "lantern-works", "fullname": "Lantern Works", "default_visibility": "private"}
{"name": "mei", "fullname": "Mei Lin", "email": "…", "orgs": [{"name": "lantern-works", "role": "admin"}],
 "tokens": [{"name": "laptop", "value": "hf_…", "role": "write"}]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lilong.ground.errors import BadInput

# A contributor of the public Hub writes to what they made themselves, which no role here says: they open pull requests instead.
ROLES = {"admin": "owner", "write": "member", "contributor": "reader", "read": "reader"}
_PERMISSIONS = {
    "repo.content.read": ("hub.read",),
    "repo.access.read": ("hub.read",),
    "repo.write": ("hub.read", "hub.write"),
    "repo.manage": ("hub.read", "hub.write", "hub.manage"),
    "discussion.write": ("hub.read", "hub.discuss"),
}
_MOST = 1000  # organisations or tokens of one user


class BadLine(BadInput):
    """{problem}"""


@dataclass(frozen=True, slots=True)
class OrganisationLine:
    name: str
    title: str
    private: bool | None  # None: not said


@dataclass(frozen=True, slots=True)
class TokenLine:
    title: str
    secret: str = field(repr=False)
    scopes: tuple[str, ...]
    said: str = ""  # what its importer should know


@dataclass(frozen=True, slots=True)
class UserLine:
    name: str
    title: str
    email: str | None
    organisations: tuple[tuple[str, str], ...]  # (organisation, role of ours)
    tokens: tuple[TokenLine, ...]


def parse(text: str) -> OrganisationLine | UserLine:
    """Raises BadLine, which never repeats what stood in the line."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        raise BadLine(problem="It is not JSON.") from None
    if not isinstance(line, dict):
        raise BadLine(problem="It is not an object.")
    if "org" in line:
        visibility = line.get("default_visibility")
        if visibility not in (None, "public", "private"):
            raise BadLine(problem="Its default_visibility is neither public nor private.")
        return OrganisationLine(_text(line, "org"), _text(line, "fullname", ""), None if visibility is None else visibility == "private")
    organisations = tuple(_membership(each) for each in _items(line, "orgs"))
    return UserLine(
        _text(line, "name"), _text(line, "fullname", ""), _text(line, "email", "") or None, organisations,
        tuple(_token(each) for each in _items(line, "tokens")),
    )  # fmt: skip


def _membership(each: Mapping[str, Any]) -> tuple[str, str]:
    role = each.get("role", "read")
    if not isinstance(role, str) or role not in ROLES:
        raise BadLine(problem=f"The role {_quoted(role)} in '{_text(each, 'name')[:96]}' is none of {', '.join(ROLES)}.")
    return _text(each, "name"), ROLES[role]


def _quoted(role: Any) -> str:
    """A word that somebody took for a role; anything else may be a secret in the wrong place."""
    return f"'{role}'" if isinstance(role, str) and role.isalpha() and len(role) <= 16 else "given"


def _token(each: Mapping[str, Any]) -> TokenLine:
    role, title = each.get("role", "read"), _text(each, "name", "token")
    if role == "write":
        return TokenLine(title, _text(each, "value"), ("hub.*",))
    if role == "read":
        return TokenLine(title, _text(each, "value"), ("hub.read",))
    if role == "fineGrained":
        scopes = fine_grained(each.get("fineGrained"))
        said = "" if scopes else f"The token '{title}' came without scopes that are known here: it may read what is public."
        return TokenLine(title, _text(each, "value"), scopes, said)
    raise BadLine(problem=f"The role {_quoted(role)} of the token '{title[:96]}' is none of read, write, fineGrained.")


def fine_grained(said: Any) -> tuple[str, ...]:
    """Scopes from the `fineGrained` part of a token, as `whoami-v2` shows it; what is not known here gives nothing."""
    found: dict[str, None] = {}
    scoped = said.get("scoped") if isinstance(said, dict) else None
    for each in scoped if isinstance(scoped, list) else []:
        entity = each.get("entity") if isinstance(each, dict) else None
        permissions = each.get("permissions") if isinstance(each, dict) else None
        if not isinstance(entity, dict) or not isinstance(permissions, list) or not isinstance(entity.get("name"), str):
            continue
        slashes = {"user": 0, "org": 0, "model": 1, "dataset": 1}.get(str(entity.get("type")))
        if slashes is None or entity["name"].count("/") != slashes or "@" in entity["name"]:
            continue
        for word in permissions:
            for permission in _PERMISSIONS.get(word, ()) if isinstance(word, str) else ():
                found[f"{permission}@{entity['name']}"] = None
    return tuple(found)


def _text(line: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = line.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (default is None and not value) or any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise BadLine(problem=f"Its '{key}' is not a text.")
    return value


def _items(line: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = line.get(key) or []
    if not isinstance(value, list) or len(value) > _MOST or not all(isinstance(each, dict) for each in value):
        raise BadLine(problem=f"Its '{key}' is not a list of objects.")
    return value
