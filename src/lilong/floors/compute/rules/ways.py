"""From what a job asks for to the ways in which it could be laid out, the best first. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lilong.floors.compute.contract import Inventory, JobAsk, Layout, Mode
from lilong.floors.compute.rules.asking import layouts
from lilong.floors.compute.rules.settings import CPU, LOCAL, ComputeSettings
from lilong.floors.compute.scheduler.snapshot import Way

CONTAINERS = "kubernetes"  # the driver whose sites run container images
NEVER = 1 << 60  # the limit of a service, which ends when somebody ends it
MOST_SIZES = 8  # of a gang that may have more or fewer tasks
Rates = Mapping[tuple[str, str], float]  # (family of programs, or kind of job; class of device) -> speed of a device; only ratios count
NEWEST = 0.3  # weight of the newest measure beside all before it


@dataclass(frozen=True, slots=True)
class Place:
    """What there is at a site, as far as it is known. `nodes`: (class, devices, MiB, cores) of one -> how many such there are.

    `known` is false for a site that has never answered.
    """

    name: str
    mode: Mode
    nodes: Mapping[tuple[str, int, int, int], int] = field(default_factory=dict)
    known: bool = True

    def has(self, accelerator: str) -> bool:
        return not accelerator or any(kind == accelerator for kind, *_ in self.nodes)

    def fits(self, way: Way) -> bool:
        """Whether so many tasks fit when nothing else runs. Levels of the topology are the scheduler's to look at."""
        room = 0
        for (kind, devices, memory, cores), count in self.nodes.items():
            each = way.tasks
            if way.devices:
                each = min(each, devices * (1000 // way.milli) // way.devices if kind == way.accelerator else 0)
            if way.cpu:
                each = min(each, cores * 1000 // way.cpu)
            if way.memory:
                each = min(each, memory // way.memory)
            room += each * count
            if room >= way.tasks:
                return True
        return False


def place(name: str, mode: Mode, inventory: Inventory | None) -> Place:
    counted: dict[tuple[str, int, int, int], int] = {}
    for node in inventory.nodes if inventory else ():
        kind = (node.accelerator, node.devices, node.memory_mib, node.cpus)
        counted[kind] = counted.get(kind, 0) + 1
    return Place(name, mode, counted, inventory is not None)


def ways(ask: JobAsk, places: Sequence[Place], settings: ComputeSettings, rates: Rates, back_at: str | None = None) -> tuple[Way, ...]:
    """At sites where its data lies first (or `back_at`, where it left its state), then the cheapest, then in the order asked for.

    Each alternative comes in sizes from its most tasks to its least. Empty if no site has such devices.
    """
    found = []
    home = back_at or ask.data_at
    for at, layout in enumerate(layouts(ask)):
        for number, here in enumerate(places):
            if (ask.sites and here.name not in ask.sites) or (here.known and not here.has(layout.accelerator)):
                continue
            if ask.image and (here.name not in settings.sites or settings.sites[here.name].driver != CONTAINERS):
                continue
            limit = NEVER if ask.service else _limit(ask, layout, rates)
            price = _price(layout, here.name, settings)
            held = layout.devices * layout.milli if layout.devices else layout.cpus * 1000
            cost = price * held * layout.tasks * min(limit, ask.timeout_s if ask.service else limit)
            for size in _sizes(layout):
                way = Way(
                    site=here.name,
                    accelerator=layout.accelerator,
                    devices=layout.devices,
                    milli=layout.milli if layout.devices else 1000,
                    cpu=0 if ask.service and here.name == LOCAL else layout.cpus * 1000,
                    memory=layout.memory_mib,
                    tasks=size,
                    limit=limit,
                    price=price,
                    within=ask.within or "site",
                    near=ask.near,
                )
                found.append(((bool(home) and here.name != home, cost, at, number, -size), way))
    return tuple(way for _, way in sorted(found, key=lambda pair: pair[0]))


def elsewhere(ask: JobAsk, places: Sequence[Place], settings: ComputeSettings, rates: Rates, kinds: Collection[str]) -> list[Way]:
    """Ways that the job does not allow and in which it would fit if nothing else ran: as it is at other sites, and its first alternative
    on other classes of device, anywhere.
    """
    asked, free = layouts(ask), replace(ask, sites=())
    own = {layout.accelerator for layout in asked}
    found = [way for way in ways(free, places, settings, rates) if ask.sites and way.site not in ask.sites]
    for kind in sorted(set(kinds) - own) if asked[0].devices else ():
        pair = replace(free, any_of=(asked[0], replace(asked[0], accelerator=kind)))  # its time is that of the class it asks for
        found += [way for way in ways(pair, places, settings, rates) if way.accelerator == kind]
    return [way for way in found if any(one.name == way.site and one.fits(way) for one in places)]


def blended(before: float | None, rate: float) -> float:
    """Three figures of the geometric mean of all measures, the newest the heaviest: the rest is chance, and would set every plan anew."""
    return float(f"{rate if before is None else before ** (1 - NEWEST) * rate**NEWEST:.3g}")


def speeds(declared: Mapping[str, Mapping[str, float]], measured: Rates) -> dict[tuple[str, str], float]:
    """Of each family on each class. Measures go before what is declared, which is brought to their scale by the classes that have both.

    Where no class has both the two cannot be compared: measures of one class alone then say nothing, those of several all that is known.
    """
    said = {family: {"" if kind == CPU else kind: rate for kind, rate in parts.items()} for family, parts in declared.items()}
    found = {(family, kind): rate for family, parts in said.items() for kind, rate in parts.items()}
    for family in {family for family, _ in measured}:
        here = {kind: rate for (name, kind), rate in measured.items() if name == family}
        told = said.get(family, {})
        both = here.keys() & told.keys()
        if both:
            scale = math.exp(sum(math.log(told[kind] / here[kind]) for kind in sorted(both)) / len(both))
            found |= {(family, kind): rate * scale for kind, rate in here.items()}
        elif len(here) > 1 or not told:
            found = {pair: rate for pair, rate in found.items() if pair[0] != family}
            found |= {(family, kind): rate for kind, rate in here.items()}
    return found


def laid_out(way: Way) -> Layout:
    """The way as people see it. A service's cores at the local site, which are shared by time, are not told."""
    return Layout(way.accelerator, way.devices, way.milli, way.tasks, way.tasks, way.cpu // 1000, way.memory)


def _sizes(layout: Layout) -> Iterator[int]:
    """From the most tasks to the least: all of them, or, where they are many, in equal steps of proportion."""
    most, least = layout.tasks, layout.least_tasks or layout.tasks
    if most - least < MOST_SIZES:
        yield from range(most, least - 1, -1)
        return
    ratio = (least / most) ** (1 / (MOST_SIZES - 1))
    yield from sorted({most, least, *(max(least, round(most * ratio**step)) for step in range(MOST_SIZES))}, reverse=True)


def _limit(ask: JobAsk, layout: Layout, rates: Rates) -> int:
    """The time asked for is that of the first alternative's class; a slower class gets more in proportion, none gets less."""
    family = ask.family or ask.kind
    first = rates.get((family, layouts(ask)[0].accelerator))
    here = rates.get((family, layout.accelerator))
    if first is None or here is None or here >= first:
        return ask.timeout_s
    return math.ceil(ask.timeout_s * first / here)


def _price(layout: Layout, site: str, settings: ComputeSettings) -> int:
    """Of one device (or core) for one second, energy included, in millionths."""
    kind, tariff = settings.accelerator(layout.accelerator), settings.sites[site].tariff if site in settings.sites else 0.0
    return round((kind.price + kind.watts / 1000 * tariff) / 3600 * 1_000_000)
