"""Bytes on their way in and out: LFS batches, signed links, and the proof that a committer has what is committed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.store import Held, collecting
from lilong.floors.hub.store import imports as mirrored
from lilong.ground import intake
from lilong.ground.access import Actor
from lilong.ground.blobs import Blob, hexadecimal
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import keys, pulls, quotas, reading

PART = 64 << 20  # bytes of a part at least
PARTS_FROM = 128 << 20  # bytes; larger objects come in parts where the client can send them
_MOST_PARTS = 1000
_LIVES = 6 * 3600  # seconds that a link can be used: a large file over a slow line


class LinkNotUsable(Forbidden):
    """This link has expired or was changed on its way. Ask for a new one."""


class NotTheBytes(BadInput):
    """What was sent is not what was announced: {problem}. Send the file again."""

    status = 400


class BytesNotKnown(BadInput):
    """The large file {digest} was not uploaded by {actor}, and no repository that they may read holds it. Upload it before the commit."""

    status = 400


@dataclass(frozen=True, slots=True)
class Link:
    """A capability in a URL: this user may put these bytes, or a part of them, or get them, until then. Needs no other sign-in."""

    verb: str  # put | get | part | complete | verify
    digest: str
    size: int  # bytes, of the whole object
    user: str
    expires: int  # seconds since 1970
    part: int = 0  # from 1 on, of an object that comes in parts
    chunk: int = 0  # bytes of each part but the last; 0: it comes as a whole

    def signature(self, house: House) -> str:
        return keys.signature(house, "links", self.verb, self.digest, self.size, self.user, self.expires, self.part, self.chunk)


def link(house: House, verb: str, digest: str, size: int, actor: Actor) -> tuple[Link, str]:
    """A link and its signature."""
    made = Link(verb, digest, size, actor.user, int(house.clock.now().timestamp()) + _LIVES)
    return made, made.signature(house)


def signed(house: House, link: Link, verb: str, part: int = 0) -> tuple[Link, str]:
    """Another link for the same object and the same time."""
    made = replace(link, verb=verb, part=part)
    return made, made.signature(house)


def check_link(house: House, link: Link, signature: str) -> None:
    """Raises LinkNotUsable."""
    fresh = link.expires > house.clock.now().timestamp()
    if not (keys.equal(link.signature(house), signature) and fresh):
        raise LinkNotUsable()


@dataclass(frozen=True, slots=True)
class Wish:
    """One object of a batch, and what there is to be done about it."""

    digest: str
    size: int
    link: tuple[Link, str] | None = None  # none: nothing to do, or `problem`
    problem: str = ""
    status: int = 0
    away: bool = False  # a file of a mirror, which comes from its source first


def batch(
    house: House, actor: Actor, kind: Kind, name: str, operation: str, objects: Collection[tuple[str, int]], *, parts: bool = False
) -> list[Wish]:
    """For each (digest, bytes): a link to put it (none where the actor needs not), or one to get it. `parts`: the client can send parts.

    Whether bytes are in the house is told only to those who uploaded them or may read them.
    Raises RepositoryNotFound, Forbidden, GatedRepository, QuotaExceeded.
    """
    if operation == "download":
        return _downloads(house, actor, kind, name, objects)
    seen = house.access.visible(actor, "hub.read", "r.organisation", "r.name")

    def read(tx: Tx) -> tuple[Held, set[str]]:
        return opened_for_upload(house, tx, actor, kind, name), store.known_to(tx, actor, (digest for digest, _ in objects), seen)

    held, told = house.db.read(read)
    known = {digest for digest in told if house.blobs.has(digest)}
    limit = house.settings.max_file_mib << 20
    wishes = []
    for digest, size in objects:
        if digest in known and house.blobs.size(digest) == size:
            wishes.append(Wish(digest, size))
        elif size > limit:
            wishes.append(Wish(digest, size, problem=f"The file has {size} bytes; the limit is {limit}.", status=413))
        else:
            wishes.append(Wish(digest, size, link(house, "put", digest, size, actor)))
    more = {wish.digest: wish.size for wish in wishes if wish.link is not None}
    if more:
        house.db.read(lambda tx: quotas.check(house, tx, held.organisation, sum(more.values())))
    if parts and any(size > PARTS_FROM for size in more.values()):
        return [_in_parts(house, wish) for wish in wishes]
    return wishes


def opened_for_upload(house: House, tx: Tx, actor: Actor, kind: Kind, name: str) -> Held:
    """Whoever may write, and whoever may open a pull request: it needs bytes too. Raises RepositoryNotFound, Forbidden, GatedRepository."""
    held = reading.opened(house, tx, actor, kind, name)
    if house.access.allowed(tx, actor, "hub.write", held.organisation, held.short):
        return held
    return pulls.opened_to_discuss(house, tx, actor, kind, name)


def _in_parts(house: House, wish: Wish) -> Wish:
    """The same wish for a client that sends parts; once it does, it sends all objects of the batch that way."""
    if wish.link is None:
        return wish
    asked = replace(wish.link[0], chunk=max(PART, -(-wish.size // _MOST_PARTS)))
    return replace(wish, link=signed(house, asked, "complete"))


def _downloads(house: House, actor: Actor, kind: Kind, name: str, objects: Collection[tuple[str, int]]) -> list[Wish]:
    def read(tx: Tx) -> tuple[set[str], set[str]]:
        held = reading.opened(house, tx, actor, kind, name)
        reading.readable(house, tx, actor, held)
        away = {digest for digest, _ in objects if mirrored.away_file(tx, held.id, digest) is not None}
        return {digest for digest, _ in objects if store.in_repository(tx, held, digest)}, away

    wishes = []
    known, away = house.db.read(read)
    for digest, size in objects:
        if digest in away:
            wishes.append(Wish(digest, size, away=True))
        elif digest in known and house.blobs.has(digest):
            wishes.append(Wish(digest, size, link(house, "get", digest, house.blobs.size(digest), actor)))
        else:
            wishes.append(Wish(digest, size, problem="There is no such object in this repository.", status=404))
    return wishes


def receive(house: House, link: Link, chunks: Iterable[bytes]) -> None:
    """Keep an upload; durable when this returns. Raises NotTheBytes with nothing kept under the announced name."""

    def counted() -> Iterator[bytes]:
        taken = 0
        for chunk in chunks:
            taken += len(chunk)
            if taken > link.size:
                raise NotTheBytes(problem=f"more than {link.size} bytes came")
            yield chunk
        if taken != link.size:
            raise NotTheBytes(problem=f"{taken} of {link.size} bytes came")

    intake.check_size("The file", link.size, house.settings.max_file_mib << 20)
    blob = house.blobs.put(counted())
    if blob.digest != link.digest:
        house.db.write(lambda tx: collecting.came(tx, blob, stamp(house.clock.now())))  # nobody refers to it: it is collected
        raise NotTheBytes(problem=f"its SHA-256 is {hexadecimal(blob.digest)}")
    possess(house, link, blob)


def possess(house: House, link: Link, blob: Blob) -> None:
    """Remember that the user of this link has had the bytes. `blob`: what the house said when it was given them."""

    def write(tx: Tx) -> None:
        now = stamp(house.clock.now())
        store.add_upload(tx, Actor(link.user), link.digest, link.size, now)
        collecting.came(tx, blob, now)

    house.db.write(write)


def sizes_of(house: House, actor: Actor, digests: Collection[str]) -> dict[str, int]:
    """Bytes of large files that the actor wants to commit by their digests. Raises BytesNotKnown where possession is not proven."""
    seen = house.access.visible(actor, "hub.read", "r.organisation", "r.name")
    known = house.db.read(lambda tx: store.known_to(tx, actor, digests, seen))
    sizes: dict[str, int] = {}
    for digest in digests:
        try:
            if digest in known:
                sizes[digest] = house.blobs.size(digest)
                continue
        except NotFound:
            pass
        raise BytesNotKnown(digest=digest, actor=actor.user or "this caller")
    return sizes
