"""The declared side of compute: accelerator classes, sites, tenants, policy, maintenance. One document in TOML, read and checked. Pure."""

from __future__ import annotations

import pkgutil
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from lilong.floors.compute.contract import Mode
from lilong.floors.compute.rules.reading import Reader, moment, nearest
from lilong.floors.compute.scheduler import policies as folder
from lilong.ground import intake
from lilong.ground.errors import BadInput
from lilong.ground.seams import stamp

LOCAL = "local"
CPU = "cpu"  # in the document, the class of cores; elsewhere it is ""
DRIVERS: Mapping[str, Mode] = MappingProxyType(
    {LOCAL: Mode.OWNED, "slurm": Mode.DELEGATED, "ray": Mode.DELEGATED, "kubernetes": Mode.DELEGATED}
)
LEVELS = ("zone", "rack")


@dataclass(frozen=True, slots=True)
class AcceleratorClass:
    """`price` of a device-hour (or core-hour), `watts` of one at work."""

    name: str
    vendor: str = ""
    memory_gib: float = 0.0
    link: str = ""
    price: float = 0.0
    watts: float = 0.0


@dataclass(frozen=True, slots=True)
class SiteSettings:
    name: str
    driver: str = LOCAL
    mode: Mode = Mode.OWNED
    tariff: float = 0.0  # per kWh
    kgco2: tuple[float, ...] = (0.0,) * 24  # per kWh, by hour of the day in UTC
    window: int = 8  # at most so many of the house's jobs wait inside the engine
    options: Mapping[str, Any] = field(default_factory=dict)  # the driver's own


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """Amounts in thousandths of a device (of a core under ""); a class that is not named has no bound of its own."""

    name: str  # organisation, organisation/project, or a name of its own
    parent: str | None = None  # None: the root
    weight: float = 1.0
    half_life_s: int = 604800
    nominal: Mapping[str, int] = field(default_factory=dict)
    borrow: Mapping[str, int] = field(default_factory=dict)
    lend: Mapping[str, int] = field(default_factory=dict)
    allowance: float | None = None  # money a calendar month


@dataclass(frozen=True, slots=True)
class Maintenance:
    """`nodes` empty: all of the site. `start` to `end`, in UTC, the end exclusive."""

    site: str
    nodes: tuple[str, ...]
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class ComputeSettings:
    policy: str = "drf-tree"
    seed: int = 0
    look: int = 1000  # waiting jobs that a decision looks at
    journal_days: int = 90  # for which decisions are kept
    reclaim_s: int = 3600  # within which what is lent can be had back
    ageing_s: int = 86400  # of waiting that count as one step of priority; 0: none
    levels: tuple[str, ...] = LEVELS  # of the topology below the site, the widest first
    classes: Mapping[str, AcceleratorClass] = field(default_factory=dict)
    sites: Mapping[str, SiteSettings] = field(default_factory=dict)
    tenants: Mapping[str, TenantSettings] = field(default_factory=dict)
    maintenance: tuple[Maintenance, ...] = ()
    throughput: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict
    )  # family -> class -> declared speed; measured ones go before

    def accelerator(self, name: str) -> AcceleratorClass:
        """The class of a device, or of cores (""); without price and watts where it is not declared."""
        return self.classes.get(name or CPU) or AcceleratorClass(name)

    def tenant(self, organisation: str, project: str) -> str | None:
        """The nearest declared tenant of a job: organisation/project, or organisation; None: the root."""
        return next((name for name in (f"{organisation}/{project}", organisation) if name in self.tenants), None)

    @staticmethod
    def called(tenant: str, organisation: str) -> str:
        """How a tenant may be called before people of an organisation: others' names are not theirs to see."""
        return tenant if tenant.partition("/")[0] == organisation else "a tenant above it"

    def above(self, tenant: str | None) -> tuple[TenantSettings, ...]:
        """A tenant and those above it, itself first."""
        chain: list[TenantSettings] = []
        while tenant is not None:
            chain.append(self.tenants[tenant])
            tenant = chain[-1].parent
        return tuple(chain)


