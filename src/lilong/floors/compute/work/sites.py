"""The sites that there are: opened from the settings, what was last seen of each, and which of them do not answer."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module

import structlog

from lilong.floors.compute.contract import MOST_DEVICES, Inventory, Site, SiteDown
from lilong.floors.compute.rules.settings import LOCAL, SiteSettings, read
from lilong.floors.compute.rules.ways import Place, place
from lilong.floors.compute.store import places
from lilong.floors.compute.store import settings as declared
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

log = structlog.get_logger("lilong.compute")

INVENTORY_S = 30.0  # between two looks at what a site has
TELL_S = 120.0  # after which it is written down anew when an engine was seen last
_AGAIN_S = 60.0  # before a site that could not be opened is tried again
_ANEW = "it was declared otherwise a moment ago and is looked at anew"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a site. `declared`: it takes new jobs; one that was taken out of the settings is only watched to the end."""

    site: Site
    spec: SiteSettings
    declared: bool = True
    inventory: Inventory | None = None
    place: Place | None = None
    problem: str | None = None


class Sites:
    """Every site by name. Opens those of the newest settings, and those of earlier ones on which something still runs."""

    def __init__(self, house: House, given: Mapping[str, Site] | None = None) -> None:
        """`given`: sites that are open already, whatever the settings say of drivers."""
        self._house = house
        self._given = dict(given or {})
        self._known: dict[str, Known] = {}
        self._failed: dict[str, tuple[SiteSettings, float]] = {}
        self._seen_at: dict[str, float] = {}
        self._told_at: dict[str, float] = {}
        self._drained: dict[str, set[str]] = {}  # as the sites were told
        self._cursors: dict[str, str] = {}
        self._version = -1
        self._guard = threading.RLock()
        self._unseen: set[str] = set()  # declared otherwise than when they were looked at
        self.changes = 0  # grows whenever something is otherwise that decisions look at
        self.aside: Mapping[str, str] = {}  # jobs about which no decision could be made for them, and why

    # --- who there is ------------------------------------------------------------------------------------------------------

    def all(self) -> Mapping[str, Site]:
        return {name: known.site for name, known in self.known().items()}

    def named(self, name: str) -> Site:
        """Raises NotFound."""
        if name not in self.known():
            self.refresh()
        found = self.known().get(name)
        if found is None:
            raise NotFound(kind="site", name=name)
        return found.site

    def known(self) -> Mapping[str, Known]:
        """Without the guard: it is held while what was seen is written down, and the writer may be asking here (see `inventories`)."""
        return self._known.copy()

    def inventories(self) -> Mapping[str, Inventory]:
        """Of the sites that take new jobs, as far as it is known. Looks at nothing, so it may be asked within a transaction."""
        return {
            name: known.inventory
            for name, known in self.known().items()
            if known.declared and known.inventory is not None and name not in self._unseen
        }

    def refresh(self) -> None:
        """Open and leave sites as the newest settings say. Not to be called within a transaction."""
        version, settings = self._house.db.read(declared.current)
        with self._guard:
            now = self._house.clock.monotonic()
            due = [name for name, (_, at) in self._failed.items() if now - at >= _AGAIN_S]
            if version == self._version and not due:
                return
            rows, gone = self._house.db.read(
                lambda tx: (places.rows(tx), [(n, earlier(tx, n)) for n in sorted(places.in_use(tx) - settings.sites.keys())])
            )
            specs = {**settings.sites, **{name: spec for name, spec in gone if spec is not None}}
            for name, spec in specs.items():
                self._take_in(name, spec, rows.get(name), name in settings.sites)
            for name in [name for name in self._known if name not in specs]:
                del self._known[name]
            self._version = version
            self.changes += 1

    def _take_in(self, name: str, spec: SiteSettings, row: places.SiteRow | None, is_declared: bool) -> None:
        before = self._known.get(name)
        if before is not None and _opened_alike(before.spec, spec):
            self._known[name] = replace(before, spec=spec, declared=is_declared)
            return
        try:
            site = self._opened(name, spec)
        except (LilongError, ImportError) as problem:
            if name == LOCAL and before is None:
                raise  # a house that cannot run anything itself should not seem to be well
            self._failed[name] = (spec, self._house.clock.monotonic())
            words = str(problem)
            log.warning("site not opened", site=name, problem=words)
            self._house.db.write(lambda tx: places.problem(tx, name, words))
            return
        self._failed.pop(name, None)
        inventory = row.inventory if row else None
        if before is None:
            self._cursors[name] = row.cursor if row else ""
            self._drained[name] = set(row.drained) if row else set()
        self._seen_at.pop(name, None)
        told = row.problem if row else None
        if before is not None:  # nothing starts on nodes that may be there no longer
            self._unseen.add(name)
            told = _ANEW
        self._known[name] = Known(site, spec, is_declared, inventory, place(name, site.mode, inventory), told)

    def _opened(self, name: str, spec: SiteSettings) -> Site:
        if name in self._given:
            return self._given[name]
        driver = import_module(f"lilong.floors.compute.backends.{spec.driver}")
        opened: Site = driver.open_site(name, spec.options, self._house)
        opened.mode = spec.mode
        if name == LOCAL:
            self._house.provide(driver.LocalSite, opened)
        return opened

    # --- what is seen of them ----------------------------------------------------------------------------------------------

    def cursor(self, name: str) -> str:
        return self._cursors.get(name, "")

    def keep_cursor(self, name: str, cursor: str) -> None:
        """What was seen before it has been written down; the next server begins there."""
        if self._cursors.get(name, "") != cursor:
            self._house.db.write(lambda tx: places.keep_cursor(tx, name, cursor))
            self._cursors[name] = cursor

    def look(self, name: str, *, at_once: bool = False) -> None:
        """Ask a site what it has, if that was not done for a while. Raises SiteDown."""
        now = self._house.clock.monotonic()
        if not at_once and now - self._seen_at.get(name, -INVENTORY_S) < INVENTORY_S:
            return
        found = self.known().get(name)
        if found is not None:
            inventory = _told_apart(name, found.site.inventory())
            with self._guard:
                if self._is(name, found.site):  # else it was declared otherwise meanwhile, and is looked at again
                    self._seen_at[name] = now
            self._drain(name, found.site)
            with self._guard:
                if self._is(name, found.site):
                    self.saw(name, inventory)
                    self._unseen.discard(name)

    def _is(self, name: str, site: Site) -> bool:
        known = self._known.get(name)
        return known is not None and known.site is site

    def _drain(self, name: str, site: Site) -> None:
        """Let an engine know itself which of its nodes take no new work; decisions heed it already."""
        wanted = {node for at, node in self._house.db.read(places.drains) if at == name}
        before = self._drained.get(name, set())
        if wanted == before:
            return
        # Written down first: a server that dies in between is followed by one that knows what to take back.
        self._house.db.write(lambda tx: places.told_to_drain(tx, name, before | wanted))
        for node in sorted(wanted ^ before):
            try:
                site.drain(node, on=node in wanted)
            except SiteDown:
                raise
            except LilongError as problem:  # it is looked at all the same; who drains a node is told at once
                log.warning("node not drained", site=name, node=node, problem=str(problem))
        self._house.db.write(lambda tx: places.told_to_drain(tx, name, wanted))
        self._drained[name] = wanted

    def drain(self, name: str, node: str, *, on: bool) -> None:
        """Let an engine know at once; one that does not answer hears of it later. Raises what the engine has against it."""
        with contextlib.suppress(SiteDown, NotFound):
            self.named(name).drain(node, on=on)

    def saw(self, name: str, inventory: Inventory) -> None:
        with self._guard:
            before = self._known.get(name)
            if before is None or (before.inventory == inventory and before.problem is None and not self._stale(name)):
                return
            self._told_at[name] = self._house.clock.monotonic()
            changed = before.inventory != inventory or before.problem is not None
            self._house.db.write(lambda tx: places.saw(tx, name, inventory, stamp(self._house.clock.now())))
            self._known[name] = replace(before, inventory=inventory, place=place(name, before.site.mode, inventory), problem=None)
            self.changes += changed

    def _stale(self, name: str) -> bool:
        """Whether people would be told that an engine was last seen long ago."""
        return name != LOCAL and self._house.clock.monotonic() - self._told_at.get(name, 0.0) > TELL_S

    def answers(self, name: str) -> None:
        with self._guard:
            before = self._known.get(name)
            if before is not None and before.problem is not None and name not in self._unseen:
                self._house.db.write(lambda tx: places.problem(tx, name, None))
                self._known[name] = replace(before, problem=None)
                self.changes += 1

    def down(self, name: str, problem: SiteDown) -> bool:
        """It does not answer; whether that is news. Says nothing of any attempt: only that nothing new starts there."""
        with self._guard:
            before = self._known.get(name)
            if name not in self._unseen:
                self._seen_at[name] = self._house.clock.monotonic()
            if before is None or before.problem == str(problem):
                return False
            self._house.db.write(lambda tx: places.problem(tx, name, str(problem)))
            self._known[name] = replace(before, problem=str(problem))
            self.changes += 1
            return before.problem is None


