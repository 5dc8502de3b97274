"""Garbage: what nothing refers to any more goes, after weeks in which it may be wanted again.

Clients remember for three weeks which chunks a server has, and build on them without asking. So nothing goes that was sent or named
in an answer within the days of grace, nor what lost its last reference within them. It goes in two steps, hours apart: first nobody
may name it in a commit any more, then it is deleted, rows before bytes. A crash between leaves bytes that no row knows; the next run
finds them. A collected xorb leaves a tombstone, and may be sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from lilong.floors.hub.store import collecting, xet
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, NotFound
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

from . import git_fetch, marking, rebuilding, repacking, xorb_store
from .marking import Marks

log = structlog.get_logger("lilong.hub")

LEAST_GRACE = 21  # days: clients' own lists of what the server has live for so long
_SETTLING = timedelta(hours=6)  # from when nothing may name it to when it goes: a commit that was being made has ended by then
_EVERY = timedelta(hours=20)
_BATCH = 500  # things deleted in one transaction


@dataclass(slots=True)
class Collected:
    """What a run has found and done, by kind."""

    dry_run: bool
    unreferenced: dict[str, int] = field(default_factory=dict)  # those in their days of grace too
    collected: dict[str, int] = field(default_factory=dict)  # in a dry run: what would be
    bytes: int = 0  # freed with them
    repacked: int = 0  # xorbs of which less than 30 % was in use
    orphans: int = 0  # xorbs in the store that no row knows: a crash came between


def start(house: House) -> None:
    """Raises BadInput for fewer days than clients rely on."""
    if house.settings.gc_grace_days < LEAST_GRACE:
        problem = f"{house.settings.gc_grace_days} days are fewer than clients remember what the server has"
        raise BadInput(field="gc_grace_days", problem=problem, way_out=f"Give {LEAST_GRACE} or more.")
    house.chore("hub-garbage", 3600.0, nightly)


def by_hand(house: House, actor: Actor, *, dry_run: bool) -> Collected:
    """Raises Forbidden."""
    house.db.read(lambda tx: house.access.require(tx, actor, "house.manage", None))
    return collect(house, dry_run=dry_run)


def nightly(house: House) -> None:
    """The chore: it is asked for more often than it runs, so that a server that was off at night does it in the morning."""
    last = house.db.read(collecting.last_run)
    now = house.clock.now()
    if not last or not now - _EVERY < parse_stamp(last) <= now:  # later than now: the clock was set back
        done = collect(house)
        log.info("garbage", **{kind: count for kind, count in done.collected.items() if count}, bytes=done.bytes, repacked=done.repacked)


def collect(house: House, *, dry_run: bool = False) -> Collected:
    now = house.clock.now()
    cutoff = now - timedelta(days=house.settings.gc_grace_days)
    marks, unused = house.db.read(_unused)
    since = house.db.read(lambda tx: {kind: collecting.known_garbage(tx, kind) for kind in collecting.KINDS})
    done = Collected(dry_run, {kind: len(ids) for kind, ids in unused.items()})
    young = house.db.read(lambda tx: {kind: collecting.young(tx, kind, stamp(cutoff)) for kind in unused})
    ending = {kind: {i for i in ids - young[kind] if since[kind].get(i, "z") <= stamp(cutoff)} for kind, ids in unused.items()}
    due = {kind: {i for i in ids if since[kind].get(i, "z") <= stamp(cutoff - _SETTLING)} for kind, ids in ending.items()}
    sized = ("xorb", "plain", "inline")
    freed = house.db.read(lambda tx: {kind: collecting.sizes(tx, kind, due[kind]) for kind in sized})
    if dry_run:
        done.collected = {kind: len(ids) for kind, ids in due.items()}
        done.bytes = sum(freed.values())
        done.orphans = len(_orphans(house))
        return done
    for kind, ids in unused.items():
        _note(house, kind, ids, set(since[kind]), stamp(now))
    _condemn(house, marks, ending, stamp(cutoff))
    sweep = _Sweep(house, marks, stamp(cutoff))
    done.collected = {kind: sweep.rows(kind, due[kind]) for kind in ("commit", "content", "tree", "inline", "file", "xorb")}
    for repository in {pair.partition(" ")[0] for pair in due["commit"]}:
        if (git_fetch.root(house) / f"{repository}.git").exists():
            git_fetch.forget(house, repository)  # git would go on to hand out what has gone from the tables
    done.collected["plain"] = sum(_drop_plain(house, digest) for digest in due["plain"])
    done.bytes = sum(freed.values())
    done.orphans = max(sum(_delete_bytes(house, hash) for hash in _orphans(house)) - done.collected["xorb"], 0)
    rebuilding.of(house).tidy()
    done.repacked = repacking.repack(house, stamp(cutoff))
    house.db.write(lambda tx: collecting.ran(tx, stamp(now)))
    return done


def _unused(tx: Tx) -> tuple[Marks, dict[str, set[str]]]:
    """What neither a ref nor a bucket reaches."""
    marks, lost = marking.mark(tx)
    hashes, digests = collecting.in_buckets(tx)
    marks.digests |= digests
    files = {hash for hash, digest in collecting.all_files(tx) if digest not in marks.digests and hash not in hashes}
    used = {xorb for xorb, file in collecting.all_uses(tx) if file not in files}
    return marks, {
        "commit": {" ".join(pair) for pair in lost},
        "content": {" ".join(pair) for pair in collecting.all_contents(tx) - marks.contents},
        "tree": collecting.all_trees(tx) - marks.trees,
        "inline": collecting.all_inline(tx) - marks.digests,
        "file": files,
        "plain": collecting.all_plain(tx) - marks.digests,
        "xorb": collecting.all_xorbs(tx) - used,
    }


def _note(house: House, kind: str, ids: set[str], known: set[str], now: str) -> None:
    """Since when each of them is unused; what is used again is forgotten."""
    for batch in _batches(ids - known):
        house.db.write(lambda tx, batch=batch: collecting.add_garbage(tx, kind, batch, now))  # type: ignore[misc]
    for batch in _batches(known - ids):
        house.db.write(lambda tx, batch=batch: collecting.forget_garbage(tx, kind, batch))  # type: ignore[misc]


def _batches(ids: Iterable[str]) -> list[list[str]]:
    ordered = sorted(ids)
    return [ordered[at : at + _BATCH] for at in range(0, len(ordered), _BATCH)]


def _condemn(house: House, marks: Marks, ending: dict[str, set[str]], cutoff: str) -> None:
    """Who once held or uploaded these bytes can no longer name them in a commit."""

    def contents(tx: Tx, batch: list[str]) -> None:
        marking.follow(tx, marks)
        touched = set()
        for repository, _, digest in (pair.partition(" ") for pair in batch):
            if (repository, digest) not in marks.contents:
                collecting.delete_content(tx, repository, digest)
                touched.add(repository)
        collecting.recount(tx, touched)

    def uploads(tx: Tx, batch: list[str]) -> None:
        digests = batch if batch[0].startswith("sha256:") else [file.digest for file in xet.files(tx, batch).values()]
        for digest in digests:
            collecting.delete_uploads(tx, digest, cutoff)

    for batch in _batches(ending["content"]):
        house.db.write(lambda tx, batch=batch: contents(tx, batch))  # type: ignore[misc]
    for kind in ("file", "plain"):
        for batch in _batches(ending[kind]):
            house.db.write(lambda tx, batch=batch: uploads(tx, batch))  # type: ignore[misc]


class _Sweep:
    """Deletes rows, each looked at once more in the transaction that deletes it."""

    def __init__(self, house: House, marks: Marks, cutoff: str) -> None:
        self._house = house
        self._marks = marks
        self._cutoff = cutoff
        self._delete: dict[str, Callable[[Tx, str], bool]] = {
            "commit": self._commit,
            "content": lambda tx, pair: True,  # went when it was condemned
            "tree": lambda tx, identity: identity not in self._marks.trees and collecting.delete_tree(tx, identity),
            "inline": lambda tx, digest: digest not in self._marks.digests and collecting.delete_inline(tx, digest, cutoff),
            "file": lambda tx, hash: collecting.delete_file(tx, hash, cutoff),
            "xorb": lambda tx, hash: collecting.bury_xorb(tx, hash, cutoff),
        }

    def rows(self, kind: str, ids: set[str]) -> int:
        """How many went."""
        return sum(
            self._house.db.write(lambda tx, batch=batch: self._batch(tx, kind, batch))  # type: ignore[misc]
            for batch in _batches(ids)
        )

    def _batch(self, tx: Tx, kind: str, batch: list[str]) -> int:
        marking.follow(tx, self._marks)
        gone = [identity for identity in batch if self._delete[kind](tx, identity)]
        collecting.forget_garbage(tx, kind, gone)
        return len(gone)

    def _commit(self, tx: Tx, pair: str) -> bool:
        repository, _, identity = pair.partition(" ")
        if (repository, identity) in self._marks.commits:
            return False
        collecting.delete_commit(tx, repository, identity)
        return True


def _drop_plain(house: House, digest: str) -> bool:
    """Bytes that came by the hub alone. Whoever has put the same bytes since keeps them."""

    def came(tx: Tx) -> str | None:
        return None if collecting.held_otherwise(tx, digest) else collecting.plain_at(tx, digest)

    at = house.db.read(came)
    if at is None:
        return False
    gone = house.blobs.drop(digest, parse_stamp(at).timestamp())

    def forget(tx: Tx) -> None:
        if collecting.plain_at(tx, digest) == at:
            collecting.forget_plain(tx, digest)
            collecting.forget_garbage(tx, "plain", [digest])

    house.db.write(forget)
    return gone


def _orphans(house: House) -> list[str]:
    """Xorbs in the store that have no row, or only a tombstone."""
    found: list[str] = []
    for batch in _batches(xorb_store.of(house).hashes()):
        states = house.db.read(lambda tx, batch=batch: collecting.states(tx, batch))  # type: ignore[misc]
        found += [hash for hash in batch if states.get(hash, "gone") == "gone"]
    return found


def _delete_bytes(house: House, hash: str) -> bool:
    with xorb_store.turn(house, hash):  # whoever is sending it has its row written, or has not begun
        if house.db.read(lambda tx: collecting.states(tx, [hash])).get(hash, "gone") != "gone":
            return False
        try:
            return xorb_store.of(house).delete(hash)
        except NotFound:
            return False