def default() -> ComputeSettings:
    """Those of a house that nobody has given any: this machine alone, and no quotas."""
    return parse({})


def read(source: str) -> ComputeSettings:
    """From the text of a TOML file. Raises BadInput."""
    try:
        return parse(tomllib.loads(source))
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise BadInput(field="the settings", problem=f"this is not TOML: {problem}", way_out="Mend the file there.") from problem


def parse(document: Mapping[str, Any]) -> ComputeSettings:
    """From a document as TOML or JSON gives it. Raises BadInput, which names the key, what is wrong and the way out."""
    top = Reader(document)
    classes = {name: _class(table, name) for name, table in top.tables("classes").items()}
    sites = {name: _site(table, name) for name, table in top.tables("sites").items()}
    sites = {LOCAL: SiteSettings(LOCAL), **sites}
    units = {*classes, CPU}
    tenants = {name: _tenant(table, name, units) for name, table in top.tables("tenants").items()}
    tenants = {name: _under(tenant, tenants) for name, tenant in tenants.items()}
    _is_a_tree(tenants)
    _parts_fit(tenants)
    throughput = {family: _speeds(table, classes) for family, table in top.tables("throughput").items()}
    found = ComputeSettings(
        policy=top.one_of("policy", policies(), "") if top.has("policy") else "drf-tree",
        seed=top.whole("seed", 0, 0, 2**31 - 1),
        look=top.whole("look", 1000, 1, 100_000),
        journal_days=top.whole("journal_days", 90, 1, 36_500),
        reclaim_s=top.seconds("reclaim", 3600),
        ageing_s=top.seconds("ageing", 86400),
        levels=_levels(top),
        classes=classes,
        sites=sites,
        tenants=tenants,
        maintenance=tuple(_maintenance(table, sites) for table in top.list_of_tables("maintenance")),
        throughput=throughput,
    )
    top.end()
    return found


def policies() -> tuple[str, ...]:
    """The names of the policies that ship, without loading any."""
    return tuple(sorted(found.name.replace("_", "-") for found in pkgutil.iter_modules(folder.__path__)))


def changes(before: ComputeSettings, after: ComputeSettings) -> list[dict[str, Any]]:
    """What differs: [{key, before, after}], None where there was or is nothing."""
    old, new = _flat(_brief(before)), _flat(_brief(after))
    return [
        {"key": key, "before": old.get(key), "after": new.get(key)}
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def check_classes(settings: ComputeSettings) -> None:
    """That what sites say of classes they say of declared ones: jobs can ask for no others. Raises BadInput."""
    for name, site in settings.sites.items():
        named = [(f"{key}.{kind}", kind) for key in _BY_CLASS for kind in _table(site.options.get(key))]
        nodes = site.options.get("nodes")
        for at, node in enumerate(nodes if isinstance(nodes, list | tuple) else ()):
            named += [(f"nodes[{at}].accelerator", _table(node)["accelerator"])] if _table(node).get("accelerator") else []
        for key, kind in named:
            if kind not in settings.classes:
                way_out = f"{nearest(str(kind), settings.classes)} Another is declared with [classes.{kind}]."
                raise BadInput(field=f"sites.{name}.options.{key}", problem=f"there is no class {kind!r}", way_out=way_out)


_BY_CLASS = ("devices", "gres", "labels", "vendors")  # options of drivers that are tables by class


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}  # what it is instead, the driver says


def plain(settings: ComputeSettings) -> dict[str, Any]:
    """As JSON shows them: amounts in devices and cores, times as text."""
    shown = asdict(settings)
    for tenant in shown["tenants"].values():
        for key in ("nominal", "borrow", "lend"):
            tenant[key] = {name or CPU: milli / 1000 for name, milli in tenant[key].items()}
    for window in shown["maintenance"]:
        window["start"], window["end"] = stamp(window["start"]), stamp(window["end"])
    return shown


# --- the parts -------------------------------------------------------------------------------------------------------------


