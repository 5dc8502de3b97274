# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""Deciding again with one job otherwise, many times over: the arrays are prepared once, and one job in them is patched.

Once nothing more starts, a waiting job is held up by what is free, and by those before it who were promised a start or may not be overtaken, and
by nothing else in the queue. So a queue of just these and the job decides about the job as the whole queue does, in a hundredth of the time. Where
others could start too, they are asked with it; policies that order by length ask the whole queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lilong.floors.compute.rules.counterfactuals import Change, Supposed, Turns, counterfactuals, suppose, with_quotas
from lilong.floors.compute.rules.estimating import Ahead, History, drawn, quantile
from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.decide import Queue, Reason, copy_into, decided, planned, play_once
from lilong.floors.compute.scheduler.jobs import ABSENT, NEVER, RUNNING, WAITING, Book, Jobs
from lilong.floors.compute.scheduler.opening import Opened, Words, opening, told
from lilong.floors.compute.scheduler.order import enqueue
from lilong.floors.compute.scheduler.policy import Policy
from lilong.floors.compute.scheduler.simulation.run import forward
from lilong.floors.compute.scheduler.snapshot import Decision, SnapJob, Snapshot, Way
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Site, copied
from lilong.floors.compute.scheduler.tenants import Tenants, age, claim, shares

SPARE = 8  # shapes that a patched job may bring
ROOM = 256  # tasks of a patched job that has more than before
ROUNDS = 3  # decisions until nothing more starts
HORIZON = 30 * 86400  # seconds that futures are played for
GRAINS = ((600, 300), (3600, 1800), (21_600, 10_800), (86_400, 21_600), (7 * 86_400, 172_800), (HORIZON, 6 * 86_400))
EXACT = 20_000  # waiting jobs times all jobs up to which every moment is played


