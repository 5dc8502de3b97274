"""Making and taking away repositories."""

from __future__ import annotations

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind, Repository, RepositoryCreated, RepositoryDeleted, RepositoryExists
from lilong.floors.hub.store import Held
from lilong.ground import intake
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput
from lilong.ground.house import House
from lilong.ground.seams import stamp

from .reading import opened


def check_name(name: str) -> str:
    """`organisation/name`. Raises BadInput."""
    organisation, slash, short = name.partition("/")
    if not slash:
        raise BadInput(field="name", problem=f"{name[:100]!r} has no organisation", way_out="Give it as organisation/name.")
    intake.name(organisation, "organisation")
    intake.name(short, "name")
    if short.endswith((".git", ".lock")):
        raise BadInput(field="name", problem="it ends like one of git's own files", way_out="Take another name.")
    return name


def add(house: House, tx: Tx, actor: Actor, kind: Kind, name: str, *, private: bool) -> Held:
    """A new repository without commits, in the caller's transaction. Raises RepositoryExists, Forbidden, NotFound."""
    check_name(name)
    organisation, _, short = name.partition("/")
    house.access.require(tx, actor, "hub.write", organisation, name=short)
    house.access.organisation(tx, organisation)
    taken = store.same_but_for_case(tx, kind, name)
    if taken is not None:
        raise RepositoryExists(kind=kind.value, name=taken)
    held = store.add_repository(tx, house.ids.new("repo"), Repository(kind, name, private, stamp(house.clock.now())), actor)
    house.events.append(tx, actor, RepositoryCreated(name, organisation, kind.value, private))
    return held


def delete(house: House, actor: Actor, kind: Kind, name: str) -> None:
    """For who made it, and for who manages the organisation's repositories. Raises RepositoryNotFound, Forbidden."""

    def write(tx: Tx) -> None:
        held = opened(house, tx, actor, kind, name, "hub.write")
        if held.created_by != actor.user:
            house.access.require(tx, actor, "hub.manage", held.organisation, name=held.short)
        store.delete_repository(tx, held)
        house.events.append(tx, actor, RepositoryDeleted(name, held.repository.organisation, kind.value))

    house.db.write(write)
