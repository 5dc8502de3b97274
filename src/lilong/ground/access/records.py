"""Accounts as values, their errors, and what is recorded of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lilong.ground.errors import Forbidden, Unauthenticated

from .scopes import parse


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a user, by a session or a token whose scopes may be narrower than what the user may do."""

    user: str
    scopes: frozenset[str] = frozenset({"*"})
    token: str | None = None

    def covers(self, permission: str, organisation: str | None = None, name: str | None = None) -> bool:
        """Do the scopes allow this in the organisation (None: in the whole house), on its repository `name` (None: on all of it)?"""
        return any(scope.matches(permission) and scope.reaches(organisation, name) for scope in map(parse, self.scopes))

    def reaches(self, permission: str, organisation: str | None = None) -> bool:
        """Do the scopes allow this on anything at all, or on anything in the organisation?"""
        return any(
            scope.matches(permission) and (organisation is None or scope.organisation in (None, organisation))
            for scope in map(parse, self.scopes)
        )

    @property
    def whole(self) -> bool:
        """Whether nothing narrows what the user may do."""
        return "*" in self.scopes


SYSTEM = Actor("house")  # the house itself: chores and subscriptions; may do everything and owns nothing


@dataclass(frozen=True, slots=True)
class User:
    name: str
    title: str
    disabled: bool
    created_at: str
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Organisation:
    name: str
    title: str
    controlled_by: str | None
    created_at: str
    personal: bool = False  # the namespace of the user with the same name


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret; the secret is shown once, when it is made."""

    id: str
    user: str
    title: str
    scopes: tuple[str, ...]
    kind: str
    expires_at: str | None
    revoked_at: str | None
    created_at: str
    last_used_at: str | None = None  # to the minute


class TokenNotUsable(Unauthenticated):
    """This token is unknown, expired or revoked. Make a new one with `lilong token create`."""


class TokenTooNarrow(Forbidden):
    """The token in use does not cover the permission '{permission}'. Make one with that scope: `lilong token create --scope {permission}`."""


@dataclass(frozen=True, slots=True)
class UserAdded:
    kind: ClassVar[str] = "access.user-added"
    subject: str


@dataclass(frozen=True, slots=True)
class UserDisabled:
    kind: ClassVar[str] = "access.user-disabled"
    subject: str


@dataclass(frozen=True, slots=True)
class PasswordSet:
    kind: ClassVar[str] = "access.password-set"
    subject: str


@dataclass(frozen=True, slots=True)
class OrganisationAdded:
    kind: ClassVar[str] = "access.organisation-added"
    subject: str
    controlled_by: str | None


@dataclass(frozen=True, slots=True)
class RoleGranted:
    kind: ClassVar[str] = "access.role-granted"
    subject: str  # the user
    role: str
    scope: str
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class TokenCreated:
    kind: ClassVar[str] = "access.token-created"
    subject: str  # the token's id
    user: str
    token_kind: str
    scopes: tuple[str, ...]
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    kind: ClassVar[str] = "access.token-revoked"
    subject: str
