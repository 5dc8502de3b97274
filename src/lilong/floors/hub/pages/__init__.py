"""The hub's pages, and the hub in the tower."""

from __future__ import annotations

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import reading
from lilong.floors.hub.store import Wanted
from lilong.ground.access import Actor
from lilong.ground.floor import Room
from lilong.ground.house import House

from . import buckets, changing, community, lists, repository, settings, tables, webhooks
from .door import Address, routes

__all__ = ["buckets", "changing", "community", "lists", "repository", "rooms", "routes", "settings", "tables", "webhooks"]


def rooms(house: House, actor: Actor) -> list[Room]:
    """For the tower."""
    listed = [(kind, one) for kind in Kind for _, one in reading.listed(house, actor, kind, Wanted(limit=3))]
    return [
        Room(one.repository.name, one.repository.kind.value, Address(kind, one.repository.name).home, one.manifest) for kind, one in listed
    ]
