"""Branches and tags."""

from __future__ import annotations

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind, RefChanged, RefExists, RefMoved, RevisionNotFound
from lilong.floors.hub.rules import names
from lilong.floors.hub.store import Held
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Forbidden
from lilong.ground.house import House
from lilong.ground.seams import stamp

from .reading import opened


def add_branch(house: House, actor: Actor, kind: Kind, name: str, branch: str, start: str = "main") -> None:
    """Raises RefExists, RevisionNotFound, BadRef."""
    _add(house, actor, kind, name, names.HEADS + names.check(branch), start)


def add_tag(house: House, actor: Actor, kind: Kind, name: str, tag: str, start: str = "main", message: str = "") -> None:
    """Raises RefExists, RevisionNotFound, BadRef."""
    _add(house, actor, kind, name, names.TAGS + names.check(tag), start, message)


def delete_branch(house: House, actor: Actor, kind: Kind, name: str, branch: str) -> None:
    """Raises RevisionNotFound; Forbidden for `main`."""
    if branch == "main":
        raise Forbidden(f"Cannot delete {names.MAIN}")
    _delete(house, actor, kind, name, names.HEADS + branch)


def delete_tag(house: House, actor: Actor, kind: Kind, name: str, tag: str) -> None:
    """Raises RevisionNotFound."""
    _delete(house, actor, kind, name, names.TAGS + tag)


def _add(house: House, actor: Actor, kind: Kind, name: str, ref: str, start: str, message: str = "") -> None:
    def write(tx: Tx) -> None:
        held = opened(house, tx, actor, kind, name, "hub.write")
        target = store.at(tx, held, start).id
        try:
            store.move_ref(tx, held, ref, None, target, stamp(house.clock.now()), message[:2000])
        except RefMoved:
            raise RefExists(ref=ref) from None
        _record(house, tx, actor, held, ref, target)

    house.db.write(write)


def _delete(house: House, actor: Actor, kind: Kind, name: str, ref: str) -> None:
    def write(tx: Tx) -> None:
        held = opened(house, tx, actor, kind, name, "hub.write")
        if not store.delete_ref(tx, held, ref):
            raise RevisionNotFound(repository=name, name=ref[:200])
        _record(house, tx, actor, held, ref, "")

    house.db.write(write)


def _record(house: House, tx: Tx, actor: Actor, held: Held, ref: str, target: str) -> None:
    house.events.append(tx, actor, RefChanged(held.name, held.repository.organisation, held.kind.value, ref, target))
