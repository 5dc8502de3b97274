"""The nodes of a local site: this machine, or nodes that only the settings know, for trying the scheduler out on a laptop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lilong.floors.compute.contract import Capacity, Inventory, SiteNode, Task
from lilong.ground.errors import BadInput, NotFound

_KEYS = frozenset({"name", "count", "cpus", "memory_gib", "accelerator", "devices", "domains"})


@dataclass(frozen=True, slots=True)
class Nodes:
    """`virtual`: they are declared, not found: several share this machine, and their devices need not exist."""

    nodes: tuple[SiteNode, ...]
    virtual: bool = False

    @classmethod
    def this_machine(cls, capacity: Capacity) -> Nodes:
        return cls((SiteNode("local", capacity.cpus, capacity.memory_mib),))

    @classmethod
    def declared(cls, told: Sequence[Mapping[str, Any]]) -> Nodes:
        """From `nodes = [{name, count, cpus, memory_gib, accelerator, devices, domains}, …]`; `count` > 1 appends numbers to the name.

        Raises BadInput.
        """
        found: list[SiteNode] = []
        for place, one in enumerate(told):
            field = f"options.nodes[{place}]"
            found += _declared(field, one)
        names = [node.name for node in found]
        for name in names:
            if names.count(name) > 1:
                raise BadInput(field="options.nodes", problem=f"two nodes are called {name!r}", way_out="Give each a name of its own.")
        if not found:
            raise BadInput(field="options.nodes", problem="the list is empty", way_out="Declare a node, or leave the list out.")
        return cls(tuple(found), virtual=True)

    def inventory(self, drained: Path) -> Inventory:
        closed = {path.name for path in drained.iterdir()} if drained.is_dir() else set()
        return Inventory(tuple(replace(node, open=False) if node.name in closed else node for node in self.nodes))

    def node(self, name: str) -> SiteNode:
        """Raises NotFound."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise NotFound(kind="node of this site", name=name)

    def check(self, task: Task) -> None:
        """Whether the placement makes sense here. Raises BadInput, NotFound."""
        if task.placed and len(task.placed) != task.tasks:
            raise BadInput(
                field="placed", problem=f"{len(task.placed)} places for {task.tasks} tasks", way_out="Give a place for each task."
            )
        for placed in task.placed:
            node = self.node(placed.node)
            bad = [number for number in placed.devices if not 0 <= number < node.devices]
            if bad:
                raise BadInput(
                    field="placed", problem=f"node {node.name} has no device {bad[0]}", way_out=f"It has {node.devices}, counted from 0."
                )


def _declared(field: str, one: Mapping[str, Any]) -> list[SiteNode]:
    if not isinstance(one, Mapping):
        raise BadInput(field=field, problem="it is not a table", way_out="Write { name = …, cpus = …, memory_gib = … }.")
    for key in one:
        if key not in _KEYS:
            raise BadInput(field=f"{field}.{key}", problem="there is no such key", way_out=f"Keys are {', '.join(sorted(_KEYS))}.")
    name = one.get("name")
    if not isinstance(name, str) or not name or not all(letter.isalnum() or letter in "-_" for letter in name) or len(name) > 60:
        raise BadInput(field=f"{field}.name", problem=f"{name!r} is not a node's name", way_out="Use letters, digits, '-' and '_'.")
    count = _whole(field, one, "count", 1, 1)
    cpus = _whole(field, one, "cpus", 1, 1)
    devices = _whole(field, one, "devices", 0, 0)
    memory = one.get("memory_gib", 1)
    if not isinstance(memory, int | float) or isinstance(memory, bool) or memory <= 0:
        raise BadInput(field=f"{field}.memory_gib", problem=f"{memory!r} is not an amount", way_out="Give a number above 0.")
    domains = one.get("domains", {})
    if not isinstance(domains, Mapping) or not all(isinstance(value, str) for value in domains.values()):
        raise BadInput(field=f"{field}.domains", problem="it is not a table of names", way_out='Write { rack = "r1" }.')
    accelerator = one.get("accelerator", "")
    if devices and (not isinstance(accelerator, str) or not accelerator):
        raise BadInput(field=f"{field}.accelerator", problem="devices without a class", way_out="Name the class of its devices.")
    names = [name] if count == 1 else [f"{name}{number}" for number in range(1, count + 1)]
    return [SiteNode(each, cpus, int(memory * 1024), str(accelerator), devices, dict(domains)) for each in names]


def _whole(field: str, one: Mapping[str, Any], key: str, usual: int, least: int) -> int:
    value = one.get(key, usual)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 100_000:
        raise BadInput(field=f"{field}.{key}", problem=f"{value!r} is not a whole number from {least} on", way_out="Give such a number.")
    return value
