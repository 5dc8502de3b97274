# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""Deciding again with one job otherwise, many times over: the arrays are prepared once, and one job in them is patched.

Once nothing more starts, a waiting job is held up by what is free and by the starts that are promised to those before it, and by nothing
else in the queue. So a queue of just these and the job decides about the job as the whole queue does, in a hundredth of the time; where
the change could move the job to another place in the order, the whole queue is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lilong.floors.compute.rules.counterfactuals import Change, Supposed, counterfactuals, suppose
from lilong.floors.compute.rules.estimating import Ahead, History, drawn, quantile
from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.decide import Queue, decided, planned
from lilong.floors.compute.scheduler.jobs import ABSENT, NEVER, RUNNING, WAITING, Book, Jobs
from lilong.floors.compute.scheduler.opening import Opened, Words, opening, told
from lilong.floors.compute.scheduler.order import enqueue
from lilong.floors.compute.scheduler.policy import Policy
from lilong.floors.compute.scheduler.simulation.run import forward
from lilong.floors.compute.scheduler.snapshot import Decision, SnapJob, Snapshot, Way
from lilong.floors.compute.scheduler.state import WHOLE, Site
from lilong.floors.compute.scheduler.tenants import Tenants, hold_job

SPARE = 8  # shapes that a patched job may bring
ROOM = 256  # tasks of a patched job that has more than before
ROUNDS = 3  # decisions until nothing more starts


