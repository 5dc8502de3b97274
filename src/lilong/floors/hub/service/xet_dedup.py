"""Which of what a client has is here already: told only of xorbs that the caller has sent or may read, and only to who has the chunk."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import timedelta

from lilong.floors.hub.store import xet
from lilong.floors.hub.store.xet import Xorb
from lilong.floors.hub.xet import hashes, shards
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

from . import keys
from .xet_tokens import Grant
from .xet_upload import hash_of

_PERIOD = 7 * 24 * 3600  # seconds that one key is given out; it can be used for up to two of them, less than garbage is let lie
_FRESH = timedelta(days=1)  # a xorb that was touched so lately need not be touched again
_CANDIDATES = 16  # xorbs with the chunk that are looked at
_FILES = 4  # files whose other xorbs come along
_XORBS = 48  # xorbs in one answer, about 2 MiB of hashes


class ChunkNotKnown(NotFound):
    """No xorb that you have sent or may read has the chunk {name}."""


def shard(house: House, grant: Grant, word: str) -> bytes:
    """A shard with the xorb that holds a chunk, and with those around it in files: who has the chunk will have theirs as well.

    Hashes of chunks are keyed, by a key of this user that ends: what the caller does not have, the answer does not tell.
    Raises NoXetHash, ChunkNotKnown.
    """
    hash_of(word)
    now = house.clock.now()
    seen = house.access.visible(grant.actor, "hub.read", "r.organisation", "r.name")

    def read(tx: Tx) -> list[Xorb]:
        having = xet.with_chunk(tx, word, _CANDIDATES)
        allowed = xet.usable(tx, grant.actor, having, seen)
        mine = next((xorb for xorb in having if xorb in allowed), None)
        if mine is None:
            raise ChunkNotKnown(name=word)
        around = _around(mine, xet.neighbours(tx, mine, _FILES))
        allowed = xet.usable(tx, grant.actor, around, seen)
        found = xet.xorbs(tx, [xorb for xorb in around if xorb in allowed])
        return [xorb for xorb in found.values() if xorb.live]

    told = house.db.read(read)
    old = [xorb.hash for xorb in told if now - parse_stamp(xorb.touched_at) > _FRESH]
    if old:
        house.db.write(lambda tx: xet.touch(tx, old, stamp(now)))
    begun = int(now.timestamp())
    key = hmac.new(keys.key(house, "chunks"), f"{grant.actor.user}\n{begun // _PERIOD}".encode(), hashlib.sha256).digest()
    rows = ((hashes.raw(xorb.hash), xorb.size, xorb.chunks.leaves()) for xorb in told)
    return shards.build(rows, key, begun, (begun // _PERIOD + 2) * _PERIOD)


def _around(xorb: str, files: Iterable[xet.XetFile]) -> list[str]:
    """This xorb, and those nearest to it in the files that have it."""
    found = {xorb: 0}
    for file in files:
        order = list(dict.fromkeys(term.xorb for term in file.terms))
        at = order.index(xorb)
        for distance, other in sorted((abs(i - at), other) for i, other in enumerate(order)):
            found[other] = min(found.get(other, distance), distance)
    return sorted(found, key=lambda other: (found[other], other))[:_XORBS]
