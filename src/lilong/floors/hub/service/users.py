"""Users and organisations as others may see them: never the names of another tenant's people."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lilong.floors.hub.store import oauth, people
from lilong.floors.hub.store.people import Person, Used
from lilong.ground.access import Actor, Organisation, Scope, Token, User, parse
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.house import House

_STANDING = ("admin", "write", "read")  # as the public Hub calls roles, the highest first
_SHOWN_AS = {"owner": "admin", "operator": "admin", "member": "write", "keeper": "write"}


@dataclass(frozen=True, slots=True)
class Membership:
    organisation: Organisation
    role: str  # admin | write | read


@dataclass(frozen=True, slots=True)
class Limits:
    """What the token in hand is for."""

    role: str  # write | read | fineGrained
    everywhere: tuple[str, ...] = ()  # permissions without a target
    scoped: tuple[tuple[str, str, tuple[str, ...]], ...] = ()  # (type, name, permissions); types: user, org, model, dataset


@dataclass(frozen=True, slots=True)
class Identity:
    user: User
    memberships: tuple[Membership, ...]
    token: Token | None  # None: a session
    limits: Limits


@dataclass(frozen=True, slots=True)
class Overview:
    """A user or an organisation. `members` is None for those outside."""

    name: str
    title: str
    personal: bool
    created_at: str
    models: int
    datasets: int
    members: int | None
    organisations: tuple[Organisation, ...] = ()


def identity(house: House, actor: Actor) -> Identity:
    def read(tx: Tx) -> Identity:
        token = house.access.token(tx, actor.token) if actor.token else None
        if token is not None and token.kind != "api":
            token = None
        user = house.access.user(tx, actor.user)
        words = oauth.words_of_token(tx, token.id) if token is not None else None
        if words is not None and "email" not in words.split():
            user = replace(user, email=None)  # the program was not let to know
        return Identity(user, memberships(house, tx, actor.user), token, limits_of(house, tx, actor))

    return house.db.read(read)


def memberships(house: House, tx: Tx, user: str) -> tuple[Membership, ...]:
    """The organisations that the user is in, each with the highest role there; not the user's own namespace."""
    roles: dict[str, str] = {}
    for organisation, role in house.access.organisations_of(tx, user):
        shown = _SHOWN_AS.get(role, "read")
        roles[organisation] = min(shown, roles.get(organisation, "read"), key=_STANDING.index)
    found = [Membership(house.access.organisation(tx, name), role) for name, role in sorted(roles.items())]
    return tuple(each for each in found if not each.organisation.personal)


def limits_of(house: House, tx: Tx, actor: Actor) -> Limits:
    """Anybody may have a token for a name; what there is under it is told to those only who may see it."""
    scopes = [parse(text) for text in sorted(actor.scopes)]
    if all(scope.organisation is None for scope in scopes):
        if actor.covers("hub.write") and actor.covers("hub.read"):
            return Limits("write")
        if actor.covers("hub.read") and not actor.covers("hub.discuss") and not actor.covers("hub.manage"):
            return Limits("read")
    everywhere, targets = _sorted_out(scopes)
    owner = Actor(actor.user)
    seen = house.access.visible(owner, "hub.read", "r.organisation", "r.name")
    scoped = []
    for (organisation, name), permissions in sorted(targets.items(), key=lambda item: (item[0][0], item[0][1] or "")):
        if name is None:
            personal = sees_organisation(house, tx, owner, organisation) and tx.value(
                "SELECT personal FROM ground_organisations WHERE name = :name", name=organisation
            )
            scoped.append(("user" if personal else "org", organisation, permissions))
        else:
            kinds = people.kinds_of(tx, organisation, name, seen) or ["model"]
            scoped += [(kind, f"{organisation}/{name}", permissions) for kind in kinds]
    return Limits("fineGrained", everywhere, tuple(scoped))


_OF_THE_HUB = ("hub.read", "hub.discuss", "hub.write", "hub.manage")


def _sorted_out(scopes: list[Scope]) -> tuple[tuple[str, ...], dict[tuple[str, str | None], tuple[str, ...]]]:
    everywhere: list[str] = []
    targets: dict[tuple[str, str | None], list[str]] = {}
    for scope in scopes:
        into = everywhere if scope.organisation is None else targets.setdefault((scope.organisation, scope.name), [])
        into += [permission for permission in _OF_THE_HUB if scope.matches(permission) and permission not in into]
    return tuple(everywhere), {target: tuple(permissions) for target, permissions in targets.items()}


# --- what others see ------------------------------------------------------------------------------------------------------


