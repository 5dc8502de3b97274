"""Which versions hold what a takedown names, and for whom its steward takes it down.

A steward names a version of their organisation's, or a source set that it owns or gave. All that it has built may leave; of what others
have built, the versions of its own source sets in which the thing stands: what its owner or contributor takes back leaves the versions of
others too, and what others gave to theirs does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lilong.floors.corpus import store
from lilong.floors.corpus.alliance import holding
from lilong.floors.corpus.alliance import takedowns as orders
from lilong.floors.corpus.alliance.shapes import GaveOnlySources, NothingToTakeDown, NotPublished, TakedownAsk
from lilong.floors.corpus.contract import SourceSet, State, Version, Without
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.house import House

from .files import Files, left
from .parts import found_set, found_version, sets_of

_TOLD = 5
_ALL = 100_000


@dataclass(frozen=True, slots=True)
class Named:
    """What a takedown is asked of: a version, or a source set. `sets`: the version's, or that one. `organisation`: on whose behalf."""

    organisation: str
    sets: list[SourceSet]
    version: Version | None = None

    @property
    def id(self) -> str:
        return self.version.id if self.version else self.sets[0].id

    def __str__(self) -> str:
        return f"The version {called(self.version)}" if self.version else f"The source set {self.id}"


@dataclass(frozen=True, slots=True)
class Held:
    """How many documents of what is to go each version has, as far as one can say: those that leave, and others that one may only tell of.
    `seen`: ids of all that were looked into; `given`: the named one's source sets, of which the actor is a steward, in which it stands;
    `orders`: to the asking organisation, and to each that has a version that leaves."""

    named: Named
    given: list[SourceSet]
    leaving: dict[str, int | None]
    others: dict[str, int | None]
    seen: frozenset[str]
    orders: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The versions that may hold it, oldest first, with the source sets of each, and with those of them that the ones for whom it is taken
    down own or gave."""

    rows: list[Version]
    sets: Mapping[str, list[SourceSet]]
    own: Mapping[str, list[SourceSet]]


def called(row: Version) -> str:
    return f"{row.repository}@{(row.commit or '')[:12]}"


def named(house: House, tx: Tx, actor: Actor, ask: TakedownAsk) -> Named:
    """Raises VersionNotFound, SourceSetNotFound, Forbidden, NotPublished."""
    one = store.source_set(tx, ask.version)
    if one is not None:
        givers = [of for of in (one.organisation, one.contributor) if house.access.allowed(tx, actor, "corpus.steward", of)]
        if not givers:
            found_set(house, tx, actor, one.id)
            house.access.require(tx, actor, "corpus.steward", one.organisation)
        return Named(givers[0], [one])
    row = found_version(house, tx, actor, ask.version)
    sets = sets_of(tx, row)
    if not house.access.allowed(tx, actor, "corpus.steward", row.organisation):
        given = [each.id for each in sets if behalf(house, tx, actor, [each])]
        if given:
            raise GaveOnlySources(version=called(row), organisation=row.organisation, sets=" or ".join(given[:_TOLD]))
    house.access.require(tx, actor, "corpus.steward", row.organisation)
    if row.state is not State.DONE:
        raise NotPublished(version=row.id, state=row.state.value)
    return Named(row.organisation, sets, row)


def behalf(house: House, tx: Tx, actor: Actor, sets: Iterable[SourceSet]) -> set[str]:
    """Those who own or gave these sets, as far as the actor is their steward."""
    return {of for one in sets for of in orders.givers(one) if house.access.allowed(tx, actor, "corpus.steward", of)}


def held(house: House, actor: Actor, ask: TakedownAsk) -> Held:
    """Reads the versions' tables, outside any transaction. Raises what `named` does, and NothingToTakeDown."""

    def look(tx: Tx) -> tuple[Named, list[SourceSet]]:
        found = named(house, tx, actor, ask)
        return found, [one for one in found.sets if behalf(house, tx, actor, [one])]

    place, mine = house.db.read(look)
    given = _standing(house, ask, place.version, mine)
    found = house.db.read(lambda tx: candidates(house, tx, actor, place, given))
    counted = _counted(house, ask, place, found)
    from_sets = {row.id for row in found.rows if row.id in counted and _standing(house, ask, row, found.own[row.id])}
    leaving = {
        row.id: counted[row.id]
        for row in found.rows
        if row.id in from_sets or (row.id in counted and row.organisation == place.organisation)
    }
    if not _stands(house, ask, place, given, [row for row in found.rows if row.id in counted]):
        raise _nothing(ask, place, [row for row in found.rows if row.id in leaving and row.organisation == place.organisation])
    written = {
        each: orders.order(
            ask, place.organisation, [(row, leaving[row.id]) for row in found.rows if row.id in leaving and row.organisation == each]
        )
        for each in {place.organisation, *(row.organisation for row in found.rows if row.id in leaving)}
    }
    others = {row: number for row, number in counted.items() if row not in leaving}
    return Held(place, given, leaving, others, frozenset(row.id for row in found.rows), written)