class Supposing:
    """A snapshot, decided, and what one job otherwise would change. `order`: the waiting jobs as they are looked at."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.asked = snapshot
        self.decision = Decision({}, (), {}, {}, 0)
        for at in range(ROUNDS):
            self.opened = _padded(opening(snapshot))
            self._state, self._queue = decided(self.opened.state, self.opened.queue, self.opened.policy, snapshot.now, snapshot.seed)
            found = told(self.opened, planned(self._queue))
            self.decision = found if at == 0 else replace(found, starts=self.decision.starts, preemptions=self.decision.preemptions)
            self.snapshot = snapshot
            if not found.starts and not found.preemptions:
                break
            snapshot = after(snapshot, found)
        lines, names = self._queue.lines, self._queue.book.names
        self.line: tuple[int, ...] = tuple(lines.waiting[: lines.waits[0]].tolist())
        refused = [names[job] for job in range(len(names)) if self.decision.reasons.get(names[job]) == "impossible"]
        self.order = (*(names[job] for job in self.line), *refused)
        self._jobs = {job.id: job for job in snapshot.jobs}
        self._words = Words(snapshot)
        self._cut: tuple[str, Queue, Policy] | None = None

    def counterfactuals(self, job_id: str, others: Sequence[Way] = ()) -> list[Change]:
        """What would make it start now (see rules.counterfactuals)."""
        if job_id in self.decision.starts:
            return []
        reserved = self.decision.reservations.values()
        return counterfactuals(self.snapshot, job_id, lambda supposed: self.begins(job_id, supposed), others, reserved)

    def begins(self, job_id: str, supposed: Supposed) -> bool:
        """Whether the job starts now if that is so."""
        at = self.opened.at[job_id]
        if not self._can_be_patched(self._jobs[job_id], supposed):
            return job_id in _decided(suppose(self.snapshot, job_id, supposed)).starts
        whole = not _keeps_its_place(self.opened.policy, supposed)
        if whole and supposed.priority is not None and not self._decides(*self._first_of_all(at, job_id, supposed), at):
            return False  # not even if it were looked at before all others
        if whole:
            state, queue = self.opened.state, self.opened.queue.copied()
            policy = self.opened.policy
        else:
            state, (queue, policy) = self._state, self._alone(job_id, at)
            queue = queue.copied()
        state = self._patched(state, queue, at, supposed)
        if whole and policy.order != "fair":
            _take_its_place(queue, at, policy)
        return self._decides(state, queue, policy, at)

    def _decides(self, state: Site, queue: Queue, policy: Policy, at: int) -> bool:
        _, found = decided(state, queue, policy, self.snapshot.now, self.snapshot.seed)
        return bool(found.book.jobs.job.state[at] == RUNNING)

    def futures(self, history: History, ahead: Mapping[str, Ahead], runs: int) -> dict[str, tuple[int | None, int | None]]:
        """P50 and P90 of every waiting job's start, in unix seconds, over so many futures; None: not within what was played."""
        names = self.opened.queue.book.names
        unknown = Ahead("", "", "", 0)
        drawings = drawn(history, [ahead.get(name, unknown) for name in names], runs, self.snapshot.seed)
        endless = np.array([name not in ahead or ahead[name].limit >= NEVER for name in names])
        drawings[:, endless] = NEVER
        starts = forward(self.opened.state, self.opened.queue, self.opened.policy, self.snapshot.now, drawings)
        found = {}
        for name in self.order:
            column = starts[:, self.opened.at[name]].tolist()
            found[name] = (quantile(column, 0.5, NEVER), quantile(column, 0.9, NEVER))
        return found

    # --- patching ----------------------------------------------------------------------------------------------------------

    def _can_be_patched(self, job: SnapJob, supposed: Supposed) -> bool:
        """Not: ways that the arrays have no room for, or gangs of a new shape that must stay together."""
        policy, ways = self.opened.policy, supposed.ways or ()
        if policy.round or self.decision.reasons.get(job.id) == "impossible" or len(ways) > len(job.ways):
            return False
        fresh = [way for at, way in enumerate(ways) if not _same_shape(way, job.ways[at])]
        if len(fresh) > SPARE or max((way.tasks for way in ways), default=0) > ROOM:
            return False
        return not any(way.tasks > 1 and (way.within not in ("", "site") or way.near) for way in fresh)

    def _alone(self, job_id: str, at: int) -> tuple[Queue, Policy]:
        """A queue of the job and those before it to whom a start is promised, and the policy for just these."""
        if self._cut is None or self._cut[0] != job_id:
            queue, policy = self._queue.copied(), replace(self.opened.policy, order="submitted")
            rows = queue.book.jobs.job
            before = [job for job in self.line[: self.line.index(at)] if rows.reserved[job] < NEVER]
            if not before and policy.backfill != "conservative":
                policy = replace(policy, backfill="none", reservations=1)
            _keep(queue, [*before, at])
            self._cut = (job_id, queue, policy)
        return self._cut[1], self._cut[2]

    def _first_of_all(self, at: int, job_id: str, supposed: Supposed) -> tuple[Site, Queue, Policy]:
        queue = self._queue.copied()
        _keep(queue, [at])
        state = self._patched(self._state, queue, at, supposed)
        return state, queue, replace(self.opened.policy, order="submitted", backfill="none", reservations=1)

    def _patched(self, state: Site, queue: Queue, at: int, supposed: Supposed) -> Site:
        """Patch a queue that is a copy; the state, with what was changed copied."""
        rows, job = queue.book.jobs.job, self._jobs[queue.book.names[at]]
        if supposed.preemptible is not None:
            rows.preemptible[at] = supposed.preemptible
        if supposed.priority is not None:
            rows.priority[at] = supposed.priority
        if supposed.ways is not None:
            self._lay_ways(queue, at, job, supposed.ways)
        if supposed.no_maintenance:
            node = state.node.copy()
            node.closes[node.closes > 0] = NEVER
            group = state.group.copy()
            group.closes[group.closes > 0] = NEVER
            leaf = state.leaf.copy()
            leaf.closes[leaf.closes > 0] = NEVER
            closing = np.where(state.closing > 0, NEVER, state.closing)
            state = state._replace(node=node, group=group, leaf=leaf, closing=closing)
        if supposed.quotas:
            changed = suppose(self.snapshot, job.id, Supposed(quotas=supposed.quotas))
            tree = Words(changed).tree([self._words.node(one) for one in self.snapshot.nodes])
            for column, value in zip(queue.tenants, tree, strict=True):
                np.copyto(column, value)
            hold_all(queue.tenants, state, queue.book.shapes, queue.book.jobs)
        return state

    def _lay_ways(self, queue: Queue, at: int, job: SnapJob, ways: Sequence[Way]) -> None:
        rows, options, shapes = queue.book.jobs.job, queue.book.jobs.option, queue.book.shapes
        first, many = int(rows.first[at]), len(job.ways)
        spare = shapes.size - SPARE
        for k in range(many):
            way = ways[min(k, len(ways) - 1)]
            option = self._words.option(way)
            row = options[first + k]
            if not _same_shape(way, job.ways[k]):
                shape, spare = shapes[spare], spare + 1
                for name in ("devices", "milli", "cpu", "memory", "classes", "pool"):
                    shape[name] = getattr(option.shape, name)
                shape.bucket = -1 if not way.devices else 0 if way.milli < WHOLE else min(way.devices, 9)
                row.need, row.level, row.near = spare - 1, 0, 0
            row.tasks, row.limit, row.price = way.tasks, way.limit, way.price
            row.width = way.tasks * (way.devices * way.milli if way.devices else 0 if _counts_devices(queue) else way.cpu)
            if spare > shapes.size:
                raise ValueError("more new shapes than there is room for")
        rows.limit[at] = max(way.limit for way in ways)
        rows.width[at] = options.width[first]
        rows.prefer[at] = first
        if max(way.tasks for way in ways) > int(rows.room[at + 1] - rows.room[at]):
            rows.room[at] = queue.book.jobs.place.size - ROOM


