"""Starting what a `Launch` describes. Used by the supervisor of a job, so: standard library only, quick to import."""

from __future__ import annotations

import errno
import functools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from lilong.ground.sandbox.levels import Launch, Limits

LINUX = sys.platform.startswith("linux")


@dataclass(frozen=True, slots=True)
class Started:
    process: subprocess.Popen[bytes]
    root: int
    """The host's process id of the tree's root: inside bubblewrap's process namespace it is number 1, and with it die all."""


def start(
    launch: Launch, output: int | IO[bytes], *, die_with_parent: bool = True, keep: tuple[int, ...] = (), limited: bool = False
) -> Started:
    """Start the program with stdin closed and both outputs to `output`, in a session of its own, all limits in force.

    `keep`: descriptors that it has too, under the same numbers. `limited`: the caller has put the limits on itself (`limit_self`), and the
    program inherits them: nothing is left to do between fork and exec, so that the kernel need not copy the caller's memory maps.

    Raises OSError if it cannot be started. Call it from the main thread: the parent-death signal follows the calling thread.
    """
    files = {name: _readable(b64decode(text)) for name, text in launch.data.items()}
    info_read, info_write = os.pipe() if launch.held else (-1, -1)
    block_read, block_write = os.pipe() if launch.held else (-1, -1)
    numbers = {name: file.fileno() for name, file in files.items()}
    if launch.held:
        numbers |= {"info": info_write, "block": block_read}
    try:
        process = subprocess.Popen(
            [*(_dying(launch) if limited and die_with_parent else ()), *(_filled(word, numbers) for word in launch.argv)],
            env=dict(launch.env),
            cwd=launch.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            close_fds=True,
            pass_fds=(*numbers.values(), *keep),
            start_new_session=True,
            preexec_fn=None if limited else _before_exec(launch.limits, die_with_parent),  # noqa: PLW1509 - only system calls, nothing that locks
        )
        root = process.pid
        if launch.held:
            os.close(info_write)
            info_write = -1
            root = _child_of(info_read) or process.pid
            _limit_processes(root, launch.limits)
            os.write(block_write, b"\n")
        return Started(process, root)
    finally:
        for descriptor in (info_read, info_write, block_read, block_write):
            if descriptor >= 0:
                os.close(descriptor)
        for file in files.values():
            file.close()


def _readable(content: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - its descriptor is handed on, and closed by the caller
    file.write(content)
    file.seek(0)
    return file


def _filled(word: str, numbers: dict[str, int]) -> str:
    if word.startswith("{fd:") and word.endswith("}") and word[4:-1] in numbers:
        return str(numbers[word[4:-1]])
    return word


def _child_of(info: int) -> int | None:
    """Bubblewrap's `--info-fd` gives a JSON object with the child's process id before it lets that child run."""
    text = b""
    while piece := os.read(info, 4096):
        text += piece
        if text.rstrip().endswith(b"}"):
            return int(json.loads(text)["child-pid"])
    return None


def _limit_processes(pid: int, limits: Limits) -> None:
    # Set from outside once the user namespace is there: the kernel then counts the processes of this namespace only.
    # It counts threads too, so it is twice the number of processes; and root's own are never held by it, while the
    # supervisor's watch over the tree holds for everybody.
    if limits.processes is None or not LINUX:
        return
    try:
        resource.prlimit(pid, resource.RLIMIT_NPROC, (2 * limits.processes, 2 * limits.processes))
    except (PermissionError, ProcessLookupError):
        return


def limit_self(limits: Limits) -> None:
    """Put the limits of one process on this one and on all that it starts from now on."""
    os.umask(0o022)
    for what, value in _wanted(limits):
        _limit(what, value)


def _dying(launch: Launch) -> tuple[str, ...]:
    """What to start a program through so that it dies with us. The sandboxes see to it themselves."""
    if launch.level != "none" or not LINUX:
        return ()
    program = shutil.which(launch.argv[0], path=launch.env.get("PATH", os.defpath))
    if program is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), launch.argv[0])
    setpriv = _setpriv()
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


@functools.cache
def _setpriv() -> str | None:
    return shutil.which("setpriv", path="/usr/bin:/bin")


def _wanted(limits: Limits) -> list[tuple[int, int]]:
    wanted = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, limits.open_files)]
    if limits.file_bytes is not None:
        wanted.append((resource.RLIMIT_FSIZE, limits.file_bytes))
    if limits.cpu_seconds is not None:
        wanted.append((resource.RLIMIT_CPU, limits.cpu_seconds))
    return wanted


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _before_exec(limits: Limits, die_with_parent: bool) -> Callable[[], None]:
    wanted = _wanted(limits)
    prctl = None
    if LINUX and die_with_parent:
        import ctypes

        prctl = ctypes.CDLL(None).prctl  # looked up before the fork

    def before_exec() -> None:
        os.umask(0o022)
        for what, value in wanted:
            _limit(what, value)
        if prctl is not None:
            prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG

    return before_exec
