"""Processes by their descent, from /proc. On systems without it a tree is its root alone."""

# ruff: noqa: PTH123, PTH208 - descriptors and raw paths are the point here
from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Iterable

_LINUX = sys.platform.startswith("linux")


def start_time(pid: int) -> str | None:
    """When a process began, in clock ticks since boot, with the boot's id: tells a process from a later one with its number.

    None where there is none such (or only its zombie), and on systems without /proc.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
        boot = _boot()
    except (OSError, IndexError):
        return None
    return None if fields[0] in (b"Z", b"X") else f"{boot}:{fields[19].decode()}"


@functools.cache
def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def same(pid: int, started: str | None) -> bool:
    """Whether process `pid` is there and is the one that started then."""
    return started is not None and start_time(pid) == started


def children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    except OSError:
        return found
    return found


def descendants(pid: int) -> list[int]:
    """All that descend from `pid`, parents first, without itself."""
    found: list[int] = []
    new = children(pid)
    while new:
        found += new
        new = [grandchild for child in new for grandchild in children(child)]
    return found


def memory(pids: Iterable[int]) -> int:
    """Bytes of memory that only exist because of these processes: anonymous and shared pages, without cached files.

    Counts a page once for each process that maps it.
    """
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(("RssAnon:", "RssShmem:")))
        except (OSError, ValueError, IndexError):
            continue
    return total * 1024


def memory_shared_out(pids: Iterable[int]) -> int:
    """The same, with a page that n processes share counted as 1/n for each. Slower by far."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        except (OSError, ValueError, IndexError):
            continue
    return total * 1024


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of these processes and of those children of theirs that have ended."""
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                ticks += sum(map(int, file.read().rsplit(b")", 1)[1].split()[11:15]))
        except (OSError, ValueError, IndexError):
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def send(pids: Iterable[int], what: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, what)
        except (ProcessLookupError, PermissionError):
            continue


@functools.cache
def become_subreaper() -> None:
    """Orphans of the tree become children of this process instead of process 1, so that none gets away."""
    if _LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
