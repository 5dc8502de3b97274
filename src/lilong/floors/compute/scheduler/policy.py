"""What a policy is: an order, a way of placing, a way of backfilling, who may be preempted. Each file in policies/ is one."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import NamedTuple

from lilong.floors.compute.scheduler.score import WAYS

SUBMITTED, SHORTEST, PREDICTED, REMAINING, ATTAINED, FAIR, ROUNDS = 0, 1, 2, 3, 4, 5, 6
ORDERS = {"submitted": SUBMITTED, "shortest": SHORTEST, "predicted": PREDICTED, "remaining": REMAINING, "attained": ATTAINED, "fair": FAIR, "rounds": ROUNDS}  # fmt: skip
STRICT, SKIP, EASY, EASY_SHORT, RESERVE = 0, 1, 2, 3, 4
BACKFILLS = {"none": STRICT, "skip": SKIP, "easy": EASY, "easy-sjbf": EASY_SHORT, "conservative": RESERVE}
NOBODY, LATER, BORROWERS = 0, 1, 2
PREEMPTS = {"nobody": NOBODY, "later": LATER, "borrowers": BORROWERS}
ALL = 1 << 40


class Rules(NamedTuple):
    """A policy in numbers. The words are those of Policy."""

    way: int
    fractions: int
    backfill: int
    order: int
    preempts: int
    reservations: int
    lasting: int  # whether a reservation stands until its job starts, or is thought over in every cycle
    depth: int
    least_run: int
    backoff: int
    overhead: int
    overhead_large: int
    threshold: int


@dataclass(frozen=True, slots=True)
class Policy:
    """`doc` says to people what it does and whose idea it was.

    `place`: whole devices and cores; `fractions`: fractions of a device, as `place` if not said.
    `reservations`: how many that do not fit are promised a start. `depth`: how many behind them are looked at in one cycle.
    `preempts`: nobody; "later" ones in the order, whoever they are, with what they have done kept (SRTF, Tiresias and Gavel assume
    so); or preemptible "borrowers" of what is the nominal quota of another, and in one tenant those of lower priority, whose work since
    the last checkpoint is lost. Nobody is preempted who runs for less than `least_run` ticks, and who was n times before not within
    another `backoff` · (2^min(n, 6) - 1): the first time at once, so that who owns a quota has it at once, then ever more rarely.
    `overhead`: ticks that starting again costs, up to 8 devices and above: Lucid's figures (Hu et al., ASPLOS'23).
    `threshold`: device-ticks after which a job goes to the second queue (Tiresias). `round`: ticks between two rounds (Gavel).
    """

    name: str
    doc: str
    order: str = "submitted"
    place: str = "consolidated"
    fractions: str = ""
    backfill: str = "none"
    reservations: int = 1
    depth: int = ALL
    preempts: str = "nobody"
    least_run: int = 0
    backoff: int = 0
    overhead: tuple[int, int] = (40, 60)
    threshold: int = 3600
    round: int = 0

    def rules(self) -> Rules:
        lasting = self.backfill == "conservative"
        several = self.backfill == "easy" and self.reservations > 1
        return Rules(
            way=WAYS[self.place],
            fractions=WAYS[self.fractions or self.place],
            backfill=RESERVE if several else BACKFILLS[self.backfill],
            order=ORDERS[self.order],
            preempts=PREEMPTS[self.preempts],
            reservations=self.reservations,
            lasting=int(lasting),
            depth=self.depth,
            least_run=self.least_run,
            backoff=self.backoff,
            overhead=self.overhead[0],
            overhead_large=self.overhead[1],
            threshold=self.threshold * 1000,
        )


@cache
def policies() -> dict[str, Policy]:
    from lilong.floors.compute.scheduler import policies as folder

    modules = sorted(found.name for found in pkgutil.iter_modules(folder.__path__))
    found = [import_module(f"{folder.__name__}.{name}").policy for name in modules]
    return {policy.name: policy for policy in found}
