"""Who may talk in a repository, and who may commit to what: branches by the role, the ref of a pull request also by its author."""

from __future__ import annotations

from lilong.floors.hub.contract import Kind, RevisionNotFound
from lilong.floors.hub.rules import names
from lilong.floors.hub.store import Held, community
from lilong.ground.access import Actor, TokenTooNarrow
from lilong.ground.db import Tx
from lilong.ground.errors import Conflict, Unauthenticated
from lilong.ground.house import House

from . import reading


class PullRequestClosed(Conflict):
    """The pull request #{number} of {repository} is {status}: it takes no more commits. Open a new one."""


def opened_to_discuss(house: House, tx: Tx, actor: Actor, kind: Kind, name: str) -> Held:
    """A repository in which the actor may speak: one that they may read, for members, and a public one for everybody with an account.

    Raises RepositoryNotFound, GatedRepository, Forbidden.
    """
    held = reading.opened(house, tx, actor, kind, name)
    check_speaks(house, tx, actor, held)
    reading.readable(house, tx, actor, held)
    return held


def check_speaks(house: House, tx: Tx, actor: Actor, held: Held) -> None:
    """Raises Unauthenticated, Forbidden."""
    if not actor.user:
        raise Unauthenticated()
    if held.repository.private:
        house.access.require(tx, actor, "hub.discuss", held.organisation, name=held.short)
    elif not actor.covers("hub.discuss", held.organisation, held.short):
        raise TokenTooNarrow(permission="hub.discuss")


def opened_for_commit(house: House, tx: Tx, actor: Actor, kind: Kind, name: str, ref: str) -> Held:
    """Raises RepositoryNotFound, GatedRepository, Forbidden; for a pull request's ref also RevisionNotFound, PullRequestClosed."""
    if not names.is_pull(ref):
        return reading.opened(house, tx, actor, kind, name, "hub.write")
    held = reading.opened(house, tx, actor, kind, name)
    if not may_commit(house, tx, actor, held, ref):
        house.access.require(tx, actor, "hub.write", held.organisation, name=held.short)
    return held


def may_commit(house: House, tx: Tx, actor: Actor, held: Held, ref: str) -> bool:
    """To a pull request's ref: who may write in the repository, and its author. Raises RevisionNotFound, PullRequestClosed."""
    number = community.number_of(ref)
    found = community.discussion(tx, held, number) if number is not None else None
    if found is None or not found.pull_request:
        raise RevisionNotFound(repository=held.name, name=ref[:100])
    if house.access.allowed(tx, actor, "hub.write", held.organisation, held.short):
        allowed = True
    elif found.author != actor.user:
        allowed = False
    else:
        check_speaks(house, tx, actor, held)
        reading.readable(house, tx, actor, held)
        allowed = True
    if allowed and not found.live:
        raise PullRequestClosed(number=found.number, repository=held.name, status=found.status)
    return allowed