def _opened_alike(one: SiteSettings, other: SiteSettings) -> bool:
    """Whether a site that was opened for the one serves for the other: what it costs and how much waits in it changes nothing there."""
    return (one.driver, one.mode, one.options) == (other.driver, other.mode, other.options)


def _told_apart(name: str, inventory: Inventory) -> Inventory:
    """With no more devices on a node than decisions can tell apart: one such node, say of an engine that counts shares, is to hold nobody up."""
    wide = {node.name: node.devices - MOST_DEVICES for node in inventory.nodes if node.devices > MOST_DEVICES}
    if not wide:
        return inventory
    log.warning("only a part of the devices is used", site=name, nodes=[*wide][:10], most=MOST_DEVICES)
    nodes = tuple(replace(node, devices=min(node.devices, MOST_DEVICES)) for node in inventory.nodes)
    foreign = {node: (cores, memory, max(devices - wide.get(node, 0), 0)) for node, (cores, memory, devices) in inventory.foreign.items()}
    return replace(inventory, nodes=nodes, foreign=foreign)


def earlier(tx: Tx, name: str) -> SiteSettings | None:
    """How a site was declared last, in settings that are no longer in force."""
    for listed in declared.versions(tx, 1000):
        row = declared.version(tx, int(listed["version"]))
        found = read(json.loads(row["document"])["toml"]).sites.get(name) if row is not None else None
        if found is not None:
            return found
    return None
