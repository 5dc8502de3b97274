"""Buckets: files by path, without history, that come and go through Xet only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lilong.floors.hub import store as hub_store
from lilong.floors.hub.contract import BucketChanged, Kind, RepositoryNotFound
from lilong.floors.hub.store import buckets as store
from lilong.floors.hub.store.buckets import Bucket, BucketFile, BucketFolder, Known
from lilong.ground import intake
from lilong.ground.access import Actor
from lilong.ground.blobs import digest_of
from lilong.ground.db import Tx
from lilong.ground.errors import Conflict, LilongError, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import audience, namespaces, quotas, reading, repositories, xet_tokens
from .xet_tokens import Grant, Verb

EMPTY = "0" * 64  # what Xet clients call a file without content, which no shard names


class BucketNotFound(RepositoryNotFound):
    """There is no bucket '{name}' that you may see."""


class BucketExists(Conflict):
    """There is a bucket '{name}' already."""


class BucketFileNotFound(NotFound):
    """The bucket {bucket} has no file '{path}'."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of a batch. `source`: of a copy, (model | dataset | bucket, name)."""

    verb: Literal["add", "copy", "delete"]
    path: str
    xet_hash: str = ""
    mtime: str = ""
    content_type: str = ""
    source: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Outcome:
    processed: int
    failed: tuple[tuple[str, str], ...]  # (path, why)


def opened(house: House, tx: Tx, actor: Actor, name: str, permission: str | None = None) -> Bucket:
    """Like repositories: private, foreign and missing are one and the same. Raises BucketNotFound, Forbidden."""
    found = store.bucket(tx, name)
    if found is None:
        raise BucketNotFound(name=name[:200])
    if permission is not None and house.access.allowed(tx, actor, permission, found.organisation, found.short):
        return found
    if found.private and not house.access.allowed(tx, actor, "hub.read", found.organisation, found.short):
        raise BucketNotFound(name=name[:200])
    if permission is not None:
        house.access.require(tx, actor, permission, found.organisation, name=found.short)
    return found


def named(house: House, actor: Actor, namespace: str, short: str = "") -> str:
    """`me` is the namespace of whoever asks."""
    organisation = actor.user if namespace == "me" and actor.user else namespace
    return f"{organisation}/{short}" if short else organisation


def create(house: House, actor: Actor, name: str, private: bool | None) -> Bucket:
    """`private` None: as the organisation wants it. Raises BucketExists, Forbidden, NotFound, BadInput."""
    organisation, _, short = name.partition("/")
    repositories.check_name(name)
    namespaces.ready(house, actor, name)

    def write(tx: Tx) -> Bucket:
        missing = NotFound(kind="organisation", name=organisation)
        house.access.require(tx, actor, "hub.write", organisation, hidden=missing, name=short)
        house.access.organisation(tx, organisation)
        taken = store.same_but_for_case(tx, name)
        if taken is not None:
            raise BucketExists(name=taken)
        hidden = namespaces.private_by_default(tx, organisation) if private is None else private
        made = Bucket(house.ids.new("bucket"), organisation, short, hidden, 0, 0, actor.user, stamp(house.clock.now()))
        store.add(tx, made)
        house.events.append(tx, actor, BucketChanged(name, organisation, "created", hidden))
        return made

    return house.db.write(write)


def show(house: House, actor: Actor, name: str) -> Bucket:
    """Raises BucketNotFound."""
    return house.db.read(lambda tx: opened(house, tx, actor, name))


def listed(house: House, actor: Actor, organisation: str, search: str, after: str, limit: int) -> list[Bucket]:
    seen = house.access.visible(actor, "hub.read", "b.organisation", "b.name")
    return house.db.read(lambda tx: store.listed(tx, organisation, seen, search, after, limit))


def _managed(house: House, tx: Tx, actor: Actor, name: str) -> Bucket:
    """For who made it, and for who manages the organisation's. Raises BucketNotFound, Forbidden."""
    found = opened(house, tx, actor, name, "hub.write")
    if found.created_by != actor.user:
        house.access.require(tx, actor, "hub.manage", found.organisation, name=found.short)
    return found


