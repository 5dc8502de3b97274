"""Lazy mirrors: a repository whose large files come from their source with the first reader, are checked, and stay.

A large file that has not come is an entry like any other, but the repository does not count as holding it: neither a commit nor a
download by digest finds it (there is no row in hub_contents), and the house does not claim to have its bytes. It comes when a reader
of this repository asks, even where somebody else's equal bytes lie here: a source's word for a digest opens nothing.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from lilong.floors.hub import store as hub_store
from lilong.floors.hub.contract import FileFetched, Kind
from lilong.floors.hub.rules import taking
from lilong.floors.hub.rules.sources import Source
from lilong.floors.hub.store import Held, collecting
from lilong.floors.hub.store import imports as store
from lilong.floors.hub.store.imports import Away, File, Import, Mirror
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.blobs import hexadecimal
from lilong.ground.db import Tx
from lilong.ground.errors import Conflict, LilongError, NotFound, Unavailable
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import quotas, reading, remote
from .remote import Remote, SourceOdd

_PEEKED = 256 << 10  # bytes in one request
_MOST_PEEKED = 256 << 20  # bytes of one file that are looked at before it comes
_SIDE_BY_SIDE = 4


class MirrorBroken(Unavailable):
    """The file {path} of {name} lies at {source} and cannot be fetched from there now: {problem} Try again later."""


@dataclass(slots=True)
class Flight:
    """One file on its way; all its readers wait for the same one."""

    away: Away
    began: float
    received: int = 0
    arrived: Future[None] = field(default_factory=Future)

    def seconds_left(self, now: float) -> int:
        """A guess from what has come so far."""
        if not self.received:
            return 5
        return max(1, min(60, round((now - self.began) * (self.away.size - self.received) / self.received)))


class Mirrors:
    """The files that are coming to this house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._flights: dict[tuple[str, str], Flight] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="hub-mirror")
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for flight in list(self._flights.values()):
            flight.arrived.cancel()

    def flight(self, away: Away) -> Flight:
        key = (away.repository, away.digest)
        with self._lock:
            found = self._flights.get(key)
            if found is None:
                found = self._flights[key] = Flight(away, self._house.clock.monotonic())
                self._pool.submit(self._carry, key, found)
            return found

    def _carry(self, key: tuple[str, str], flight: Flight) -> None:
        try:
            self._fetch(flight)
        except BaseException as problem:
            failure: BaseException | None = problem
        else:
            failure = None
        with self._lock:
            self._flights.pop(key, None)
        if failure is None:
            flight.arrived.set_result(None)
        else:
            flight.arrived.set_exception(failure)

    def _fetch(self, flight: Flight) -> None:
        house, away = self._house, flight.away

        def read(tx: Tx) -> tuple[Held, Mirror] | None:
            if store.away_file(tx, away.repository, away.digest) is None:
                return None
            held, mirror = hub_store.repository_by_id(tx, away.repository), store.mirror(tx, away.repository)
            if held is None or mirror is None:
                return None
            quotas.check(house, tx, held.organisation, away.size)
            return held, mirror

        known = house.db.read(read)
        if known is None:
            return
        held, mirror = known
        source = Source(mirror.endpoint, held.kind, mirror.source, mirror.revision)
        folder = house.settings.run / "imports" / "mirrors"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = folder / f"{held.id}-{hexadecimal(away.digest)}.part"

        def told(received: int) -> None:
            flight.received = received
            if self._closed.is_set():
                raise remote.Stopped()

        try:
            where = remote.of(house, source, _token(house, mirror))
            digest = remote.fetch(where, away.pinned, File(away.path, away.size, "", hexadecimal(away.digest)), part, told)
            with part.open("rb") as content:
                taking.check(held.kind, away.path, content, away.size)  # judged by a peek when the mirror was made
        except remote.Stopped:
            raise MirrorBroken(path=away.path, name=held.name, source=source.page, problem="The house is closing.") from None
        except LilongError as problem:
            raise MirrorBroken(path=away.path, name=held.name, source=source.page, problem=str(problem)) from problem
        blob = house.blobs.put_file(part)
        part.unlink()

        def write(tx: Tx) -> None:
            collecting.came(tx, blob, stamp(house.clock.now()))
            if hub_store.repository_by_id(tx, held.id) is None:
                return
            store.set_present(tx, held.id, digest)
            hub_store.add_contents(tx, held, {digest: away.size})
            house.events.append(tx, SYSTEM, FileFetched(held.name, held.organisation, held.kind.value, away.path, digest, away.size))

        house.db.write(write)


def _token(house: House, mirror: Mirror) -> str:
    try:
        return (house.settings.keys / "imports" / f"{mirror.import_}.token").read_text()
    except FileNotFoundError:
        return ""


# --- for readers --------------------------------------------------------------------------------------------------------


def wanted(house: House, held: Held, digest: str) -> Flight | None:
    """The flight of a large file of this repository; None where its bytes are here, which is so for all but mirrors."""
    away = house.db.read(lambda tx: store.away_file(tx, held.id, digest))
    return None if away is None else house.port(Mirrors).flight(away)


def held(house: House, actor: Actor, kind: Kind, name: str, digest: str) -> tuple[Held, int]:
    """A repository whose files the actor may have, and the bytes of one of them by its digest. Raises RepositoryNotFound, NotFound."""

    def read(tx: Tx) -> tuple[Held, int]:
        found = reading.opened(house, tx, actor, kind, name)
        reading.readable(house, tx, actor, found)
        size = store.mirrored_size(tx, found.id, digest)
        if size is None:
            raise NotFound(kind="file", name=digest[:80])
        return found, size

    return house.db.read(read)


