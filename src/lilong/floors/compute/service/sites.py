"""What people see of the sites."""

from __future__ import annotations

from dataclasses import dataclass

from lilong.floors.compute import store
from lilong.floors.compute.backends.local import LocalSite
from lilong.ground.access import Actor
from lilong.ground.house import House


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """The site as people see it. `held`: resources of the jobs that hold any now."""

    name: str
    cpus: int
    memory_mib: int
    held_memory_mib: int
    sandbox: str
    problem: str | None
    jobs: dict[str, int]


def site(house: House, actor: Actor) -> SiteFacts:
    """The local site: what it has, how jobs are kept in, how many jobs are in which state."""
    from lilong.ground.sandbox import LevelMissing

    local = house.port(LocalSite)
    try:
        level, problem = local.sandbox_level().word, None
    except LevelMissing as missing:
        level, problem = house.settings.sandbox, str(missing)
    active, counts = house.db.read(lambda tx: (store.active(tx), store.counts(tx)))
    held = sum(entry.job.ask.memory_mib for entry in active)
    return SiteFacts(local.name, local.capacity().cpus, local.capacity().memory_mib, held, level, problem, counts)
