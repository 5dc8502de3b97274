"""What holding devices comes to: by hour, in money, energy and carbon. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from lilong.floors.compute.rules.settings import AcceleratorClass, SiteSettings

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Hold:
    """Something held at a site from `begin` to `end`. `milli`: thousandths of device; `cpus`: cores."""

    site: str
    accelerator: str
    milli: int
    cpus: int
    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Bill:
    """`hours`: device-hours, or core-hours of what holds no device. `energy_cost`: of the kWh, by the site's tariff; `price` is the class's."""

    hours: float = 0.0
    price: float = 0.0
    kwh: float = 0.0
    energy_cost: float = 0.0
    kgco2: float = 0.0

    def __add__(self, other: Bill) -> Bill:
        return Bill(
            self.hours + other.hours,
            self.price + other.price,
            self.kwh + other.kwh,
            self.energy_cost + other.energy_cost,
            self.kgco2 + other.kgco2,
        )


def by_hour(begin: datetime, end: datetime) -> Iterator[tuple[datetime, float]]:
    """The hours of the clock that [begin, end) touches, each with how much of it, in hours."""
    at = begin.replace(minute=0, second=0, microsecond=0)
    while at < end:
        yield at, (min(end, at + HOUR) - max(begin, at)) / HOUR
        at += HOUR


def bill(hold: Hold, accelerator: AcceleratorClass, site: SiteSettings) -> Bill:
    """Watts are those of a device at work: a device that is held counts as working."""
    units = hold.milli / 1000 if hold.milli else float(hold.cpus)
    found = Bill()
    for hour, part in by_hour(hold.begin, hold.end):
        hours = units * part
        kwh = hours * accelerator.watts / 1000
        found += Bill(hours, hours * accelerator.price, kwh, kwh * site.tariff, kwh * site.kgco2[hour.hour])
    return found


def use_by_hour(
    holds: Iterable[Hold],
    capacity: Mapping[str, tuple[int, int]],
    first: datetime,
    hours: int,
    now: datetime,
    since: Mapping[str, datetime] = MappingProxyType({}),
) -> dict[str, Sequence[float | None]]:
    """Site -> share of it that was held in each of `hours` hours from `first` on; None for what is to come, and for what was before anybody
    saw the site.

    `capacity`: site -> devices, cores. Devices count where a site has any, else cores. `since`: when each was first seen; a hold is seen too.
    """
    known = {site: since.get(site, first) for site in capacity}
    held = {site: [0.0] * hours for site in capacity}
    for hold in holds:
        if hold.site not in held or hold.end <= first:
            continue
        devices, _ = capacity[hold.site]
        known[hold.site] = min(known[hold.site], hold.begin)
        units = hold.milli / 1000 if devices else hold.cpus
        for hour, part in by_hour(max(hold.begin, first), min(hold.end, first + hours * HOUR)):
            held[hold.site][(hour - first) // HOUR] += units * part
    found: dict[str, Sequence[float | None]] = {}
    for site, (devices, cores) in capacity.items():
        row: list[float | None] = []
        for at, units in enumerate(held[site]):
            begin = first + at * HOUR
            seen = (min(now, begin + HOUR) - max(known[site], begin)) / HOUR  # of the first hour and of the one that is running, a part
            row.append(units / (seen * (devices or cores)) if seen > 0 and (devices or cores) else None)
        found[site] = row
    return found
