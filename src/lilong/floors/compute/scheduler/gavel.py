"""Max-min fairness over unequal devices, in rounds (Gavel: Narayanan et al., OSDI'20, §3-5).

How fast a job is on a class of device is how its option's limit compares with its own: half the limit, twice as fast. A linear
program gives each job the part of its time that it should spend on each class, so that the smallest of all effective throughputs, each
against what an even share of the cluster would give, is as large as it can be (§4.1). Rounds bring that about: those go first who got
least of the time that they should have had (§5). With devices of one class this is time slicing with even shares, and no solver is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lilong.floors.compute.scheduler.decide import Queue
from lilong.floors.compute.scheduler.jobs import RUNNING
from lilong.floors.compute.scheduler.policy import Rules
from lilong.floors.compute.scheduler.preempt import move_out
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Site
from lilong.ground.errors import Unavailable

Floats = npt.NDArray[np.float64]
UNRANKED = 1 << 41  # key of those who came since the last round
PARTS = 1_000_000  # in which shares are counted, so that orders do not hang on the last digit of a float
SIDE = 1e-3  # weight of the sum of throughputs, which decides where the smallest one leaves a choice


class SolverMissing(Unavailable):
    """The policy gavel needs a solver for unequal devices, and it is not installed. Install it with `pip install 'lilong[compute]'`."""


class Rounds:
    """Keeps what was worked out for as long as the same jobs are there."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[bytes, Ints]] = {}

    def turn(self, s: Site, queue: Queue, r: Rules, now: int) -> None:
        """Put the queues of all pools in the order of a new round, and take those off their nodes who should be on other ones.

        Raises SolverMissing.
        """
        for pool in range(s.bounds.size - 1):
            q, rows = queue.lines, queue.book.jobs.job
            running = q.running[q.base[pool] : q.base[pool] + q.runs[pool]]
            running = running[rows.state[running] == RUNNING]
            waiting = q.waiting[q.base[pool] : q.base[pool] + q.waits[pool]]
            choice = (rows.first[running + 1] - rows.first[running] > 1).any()
            if waiting.size or choice:
                self._turn(s, queue, r, pool, now, np.sort(np.concatenate([running, waiting])))

    def _turn(self, s: Site, queue: Queue, r: Rules, pool: int, now: int, active: Ints) -> None:
        b, rows = queue.book.jobs, queue.book.jobs.job
        part = slice(s.bounds[pool], s.bounds[pool + 1])
        first, counts = rows.first[active], rows.first[active + 1] - rows.first[active]
        option = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
        job = np.repeat(np.arange(active.size), counts)
        if s.node.devices[part].any():
            capacity, pairs, kind = _kinds(s, part, queue.book.shapes.classes[b.option.need[option]])
        else:  # only cores, which are alike
            held = rows.width[active[rows.state[active] == RUNNING]].sum()
            capacity, kind = np.array([float(s.spare[pool, 0] + held)]), np.zeros(active.size, np.int64)
            pairs = np.concatenate([[0], np.cumsum(counts)[:-1]])
        job, option = job[pairs], option[pairs]
        if capacity.sum() == 0 or option.size == 0:
            return
        known = self._known.get(pool)
        if known is None or known[0] != active.tobytes():
            own, limit = rows.limit[active[job]].astype(float), b.option.limit[option].astype(float)
            shares = even(b.option.width[option].astype(float), own / np.maximum(limit, 1.0), job, kind, capacity)
            known = self._known[pool] = (active.tobytes(), np.round(shares * PARTS).astype(np.int64))
        share = known[1]
        runs = rows.state[active] == RUNNING
        had = rows.attained[active] + np.where(runs, (now - rows.start[active]) * rows.width[active], 0)
        had = had // np.maximum(rows.width[active], 1)  # ticks
        stay = np.maximum(now - rows.submit[active], 1)
        due = share * np.minimum(stay, 1 << 30)[job] // (had[job] + 1)
        # of equal claims the pair with the larger share goes first, then the job that came first
        rank = np.lexsort((job, -share, -due))
        chosen = _choose(rank, job, kind, share, b.option.width[option], capacity)
        place = np.full(active.size, -1, np.int64)
        place[job[chosen]] = chosen
        self._order(s, queue, r, pool, now, active, np.where(place >= 0, option[place], -1), rank, job, chosen)

    def _order(
        self, s: Site, queue: Queue, r: Rules, pool: int, now: int, active: Ints, wanted: Ints, rank: Ints, job: Ints, chosen: Ints
    ) -> None:
        b, q = queue.book.jobs, queue.lines
        rows = b.job
        turn = np.full(active.size, 1 << 40, np.int64)
        np.minimum.at(turn, job[rank], np.arange(rank.size) + (1 << 30))
        turn[job[chosen]] = np.arange(chosen.size)
        rows.key[active] = turn
        rows.prefer[active] = np.where(wanted >= 0, wanted, rows.first[active])
        for one in active[(wanted >= 0) & (rows.state[active] == RUNNING) & (rows.option[active] != wanted)].tolist():
            if rows.start[one] < now:
                move_out(s, queue.book.shapes, b, q, queue.tenants, r, one, now)
        base, many = q.base[pool], q.waits[pool]
        waiting = q.waiting[base : base + many]
        q.waiting[base : base + many] = waiting[np.lexsort((waiting, rows.key[waiting], -rows.priority[waiting]))]
        q.seen[pool] = 0
        q.cycles[2] += 1


