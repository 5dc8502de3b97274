"""Bringing one attempt forward: hand it to its site, follow it, settle it. Each step may be made again after a crash at any point."""

from __future__ import annotations

import errno
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import IO, Any

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
    Mode,
    Output,
    Phase,
    ReasonCode,
    Sight,
    Site,
    SiteDown,
    Task,
    Usage,
)
from lilong.floors.compute.rules import Verdict
from lilong.floors.compute.rules.asking import ARRAY_INDEX
from lilong.floors.compute.rules.settings import ComputeSettings, TenantSettings
from lilong.floors.compute.store import Entry, attempts
from lilong.floors.compute.store import settings as declared
from lilong.floors.compute.store.waiting import Tally
from lilong.floors.compute.work.sites import Sites
from lilong.floors.compute.work.snapshotting import tenant
from lilong.ground.access import SYSTEM
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.events import Event
from lilong.ground.house import House
from lilong.ground.sandbox import OutputRefused
from lilong.ground.seams import stamp

log = structlog.get_logger("lilong.compute")

_JOBS_OWN_FAULT = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # what it did to its folder of outputs
_NOTHING = Exit(None, None, "", 0.0, 0.0, 0.0)
_CANCELLED = Sight(Phase.FINISHED, ending=Ending.CANCELLED)