def _decided(snapshot: Snapshot) -> Decision:
    found = opening(snapshot)
    return told(found, planned(decided(found.state, found.queue, found.policy, snapshot.now, snapshot.seed)[1]))


def after(snapshot: Snapshot, decision: Decision) -> Snapshot:
    """The snapshot once a decision is carried out: who starts runs, who gives way waits."""
    jobs = []
    for job in snapshot.jobs:
        if job.id in decision.preemptions:
            job = replace(job, started=None, way=0, places=())
        if (start := decision.starts.get(job.id)) is not None:
            job = replace(job, started=snapshot.now, way=start.way, places=start.places)
        jobs.append(job)
    return replace(snapshot, jobs=tuple(jobs))


def _keeps_its_place(policy: Policy, supposed: Supposed) -> bool:
    """Whether those who are looked at before the job stay the same."""
    if supposed.priority is not None or policy.backfill == "easy-sjbf" or policy.preempts == "later":
        return False
    return policy.order == "submitted" or (policy.order == "fair" and (supposed.ways is None or len(supposed.ways) != 1))


def _same_shape(way: Way, other: Way) -> bool:
    return (way.site, way.accelerator, way.devices, way.milli, way.cpu, way.memory, way.within, way.near) == (
        other.site, other.accelerator, other.devices, other.milli, other.cpu, other.memory, other.within, other.near,
    )  # fmt: skip


def _counts_devices(queue: Queue) -> bool:
    return any(shape.devices for shape in queue.book.asked)


def _padded(opened: Opened) -> Opened:
    """With room for what a patched job may bring: a few more shapes, and places for more tasks."""
    state, book = opened.state, opened.queue.book
    shapes = _longer(book.shapes, SPARE)
    shapes.spot[-SPARE:] = -1
    shapes.failed_in[-SPARE:] = shapes.limited_in[-SPARE:] = shapes.denied_in[-SPARE:] = -1
    jobs = Jobs(book.jobs.job, book.jobs.option, _longer(book.jobs.place, ROOM))
    memo = state.memo
    if memo.shape[0] > 1 or state.node.size == 1:
        memo = np.concatenate([memo, np.full((memo.shape[0], SPARE), -2, np.int64)], axis=1)
    twin = Book(book.names, jobs, shapes, book.asked, book.uses, book.levels, book.together)
    return replace(opened, state=state._replace(memo=memo), queue=replace(opened.queue, book=twin))


def _longer(rows: Any, many: int) -> Any:
    made = np.zeros(rows.size + many, rows.dtype).view(np.recarray)
    made[: rows.size] = rows
    return made


def _keep(queue: Queue, line: Iterable[int]) -> None:
    """Leave only these in the queue, in this order; the last without a promise."""
    q, rows, kept = queue.lines, queue.book.jobs.job, list(line)
    gone = q.waiting[: q.waits[0]]
    rows.state[gone] = ABSENT
    rows.state[kept] = WAITING
    q.waiting[: len(kept)] = kept
    q.waits[0], q.seen[0] = len(kept), 0
    rows.reserved[kept[-1]], rows.placed[kept[-1]] = NEVER, 0
    if q.head[0] not in kept[:-1]:
        q.head[0] = -1


def _take_its_place(queue: Queue, at: int, policy: Policy) -> None:
    """Put a waiting job where it belongs in the order now."""
    q, rows = queue.lines, queue.book.jobs.job
    by_length = policy.backfill == "easy-sjbf"
    if policy.order == "shortest":
        rows.key[at] = rows.limit[at]
    elif policy.order == "remaining":
        rows.key[at] = rows.limit[at] - rows.done[at]
    for line in (q.waiting, q.short) if by_length else (q.waiting,):
        left = line[: q.waits[0]][line[: q.waits[0]] != at]
        line[: left.size] = left
    q.waits[0] -= 1
    enqueue(q, queue.book.jobs, at, by_length)


@compiled
def hold_all(T: Tenants, s: Site, h: Any, b: Jobs) -> None:
    """Count all that runs."""
    for job in range(b.job.size - 1):
        if b.job[job].state == RUNNING:
            hold_job(T, s, h, b, job, 1)
