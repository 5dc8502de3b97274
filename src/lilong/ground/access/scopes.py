"""What a token may be used for: patterns of permissions, each for everything or for one namespace or repository.

hub.*                       all of the hub, wherever its user may
hub.read@lantern-works      reading the repositories of one namespace
hub.write@lantern-works/tide   writing to the repositories of that name, models and datasets alike
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Iterable
from dataclasses import dataclass

from lilong.ground import intake
from lilong.ground.errors import BadInput

from .table import PERMISSIONS

# What people say for the permissions of the hub; each takes in those before it.
WORDS = {
    "read": ("hub.read",),
    "discuss": ("hub.read", "hub.discuss"),
    "write": ("hub.read", "hub.discuss", "hub.write"),
    "admin": ("hub.read", "hub.discuss", "hub.write", "hub.manage"),
}


@dataclass(frozen=True, slots=True)
class Scope:
    pattern: str
    organisation: str | None = None  # None: everywhere
    name: str | None = None  # of a repository of the organisation; None: all that it has

    def reaches(self, organisation: str | None, name: str | None) -> bool:
        """Whether the target takes this in; what is not said to be inside is outside."""
        return (self.organisation is None or self.organisation == organisation) and (self.name is None or self.name == name)

    def matches(self, permission: str) -> bool:
        return fnmatch.fnmatchcase(permission, self.pattern)


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Scope:
    """An empty target is one that nothing matches, never everything."""
    pattern, at, target = text.partition("@")
    organisation, slash, name = target.partition("/")
    return Scope(pattern, organisation if at else None, name if slash else None)


def spelled(words: Iterable[str]) -> tuple[str, ...]:
    """Scopes in full, from what people write: `write@lantern-works/tide` stands for three permissions there."""
    found: dict[str, None] = {}
    for word in words:
        short, at, target = word.strip().partition("@")
        for permission in WORDS.get(short, (short,)):
            found[f"{permission}{at}{target}"] = None
    return tuple(found)


def check(scopes: Iterable[str]) -> None:
    """Raises BadInput for a scope that can never allow anything."""
    for text in scopes:
        scope = parse(text)
        matched = {permission for permission in PERMISSIONS if scope.matches(permission)}
        if not matched or any(c.isspace() for c in text):
            way_out = (
                f"Permissions: {', '.join(sorted(PERMISSIONS))}; '*' stands for any text; {', '.join(WORDS)} stand for those of the hub."
            )
            raise BadInput(field="scopes", problem=f"{text[:100]!r} matches no permission", way_out=way_out)
        if scope.organisation is None:
            continue
        if all(permission.startswith("house.") for permission in matched):
            raise BadInput(
                field="scopes",
                problem=f"{text[:100]!r} names a part of what concerns the whole house",
                way_out="Leave away the '@' and what follows.",
            )
        intake.name(scope.organisation, "scopes")
        if scope.name is not None:
            intake.name(scope.name, "scopes")


def within(held: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether a token with the scopes `held` may give away the scopes `wanted`."""
    own = [parse(text) for text in held]

    def given(scope: Scope) -> bool:
        around = [mine for mine in own if mine.reaches(scope.organisation, scope.name)]
        if scope.pattern == "*" and not any(mine.pattern == "*" for mine in around):
            return False  # it would take in permissions that are yet to come
        return all(any(mine.matches(permission) for mine in around) for permission in PERMISSIONS if scope.matches(permission))

    return all(given(parse(text)) for text in wanted)
