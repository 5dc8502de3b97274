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
from lilong.floors.compute.scheduler.policy import Rules
from lilong.floors.compute.scheduler.rounds import PARTS, pairs_of, turn, turn_all
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Site
from lilong.ground.errors import Unavailable

Floats = npt.NDArray[np.float64]
UNRANKED = 1 << 41  # key of those who came since the last round
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
        h, b, q, T = queue.book.shapes, queue.book.jobs, queue.lines, queue.tenants
        unequal = np.empty(s.bounds.size - 1, np.int64)
        for pool in unequal[: turn_all(s, h, b, q, T, r, now, unequal)].tolist():
            p = pairs_of(s, h, b, q, pool, True)
            if p.job.size == 0 or p.capacity.sum() == 0:
                continue
            known = self._known.get(pool)
            if known is None or known[0] != p.active.tobytes():
                own, limit = b.job.limit[p.active[p.job]].astype(float), b.option.limit[p.option].astype(float)
                width, rate = b.option.width[p.option].astype(float), own / np.maximum(limit, 1.0)
                shares = even(width, rate, p.job, p.kind, p.capacity.astype(float))
                known = self._known[pool] = (p.active.tobytes(), np.round(shares * PARTS).astype(np.int64))
            turn(s, h, b, q, T, r, pool, now, p, known[1])


def even(width: Floats, rate: Floats, job: Ints, kind: Ints, capacity: Floats) -> Floats:
    """The part of its time that the job of each pair should have on the class of the pair: max-min of effective throughput. Between devices
    of one class see rounds.even_share.

    `width`: thousandths of device that it takes there, `rate`: how fast it is there, `capacity`: thousandths of device by class.
    """
    norm = np.zeros(1 + int(job.max()))
    np.add.at(norm, job, rate * capacity[kind] / capacity.sum())
    worth = rate * width / WHOLE / np.maximum(norm[job], 1e-9)
    return _solved(width, worth, job, kind, capacity)


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
