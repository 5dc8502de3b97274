"""The house: everything of the ground in one object, and the places where floors find one another."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from .access import Access
from .blobs import Blobs, LocalBlobs
from .config import Settings
from .db import Database
from .errors import Conflict
from .events import Events, Recorded
from .evidence import Evidence
from .gates import Gates
from .seams import Clock, Ids, SystemClock, SystemIds
from .signing import Keyring

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Subscription:
    """`handle(house, recorded)` is called at least once for each event of these kinds, in their order; it must be idempotent."""

    name: str
    kinds: tuple[str, ...]
    handle: Callable[[House, Recorded], None]


@dataclass(frozen=True, slots=True)
class Chore:
    """A short duty of the server, run under a lease every so many seconds."""

    name: str
    every: float  # seconds
    run: Callable[[House], None]


@dataclass(slots=True)
class House:
    settings: Settings
    clock: Clock
    ids: Ids
    db: Database
    blobs: Blobs
    keys: Keyring
    events: Events
    evidence: Evidence
    access: Access
    gates: Gates
    subscriptions: list[Subscription] = field(default_factory=list)
    chores: list[Chore] = field(default_factory=list)
    starting: list[Callable[[], None]] = field(default_factory=list)  # called in order once every floor is there
    closing: list[Callable[[], None]] = field(default_factory=list)  # called in reverse order when the house closes
    checks: list[Callable[[House], Iterable[str]]] = field(default_factory=list)  # each tells what is wrong with what its floor keeps
    metrics: list[Callable[[], str]] = field(default_factory=list)  # each answers with Prometheus text of its floor
    background: bool = False  # whether this process runs the chores, the jobs and the deliveries
    _ports: dict[type, Any] = field(default_factory=dict)
    _lock: IO[str] | None = None

    def provide(self, protocol: type[T], implementation: T) -> None:
        """A floor offers what a Protocol of its contract promises."""
        self._ports[protocol] = implementation

    def port(self, protocol: type[T]) -> T:
        """Another floor's implementation of a Protocol of its contract."""
        return cast(T, self._ports[protocol])

    def subscribe(self, name: str, kinds: tuple[str, ...], handle: Callable[[House, Recorded], None]) -> None:
        self.subscriptions.append(Subscription(name, kinds, handle))

    def chore(self, name: str, every: float, run: Callable[[House], None]) -> None:
        self.chores.append(Chore(name, every, run))

    def close(self) -> None:
        for close in reversed(self.closing):
            close()
        self.closing.clear()
        self.db.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class HouseInUse(Conflict):
    """The house {folder} is in use by process {pid}. Use it through that server, or stop it first with `lilong down`."""


def open_house(settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None, lock: bool = True) -> House:
    """Open (or make) the house in `settings.house`. One process at a time holds it. Raises HouseInUse."""
    clock, ids = clock or SystemClock(), ids or SystemIds()
    if not settings.house.exists():
        settings.house.mkdir(parents=True, mode=0o700)  # models, receipts and keys are nobody else's business
    for folder in (settings.house, settings.keys, settings.run, settings.jobs):
        folder.mkdir(parents=True, exist_ok=True)
    settings.keys.chmod(0o700)
    settings.jobs.chmod(0o711)
    held = _take(settings.run / "lock", settings.house) if lock else None
    keys = Keyring(settings.keys, clock)
    events = Events(clock, ids)
    house = House(
        settings=settings,
        clock=clock,
        ids=ids,
        db=Database(settings.database_url),
        blobs=LocalBlobs(settings.blobs),
        keys=keys,
        events=events,
        evidence=Evidence(keys, events, clock),
        access=Access(clock, ids, events),
        gates=Gates(),
    )
    house._lock = held
    house.chore("tokens-used", 60.0, lambda house: house.db.write(house.access.note_uses))
    return house


def _take(file: Path, house: Path) -> IO[str]:
    handle = file.open("a+")
    for attempt in range(20):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if attempt == 19:
                handle.seek(0)
                pid = handle.read().strip() or "unknown"
                handle.close()
                raise HouseInUse(folder=house, pid=pid) from None
            time.sleep(0.05)  # somebody may only be looking whether a server runs
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle
