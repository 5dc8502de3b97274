"""Run untrusted code: levels none < landlock < bubblewrap (< gVisor). The level really in force is recorded; a promised level
that is missing refuses to run.

    sandbox = Sandbox(argv=("/usr/bin/true",), binds=(Bind(out, "/job/out", writable=True),), limits=Limits(processes=64))
    plan = launch(sandbox, floor=Level.BUBBLEWRAP)      # raises LevelMissing
    finished = run(plan, timeout=60)                    # or hand plan.to_json() to a supervisor that calls start.start
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import lilong
from lilong.ground.sandbox import bubblewrap, landlock
from lilong.ground.sandbox.collect import Caps, Left, OutputRefused, collect, opened
from lilong.ground.sandbox.levels import ETC_NETWORK, Bind, Launch, Level, LevelMissing, Limits, Sandbox
from lilong.ground.sandbox.start import start
from lilong.ground.sandbox.syscalls import deny_filter

__all__ = [
    "Bind",
    "Caps",
    "Finished",
    "Launch",
    "Left",
    "Level",
    "LevelMissing",
    "Limits",
    "OutputRefused",
    "Sandbox",
    "available",
    "best",
    "collect",
    "launch",
    "opened",
    "plan",
    "problem_with",
    "python_binds",
    "run",
    "start",
]

WAYS_OUT = {
    Level.LANDLOCK: 'Use a Linux kernel of 5.13 or later with Landlock, or set `sandbox = "none"` to run jobs without protection.',
    Level.BUBBLEWRAP: "Run `apt-get install bubblewrap libseccomp2` and allow user namespaces, or set `sandbox` to a lower level.",
    Level.GVISOR: 'Set `sandbox = "bubblewrap"`.',
}


@functools.cache
def problem_with(level: Level) -> str | None:
    """Why a level does not work on this machine, found by running a program in it; None where it works."""
    if level is Level.NONE:
        return None
    if level is Level.GVISOR:
        return "it is not built in"
    if not sys.platform.startswith("linux"):
        return f"it needs Linux, and this is {sys.platform}"
    if level is Level.BUBBLEWRAP and bubblewrap.program() is None:
        return "the program `bwrap` is not installed"
    if level is Level.LANDLOCK and landlock.version() == 0:
        return "the kernel has no Landlock"
    try:
        finished = run(plan(Sandbox(("/usr/bin/true",)), level), timeout=20)
    except ImportError as error:
        return f"the Python package `pyseccomp` does not load ({error})"
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        return str(error)
    if finished.code == 0:
        return None
    said = finished.output.decode(errors="replace").strip()
    return said.splitlines()[-1] if said else f"a first program in it ended with {finished.code}"


def available() -> tuple[Level, ...]:
    """The levels that really work here, lowest first."""
    return tuple(level for level in Level if problem_with(level) is None)


def best() -> Level:
    return available()[-1]


def launch(sandbox: Sandbox, floor: Level) -> Launch:
    """How to start `sandbox` at the strongest level that works here. Raises LevelMissing if that is below `floor`."""
    level = best()
    if level < floor:
        raise LevelMissing(level=floor.word, problem=problem_with(floor), way_out=WAYS_OUT[floor])
    return plan(sandbox, level)


def at_level(sandbox: Sandbox, level: Level) -> Launch:
    """How to start `sandbox` at exactly this level. Raises LevelMissing if it does not work here."""
    problem = problem_with(level)
    if problem is not None:
        raise LevelMissing(level=level.word, problem=problem, way_out=WAYS_OUT[level])
    return plan(sandbox, level)


def plan(sandbox: Sandbox, level: Level) -> Launch:
    """The same for a level that is known to work: nothing is tried out."""
    if level is Level.BUBBLEWRAP:
        return bubblewrap.launch(sandbox, python_binds())
    watched = tuple(str(bind.source) for bind in sandbox.binds if bind.writable)
    if level is Level.NONE:
        return Launch(sandbox.argv, dict(sandbox.env), level.word, sandbox.limits, cwd=_real(sandbox, sandbox.cwd), watched=watched)
    return _landlocked(sandbox, watched)


def _landlocked(sandbox: Sandbox, watched: tuple[str, ...]) -> Launch:
    import json

    system = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/localtime", "/etc/nsswitch.conf")
    machine = ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/self", "/sys/devices/system/cpu", "/sys/devices/system/node")
    network = tuple(f"/etc/{name}" for name in ETC_NETWORK) if sandbox.network else ()
    apart = sandbox.loopback and not sandbox.network
    # collective libraries look for interfaces and how they are wired
    wiring = ("/sys/class/net", "/sys/bus/pci/devices", "/sys/devices") if sandbox.loopback else ()
    rules = {
        "readable": [
            *system,
            *machine,
            *network,
            *wiring,
            *(str(bind.source) for bind in (*python_binds(), *sandbox.binds) if not bind.writable),
        ],
        "writable": ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", *watched],
        "devices": list(sandbox.devices),
        "listable": [str(Path(lilong.__file__).parents[1])],  # an import looks into the folder that holds the package
        "network": sandbox.network or apart,
        "apart": apart,
        "env": dict(sandbox.env),
        "filter": b64encode(deny_filter(sandbox.network or apart)).decode(),
    }
    return Launch(
        argv=(sys.executable, "-I", "-S", str(Path(landlock.__file__)), "{fd:rules}", *sandbox.argv),
        env={},  # LD_PRELOAD and the like would run in the process that is yet to shut itself in
        level="landlock",
        limits=sandbox.limits,
        data={"rules": b64encode(json.dumps(rules).encode()).decode()},
        cwd=_real(sandbox, sandbox.cwd),
        watched=watched,
    )


def _real(sandbox: Sandbox, path: str) -> str:
    """The host's path of what a program in its own mount namespace would see as `path`."""
    for bind in sandbox.binds:
        if bind.seen_at == path:
            return str(bind.source)
    return path


@functools.cache
def python_binds() -> tuple[Bind, ...]:
    """What this Python needs to run: its installation, its virtual environment and this package, wherever they lie."""
    wanted = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, str(Path(lilong.__file__).parent)}
    # the links from `.venv/bin/python` to the installation may lead over further folders (uv, pyenv, Debian's alternatives)
    at = Path(sys.executable)
    while at.is_symlink():
        at = Path(os.path.normpath(at.parent / at.readlink()))
        wanted.add(str(at.parent.parent))
    wanted |= {os.path.realpath(path) for path in wanted}
    covered = ("/usr", "/bin", "/lib", "/lib64", "/sbin")
    kept: list[str] = []
    for path in sorted(wanted, key=len):
        inside = any(path == other or path.startswith(other.rstrip("/") + "/") for other in (*covered, *kept))
        if path != "/" and not inside and Path(path).is_dir():
            kept.append(path)
    return tuple(Bind(Path(path)) for path in kept)


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ran to its end: exit status (negative: the signal), both outputs together (first 1 MiB)."""

    code: int
    output: bytes


def run(launch: Launch, timeout: float) -> Finished:
    """Start and wait; all of the program's descendants in its process group are gone afterwards. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryFile() as output:
        process = start(launch, output).process
        try:
            code = process.wait(timeout)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return Finished(code, output.read(1 << 20))
