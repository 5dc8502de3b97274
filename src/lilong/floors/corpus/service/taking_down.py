"""Takedowns: what was found to be bad leaves the corpora, and everything that it reached is named.

One transaction puts the versions that hold it out of use, lets it stay out of every later one, starts the builds without it, and
signs a statement; before that nothing has happened, after it everything has.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, replace

from lilong.floors.corpus import rules, store
from lilong.floors.corpus.alliance import holding
from lilong.floors.corpus.alliance import takedowns as orders
from lilong.floors.corpus.alliance.shapes import (
    AnotherRepository,
    NothingToBuildFrom,
    NothingToTakeDown,
    NotPublished,
    Reach,
    Takedown,
    TakedownAsk,
    TakedownFinished,
    TakedownNotFound,
    TakedownShown,
    TakenDown,
)
from lilong.floors.corpus.contract import TAKEDOWN, AskedOtherwise, BuildAsk, PublishAsk, SourceSet, State, Version
from lilong.floors.corpus.store import alliance as rows
from lilong.floors.hub.contract import Hub, Kind
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.blobs import digest_of
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.evidence import Artifact
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import publishing
from .building import excluded, requested
from .files import Files, left
from .parts import PAGE, found_version, stands
from .reaching import reach

_TOLD = 5


@dataclass(frozen=True, slots=True)
class _Held:
    """The version that was named, and how many documents of what is to go each version has, as far as one can say: those that leave, and
    others that one may only tell of. `seen`: ids of all that were looked into; `given`: the named version's source sets, of which the actor is
    a steward, in which it stands."""

    named: Version
    given: list[SourceSet]
    leaving: dict[str, int | None]
    others: dict[str, int | None]
    seen: frozenset[str]
    orders: dict[str, bytes]  # to each organisation that has a version that leaves


def preview(house: House, actor: Actor, ask: TakedownAsk) -> Reach:
    """What a takedown would reach. Nothing is changed. Raises VersionNotFound, Forbidden, BadInput, NothingToTakeDown."""
    orders.check(ask)
    held = _held(house, actor, ask)
    return house.db.read(lambda tx: reach(house, tx, actor, held.leaving | held.others))


def takedown(house: House, actor: Actor, ask: TakedownAsk) -> Takedown:
    """Take something down. The same key answers the same takedown; where building without it has failed, that is tried again.

    Raises VersionNotFound, Forbidden, BadInput, NothingToTakeDown, AskedOtherwise.
    """
    rules.check_key(ask.key)
    orders.check(ask)
    known = house.db.read(lambda tx: _known(house, tx, actor, ask))
    if known is not None and known.state is not State.FAILED:
        return known
    if known is not None:
        return house.db.write(lambda tx: _again(house, tx, actor, ask))
    held = _held(house, actor, ask)
    while True:
        for content in held.orders.values():
            house.blobs.put(content)
        made = house.db.write(lambda tx, held=held: _take(house, tx, actor, ask, held))  # type: ignore[misc]
        if made is not None:
            return made
        held = _held(house, actor, ask)  # a version was published meanwhile


def _known(house: House, tx: Tx, actor: Actor, ask: TakedownAsk) -> Takedown | None:
    named = _named(house, tx, actor, ask)
    known = rows.takedown_by_key(tx, named.organisation, ask.key)
    if known is not None and known[1] != ask:
        raise AskedOtherwise(key=ask.key)
    return known[0] if known else None


def _named(house: House, tx: Tx, actor: Actor, ask: TakedownAsk) -> Version:
    named = found_version(house, tx, actor, ask.version)
    house.access.require(tx, actor, "corpus.steward", named.organisation)
    if named.state is not State.DONE:
        raise NotPublished(version=named.id, state=named.state.value)
    return named


def _held(house: House, actor: Actor, ask: TakedownAsk) -> _Held:
    """Reads the versions' tables, outside any transaction."""
    named, candidates, sets = house.db.read(lambda tx: _candidates(house, tx, actor, ask))
    counted: dict[str, int | None] = {}
    for row in candidates:
        number = _count(house, ask, row)
        if number or (number is None and (row.id == named.id or set(row.sources) & set(named.sources))):
            counted[row.id] = number
    if named.id not in counted:
        raise _nothing(ask, named, [row for row in candidates if row.id in counted and row.organisation == named.organisation])
    holding_it = [row for row in candidates if row.id in counted]
    mine = {row.id for row in holding_it if row.organisation == named.organisation or _given(house, ask, row, sets)}
    leaving = {row: number for row, number in counted.items() if row in mine}
    others = {row: number for row, number in counted.items() if row not in mine}
    written = {
        each: orders.order(ask, named, [(row, leaving[row.id]) for row in candidates if row.id in leaving and row.organisation == each])
        for each in {row.organisation for row in candidates if row.id in leaving}
    }
    return _Held(named, _given(house, ask, named, sets), leaving, others, frozenset(row.id for row in candidates), written)