class Supposing:
    """A snapshot, decided, and what one job otherwise would change. `order`: the waiting jobs as they are looked at."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.asked = snapshot
        self.decision = Decision({}, (), {}, {}, 0)
        for at in range(ROUNDS):
            self.opened = _padded(opening(snapshot))
            age(self.opened.queue.tenants, snapshot.now)  # as each decision would first
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
        self._place = {job: at for at, job in enumerate(self.line)}
        self._blocking = self._who_block()
        self._top = max((job.priority for job in snapshot.jobs if job.started is None), default=0)
        self._jobs = {job.id: job for job in snapshot.jobs}
        self._whose = [self._jobs[names[job]].tenant for job in self.line]
        self._rivalry: tuple[object, Sequence[int]] = (None, ())  # the last answer of `_rivals`
        self._words = Words(snapshot)
        self._tree, self._tenants = self._words.listed(), {tenant.name: tenant for tenant in snapshot.tenants}
        self._size = self._words.size([self._words.node(one) for one in snapshot.nodes])
        node, devices = self._state.node, (self._state.free == WHOLE).sum(axis=1)
        free = {"cpu": node.cpu, "memory": node.memory, "devices": devices}
        self._turns = Turns(
            tuple(self.decision.reservations.values()),
            {name: np.unique(of).tolist() for name, of in free.items()},
            Counter(job.priority for job in snapshot.jobs if job.started is None),
            {job.priority for job in snapshot.jobs if job.started is not None},
        )
        self._scratch = copied(self._state), self._queue.copied()

    def _who_block(self) -> dict[int, None]:
        """Those whom others may not delay, in their order: who has a promise or the turn for a quota, or, where nobody may be overtaken,
        who is first.
        """
        rows, line = self._queue.book.jobs.job, list(self.line)
        if self.opened.policy.backfill == "none":
            first = np.flatnonzero(rows.why[line] != Reason.QUOTA)[:1]
        else:
            first = np.flatnonzero((rows.reserved[line] < NEVER) | np.isin(line, self._queue.tenants.line - 1))
        return dict.fromkeys(line[at] for at in first.tolist())

    def counterfactuals(self, job_id: str, others: Sequence[Way] = (), timeout: int | None = None) -> list[Change]:
        """What would make it start now (see rules.counterfactuals). `timeout`: the time limit that it asks for."""
        if job_id in self.decision.starts:
            return []
        turns = replace(
            self._turns,
            maintenance=self.decision.reasons.get(job_id) == "maintenance",
            earliest=lambda ways: self.earliest(job_id, ways),
            timeout=timeout,
        )

        def begins(supposed: Supposed) -> bool:
            return self.begins(job_id, supposed)

        def surely(supposed: Supposed) -> bool:
            if not self._can_be_patched(self._jobs[job_id], supposed):
                return True  # `begins` has asked the whole queue
            return self._starts(self.opened.at[job_id], supposed, None, self.opened.policy)

        return counterfactuals(self.snapshot, job_id, begins, others, turns, surely=surely)

    def begins(self, job_id: str, supposed: Supposed) -> bool:
        """Whether the job starts now if that is so. Under fair share, where a change may move it in the order, only if it surely does."""
        job, at = self._jobs[job_id], self.opened.at[job_id]
        if not self._can_be_patched(job, supposed):
            return job_id in _decided(suppose(self.snapshot, job_id, supposed)).starts
        policy = self.opened.policy
        apart = policy.order in ("submitted", "fair") and policy.backfill != "easy-sjbf" and policy.preempts != "later"
        if not apart or supposed.no_maintenance:
            return self._starts(at, supposed, None, policy)
        if supposed.quotas:  # others of these tenants have more to start with too
            line = self._rivals(at, frozenset(tenant for tenant, _ in supposed.quotas))
            return self._starts(at, supposed, [*line, at], replace(policy, order="submitted"), fresh=True)
        before = [other for other in self._blocking if other != at and not self._goes_before(at, other, job, supposed)]
        if before or policy.backfill == "conservative":
            return self._starts(at, supposed, [*before, at], replace(policy, order="submitted"))
        # For one who is looked at before anybody was promised a start:
        return self._starts(at, supposed, [at], replace(policy, order="submitted", backfill="none", reservations=1))

    def earliest(self, job_id: str, ways: Sequence[Way]) -> int | None:
        """When it would start laid out so if nobody else waited and all that runs took as long as it may; None: not known."""
        job, at = self._jobs[job_id], self.opened.at[job_id]
        supposed = Supposed(ways=tuple(ways))
        if not self._can_be_patched(job, supposed):
            return None
        alone = replace(self.opened.policy, order="submitted", backfill="easy", reservations=1, preempts="nobody")
        if self._starts(at, supposed, [at], alone, fresh=True):
            return self.snapshot.now
        found = int(self._scratch[1].book.jobs.job.reserved[at])
        return found if found < NEVER else None

    def _rivals(self, at: int, tenants: frozenset[str]) -> Sequence[int]:
        """Who is before the job and has more to start with if these tenants have, or may not be delayed. Asked many times in a row."""
        if self._rivalry[0] != (at, tenants):
            wider, before = self._below(tenants), zip(self.line[: self._place[at]], self._whose, strict=False)
            self._rivalry = (at, tenants), [one for one, tenant in before if one in self._blocking or tenant in wider]
        return self._rivalry[1]

    def _below(self, names: frozenset[str]) -> set[str]:
        """Tenants in the subtrees of these."""
        found, size = set(names), 0
        while len(found) > size:
            size = len(found)
            found |= {tenant.name for tenant in self.snapshot.tenants if tenant.parent in found}
        return found

    def _goes_before(self, at: int, other: int, job: SnapJob, supposed: Supposed) -> bool:
        """Whether the job is surely looked at before another that waits."""
        fair, priority = self.opened.policy.order == "fair", supposed.priority
        if priority is None:
            return (not fair or _asks_alike(job, supposed)) and self._place[at] < self._place[other]
        rival = self._jobs[self._queue.book.names[other]]
        if not fair:
            return (-priority, at) < (-rival.priority, other)
        ageing, now = self.snapshot.ageing_s, self.snapshot.now
        top = max(priority, self._top)
        ranks = [
            min(first + (max(now - one.submit, 0) // ageing if ageing else 0), top)
            for first, one in ((priority, job), (rival.priority, rival))
        ]
        return ranks[0] > ranks[1]

    def _starts(self, at: int, supposed: Supposed, line: Sequence[int] | None, policy: Policy, *, fresh: bool = False) -> bool:
        """`line`: who waits, in the order in which they are looked at, after all were; None: everybody, before anybody was. `fresh`: those
        before the job are to be looked at again.
        """
        state, queue = (self._state, self._queue) if line else (self.opened.state, self.opened.queue)
        copy_into(self._scratch, state, queue)
        state, queue = self._scratch
        if line:
            _keep(queue, line, seen=0 if fresh else len(line) - 1)
        self._patch(state, queue, at, supposed)
        if not line and policy.order != "fair":
            _take_its_place(queue, at, policy)
        play_once(state, queue, policy, self.snapshot.now, self.snapshot.seed)
        return bool(queue.book.jobs.job.state[at] == RUNNING)

    def futures(self, history: History, ahead: Mapping[str, Ahead], runs: int) -> dict[str, tuple[int | None, int | None]]:
        """P50 and P90 of every waiting job's start, in unix seconds, over so many futures; None: not within what was played.

        The order is taken to stay as it is now, nobody to come and nobody to be preempted.
        """
        names, now = self._queue.book.names, self.snapshot.now
        unknown = Ahead("", "", "", NEVER)
        drawings = drawn(history, [ahead.get(name, unknown) for name in names], runs, self.snapshot.seed)
        drawings[:, [ahead.get(name, unknown).limit >= NEVER for name in names]] = NEVER
        queue, policy = in_this_order(self._queue, self.opened.policy)
        grains = grains_for(now, exact=len(self.line) * len(names) <= EXACT)
        starts = forward(self._state, queue, policy, now, drawings, grains)
        starts = _spread(starts, now, grains, self.snapshot.seed)
        found = {}
        for job in self.line:
            column = starts[:, job].tolist()
            found[names[job]] = (quantile(column, 0.5, NEVER), quantile(column, 0.9, NEVER))
        return found

    # --- patching ----------------------------------------------------------------------------------------------------------

    def _can_be_patched(self, job: SnapJob, supposed: Supposed) -> bool:
        """Not: ways that the arrays have no room for, or gangs of a new shape that must stay together."""
        policy, ways = self.opened.policy, supposed.ways or ()
        if policy.round or self.decision.reasons.get(job.id) == "impossible" or len(ways) > len(job.ways):
            return False
        fresh = [way for at, way in enumerate(_laid(ways, len(job.ways))) if not _same_shape(way, job.ways[at])]
        if len({_shape(way) for way in fresh}) > SPARE or max((way.tasks for way in ways), default=0) > ROOM:
            return False
        return not any(way.tasks > 1 and (way.within not in ("", "site") or way.near) for way in fresh)

    def _patch(self, state: Site, queue: Queue, at: int, supposed: Supposed) -> None:
        rows, job = queue.book.jobs.job, self._jobs[queue.book.names[at]]
        if supposed.preemptible is not None:
            rows.preemptible[at] = supposed.preemptible
        if supposed.priority is not None:
            rows.priority[at] = supposed.priority
        if supposed.ways is not None:
            self._lay_ways(queue, at, job, supposed.ways)
        if supposed.no_maintenance:
            for closes in (state.node.closes, state.group.closes, state.leaf.closes, state.closing):
                closes[closes > 0] = NEVER
        if supposed.quotas:
            tree = self._tree.copy()
            for name in {name for name, _ in supposed.quotas}:
                tree[self._words.tenants[name]] = self._words.tenant(with_quotas(self._tenants[name], supposed.quotas))
            for name, value in shares(tree, self._size)._asdict().items():
                np.copyto(getattr(queue.tenants, name), value)
            hold_again(queue.tenants)

    def _lay_ways(self, queue: Queue, at: int, job: SnapJob, ways: Sequence[Way]) -> None:
        rows, options, shapes = queue.book.jobs.job, queue.book.jobs.option, queue.book.shapes
        first, many = int(rows.first[at]), len(job.ways)
        fresh: dict[object, int] = {}
        for k, way in enumerate(_laid(ways, many)):
            option = self._words.option(way)
            row = options[first + k]
            if not _same_shape(way, job.ways[k]):
                spare = fresh.setdefault(_shape(way), shapes.size - SPARE + len(fresh))
                shape = shapes[spare]
                for name in ("devices", "milli", "cpu", "memory", "classes", "pool"):
                    shape[name] = getattr(option.shape, name)
                shape.bucket = -1 if not way.devices else 0 if way.milli < WHOLE else min(way.devices, 9)
                row.need, row.level, row.near = spare, 0, 0
            row.tasks, row.limit, row.price = way.tasks, way.limit, way.price
            row.width = way.tasks * (way.devices * way.milli if way.devices else 0 if _counts_devices(queue) else way.cpu)
        rows.limit[at] = max(way.limit for way in ways)
        rows.width[at] = options.width[first]
        rows.prefer[at] = first
        if max(way.tasks for way in ways) > int(rows.room[at + 1] - rows.room[at]):
            rows.room[at] = queue.book.jobs.place.size - ROOM


def in_this_order(queue: Queue, policy: Policy) -> tuple[Queue, Policy]:
    """A queue and a policy that keeps the order of those who wait in it, and preempts nobody."""
    queue, policy = queue.copied(), replace(policy, preempts="nobody")
    if policy.order == "fair":
        policy, rows, lines = replace(policy, order="submitted"), queue.book.jobs.job, queue.lines
        rows.priority = 0
        for base, many in zip(lines.base.tolist(), lines.waits.tolist(), strict=False):
            rows.key[lines.waiting[base : base + many]] = np.arange(many)
    return queue, policy


def grains_for(now: int, *, exact: bool) -> list[tuple[int, int]]:
    """Every moment of small queues; of large ones, moments ever further apart."""
    if exact:
        return [(now + HORIZON, 1)]
    return [(now + 1, 1), *((now + until, grain) for until, grain in GRAINS)]


def _spread(starts: Ints, now: int, grains: Sequence[tuple[int, int]], seed: int) -> Ints:
    """Starts that were taken together at the end of a grain, spread over it by chance: none of them lies there more than elsewhere."""
    chance = np.random.default_rng(seed).random(starts.shape)
    before, found = now, starts.copy()
    for until, grain in grains:
        here = (starts > before) & (starts <= until) & (starts < NEVER)
        if grain > 1:
            found[here] -= (chance[here] * grain).astype(np.int64)
        before = until
    return np.where(starts < NEVER, np.maximum(found, np.minimum(starts, now)), starts)


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


def _asks_alike(job: SnapJob, supposed: Supposed) -> bool:
    """Whether it stays where it is in fair share, which goes by the class that its first way asks for."""
    first = supposed.ways[0] if supposed.ways else job.ways[0]
    return first.accelerator == job.ways[0].accelerator and bool(first.devices) == bool(job.ways[0].devices)


def _laid(ways: Sequence[Way], many: int) -> Sequence[Way]:
    """As many as a job has: the last one fills up."""
    return [ways[min(at, len(ways) - 1)] for at in range(many if ways else 0)]


def _shape(way: Way) -> tuple[object, ...]:
    return way.site, way.accelerator, way.devices, way.milli, way.cpu, way.memory, way.within, way.near


def _same_shape(way: Way, other: Way) -> bool:
    return _shape(way) == _shape(other)


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


def _keep(queue: Queue, line: Sequence[int], seen: int) -> None:
    """Leave only these in the queue, in this order; so many of them were looked at, and the last has no promise."""
    q, rows, kept = queue.lines, queue.book.jobs.job, list(line)
    gone = q.waiting[: q.waits[0]]
    rows.state[gone] = ABSENT
    rows.state[kept] = WAITING
    q.waiting[: len(kept)] = kept
    q.waits[0], q.seen[0] = len(kept), seen
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
def hold_again(T: Tenants) -> None:
    """Count anew what is held, since some have other quotas of the same classes."""
    T.used[:] = 0
    T.loose[:] = 0
    many = T.tenant.size
    for tenant in range(many):
        for kind in range(T.held.shape[1]):
            if T.held[many + tenant, kind] > 0:
                claim(T, tenant, kind, T.held[many + tenant, kind])