def _class(table: Reader, name: str) -> AcceleratorClass:
    intake.name(name, table.place)
    number = {key: table.number(key, 0.0) for key in ("memory_gib", "price", "watts")}
    found = AcceleratorClass(name, table.text("vendor", limit=100), link=table.text("link", limit=100), **number)
    table.end()
    return found


def _site(table: Reader, name: str) -> SiteSettings:
    intake.name(name, table.place)
    driver = table.one_of("driver", DRIVERS, LOCAL if name == LOCAL else "")
    if (driver == LOCAL) != (name == LOCAL):
        raise table.wrong(
            "driver",
            f"the site '{LOCAL}' is this machine, and no other site is",
            f"Leave it out at '{LOCAL}'; elsewhere name slurm, ray or kubernetes.",
        )
    mode = Mode(table.one_of("mode", [mode.value for mode in Mode], DRIVERS[driver].value))
    if driver == LOCAL and mode is Mode.DELEGATED:
        raise table.wrong("mode", "there is no engine on this machine to delegate to", 'Write mode = "owned", or leave it out.')
    carbon = table.raw("kgco2", 0.0)
    hours = carbon if isinstance(carbon, list) else [carbon] * 24
    if len(hours) != 24 or not all(isinstance(each, int | float) and not isinstance(each, bool) and 0 <= each <= 100 for each in hours):
        raise table.wrong(
            "kgco2",
            "it is neither a number from 0 to 100 nor 24 of them",
            "Give kg of CO₂ per kWh, or one for each hour of the day in UTC.",
        )
    options = table.raw("options", {})
    if not isinstance(options, Mapping):
        raise table.wrong("options", "it is not a table", "Write options = { … }.")
    found = SiteSettings(
        name,
        driver,
        mode,
        table.number("tariff", 0.0, 0.0, 1e6),
        tuple(map(float, hours)),
        table.whole("window", 8, 1, 10_000),
        dict(options),
    )
    table.end()
    return found


def _tenant(table: Reader, name: str, units: set[str]) -> TenantSettings:
    parts = name.split("/")
    if len(parts) > 2:
        raise BadInput(field=table.place, problem=f"{name!r} is no tenant", way_out='Name an organisation, or "organisation/project".')
    for part in parts:
        intake.name(part, table.place)
    amount = {
        key: {"" if unit == CPU else unit: round(many * 1000) for unit, many in table.amounts(key, units).items()}
        for key in ("nominal", "borrow", "lend")
    }
    for key in ("borrow", "lend"):
        for unit, milli in amount[key].items():
            shown = unit or CPU
            if unit not in amount["nominal"]:
                raise table.wrong(
                    f"{key}.{shown}", "the tenant has no nominal quota of that class", f"Add nominal = {{ {shown} = … }}, or leave it out."
                )
            if key == "lend" and milli > amount["nominal"][unit]:
                raise table.wrong(
                    f"lend.{shown}", "it is more than the tenant's nominal quota", "Lend as much at most, or leave it out to lend all."
                )
    allowance = table.number("allowance", 0.0) if table.has("allowance") else None
    half_life = table.seconds("half_life", 604800)
    found = TenantSettings(
        name, table.text("parent") or None, table.number("weight", 1.0, 0.001, 1000.0), half_life, **amount, allowance=allowance
    )
    table.end()
    return found


def _under(tenant: TenantSettings, tenants: Mapping[str, TenantSettings]) -> TenantSettings:
    """With its parent: a project is under its organisation where that is a tenant too."""
    parent = tenant.parent
    if parent is None and "/" in tenant.name and tenant.name.partition("/")[0] in tenants:
        parent = tenant.name.partition("/")[0]
    if parent is not None and parent not in tenants:
        raise BadInput(field=f"tenants.{tenant.name}.parent", problem=f"there is no tenant {parent!r}", way_out=nearest(parent, tenants))
    return TenantSettings(
        tenant.name, parent, tenant.weight, tenant.half_life_s, tenant.nominal, tenant.borrow, tenant.lend, tenant.allowance
    )


