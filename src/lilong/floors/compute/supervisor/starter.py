"""A process that has loaded what supervisors need and makes them by forking: ten times cheaper than a fresh interpreter for each.

It ends with the house that made it, and holds nothing that matters: killed at any moment, a start that it had not yet made is not made
(the kernel drops the lock that was under way to it), and those that it made go on.

`python -m lilong.floors.compute.supervisor.starter SOCKET_FD`: its end of a pair of sockets. They have no name: programs at the weaker
sandbox levels reach named ones, and whoever talks to a starter runs what he likes. A request is a message `FOLDER` with the
descriptors of the lock and, if there are any, the secrets; the answer is the supervisor's process id.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

from lilong.floors.compute.supervisor import cgroup
from lilong.floors.compute.supervisor.watch import supervise
from lilong.ground import sandbox
from lilong.ground.sandbox.levels import Level, Sandbox

_MESSAGE = 8192


def ask(starter: socket.socket, folder: Path, descriptors: list[int]) -> int:
    """From the other side: have a supervisor started; its process id. Raises OSError if the starter is gone."""
    socket.send_fds(starter, [os.fsencode(folder)], descriptors)
    answer = starter.recv(_MESSAGE)
    if not answer:
        raise ConnectionResetError("the starter is gone")
    return int(answer)


def serve(house: socket.socket) -> None:
    """Until the house is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps for us
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for level in (Level.NONE, Level.LANDLOCK, Level.BUBBLEWRAP):
        with contextlib.suppress(ImportError, OSError):
            sandbox.plan(Sandbox(("true",)), level)  # fills caches that every child inherits
    cgroup.parents()
    gc.collect()
    gc.freeze()  # a child that never collects what it inherited leaves those pages shared
    while True:
        message, descriptors, _, _ = socket.recv_fds(house, _MESSAGE, 2)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            _become(Path(os.fsdecode(message)), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            house.send(str(pid).encode())


def _become(folder: Path, descriptors: list[int]) -> None:
    """The child: a supervisor with nothing of the starter's. Never returns."""
    status = 1
    try:
        gc.disable()
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        low = 3
        for number in sorted(descriptors):
            os.closerange(low, number)
            low = number + 1
        os.closerange(low, 4096)
        supervise(folder, lock=descriptors[0], secrets=descriptors[1] if len(descriptors) > 1 else None)
        status = 0
    except BaseException:  # whatever it was, this copy of the starter must not go on as a second one
        with contextlib.suppress(BaseException), (folder / "supervisor.log").open("a") as said:
            traceback.print_exc(file=said)
    finally:
        os._exit(status)


if __name__ == "__main__":
    os.umask(0o022)
    with socket.socket(fileno=int(sys.argv[1])) as house, contextlib.suppress(ConnectionError):
        serve(house)
