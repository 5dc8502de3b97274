"""Collections: repositories and more, gathered under a title by an organisation or a person."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace

from lilong.floors.hub.contract import CollectionChanged, Kind, RepositoryNotFound
from lilong.floors.hub.store import collections as kept
from lilong.floors.hub.store.collections import SORTS, Collection, Item, Place, Sight, Wanted
from lilong.ground.access import Actor, TokenTooNarrow
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Conflict, NotFound, Unauthenticated
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import namespaces, reading

__all__ = [
    "SORTS", "THEMES", "Change", "Collection", "CollectionExists", "CollectionNotFound", "Item", "ItemExists", "Wanted", "add_item", "change",
    "create", "delete", "delete_item", "listed", "shown", "update_item", "upvote",
]  # fmt: skip

THEMES = ("orange", "blue", "green", "purple", "pink", "indigo")
_TITLE = 120  # characters
_DESCRIPTION = 150
_NOTE = 500
_ITEMS = 1000
_SHOWN = 4  # items of each collection in a list
_ID = re.compile(r"(?:.*-)?([0-9a-f]{24})")
_PAPER = re.compile(r"\d{4}\.\d{4,5}")


class CollectionNotFound(NotFound):
    """There is no collection '{slug}' that you may see."""


class CollectionExists(Conflict):
    """{owner} has a collection '{title}' already: {slug}."""


class ItemNotFound(NotFound):
    """There is no {kind} '{name}' that you may see."""


class NotInCollection(NotFound):
    """The collection has no item '{item}'."""


class ItemExists(Conflict):
    """The {kind} '{name}' is in the collection already."""


class BadCollection(BadInput):
    """The {field} cannot be used: {problem}."""

    status = 400


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different; None: as it is."""

    title: str | None = None
    description: str | None = None
    private: bool | None = None
    theme: str | None = None
    position: int | None = None


# --- reading ------------------------------------------------------------------------------------------------------------


def _sight(house: House, actor: Actor) -> Sight:
    def seen(organisation: str, name: str | None = None) -> kept.Seen:
        return house.access.visible(actor, "hub.read", organisation, name)

    return Sight(seen("r.organisation", "r.name"), seen("b.organisation", "b.name"), seen("c.owner"))


def listed(house: House, actor: Actor, wanted: Wanted) -> list[Collection]:
    """Those that the actor may see, each with its first items only."""
    sight = _sight(house, actor)

    def read(tx: Tx) -> list[Collection]:
        items = tuple((kind, _id(name) or name) if kind == "collection" else (kind, name) for kind, name in wanted.items)
        return kept.with_items(tx, sight, kept.listed(tx, sight, replace(wanted, items=items)), _SHOWN)

    return house.db.read(read)


def shown(house: House, actor: Actor, owner: str, word: str) -> Collection:
    """`word`: what stands behind the owner in the slug; only the id at its end counts. Raises CollectionNotFound."""
    sight = _sight(house, actor)
    return house.db.read(lambda tx: kept.with_items(tx, sight, [_seen(house, tx, actor, owner, word)])[0])


def _id(word: str) -> str | None:
    found = _ID.fullmatch(word)
    return found[1] if found else None


def _seen(house: House, tx: Tx, actor: Actor, owner: str, word: str) -> Collection:
    identity = _id(word)
    found = kept.get(tx, identity) if identity else None
    if found is None or found.owner != owner or (found.private and not house.access.allowed(tx, actor, "hub.read", owner)):
        raise CollectionNotFound(slug=f"{owner}/{word}"[:200])
    return found


# --- making and changing ------------------------------------------------------------------------------------------------


def create(house: House, actor: Actor, owner: str, title: str, description: str = "", *, private: bool = False) -> Collection:
    """In an organisation, or in one's own name. Raises Forbidden, CollectionExists, BadCollection."""
    title, description = _title(title), _description(description)
    namespaces.ready(house, actor, owner)

    def write(tx: Tx) -> Collection:
        if not actor.user:
            raise Unauthenticated()
        house.access.require(tx, actor, "hub.write", owner)
        _check_free(tx, owner, title)
        now = stamp(house.clock.now())
        identity = _new_id(house)
        made = Collection(
            identity, owner, _words(title), title, description, private, THEMES[0], kept.next_position(tx, owner), 0, actor.user, now, now
        )
        kept.add(tx, made)
        _tell(house, tx, actor, made, "created")
        return made

    return house.db.write(write)


def _new_id(house: House) -> str:
    """24 hex digits, as clients know them from the public Hub."""
    return hashlib.sha256(house.ids.secret().encode()).hexdigest()[:24]


def _check_free(tx: Tx, owner: str, title: str) -> None:
    present = kept.titled(tx, owner, title)
    if present is not None:
        raise CollectionExists(owner=owner, title=title, slug=present.slug)


def change(house: House, actor: Actor, owner: str, word: str, asked: Change) -> Collection:
    """Raises CollectionNotFound, Forbidden, CollectionExists, BadCollection."""

    def run(tx: Tx, found: Collection) -> None:
        if asked.theme is not None and asked.theme not in THEMES:
            raise BadCollection(field="theme", problem=f"it must be one of {', '.join(THEMES)}")
        if asked.position is not None and not 0 <= asked.position < 1_000_000:
            raise BadCollection(field="position", problem="it must be a number from 0 on")
        changed = replace(
            found,
            title=found.title if asked.title is None else _title(asked.title),
            description=found.description if asked.description is None else _description(asked.description),
            private=found.private if asked.private is None else asked.private,
            theme=asked.theme or found.theme,
            position=found.position if asked.position is None else asked.position,
            updated_at=stamp(house.clock.now()),
        )
        if changed.title != found.title:
            _check_free(tx, owner, changed.title)
        kept.change(tx, replace(changed, words=_words(changed.title)))

    return _changed(house, actor, owner, word, run)


