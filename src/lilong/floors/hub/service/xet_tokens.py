"""Tokens for the Xet CAS: signed, short-lived, and bound to a user, a repository or bucket, and what may be done.

The CAS looks nothing up to read one; it only asks whether the user and the token they came by may still act.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from lilong.floors.hub.store import xet
from lilong.ground.access import Actor
from lilong.ground.blobs import write_durably
from lilong.ground.errors import Forbidden, Unauthenticated
from lilong.ground.house import House
from lilong.ground.seams import stamp

Verb = Literal["read", "write"]
LIVES = 3600  # seconds; clients fetch a new one when it is about to end


@dataclass(frozen=True, slots=True)
class Grant:
    """What its bearer may do in the CAS, and for which repository or bucket they came."""

    actor: Actor
    kind: str  # model | dataset | bucket
    repository: str  # id of its row
    verb: Verb  # who may write may read
    expires: int  # seconds since 1970


class XetTokenNotUsable(Unauthenticated):
    """This Xet token is not one of ours, has expired, or its user or token has been disabled. Ask the hub for a new one."""


class XetTokenReadsOnly(Forbidden):
    """This Xet token is for reading. Ask the hub for a write token."""


def make_key(house: House) -> None:
    """The secret behind the tokens, made on first use and kept beside the house's other keys."""
    path = _key_file(house)
    if not path.exists():
        write_durably(path, house.ids.secret().encode(), 0o600)


def _key_file(house: House) -> Path:
    return house.settings.keys / "hub-xet.key"


@lru_cache(maxsize=16)
def _read(path: Path) -> bytes:
    return path.read_bytes()


def key(house: House, purpose: str) -> bytes:
    """A secret of 32 bytes for one purpose of the CAS."""
    return hmac.new(_read(_key_file(house)), purpose.encode(), hashlib.sha256).digest()


def granted(house: House, actor: Actor, kind: str, repository: str, verb: Verb) -> Grant:
    """A grant from now on. The caller has checked that the actor may."""
    return Grant(actor, kind, repository, verb, int(house.clock.now().timestamp()) + LIVES)


def issue(house: House, grant: Grant) -> str:
    actor = grant.actor
    fields = [actor.user, sorted(actor.scopes), actor.token, grant.kind, grant.repository, grant.verb, grant.expires]
    text = _text(json.dumps(fields, separators=(",", ":")).encode())
    return f"{text}.{_signature(house, text)}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signature(house: House, text: str) -> str:
    return _text(hmac.new(key(house, "token"), text.encode(), hashlib.sha256).digest())


def grant_of(house: House, token: str) -> Grant:
    """Raises XetTokenNotUsable."""
    text, _, signature = token.partition(".")
    if not token.isascii() or not hmac.compare_digest(_signature(house, text), signature):
        raise XetTokenNotUsable()
    try:
        fields = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError) as problem:  # signed, but by no version of ours
        raise XetTokenNotUsable() from problem
    user, scopes, own, kind, repository, verb, expires = fields
    grant = Grant(Actor(user, frozenset(scopes), own), kind, repository, verb, expires)
    now = house.clock.now()
    if grant.expires <= now.timestamp() or not house.db.read(lambda tx: xet.may_act(tx, grant.actor, stamp(now))):
        raise XetTokenNotUsable()
    return grant
