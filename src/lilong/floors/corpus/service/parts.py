"""What several verbs need: who may see a version, and what its repository is open to."""

from __future__ import annotations

from typing import Any

from lilong.floors.compute.contract import PYTHON
from lilong.floors.corpus import store
from lilong.floors.corpus.contract import (
    RepositoryClosed,
    SourceSet,
    SourceSetNotFound,
    State,
    Terms,
    TermsTooClosed,
    Version,
    VersionNotFound,
)
from lilong.floors.corpus.store import alliance as rows
from lilong.floors.hub.contract import GatedRepository, Hub, Kind
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.house import House

PROGRAM = (PYTHON, "-m", "lilong.floors.corpus.work")
PAGE = 200


def found_set(house: House, tx: Tx, actor: Actor, identity: str) -> SourceSet:
    """A source set that the actor may see: of an organisation of theirs, or one that is open to it. Raises SourceSetNotFound."""
    row = store.source_set(tx, identity)
    if row is None or not _sees(house, tx, actor, row.organisation, row.terms):
        raise SourceSetNotFound(name=identity[:200])
    return row


def found_version(house: House, tx: Tx, actor: Actor, name: str) -> Version:
    """Raises VersionNotFound."""
    row = store.version(tx, name)
    if row is None or not sees_version(house, tx, actor, row):
        raise VersionNotFound(name=name[:200])
    return row


def sets_of(tx: Tx, row: Version) -> list[SourceSet]:
    """The source sets that a version was made of."""
    return [one for one in (store.source_set(tx, each) for each in row.sources) if one is not None]


def sees_version(house: House, tx: Tx, actor: Actor, row: Version) -> bool:
    """Whoever reads its organisation's corpora; by its terms, the alliance; where it is public, whoever may read the repository."""
    if row.terms is not Terms.PUBLIC:
        return _sees(house, tx, actor, row.organisation, row.terms)
    return house.access.allowed(tx, actor, "corpus.read", row.organisation) or reads_repository(house, tx, actor, row.repository)


def has_texts(house: House, tx: Tx, actor: Actor, row: Version) -> bool:
    """Whether the actor may have the texts of a version that they see: in a gated repository not all may."""
    return house.access.allowed(tx, actor, "corpus.read", row.organisation) or reads_repository(
        house, tx, actor, row.repository, to_read=True
    )


def _sees(house: House, tx: Tx, actor: Actor, organisation: str, terms: Terms) -> bool:
    if house.access.allowed(tx, actor, "corpus.read", organisation):
        return True
    if terms is Terms.ALLIANCE:
        return any(house.access.allowed(tx, actor, "corpus.read", each) for each in rows.members(tx))
    return terms is Terms.PUBLIC and house.access.anywhere(tx, actor, "corpus.read")


def reads_repository(house: House, tx: Tx, actor: Actor, repository: str, *, to_read: bool = False) -> bool:
    try:
        house.port(Hub).revision(tx, actor, Kind.DATASET, repository, to_read=to_read)  # type: ignore[type-abstract]
    except (NotFound, GatedRepository):
        return False
    return True


def stands(house: House, tx: Tx, row: Version) -> bool:
    """Whether a version's revision is still in its repository: not where that was deleted, be there another one of its name, or rewritten."""
    try:
        house.port(Hub).revision(tx, SYSTEM, Kind.DATASET, row.repository, row.commit or "", to_read=False)  # type: ignore[type-abstract]
    except NotFound:
        return False
    return True


def visible(house: House, actor: Actor, table: str) -> tuple[str, dict[str, Any]]:
    """The condition in SQL for rows of `table` that the actor may see by their organisation and terms. Those that are public are all let
    through."""
    own, parameters = house.access.visible(actor, "corpus.read", f"{table}.organisation")
    shared, _ = house.access.visible(actor, "corpus.read", "member.organisation")  # with the same parameters
    alliance = f"EXISTS (SELECT 1 FROM corpus_members member WHERE member.state = 'member' AND {shared})"
    return f"({own} OR ({table}.terms = 'alliance' AND {alliance}) OR {table}.terms = 'public')", parameters


def check_audience(house: House, tx: Tx, repository: str, terms: Terms, source: str) -> None:
    """That a repository is open to nobody to whom these terms are closed, nor closed to those for whom they are. Raises TermsTooClosed,
    RepositoryClosed."""
    hub = house.port(Hub)  # type: ignore[type-abstract]
    try:
        private = hub.revision(tx, SYSTEM, Kind.DATASET, repository, to_read=False).repository.private
    except LilongError:  # there is no such repository, or nothing in it
        private = True
    if not private and terms is not Terms.PUBLIC:
        raise TermsTooClosed(repository=repository, audience="everybody", terms=terms.value, source=source)
    beside = {one.terms for one in store.versions_in(tx, repository) if one.state is State.DONE}
    if terms is Terms.PRIVATE and beside and Terms.PRIVATE not in beside and Terms.ALLIANCE in beside:
        raise TermsTooClosed(repository=repository, audience="the members of the alliance", terms=terms.value, source=source)
    if terms is Terms.ALLIANCE and Terms.PRIVATE in beside:
        raise RepositoryClosed(repository=repository)
