"""Making and taking away repositories."""

from __future__ import annotations

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind, Repository, RepositoryCreated, RepositoryDeleted, RepositoryExists
from lilong.floors.hub.store import Held
from lilong.ground import intake
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden
from lilong.ground.house import House
from lilong.ground.seams import stamp

from .reading import opened


class NoNamespace(BadInput):
    """Say in whose organisation: {user} may write in {found}. Give the repository's name as organisation/name."""

    status = 400


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
    organisation = name.split("/", maxsplit=1)[0]
    house.access.require(tx, actor, "hub.write", organisation)
    house.access.organisation(tx, organisation)
    taken = store.same_but_for_case(tx, kind, name)
    if taken is not None:
        raise RepositoryExists(kind=kind.value, name=taken)
    held = store.add_repository(tx, house.ids.new("repo"), Repository(kind, name, private, stamp(house.clock.now())), actor)
    house.events.append(tx, actor, RepositoryCreated(name, organisation, kind.value, private))
    return held


def namespace(house: House, actor: Actor) -> str:
    """The organisation meant by somebody who names none: the only one where they may write. Raises NoNamespace, Forbidden."""

    def read(tx: Tx) -> list[str]:
        among = sorted({organisation for organisation, _ in house.access.organisations_of(tx, actor.user)})
        return [organisation for organisation in among if house.access.allowed(tx, actor, "hub.write", organisation)]

    found = house.db.read(read)
    if not found:
        raise Forbidden(permission="hub.write", actor=actor.user, scope="an organisation")
    if len(found) > 1:
        raise NoNamespace(user=actor.user, found=", ".join(found))
    return found[0]


def delete(house: House, actor: Actor, kind: Kind, name: str) -> None:
    """For who made it, and for who manages the organisation's repositories. Raises RepositoryNotFound, Forbidden."""

    def write(tx: Tx) -> None:
        held = opened(house, tx, actor, kind, name, "hub.write")
        if held.created_by != actor.user:
            house.access.require(tx, actor, "hub.manage", held.repository.organisation)
        store.delete_repository(tx, held)
        house.events.append(tx, actor, RepositoryDeleted(name, held.repository.organisation, kind.value))

    house.db.write(write)
