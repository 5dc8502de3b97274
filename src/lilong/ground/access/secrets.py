"""Secrets as they are kept: never themselves."""

from __future__ import annotations

import hashlib
import threading

from lilong.ground.errors import BadInput, Unauthenticated

from .records import Actor


def hash_secret(secret: str) -> str:
    """sha256, not a slow hash: the secret has 256 random bits, so there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def hash_password(password: str) -> str:
    """argon2id with the library's recommended cost (RFC 9106, low memory)."""
    from argon2 import PasswordHasher

    if len(password) < 10:
        raise BadInput(field="password", problem="it has fewer than 10 characters", way_out="Take a longer one.")
    return PasswordHasher().hash(password)


_SIGNING_IN = threading.BoundedSemaphore(2)
_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$pFbJW+ix7wj8GmdUjJSDIQ$GABUeXZEBQiSrGlLVrBQ4+HrtXjVUC/nkQ/QkYiwb1g"  # of a password that nobody has
)


def signed_in(name: str, known: str | None, password: str) -> Actor:
    """Raises Unauthenticated, after the same work whether the user is unknown or the password is wrong.

    Slow and large on purpose (64 MiB), so it runs outside any transaction, and two at a time.
    """
    with _SIGNING_IN:
        if not verify_password(known, password):
            raise Unauthenticated("The name or the password is not right.")
    return Actor(name)


def verify_password(known: str | None, password: str) -> bool:
    from argon2 import PasswordHasher
    from argon2.exceptions import Argon2Error

    try:
        return PasswordHasher().verify(known or _NOBODY, password) and known is not None
    except (Argon2Error, ValueError):
        return False
