"""Inside the sandbox: the ranks of a gang on one machine, as equal children of this process. One that fails ends all.

Run as a script, `python -I -S ranks.py FD`: reads {argv, ranks: [environment of each]} as JSON from the descriptor. All ranks share one
sandbox, so they reach one another over its loopback and, without a network, nobody else. Standard library only.
"""

# ruff: noqa: PTH123 - descriptors are the point here
from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

GRACE = 1.0  # seconds between the polite and the certain end
_LINE = 1 << 16  # bytes; longer lines are cut into such
_SECRETS = "LILONG_SECRETS_FD"


class Gang:
    def __init__(self, argv: list[str], ranks: list[dict[str, str]]) -> None:
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.pending: dict[int, bytes] = {}
        self.selector = selectors.DefaultSelector()
        self.first: tuple[int, int] | None = None  # rank and status of the one that failed
        self.ended_at = 0.0
        secrets = _read_secrets()
        port = str(_free_port())
        for rank, environment in enumerate(ranks):
            self._begin(rank, argv, {**os.environ, "MASTER_PORT": port, **environment}, secrets)

    def _begin(self, rank: int, argv: list[str], environment: dict[str, str], secrets: bytes | None) -> None:
        handed: IO[bytes] | None = None
        if secrets is not None:
            # each its own: whoever reads from a shared one would read it away from the others
            handed = os.fdopen(os.memfd_create("handed"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()  # noqa: SIM115
            handed.write(secrets)
            handed.seek(0)
            environment[_SECRETS] = str(handed.fileno())
        try:
            process = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(handed.fileno(),) if handed else (),
                preexec_fn=_end_with_parent(),  # noqa: PLW1509 - one system call
            )
        except OSError as error:
            self._write(rank, f"the program could not be started: {error}\n".encode())
            self.first = self.first or (rank, 127)
            return
        finally:
            if handed is not None:
                handed.close()
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self.running[rank] = process
        self.pending[rank] = b""
        self.selector.register(process.stdout, selectors.EVENT_READ, rank)

    def watch(self) -> int:
        """Until all have ended; the status of the one that failed first, or 0."""
        if self.first is not None:
            self._end_others()
        while self.running:
            for key, _ in self.selector.select(0.05):
                if not self._pump(key.data, key.fileobj):
                    self.selector.unregister(key.fileobj)
            self._reap()
            if self.ended_at and time.monotonic() - self.ended_at > GRACE:
                for process in self.running.values():
                    process.kill()
        for key in list(self.selector.get_map().values()):
            self._pump(key.data, key.fileobj)
        for rank, left in self.pending.items():
            if left:
                self._write(rank, left + b"\n")
        return self.first[1] if self.first else 0

    def _reap(self) -> None:
        for rank, process in list(self.running.items()):
            status = process.poll()
            if status is None:
                continue
            del self.running[rank]
            if status != 0 and self.first is None:
                self.first = (rank, status)
                how = f"by signal {-status}" if status < 0 else f"with {status}"
                sys.stdout.write(f"[rank {rank} ended {how}; the others are ended with it]\n")
                sys.stdout.flush()
                self._end_others()

    def _end_others(self) -> None:
        self.ended_at = time.monotonic()
        for process in self.running.values():
            process.terminate()

    def _pump(self, rank: int, file: Any) -> bool:
        for _ in range(16):  # others want to be heard too
            try:
                piece = os.read(file.fileno(), 1 << 16)
            except BlockingIOError:
                return True
            if not piece:
                return False
            whole, newline, rest = (self.pending[rank] + piece).rpartition(b"\n")
            if newline:
                self._write(rank, whole + newline)
            while len(rest) >= _LINE:
                self._write(rank, rest[:_LINE] + b"\n")
                rest = rest[_LINE:]
            self.pending[rank] = rest
        return True

    @staticmethod
    def _write(rank: int, lines: bytes) -> None:
        mark = b"[%d] " % rank
        sys.stdout.buffer.write(b"".join(mark + line for line in lines.splitlines(keepends=True)))
        sys.stdout.buffer.flush()


def _read_secrets() -> bytes | None:
    number = os.environ.pop(_SECRETS, None)
    if number is None:
        return None
    with open(int(number), "rb") as file:
        return file.read()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def main(descriptor: int) -> None:
    with open(descriptor, "rb") as file:
        told: Mapping[str, Any] = json.load(file)
    signal.signal(signal.SIGTERM, lambda *_: None)  # whoever sends it sends it to the ranks too
    status = Gang(told["argv"], told["ranks"]).watch()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -status)
    raise SystemExit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]))
