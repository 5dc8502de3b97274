# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""How long a job will run, from how long its user's jobs ran. Planning only: nobody is ended for running longer than was thought.

The mean of the user's last two jobs that have ended, at most the limit (Tsafrir, Etsion & Feitelson, TPDS 2007, §4): simpler than all
that was proposed before it, and better than the limits that users give.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.jobs import NEVER
from lilong.floors.compute.scheduler.state import Ints

LAST = 2


def histories(users: int) -> Ints:
    """User × the last two run times, the latest first; -1 for none."""
    return np.full((users, LAST), -1, np.int64)


@compiled
def note(last: Ints, user: int, ran: int) -> None:
    """A job of the user has ended."""
    last[user, 1] = last[user, 0]
    last[user, 0] = ran


@compiled
def expected(last: Ints, user: int, limit: int) -> int:
    """In ticks; the limit if nothing is known of the user."""
    one, other = last[user, 0], last[user, 1]
    if one < 0:
        return limit
    mean = one if other < 0 else (one + other) // 2
    return max(min(mean, limit), 1)


def quantile(ran: Sequence[int], part: int, limit: int = NEVER) -> int:
    """The time, in ticks, within which `part` of a thousand of the runs had ended (the next larger one), at most the limit."""
    if not ran:
        return limit
    ordered = sorted(ran)
    return max(min(ordered[min(len(ordered) * part // 1000, len(ordered) - 1)], limit), 1)
