"""The queue's engine: watches every site, decides, and moves every job forward.

Everything is read from the database and from the sites, so that a server that was killed at any point is followed by one that carries
on: an attempt's row is there before its site is asked, and the site can tell what became of any attempt. What is kept in memory here
(which attempts this very process has handed over, whom it has told to stop) only spares questions.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from importlib import import_module

import structlog

from lilong.floors.compute import store
from lilong.floors.compute.contract import JobState, Mode, Phase, Sight, Site, SiteDown
from lilong.floors.compute.store import Entry, attempts
from lilong.floors.compute.work.attending import Attendant, NotYet
from lilong.floors.compute.work.deciding import Decider
from lilong.floors.compute.work.sites import Sites
from lilong.ground.db import Tx
from lilong.ground.house import House

log = structlog.get_logger("lilong.compute")

LOOK_S = 0.2  # between two looks at what runs on this machine
_SOON_S = 0.05  # the same, while much is going on there
ENGINE_LOOK_S = 1.0  # and on an engine
REST_S = 5.0  # between two looks when nothing runs and nothing was written
SWEEP_S = 30.0  # between two times that every attempt is asked after, should a site have forgotten to tell of one
_BREATH_S = 0.03  # after a write: others often follow, and one look serves them all
_ALIVE_S = 30.0
_REPEAT_S = 10.0  # before a site is told again to end an attempt
_DOUBT_S = 1.0  # before something that went wrong is tried again
_HANDS = 4  # threads for each site
_SHARE = 2  # times the CPU time that a decision took, until the next one is made
_FEW, _MANY = 16, 50  # attempts that one of them takes on together, at least and at most


class Dispatcher:
    """`step` may be called by hand (tests); `start` has threads do the same: one for the queue, and one for each site."""

    def __init__(self, house: House, sites: Sites) -> None:
        self._house = house
        self.sites = sites
        self._attendant = Attendant(house, sites)
        self._decider = Decider(house, sites)
        self._busy: set[str] = set()
        self._doubts: dict[str, float] = {}  # attempts to ask their sites after, and from when on
        self._handed: set[str] = set()  # attempts that are known to be at their sites
        self._mine: set[str] = set()  # attempts that this process intended: nobody can have handed them over before
        self._told: dict[str, float] = {}  # attempts whose end was asked for, and when
        self._lively: set[str] = set()  # sites of which the last look told something new
        self._swept = float("-inf")
        self._last_sign = float("-inf")
        self._decide_at = float("-inf")
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._wakes: dict[str, threading.Event] = {"": threading.Event()}
        self._running = False
        self._hands: dict[str, Executor] = {}
        self._threads: dict[str, threading.Thread] = {}

    # --- the loops ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._running = True
        self._house.db.on_commit(self._wake)
        self._threads[""] = threading.Thread(target=self._loop, name="compute", daemon=True)
        self._threads[""].start()

    def stop(self) -> None:
        """End the loops, then every job at a site of the house's own: they begin again when the house opens next."""
        self.halt()
        for site in self.sites.all().values():
            with contextlib.suppress(SiteDown):
                site.stop()

    def halt(self) -> None:
        """End the loops and leave the jobs alone."""
        self._stop.set()
        self._wake()
        for thread in list(self._threads.values()):
            thread.join(timeout=30)
        self._decider.warming.stop()
        for hands in self._hands.values():
            hands.shutdown(wait=True, cancel_futures=True)

    @property
    def warming(self) -> bool:
        """Whether decisions are being compiled."""
        return self._decider.warming.busy

    def _wake(self) -> None:
        for event in list(self._wakes.values()):
            event.set()

    def _rest(self, name: str, seconds: float) -> None:
        self._wakes[name].wait(seconds)
        self._wakes[name].clear()
        self._stop.wait(_BREATH_S)

    def _loop(self) -> None:
        import_module("lilong.floors.compute.scheduler.opening")  # so that the first job need not wait for it
        while not self._stop.is_set():
            try:
                changes = self.sites.changes
                self.sites.refresh()
                if self.sites.changes != changes:  # who is declared otherwise is looked at before anything starts there
                    self._wake()
                for name in self.sites.all().keys() - self._threads.keys():
                    self._wakes[name] = threading.Event()
                    self._threads[name] = threading.Thread(target=self._follow, args=(name,), name=f"compute-{name}", daemon=True)
                    self._threads[name].start()
                active = self._turn()
            except Exception as problem:  # the queue goes on, whatever happens to one job
                log.error("step failed", error=repr(problem), exc_info=problem)
                active = True
            self._rest("", LOOK_S if active else REST_S)

    def _follow(self, name: str) -> None:
        while not self._stop.is_set():
            pause, busy = ENGINE_LOOK_S, True
            try:
                known = self.sites.known().get(name)
                if known is None:
                    del self._threads[name]
                    return
                busy = self._watch(name)
                pause = ENGINE_LOOK_S if known.site.mode is Mode.DELEGATED else _SOON_S if name in self._lively else LOOK_S
            except Exception as problem:
                log.error("site not watched", site=name, error=repr(problem), exc_info=problem)
            if busy:
                self._stop.wait(pause)
            else:
                self._rest(name, REST_S)

    def step(self) -> bool:
        """One look at everything; whether there is anything to look after."""
        self.sites.refresh()
        watched = [self._watch(name) for name in self.sites.all()]
        active = self._turn()
        if active:  # what was handed over runs already, or even has ended
            watched += [self._watch(name) for name in self.sites.all()]
        return active or any(watched)

    # --- sites -------------------------------------------------------------------------------------------------------------

    def _watch(self, name: str) -> bool:
        """Ask a site what has changed; whether something of ours is there."""
        tokens = self._house.db.read(lambda tx: attempts.open_at(tx, name))
        known = self.sites.known()[name]
        try:
            if tokens or known.declared:
                self.sites.look(name)
            self._sign_of_life()
            if not tokens:
                return False
            self._sweep()
            self._ask_after(name, tokens)
            watched = known.site.watch(self.sites.cursor(name))
        except SiteDown as problem:
            if self.sites.down(name, problem):
                log.warning("site does not answer", site=name, problem=str(problem))
            with self._guard:  # what was done there while it did not answer is not certain
                self._doubts |= dict.fromkeys(tokens, self._house.clock.monotonic() + _DOUBT_S)
            return bool(tokens)
        self.sites.answers(name)
        (self._lively.add if watched.sights else self._lively.discard)(name)
        sights = {token: sight for token, sight in watched.sights.items() if token in tokens}
        self._give_all(name, sights, partial(self._saw_all, sights=sights), lambda entry: self._saw(entry, sights[entry.token]))
        self.sites.keep_cursor(name, watched.cursor)
        return True

    def _sign_of_life(self) -> None:
        now = self._house.clock.monotonic()
        if now - self._last_sign < _ALIVE_S:
            return
        self._last_sign = now
        for site in self.sites.all().values():
            alive: Callable[[], None] | None = getattr(site, "alive", None)
            if alive is not None:
                alive()

    def _sweep(self) -> None:
        """Everything is in doubt at first: another server may have been killed at any point."""
        now = self._house.clock.monotonic()
        if now - self._swept < SWEEP_S:
            return
        with self._guard:
            self._swept = now
            tokens = self._house.db.read(attempts.open_tokens)
            self._doubts |= dict.fromkeys(tokens - self._doubts.keys() - self._mine, now)
            self._handed &= tokens
            self._mine &= tokens
            self._told = {token: at for token, at in self._told.items() if token in tokens}

    def _ask_after(self, name: str, tokens: Iterable[str]) -> None:
        now = self._house.clock.monotonic()
        with self._guard:
            due = sorted(token for token in tokens if self._doubts.get(token, now + 1) <= now and token not in self._busy)
            for token in due:
                del self._doubts[token]
        site = self.sites.named(name)
        self._give_all(name, due, partial(self._find_all, site), lambda entry: self._saw(entry, site.find(entry.token)))

    def _find_all(self, site: Site, tokens: Sequence[str]) -> None:
        self._saw_all(tokens, {token: site.find(token) for token in tokens})

    def _saw(self, entry: Entry, sight: Sight) -> None:
        if sight.phase is not Phase.NEVER:
            with self._guard:
                self._handed.add(entry.token)
        self._attendant.saw(entry, sight)
        if sight.phase is Phase.NEVER:
            self._submitted(entry)

    def _saw_all(self, tokens: Sequence[str], sights: Mapping[str, Sight]) -> None:
        entries = self._attendant.all_current(tokens)
        with self._guard:
            self._handed.update(token for token in entries if sights[token].phase is not Phase.NEVER)
        self._attendant.saw_all((entry, sights[token]) for token, entry in entries.items())
        with self._guard:
            self._handed.update(entries)  # those that had never come there, too

    # --- jobs --------------------------------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Whatever the queue itself has to do; whether there is anything to look after."""
        stops, untidied = self._house.db.read(lambda tx: (store.to_stop(tx), store.untidied(tx)))
        ended = self._attendant.end_queued()
        for entry in stops:
            self._end(entry)
        for site in sorted(set(untidied.values())):
            here = [token for token, at in untidied.items() if at == site]
            self._give_all(site, here, partial(self._attendant.tidy, site), again=False)
        begun = self._decide()
        with self._guard:
            self._mine |= begun
            due = self._mine - self._handed
        entries = self._attendant.all_current(sorted(due)) if due else {}
        with self._guard:
            self._mine -= due - entries.keys()
        for site in sorted({entry.job.site or "" for entry in entries.values()}):
            there = {token: entry for token, entry in entries.items() if entry.job.site == site and entry.job.state is JobState.STARTING}
            self._give_all(site, there, partial(self._submit_all, site, there), self._submit)
        return bool(stops or ended or begun or untidied or self._house.db.read(_any))

    def _decide(self) -> set[str]:
        """The attempts that begin. Never too often: decisions that take long are to take a part of the time, not all of it."""
        now = self._house.clock.monotonic()
        if now < self._decide_at:
            return set()
        began = time.thread_time()
        try:
            return set(self._decider.decide())
        except Exception as problem:  # what runs goes on
            log.error("no decision", error=repr(problem), exc_info=problem)
            return set()
        finally:
            if self._running:
                self._decide_at = now + min(_SHARE * (time.thread_time() - began), LOOK_S)

    def _submit_all(self, site: str, entries: Mapping[str, Entry], tokens: Sequence[str]) -> Iterator[str]:
        """Those are as they were read: whoever would have changed them since would have had to be about them too.

        Yields each that is handed over: short ones end while others still are being handed over.
        """
        stopping = self._attendant.stopping(site)
        for token in tokens:
            if token not in self._handed:
                try:
                    self._attendant.submit(entries[token], stopping)
                except NotYet:
                    raise
                except Exception:  # it may have come there all the same
                    with self._guard:
                        self._mine.discard(token)
                    raise
                with self._guard:
                    self._handed.add(token)
            yield token

    def _submit(self, entry: Entry) -> None:
        if entry.token not in self._mine:
            self._saw(entry, self.sites.named(entry.job.site or "").find(entry.token))
        elif entry.job.state is JobState.STARTING and entry.token not in self._handed:
            self._attendant.submit(entry)
            self._submitted(entry)

    def _submitted(self, entry: Entry) -> None:
        with self._guard:
            self._handed.add(entry.token)

    def _end(self, entry: Entry) -> None:
        """Of a job whose end was asked for, or that has to make room."""
        if entry.job.state is JobState.QUEUED:
            self._give(entry.token, "", self._attendant.cancelled_in_queue, entry)
            return
        now = self._house.clock.monotonic()
        with self._guard:
            again = entry.token not in self._handed or now - self._told.get(entry.token, -_REPEAT_S) >= _REPEAT_S
            if again:
                self._told[entry.token] = now
        if again:
            self._give(entry.token, entry.job.site or "", self._tell_to_end)

    def _tell_to_end(self, entry: Entry) -> None:
        site = self._attendant.site(entry)
        site.cancel(entry.token)
        self._attendant.saw(entry, site.find(entry.token))

    # --- hands -------------------------------------------------------------------------------------------------------------

    def _give_all(
        self,
        site: str,
        tokens: Iterable[str],
        together: Callable[[Sequence[str]], Iterable[str] | None],
        alone: Callable[[Entry], None] | None = None,
        *,
        again: bool = True,
    ) -> None:
        """Do the same about many attempts, some at a time; `together` may tell which it is done with before it is with all. If it does
        not work out for some together, each of them is tried `alone`.

        `again`: those about whose jobs somebody is busy are asked after later.
        """
        with self._guard:
            free = [token for token in tokens if not self._taken(token, again)]
            self._busy.update(token.rpartition(".")[0] for token in free)

        def act(some: Sequence[str]) -> None:
            failed = False
            left = {token.rpartition(".")[0] for token in some}
            try:
                for token in together(some) or ():
                    with self._guard:
                        self._busy.discard(token.rpartition(".")[0])
                        left.discard(token.rpartition(".")[0])
            except Exception as problem:
                failed = True
                log.log(logging.DEBUG if alone else logging.ERROR, "not done together", site=site, error=repr(problem), exc_info=problem)
            finally:
                with self._guard:
                    self._busy -= left
            for token in some if failed and alone else ():
                assert alone is not None
                self._give(token, site, alone)

        share = min(max(-(-len(free) // _HANDS), _FEW), _MANY)
        for at in range(0, len(free), share):
            self._work(site, partial(act, free[at : at + share]))

    def _give(self, token: str, site: str, action: Callable[[Entry], None], entry: Entry | None = None) -> None:
        """Do something about an attempt, in a thread of its site's own; never two things about one job at a time.

        The job is read again first: it may have moved on since it was looked at.
        """
        job_id = token.rpartition(".")[0]
        with self._guard:
            if self._taken(token, entry is None):
                return
            self._busy.add(job_id)

        def act() -> None:
            try:
                current = entry or self._attendant.current(token)
                if current is not None:
                    action(current)
            except NotYet:
                self._doubt(token, LOOK_S)
            except SiteDown as problem:
                self.sites.down(site, problem)
                self._doubt(token)
            except Exception as problem:
                log.error("job not attended to", job=job_id, error=repr(problem), exc_info=problem)
                self._doubt(token)
            finally:
                with self._guard:
                    self._busy.discard(job_id)

        self._work(site, act)

    def _taken(self, token: str, again: bool) -> bool:
        """Whether somebody is busy with its job; then, with `again`, its site is asked after it."""
        taken = token.rpartition(".")[0] in self._busy
        if taken and again:
            self._doubts.setdefault(token, self._house.clock.monotonic())
        return taken

    def _work(self, site: str, act: Callable[[], None]) -> None:
        if not self._running:
            act()
        elif not self._stop.is_set():
            if site not in self._hands:
                self._hands[site] = ThreadPoolExecutor(_HANDS, thread_name_prefix=f"compute-{site}")
            self._hands[site].submit(act)

    def _doubt(self, token: str, pause: float = _DOUBT_S) -> None:
        with self._guard:
            self._mine.discard(token)
            self._doubts[token] = self._house.clock.monotonic() + pause


def _any(tx: Tx) -> bool:
    """Whether something waits that may start, or runs."""
    return attempts.any_open(tx) or tx.row("SELECT 1 FROM compute_queues WHERE waiting > 0") is not None


def run_until_idle(house: House, patience_s: float = 120.0) -> None:
    """Carry the queue out in this thread until nothing but ready services, and jobs that somebody holds, is left, and
    what they no longer need is gone. Raises TimeoutError."""
    dispatcher = house.port(Dispatcher)
    end = time.monotonic() + patience_s
    while True:
        dispatcher.step()
        left = house.db.read(_left)
        if not left and not house.db.read(store.untidied):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"still not ended: {left}")
        time.sleep(0.03)


def _left(tx: Tx) -> list[tuple[str, str, str | None]]:
    found = tx.rows(
        "SELECT id, state, waits_for FROM compute_jobs WHERE (state = 'queued' AND (held = 0 OR held >= 4 OR cancel_requested = 1))"
        " OR state IN ('starting', 'running') OR (state = 'ready' AND cancel_requested = 1) ORDER BY place"
    )
    return [(row["id"], row["state"], row["waits_for"]) for row in found]