def delete(house: House, actor: Actor, name: str) -> None:
    """Raises BucketNotFound, Forbidden."""

    def write(tx: Tx) -> None:
        found = _managed(house, tx, actor, name)
        store.delete(tx, found)
        house.events.append(tx, actor, BucketChanged(found.name, found.organisation, "deleted", found.private))

    house.db.write(write)


def set_private(house: House, actor: Actor, name: str, private: bool) -> None:
    """Raises BucketNotFound, Forbidden, MayNotStandHere."""

    def write(tx: Tx) -> None:
        found = _managed(house, tx, actor, name)
        if found.private and not private:
            audience.check(house, tx, found.name, store.digests(tx, found))
        if found.private != private:
            store.set_private(tx, found, private)
            house.events.append(tx, actor, BucketChanged(found.name, found.organisation, "settings", private))

    house.db.write(write)


def move(house: House, actor: Actor, old: str, new: str) -> str:
    """The old name leads to the bucket until another takes it. Raises BucketNotFound, BucketExists, Forbidden, QuotaExceeded."""
    repositories.check_name(new)

    def write(tx: Tx) -> str:
        found = _managed(house, tx, actor, old)
        organisation, _, short = new.partition("/")
        house.access.require(tx, actor, "hub.write", organisation, name=short)
        house.access.organisation(tx, organisation)
        taken = store.same_but_for_case(tx, new)
        if taken is not None and taken != found.name:
            raise BucketExists(name=taken)
        if new != found.name:
            if organisation != found.organisation:
                quotas.check(house, tx, organisation, found.bytes)
            store.move(tx, found, new)
            house.events.append(tx, actor, BucketChanged(new, organisation, "moved", found.private))
        return new

    return house.db.write(write)


# --- files --------------------------------------------------------------------------------------------------------------


def tree(
    house: House, actor: Actor, name: str, prefix: str, *, recursive: bool, after: str, limit: int
) -> tuple[list[BucketFile | BucketFolder], str]:
    """One page below a folder (or the file itself), and the mark after which the next one begins. Raises BucketNotFound."""

    def read(tx: Tx) -> tuple[list[BucketFile | BucketFolder], str]:
        bucket = opened(house, tx, actor, name)
        found: list[BucketFile | BucketFolder] = []
        if prefix and not after and (itself := store.file(tx, bucket, prefix)) is not None:
            found.append(itself)
        if recursive:
            found += store.below(tx, bucket, prefix, after, limit + 1)
        else:
            found += store.right_in(tx, bucket, prefix, after, limit + 1)
        if len(found) <= limit:
            return found, ""
        last = found[limit - 1]
        return found[:limit], last.path if isinstance(last, BucketFile) else store.end_of(last.path)

    return house.db.read(read)


def files(house: House, actor: Actor, name: str, paths: Sequence[str]) -> list[BucketFile]:
    """Those of the paths that are files, in the order in which they were asked for. Raises BucketNotFound."""

    def read(tx: Tx) -> list[BucketFile]:
        found = store.files(tx, opened(house, tx, actor, name), paths)
        return [found[path] for path in paths if path in found]

    return house.db.read(read)


def file(house: House, actor: Actor, name: str, path: str) -> tuple[Bucket, BucketFile]:
    """Raises BucketNotFound, BucketFileNotFound."""

    def read(tx: Tx) -> tuple[Bucket, BucketFile]:
        bucket = opened(house, tx, actor, name)
        found = store.file(tx, bucket, path)
        if found is None:
            raise BucketFileNotFound(bucket=bucket.name, path=path[:300])
        return bucket, found

    return house.db.read(read)


