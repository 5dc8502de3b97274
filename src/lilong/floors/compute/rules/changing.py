"""Other settings to be tried out: `quota.team-a=64`, `policy=easy`, `nodes.pudong=12`, sites more or fewer. Pure.

The changed document is parsed like any other, so what could not be applied cannot be tried out either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from lilong.floors.compute.contract import Inventory, SiteNode
from lilong.floors.compute.rules.reading import nearest
from lilong.floors.compute.rules.settings import CPU, LOCAL
from lilong.ground.errors import BadInput

KEYS = (
    "policy", "quota.TENANT", "quota.TENANT.CLASS", "borrow.TENANT.CLASS", "lend.TENANT.CLASS", "weight.TENANT", "half_life.TENANT",
    "price.CLASS", "watts.CLASS", "tariff.SITE", "kgco2.SITE", "nodes.SITE", "reclaim", "ageing",
)  # fmt: skip
_AMOUNTS = {"quota": "nominal", "borrow": "borrow", "lend": "lend"}
_ADD = "--add-site"
_SITE = {"name", "nodes", "class", "devices", "cpus", "memory_gib", "tariff", "kgco2", "price", "watts"}
MOST_NODES = 100_000


@dataclass(frozen=True, slots=True)
class World:
    """What decisions hang on: the settings as a document, what each site has, who is a tenant though no settings say so."""

    document: Mapping[str, Any]
    sites: Mapping[str, Inventory]
    organisations: frozenset[str] = frozenset()

    def classes(self) -> set[str]:
        return {node.accelerator for inventory in self.sites.values() for node in inventory.nodes if node.devices}


def missing_of(world: World, site: str, accelerator: str) -> tuple[str, ...]:
    """What was never said of a kind of node, as the keys with which it can be: such as price.h20 and kgco2.lingang."""
    named, table = accelerator or CPU, world.document.get("classes", {}).get(accelerator or CPU, {})
    there = world.document.get("sites", {}).get(site, {})
    missing = [f"{word}.{named}" for word in ("price", "watts") if word not in table]
    return (*missing, *(f"{word}.{site}" for word in ("tariff", "kgco2") if word not in there))


def assignment(text: str) -> tuple[str, str]:
    """KEY=VALUE. Raises BadInput."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip() or not value.strip():
        raise BadInput(field="--set", problem=f"{text[:100]!r} is no KEY=VALUE", way_out="Write it like quota.team-a=64.")
    return key.strip(), value.strip()


def number(key: str, value: str, *, whole: bool = False, low: float = 0.0, high: float = 1e9, option: str = "--set") -> float:
    """`option`: of the command line, at which the key was given. Raises BadInput."""
    try:
        found = int(value) if whole else float(value)
    except ValueError:
        found = float("nan")
    if not low <= found <= high:
        kind = "whole number" if whole else "number"
        raise BadInput(field=f"{option} {key}", problem=f"{value[:60]!r} is no {kind} from {low:g} to {high:g}", way_out="Give one.")
    return found


def changed(world: World, sets: Sequence[str] = (), add: Sequence[Mapping[str, Any]] = (), remove: Sequence[str] = ()) -> World:
    """The world with everything said put otherwise, in the order: sites that go, sites that come, settings. Raises BadInput."""
    document, sites = deepcopy(dict(world.document)), dict(world.sites)
    for name in remove:
        if name not in sites:
            raise BadInput(field="--remove-site", problem=f"there is no site {name!r}", way_out=nearest(name, sites))
        del sites[name]
        document.get("sites", {}).pop(name, None)
        document["maintenance"] = [window for window in document.get("maintenance", []) if window.get("site") != name]
    for given in add:
        name, inventory = _site(given, document)
        if name in sites:
            raise BadInput(field="--add-site", problem=f"there is a site {name!r} already", way_out="Give it another name.")
        sites[name] = inventory
    found = World(document, sites, world.organisations)
    for text in sets:
        key, value = assignment(text)
        _set(found, sites, key, value)
    return found


def _set(world: World, sites: dict[str, Inventory], key: str, value: str) -> None:
    word, _, rest = key.partition(".")
    document: Any = world.document
    if key == "policy":
        document["policy"] = value  # which there are, `parse` knows
    elif key in ("reclaim", "ageing"):
        document[key] = _time(value)
    elif word in _AMOUNTS and rest:
        tenant, unit = _of_tenant(world, key, rest)
        table = document.setdefault("tenants", {}).setdefault(tenant, {}).setdefault(_AMOUNTS[word], {})
        if value == "none":
            table.pop(unit, None)
        else:
            table[unit] = number(key, value)
    elif word in ("weight", "half_life") and rest:
        tenant = _tenant(world, key, rest)
        document.setdefault("tenants", {}).setdefault(tenant, {})[word] = number(key, value) if word == "weight" else _time(value)
    elif word in ("price", "watts") and rest:
        known = world.classes() | {CPU}
        if rest not in known:
            raise BadInput(field=f"--set {key}", problem=f"there is no class {rest!r}", way_out=nearest(rest, known))
        document.setdefault("classes", {}).setdefault(rest, {})[word] = number(key, value)
    elif word in ("tariff", "kgco2", "nodes") and rest:
        if rest not in sites:
            raise BadInput(field=f"--set {key}", problem=f"there is no site {rest!r}", way_out=nearest(rest, sites))
        if word == "nodes":
            sites[rest] = resized(sites[rest], int(number(key, value, whole=True, high=MOST_NODES)))
        else:
            document.setdefault("sites", {}).setdefault(rest, {} if rest == LOCAL else {"driver": "slurm"})[word] = number(key, value)
    else:
        raise BadInput(field="--set", problem=f"nothing is called {key!r}", way_out=f"There are {', '.join(KEYS)}.")


