"""Gated repositories: who asks for their files, and who says yes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lilong.floors.hub.contract import AccessChanged, Kind
from lilong.floors.hub.rules import gates
from lilong.floors.hub.rules.gates import Field, Form
from lilong.floors.hub.store import Held, community
from lilong.floors.hub.store.community import Request
from lilong.ground.access import Actor, TokenTooNarrow
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden, NotFound, Unauthenticated
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import reading, users

__all__ = ["STATUSES", "Field", "Form", "Gate", "Request", "ask", "check", "gate", "grant", "handle", "of", "withdraw"]

STATUSES = ("pending", "accepted", "rejected")
_REASON = 200  # characters


class NotGated(BadInput):
    """The repository {name} is not gated: whoever sees it may have its files."""

    status = 400


class HasAccess(BadInput):
    """{user} has access to {name} already."""

    status = 400


class BadRequest(BadInput):
    """The {field} cannot be used: {problem}."""

    status = 400


class AccessRejected(Forbidden):
    """Your request for access to {name} was rejected.{reason}"""


class RequestNotFound(NotFound):
    """There is no access request of {user} for {name}{among}."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What stands before a repository's files, for the one who looks."""

    gated: str  # "" | auto | manual
    form: Form
    open: bool  # for this actor
    request: Request | None  # this actor's


def gate(house: House, actor: Actor, kind: Kind, name: str) -> Gate:
    """Raises RepositoryNotFound."""

    def read(tx: Tx) -> Gate:
        held = reading.opened(house, tx, actor, kind, name)
        own = community.access_request(tx, held, user=actor.user) if actor.user else None
        return Gate(held.gated, gates.form(held.card), reading.may_read(house, tx, actor, held), own)

    return house.db.read(read)


def check(house: House, actor: Actor, kind: Kind, name: str, *, write: bool = False) -> None:
    """May the actor have the files, or write some? Raises RepositoryNotFound, GatedRepository, Forbidden."""

    def read(tx: Tx) -> None:
        held = reading.opened(house, tx, actor, kind, name, "hub.write" if write else None)
        reading.readable(house, tx, actor, held)

    house.db.read(read)


# --- asking -------------------------------------------------------------------------------------------------------------


def ask(house: House, actor: Actor, kind: Kind, name: str, fields: Mapping[str, Any]) -> Request:
    """Ask for the files. Where the gate is automatic the answer is yes; asking again changes nothing.

    Raises RepositoryNotFound, NotGated, BadAnswer, AccessRejected.
    """

    def write(tx: Tx) -> Request:
        held = _seen(house, tx, actor, kind, name)
        present = community.access_request(tx, held, user=actor.user)
        if present is not None and present.status == "rejected":
            raise AccessRejected(name=name, reason=f" {present.reason}" if present.reason else "")
        if present is not None and (present.status == "accepted" or held.gated == "manual"):
            return present
        if house.access.allowed(tx, actor, "hub.write", held.organisation, held.short):
            raise HasAccess(user=actor.user, name=name)
        now = stamp(house.clock.now())
        status = "accepted" if held.gated == "auto" else "pending"
        if present is not None:  # the gate has become automatic since
            community.answer_access_request(tx, held, present.id, status, "", actor.user, now)
        else:
            answers = gates.filled_in(gates.form(held.card), fields)
            made = Request(house.ids.new("access"), actor.user, "", None, status, answers, "", now, None, None)
            community.add_access_request(tx, held, made)
        return _told(house, tx, actor, held, actor.user)

    return house.db.write(write)


def withdraw(house: House, actor: Actor, kind: Kind, name: str) -> None:
    """Take back one's own request, or give up access; a rejection stays. Raises RepositoryNotFound, RequestNotFound."""

    def write(tx: Tx) -> None:
        held = _seen(house, tx, actor, kind, name)
        present = community.access_request(tx, held, user=actor.user)
        if present is None or present.status == "rejected":
            raise RequestNotFound(user=actor.user, name=name, among="")
        community.delete_access_request(tx, held, actor.user)
        _tell(house, tx, actor, held, actor.user, "withdrawn")

    house.db.write(write)