def candidates(house: House, tx: Tx, actor: Actor, place: Named, given: Sequence[SourceSet]) -> Candidates:
    """All that the asking organisation has built, and what anybody has from the named source sets, or from any of those for whom it is taken
    down: what they gave stands there too."""
    mine = behalf(house, tx, actor, given)
    sets = {one.id: one for one in place.sets}
    for of in sorted(mine):
        sets |= {one.id: one for one in store.source_sets(tx, "organisation = :of OR contributor = :of", {"of": of}, _ALL)}
    own = store.versions(tx, "v.organisation = :organisation AND v.state = 'done'", {"organisation": place.organisation}, _ALL)
    found = {row.id: row for row in (*own, *store.versions_of_sets(tx, sets))}
    for each in {each for row in found.values() for each in row.sources} - set(sets):
        if (one := store.source_set(tx, each)) is not None:
            sets[each] = one
    of_rows = {row.id: [sets[each] for each in row.sources if each in sets] for row in found.values()}
    theirs = {row: [one for one in each if orders.givers(one) & mine] for row, each in of_rows.items()}
    return Candidates(sorted(found.values(), key=lambda row: (row.created_at, row.id)), of_rows, theirs)


def _counted(house: House, ask: TakedownAsk, place: Named, found: Candidates) -> dict[str, int | None]:
    """Those that hold it, with how many documents of it; None where the files are gone, and nobody can say."""
    kept_out = orders.exclusions(ask.without, place.organisation, place.sets)
    counted: dict[str, int | None] = {}
    sets = {one.id for one in place.sets}
    for row in found.rows:
        number = _count(house, orders.in_version(ask.without, kept_out, row.organisation, found.sets[row.id]), row)
        if number or (number is None and (row.id == place.id or not sets.isdisjoint(row.sources))):
            counted[row.id] = number
    return counted


def _stands(house: House, ask: TakedownAsk, place: Named, given: Sequence[SourceSet], holding_it: Sequence[Version]) -> bool:
    if place.version is not None:
        return any(row.id == place.id for row in holding_it)
    return bool(given) and (
        not ask.document or any(_standing(house, ask, row, place.sets) for row in holding_it if place.id in row.sources)
    )


def _count(house: House, what: Without, row: Version) -> int | None:
    if what == Without():
        return 0
    files = Files(house, row, left(house, row))
    try:
        if files.paths:
            return holding.count(what, row.contributors, files.paths, files.open)
    except NotFound:
        pass
    return holding.counted(what, row.figures.get("sources", ()))


def _standing(house: House, ask: TakedownAsk, row: Version | None, sets: Collection[SourceSet]) -> list[SourceSet]:
    """Those of the sets in which what is to go stands in a version: by these it may leave, whoever built it. Of a source set that is named
    without a version nobody knows its documents."""
    if not ask.document:
        return [one for one in sets if orders.stands_in(ask.without, one)]
    if row is None or not sets:
        return list(sets)
    files = Files(house, row, left(house, row))
    try:
        return [one for one in sets if holding.given(ask.document, orders.names_in([one]), files.paths, files.open)]
    except NotFound:  # its files are gone
        return list(sets)


def _nothing(ask: TakedownAsk, place: Named, holding_it: Sequence[Version]) -> NothingToTakeDown:
    kind, name = orders.thing(ask.without)
    way_out = "`lilong dataset show` lists a version's sources; ids of documents stand in its data/*.parquet."
    if place.version is None:
        way_out = (
            "`lilong corpus sources show` lists its sources; ids of documents stand in data/*.parquet of the versions that were made of it."
        )
    if holding_it:
        way_out = f"It stands in {', '.join(map(called, holding_it[-_TOLD:]))}: name one of these."
    return NothingToTakeDown(place=str(place), kind=kind, name=name, way_out=way_out)
