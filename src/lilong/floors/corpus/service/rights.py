"""Data-rights requests: logged, answered in time, and forgotten. Only stewards see them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

from lilong.floors.corpus import rules
from lilong.floors.corpus.alliance import rights
from lilong.floors.corpus.alliance.shapes import (
    AnsweredBefore,
    RightsAnswer,
    RightsAnswered,
    RightsAsk,
    RightsForgotten,
    RightsRequest,
    RightsRequested,
    RightsRequestNotFound,
    RightsState,
    TakedownNotFound,
)
from lilong.floors.corpus.contract import AskedOtherwise
from lilong.floors.corpus.store import alliance as takedowns
from lilong.floors.corpus.store import rights as rows
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Conflict
from lilong.ground.house import House
from lilong.ground.seams import stamp

from .parts import PAGE


class StillOpen(Conflict):
    """The request {name} is open; the person's data is needed to answer it. Answer it first."""


def log_request(house: House, actor: Actor, ask: RightsAsk) -> RightsRequest:
    """Log a request that has reached an organisation. The same key answers the same one. Raises Forbidden, BadInput, AskedOtherwise."""
    rules.check_key(ask.key)
    now = house.clock.now()
    received, due = rights.dates(ask, now)

    def write(tx: Tx) -> RightsRequest:
        house.access.require(tx, actor, "corpus.steward", ask.organisation)
        house.access.organisation(tx, ask.organisation)
        known = rows.by_key(tx, ask.organisation, ask.key)
        if known is not None:
            if known[2] is not None and _digest(known[2], ask) != known[1]:
                raise AskedOtherwise(key=ask.key)
            return known[0]
        salt = house.ids.secret(128)
        row = RightsRequest(
            house.ids.new("rights"), ask.organisation, ask.key, ask.kind, RightsState.OPEN, ask.subject, ask.note, received, due, actor.user
        )
        rows.add(tx, row, salt, _digest(salt, ask))
        subject = hashlib.sha256(salt.encode() + ask.subject.encode()).hexdigest()
        house.events.append(tx, actor, RightsRequested(row.id, ask.organisation, ask.kind.value, subject, due))
        return row

    return rights.told(house.db.write(write), now)


def _digest(salt: str, ask: RightsAsk) -> str:
    return hashlib.sha256(salt.encode() + json.dumps(asdict(ask), sort_keys=True).encode()).hexdigest()


def rights_requests(house: House, actor: Actor, limit: int = 50) -> list[RightsRequest]:
    """Of organisations of which the actor is a steward: those that are due next, then the newest."""
    condition, parameters = house.access.visible(actor, "corpus.steward", "organisation")
    found = house.db.read(lambda tx: rows.requests(tx, condition, parameters, max(1, min(limit, PAGE))))
    return [rights.told(one, house.clock.now()) for one in found]


def rights_request(house: House, actor: Actor, identity: str) -> RightsRequest:
    """Raises RightsRequestNotFound."""
    return rights.told(house.db.read(lambda tx: _request(house, tx, actor, identity)), house.clock.now())


def _request(house: House, tx: Tx, actor: Actor, identity: str) -> RightsRequest:
    row = rows.request(tx, identity)
    if row is None or not house.access.allowed(tx, actor, "corpus.steward", row.organisation):
        raise RightsRequestNotFound(name=identity[:200])
    return row


def answer_request(house: House, actor: Actor, identity: str, given: RightsAnswer) -> RightsRequest:
    """Raises RightsRequestNotFound, AnsweredBefore, TakedownNotFound, BadInput."""
    rights.check_answer(given)

    def write(tx: Tx) -> RightsRequest:
        row = _request(house, tx, actor, identity)
        asked = (row.state, row.answer, row.takedown or "")
        if row.state is not RightsState.OPEN:
            if asked == (given.state, given.answer, given.takedown):
                return row
            raise AnsweredBefore(name=row.id, state=row.state.value)
        linked = takedowns.takedown(tx, given.takedown) if given.takedown else None
        theirs = {linked.organisation, *takedowns.reached_organisations(tx, linked.id)} if linked else set()
        if given.takedown and row.organisation not in theirs:
            raise TakedownNotFound(name=given.takedown[:200])
        rows.answer(tx, row.id, given, actor.user, stamp(house.clock.now()))
        house.events.append(tx, actor, RightsAnswered(row.id, row.organisation, given.state.value, given.takedown))
        return _request(house, tx, actor, identity)

    return rights.told(house.db.write(write), house.clock.now())


def forget_request(house: House, actor: Actor, identity: str) -> RightsRequest:
    """Erase what tells who a request was from: reference, note and salt, and the body of its event; the log's proofs still hold.
    Idempotent. Raises RightsRequestNotFound, StillOpen."""

    def write(tx: Tx) -> RightsRequest:
        row = _request(house, tx, actor, identity)
        if row.state is RightsState.OPEN:
            raise StillOpen(name=row.id)
        if rows.forget(tx, row.id):
            for event in house.events.about(tx, row.id):
                if event.kind == RightsRequested.kind:
                    house.events.erase(tx, event.seq)
            house.events.append(tx, actor, RightsForgotten(row.id, row.organisation))
        return replace(row, subject=None, note=None)

    return rights.told(house.db.write(write), house.clock.now())
