"""Bytes on their way in and out: LFS batches, signed links, and the proof that a committer has what is committed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind
from lilong.ground import intake
from lilong.ground.access import Actor
from lilong.ground.blobs import hexadecimal, write_durably
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

from .reading import opened

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
    """A capability in a URL: this user may put, or get, these bytes until then. Needs no other sign-in."""

    verb: str  # put | get
    digest: str
    size: int  # bytes
    user: str
    expires: int  # seconds since 1970

    def signature(self, key: bytes) -> str:
        text = "\n".join((self.verb, self.digest, str(self.size), self.user, str(self.expires)))
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def make_key(house: House) -> None:
    """The secret behind the links, made on first use and kept beside the house's other keys."""
    path = _key_file(house)
    if not path.exists():
        write_durably(path, house.ids.secret().encode(), 0o600)


def _key_file(house: House) -> Path:
    return house.settings.keys / "hub-links.key"


@lru_cache(maxsize=16)
def _key(path: Path) -> bytes:
    return path.read_bytes()


def link(house: House, verb: str, digest: str, size: int, actor: Actor) -> tuple[Link, str]:
    """A link and its signature."""
    made = Link(verb, digest, size, actor.user, int(house.clock.now().timestamp()) + _LIVES)
    return made, made.signature(_key(_key_file(house)))


def check_link(house: House, link: Link, signature: str) -> None:
    """Raises LinkNotUsable."""
    fresh = link.expires > house.clock.now().timestamp()
    if not (hmac.compare_digest(link.signature(_key(_key_file(house))), signature) and fresh):
        raise LinkNotUsable()


@dataclass(frozen=True, slots=True)
class Wish:
    """One object of a batch, and what there is to be done about it."""

    digest: str
    size: int
    link: tuple[Link, str] | None = None  # none: nothing to do, or `problem`
    problem: str = ""
    status: int = 0


def batch(house: House, actor: Actor, kind: Kind, name: str, operation: str, objects: Collection[tuple[str, int]]) -> list[Wish]:
    """For each (digest, bytes): a link to put it (none where the actor needs not), or one to get it.

    Whether bytes are in the house is told only to those who uploaded them or may read them. Raises RepositoryNotFound, Forbidden.
    """
    seen = house.access.visible(actor, "hub.read", "r.organisation")

    def read(tx: Tx) -> set[str]:
        held = opened(house, tx, actor, kind, name, "hub.write" if operation == "upload" else None)
        if operation == "upload":
            return store.known_to(tx, actor, (digest for digest, _ in objects), seen)
        return {digest for digest, _ in objects if store.in_repository(tx, held, digest)}

    known = {digest for digest in house.db.read(read) if house.blobs.has(digest)}
    limit = house.settings.max_file_mib << 20
    wishes = []
    for digest, size in objects:
        if operation == "download":
            got = (Wish(digest, size, link(house, "get", digest, house.blobs.size(digest), actor)) if digest in known
                   else Wish(digest, size, problem="There is no such object in this repository.", status=404))  # fmt: skip
        elif digest in known and house.blobs.size(digest) == size:
            got = Wish(digest, size)
        elif size > limit:
            got = Wish(digest, size, problem=f"The file has {size} bytes; the limit is {limit}.", status=413)
        else:
            got = Wish(digest, size, link(house, "put", digest, size, actor))
        wishes.append(got)
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
        raise NotTheBytes(problem=f"its SHA-256 is {hexadecimal(blob.digest)}")
    house.db.write(lambda tx: store.add_upload(tx, Actor(link.user), blob.digest, blob.size, stamp(house.clock.now())))


def sizes_of(house: House, actor: Actor, digests: Collection[str]) -> dict[str, int]:
    """Bytes of large files that the actor wants to commit by their digests. Raises BytesNotKnown where possession is not proven."""
    seen = house.access.visible(actor, "hub.read", "r.organisation")
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
