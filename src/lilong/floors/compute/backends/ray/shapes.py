"""Attempts and nodes in Ray's words. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lilong.floors.compute.backends.ray.options import Options
from lilong.floors.compute.contract import SiteNode, Task
from lilong.ground.errors import BadInput

STALE_S = 10.0  # Ray's figures of what is in use are so old at most
LATE_S = 10.0  # that a word on a shared disk may be late
OWNER = "lilong-site"
NODE = "ray.io/node-id"
_SOME = 0.001  # of an accelerator_type, which only says of which type a node's GPUs are
_GANG = Path(__file__).with_name("gang.py")


def amounts(task: Task, options: Options) -> dict[str, float]:
    """What one task asks of Ray, by resource; memory in bytes. Raises BadInput for a class that the site does not have."""
    asked = {"CPU": float(task.cpus), "memory": float(task.memory_mib << 20)}
    if task.devices:
        resource = options.devices.get(task.accelerator)
        if resource is None:
            raise BadInput(
                field="accelerator", problem=f"the site has no devices of class {task.accelerator!r}",
                way_out="An operator can map the class to a Ray resource in the site's options.devices.",
            )  # fmt: skip
        name, _, type_ = resource.partition(":")
        asked[name] = task.devices * task.milli / 1000
        if type_:
            asked[f"accelerator_type:{type_}"] = _SOME
    return asked


def submission(
    token: str, folder: Path, task: Task, owner: str, options: Options, pythonpath: str, pins: Sequence[str] = ()
) -> dict[str, Any]:
    """The body of a job's submission. Of a gang only its small driver is one; Ray puts that beside the head."""
    told = {OWNER: owner, "cpus": str(task.cpus), "memory_mib": str(task.memory_mib), "milli": str(task.devices * task.milli)}
    asked: dict[str, Any] = {"submission_id": token, "metadata": told}
    environment = [f"PYTHONPATH={pythonpath}"]
    if task.tasks > 1:
        gang_py = f"{pythonpath}/lilong/floors/compute/backends/ray/{_GANG.name}"
        argv = ["exec", "env", *environment, options.python, "-P", gang_py, str(folder)]
    else:
        argv = ["exec", "env", *environment, options.python, "-m", "lilong.floors.compute.supervisor", str(folder)]
        wanted = amounts(task, options)
        asked["entrypoint_num_cpus"] = wanted.pop("CPU")
        asked["entrypoint_memory"] = int(wanted.pop("memory"))
        asked["entrypoint_num_gpus"] = wanted.pop("GPU", 0)
        asked["entrypoint_resources"] = wanted
        if pins:
            asked["entrypoint_label_selector"] = {NODE: pins[0]}
    return {**asked, "entrypoint": shlex.join(argv)}


def gang(task: Task, options: Options, pythonpath: str, pins: Sequence[str] = ()) -> dict[str, Any]:
    """The order of gang.py."""
    return {
        "tasks": task.tasks,
        "bundle": amounts(task, options),
        "strategy": "STRICT_SPREAD" if options.spread and not pins else "PACK",
        "labels": [{NODE: node} for node in pins],
        "python": options.python,
        "pythonpath": pythonpath,
    }


def nodes(found: Iterable[Mapping[str, Any]], options: Options) -> dict[str, SiteNode]:
    """Nodes by Ray's ids. Several of one address are told apart by the beginning of their ids."""
    alive = sorted((node for node in found if node["state"] == "ALIVE"), key=lambda node: str(node["node_id"]))
    names = Counter(node["node_name"] for node in alive)
    told = {}
    for node in alive:
        has, labels = node["resources_total"], node.get("labels") or {}
        accelerator = next((name for name, resource in options.devices.items() if _has(has, resource) > 0), "")
        name = str(node["node_name"])
        told[str(node["node_id"])] = SiteNode(
            name=name if names[name] == 1 else f"{name}-{node['node_id'][:8]}",
            cpus=int(has.get("CPU", 0)),
            memory_mib=int(has.get("memory", 0)) >> 20,
            accelerator=accelerator,
            devices=int(_has(has, options.devices[accelerator])) if accelerator else 0,
            domains={level: labels[label] for level, label in options.levels.items() if label in labels},
        )
    return told


def _has(resources: Mapping[str, float], resource: str) -> float:
    name, _, type_ = resource.partition(":")
    return resources.get(name, 0.0) if not type_ or f"accelerator_type:{type_}" in resources else 0.0


def foreign(
    used: Mapping[str, Mapping[str, tuple[float, float]]],
    known: Mapping[str, SiteNode],
    held: Iterable[tuple[str, Mapping[str, str]]],
    options: Options,
) -> dict[str, tuple[int, int, int]]:
    """What others than the house hold, by node name: all that is in use, less what the house's own tasks asked for."""
    left = {node: [0.0, 0.0, 0.0] for node in known}
    for node, resources in used.items():
        if node in left:
            name = options.devices.get(known[node].accelerator, "").partition(":")[0]
            in_use = [resources.get(_in_camel_case(each), (0.0, 0.0))[0] for each in ("CPU", "memory", name)]
            left[node] = [in_use[0], in_use[1] / (1 << 20), in_use[2]]
    for node, told in held:
        if node in left:
            for at, amount in enumerate((float(told["cpus"]), float(told["memory_mib"]), float(told["milli"]) / 1000)):
                left[node][at] -= amount
    return {
        known[node].name: (round(cpus), round(memory), round(devices))
        for node, (cpus, memory, devices) in left.items()
        if max(round(cpus), round(memory), round(devices)) > 0
    }


def _in_camel_case(name: str) -> str:
    """As the dashboard writes names of resources in its answers."""
    first, *others = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in others)