def _time(value: str) -> int | str:
    return int(value) if value.isdecimal() else value


def _tenant(world: World, key: str, name: str) -> str:
    known = {*world.document.get("tenants", {}), *world.organisations}
    if name not in known:
        raise BadInput(field=f"--set {key}", problem=f"there is no tenant {name!r}", way_out=nearest(name, known))
    return name


def _of_tenant(world: World, key: str, rest: str) -> tuple[str, str]:
    """Tenant and class; the class may be left out where there is but one that it could be."""
    known = {*world.document.get("tenants", {}), *world.organisations}
    tenant, _, unit = rest.rpartition(".")
    if rest in known or tenant not in known:
        tenant, unit = _tenant(world, key, rest), ""
    classes = world.classes() | set(world.document.get("classes", {})) | {CPU}
    if unit and unit not in classes:
        raise BadInput(field=f"--set {key}", problem=f"there is no class {unit!r}", way_out=nearest(unit, classes))
    if unit:
        return tenant, unit
    could = list(world.document.get("tenants", {}).get(tenant, {}).get("nominal", {})) or sorted(world.classes()) or [CPU]
    if len(could) > 1:
        raise BadInput(
            field=f"--set {key}",
            problem=f"it could be of {', '.join(could)}",
            way_out=f"Name the class: {key.partition('.')[0]}.{tenant}.{could[0]}=…",
        )
    return tenant, could[0]


def resized(inventory: Inventory, many: int) -> Inventory:
    """With so many nodes: the first of those there are, and more like the last."""
    nodes = list(inventory.nodes[:many])
    if many and not inventory.nodes:
        raise BadInput(field="--set nodes", problem="the site has no node that more could be like", way_out="Use --add-site.")
    while len(nodes) < many:
        nodes.append(replace(inventory.nodes[-1], name=f"more-{len(nodes) + 1}"))
    kept = {node.name for node in nodes}
    return Inventory(tuple(nodes), {name: held for name, held in inventory.foreign.items() if name in kept})


def inline(text: str) -> dict[str, Any]:
    """`name=lingang,nodes=12,class=h20,devices=8` as a table. Raises BadInput."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        key, sign, value = part.partition("=")
        if not sign or not value.strip():
            raise BadInput(
                field="--add-site", problem=f"{part[:60]!r} is no KEY=VALUE", way_out="Write name=lingang,nodes=12,class=h20,devices=8."
            )
        found[key.strip().replace("-", "_")] = value.strip()
    return found


def _site(given: Mapping[str, Any], document: dict[str, Any]) -> tuple[str, Inventory]:
    unknown = sorted(set(given) - _SITE)
    if unknown:
        raise BadInput(field=f"--add-site {unknown[0]}", problem="a site has no such key", way_out=f"There are {', '.join(sorted(_SITE))}.")
    name, kind = str(given.get("name", "")), str(given.get("class", ""))
    if not name:
        raise BadInput(field="--add-site name", problem="it is missing", way_out="Write name=lingang,nodes=12,class=h20,devices=8.")
    known = document.get("classes", {})
    if kind and kind not in known:
        raise BadInput(
            field=f"{_ADD} class",
            problem=f"there is no class {kind[:100]!r}, so no job has asked for it",
            way_out=f"{nearest(kind, known)} A new one is declared with `lilong compute apply`.",
        )
    amount = {
        key: int(number(key, str(given.get(key, default)), whole=True, low=low, high=high, option=_ADD))
        for key, default, low, high in (
            ("nodes", 1, 1, MOST_NODES),
            ("devices", 8 if kind else 0, 0, 62),
            ("cpus", 64, 1, 10_000),
            ("memory_gib", 512, 1, 1_000_000),
        )
    }
    if bool(kind) != bool(amount["devices"]):
        raise BadInput(
            field="--add-site", problem="devices have a class, and a class has devices", way_out="Give class and devices, or neither."
        )
    table: dict[str, Any] = {"driver": "slurm", "mode": "owned"}
    table |= {key: number(key, str(given[key]), option=_ADD) for key in ("tariff", "kgco2") if key in given}
    document.setdefault("sites", {})[name] = table
    for key in ("price", "watts"):
        if key in given:
            document.setdefault("classes", {}).setdefault(kind or CPU, {})[key] = number(key, str(given[key]), option=_ADD)
    node = SiteNode("", amount["cpus"], amount["memory_gib"] * 1024, kind, amount["devices"])
    return name, Inventory(tuple(replace(node, name=f"{name}-{at + 1}") for at in range(amount["nodes"])))