def grant(house: House, actor: Actor, name: str, verb: Verb) -> Grant:
    """A token for the CAS, bound to this bucket. Raises BucketNotFound, Forbidden, QuotaExceeded."""

    def read(tx: Tx) -> str:
        bucket = opened(house, tx, actor, name, "hub.write" if verb == "write" else None)
        if verb == "write":
            quotas.check(house, tx, bucket.organisation, 1)
        return bucket.id

    return xet_tokens.granted(house, actor, "bucket", house.db.read(read), verb)


def batch(house: House, actor: Actor, name: str, operations: Sequence[Operation]) -> Outcome:
    """Carry out what can be carried out, in order and in one transaction; each of the others fails for itself.

    Raises BucketNotFound, Forbidden, and with nothing done QuotaExceeded, MayNotStandHere.
    """
    if any(one.xet_hash == EMPTY for one in operations):
        house.blobs.put(b"")
    seen = house.access.visible(actor, "hub.read", "r.organisation", "r.name")

    def write(tx: Tx) -> Outcome:
        bucket = opened(house, tx, actor, name, "hub.write")
        known = store.of_hashes(tx, {one.xet_hash for one in operations if one.xet_hash})
        known[EMPTY] = Known(EMPTY, digest_of(b""), 0)
        present = store.files(tx, bucket, [one.path for one in operations])
        failed: list[tuple[str, str]] = []
        now = stamp(house.clock.now())
        added = size = 0
        named: dict[str, str] = {}  # digest -> path
        for one in operations:
            before = present.get(one.path)
            try:
                if one.verb == "delete":
                    after = None
                    store.remove(tx, bucket, one.path)
                else:
                    after = _placed(house, tx, actor, bucket, one, known, seen, now)
                    store.put(tx, bucket, after)
            except LilongError as refused:
                failed.append((one.path[:1024], str(refused)))
                continue
            added += (after is not None) - (before is not None)
            size += (after.size if after is not None else 0) - (before.size if before is not None else 0)
            if after is not None:
                present[one.path] = after
                named[after.digest] = after.path
            else:
                present.pop(one.path, None)
        if not bucket.private:
            audience.check(house, tx, bucket.name, named)
        store.count(tx, bucket, added, size)
        if size > 0:
            quotas.check(house, tx, bucket.organisation, 0)  # counted already
        return Outcome(len(operations), tuple(failed))

    return house.db.write(write)


class XetFileNotYours(NotFound):
    """No Xet file {hash} was uploaded by you, and none that you may read has this hash. Upload the file first."""


class PathTaken(Conflict):
    """The path '{path}' would be a file and a folder at once."""


def _placed(
    house: House,
    tx: Tx,
    actor: Actor,
    bucket: Bucket,
    one: Operation,
    known: dict[str, Known],
    seen: tuple[str, dict[str, object]],
    now: str,
) -> BucketFile:
    """The file that an operation puts down. Raises BadInput for its path, XetFileNotYours, PathTaken."""
    intake.path(one.path)
    found = known.get(one.xet_hash)
    if found is None or not (found.hash == EMPTY or _may_have(house, tx, actor, one, found, seen)):
        raise XetFileNotYours(hash=one.xet_hash[:64])
    parts = one.path.split("/")
    if store.below(tx, bucket, one.path, "", 1) or store.files(tx, bucket, ["/".join(parts[:n]) for n in range(1, len(parts))]):
        raise PathTaken(path=one.path)
    return BucketFile(one.path, found.hash, found.digest, found.size, one.mtime, one.content_type, now)


def _may_have(house: House, tx: Tx, actor: Actor, one: Operation, found: Known, seen: tuple[str, dict[str, object]]) -> bool:
    """A copy is from a place that the actor may read and that holds the file; anything else needs proof of possession."""
    if one.verb == "add":
        return store.proven(tx, actor, found, seen)
    kind, name = one.source
    try:
        if kind == "bucket":
            return store.holds(tx, opened(house, tx, actor, name), found.hash)
        held = reading.opened(house, tx, actor, Kind(kind), name)
        reading.readable(house, tx, actor, held)
        return hub_store.in_repository(tx, held, found.digest)
    except (LilongError, ValueError):
        return False
