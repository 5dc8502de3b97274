"""How often repositories are fetched: counted in memory, written once a minute, off the path of the bytes."""

from __future__ import annotations

import threading
from datetime import timedelta

from lilong.floors.hub import store
from lilong.ground.db import Tx
from lilong.ground.house import House

_ONCE = 300.0  # seconds within which one caller's requests for files of one repository are one download
_MOST = 100_000  # callers remembered


class Counter:
    """A crash loses at most a minute of counts: they are figures for orientation, nothing is billed by them."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], float] = {}
        self._counts: dict[str, int] = {}

    def note(self, repository: str, caller: str) -> None:
        """A file of the repository (its id) was asked for; `caller`: a user or an address."""
        now = self._house.clock.now().timestamp()
        with self._lock:
            before = self._seen.pop((repository, caller), None)
            if before is not None and now - before < _ONCE:
                self._seen[repository, caller] = before
                return
            self._seen[repository, caller] = now
            self._counts[repository] = self._counts.get(repository, 0) + 1
            while len(self._seen) > _MOST:
                del self._seen[next(iter(self._seen))]

    def write(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, {}
        if counts:
            day = self._house.clock.now().date().isoformat()
            self._house.db.write(lambda tx: store.add_downloads(tx, counts, day))


def start(house: House) -> None:
    counter = Counter(house)
    house.provide(Counter, counter)
    house.chore("hub.downloads", 60.0, lambda _: counter.write())
    house.chore("hub.trending", 3600.0, trending)
    house.closing.append(counter.write)


def trending(house: House) -> None:
    """What is fetched and liked this week goes up, what no longer is goes down."""
    since = (house.clock.now() - timedelta(days=7)).date().isoformat()

    def write(tx: Tx) -> None:
        score = (
            "COALESCE((SELECT SUM(d.count) FROM hub_downloads d WHERE d.repository = hub_repositories.id AND d.day >= :since), 0) "
            "+ 10 * (SELECT COUNT(*) FROM hub_likes l WHERE l.repository = hub_repositories.id AND l.at >= :since)"
        )
        tx.run(f"UPDATE hub_repositories SET trending = {score} WHERE trending <> {score}", since=since)

    house.db.write(write)