def _is_a_tree(tenants: Mapping[str, TenantSettings]) -> None:
    clear: set[str] = set()
    for name in tenants:
        path: list[str] = []
        at: str | None = name
        while at is not None and at not in clear:
            if at in path:
                circle = " → ".join([*path[path.index(at) :], at])
                raise BadInput(field=f"tenants.{at}.parent", problem=f"the tenant is above itself: {circle}", way_out="Break the circle.")
            path.append(at)
            at = tenants[at].parent
        clear.update(path)


def _parts_fit(tenants: Mapping[str, TenantSettings]) -> None:
    """A tenant's nominal quota is the total of its subtree, so those of its parts may not exceed it."""
    parts: dict[tuple[str, str], list[TenantSettings]] = {}
    for tenant in tenants.values():
        for unit in tenant.nominal:
            above = tenant.parent
            while above is not None and unit not in tenants[above].nominal:
                above = tenants[above].parent
            if above is not None:
                parts.setdefault((above, unit), []).append(tenant)
    for (name, unit), below in parts.items():
        total, whole = sum(part.nominal[unit] for part in below), tenants[name].nominal[unit]
        if total > whole:
            named = ", ".join(f"{part.name} {part.nominal[unit] / 1000:g}" for part in below[:5]) + (", …" if len(below) > 5 else "")
            problem = f"its parts have {total / 1000:g} in all ({named}), and it has {whole / 1000:g}"
            way_out = "Give it more, or its parts less; what one does not use the others may borrow."
            raise BadInput(field=f"tenants.{name}.nominal.{unit or CPU}", problem=problem, way_out=way_out)


def _maintenance(table: Reader, sites: Mapping[str, SiteSettings]) -> Maintenance:
    site = table.text("site")
    if site not in sites:
        raise table.wrong("site", f"there is no site {site!r}", nearest(site, sites))
    start, end = moment(table.raw("from"), table.field("from")), moment(table.raw("to"), table.field("to"))
    if end <= start:
        raise table.wrong("to", f"it ends at {stamp(end)}, not after its start at {stamp(start)}", "Give the later time as 'to'.")
    found = Maintenance(site, table.texts("nodes"), start, end)
    table.end()
    return found


def _speeds(table: Reader, classes: Mapping[str, AcceleratorClass]) -> dict[str, float]:
    found = {name: table.number(name, 1.0, 1e-6, 1e6) for name in classes if table.has(name)}
    table.end()
    return found


def _levels(top: Reader) -> tuple[str, ...]:
    levels = top.texts("levels", LEVELS)
    for level in levels:
        intake.name(level, "levels")
    if len(set(levels)) != len(levels) or not set(levels).isdisjoint(("site", "node")) or len(levels) > 8:
        raise top.wrong(
            "levels",
            "they are up to 8 different names between site and node",
            'Write them from the widest to the narrowest, such as ["zone", "rack"].',
        )
    return levels


def _brief(settings: ComputeSettings) -> dict[str, Any]:
    """As `plain`, without what is said twice: names, and the same carbon in every hour."""
    shown = plain(settings)
    for part in (*shown["classes"].values(), *shown["sites"].values(), *shown["tenants"].values()):
        del part["name"]
    for site in shown["sites"].values():
        if len(set(site["kgco2"])) == 1:
            site["kgco2"] = site["kgco2"][0]
    return shown


def _flat(value: Any, place: str = "") -> dict[str, Any]:
    """By dotted key; a table in a list is one text."""
    if isinstance(value, Mapping) and value:
        return {key: each for name, inner in value.items() for key, each in _flat(inner, f"{place}.{name}" if place else str(name)).items()}
    if isinstance(value, list | tuple) and value and all(isinstance(each, Mapping) for each in value):
        return {f"{place}[{at}]": ", ".join(f"{key} = {_word(inner)}" for key, inner in each.items()) for at, each in enumerate(value)}
    return {place: value} if value not in ({}, (), [], "") else {}


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_word(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(_word, value)) + "]" if isinstance(value, list | tuple) else str(value)