def _changed(house: House, actor: Actor, owner: str, word: str, run: Callable[[Tx, Collection], None]) -> Collection:
    sight = _sight(house, actor)

    def write(tx: Tx) -> Collection:
        found = _seen(house, tx, actor, owner, word)
        house.access.require(tx, actor, "hub.write", owner)
        kept.touch(tx, found.id, stamp(house.clock.now()))
        run(tx, found)
        after = kept.with_items(tx, sight, [_seen(house, tx, actor, owner, word)])[0]
        _tell(house, tx, actor, after, "changed")
        return after

    return house.db.write(write)


def delete(house: House, actor: Actor, owner: str, word: str) -> None:
    """Raises CollectionNotFound, Forbidden."""

    def write(tx: Tx) -> None:
        found = _seen(house, tx, actor, owner, word)
        house.access.require(tx, actor, "hub.write", owner)
        kept.delete(tx, found.id)
        _tell(house, tx, actor, found, "deleted")

    house.db.write(write)


def _tell(house: House, tx: Tx, actor: Actor, found: Collection, action: str) -> None:
    house.events.append(tx, actor, CollectionChanged(found.slug, found.owner, action))


# --- items --------------------------------------------------------------------------------------------------------------


def add_item(house: House, actor: Actor, owner: str, word: str, kind: str, name: str, note: str = "") -> Collection:
    """At the end. Raises CollectionNotFound, Forbidden, ItemNotFound, ItemExists, BadCollection."""
    note = _note(note)

    def run(tx: Tx, found: Collection) -> None:
        place = _place(house, tx, actor, kind, name)
        if kept.has(tx, found.id, kind, place.repository, place.name):
            raise ItemExists(kind=kind, name=name)
        if len(kept.order(tx, found.id)) >= _ITEMS:
            raise BadCollection(field="item", problem=f"a collection holds at most {_ITEMS}")
        kept.add_item(tx, found.id, _new_id(house), place, note, actor.user, stamp(house.clock.now()))

    return _changed(house, actor, owner, word, run)


def _place(house: House, tx: Tx, actor: Actor, kind: str, name: str) -> Place:
    missing = ItemNotFound(kind=kind[:20], name=name[:200])
    if kind in (Kind.MODEL.value, Kind.DATASET.value):
        try:
            return Place(kind, reading.opened(house, tx, actor, Kind(kind), name).id)
        except RepositoryNotFound:
            raise missing from None
    owner, _, short = name.partition("/")
    if kind == "collection":
        try:
            return Place(kind, None, _seen(house, tx, actor, owner, short).id)
        except CollectionNotFound:
            raise missing from None
    if kind == "bucket":
        row = tx.row("SELECT id, private FROM hub_buckets WHERE organisation = :o AND name = :n", o=owner, n=short)
        if row is not None and (not row["private"] or house.access.allowed(tx, actor, "hub.read", owner, short)):
            return Place(kind, None, row["id"])
    elif kind == "paper" and _PAPER.fullmatch(name):
        return Place(kind, None, name)
    raise missing


def update_item(
    house: House, actor: Actor, owner: str, word: str, item: str, note: str | None = None, position: int | None = None
) -> Collection:
    """`position`: among all items, from 0 on. Raises CollectionNotFound, Forbidden, NotInCollection, BadCollection."""
    text = None if note is None else _note(note)

    def run(tx: Tx, found: Collection) -> None:
        order = _order(tx, found, item)
        if text is not None:
            kept.set_note(tx, item, text)
        if position is not None:
            order.remove(item)
            order.insert(max(position, 0), item)
            kept.set_order(tx, order)

    return _changed(house, actor, owner, word, run)


def delete_item(house: House, actor: Actor, owner: str, word: str, item: str) -> Collection:
    """Raises CollectionNotFound, Forbidden, NotInCollection."""

    def run(tx: Tx, found: Collection) -> None:
        order = _order(tx, found, item)
        kept.delete_item(tx, item)
        order.remove(item)
        kept.set_order(tx, order)

    return _changed(house, actor, owner, word, run)


def _order(tx: Tx, found: Collection, item: str) -> list[str]:
    order = kept.order(tx, found.id)
    if item not in order:
        raise NotInCollection(item=item[:50])
    return order


def upvote(house: House, actor: Actor, owner: str, word: str, *, take_back: bool = False) -> int:
    """How many there are then. Raises CollectionNotFound, Forbidden."""

    def write(tx: Tx) -> int:
        found = _seen(house, tx, actor, owner, word)
        if not actor.user:
            raise Unauthenticated()
        if not actor.covers("hub.discuss", owner):
            raise TokenTooNarrow(permission="hub.discuss")
        (kept.take_upvote if take_back else kept.upvote)(tx, found.id, actor.user)
        return _seen(house, tx, actor, owner, word).upvotes

    return house.db.write(write)


# --- words --------------------------------------------------------------------------------------------------------------


def _words(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "collection"


def _title(text: str) -> str:
    return _checked(" ".join(text.split()), "title", 1, _TITLE)


def _description(text: str) -> str:
    return _checked(text.strip(), "description", 0, _DESCRIPTION)


def _note(text: str) -> str:
    return _checked(text.strip(), "note", 0, _NOTE)


def _checked(text: str, field: str, least: int, most: int) -> str:
    if not least <= len(text) <= most:
        raise BadCollection(field=field, problem=f"it must have from {least} to {most} characters")
    return text
