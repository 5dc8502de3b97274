"""Starting supervisors: through a starter, and by a fresh interpreter where there is none."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import lilong
from lilong.floors.compute.supervisor.starter import ask

_PACKAGE = "lilong.floors.compute.supervisor"
_PATIENCE_S = 30.0  # with a starter that does not answer; then another one is made


class Spawner:
    """Makes processes that outlive this one, each with a lock that it inherits. Safe for many threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._starter: socket.socket | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    def spawn(self, folder: Path, descriptors: list[int]) -> None:
        """`descriptors`: of the folder's lock and, if there are any, the secrets. Raises OSError."""
        with self._guard:
            # twice: it may have been killed; whatever it had begun goes on, and the claim in the folder keeps that to one
            for _ in range(2 if sys.platform.startswith("linux") else 0):
                try:
                    self._starter = self._starter or self._begun()
                    ask(self._starter, folder, descriptors)
                    return
                except OSError:
                    self._drop()
            self._children.append(self._fresh(folder, descriptors))

    def reap(self) -> None:
        """No zombies."""
        with self._guard:
            self._children = [child for child in self._children if child.poll() is None]

    def close(self) -> None:
        """End the starter; supervisors go on."""
        with self._guard:
            self._drop()
            for child in self._children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(2)

    def _drop(self) -> None:
        if self._starter is not None:
            self._starter.close()
            self._starter = None

    def _begun(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_PATIENCE_S)
        with theirs:
            self._children.append(self._process(["-m", f"{_PACKAGE}.starter", str(theirs.fileno())], [theirs.fileno()]))
        return ours

    def _fresh(self, folder: Path, descriptors: list[int]) -> subprocess.Popen[bytes]:
        words = ["-m", _PACKAGE, str(folder), "--lock", str(descriptors[0])]
        if len(descriptors) > 1:
            words += ["--secrets", str(descriptors[1])]
        return self._process(words, descriptors, folder / "supervisor.log")

    @staticmethod
    def _process(words: list[str], descriptors: list[int], said: Path = Path(os.devnull)) -> subprocess.Popen[bytes]:
        with said.open("ab") as output:
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
