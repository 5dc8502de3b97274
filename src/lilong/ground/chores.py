"""What the server does between requests: deliver events to their subscribers, and run chores under a lease.

A delivery that fails is tried again with growing pauses; after the last try it is parked with its error, where `lilong status`
shows it, and the next event goes on. What is parked is tried once more whenever a server starts and every ten minutes: the disk may
have room again, and without its event a request would wait for ever. A chore's lease carries a fencing token that grows with every lease.
"""

from __future__ import annotations

import threading
from datetime import timedelta

import structlog

from .db import Tx
from .errors import LilongError
from .events import Recorded
from .house import Chore, House, Subscription
from .seams import parse_stamp, stamp

log = structlog.get_logger("lilong.chores")

TRIES = 6
_PAUSE = 0.5  # seconds; doubles with each try
_PARKED_EVERY = 600.0  # seconds
_NOTED_EVERY = 1.0  # seconds
_LEASE = timedelta(seconds=60)


class Background:
    """The threads of one server."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._stop = threading.Event()
        self._written = threading.Condition()
        self._version = 0
        self._threads: list[threading.Thread] = []
        house.db.on_commit(self._wake)

    def start(self) -> None:
        for subscription in self._house.subscriptions:
            self._run(f"events:{subscription.name}", lambda s=subscription: self._deliver(s))
        for chore in self._house.chores:
            self._run(f"chore:{chore.name}", lambda c=chore: self._repeat(c))

    def stop(self) -> None:
        self._stop.set()
        self._wake()
        for thread in self._threads:
            thread.join(timeout=10)

    def _run(self, name: str, target: object) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)

    def _wake(self) -> None:
        with self._written:
            self._version += 1
            self._written.notify_all()

    def _deliver(self, subscription: Subscription) -> None:
        seen, next_look = -1, 0.0
        while not self._stop.is_set():
            with self._written:
                if self._version == seen:
                    self._written.wait(timeout=2.0)
                seen = self._version
            try:
                if (now := self._house.clock.monotonic()) >= next_look:
                    next_look = now + _PARKED_EVERY
                    retry_parked(self._house, subscription)
                while not self._stop.is_set() and deliver(self._house, subscription, self._stop):
                    pass
            except Exception as problem:
                log.error("delivery failed", subscription=subscription.name, error=repr(problem))
                self._stop.wait(1.0)
                seen = -1

    def _repeat(self, chore: Chore) -> None:
        while not self._stop.is_set():
            try:
                run_chore(self._house, chore)
            except Exception as problem:
                log.error("chore failed", chore=chore.name, error=repr(problem))
            self._stop.wait(chore.every)


def deliver(house: House, subscription: Subscription, stop: threading.Event | None = None) -> int:
    """Hand the waiting events to one subscriber; how many there were.

    Which were handled is written down once a second, and at the end: a crash between hands some over again.
    """
    name = subscription.name
    pending = house.db.read(lambda tx: house.events.pending(tx, name, subscription.kinds, 100))
    noted, handled = house.clock.monotonic(), 0
    try:
        for at, recorded in enumerate(pending):
            if not _handle(house, subscription, recorded, stop):
                return 0
            handled = recorded.seq
            if at + 1 < len(pending) and (now := house.clock.monotonic()) >= noted + _NOTED_EVERY:
                house.db.write(lambda tx, seq=handled: house.events.advance(tx, name, seq))  # type: ignore[misc]
                noted, handled = now, 0
    finally:
        if handled:
            house.db.write(lambda tx: house.events.advance(tx, name, handled))
    return len(pending)


def _handle(house: House, subscription: Subscription, recorded: Recorded, stop: threading.Event | None) -> bool:
    """One event, parked after the last try; whether it is done with."""
    for attempt in range(1, TRIES + 1):
        try:
            subscription.handle(house, recorded)
            return True
        except Exception as problem:
            message = str(problem) if isinstance(problem, LilongError) else repr(problem)
            log.error("event not handled", subscription=subscription.name, seq=recorded.seq, attempt=attempt, error=message, exc_info=problem)
        if attempt < TRIES and stop is not None and stop.wait(_PAUSE * 2**attempt):
            return False
    _park(house, subscription.name, recorded.seq, message)
    return True


def retry_parked(house: House, subscription: Subscription) -> int:
    """Hand over once more what was given up, the oldest first; how many of them are done with now."""
    name = subscription.name
    parked = house.db.read(lambda tx: [int(row["seq"]) for row in tx.rows("SELECT seq FROM ground_parked WHERE subscription = :name ORDER BY seq", name=name)])
    done = 0
    for seq in parked:
        try:
            subscription.handle(house, house.db.read(lambda tx, seq=seq: house.events.get(tx, seq)))  # type: ignore[misc]
        except Exception as problem:
            log.warning("event still not handled", subscription=name, seq=seq, error=str(problem) if isinstance(problem, LilongError) else repr(problem))
            continue
        house.db.write(lambda tx, seq=seq: tx.run("DELETE FROM ground_parked WHERE subscription = :name AND seq = :seq", name=name, seq=seq))  # type: ignore[misc]
        done += 1
    return done


def _park(house: House, subscription: str, seq: int, error: str) -> None:
    house.db.write(
        lambda tx: tx.run(
            "INSERT INTO ground_parked (subscription, seq, error, at) VALUES (:name, :seq, :error, :at) ON CONFLICT (subscription, seq) DO NOTHING",
            name=subscription, seq=seq, error=error[:4000], at=stamp(house.clock.now()),
        )
    )  # fmt: skip


def run_chore(house: House, chore: Chore) -> bool:
    """Run a chore if its lease can be had; whether it ran."""
    holder = house.ids.new("lease")

    def lease(tx: Tx) -> int | None:
        now = house.clock.now()
        row = tx.row("SELECT token, leased_until FROM ground_chores WHERE name = :name", name=chore.name)
        # A lease never ends later than this: one that does is from before the clock was set back.
        if row is not None and now < parse_stamp(row["leased_until"]) <= now + _LEASE:
            return None
        token = (row["token"] if row is not None else 0) + 1
        tx.run(
            "INSERT INTO ground_chores (name, token, holder, leased_until) VALUES (:name, :token, :holder, :until) "
            "ON CONFLICT (name) DO UPDATE SET token = excluded.token, holder = excluded.holder, leased_until = excluded.leased_until",
            name=chore.name, token=token, holder=holder, until=stamp(now + _LEASE),
        )  # fmt: skip
        return token

    token = house.db.write(lease)
    if token is None:
        return False
    error: str | None = None
    try:
        chore.run(house)
    except Exception as problem:
        error = str(problem) if isinstance(problem, LilongError) else repr(problem)
        raise
    finally:
        now = stamp(house.clock.now())
        house.db.write(
            lambda tx: tx.run(
                "UPDATE ground_chores SET leased_until = :now, last_finished = :now, last_error = :error WHERE name = :name AND token = :token",
                name=chore.name, token=token, now=now, error=error,
            )
        )  # fmt: skip
    return True
