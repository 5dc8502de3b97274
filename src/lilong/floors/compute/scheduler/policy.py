"""What a policy is: an order, a way of placing, a way of backfilling. Each file in policies/ is one."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from lilong.floors.compute.scheduler.cycle import BACKFILLS, Rules
from lilong.floors.compute.scheduler.score import WAYS

SUBMITTED, SHORTEST = "submitted", "shortest"


@dataclass(frozen=True, slots=True)
class Policy:
    """`doc` says to people what it does and whose idea it was."""

    name: str
    doc: str
    order: str = SUBMITTED
    place: str = "consolidated"
    backfill: str = "none"

    def rules(self) -> Rules:
        return Rules(WAYS[self.place], BACKFILLS[self.backfill])


@cache
def policies() -> dict[str, Policy]:
    from lilong.floors.compute.scheduler import policies as folder

    modules = sorted(found.name for found in pkgutil.iter_modules(folder.__path__))
    found = [import_module(f"{folder.__name__}.{name}").policy for name in modules]
    return {policy.name: policy for policy in found}
