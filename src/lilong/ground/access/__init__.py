"""Who may do what: users, organisations, scoped role grants, hashed tokens, and one table of permissions.

No entry means refused. Lists are filtered by the same SQL as single objects (`visible`), and what one may not see is answered
exactly like what does not exist. A token says of each permission where it holds: everywhere that its user may, in one namespace, or
on one repository.
"""

from __future__ import annotations

from .records import (
    SYSTEM,
    Actor,
    Organisation,
    OrganisationAdded,
    PasswordSet,
    RoleGranted,
    Token,
    TokenCreated,
    TokenNotUsable,
    TokenRevoked,
    TokenTooNarrow,
    User,
    UserAdded,
    UserDisabled,
)
from .scopes import Scope, parse, spelled, within
from .secrets import hash_password, hash_secret, signed_in, verify_password
from .table import HOUSE, OF_THE_HOUSE, PERMISSIONS, PUBLIC, ROLES, SIGNED_IN
from .tokens import Tokens


class Access(Tokens):
    """All functions take the transaction they run in."""


__all__ = [
    "HOUSE", "OF_THE_HOUSE", "PERMISSIONS", "PUBLIC", "ROLES", "SIGNED_IN", "SYSTEM", "Access", "Actor", "Organisation", "OrganisationAdded", "PasswordSet", "RoleGranted",
    "Scope", "Token", "TokenCreated", "TokenNotUsable", "TokenRevoked", "TokenTooNarrow", "User", "UserAdded", "UserDisabled", "hash_password", "hash_secret",
    "parse", "signed_in", "spelled", "verify_password", "within",
]  # fmt: skip