def sees_user(house: House, tx: Tx, actor: Actor, name: str) -> bool:
    """Oneself, those one shares an organisation with, and those who have something public in their own namespace."""
    if actor.user == name or house.access.allowed(tx, actor, "house.read"):
        return True
    together = any(people.together(tx, name, house.access.visible(actor, permission, "o.name")) for permission in _INSIDE)
    return together or people.something_public(tx, name)


def user_overview(house: House, actor: Actor, name: str) -> Overview:
    """Raises NotFound, for those one may not see as for those who are not there."""

    def read(tx: Tx) -> Overview:
        missing = NotFound(kind="user", name=name[:100])
        if tx.row("SELECT 1 FROM ground_users WHERE name = :name", name=name) is None or not sees_user(house, tx, actor, name):
            raise missing
        user = house.access.user(tx, name)
        counted = people.count_repositories(tx, name, house.access.visible(actor, "hub.read", "r.organisation", "r.name"))
        shared = [each.organisation for each in memberships(house, tx, name)]
        known = tuple(each for each in shared if name == actor.user or sees_organisation(house, tx, actor, each.name))
        return Overview(name, user.title, True, user.created_at, counted.get("model", 0), counted.get("dataset", 0), None, known)

    return house.db.read(read)


def sees_organisation(house: House, tx: Tx, actor: Actor, name: str) -> bool:
    return inside(house, tx, actor, name) or people.something_public(tx, name)


# A token of the hub's clients reads the hub and nothing else; its user still knows who else is in the organisation.
_INSIDE = ("organisations.read", "hub.read")


def inside(house: House, tx: Tx, actor: Actor, name: str) -> bool:
    return any(house.access.allowed(tx, actor, permission, name) for permission in _INSIDE)


def organisation_overview(house: House, actor: Actor, name: str) -> Overview:
    """Raises NotFound, for those one may not see as for those that are not there."""

    def read(tx: Tx) -> Overview:
        _check_organisation(house, tx, actor, name)
        organisation = house.access.organisation(tx, name)
        counted = people.count_repositories(tx, name, house.access.visible(actor, "hub.read", "r.organisation", "r.name"))
        number = people.count_members(tx, name) if inside(house, tx, actor, name) else None
        return Overview(
            name,
            organisation.title,
            organisation.personal,
            organisation.created_at,
            counted.get("model", 0),
            counted.get("dataset", 0),
            number,
        )

    return house.db.read(read)


def _check_organisation(house: House, tx: Tx, actor: Actor, name: str) -> None:
    there = tx.row("SELECT 1 FROM ground_organisations WHERE name = :name", name=name)
    if there is None or not sees_organisation(house, tx, actor, name):
        raise NotFound(kind="organisation", name=name[:100])


def members(house: House, actor: Actor, name: str, after: str, limit: int) -> list[Person]:
    """All of them for those inside; for others, those whom they may see anyway. Raises NotFound."""

    def read(tx: Tx) -> list[Person]:
        _check_organisation(house, tx, actor, name)
        if inside(house, tx, actor, name):
            return people.members(tx, name, after, limit)
        found: list[Person] = []
        last = after
        while page := people.members(tx, name, last, 200):
            found += [person for person in page if sees_user(house, tx, actor, person.name)]
            last = page[-1].name
            if len(found) >= limit:
                break
        return found[:limit]

    return house.db.read(read)


def check_user(house: House, actor: Actor, name: str) -> None:
    """Raises NotFound."""

    house.db.read(lambda tx: check_seen(house, tx, actor, name))


def check_seen(house: House, tx: Tx, actor: Actor, name: str) -> None:
    """Raises NotFound."""
    if tx.row("SELECT 1 FROM ground_users WHERE name = :name", name=name) is None or not sees_user(house, tx, actor, name):
        raise NotFound(kind="user", name=name[:100])


def check_organisation(house: House, actor: Actor, name: str) -> None:
    """Raises NotFound."""
    house.db.read(lambda tx: _check_organisation(house, tx, actor, name))


def repositories(house: House, actor: Actor, namespace: str, after: tuple[str, str], limit: int) -> tuple[list[Used], int]:
    """The repositories of a namespace with the bytes they take, and the bytes of all; for those inside. Raises NotFound."""

    def read(tx: Tx) -> tuple[list[Used], int]:
        if namespace != actor.user and not inside(house, tx, actor, namespace):
            raise NotFound(kind="organisation", name=namespace[:100])
        seen = house.access.visible(actor, "hub.read", "r.organisation", "r.name")
        return people.used(tx, namespace, seen, after, limit), people.used_by_all(tx, namespace)

    return house.db.read(read)
