"""Tokens for the Xet CAS: signed, short-lived, and bound to a user, a repository or bucket, and what may be done.

The CAS looks nothing up to read one; it only asks whether the user and the token they came by may still act.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Literal

from lilong.floors.hub.store import xet
from lilong.ground.access import Actor
from lilong.ground.errors import Forbidden, Unauthenticated
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import keys

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


def granted(house: House, actor: Actor, kind: str, repository: str, verb: Verb) -> Grant:
    """A grant from now on. The caller has checked that the actor may."""
    return Grant(actor, kind, repository, verb, int(house.clock.now().timestamp()) + LIVES)


def issue(house: House, grant: Grant) -> str:
    actor = grant.actor
    fields = [actor.user, sorted(actor.scopes), actor.token, grant.kind, grant.repository, grant.verb, grant.expires]
    text = base64.urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).rstrip(b"=").decode()
    return f"{text}.{keys.signature(house, 'xet tokens', text)}"


def grant_of(house: House, token: str) -> Grant:
    """Raises XetTokenNotUsable."""
    text, _, signature = token.partition(".")
    if not token.isascii() or not keys.equal(keys.signature(house, "xet tokens", text), signature):
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
