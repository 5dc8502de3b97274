"""What could never start is refused at once: a job must fit on its pool when nothing else runs there.

Maintenance refuses nothing: it ends. A live job is asked before it is queued (rules/feasible.py).
"""

from __future__ import annotations

from typing import Any

from lilong.floors.compute.scheduler.compiled import borrowed, compiled
from lilong.floors.compute.scheduler.fragmentation import Typical
from lilong.floors.compute.scheduler.jobs import REFUSED, Jobs
from lilong.floors.compute.scheduler.place import lay, lift
from lilong.floors.compute.scheduler.score import CONSOLIDATED
from lilong.floors.compute.scheduler.state import Ints, Site


@compiled
def refuse_impossible(s: Site, h: Any, b: Jobs, t: Typical, most: Ints) -> int:
    """`s` is empty. How many jobs were refused. `most`: per shape, the tasks that are known to fit; zeros at first."""
    s, h, b, t = borrowed(s), borrowed(h), borrowed(b), borrowed(t)
    refused = 0
    for job in range(b.job.size - 1):
        possible = False
        for option in range(b.job[job].first, b.job[job + 1].first):
            shape, tasks = b.option[option].need, b.option[option].tasks
            if b.option[option].rest < 0 and tasks <= most[shape]:
                possible = True
                break
            if b.job[job].pool < s.bounds.size - 1 and lay(s, h, b, t, CONSOLIDATED, job, option, False, -1, -1):
                lift(s, h, b, job)
                b.job[job].placed = 0
                most[shape] = max(most[shape], tasks)
                possible = True
                break
        if not possible:
            b.job[job].state = REFUSED
            refused += 1
    return refused
