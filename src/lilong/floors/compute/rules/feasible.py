"""What could never run, said before it waits: a job must fit at some site when nothing else runs there, and in its tenant's quota. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lilong.floors.compute.contract import Inventory, Layout
from lilong.floors.compute.rules.counterfactuals import cores
from lilong.floors.compute.rules.settings import ComputeSettings
from lilong.floors.compute.rules.wording import joined, said

if TYPE_CHECKING:
    from lilong.floors.compute.scheduler.tenants import Tenants


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes of one site that are alike. `domains`: level of the topology and domain."""

    accelerator: str
    devices: int
    cpus: int
    memory_mib: int
    domains: tuple[tuple[str, str], ...]
    count: int

    def tasks(self, layout: Layout) -> int:
        """How many tasks fit on these nodes when they are empty."""
        if layout.devices and layout.accelerator != self.accelerator:
            return 0
        most = min(self.cpus // max(layout.cpus, 1), self.memory_mib // max(layout.memory_mib, 1))
        if layout.devices:
            most = min(most, self.devices * (1000 // layout.milli) if layout.devices == 1 else self.devices // layout.devices)
        return most * self.count


def groups(inventory: Inventory) -> tuple[Group, ...]:
    counted = Counter((n.accelerator, n.devices, n.cpus, n.memory_mib, tuple(sorted(n.domains.items()))) for n in inventory.nodes)
    return tuple(Group(*alike, count) for alike, count in counted.items())


def impossible(layouts: Sequence[Layout], within: str, sites: Mapping[str, Sequence[Group]]) -> list[str]:
    """Why each of the alternatives fits nowhere; none if one of them fits. All tasks of a gang are alike, so counting them is exact."""
    told = []
    for layout in layouts:
        lacking = [_lacking(layout, within, name, alike) for name, alike in sites.items()]
        if not all(lacking) or not sites:
            return []
        known = {group.accelerator for alike in sites.values() for group in alike if group.devices}
        if layout.devices and layout.accelerator not in known:
            told.append(f"{shown(layout)}: no site has devices of the class {layout.accelerator!r}")
        else:
            told.append(f"{shown(layout)}: " + "; ".join(text for text in lacking if text))
    return told


def _lacking(layout: Layout, within: str, site: str, alike: Iterable[Group]) -> str | None:
    level = "" if within in ("", "site") else within
    fits: Counter[str] = Counter()
    largest = 0
    for group in alike:
        many = group.tasks(layout)
        if level == "node":
            largest = max(largest, many // group.count)
        elif level and level not in dict(group.domains):
            largest = max(largest, many // group.count)  # a node that is in no known domain is one by itself
        else:
            fits[dict(group.domains)[level] if level else ""] += many
    largest = max(largest, max(fits.values(), default=0))
    if largest >= layout.least_tasks:
        return None
    place = f"one {level} of {site}" if level else site
    return f"{place} has room for {largest} of its tasks"


def shown(layout: Layout) -> str:
    """In few words, such as `4 tasks of 8 h20, 16 cores and 65536 MiB`."""
    what = said("{cores} and {memory} MiB", cores=cores(layout.cpus), memory=layout.memory_mib)
    if layout.devices:
        share = said("{share:g} of a {kind}", share=layout.milli / 1000, kind=layout.accelerator)
        what = joined(", ", [share if layout.milli < 1000 else f"{layout.devices} {layout.accelerator}", what])
    return said("{n} tasks of {what}", n=layout.least_tasks, what=what) if layout.least_tasks > 1 else what


def over_quota(
    layouts: Sequence[Layout], limit_s: int, preemptible: bool, settings: ComputeSettings, organisation: str, project: str
) -> list[str]:
    """Why each of the alternatives would exceed its tenant's quota even if nobody held anything; none if one of them would not.

    What cannot be taken back within the reclaim bound may not borrow (see scheduler.tenants).
    """
    from lilong.floors.compute.scheduler.compiled import plainly
    from lilong.floors.compute.scheduler.tenants import may_hold

    name = settings.tenant(organisation, project)
    if name is None:
        return []
    tree, columns = _empty_tree(settings)
    at = 1 + list(settings.tenants).index(name)
    bounded = preemptible or limit_s <= settings.reclaim_s
    told = []
    with plainly():
        for layout in layouts:
            unit = layout.accelerator if layout.devices else ""
            amount = layout.least_tasks * (layout.devices * layout.milli if layout.devices else layout.cpus * 1000)
            if unit not in columns or may_hold(tree, at, columns[unit], amount, bounded):
                return []
            low, high = 0, amount  # it may hold `low`, and not `high`
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if may_hold(tree, at, columns[unit], middle, bounded) else (low, middle)
            in_time = not bounded and may_hold(tree, at, columns[unit], amount, True)
            how = " with jobs that cannot be preempted and may run for longer than what is lent can be waited for" if in_time else ""
            told.append(
                f"{shown(layout)}: {settings.called(name, organisation)} may never hold more than {low / 1000:g} {unit or ('core' if low == 1000 else 'cores')}{how}"
            )
    return told


def _empty_tree(settings: ComputeSettings) -> tuple[Tenants, dict[str, int]]:
    """The tenants while nobody holds anything, and the column of each unit of which somebody has a quota."""
    from lilong.floors.compute.scheduler.tenants import Tenant, tenants

    classes = sorted({unit for tenant in settings.tenants.values() for unit in tenant.nominal if unit})
    units = [*classes, ""]
    names = list(settings.tenants)
    tree = [Tenant("")]
    for one in settings.tenants.values():
        nominal, borrow, lend = ([of.get(unit) for unit in units] for of in (one.nominal, one.borrow, one.lend))
        tree.append(Tenant(one.name, 0 if one.parent is None else 1 + names.index(one.parent), nominal, borrow, lend))
    return tenants(tree, len(classes), reclaim=settings.reclaim_s), {unit: at for at, unit in enumerate(units)}
