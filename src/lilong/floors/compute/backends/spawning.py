"""Starting supervisors: through the site's starter, and by a fresh interpreter where there is none."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import lilong
from lilong.floors.compute.supervisor.starter import END, ask


class Spawner:
    """Processes that outlive this one, each with a lock that it inherits. Safe for many threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        build = f"{sys.executable}\0{lilong.__file__}\0{Path(lilong.__file__).stat().st_mtime_ns}"
        self._name = f".starter-{hashlib.sha256(build.encode()).hexdigest()[:12]}"  # a starter of another version is not ours
        self._guard = threading.Lock()
        self._starter: socket.socket | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    def spawn(self, folder: Path, descriptors: list[int]) -> None:
        """`descriptors`: of the folder's lock and, if there are any, the secrets. Raises OSError."""
        with self._guard:
            for _ in range(2):
                try:
                    self._starter = self._starter or self._connected()
                    ask(self._starter, folder, descriptors)
                    return
                except OSError:  # it was killed; whatever it had begun goes on, and the claim in the folder keeps it to one
                    self._drop()
                    if not sys.platform.startswith("linux"):
                        break
            self._children.append(self._fresh(folder, descriptors))

    def reap(self) -> None:
        with self._guard:
            self._children = [child for child in self._children if child.poll() is None]

    def close(self) -> None:
        """End the starter; supervisors go on."""
        with self._guard:
            if self._starter is None and (self._root / self._name).exists():
                with contextlib.suppress(OSError):
                    self._starter = self._connected(make=False)
            if self._starter is not None:
                with contextlib.suppress(OSError):
                    self._starter.send(END)
            self._drop()
            for child in self._children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(2)

    def _drop(self) -> None:
        if self._starter is not None:
            self._starter.close()
            self._starter = None

    def _connected(self, *, make: bool = True) -> socket.socket:
        if not sys.platform.startswith("linux"):
            raise OSError("no starter on this system")
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            name = f"/proc/self/fd/{folder}/{self._name}"  # a socket's address has room for 107 bytes only
            fcntl.flock(folder, fcntl.LOCK_EX)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                connection.connect(name)
            except OSError:
                if not make:
                    connection.close()
                    raise
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)  # noqa: PTH108 - by descriptor
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
                    listener.bind(name)
                    listener.listen(64)
                    self._children.append(
                        self._process(["-m", f"{_PACKAGE}.starter", str(listener.fileno()), str(self._root)], [listener.fileno()])
                    )
                connection.connect(name)
            return connection
        finally:
            os.close(folder)

    def _fresh(self, folder: Path, descriptors: list[int]) -> subprocess.Popen[bytes]:
        words = ["-m", _PACKAGE, str(folder), "--lock", str(descriptors[0])]
        if len(descriptors) > 1:
            words += ["--secrets", str(descriptors[1])]
        return self._process(words, descriptors, folder / "supervisor.log")

    @staticmethod
    def _process(words: list[str], descriptors: list[int], said: Path | None = None) -> subprocess.Popen[bytes]:
        with said.open("ab") if said else open(os.devnull, "wb") as output:  # noqa: PTH123
            return subprocess.Popen(
                [sys.executable, *words],
                env={"PATH": os.defpath, "PYTHONPATH": str(Path(lilong.__file__).parents[1]), "LC_ALL": "C.UTF-8"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=descriptors,
                start_new_session=True,  # the server's terminal, group and end are not its own
            )


_PACKAGE = "lilong.floors.compute.supervisor"
