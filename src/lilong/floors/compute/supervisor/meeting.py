"""How the ranks of a gang that an engine has put on several nodes find one another: through the run folder that all nodes see."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

from lilong.floors.compute.supervisor import files
from lilong.floors.compute.supervisor.plan import Meeting

PATIENCE_S = 600.0
_LOOK_S = 0.1
_SIOCGIFADDR = 0x8915  # netdevice(7)


def meet(folder: Path, rank: int, tasks: int, host: str | None, address: str | None, give_up: Callable[[], str | None]) -> Meeting | None:
    """Say where this rank is and wait until all have. None if `give_up` says so first. Raises TimeoutError.

    `host`: the node's name (default: the machine's); `address`: where other nodes reach it (default: what the machine's name resolves to).
    """
    name = host or socket.gethostname()
    files.say(folder / "tasks" / str(rank) / "here.json", {"host": name, "address": address or _address(), "port": _free_port()})
    found: dict[int, dict[str, object]] = {}
    end = time.monotonic() + PATIENCE_S
    while len(found) < tasks:
        for number in range(tasks):
            if number not in found and (said := files.read(folder / "tasks" / str(number) / "here.json")):
                found[number] = said
        if len(found) == tasks:
            break
        if give_up():
            return None
        if time.monotonic() > end:
            missing = sorted(set(range(tasks)) - set(found))
            raise TimeoutError(f"rank {missing[0]} and {len(missing) - 1} more did not come within {PATIENCE_S:.0f} s")
        time.sleep(_LOOK_S)
    hosts = tuple(str(found[number]["host"]) for number in range(tasks))
    alone = len(set(hosts)) == 1
    first = "127.0.0.1" if alone else str(found[0]["address"])
    return Meeting(hosts, first, int(str(found[0]["port"])), _interface(first))


def _address() -> str:
    name = socket.gethostname()
    try:
        return socket.gethostbyname(name)
    except OSError:
        return name


def _interface(address: str) -> str:
    """The network interface by which this machine reaches an IPv4 address; "" if it cannot be told. Nothing is sent."""
    import fcntl

    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        own = socket.inet_aton(probe.getsockname()[0])
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # one without an address
                if fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("16s16x", name.encode()))[20:24] == own:
                    return name
    return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
