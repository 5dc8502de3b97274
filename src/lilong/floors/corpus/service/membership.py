"""The data corpus alliance: who is in it. Whoever manages an organisation asks; a steward of the house admits."""

from __future__ import annotations

from dataclasses import replace

from lilong.floors.corpus.alliance.shapes import Member, MemberAsk, MemberChanged, Membership
from lilong.floors.corpus.store import alliance as rows
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp


class NotAsked(NotFound):
    """{organisation} has not asked to join the alliance. Ask first: lilong corpus alliance join {organisation}."""


def members(house: House, actor: Actor) -> list[Member]:
    """The members; and of those that ask or have left, the ones that the actor manages or is a steward for. The people of others' are not
    named."""
    condition, parameters = house.access.visible(actor, "corpus.steward", "m.organisation")

    def read(tx: Tx) -> list[Member]:
        found = rows.all_members(tx, condition, parameters)
        own = {one.organisation for one in found if house.access.allowed(tx, actor, "corpus.steward", one.organisation)}
        return [one if one.organisation in own else replace(one, asked_by="", admitted_by=None) for one in found]

    return house.db.read(read)


def join(house: House, actor: Actor, ask: MemberAsk) -> Member:
    """Ask for an organisation to be let in. Where a steward of the house asks, it is in at once. Idempotent. Raises Forbidden, NotFound."""

    def write(tx: Tx) -> Member:
        house.access.require(tx, actor, "corpus.steward", ask.organisation)
        house.access.organisation(tx, ask.organisation)
        known, now = rows.member(tx, ask.organisation), stamp(house.clock.now())
        admits = house.access.allowed(tx, actor, "corpus.steward")
        if known is not None and (known.state is Membership.MEMBER or (known.state is Membership.ASKED and not admits)):
            return known
        asked = (
            known if known is not None and known.state is Membership.ASKED else Member(ask.organisation, Membership.ASKED, actor.user, now)
        )
        return _put(house, tx, actor, _admitted(asked, actor, now) if admits else asked)

    return house.db.write(write)


def admit(house: House, actor: Actor, organisation: str) -> Member:
    """Let an organisation in that has asked. For stewards of the house. Idempotent. Raises Forbidden, NotAsked."""

    def write(tx: Tx) -> Member:
        known = rows.member(tx, organisation)
        if known is None or known.state is Membership.LEFT:
            raise NotAsked(organisation=organisation[:100])
        house.access.require(tx, actor, "corpus.steward")
        if known.state is Membership.MEMBER:
            return known
        return _put(house, tx, actor, _admitted(known, actor, stamp(house.clock.now())))

    return house.db.write(write)


def leave(house: House, actor: Actor, organisation: str) -> Member:
    """Take an organisation out, for its own stewards and those of the house. What others built from its texts stays theirs; it may not use
    other members' texts any more. Idempotent. Raises Forbidden, NotAsked."""

    def write(tx: Tx) -> Member:
        known = rows.member(tx, organisation)
        if known is None:
            raise NotAsked(organisation=organisation[:100])
        house.access.require(tx, actor, "corpus.steward", organisation)
        if known.state is Membership.LEFT:
            return known
        return _put(house, tx, actor, replace(known, state=Membership.LEFT, left_at=stamp(house.clock.now())))

    return house.db.write(write)


def _admitted(asked: Member, actor: Actor, now: str) -> Member:
    return replace(asked, state=Membership.MEMBER, admitted_by=actor.user, admitted_at=now, left_at=None)


def _put(house: House, tx: Tx, actor: Actor, one: Member) -> Member:
    rows.put_member(tx, one)
    house.events.append(tx, actor, MemberChanged(one.organisation, one.state.value))
    return one