def _nothing(ask: TakedownAsk, named: Version, holding_it: Sequence[Version]) -> NothingToTakeDown:
    kind, name = orders.thing(ask.without)
    way_out = "`lilong dataset show` lists its sources; ids of documents stand in its data/*.parquet."
    if holding_it:
        way_out = f"It stands in {', '.join(map(_called, holding_it[-_TOLD:]))}: name one of these."
    return NothingToTakeDown(version=_called(named), kind=kind, name=name, way_out=way_out)


def _called(row: Version) -> str:
    return f"{row.repository}@{(row.commit or '')[:12]}"


def _given(house: House, ask: TakedownAsk, row: Version, sets: Sequence[SourceSet]) -> list[SourceSet]:
    """Those of the sets in which what is to go stands in a version: by these it may leave, whoever built it."""
    here = [one for one in sets if one.id in row.sources]
    if not ask.document:
        return [one for one in here if orders.stands_in(ask.without, one)]
    files = Files(house, row, left(house, row))
    try:
        return [one for one in here if holding.given(ask.document, orders.names_in([one]), files.paths, files.open)]
    except NotFound:  # its files are gone
        return here


def _count(house: House, ask: TakedownAsk, row: Version) -> int | None:
    """How many documents of a version are what is to go; None where its files are gone, and nobody can say."""
    files = Files(house, row, left(house, row))
    try:
        if files.paths:
            return holding.count(ask.without, row.contributors, files.paths, files.open)
    except NotFound:
        pass
    return holding.counted(ask.without, row.figures.get("sources", ()))


def _candidates(house: House, tx: Tx, actor: Actor, ask: TakedownAsk) -> tuple[Version, list[Version], list[SourceSet]]:
    """The named version, all that may hold what is to go, and the named version's source sets of which the actor is a steward.

    The actor may put out of use the versions of the named one's organisation, and of others those in which what is to go stands in such a
    set: what its owner or contributor takes back leaves the versions of others too, and what others gave to theirs does not.
    """
    named = _named(house, tx, actor, ask)
    own = store.versions(tx, "v.organisation = :organisation AND v.state = 'done'", {"organisation": named.organisation}, 100_000)
    sets = [one for one in _sets(tx, named) if any(house.access.allowed(tx, actor, "corpus.steward", of) for of in orders.givers(one))]
    found = {row.id: row for row in (*own, *store.versions_of_sets(tx, named.sources))}
    return named, sorted(found.values(), key=lambda row: (row.created_at, row.id)), sets


def _sets(tx: Tx, row: Version) -> list[SourceSet]:
    return [one for one in (store.source_set(tx, each) for each in row.sources) if one is not None]


