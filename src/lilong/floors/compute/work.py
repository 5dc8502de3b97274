"""Carrying the queue out: start what may start, look after what runs, settle what has ended.

Everything is read from the database and from the sites at each step, so that a server that was killed at any point is followed
by one that carries on: an attempt's row is there before the site is asked, and the site can tell what became of any attempt.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import IO

import structlog

from lilong.floors.compute import rules, store
from lilong.floors.compute.contract import (
    FINISHED,
    AlreadySubmitted,
    Ending,
    Exit,
    JobFinished,
    JobReady,
    JobStarted,
    JobState,
    Output,
    Phase,
    Sight,
    Site,
    Task,
)
from lilong.floors.compute.rules import Verdict
from lilong.floors.compute.store import Entry
from lilong.ground.access import SYSTEM
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError
from lilong.ground.house import House
from lilong.ground.sandbox import OutputRefused
from lilong.ground.seams import stamp

log = structlog.get_logger("lilong.compute")

LOOK_S = 0.2  # between two looks at what runs
REST_S = 5.0  # between two looks when nothing runs and nothing was written
_BREATH_S = 0.03  # after a write: others often follow, and one look serves them all
_ALIVE_S = 30.0
_JOBS_OWN_FAULT = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # what it did to its folder of outputs


class Dispatcher:
    """The queue's engine over one site. `step` may be called by hand (tests); `run` calls it in a thread of its own."""

    def __init__(self, house: House, site: Site) -> None:
        self._house = house
        self.site = site
        self._busy: set[str] = set()
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._pool: Executor | None = None
        self._thread: threading.Thread | None = None
        self._last_sign = 0.0

    # --- the loop ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="compute")
        self._house.db.on_commit(self._wake.set)
        self._thread = threading.Thread(target=self._loop, name="compute", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the loop, then every job: they begin again when the house opens next."""
        self.halt()
        self.site.stop()

    def halt(self) -> None:
        """End the loop and leave the jobs alone."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                active = self.step()
            except Exception as problem:  # the queue goes on, whatever happens to one job
                log.error("step failed", error=repr(problem), exc_info=problem)
                active = True
            if active:
                self._stop.wait(LOOK_S)
            else:
                self._wake.wait(REST_S)
                self._stop.wait(_BREATH_S)
            self._wake.clear()

    def step(self) -> bool:
        """One look at everything; whether there is anything to look after."""
        self._sign_of_life()
        active, untidied = self._house.db.read(lambda tx: (store.active(tx), store.untidied(tx)))
        for entry in active:
            self._give(entry, self._attend)
        for entry in untidied:
            self._give(entry, self._tidy)
        waiting = self._house.db.read(store.queued)
        for entry in waiting:
            if entry.cancel_requested:
                self._give(entry, self._cancelled_in_queue)
        begun = self._begin_some([entry for entry in waiting if not entry.cancel_requested])
        return bool(active or begun or any(entry.order.not_before or entry.cancel_requested for entry in waiting) or waiting)

    def _sign_of_life(self) -> None:
        alive: Callable[[], None] | None = getattr(self.site, "alive", None)
        if alive is not None and self._house.clock.monotonic() - self._last_sign > _ALIVE_S:
            self._last_sign = self._house.clock.monotonic()
            alive()

    def _give(self, entry: Entry, action: Callable[[Entry], None]) -> None:
        """Do something about a job, in the pool where there is one; never two things about one job at a time."""
        with self._guard:
            if entry.job.id in self._busy:
                return
            self._busy.add(entry.job.id)

        def act() -> None:
            try:
                action(entry)
            except Exception as problem:
                log.error("job not attended to", job=entry.job.id, error=repr(problem), exc_info=problem)
            finally:
                with self._guard:
                    self._busy.discard(entry.job.id)

        if self._pool is None:
            act()
        else:
            self._pool.submit(act)

    # --- starting ----------------------------------------------------------------------------------------------------------

    def _begin_some(self, waiting: list[Entry]) -> list[str]:
        if not waiting:
            return []
        holding = [
            rules.Holding(entry.job.id, entry.order.cpus, entry.order.memory_mib, entry.order.service, entry.job.ask.title)
            for entry in self._house.db.read(store.active)
        ]
        plan = rules.decide([entry.order for entry in waiting], holding, self.site.capacity(), self._house.clock.now())
        told = {entry.job.id: entry.job.waits_for for entry in waiting}
        news = [(job_id, reason) for job_id, reason in plan.reasons.items() if told[job_id] != reason]
        if not plan.starts and not news:
            return []

        def write(tx: Tx) -> list[str]:
            store.explain(tx, news)
            return [job_id for job_id in plan.starts if store.intend(tx, job_id, self.site.name, self._now())]

        begun = self._house.db.write(write)
        for entry in self._house.db.read(store.active):
            if entry.job.id in begun:
                self._give(entry, self._attend)
        return begun

    def _attend(self, entry: Entry) -> None:
        """Bring one attempt forward. Read again: the entry may be older than what another thread has done."""
        current = self._house.db.read(lambda tx: store.entry(tx, entry.job.id))
        if not current.holds_resources:
            return
        if current.cancel_requested:
            self.site.cancel(current.token)
        sight = self.site.find(current.token)
        if sight.phase is Phase.NEVER:
            if current.job.state is not JobState.STARTING:
                self._settle(current, replace(sight, phase=Phase.LOST))
                return
            if current.cancel_requested:
                self._settle(current, Sight(Phase.FINISHED, ending=Ending.CANCELLED))
                return
            sight = self._submit(current)
        if current.job.state is JobState.STARTING and sight.ending is not Ending.UNABLE:
            self._started(current, sight)
        if sight.phase is Phase.RUNNING:
            if sight.address is not None:
                self._ready(current, sight.address)
        else:
            self._settle(current, sight)

    def _submit(self, entry: Entry) -> Sight:
        ask = entry.job.ask
        task = Task(ask.argv, ask.inputs, ask.spec, ask.cpus, ask.memory_mib, ask.timeout_s, ask.network, ask.service)
        try:
            self.site.submit(entry.token, task)
        except AlreadySubmitted:
            pass
        except (LilongError, OSError) as problem:
            # what cannot be prepared now must not start later by itself either
            self.site.cancel(entry.token)
            reason = f"it could not be started: {problem}"
            return Sight(Phase.FINISHED, None, None, Ending.UNABLE, Exit(None, None, reason, 0.0, 0.0, 0.0))
        return self.site.find(entry.token)

    def _started(self, entry: Entry, sight: Sight) -> None:
        def write(tx: Tx) -> None:
            if store.started(tx, entry, sight.sandbox or "none", self._now()):
                ask = entry.job.ask
                self._house.events.append(
                    tx, SYSTEM, JobStarted(entry.job.id, ask.organisation, ask.kind, entry.job.attempt, sight.sandbox or "none")
                )

        self._house.db.write(write)

    def _ready(self, entry: Entry, address: str) -> None:
        if entry.job.state is JobState.READY:
            return

        def write(tx: Tx) -> None:
            if store.ready(tx, entry, address):
                self._house.events.append(tx, SYSTEM, JobReady(entry.job.id, entry.job.ask.organisation, entry.job.ask.kind, address))

        self._house.db.write(write)

    # --- ending ------------------------------------------------------------------------------------------------------------

    def _settle(self, entry: Entry, sight: Sight) -> None:
        ask = entry.job.ask
        verdict = rules.settle(
            sight,
            service=ask.service,
            cancelled=entry.cancel_requested,
            attempt=entry.job.attempt,
            stops=entry.stops,
            attempts=ask.attempts,
            last_line=self._last_line(entry.token),
        )
        outputs: tuple[Output, ...] = ()
        if verdict.state is JobState.SUCCEEDED:
            try:
                outputs = self.site.outputs(entry.token, self._keep)
            except (OutputRefused, OSError) as problem:
                if isinstance(problem, OSError) and problem.errno not in _JOBS_OWN_FAULT:
                    raise  # the house's own disk: it is tried again
                verdict = Verdict(JobState.FAILED, f"its outputs were refused: {problem}")
        told = replace(sight.exit or Exit(None, None, "", 0.0, 0.0, 0.0), reason=verdict.reason)

        def write(tx: Tx) -> bool:
            now: datetime = self._house.clock.now()
            done = store.settled(tx, entry, verdict, sight, told, outputs, now)
            if done and verdict.state in FINISHED:
                self._house.events.append(tx, SYSTEM, JobFinished(entry.job.id, ask.organisation, ask.kind, verdict.state.value))
            return done

        if self._house.db.write(write):
            log.info("attempt ended", job=entry.job.id, attempt=entry.job.attempt, state=verdict.state.value, reason=verdict.reason)
        if verdict.state not in FINISHED:
            self.site.tidy(entry.token, last=False)

    def _cancelled_in_queue(self, entry: Entry) -> None:
        def write(tx: Tx) -> None:
            told = entry.job.exit or Exit(None, None, "", 0.0, 0.0, 0.0)
            verdict = Verdict(JobState.CANCELLED, "it was cancelled")
            sight = Sight(Phase.FINISHED, ending=Ending.CANCELLED)
            if store.settled(tx, entry, verdict, sight, replace(told, reason=verdict.reason), (), self._house.clock.now()):
                ask = entry.job.ask
                self._house.events.append(tx, SYSTEM, JobFinished(entry.job.id, ask.organisation, ask.kind, verdict.state.value))

        self._house.db.write(write)

    def _tidy(self, entry: Entry) -> None:
        if entry.job.attempt > 0:
            self.site.tidy(entry.token, last=True)
        self._house.db.write(lambda tx: store.tidied(tx, entry.job.id))

    def _keep(self, file: IO[bytes]) -> tuple[str, int]:
        blob = self._house.blobs.put(iter(lambda: file.read(1 << 20), b""))
        return blob.digest, blob.size

    def _last_line(self, token: str) -> str:
        lines = [line.strip() for line in self.site.logs(token, -4000, 4000).text.splitlines()]
        return next((line for line in reversed(lines) if line), "")[:500]

    def _now(self) -> str:
        return stamp(self._house.clock.now())


def run_until_idle(house: House, patience_s: float = 120.0) -> None:
    """Carry the queue out in this thread until nothing but ready services is left. Raises TimeoutError."""
    dispatcher = house.port(Dispatcher)
    end = time.monotonic() + patience_s
    while True:
        dispatcher.step()
        left = house.db.read(lambda tx: [*store.queued(tx), *store.active(tx)])
        if all(entry.job.state is JobState.READY and not entry.cancel_requested for entry in left):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"still not ended: {[(entry.job.id, entry.job.state.value, entry.job.waits_for) for entry in left]}")
        time.sleep(0.03)