class NotYet(Exception):
    """Nothing can be done about the attempt now: others must leave its nodes first, or its site does not know yet how it is kept in."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is written down in one transaction. Of the steps' news and of what follows from an end, the transaction tells at its end."""

    tx: Tx
    settings: ComputeSettings
    tally: Tally = field(default_factory=Tally)
    news: list[Event] = field(default_factory=list)
    over: dict[str, JobState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to be written down of an attempt, and what is to be done once it is."""

    write: Callable[[_Batch], None]
    after: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class _End:
    verdict: Verdict
    sight: Sight
    told: Exit
    outputs: tuple[Output, ...]
    usage: Usage | None
    began: bool


class Attendant:
    def __init__(self, house: House, sites: Sites) -> None:
        self._house = house
        self._sites = sites

    def current(self, token: str) -> Entry | None:
        """The job as it is now, if this is its attempt and has not ended."""
        job_id = token.rpartition(".")[0]
        found = self._house.db.read(lambda tx: store.entry(tx, job_id))
        return found if found.holds_resources and found.token == token else None

    def all_current(self, tokens: Iterable[str]) -> dict[str, Entry]:
        """The same of several; those that have ended or moved on are left out."""
        wanted = {token.rpartition(".")[0]: token for token in tokens}
        found = self._house.db.read(lambda tx: store.entries(tx, list(wanted)))
        return {entry.token: entry for entry in found if entry.holds_resources and wanted[entry.job.id] == entry.token}

    def site(self, entry: Entry) -> Site:
        return self._sites.named(entry.job.site or "local")

    # --- handing over ------------------------------------------------------------------------------------------------------

    def submit(self, entry: Entry, stopping: Container[str] | None = None) -> None:
        """Hand an attempt to its site that was certainly never there. Raises NotYet, SiteDown.

        `stopping`: nodes of the site where others must leave first; looked up if not told.
        """
        if entry.cancel_requested or entry.preempted:
            self.settle(entry, _CANCELLED)
            return
        site = self.site(entry)
        if stopping is None:
            stopping = self.stopping(site.name)
        if any(placed.node in stopping for placed in entry.job.placement):
            raise NotYet
        try:
            site.submit(entry.token, self._task(entry))
        except AlreadySubmitted:
            pass
        except SiteDown:
            raise
        except (LilongError, OSError) as problem:
            # what cannot be prepared now must not start later by itself either
            site.cancel(entry.token)
            gone = isinstance(problem, NotFound) and str(problem.details.get("kind", "")).startswith("node ")
            ending, reason = Ending.UNABLE, f"it could not be started: {problem}"
            if gone:  # since it was chosen: not the job's doing
                ending, reason = Ending.STOPPED, "its node was taken away before it could start"
            self.settle(entry, Sight(Phase.FINISHED, ending=ending, exit=replace(_NOTHING, reason=reason)))

    def stopping(self, site: str) -> set[str]:
        return self._house.db.read(lambda tx: attempts.stopping(tx, site))

    def _task(self, entry: Entry) -> Task:
        from lilong.floors.compute.service import secrets  # the service opens what is here

        ask, snap = entry.job.ask, entry.snap
        way: Mapping[str, Any] = snap["ways"][0] if snap else {}
        env = dict(ask.env)
        if entry.job.index is not None:
            env[ARRAY_INDEX] = str(entry.job.index)
        return Task(
            argv=ask.argv,
            inputs=ask.inputs,
            spec=ask.spec,
            cpus=way.get("cpu", 0) // 1000 or ask.cpus,
            memory_mib=way.get("memory") or ask.memory_mib,
            timeout_s=ask.timeout_s if ask.service or not way else way["limit"],
            network=ask.network,
            service=ask.service,
            tasks=way.get("tasks", 1),
            accelerator=way.get("accelerator", ""),
            devices=way.get("devices", 0),
            milli=way.get("milli", 1000),
            placed=entry.job.placement if self.site(entry).mode is Mode.OWNED else (),  # where others place, nothing is pinned
            env=env,
            secrets=self._house.db.read(lambda tx: secrets.opened(self._house, tx, entry.job.id, ask)) if ask.secrets else {},
            image=ask.image,
        )

    # --- following ---------------------------------------------------------------------------------------------------------

    def saw(self, entry: Entry, sight: Sight) -> None:
        """What a site tells of a job's present attempt. Raises NotYet, SiteDown."""
        self.saw_all([(entry, sight)])

    def saw_all(self, seen: Iterable[tuple[Entry, Sight]]) -> None:
        """The same of several, written down in one transaction."""
        self._take([step for entry, sight in seen if (step := self._step(entry, sight)) is not None])

    def _step(self, entry: Entry, sight: Sight) -> _Step | None:
        starting = entry.job.state is JobState.STARTING
        if sight.phase is Phase.NEVER:
            if not starting:
                return self._end(entry, replace(sight, phase=Phase.LOST))
            self.submit(entry)
        elif sight.phase is Phase.PENDING:
            words = sight.waits_for or ""
            told = entry.job.reason is ReasonCode.ENGINE and (entry.job.waits_for or "").endswith(words)
            if starting and not told:
                return _Step(lambda batch: attempts.pending(batch.tx, entry, words))
        elif sight.phase is Phase.RUNNING:
            if starting and sight.sandbox is None:
                raise NotYet
            if starting or (sight.address is not None and entry.job.state is not JobState.READY):
                return _Step(lambda batch: self._runs(batch, entry, sight))
        else:
            return self._end(entry, sight, began=starting and sight.ending is not Ending.UNABLE)
        return None

    def _take(self, steps: Sequence[_Step]) -> None:
        def write(tx: Tx) -> None:
            from lilong.floors.compute.service import ending

            batch = _Batch(tx, declared.current(tx)[1])
            for step in steps:
                step.write(batch)
            batch.tally.write(tx)
            if batch.news:
                self._house.events.append_all(tx, SYSTEM, batch.news)
            ending.followed(self._house, tx, batch.over)

        if steps:
            self._house.db.write(write)
        for step in steps:
            step.after()

    def _runs(self, batch: _Batch, entry: Entry, sight: Sight) -> None:
        ask = entry.job.ask
        if entry.job.state is JobState.STARTING:
            level = sight.sandbox or "none"
            if attempts.started(batch.tx, entry, level, sight.nodes, stamp(self._house.clock.now())):
                batch.news.append(_began(entry, sight))
        if sight.address is not None and attempts.ready(batch.tx, entry, sight.address):
            batch.news.append(JobReady(entry.job.id, ask.organisation, ask.kind, sight.address))

    # --- ending ------------------------------------------------------------------------------------------------------------

    def settle(self, entry: Entry, sight: Sight) -> None:
        self._take([self._end(entry, sight)])

    def _end(self, entry: Entry, sight: Sight, *, began: bool = False) -> _Step:
        """`began`: it had begun before it ended, and that was not written down yet."""
        ask, site = entry.job.ask, self.site(entry)
        well = not ask.service and sight.ending is Ending.EXITED and sight.exit is not None and sight.exit.code == 0
        verdict = rules.settle(
            sight,
            service=ask.service,
            cancelled=entry.cancel_requested,
            attempt=entry.job.attempt,
            stops=entry.stops,
            attempts=ask.attempts,
            last_line="" if well else _last_line(site, entry.token),
            preempted=entry.preempted,
            checkpoint_s=ask.checkpoint_s,
        )
        outputs: tuple[Output, ...] = ()
        if verdict.state is JobState.SUCCEEDED:
            try:
                outputs = site.outputs(entry.token, self._keep)
            except (OutputRefused, OSError) as problem:
                if isinstance(problem, OSError) and problem.errno not in _JOBS_OWN_FAULT:
                    raise  # the house's own disk: it is tried again
                verdict = Verdict(JobState.FAILED, f"its outputs were refused: {problem}")
        told = replace(sight.exit or _NOTHING, reason=verdict.reason)
        verdict = replace(verdict, kept_s=_at_first_speed(verdict.kept_s, entry))
        usage = site.usage(entry.token) if sight.exit is not None and (began or entry.job.state is not JobState.STARTING) else None
        settled: list[bool] = []

        def write(batch: _Batch) -> None:
            settled.append(self._settled(batch, entry, _End(verdict, sight, told, outputs, usage, began)))

        def after() -> None:
            if settled[-1]:
                log.info("attempt ended", job=entry.job.id, attempt=entry.job.attempt, state=verdict.state.value, reason=verdict.reason)
            if verdict.state not in FINISHED:
                site.tidy(entry.token, last=False)

        return _Step(write, after)

    def _settled(self, batch: _Batch, entry: Entry, end: _End) -> bool:
        now: datetime = self._house.clock.now()
        ask, tx = entry.job.ask, batch.tx
        if not attempts.settled(tx, entry, end.verdict, end.sight, end.told, end.outputs, now, end.usage, batch.tally, began=end.began):
            return False
        if end.began:
            batch.news.append(_began(entry, end.sight))
        name = tenant(batch.settings, ask.organisation, ask.project)
        attempts.used(tx, entry.token, batch.settings.tenants.get(name, TenantSettings(name)).half_life_s, now)
        if end.verdict.state in FINISHED:
            batch.news.append(JobFinished(entry.job.id, ask.organisation, ask.kind, end.verdict.state.value))
            batch.over[entry.job.id] = end.verdict.state
        return True

    def cancelled_in_queue(self, entry: Entry) -> None:
        from lilong.floors.compute.service import ending

        self._house.db.write(lambda tx: ending.end_queued(self._house, tx, SYSTEM, {entry.job.id: "it was cancelled"}))

    def end_queued(self) -> bool:
        """Some of the queued jobs whose end was asked for; whether there were any."""
        from lilong.floors.compute.service import ending

        if not self._house.db.read(lambda tx: store.to_end(tx, 1)):
            return False
        return self._house.db.write(lambda tx: ending.end_queued(self._house, tx, SYSTEM, store.to_end(tx, ending.AT_ONCE)))

    def tidy(self, site: str, tokens: Sequence[str]) -> None:
        """Of jobs that are over, whose last attempts those were."""
        there = self._sites.all().get(site)
        for token in tokens:
            if there is not None and not token.endswith(".0"):
                there.tidy(token, last=True)
        self._house.db.write(lambda tx: store.tidied(tx, [token.rpartition(".")[0] for token in tokens]))

    def _keep(self, file: IO[bytes]) -> tuple[str, int]:
        blob = self._house.blobs.put(iter(lambda: file.read(1 << 20), b""))
        return blob.digest, blob.size


def _began(entry: Entry, sight: Sight) -> JobStarted:
    ask = entry.job.ask
    return JobStarted(entry.job.id, ask.organisation, ask.kind, entry.job.attempt, sight.sandbox or "none")


def _last_line(site: Site, token: str) -> str:
    lines = [line.strip() for line in site.logs(token, -4000, 4000).text.splitlines()]
    return next((line for line in reversed(lines) if line), "")[:500]


def _at_first_speed(seconds: int, entry: Entry) -> int:
    """Work is counted in seconds of the class that the time limit was asked for."""
    limit = entry.snap["ways"][0]["limit"] if entry.snap else 0
    return seconds * entry.job.ask.timeout_s // limit if limit and not entry.job.ask.service else seconds