def _take(house: House, tx: Tx, actor: Actor, ask: TakedownAsk, held: _Held) -> Takedown | None:
    """None where a version that may hold it was published since the tables were read."""
    known = _known(house, tx, actor, ask)
    if known is not None:
        return known
    _, candidates, _ = _candidates(house, tx, actor, ask)
    if not {row.id for row in candidates} <= held.seen:
        return None
    identity, now = house.ids.new("takedown"), stamp(house.clock.now())
    leaving = [row for row in candidates if row.id in held.leaving]
    statements = {each: _statement(house, tx, actor, identity, content, [row for row in leaving if row.organisation == each])
                  for each, content in sorted(held.orders.items())}  # fmt: skip
    statement = statements[held.named.organisation]
    row = Takedown(
        identity, held.named.organisation, ask.key, State.REQUESTED, held.named.id, held.named.repository, held.named.commit or "",
        ask.without, ask.reason, actor.user, now, statement,
    )  # fmt: skip
    sets = _sets(tx, held.named)
    # of all for whom the actor takes it down: by these what leaves of others is built without it too
    behalf = {of for one in held.given for of in orders.givers(one) if house.access.allowed(tx, actor, "corpus.steward", of)}
    builds_only = {row.organisation} - behalf if sets else set()
    exclusions = orders.exclusions(ask.without, held.named, sets)
    rows.add_takedown(tx, row, ask, dict.fromkeys(behalf | {row.organisation}, exclusions), held.leaving | held.others, builds_only)
    for each in leaving:
        rows.supersede(tx, each.id, identity)
    _build_without(house, tx, row, leaving)
    made = rows.takedown(tx, identity)
    assert made is not None
    house.events.append(
        tx, actor, TakenDown(identity, row.organisation, row.repository, statement, tuple(one.id for one in leaving), made.next or "")
    )
    return made


def _statement(house: House, tx: Tx, actor: Actor, identity: str, order: bytes, leaving: list[Version]) -> str:
    """Of one organisation's versions: what one of them holds is no word about another's."""
    named = {row.manifest: Artifact(_called(row), row.manifest, "corpus") for row in leaving if row.manifest}
    return house.evidence.issue(
        tx, actor, predicate_type=TAKEDOWN, subjects=[Artifact(f"takedown {identity}", digest_of(order), "review"), *named.values()],
        predicate={"takedown": identity, **json.loads(order)},
    ).id  # fmt: skip


def _build_without(house: House, tx: Tx, row: Takedown, leaving: Sequence[Version]) -> None:
    """Start, in each repository, the version that follows those that leave. Where none can be started the takedown stands all the same,
    and says why."""
    problems = []
    gone = {one.id for one in leaving}
    for repository in dict.fromkeys(one.repository for one in leaving):
        here = store.versions_in(tx, repository)
        try:
            with tx.connection.begin_nested():
                following = _next(house, tx, row, here[-1], gone)
        except LilongError as problem:
            problems.append(f"{repository}: {problem}")
            continue
        for one in here:
            if one.id != following.id and (one.state is not State.DONE or one.superseded is not None or one.id in gone):
                rows.succeed(tx, one.id, following.id)
    if problems:
        rows.set_takedown_state(tx, row.id, State.FAILED, stamp(house.clock.now()), " ".join(problems))
    elif not rows.unfinished_successors(tx, row.id):
        _finished(house, tx, row, None)


def _next(house: House, tx: Tx, row: Takedown, newest: Version, gone: Container[str]) -> Version:
    """The newest version, where it has nothing of it or is being made without it; else a new one, in a repository made anew where it was
    deleted. The house itself asks for that, on behalf of the organisation whose version it is: a steward need not be allowed to run jobs.

    Raises AnotherRepository, NothingToBuildFrom, and what building does."""
    there = newest.state is not State.DONE or stands(house, tx, newest)
    if there and newest.id not in gone and (newest.superseded is None if newest.state is State.DONE else missed(tx, newest) is None):
        return newest
    if not there:
        _check_name_is_free(house, tx, newest)
    asked = store.asked(tx, newest.id)
    _check_sources(house, tx, asked)
    where = newest.repository  # it may have been given another name since
    ask = replace(asked, key=f"{row.id} {newest.id} {where}", repository=where)
    if isinstance(ask, BuildAsk):
        return requested(house, tx, SYSTEM, ask)
    return publishing.requested(house, tx, SYSTEM, ask)


