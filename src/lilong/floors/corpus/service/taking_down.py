"""Takedowns: what was found to be bad leaves the corpora, and everything that it reached is named.

One transaction puts the versions that hold it out of use, lets it stay out of every later one, starts the builds without it, and
signs a statement; before that nothing has happened, after it everything has.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import asdict, replace

from lilong.floors.corpus import rules, store
from lilong.floors.corpus.alliance import takedowns as orders
from lilong.floors.corpus.alliance.shapes import (
    AnotherRepository,
    NothingToBuildFrom,
    Reach,
    Takedown,
    TakedownAsk,
    TakedownFinished,
    TakedownNotFound,
    TakedownShown,
    TakenDown,
)
from lilong.floors.corpus.contract import TAKEDOWN, AskedOtherwise, BuildAsk, PublishAsk, State, Version
from lilong.floors.corpus.store import alliance as rows
from lilong.floors.hub.contract import Hub, Kind
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.blobs import digest_of
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.evidence import Artifact
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import holders, publishing
from .building import excluded, requested
from .parts import PAGE, sets_of, stands
from .reaching import reach


def preview(house: House, actor: Actor, ask: TakedownAsk) -> Reach:
    """What a takedown would reach. Nothing is changed. Raises VersionNotFound, SourceSetNotFound, Forbidden, BadInput, NothingToTakeDown."""
    orders.check(ask)
    held = holders.held(house, actor, ask)
    return house.db.read(lambda tx: reach(house, tx, actor, held.leaving | held.others))


def takedown(house: House, actor: Actor, ask: TakedownAsk) -> Takedown:
    """Take something down. The same key answers the same takedown; where building without it has failed, that is tried again.

    Raises VersionNotFound, SourceSetNotFound, Forbidden, BadInput, NothingToTakeDown, AskedOtherwise.
    """
    rules.check_key(ask.key)
    orders.check(ask)
    known = house.db.read(lambda tx: _known(house, tx, actor, ask))
    if known is not None and known.state is not State.FAILED:
        return known
    if known is not None:
        return house.db.write(lambda tx: _again(house, tx, actor, ask))
    held = holders.held(house, actor, ask)
    while True:
        for content in held.orders.values():
            house.blobs.put(content)
        made = house.db.write(lambda tx, held=held: _take(house, tx, actor, ask, held))  # type: ignore[misc]
        if made is not None:
            return made
        held = holders.held(house, actor, ask)  # a version was published meanwhile


def _known(house: House, tx: Tx, actor: Actor, ask: TakedownAsk) -> Takedown | None:
    named = holders.named(house, tx, actor, ask)
    known = rows.takedown_by_key(tx, named.organisation, ask.key)
    if known is not None and known[1] != ask:
        raise AskedOtherwise(key=ask.key)
    return known[0] if known else None


def _take(house: House, tx: Tx, actor: Actor, ask: TakedownAsk, held: holders.Held) -> Takedown | None:
    """None where a version that may hold it was published since the tables were read."""
    known = _known(house, tx, actor, ask)
    if known is not None:
        return known
    named = holders.named(house, tx, actor, ask)
    candidates = holders.candidates(house, tx, actor, named, held.given).rows
    if not {row.id for row in candidates} <= held.seen:
        return None
    identity, now = house.ids.new("takedown"), stamp(house.clock.now())
    leaving = [row for row in candidates if row.id in held.leaving]
    statements = {each: _statement(house, tx, actor, identity, content, [row for row in leaving if row.organisation == each])
                  for each, content in sorted(held.orders.items())}  # fmt: skip
    statement = statements[named.organisation]
    version = named.version
    row = Takedown(
        identity, named.organisation, ask.key, State.REQUESTED, named.id, version.repository if version else "",
        (version.commit or "") if version else "", ask.without, ask.reason, actor.user, now, statement,
    )  # fmt: skip
    # of all for whom the actor takes it down: by these what leaves of others is built without it too
    behalf = holders.behalf(house, tx, actor, held.given)
    builds_only = {row.organisation} - behalf if named.sets else set()
    exclusions = orders.exclusions(ask.without, named.organisation, named.sets)
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
    named = {row.manifest: Artifact(holders.called(row), row.manifest, "corpus") for row in leaving if row.manifest}
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
            own = rules.organisation_of(repository) == row.organisation
            where = repository if own else "A repository of another organisation"  # its name is not told: it may be private
            problems.append(f"{where}: {problem}")
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
    sets = sets_of(tx, row)
    organisation = row.organisation
    now = asdict(excluded(tx, organisation, sets) if sets else orders.of_run(rows.excluded(tx, organisation, builds=True), organisation))
    then = asdict(row.without)
    missing = sorted(name for kind, names in now.items() for name in names if name not in then[kind])
    return ", ".join(missing) or None


def takedowns(house: House, actor: Actor, limit: int = 50) -> list[Takedown]:
    """Of organisations whose corpora the actor reads, and those that put versions of theirs out of use. Newest first."""
    own, parameters = house.access.visible(actor, "corpus.read", "t.organisation")
    reached, _ = house.access.visible(actor, "corpus.read", "gone.organisation")  # with the same parameters
    condition = f"({own} OR EXISTS (SELECT 1 FROM corpus_versions gone WHERE gone.takedown = t.id AND {reached}))"

    def read(tx: Tx) -> list[Takedown]:
        return [_as_told(house, tx, actor, one) for one in rows.takedowns(tx, condition, parameters, max(1, min(limit, PAGE)))]

    return house.db.read(read)


def takedown_shown(house: House, actor: Actor, identity: str) -> TakedownShown:
    """A takedown and what it reached, as it is now. Raises TakedownNotFound."""

    def read(tx: Tx) -> TakedownShown:
        known = rows.takedown(tx, identity)
        owners = {known.organisation, *rows.reached_organisations(tx, identity)} if known else set()
        if known is None or not any(house.access.allowed(tx, actor, "corpus.read", of) for of in owners):
            raise TakedownNotFound(name=identity[:200])
        return TakedownShown(_as_told(house, tx, actor, known), reach(house, tx, actor, rows.reached(tx, identity)))

    return house.db.read(read)


def _as_told(house: House, tx: Tx, actor: Actor, row: Takedown) -> Takedown:
    """To those whose versions it reached, nothing of what the organisation that asked for it has made."""
    if house.access.allowed(tx, actor, "corpus.read", row.organisation):
        return row
    return replace(row, version="", repository="", commit="", next=None, error=None, key="")