def _seen(house: House, tx: Tx, actor: Actor, kind: Kind, name: str) -> Held:
    held = reading.opened(house, tx, actor, kind, name)
    if not actor.user:
        raise Unauthenticated()
    if not actor.covers("hub.read", held.organisation, held.short):
        raise TokenTooNarrow(permission="hub.read")
    return _gated(held)


def _gated(held: Held) -> Held:
    if not held.gated:
        raise NotGated(name=held.name)
    return held


# --- answering ----------------------------------------------------------------------------------------------------------


def of(
    house: House, actor: Actor, kind: Kind, name: str, status: str, *, after: tuple[str, str] | None = None, limit: int = 100
) -> list[Request]:
    """The requests with this status, the oldest first, from behind (asked_at, id). Raises RepositoryNotFound, Forbidden, NotGated."""
    if status not in STATUSES:
        raise BadRequest(field="status", problem=f"it must be one of {', '.join(STATUSES)}")

    def read(tx: Tx) -> list[Request]:
        held = _gated(reading.opened(house, tx, actor, kind, name, "hub.write"))
        return community.access_requests(tx, held, status, after, limit)

    return house.db.read(read)


def handle(
    house: House,
    actor: Actor,
    kind: Kind,
    name: str,
    status: str,
    *,
    user: str | None = None,
    request_id: str | None = None,
    reason: str = "",
) -> Request:
    """Accept, reject, or put back among those that wait. Raises RepositoryNotFound, Forbidden, NotGated, RequestNotFound, NotFound."""
    if status not in STATUSES:
        raise BadRequest(field="status", problem=f"it must be one of {', '.join(STATUSES)}")
    if reason and (status != "rejected" or len(reason) > _REASON):
        raise BadRequest(field="rejectionReason", problem=f"it goes with a rejection, and has at most {_REASON} characters")
    if (user is None) == (request_id is None):
        raise BadRequest(field="user", problem="give either the user or the requestId")

    def change(tx: Tx, held: Held) -> Request:
        present = community.access_request(tx, held, user=user, identity=request_id)
        if present is None:
            raise RequestNotFound(user=(user or request_id or "")[:100], name=name, among="")
        if present.status == status:
            raise RequestNotFound(user=present.user, name=name, among=f" that is not {status} already")
        community.answer_access_request(tx, held, present.id, status, reason.strip(), actor.user, stamp(house.clock.now()))
        return _told(house, tx, actor, held, present.user)

    return _managed(house, actor, kind, name, change)


def grant(house: House, actor: Actor, kind: Kind, name: str, user: str) -> Request:
    """Give access unasked, to somebody whom the actor can see: a gate is no way to find out who is here.

    Raises RepositoryNotFound, Forbidden, NotGated, HasAccess, NotFound.
    """

    def change(tx: Tx, held: Held) -> Request:
        present = community.access_request(tx, held, user=user)
        if present is None:
            users.check_seen(house, tx, actor, user)
        writes = house.access.allowed(tx, Actor(user), "hub.write", held.organisation, held.short)
        if writes or (present is not None and present.status == "accepted"):
            raise HasAccess(user=user, name=name)
        now = stamp(house.clock.now())
        if present is None:
            made = Request(house.ids.new("access"), user, "", None, "accepted", {}, "", now, actor.user, now)
            community.add_access_request(tx, held, made, granted=True)
        else:
            community.answer_access_request(tx, held, present.id, "accepted", "", actor.user, now)
        return _told(house, tx, actor, held, user)

    return _managed(house, actor, kind, name, change)


def _managed(house: House, actor: Actor, kind: Kind, name: str, change: Callable[[Tx, Held], Request]) -> Request:
    return house.db.write(lambda tx: change(tx, _gated(reading.opened(house, tx, actor, kind, name, "hub.write"))))


def _told(house: House, tx: Tx, actor: Actor, held: Held, user: str) -> Request:
    found = community.access_request(tx, held, user=user)
    if found is None:
        raise RequestNotFound(user=user, name=held.name, among="")
    _tell(house, tx, actor, held, user, found.status)
    return found


def _tell(house: House, tx: Tx, actor: Actor, held: Held, user: str, status: str) -> None:
    house.events.append(tx, actor, AccessChanged(held.name, held.organisation, held.kind.value, user, status))
