"""Who gets a token for the Xet CAS: whoever may have the files of a repository, or may send some for it."""

from __future__ import annotations

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.house import House

from . import pulls, quotas, xet_tokens
from .reading import opened, readable
from .xet_tokens import Grant


def to_read(house: House, actor: Actor, kind: Kind, name: str, word: str) -> Grant:
    """Raises RepositoryNotFound, RevisionNotFound, GatedRepository."""

    def read(tx: Tx) -> str:
        held = opened(house, tx, actor, kind, name)
        store.at(tx, held, word)
        readable(house, tx, actor, held)
        return held.id

    return xet_tokens.granted(house, actor, kind.value, house.db.read(read), "read")


def to_write(house: House, actor: Actor, kind: Kind, name: str, word: str | None) -> Grant:
    """`word`: a branch, a commit or a pull request's ref; None for a pull request that is to be made.

    A token lets its bearer send bytes; what may be committed where is asked again by the commit. Raises RepositoryNotFound,
    RevisionNotFound, GatedRepository, PullRequestClosed, Forbidden, QuotaExceeded.
    """

    def read(tx: Tx) -> str:
        if word is None:
            held = pulls.opened_to_discuss(house, tx, actor, kind, name)
        else:
            held = pulls.opened_for_commit(house, tx, actor, kind, name, word)
            store.at(tx, held, word)
        quotas.check(house, tx, held.organisation, 1)
        return held.id

    return xet_tokens.granted(house, actor, kind.value, house.db.read(read), "write")
