"""Giving a house its queue."""

from __future__ import annotations

from datetime import timedelta

from lilong.floors.compute import store
from lilong.floors.compute.contract import Compute, JobState
from lilong.floors.compute.rules.settings import LOCAL
from lilong.floors.compute.service import budget, throughput
from lilong.floors.compute.service.port import Jobs
from lilong.floors.compute.store import journal, waiting
from lilong.floors.compute.store import settings as declared
from lilong.floors.compute.work import Dispatcher
from lilong.floors.compute.work.sites import Sites
from lilong.ground.house import House
from lilong.ground.seams import stamp

_A_MINUTE_S = 60.0
_AN_HOUR_S = 3600.0
_AT_ONCE = 5000  # decisions that are dropped in one transaction


def start(house: House) -> None:
    """Give the house its queue. Where jobs may run in this process, they begin once every floor is there."""
    sites = Sites(house)
    sites.refresh()
    sites.look(LOCAL)
    dispatcher = Dispatcher(house, sites)
    house.provide(Sites, sites)
    house.provide(Dispatcher, dispatcher)
    house.provide(Compute, Jobs(house))  # type: ignore[type-abstract]
    budget.start(house)
    throughput.start(house)
    house.metrics.append(lambda: _metrics(house))
    house.chore("compute-journal", _AN_HOUR_S, prune)
    house.chore("compute-estimates", _A_MINUTE_S, _say_starts)
    if house.background:
        house.starting.append(dispatcher.start)
        house.closing.append(dispatcher.stop)


def prune(house: House) -> None:
    """Drop decisions that are older than the settings say."""
    _, declaration = house.db.read(declared.current)
    before = stamp(house.clock.now() - timedelta(days=declaration.journal_days))
    while house.db.write(lambda tx: journal.prune(tx, before, _AT_ONCE)):
        pass


def _say_starts(house: House) -> None:
    if any(line.waiting for line in house.db.read(waiting.lines)):
        from lilong.floors.compute.service import estimate  # with the scheduler, which an idle house does without

        estimate.say_starts(house)


def _metrics(house: House) -> str:
    counts = house.db.read(store.counts)
    lines = ["# HELP lilong_jobs Jobs of the queue by state.", "# TYPE lilong_jobs gauge"]
    lines += [f'lilong_jobs{{state="{state.value}"}} {counts.get(state.value, 0)}' for state in JobState]
    return "\n".join(lines) + "\n"
