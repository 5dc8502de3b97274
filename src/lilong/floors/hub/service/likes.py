"""Who likes what."""

from __future__ import annotations

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.store import community
from lilong.floors.hub.store.community import Liked, Person
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Unauthenticated
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import pulls, reading, users

__all__ = ["Liked", "Person", "like", "liked_by", "likers", "likes", "unlike"]


def like(house: House, actor: Actor, kind: Kind, name: str) -> None:
    """Liking twice is liking once. Raises RepositoryNotFound, Forbidden."""

    def write(tx: Tx) -> None:
        held = reading.opened(house, tx, actor, kind, name)
        pulls.check_speaks(house, tx, actor, held)
        community.like(tx, held, actor.user, stamp(house.clock.now()))

    house.db.write(write)


def unlike(house: House, actor: Actor, kind: Kind, name: str) -> None:
    """Raises RepositoryNotFound, Forbidden."""

    def write(tx: Tx) -> None:
        held = reading.opened(house, tx, actor, kind, name)
        pulls.check_speaks(house, tx, actor, held)
        community.unlike(tx, held, actor.user)

    house.db.write(write)


def likes(house: House, actor: Actor, kind: Kind, name: str) -> bool:
    """Does this actor? Raises RepositoryNotFound."""
    if not actor.user:
        raise Unauthenticated()
    return house.db.read(lambda tx: community.likes(tx, reading.opened(house, tx, actor, kind, name), actor.user))


def likers(house: House, actor: Actor, kind: Kind, name: str, after: str = "", limit: int = 100) -> tuple[list[Person], str]:
    """Those of them whom the actor may see, by name, and the name after which the next page begins ("" for none).

    Raises RepositoryNotFound.
    """

    def read(tx: Tx) -> tuple[list[Person], str]:
        found = community.likers(tx, reading.opened(house, tx, actor, kind, name), after, limit + 1)
        shown = [person for person in found[:limit] if users.sees_user(house, tx, actor, person.name)]
        return shown, found[limit - 1].name if len(found) > limit else ""

    return house.db.read(read)


def liked_by(house: House, actor: Actor, user: str, *, before: tuple[str, str] | None = None, limit: int = 100) -> list[Liked]:
    """The repositories that a user likes and the actor may see, the newest like first, from behind (at, name). Raises NotFound."""
    users.check_user(house, actor, user)
    seen = house.access.visible(actor, "hub.read", "r.organisation", "r.name")
    return house.db.read(lambda tx: community.liked_by(tx, user, seen, before, limit))
