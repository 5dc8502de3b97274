"""What a repository's people change about it: who sees it, who may have its files, and its name."""

from __future__ import annotations

from lilong.floors.hub import store
from lilong.floors.hub.contract import (
    GatedRepository,
    Kind,
    RepositoryChanged,
    RepositoryExists,
    RepositoryMoved,
    RepositoryNotFound,
)
from lilong.floors.hub.store import Held
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput
from lilong.ground.house import House

from . import audience, quotas
from .reading import opened
from .repositories import check_name

GATED = ("", "auto", "manual")


def change(house: House, actor: Actor, kind: Kind, name: str, *, private: bool | None = None, gated: str | None = None) -> Held:
    """`gated`: "" (whoever sees it has its files), auto (whoever asks) or manual. Raises RepositoryNotFound, Forbidden, MayNotBePublic."""
    if gated is not None and gated not in GATED:
        raise BadInput(field="gated", problem=f"{gated[:40]!r} is no way of letting people in", way_out="Give auto, manual or false.")

    def write(tx: Tx) -> Held:
        held = managed(house, tx, actor, kind, name)
        if private is not None:
            if not private and held.repository.private:
                audience.check_repository(house, tx, held)
            store.set_private(tx, held, private)
        if gated is not None:
            store.set_gated(tx, held, gated)
        after = store.repository_by_id(tx, held.id)
        assert after is not None
        if (after.repository.private, after.gated) != (held.repository.private, held.gated):
            changed = RepositoryChanged(held.name, held.organisation, held.kind.value, after.repository.private, after.gated)
            house.events.append(tx, actor, changed)
        return after

    return house.db.write(write)


def managed(house: House, tx: Tx, actor: Actor, kind: Kind, name: str) -> Held:
    """A repository whose settings the actor may change: who made it, and who manages the organisation's. Raises RepositoryNotFound, Forbidden."""
    held = opened(house, tx, actor, kind, name, "hub.write")
    if held.created_by != actor.user:
        house.access.require(tx, actor, "hub.manage", held.organisation, name=held.short)
    return held


def move(house: House, actor: Actor, kind: Kind, old: str, new: str) -> Held:
    """Give a repository another name, in the same organisation or in another where the actor may write; the old name leads to the new one.

    Raises RepositoryNotFound, RepositoryExists, Forbidden, NotFound, QuotaExceeded.
    """
    check_name(new)

    def write(tx: Tx) -> Held:
        held = managed(house, tx, actor, kind, old)
        organisation, _, short = new.partition("/")
        house.access.require(tx, actor, "hub.write", organisation, name=short)
        house.access.organisation(tx, organisation)
        taken = store.same_but_for_case(tx, kind, new)
        if taken is not None and taken != held.name:
            raise RepositoryExists(kind=kind.value, name=taken)
        if new == held.name:
            return held
        if organisation != held.organisation:
            quotas.check(house, tx, organisation, held.used_bytes)
        store.move_repository(tx, held, new)
        house.events.append(tx, actor, RepositoryMoved(new, organisation, kind.value, held.name))
        after = store.repository(tx, kind, new)
        assert after is not None
        return after

    return house.db.write(write)


def moved_to(house: House, actor: Actor, kind: Kind, name: str) -> str | None:
    """Where a repository that the actor may see has gone from this name, or is, where only case differs."""

    def read(tx: Tx) -> str | None:
        held = store.redirect(tx, kind, name)
        found = held.name if held is not None else store.same_but_for_case(tx, kind, name)
        if found is None or found == name:
            return None
        try:
            return opened(house, tx, actor, kind, found).name
        except (RepositoryNotFound, GatedRepository):
            return None

    return house.db.read(read)
