"""Control groups: the kernel's own limits on memory, processes and share of the cores, where this process may make groups.

Version 1 (a folder for each controller) and version 2 (one for all) look alike from here. A group is made beneath the one that this
process is in, so that limits that somebody set on the house hold on. The watched limits hold beside it, and tell what went wrong.
"""

# ruff: noqa: PTH102, PTH106, PTH123 - few system calls count here: a group is made for every start
from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WANTED = ("memory", "pids", "cpu")
_HEADROOM = 16 << 20
"""The kernel counts more than the watch does (page tables, cached files): within this much the watch is first, and can say why."""


@dataclass(frozen=True, slots=True)
class Groups:
    """`folders`: the group's folder for each controller (one for all in version 2). `missing`: limits that nothing but the watch holds."""

    folders: tuple[str, ...] = ()
    memory: str | None = None
    missing: tuple[str, ...] = WANTED

    def out_of_memory(self) -> bool:
        """Whether the kernel has ended a process of the group for want of memory."""
        if self.memory is None:
            return False
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError, ValueError), open(f"{self.memory}/{name}") as file:
                return any(line.startswith("oom_kill ") and int(line.split()[1]) > 0 for line in file)
        return False

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Be in the group: whoever is started meanwhile is in it from its first instant."""
        for folder in self.folders:
            _write(f"{folder}/cgroup.procs", "0")  # whoever writes
        try:
            yield
        finally:
            for folder in self.folders:
                _write(f"{os.path.dirname(folder)}/cgroup.procs", "0")  # noqa: PTH120

    def remove(self) -> None:
        remove(self.folders)


def make(name: str, memory_bytes: int | None, processes: int | None, cores: int) -> Groups:
    """A group with these limits; what cannot be set is told in `missing`, and is no error."""
    folders: list[str] = []
    held: set[str] = set()
    memory: str | None = None
    for controllers, parent, version in parents():
        folder = f"{parent}/lilong-{name}"
        try:
            os.mkdir(folder)
        except FileExistsError:
            pass  # of an attempt whose supervisor was killed
        except OSError:
            continue
        folders.append(folder)
        for controller in controllers:
            if _limit(folder, controller, version, memory_bytes, processes, cores):
                held.add(controller)
                memory = folder if controller == "memory" else memory
    return Groups(tuple(folders), memory, tuple(name for name in WANTED if name not in held))


def _limit(folder: str, controller: str, version: int, memory_bytes: int | None, processes: int | None, cores: int) -> bool:
    values: dict[str, str] = {}
    if controller == "memory" and memory_bytes is not None:
        most = str(memory_bytes + max(_HEADROOM, memory_bytes // 16))
        values = {"memory.max": most} if version == 2 else {"memory.limit_in_bytes": most}
    elif controller == "pids" and processes is not None:
        values = {"pids.max": str(2 * processes)}  # the kernel counts threads
    elif controller == "cpu":
        values = {"cpu.weight": str(min(10000, 100 * cores))} if version == 2 else {"cpu.shares": str(1024 * cores)}
    try:
        for name, value in values.items():
            _write(f"{folder}/{name}", value)
    except OSError:
        return False
    for name, value in (("memory.swap.max", "0"), ("memory.memsw.limit_in_bytes", values.get("memory.limit_in_bytes", ""))):
        if controller == "memory" and value and os.path.exists(f"{folder}/{name}"):  # noqa: PTH110
            with contextlib.suppress(OSError):
                _write(f"{folder}/{name}", value)
    return True


def remove(folders: Iterable[str], patience_s: float = 2.0) -> None:
    """End whoever is still in these groups and remove them. A group that does not empty in time is left."""
    end = time.monotonic() + patience_s
    for folder in folders:
        while True:
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > end:
                    break
                _kill(folder)
                time.sleep(0.005)
            else:
                break


def _kill(folder: str) -> None:
    with contextlib.suppress(OSError), open(f"{folder}/cgroup.procs") as file:
        for number in file.read().split():
            with contextlib.suppress(OSError):
                os.kill(int(number), signal.SIGKILL)


def _write(path: str, value: str) -> None:
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, value.encode())
    finally:
        os.close(handle)


@functools.cache
def parents() -> tuple[tuple[tuple[str, ...], str, int], ...]:
    """(controllers, folder beneath which groups can be made, version): where this process is, if it may write there."""
    if not sys.platform.startswith("linux"):
        return ()
    try:
        with open("/proc/self/cgroup") as file:
            own = [line.rstrip("\n").split(":", 2) for line in file]
        mounts = _mounts()
    except OSError:
        return ()
    found = []
    for number, names, path in own:
        version = 2 if number == "0" and not names else 1
        wanted = tuple(name for name in names.split(",") if name in WANTED) if version == 1 else ()
        if version == 1 and not wanted:
            continue
        for options, root, point in mounts.get(version, ()):
            if version == 1 and not set(wanted) <= options:
                continue
            beneath = path[len(root) :] if root != "/" and path.startswith(root) else path
            folder = (point + beneath).rstrip("/")
            if version == 2:
                wanted = _opened(folder)
            if wanted and os.access(folder, os.W_OK):
                found.append((wanted, folder, version))
            break
    return tuple(found)


def _mounts() -> dict[int, list[tuple[frozenset[str], str, str]]]:
    """(controllers of a version 1 mount, its root, where it is) by version."""
    found: dict[int, list[tuple[frozenset[str], str, str]]] = {1: [], 2: []}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split()[:3]
            if kind in ("cgroup", "cgroup2"):
                root, point = before.split()[3:5]
                found[2 if kind == "cgroup2" else 1].append((frozenset(options.split(",")), root, point))
    return found


def _opened(folder: str) -> tuple[str, ...]:
    """The controllers that groups beneath a version 2 folder have; they are opened where the kernel lets us.

    It does not where processes live in the folder itself: a service manager that delegates a group puts the house into a leaf of it.
    """
    try:
        with open(f"{folder}/cgroup.controllers") as file:
            there = [name for name in file.read().split() if name in WANTED]
        with contextlib.suppress(OSError):
            _write(f"{folder}/cgroup.subtree_control", " ".join(f"+{name}" for name in there))
        with open(f"{folder}/cgroup.subtree_control") as file:
            return tuple(name for name in file.read().split() if name in WANTED)
    except OSError:
        return ()
