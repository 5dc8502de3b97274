"""OAuth 2.1 decisions: what scopes give, which addresses a browser may be sent to, PKCE, and codes that people type."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

WORDS = ("openid", "profile", "email", "read-repos", "contribute-repos", "write-repos", "manage-repos")
EVERYTHING = "openid profile read-repos contribute-repos write-repos manage-repos"  # what the clients' own sign-in is for
_GIVES = {
    "read-repos": ("hub.read",),
    "contribute-repos": ("hub.read", "hub.discuss"),
    "write-repos": ("hub.read", "hub.discuss", "hub.write"),
    "manage-repos": ("hub.read", "hub.discuss", "hub.write", "hub.manage"),
}
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels: no words; nothing that looks like a digit (RFC 8628 section 6.1)
CODE_LENGTH = 8


def known(words: str) -> str:
    """Those of the scopes asked for that there are here; the others are not given."""
    return " ".join(word for word in dict.fromkeys(words.split()) if word in WORDS)


def permissions(words: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(permission for word in words.split() for permission in _GIVES.get(word, ())))


def user_code(random: bytes) -> str:
    """Eight letters, evenly drawn from 16 random bytes or more."""
    number, letters = int.from_bytes(random, "big"), []
    for _ in range(CODE_LENGTH):
        number, at = divmod(number, len(LETTERS))
        letters.append(LETTERS[at])
    return "".join(letters)


def typed(code: str) -> str:
    """A code as somebody typed it, without dashes, spaces and case."""
    return "".join(c for c in code.upper() if c in LETTERS)[:CODE_LENGTH]


def shown(code: str) -> str:
    return f"{code[:4]}-{code[4:]}"


def challenge_of(verifier: str) -> str:
    """PKCE S256 (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def verifies(verifier: str, challenge: str) -> bool:
    return hmac.compare_digest(challenge_of(verifier).encode(), challenge.encode())


def is_challenge(text: str) -> bool:
    return len(text) == 43 and all(c.isascii() and (c.isalnum() or c in "-_") for c in text)


def usable_redirect(url: str) -> bool:
    """An address that a program may register: https, or plain http on the user's own machine; no fragment, no user name."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port  # a port that is no number is found out here
    except ValueError:
        return False
    # The address stands in the consent page's policy as well, so nothing but a host and a port may be in its place.
    if parts.netloc.lower() not in {f"{host}{f':{port}' if port is not None else ''}", f"[{host}]{f':{port}' if port is not None else ''}"}:
        return False
    if (
        not host
        or not all(c.isascii() and (c.isalnum() or c in ".-:") for c in host)
        or parts.fragment
        or parts.username
        or parts.password
        or "#" in url
        or any(c <= " " or c in "\x7f\\" for c in url)
    ):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _loopback(host))


def _loopback(host: str) -> bool:
    return host in ("127.0.0.1", "::1", "localhost")


def redirect_allowed(url: str, registered: Iterable[str]) -> bool:
    """Exactly one of the registered ones; on the user's own machine, at any port (RFC 8252 section 7.3)."""
    if not usable_redirect(url):
        return False
    for each in registered:
        if url == each:
            return True
        mine, theirs = urlsplit(each), urlsplit(url)
        any_port = mine.scheme == theirs.scheme == "http" and _loopback(mine.hostname or "") and mine.port is None
        if any_port and (mine.hostname, mine.path or "/", mine.query) == (theirs.hostname, theirs.path or "/", theirs.query):
            return True
    return False


def targets(resource: str) -> tuple[str, ...]:
    """The scopes of a token for a resource as clients name it: a repository to write to, or a user whose readable things may be read."""
    parts: Sequence[str] = resource.split("/")
    if parts[0] in ("datasets", "models") and len(parts) == 3:
        parts = parts[1:]
    if len(parts) == 2:
        return tuple(f"{permission}@{parts[0]}/{parts[1]}" for permission in ("hub.read", "hub.discuss", "hub.write"))
    return ("hub.read",) if len(parts) == 1 else ()
