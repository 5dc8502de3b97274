"""Is a service ready? Asked over the Unix socket that it made in its own folder."""

# ruff: noqa: PTH112 - descriptors and raw paths are the point here
from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path


def answers(path: Path, timeout: float = 2.0) -> bool:
    """Whether GET /health is answered with 200."""
    # a socket's name has room for 107 bytes: go there and use its short name
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(f"/proc/self/fd/{folder}/{path.name}" if os.path.isdir("/proc/self/fd") else str(path))
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: job\r\nconnection: close\r\n\r\n")
            head = b""
            while b"\n" not in head and len(head) < 1024 and (piece := connection.recv(1024)):
                head += piece
            return head.split(b" ", 2)[1:2] == [b"200"]
    except (OSError, IndexError):
        return False
    finally:
        os.close(folder)


def adopt(made: Path, ours: Path) -> bool:
    """Give the job's socket a second name out of the job's reach.

    A job could put a link to another socket of the host in the place of its own, and the house would talk to that. A hard link
    is the socket itself, whatever the job does to its folder afterwards.
    """
    ours.unlink(missing_ok=True)
    try:
        os.link(made, ours, follow_symlinks=os.link not in os.supports_follow_symlinks)
    except (OSError, NotImplementedError):
        return False
    if not stat.S_ISSOCK(ours.lstat().st_mode):
        ours.unlink()
        return False
    return True


class Probe:
    """Asks ten times a second, in a thread, until the service is ready or the probe is stopped."""

    def __init__(self, made: Path, ours: Path) -> None:
        self._made, self._ours = made, ours
        self.ready = threading.Event()
        self._stopped = threading.Event()
        threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        while not self._stopped.wait(0.1):
            if adopt(self._made, self._ours) and answers(self._ours):
                self.ready.set()
                return

    def stop(self) -> None:
        self._stopped.set()
