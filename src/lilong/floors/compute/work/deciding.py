"""One decision: look, decide, and write down in one transaction what begins, what makes room, why others wait, and all that was seen."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from lilong import __version__
from lilong.floors.compute.contract import Placed, ReasonCode
from lilong.floors.compute.rules import telling
from lilong.floors.compute.rules.ways import laid_out
from lilong.floors.compute.scheduler.by_name import decide, plan_text
from lilong.floors.compute.scheduler.snapshot import Beginning, Decision, SnapJob, Snapshot, digest, text
from lilong.floors.compute.store import attempts, journal, waiting
from lilong.floors.compute.store import settings as declared
from lilong.floors.compute.store.attempts import Chosen
from lilong.floors.compute.work.sites import Known, Sites
from lilong.floors.compute.work.snapshotting import View, Viewer, changes_of
from lilong.floors.compute.work.warming import Warming
from lilong.ground.db import Tx
from lilong.ground.house import House
from lilong.ground.seams import stamp

log = structlog.get_logger("lilong.compute")

_MOST_ASIDE = 100
AT_LEAST_S = 30  # between two decisions while somebody waits, whatever has changed


class Decider:
    def __init__(self, house: House, sites: Sites) -> None:
        self._house = house
        self._sites = sites
        self.warming = Warming(house.settings.house / "cache" / "numba")
        self._aside_since: object = None  # what was declared and seen when jobs were set aside
        self._looked_at: frozenset[str] = frozenset()  # by the last decision
        self._viewer = Viewer()
        self._told: dict[str, str] | None = None  # entries of the last decision that was written down
        self._since_whole = 0
        self._done: tuple[object, ...] | None = None  # what had been seen of changes when the last decision was made
        self._due_at = 0.0  # by the clock that nobody sets

    def decide(self) -> list[str]:
        """Decide if anything has changed, or if it is time. The attempts that begin."""
        now, tick = self._house.clock.now(), self._house.clock.monotonic()
        known = self._sites.known()
        changes = self._house.db.read(changes_of)
        if (changes, self._sites.changes) == self._done and tick < self._due_at:
            return []
        if not changes[1]:  # nobody waits
            self._done, self._due_at = (changes, self._sites.changes), float("inf")
            return []
        seen = self._sites.changes
        self._done, self._due_at = (changes, seen), tick + AT_LEAST_S  # should it not work out: not again at once
        view, decision = self._decided(known, now, seen)
        begun, touched = self._house.db.write(lambda tx: self._write(tx, view, decision, now))
        self._told = dict(view.texts)
        self._looked_at = frozenset(view.rows)
        # What this decision changed itself is no reason to decide again, unless it left jobs out of sight.
        after = (changes[0] + touched, changes[1] - len(begun), *changes[2:])
        self._done = None if view.cut and begun else (after, view.changes)
        self._due_at = tick + min((view.again_at or float("inf")) - now.timestamp(), AT_LEAST_S)
        return begun

    def _decided(self, known: Mapping[str, Known], now: datetime, seen: int) -> tuple[View, Decision]:
        """A job about which no decision can be made is set aside until something else is declared or seen; the others go on."""
        stand = (self._house.db.read(declared.current)[0], seen)
        if stand != self._aside_since:
            self._sites.aside, self._aside_since = {}, stand
        while True:
            view = self._house.db.read(lambda tx: self._viewer.look(tx, known, now, seen, self._sites.aside))
            try:
                return view, decide(view.snapshot, compiled=self.warming.compiled(view.snapshot))
            except Exception as problem:
                culprit = _culprit(view.snapshot) if len(self._sites.aside) < _MOST_ASIDE else None
                if culprit is None:
                    raise
                self._sites.aside = {**self._sites.aside, culprit: f"{type(problem).__name__}: {problem}"}
                log.error("job set aside", job=culprit, error=repr(problem), exc_info=problem)

    def _write(self, tx: Tx, view: View, decision: Decision, now: datetime) -> tuple[list[str], int]:
        number = self._journal(tx, view, decision, now)
        jobs = {job.id: job for job in view.snapshot.jobs}
        room = dict(view.windows)
        begun: dict[str, str] = {}
        for job_id, begin in decision.starts.items():
            site = jobs[job_id].ways[begin.way].site
            if site in room:
                if room[site] <= 0:
                    continue
                room[site] -= 1
            token = attempts.intend(tx, job_id, site, stamp(now), chosen(jobs[job_id], begin, view.snapshot.now, number))
            if token is not None:
                begun[job_id] = token
        for victim in decision.preemptions:
            if attempts.preempt(tx, victim):
                log.info("asked to make room", job=victim, decision=number)
        self._explain(tx, view, decision, set(begun))
        return list(begun.values()), len(begun)

    def _explain(self, tx: Tx, view: View, decision: Decision, begun: set[str]) -> None:
        codes = {
            job: telling.code(reason, reserved=job in decision.reservations, reachable=job in view.reachable)
            for job, reason in decision.reasons.items()
        }
        codes |= dict.fromkeys(decision.starts.keys() - begun, ReasonCode.NO_ROOM)
        codes |= dict.fromkeys(view.homeless, ReasonCode.IMPOSSIBLE)
        news = [(job, code) for job, code in codes.items() if job in view.rows and view.rows[job]["reason"] != code.value]
        waiting.explain(tx, news)
        waiting.set_aside(tx, [(job, words) for job, words in view.aside.items() if job in view.rows])
        waiting.out_of_sight(tx, sorted(self._looked_at - view.rows.keys()), stamp(view.at))
        promised = {
            job: stamp(datetime.fromtimestamp(at, UTC)) for job, at in decision.reservations.items() if job not in begun and at < 1 << 40
        }
        before = waiting.promised(tx)
        stale = [(job, None) for job in before if job not in promised]
        waiting.promise(tx, [*stale, *((job, at) for job, at in promised.items() if before.get(job) != at)])

    def _journal(self, tx: Tx, view: View, decision: Decision, now: datetime) -> int:
        number = journal.span(tx)[1] + 1
        whole = self._told is None or self._since_whole >= journal.WHOLE_EVERY
        seen: Mapping[str, str | None] = view.texts
        if self._told is not None and not whole:
            seen = {name: value for name, value in view.texts.items() if self._told.get(name) != value}
            seen |= dict.fromkeys(self._told.keys() - view.texts.keys())
        self._since_whole = 1 if whole else self._since_whole + 1
        policy = f"{view.snapshot.policy} {__version__}"
        journal.add(tx, journal.Entry(number, stamp(now), policy, digest(view.texts), whole, seen, plan_text(decision)))
        return number


def _culprit(snapshot: Snapshot) -> str | None:
    """The first waiting job with which, and with those before it, no decision can be made; None if it is not for any of them."""
    held = tuple(job for job in snapshot.jobs if job.started is not None)
    waiting = [job for job in snapshot.jobs if job.started is None]

    def sound(many: int) -> bool:
        try:
            decide(replace(snapshot, jobs=tuple(sorted((*held, *waiting[:many]), key=lambda job: job.id))), compiled=False)
        except Exception:
            return False
        return True

    if not sound(0):
        return None
    least = bisect_left(range(len(waiting) + 1), True, key=lambda many: not sound(many))
    return waiting[least - 1].id if least <= len(waiting) else None


def chosen(job: SnapJob, begin: Beginning, now: int, number: int) -> Chosen:
    """A start as the outbox keeps it."""
    way = job.ways[begin.way]
    placed = tuple(
        Placed(node.partition("/")[2], tuple(device for device in range(devices.bit_length()) if devices >> device & 1), way.milli)
        for node, devices in begin.places
    )
    held = replace(job, ways=(way,), way=0, started=now, places=begin.places)
    return Chosen(laid_out(way), text(held), placed, way.tasks * way.devices * way.milli, way.tasks * way.cpu // 1000, number)