def _kinds(s: Site, part: slice, classes: Ints) -> tuple[Floats, Ints, Ints]:
    """What the pool has by kind of node, and which asker (a row of `classes`) may use which kind: pairs of both."""
    kinds = np.unique(s.node.kind[part])
    capacity = np.array([s.node.devices[part][s.node.kind[part] == kind].sum() * WHOLE for kind in kinds], float)
    asker, which = np.nonzero((classes[:, None] >> kinds[None, :]) & 1)
    return capacity, asker, which


def _choose(rank: Ints, job: Ints, kind: Ints, share: Ints, width: Ints, capacity: Floats) -> Ints:
    """In their order, those pairs of job and class that have room, each job once (§5, Algorithm 1)."""
    left, taken, chosen = capacity.copy(), np.zeros(1 + int(job.max()), bool), []
    least = float(width.min())
    for at in rank.tolist():
        if taken[job[at]] or share[at] == 0 or width[at] > left[kind[at]]:
            continue
        taken[job[at]] = True
        left[kind[at]] -= width[at]
        chosen.append(at)
        if left.max() < least:
            break
    return np.array(chosen, np.int64)


def even(width: Floats, rate: Floats, job: Ints, kind: Ints, capacity: Floats) -> Floats:
    """The part of its time that the job of each pair should have on the class of the pair: max-min of effective throughput.

    `width`: thousandths of device that it takes there, `rate`: how fast it is there, `capacity`: thousandths of device by class.
    """
    if capacity.size == 1 and np.unique(job).size == job.size:
        return _water(width, float(capacity[0]))
    norm = np.zeros(1 + int(job.max()))
    np.add.at(norm, job, rate * capacity[kind] / capacity.sum())
    worth = rate * width / WHOLE / np.maximum(norm[job], 1e-9)
    return _solved(width, worth, job, kind, capacity)


def _water(width: Floats, capacity: float) -> Floats:
    """One class: everybody has the same amount of device-time, or as much as it can use."""
    left, level = capacity, 0.0
    ordered = np.sort(width)
    for at, one in enumerate(ordered.tolist()):
        level = left / (ordered.size - at)
        if one >= level:
            break
        left -= one
        level = one
    return np.minimum(width, max(level, 0.0)) / np.maximum(width, 1.0)


def _solved(width: Floats, worth: Floats, job: Ints, kind: Ints, capacity: Floats) -> Floats:
    """Columns: the share of each pair, and the smallest throughput. Rows: each job's throughput, each job's time, each class."""
    try:
        import highspy
    except ImportError:
        raise SolverMissing from None
    jobs, pairs, kinds = 1 + int(job.max()), job.size, capacity.size
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = pairs + 1, 2 * jobs + kinds
    lp.col_cost_ = np.append(-SIDE * worth / max(worth.sum(), 1e-9), -1.0)
    lp.col_lower_, lp.col_upper_ = np.zeros(pairs + 1), np.append(np.ones(pairs), highspy.kHighsInf)
    lp.row_lower_ = np.concatenate([np.zeros(jobs), np.full(jobs + kinds, -highspy.kHighsInf)])
    lp.row_upper_ = np.concatenate([np.full(jobs, highspy.kHighsInf), np.ones(jobs), capacity / WHOLE])
    index = np.stack([job, jobs + job, 2 * jobs + kind], axis=1).ravel()
    value = np.stack([worth, np.ones(pairs), width / WHOLE], axis=1).ravel()
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = np.append(np.arange(pairs + 1) * 3, pairs * 3 + jobs).astype(np.int32)
    lp.a_matrix_.index_ = np.append(index, np.arange(jobs)).astype(np.int32)
    lp.a_matrix_.value_ = np.append(value, -np.ones(jobs))
    solver: Any = highspy.Highs()
    for name, setting in (("output_flag", False), ("threads", 1), ("random_seed", 0)):
        solver.setOptionValue(name, setting)
    solver.passModel(lp)
    solver.run()
    found: Floats = np.clip(np.array(solver.getSolution().col_value)[:pairs], 0.0, 1.0)
    return found