def _check_name_is_free(house: House, tx: Tx, row: Version) -> None:
    """Of a version whose revision is gone. Raises AnotherRepository."""
    try:
        found = house.port(Hub).revision(tx, SYSTEM, Kind.DATASET, row.repository, to_read=False)  # type: ignore[type-abstract]
    except NotFound:
        return
    if found.repository.created_at > (row.finished_at or ""):  # else the same one, with its history rewritten
        raise AnotherRepository


def _check_sources(house: House, tx: Tx, asked: BuildAsk | PublishAsk) -> None:
    """That what a version was made of is still in the house. Raises NothingToBuildFrom."""
    if isinstance(asked, BuildAsk):
        given = [(f"{path} of the source set {each}", digest) for each in asked.source_sets for path, digest in store.tree(tx, each).items()]
    else:
        given = [(f"{name} of the run", digest) for name, digests in asked.files.items() for digest in digests]
    for called, digest in given:
        try:
            house.blobs.size(digest)
        except NotFound:
            raise NothingToBuildFrom(problem=f"{called} is not in the house any more") from None


def _again(house: House, tx: Tx, actor: Actor, ask: TakedownAsk) -> Takedown:
    known = _known(house, tx, actor, ask)
    assert known is not None
    if known.state is not State.FAILED:
        return known
    rows.set_takedown_state(tx, known.id, State.REQUESTED, None)
    _build_without(house, tx, known, [one for one in store.by_ids(tx, rows.superseded_by(tx, known.id)) if one.state is State.DONE])
    again = rows.takedown(tx, known.id)
    assert again is not None
    return again


def ended(house: House, tx: Tx, version: str, error: str | None) -> None:
    """A version was published, or could not be made: so ends the takedown that asked for it."""
    for identity in rows.waiting_for(tx, version):
        known = rows.takedown(tx, identity)
        if known is None or (error is None and rows.unfinished_successors(tx, identity)):
            continue
        _finished(house, tx, known, error)


def _finished(house: House, tx: Tx, row: Takedown, error: str | None) -> None:
    state = State.DONE if error is None else State.FAILED
    if rows.set_takedown_state(tx, row.id, state, stamp(house.clock.now()), error):
        house.events.append(tx, SYSTEM, TakedownFinished(row.id, row.organisation, error or ""))


def missed(tx: Tx, row: Version) -> str | None:
    """What was taken down since a version was asked for, so that it may not be published; None where nothing was."""
    sets = _sets(tx, row)
    organisation = row.organisation
    now = asdict(excluded(tx, organisation, sets) if sets else orders.of_run(rows.excluded(tx, organisation, builds=True), organisation))
    then = asdict(row.without)
    missing = sorted(name for kind, names in now.items() for name in names if name not in then[kind])
    return ", ".join(missing) or None


def takedowns(house: House, actor: Actor, limit: int = 50) -> list[Takedown]:
    """Of organisations whose corpora the actor reads, newest first."""
    condition, parameters = house.access.visible(actor, "corpus.read", "t.organisation")
    return house.db.read(lambda tx: rows.takedowns(tx, condition, parameters, max(1, min(limit, PAGE))))


def takedown_shown(house: House, actor: Actor, identity: str) -> TakedownShown:
    """A takedown and what it reached, as it is now. Raises TakedownNotFound."""

    def read(tx: Tx) -> TakedownShown:
        known = rows.takedown(tx, identity)
        if known is None or not house.access.allowed(tx, actor, "corpus.read", known.organisation):
            raise TakedownNotFound(name=identity[:200])
        return TakedownShown(known, reach(house, tx, actor, rows.reached(tx, identity)))

    return house.db.read(read)
