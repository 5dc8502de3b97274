"""Pictures, films and sounds for comments. Whoever knows the address of one may fetch it, and nobody can guess it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import chain

from lilong.floors.hub.rules import attachments
from lilong.floors.hub.store import community
from lilong.floors.hub.store.community import Attachment
from lilong.ground.access import Actor, TokenTooNarrow
from lilong.ground.db import Tx
from lilong.ground.errors import Forbidden, NotFound, Unauthenticated
from lilong.ground.house import House
from lilong.ground.seams import stamp

_A_DAY = 500 << 20  # bytes of one user


class TooManyAttachments(Forbidden):
    """{user} has attached {size} bytes within a day; the limit is {limit}. Try again tomorrow."""


def receive(house: House, actor: Actor, media_type: str, chunks: Iterable[bytes]) -> str:
    """Keep a file; the name by which it is fetched. Raises Unauthenticated, Forbidden, NotAttachable, TooManyAttachments, TooLarge."""
    suffix = attachments.suffix(media_type)
    _check(house, actor, 0)
    pieces = iter(chunks)
    start = next(pieces, b"")
    attachments.check_start(suffix, start)
    blob = house.blobs.put(chain([start], pieces))
    made = Attachment(house.ids.secret(192), blob.digest, blob.size, attachments.media_type_of(suffix))

    def write(tx: Tx) -> None:
        _within_limit(house, tx, actor, blob.size)
        community.add_attachment(tx, made, actor.user, stamp(house.clock.now()))

    house.db.write(write)
    return made.id + suffix


def _check(house: House, actor: Actor, more: int) -> None:
    if not actor.user:
        raise Unauthenticated()
    if not actor.reaches("hub.discuss"):
        raise TokenTooNarrow(permission="hub.discuss")
    house.db.read(lambda tx: _within_limit(house, tx, actor, more))


def _within_limit(house: House, tx: Tx, actor: Actor, more: int) -> None:
    since = stamp(house.clock.now() - timedelta(days=1))
    size = community.attached_since(tx, actor.user, since) + more
    if size > _A_DAY:
        raise TooManyAttachments(user=actor.user, size=size, limit=_A_DAY)


def attachment(house: House, name: str) -> Attachment:
    """By the name that `receive` gave. Raises NotFound."""
    found = house.db.read(lambda tx: community.attachment(tx, name.rpartition(".")[0]))
    if found is None or not name.endswith(attachments.suffix(found.media_type)):
        raise NotFound(kind="attachment", name=name[:100])
    return found