def fetch(house: House, held: Held, digest: str) -> None:
    """Have the bytes here when this returns. Raises MirrorBroken."""
    flight = wanted(house, held, digest)
    if flight is not None:
        flight.arrived.result()


class NotComeYet(Conflict):
    """The mirror {name} has files that have not come from its source yet. Read each of them once (`hf download {name}`), then try again."""


def check_own(tx: Tx, held: Held) -> None:
    """Before a repository's files are handed on by their digests: whoever opens one by its digest gets anybody's bytes, and of a file that
    has not come there is but the source's word that they are the mirror's. Raises NotComeYet."""
    if store.absent(tx, held.id):
        raise NotComeYet(name=held.name)


def show(house: House, actor: Actor, kind: Kind, name: str) -> dict[str, Any]:
    """Where a repository is mirrored from, its pin, and what has not come yet. Raises RepositoryNotFound, NotFound."""

    def read(tx: Tx) -> dict[str, Any]:
        held = reading.opened(house, tx, actor, kind, name)
        found = store.mirror(tx, held.id)
        if found is None:
            raise NotFound(kind="mirror", name=name[:200])
        away = store.away_of(tx, held.id)
        source = Source(found.endpoint, kind, found.source, found.revision)
        return {
            "repository": held.name, "kind": kind.value, "source": source.page, "revision": found.revision, "pinned": found.pinned,
            "refreshed_at": found.refreshed_at, "away_files": len(away), "away_bytes": sum(file.size for file in away),
        }  # fmt: skip

    return house.db.read(read)


def adopt(house: House, tx: Tx, found: Import, absent: Sequence[File]) -> None:
    """With the commit of a mirror: say where its large files are, and that the repository does not hold them yet."""
    held = hub_store.repository(tx, found.kind, found.name)
    assert held is not None
    former = store.mirror(tx, held.id)
    store.set_mirror(
        tx,
        Mirror(held.id, found.endpoint, found.source, found.revision, found.pinned, found.excluded, found.id, stamp(house.clock.now())),
    )
    if former is not None and former.import_ != found.id and not found.with_token:
        _hand_on(house, former.import_, found.id)
    files = [Away(held.id, f"sha256:{file.sha256}", file.size, file.path, found.pinned, False) for file in absent]
    store.add_away(tx, files)
    gone = {away.digest for away in store.away_of(tx, held.id)}
    hub_store.remove_contents(tx, held, [file.digest for file in files if file.digest in gone])


def _hand_on(house: House, old: str, new: str) -> None:
    folder = house.settings.keys / "imports"
    with contextlib.suppress(FileNotFoundError):
        (folder / f"{old}.token").rename(folder / f"{new}.token")


# --- for whoever opens bytes by their digest ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Peeks:
    remote: Remote
    commit: str
    files: Mapping[str, File]  # by digest


_peeks: ContextVar[_Peeks | None] = ContextVar("hub mirror peeks", default=None)


@contextlib.contextmanager
def peeking(house: House, where: Remote, commit: str, files: Sequence[File]) -> Iterator[None]:
    """Within this, and in this thread, the beginnings of these files can be looked at as if they were here."""
    before = _peeks.set(_Peeks(where, commit, {f"sha256:{file.sha256}": file for file in files}) if files else None)
    try:
        yield
    finally:
        _peeks.reset(before)


class Peeked:
    """Before the house's blobs: the files of a mirror in the making are judged by what its source shows, whoever else has such bytes here."""

    def size(self, digest: str) -> int | None:
        peeks = _peeks.get()
        return peeks.files[digest].size if peeks is not None and digest in peeks.files else None

    def open(self, digest: str) -> BinaryIO | None:
        peeks = _peeks.get()
        if peeks is None or digest not in peeks.files:
            return None
        return cast(BinaryIO, io.BufferedReader(_Peek(peeks.remote, peeks.commit, peeks.files[digest]), _PEEKED))


class AwayFiles:
    """Beyond the house's blobs: what a mirror can still fetch. It is not claimed to be here, but opening it brings it."""

    def __init__(self, house: House) -> None:
        self._house = house

    def size(self, digest: str) -> int | None:
        return None

    def open(self, digest: str) -> BinaryIO | None:
        away = self._house.db.read(lambda tx: store.away_anywhere(tx, digest))
        if away is None:
            return None
        self._house.port(Mirrors).flight(away).arrived.result()
        return self._house.blobs.open(digest)


class _Peek(io.RawIOBase):
    """A file at its source, read by ranges."""

    def __init__(self, where: Remote, commit: str, file: File) -> None:
        self._where, self._commit, self._file = where, commit, file
        self._at = self._taken = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), max(self._file.size - self._at, 0))
        if not count:
            return 0
        self._taken += count
        if self._taken > _MOST_PEEKED:
            raise SourceOdd(
                host=self._where.host, problem=f"the head of {self._file.path} is too long", way_out="Import the repository instead."
            )
        piece = remote.peek(self._where, self._commit, self._file.path, self._at, count)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def start(house: House) -> None:
    hub_store.goes_with_repository("hub_mirror_files")
    hub_store.goes_with_repository("hub_mirrors")
    hub_store.goes_with_repository("hub_foreign_statements")
    mirrors = Mirrors(house)
    house.provide(Mirrors, mirrors)
    house.blobs.beyond(Peeked(), first=True)
    house.blobs.beyond(AwayFiles(house))
    house.closing.append(mirrors.close)
