"""From an order to a program that can be started: what it sees, which environment, in which sandbox, as which ranks."""

from __future__ import annotations

import json
import os
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lilong
from lilong.floors.compute.supervisor import devices, ranks
from lilong.ground import sandbox
from lilong.ground.sandbox.levels import Bind, Launch, Level, Limits, Sandbox

SOCKET_NAME = "service.sock"
PROCESSES = 1024
_FOLDER_BYTES = 64 << 30
_NO_NETWORK = {"HF_HUB_OFFLINE": "1"}  # else the hub clients spend minutes on finding out that there is none
_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "TP_SOCKET_IFNAME": "lo", "HCCL_SOCKET_IFNAME": "lo"}


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where the ranks of a gang have come together: the host of each, and where the first one waits for the others."""

    hosts: tuple[str, ...]
    address: str = "127.0.0.1"
    port: int = 0
    interface: str = ""  # of this rank, by which it reaches the first


def planned(order: Mapping[str, Any], folder: Path, rank: int | None, meeting: Meeting | None, secrets: int | None) -> Launch:
    """How to start an attempt (`rank` None), or one rank of it. Raises LevelMissing, OSError, ImportError."""
    task: Mapping[str, Any] = order["task"]
    here = folder if rank is None else folder / "tasks" / str(rank)
    level = Level.parse(order["level"]) if order.get("level") else _best(Level.parse(order.get("floor") or "none"))
    own_view = level >= Level.BUBBLEWRAP
    places = {"in": folder / "in", "out": folder / "out", "state": folder.parent / "state"}
    seen = {name: f"/job/{name}" if own_view else str(path) for name, path in places.items()}
    tmp = "/tmp" if own_view else str(here / "tmp")  # noqa: S108 - private inside
    binds = [Bind(path, seen[name], writable=name != "in") for name, path in places.items()]
    if not own_view:
        (here / "tmp").mkdir(exist_ok=True)
        binds.append(Bind(here / "tmp", writable=True))
    together = rank is None and int(task["tasks"]) > 1  # one supervisor for the whole gang
    count = int(task["tasks"]) if together else 1
    argv = (sys.executable, *task["argv"][1:]) if task["argv"][0] == "python" else tuple(task["argv"])
    environment = _environment(order, seen, tmp)
    environment.update(order.get("network_environment") or {} if task["network"] else _NO_NETWORK)
    if together:
        environment.update(_LOOPBACK)
    elif rank is not None and meeting is not None:
        environment.update(_rank_environment(rank, meeting))
        if meeting.interface:  # gloo would go by the machine's name, which inside the sandbox is nobody's
            environment["GLOO_SOCKET_IFNAME"] = meeting.interface
    elif not together:
        environment.update(_devices(order, 0))
    if not task["placed"]:
        passed = order.get("passed") or [name for names in devices.VARIABLES.values() for name in names]
        environment.update({name: os.environ[name] for name in passed if name in os.environ})  # what the engine that placed us has set
    environment.update(task["env"])
    if secrets is not None:
        environment["LILONG_SECRETS_FD"] = str(secrets)
    limits = Limits(
        memory_bytes=count * int(task["memory_mib"]) << 20,
        processes=PROCESSES,
        folder_bytes=_FOLDER_BYTES,
        tmp_bytes=max(256, count * int(task["memory_mib"]) // 2) << 20,
    )
    box = Sandbox(
        argv=(sys.executable, "-I", "-S", str(Path(ranks.__file__)), "{fd:ranks}") if together else argv,
        binds=tuple(binds),
        env=environment,
        cwd=tmp,
        network=bool(task["network"]) or meeting is not None,  # ranks with a supervisor each meet over their nodes' network
        limits=limits,
        loopback=together,
        devices=_files(order),
    )
    launch = sandbox.plan(box, level)
    if together:
        told = {"argv": argv, "ranks": [_together_environment(order, number) for number in range(count)]}
        launch = replace(launch, data={**launch.data, "ranks": b64encode(json.dumps(told).encode()).decode()})
    return launch


def _best(floor: Level) -> Level:
    return Level.parse(sandbox.launch(Sandbox(("true",)), floor).level)


def _environment(order: Mapping[str, Any], seen: Mapping[str, str], tmp: str) -> dict[str, str]:
    cpus = str(order["task"]["cpus"])
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": tmp,
        "TMPDIR": tmp,
        "LANG": "C.UTF-8",
        "LILONG_IN": seen["in"],
        "LILONG_OUT": seen["out"],
        "LILONG_STATE": seen["state"],
        "LILONG_JOB": str(order["token"]),
        "OMP_NUM_THREADS": cpus,
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait cost up to ten times the work on a shared machine
        "KMP_BLOCKTIME": "0",
        "NUMBA_CACHE_DIR": f"{tmp}/numba",
        "NUMBA_NUM_THREADS": cpus,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }
    source = str(Path(lilong.__file__).parents[1])
    if not source.startswith((sys.prefix, sys.base_prefix)):
        env["PYTHONPATH"] = source
    return env


# --- devices and ranks -----------------------------------------------------------------------------------------------------


def _devices(order: Mapping[str, Any], rank: int) -> dict[str, str]:
    """What rank `rank` sees of its node's devices. Nothing is set where an engine has placed it: that engine sets its own.

    Of a node where several ranks have one device each, each sees all of those, in the order of LOCAL_RANK, as torchrun would have
    it: `cuda:LOCAL_RANK` is its own. Its own numbers are in LILONG_DEVICES. A share of a device is only told (LILONG_DEVICE_MILLI):
    to hold a program to it takes MIG, HAMi or the like.
    """
    task, vendors = order["task"], order.get("vendors") or {}
    placed = task["placed"]
    if not placed:
        return {}
    own = [int(number) for number in placed[rank]["devices"]]
    if not own:
        return {name: "" for accelerator in order.get("accelerators") or () for name in devices.visible(accelerator, vendors, ())}
    milli = int(placed[rank]["milli"])
    neighbours = [other for other in placed if other["node"] == placed[rank]["node"]]
    shown = own
    if len(neighbours) > 1 and milli == 1000 and all(len(other["devices"]) == 1 for other in neighbours):
        shown = [int(other["devices"][0]) for other in neighbours]
    told = {"LILONG_ACCELERATOR": str(task["accelerator"]), "LILONG_DEVICES": ",".join(map(str, own))}
    if milli != 1000:
        told["LILONG_DEVICE_MILLI"] = str(milli)
    return {**devices.visible(task["accelerator"], vendors, shown), **told}


def _files(order: Mapping[str, Any]) -> tuple[str, ...]:
    """The device files of all ranks. An engine that has placed the task keeps it to its devices itself (control groups)."""
    task = order["task"]
    if not task["devices"] or order.get("virtual"):
        return ()
    numbers = sorted({int(number) for placed in task["placed"] for number in placed["devices"]}) if task["placed"] else list(range(16))
    return devices.device_files(numbers, devices.vendor_of(task["accelerator"], order.get("vendors") or {}))


def _together_environment(order: Mapping[str, Any], rank: int) -> dict[str, str]:
    """Of one rank beside the others under one supervisor; MASTER_PORT is found where they run."""
    task = order["task"]
    hosts = tuple(placed["node"] for placed in task["placed"]) or ("",) * int(task["tasks"])
    told = _rank_environment(rank, Meeting(hosts))
    del told["MASTER_PORT"]
    return {**told, **_devices(order, rank)}


def _rank_environment(rank: int, meeting: Meeting) -> dict[str, str]:
    """As torchrun has it: nodes are numbered by their first rank, ranks of a node in their order."""
    hosts = list(dict.fromkeys(meeting.hosts))
    mine = meeting.hosts[rank]
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(len(meeting.hosts)),
        "LOCAL_RANK": str(meeting.hosts[:rank].count(mine)),
        "LOCAL_WORLD_SIZE": str(meeting.hosts.count(mine)),
        "NODE_RANK": str(hosts.index(mine)),
        "GROUP_RANK": str(hosts.index(mine)),
        "LILONG_NODES": str(len(hosts)),
        "LILONG_NODE": mine,
        "MASTER_ADDR": meeting.address,
        "MASTER_PORT": str(meeting.port),
    }
