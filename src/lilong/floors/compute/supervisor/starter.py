"""A process that has loaded what supervisors need and makes them by forking: ten times cheaper than a fresh interpreter for each.

A supervisor has one attempt at a time, and nothing of it when it is given the next: the program's whole tree is gone, the lock let go. It is
as much apart from other attempts as one that was made for its attempt alone, and several times cheaper.

The starter ends with the house that made it, and holds nothing that matters: killed at any moment, a start that it had not yet made is not
made (the kernel drops the lock that was under way to it), and those that it made go on.

`python -m lilong.floors.compute.supervisor.starter SOCKET_FD`: its end of a pair of sockets. They have no name: programs at the weaker
sandbox levels reach named ones, and whoever talks to a starter runs what he likes. A request is a message `FOLDER` with the
descriptors of the lock and, if there are any, the secrets; the answer is the supervisor's process id.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
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
_FREE = 32  # supervisors that wait for an attempt, at most, and
_FREE_S = 30.0  # seconds without any news after which none does
_ATTEMPTS = 500  # of one supervisor, which never looks for what it could free of its memory


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
    Crew(house).serve()


class Crew:
    """The supervisors that were made here. One that has no attempt any more waits for the next a while: it is there already."""

    def __init__(self, house: socket.socket) -> None:
        self._house = house
        self._selector = selectors.DefaultSelector()
        self._selector.register(house, selectors.EVENT_READ)
        self._free: list[tuple[socket.socket, int]] = []  # with its process id

    def serve(self) -> None:
        while True:
            ready = self._selector.select(_FREE_S)
            for key, _ in ready:
                if key.fileobj is not self._house:
                    self._heard(key.fileobj, key.data)  # type: ignore[arg-type]
            if any(key.fileobj is self._house for key, _ in ready):
                message, descriptors, _, _ = socket.recv_fds(self._house, _MESSAGE, 2)
                if not message:
                    self._leave()
                    return
                pid = self._hand_over(message, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                with contextlib.suppress(OSError):
                    self._house.send(str(pid).encode())
            elif not ready:
                while self._free:
                    self._dismiss(self._free.pop()[0])

    def _heard(self, supervisor: socket.socket, pid: int) -> None:
        """It has left word of its attempt, or is gone."""
        try:
            said = supervisor.recv(1)
        except OSError:
            said = b""
        if not said:
            self._free = [one for one in self._free if one[0] is not supervisor]
            self._dismiss(supervisor)
        elif len(self._free) < _FREE:
            self._free.append((supervisor, pid))
        else:
            self._dismiss(supervisor)

    def _dismiss(self, supervisor: socket.socket) -> None:
        self._selector.unregister(supervisor)
        supervisor.close()

    def _hand_over(self, message: bytes, descriptors: list[int]) -> int:
        while self._free:
            supervisor, pid = self._free.pop()
            try:
                socket.send_fds(supervisor, [message], descriptors)
                return pid
            except OSError:  # it was killed
                self._dismiss(supervisor)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pid = os.fork()
            if pid == 0:
                _become(message, descriptors, theirs)
        self._selector.register(ours, selectors.EVENT_READ, pid)
        return pid

    def _leave(self) -> None:
        """Whoever sees that this process has ended sees no idle supervisor either."""
        for supervisor, _ in self._free:
            with contextlib.suppress(OSError):
                supervisor.shutdown(socket.SHUT_WR)
                supervisor.settimeout(1.0)
                supervisor.recv(1)


def _become(message: bytes, descriptors: list[int], starter: socket.socket) -> None:
    """The child: a supervisor with nothing of the starter's, for one attempt after the other. Never returns."""
    status = 1
    try:
        gc.disable()
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        low = 3
        for number in sorted([*descriptors, starter.fileno()]):
            os.closerange(low, number)
            low = number + 1
        os.closerange(low, 4096)
        left = _ATTEMPTS
        while message and _carry_out(Path(os.fsdecode(message)), descriptors) and (left := left - 1):
            starter.send(b".")  # before the lock is let go: whoever sees that knows that the starter knows
            os.close(descriptors[0])
            message, descriptors, _, _ = socket.recv_fds(starter, _MESSAGE, 2)
        status = 0
    except ConnectionError:
        status = 0  # the starter is gone, and with it the house
    except BaseException:  # whatever it was, this copy of the starter must not go on as a second one
        with contextlib.suppress(BaseException), (Path(os.fsdecode(message)) / "supervisor.log").open("a") as said:
            traceback.print_exc(file=said)
    finally:
        os._exit(status)


def _carry_out(folder: Path, descriptors: list[int]) -> bool:
    return supervise(folder, lock=descriptors[0], secrets=descriptors[1] if len(descriptors) > 1 else None)


if __name__ == "__main__":
    os.umask(0o022)
    with socket.socket(fileno=int(sys.argv[1])) as house, contextlib.suppress(ConnectionError):
        serve(house)
