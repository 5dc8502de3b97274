"""A process that has loaded what supervisors need and makes them by forking: tens of times quicker than a fresh interpreter.

One for each site's folder; it outlives the server, and a server finds the one that is there. It holds nothing that matters: killed
at any moment, a start that it had not yet made is not made (the kernel drops the lock that was under way to it), and those that it
made go on. It ends by itself when its folder is gone or nobody has asked for `IDLE_S`.

`python -m lilong.floors.compute.supervisor.starter SOCKET_FD ROOT`: a listening socket, whose name is the caller's affair. A request is a
message `FOLDER` with the descriptors of the lock and, if there are any, the secrets; the answer is the supervisor's process id.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path

from lilong.floors.compute.supervisor import cgroup
from lilong.floors.compute.supervisor.watch import supervise
from lilong.ground import sandbox
from lilong.ground.sandbox.levels import Level, Sandbox

IDLE_S = 900.0
END = b"\0end"
_REST_S = 30.0
_MESSAGE = 8192


def ask(connection: socket.socket, folder: Path, descriptors: list[int]) -> int:
    """From the other side: have a supervisor started; its process id. Raises OSError if the starter is gone."""
    socket.send_fds(connection, [os.fsencode(folder)], descriptors)
    answer = connection.recv(_MESSAGE)
    if not answer:
        raise ConnectionResetError("the starter is gone")
    return int(answer)


def serve(listener: socket.socket, root: Path) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps for us
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for level in (Level.NONE, Level.LANDLOCK, Level.BUBBLEWRAP):
        with contextlib.suppress(ImportError, OSError):
            sandbox.plan(Sandbox(("true",)), level)  # fills caches that every child inherits
    cgroup.parents()
    gc.collect()
    gc.freeze()  # a child that never collects what it inherited leaves those pages shared
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    callers: dict[int, socket.socket] = {}
    idle = 0.0
    while idle < IDLE_S and root.exists():
        ready = poll.poll(_REST_S * 1000)
        idle = 0.0 if ready else idle + _REST_S
        for descriptor, _ in ready:
            if descriptor == listener.fileno():
                caller, _ = listener.accept()
                callers[caller.fileno()] = caller
                poll.register(caller, select.POLLIN)
            elif not _answer(callers[descriptor]):
                poll.unregister(descriptor)
                callers.pop(descriptor).close()


def _answer(caller: socket.socket) -> bool:
    try:
        message, descriptors, _, _ = socket.recv_fds(caller, _MESSAGE, 2)
    except OSError:
        return False
    if not message:
        return False
    if message == END:
        raise SystemExit(0)
    pid = os.fork()
    if pid == 0:
        _become(Path(os.fsdecode(message)), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        caller.send(str(pid).encode())
    return True


def _become(folder: Path, descriptors: list[int]) -> None:
    """The child: a supervisor with nothing of the starter's. Never returns."""
    status = 1
    try:
        gc.disable()
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # the two that were handed over move out of the way of what is closed
        kept = [os.dup(number) for number in descriptors]
        low = 3
        for number in sorted(kept):
            os.closerange(low, number)
            low = number + 1
        os.closerange(low, 4096)
        supervise(folder, lock=kept[0], secrets=kept[1] if len(kept) > 1 else None)
        status = 0
    except BaseException:  # whatever it was, this copy of the starter must not go on as a second one
        with contextlib.suppress(BaseException), (folder / "supervisor.log").open("a") as said:
            traceback.print_exc(file=said)
    finally:
        os._exit(status)


if __name__ == "__main__":
    os.umask(0o022)
    with socket.socket(fileno=int(sys.argv[1])) as door:
        serve(door, Path(sys.argv[2]))
