"""Namespaces: organisations and users' own ones, and what they say about the repositories in them."""

from __future__ import annotations

from dataclasses import dataclass

from lilong.floors.hub.contract import NamespaceChanged
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Conflict, Forbidden, NotFound
from lilong.ground.house import House

from . import quotas

_MOST = 1 << 60  # bytes


class NoNamespace(BadInput):
    """You cannot have a namespace of your own. {problem} Give the repository's name as organisation/name."""

    status = 400


@dataclass(frozen=True, slots=True)
class Namespace:
    name: str
    title: str
    personal: bool
    private_by_default: bool
    quota_bytes: int | None  # its own; None: the house's default
    limit_bytes: int | None  # what holds; None: no limit
    used_bytes: int


@dataclass(frozen=True, slots=True)
class Change:
    """What is None stays as it is."""

    private_by_default: bool | None = None
    quota_bytes: int | None = None  # below 0: the house's default again


def own(house: House, actor: Actor) -> str:
    """The namespace meant by somebody who names none: their own, made when it is first needed. Raises Forbidden."""

    def check(tx: Tx) -> bool:
        if not (house.access.anywhere(tx, actor, "hub.write") and actor.reaches("hub.write", actor.user)):
            raise Forbidden(permission="hub.write", actor=actor.user, scope="an organisation")
        return tx.row("SELECT 1 FROM ground_organisations WHERE name = :name AND personal = 1", name=actor.user) is not None

    if house.db.read(check):
        return actor.user

    def write(tx: Tx) -> str:
        check(tx)
        return house.access.personal(tx, actor.user).name

    try:
        return house.db.write(write)
    except (BadInput, Conflict) as problem:
        raise NoNamespace(problem=str(problem)) from problem


def ready(house: House, actor: Actor, name: str) -> None:
    """Make the actor's own namespace, where that is the one in a name and it was never used. Raises Forbidden."""
    if actor.user and name.partition("/")[0] == actor.user:
        own(house, actor)


def private_by_default(tx: Tx, organisation: str) -> bool:
    return bool(tx.value("SELECT private_by_default FROM hub_namespaces WHERE organisation = :o", o=organisation))


def show(house: House, actor: Actor, name: str) -> Namespace:
    """For those who may write there. Raises NotFound."""

    def read(tx: Tx) -> Namespace:
        house.access.require(tx, actor, "hub.write", name, hidden=NotFound(kind="organisation", name=name[:100]))
        return _shown(house, tx, name)

    return house.db.read(read)


def change(house: House, actor: Actor, name: str, wanted: Change) -> Namespace:
    """Visibility by who manages the repositories there, the quota by the house's operators. Raises NotFound, Forbidden, BadInput."""
    if wanted.quota_bytes is not None and wanted.quota_bytes > _MOST:
        raise BadInput(field="quota_bytes", problem="nobody has so much", way_out="Give fewer bytes, or -1 for the house's default.")

    def write(tx: Tx) -> Namespace:
        house.access.require(tx, actor, "hub.manage", name, hidden=NotFound(kind="organisation", name=name[:100]))
        if wanted.quota_bytes is not None:
            house.access.require(tx, actor, "house.manage")
        before = _shown(house, tx, name)
        private = before.private_by_default if wanted.private_by_default is None else wanted.private_by_default
        quota = before.quota_bytes
        if wanted.quota_bytes is not None:
            quota = wanted.quota_bytes if wanted.quota_bytes >= 0 else None
        put(tx, name, private, quota)
        if (private, quota) != (before.private_by_default, before.quota_bytes):
            house.events.append(tx, actor, NamespaceChanged(name, private, quota))
        return _shown(house, tx, name)

    return house.db.write(write)


def put(tx: Tx, name: str, private: bool, quota_bytes: int | None) -> None:
    tx.run(
        "INSERT INTO hub_namespaces (organisation, private_by_default, quota_bytes) VALUES (:o, :private, :quota) "
        "ON CONFLICT (organisation) DO UPDATE SET private_by_default = excluded.private_by_default, quota_bytes = excluded.quota_bytes",
        o=name, private=int(private), quota=quota_bytes,
    )  # fmt: skip


def _shown(house: House, tx: Tx, name: str) -> Namespace:
    organisation = house.access.organisation(tx, name)
    row = tx.row("SELECT private_by_default, quota_bytes FROM hub_namespaces WHERE organisation = :o", o=name)
    quota = quotas.of(house, tx, name)
    private, limit = (bool(row["private_by_default"]), row["quota_bytes"]) if row is not None else (False, None)
    return Namespace(name, organisation.title, organisation.personal, private, limit, quota.limit, quota.used)
