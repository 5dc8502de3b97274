"""The declared side of compute: what operators apply, look at, and say of nodes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from lilong.floors.compute.contract import MOST_DEVICES, Inventory, NodeDrained, SettingsApplied, Site, SiteNode
from lilong.floors.compute.rules import settings as rules
from lilong.floors.compute.rules.reading import nearest
from lilong.floors.compute.rules.settings import LOCAL, ComputeSettings
from lilong.floors.compute.store import settings as store
from lilong.floors.compute.work.sites import Sites
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

_LONGEST = 4 << 20


@dataclass(frozen=True, slots=True)
class Change:
    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Applied:
    """`version`: the one now in force. `changes` is empty where the document says what was in force already."""

    version: int
    dry_run: bool
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class SettingsShown:
    """`toml`: the document as it was applied; `settings`: all that follows from it."""

    version: int
    applied_by: str | None
    applied_at: str | None
    toml: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NodeShown:
    name: str
    cpus: int
    memory_mib: int
    accelerator: str
    devices: int
    domains: dict[str, str]
    open: bool
    drained: bool


@dataclass(frozen=True, slots=True)
class SiteShown:
    """`problem`: why it does not answer. `devices`: class -> number in all. Nodes are shown one by one where they are asked for."""

    name: str
    driver: str
    mode: str
    problem: str | None
    seen_at: str | None
    nodes: int
    closed: int
    cpus: int
    memory_mib: int
    devices: dict[str, int]


def apply(house: House, actor: Actor, source: str, *, dry_run: bool = False) -> Applied:
    """Put a document in force as a new version; with `dry_run`, only say what it would change. Raises BadInput, Forbidden."""
    if len(source) > _LONGEST:
        raise BadInput(field="toml", problem=f"it is longer than {_LONGEST >> 20} MiB", way_out="Give the settings alone.")
    house.db.read(lambda tx: house.access.require(tx, actor, "house.manage"))
    wanted = rules.read(source)
    rules.check_classes(wanted)
    _check_sites(house, wanted, house.db.read(store.current)[1])

    def write(tx: Tx) -> Applied:
        version, known = store.current(tx)
        _check_nodes(tx, wanted, known, stamp(house.clock.now()))
        found = [Change(**change) for change in rules.changes(known, wanted)]
        row = store.version(tx)
        if dry_run or (row is not None and json.loads(row["document"])["toml"] == source):
            return Applied(version, dry_run, found)
        store.add_version(tx, version + 1, source, actor.user, stamp(house.clock.now()))
        digest = "sha256:" + hashlib.sha256(source.encode()).hexdigest()
        house.events.append(tx, actor, SettingsApplied(str(version + 1), digest))
        return Applied(version + 1, dry_run, found)

    return house.db.read(write) if dry_run else house.db.write(write)


def _check_sites(house: House, wanted: ComputeSettings, known: ComputeSettings) -> None:
    """That each site that is new or otherwise declared than before can be opened. Raises BadInput; Unavailable where its engine or library is missing."""
    for name, site in wanted.sites.items():
        if site == known.sites.get(name):
            continue
        open_site: Callable[..., Site] = import_module(f"lilong.floors.compute.backends.{site.driver}").open_site
        try:
            open_site(name, site.options, house)
        except BadInput as refused:
            field = str(refused.details.get("field", ""))
            if not field.startswith(f"sites.{name}."):  # some drivers say the whole of it
                field = f"sites.{name}.{field if field.startswith('options.') else f'options.{field}'}"
            way_out = str(refused.details.get("way_out", ""))
            raise BadInput(field=field, problem=str(refused.details.get("problem", refused)), way_out=way_out) from None
        if site.driver == LOCAL:
            _check_devices(name, site.options.get("nodes", ()))


def _check_devices(site: str, nodes: Sequence[Mapping[str, Any]]) -> None:
    """What was applied before there was this bound still opens: of such a node as many are used as can be told apart."""
    for at, node in enumerate(nodes):
        if node.get("devices", 0) > MOST_DEVICES:
            problem = f"{node['devices']} are more than the {MOST_DEVICES} of one node that can be told apart"
            raise BadInput(field=f"sites.{site}.options.nodes[{at}].devices", problem=problem, way_out="Declare several nodes.")


def _check_nodes(tx: Tx, wanted: ComputeSettings, known: ComputeSettings, now: str) -> None:
    """That maintenance to come is of nodes that the site has, where it was seen as it is declared. Raises BadInput."""
    rows = {row["name"]: row for row in store.site_rows(tx)}
    for at, window in enumerate(wanted.maintenance):
        seen = rows.get(window.site) if wanted.sites[window.site] == known.sites.get(window.site) else None
        names = {node.name for node in _inventory(seen["inventory"]).nodes} if seen is not None else set()
        missing = [node for node in window.nodes if names and node not in names]
        if missing and stamp(window.end) > now:
            problem = f"the site {window.site} has no node {missing[0][:100]!r}"
            raise BadInput(field=f"maintenance[{at}].nodes", problem=problem, way_out=nearest(missing[0], names))


def shown(house: House, actor: Actor, version: int | None = None) -> SettingsShown:
    """The settings in force, or a version of before. Raises NotFound, Forbidden."""

    def look(tx: Tx) -> SettingsShown:
        house.access.require(tx, actor, "house.manage")
        row = store.version(tx, version)
        if row is None and version:
            raise NotFound(kind="version of the settings", name=version)
        source = "" if row is None else json.loads(row["document"])["toml"]
        by, at = (None, None) if row is None else (row["applied_by"], row["applied_at"])
        return SettingsShown(0 if row is None else int(row["version"]), by, at, source, rules.plain(rules.read(source)))

    return house.db.read(look)


# --- sites and nodes -------------------------------------------------------------------------------------------------------


def _inventory(text: str) -> Inventory:
    given = json.loads(text or "{}") or {}
    nodes = tuple(SiteNode(**node) for node in given.get("nodes", ()))
    return Inventory(nodes, {name: (held[0], held[1], held[2]) for name, held in given.get("foreign", {}).items()})


def sites(house: House, actor: Actor) -> list[SiteShown]:
    """Where jobs may run, and what is there. Whoever may see jobs may see this."""

    def look(tx: Tx) -> list[SiteShown]:
        _, settings = store.current(tx)
        rows = {row["name"]: row for row in store.site_rows(tx)}
        drained = store.drained(tx)
        return [_site(settings, name, rows.get(name), drained) for name in settings.sites]

    return house.db.read(look)


def _site(settings: ComputeSettings, name: str, row: Any, drained: set[tuple[str, str]]) -> SiteShown:
    declared = settings.sites[name]
    nodes = _inventory(row["inventory"]).nodes if row is not None else ()
    devices: dict[str, int] = {}
    for node in nodes:
        if node.devices:
            devices[node.accelerator] = devices.get(node.accelerator, 0) + node.devices
    closed = sum(not node.open or (name, node.name) in drained for node in nodes)
    problem = row["problem"] if row is not None else None
    return SiteShown(
        name, declared.driver, declared.mode.value, problem, row["seen_at"] if row is not None else None, len(nodes), closed,
        sum(node.cpus for node in nodes), sum(node.memory_mib for node in nodes), devices,
    )  # fmt: skip


def nodes(house: House, actor: Actor, site: str) -> list[NodeShown]:
    """Raises NotFound."""

    def look(tx: Tx) -> list[NodeShown]:
        found = _row(tx, site)
        drained = store.drained(tx)
        return [
            NodeShown(n.name, n.cpus, n.memory_mib, n.accelerator, n.devices, dict(n.domains), n.open, (site, n.name) in drained)
            for n in (_inventory(found["inventory"]).nodes if found is not None else ())
        ]

    return house.db.read(look)


def _row(tx: Tx, site: str) -> Any:
    _, settings = store.current(tx)
    if site not in settings.sites:
        raise NotFound(kind="site", name=site[:100])
    return next((row for row in store.site_rows(tx) if row["name"] == site), None)


def drain(house: House, actor: Actor, site: str, node: str, *, on: bool) -> list[NodeShown]:
    """Let a node take no new work, or again some; what runs there goes on. Idempotent. Raises NotFound, BadInput, Forbidden.

    Raises also what an engine that places jobs itself has against it: the house sends nothing there all the same.
    """

    def write(tx: Tx) -> None:
        house.access.require(tx, actor, "house.manage")
        row = _row(tx, site)
        known = {each.name for each in _inventory(row["inventory"]).nodes} if row is not None else set()
        if on and node not in known:
            raise BadInput(field="node", problem=f"the site {site} has no node {node[:100]!r}", way_out=nearest(node, known))
        if store.drain(tx, site, node, actor.user, stamp(house.clock.now()), on=on):
            house.events.append(tx, actor, NodeDrained(f"{site}/{node}", on))

    house.db.write(write)
    house.port(Sites).drain(site, node, on=on)
    return nodes(house, actor, site)
