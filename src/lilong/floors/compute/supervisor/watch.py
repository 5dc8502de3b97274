"""The life of one attempt, from its order to its exit file."""

# ruff: noqa: PTH116 - descriptors and raw paths are the point here
from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import selectors
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilong.floors.compute.supervisor import tree
from lilong.floors.compute.supervisor.probe import Probe
from lilong.ground.blobs import write_durably
from lilong.ground.sandbox.levels import Launch
from lilong.ground.sandbox.start import Started, start

TICK = 0.25  # seconds between two looks at limits and the cancel file
CALM_TICK = 0.5
GRACE = 1.0  # seconds between the polite and the certain end; "within two seconds" is promised
_FOLDER_LOOK = 5.0
_SINGLE_SYNCS = 200  # more files than this are quicker to force to the disk all at once


def supervise(folder: Path, lock: int | None = None) -> None:
    """Carry out the order in `folder`. `lock`: the descriptor of its lock, already held; taken here otherwise."""
    if lock is None:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.set_inheritable(lock, False)
    if (folder / "exit.json").exists() or (folder / "running.json").exists():
        return
    order = json.loads((folder / "start.json").read_text())
    watch = Watch(folder, order)
    if (folder / "cancel").exists():
        watch.leave_word("cancelled", None)
        return
    watch.listen()  # before anybody can know whom to signal
    me = os.getpid()
    write_durably(folder / "running.json", json.dumps({"supervisor": [me, tree.start_time(me)], "child": None}).encode())
    tree.become_subreaper()
    try:
        watch.run()
    except OSError as error:
        tree.send(tree.descendants(me), signal.SIGKILL)
        watch.log(f"\n[the supervisor failed: {error}]\n".encode())
        watch.leave_word("unable", None, str(error))


@dataclass(slots=True)
class Wish:
    """An end that somebody or something has asked for."""

    ending: str
    at: float
    killed: bool = False


class Watch:
    def __init__(self, folder: Path, order: dict[str, Any]) -> None:
        self.folder = folder
        self.order = order
        self.launch = Launch.from_json(order["launch"])
        self.began = time.monotonic()
        self.log_file = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.logged = 0
        self.wish: Wish | None = None
        self.status: int | None = None
        self.peak = 0
        self.started: Started | None = None
        self.next_folder_look = self.began + _FOLDER_LOOK
        self.problem = ""
        self.stop_asked = False
        self.wake_read, self._wake_write = os.pipe()

    def listen(self) -> None:
        """From now on a signal to end is noted, and wakes the loop as the end of a child does."""
        os.set_blocking(self.wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _note_stop(self, *_: object) -> None:
        self.stop_asked = True

    # --- start and loop -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        read, write = os.pipe()
        os.set_blocking(read, False)
        try:
            self.started = start(self.launch, write)
        except OSError as error:
            self.log(f"the program could not be started: {error}\n".encode())
            self.leave_word("unable", None, str(error))
            return
        finally:
            os.close(write)
        self._say_running(self.started)
        probe = Probe(Path(self.order["socket"]), self.folder / "socket") if self.order.get("socket") else None
        with selectors.DefaultSelector() as selector:
            selector.register(read, selectors.EVENT_READ)
            selector.register(self.wake_read, selectors.EVENT_READ)
            while not self._over():
                calm = time.monotonic() - self.began > 60 and self.wish is None
                for key, _ in selector.select(CALM_TICK if calm else TICK):
                    if key.fd == self.wake_read:
                        self._drain(self.wake_read)
                    elif not self._pump(read):
                        selector.unregister(read)  # every writer has closed it; the tree may live on
                self._reap()
                self._look()
                if probe is not None and probe.ready.is_set() and self.wish is None:
                    write_durably(self.folder / "ready.json", json.dumps({"at": time.time()}).encode())
                    probe = None
        if probe is not None:
            probe.stop()
        self._end_everything()
        with contextlib.suppress(OSError):
            self._pump(read)
        if self.status == 0 and self.order.get("out"):
            _make_durable(self.order["out"])
        self.leave_word(self.wish.ending if self.wish else "exited", self.status, self.problem)

    def _say_running(self, started: Started) -> None:
        me = os.getpid()
        said = {
            "supervisor": [me, tree.start_time(me)],
            "child": [started.process.pid, tree.start_time(started.process.pid)],
            "at": time.time(),
        }
        write_durably(self.folder / "running.json", json.dumps(said).encode())

    def _over(self) -> bool:
        return self.status is not None

    @staticmethod
    def _drain(descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(descriptor, 4096):
                pass

    def _pump(self, descriptor: int) -> bool:
        """Move what is there into the log; False at the end of the stream."""
        while True:
            try:
                piece = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                return True
            if not piece:
                return False
            self.log(piece)

    def log(self, piece: bytes) -> None:
        cap = int(self.order["log_bytes"])
        if self.logged >= cap:
            return
        kept = piece[: cap - self.logged]
        self.logged += len(piece)
        try:
            os.write(self.log_file, kept)
            if self.logged >= cap:
                os.write(self.log_file, f"\n[the log is cut here, after {cap} bytes]\n".encode())
        except OSError as error:  # a full disk must not end the job's guardian
            print(f"log: {error}", file=sys.stderr)

    def _reap(self) -> None:
        assert self.started is not None
        while True:
            try:
                pid, status, _ = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.started.process.pid:
                self.status = status
                self.started.process.returncode = os.waitstatus_to_exitcode(status)

    # --- limits -------------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        now = time.monotonic()
        if self.wish is None:
            ending = self._reason_to_end(now)
            if ending is not None:
                self.wish = Wish(ending, now)
                self._ask_to_end()
        elif not self.wish.killed and now - self.wish.at >= GRACE:
            self.wish.killed = True
            self._kill()

    def _reason_to_end(self, now: float) -> str | None:
        limits = self.launch.limits
        if (self.folder / "cancel").exists():
            return "cancelled"
        if self.stop_asked:
            return "stopped"
        if now - self.began > float(self.order["timeout_s"]):
            self.problem = f"it ran longer than the {self.order['timeout_s']} s it had asked for"
            return "timeout"
        if self._nobody_home():
            return "stopped"
        pids = tree.descendants(os.getpid())
        if limits.processes is not None and len(pids) > limits.processes:
            self.problem = f"it started more than {limits.processes} processes"
            return "processes"
        used = tree.memory(pids)
        if limits.memory_bytes is not None and used > limits.memory_bytes:
            used = tree.memory_shared_out(pids)
        self.peak = max(self.peak, used)
        if limits.memory_bytes is not None and used > limits.memory_bytes:
            self.problem = f"it used {used >> 20} MiB of memory and had asked for {limits.memory_bytes >> 20} MiB"
            return "memory"
        if limits.folder_bytes is not None and now >= self.next_folder_look:
            written = sum(_bytes_in(path) for path in self.launch.watched)
            self.next_folder_look = time.monotonic() + _FOLDER_LOOK
            if written > limits.folder_bytes:
                self.problem = f"it wrote {written >> 20} MiB into its folders, where {limits.folder_bytes >> 20} MiB are allowed"
                return "disk"
        return None

    def _nobody_home(self) -> bool:
        """A service serves nobody when no server has been there for long; it must not outlive an abandoned house for ever."""
        alive = self.order.get("alive")
        if not alive:
            return False
        try:
            return time.time() - os.stat(alive).st_mtime > float(self.order["alive_s"])
        except OSError:
            return True

    # --- the end ------------------------------------------------------------------------------------------------------------

    def _ask_to_end(self) -> None:
        assert self.started is not None and self.wish is not None
        if self.wish.ending in ("memory", "processes", "disk"):
            self.wish.killed = True
            self._kill()
            return
        # bubblewrap's own two processes would die of the signal and take the rest with them at once
        inside = tree.descendants(self.started.root)
        tree.send(inside if self.launch.held else [self.started.root, *inside], signal.SIGTERM)

    def _kill(self) -> None:
        assert self.started is not None
        tree.send([self.started.root], signal.SIGKILL)
        tree.send([self.started.process.pid, *tree.descendants(os.getpid())], signal.SIGKILL)

    def _end_everything(self) -> None:
        """Nothing of the tree outlives its root: not daemons, not orphans (they came to us)."""
        assert self.started is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.started.process.pid, signal.SIGKILL)
        while True:
            left = tree.descendants(os.getpid())
            tree.send(left, signal.SIGKILL)
            try:
                os.wait4(-1, 0 if left else os.WNOHANG)
            except ChildProcessError:
                return
            if not left and not tree.children(os.getpid()):
                return

    def leave_word(self, ending: str, status: int | None, problem: str = "") -> None:
        """The last act: how it ended, durably, after everything else is."""
        os.fsync(self.log_file)
        code, number = _told(status, self.launch.held)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        said = {
            "ending": ending,
            "code": code,
            "signal": number,
            "problem": problem,
            "wall_s": round(time.monotonic() - self.began, 3),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
            "max_rss_bytes": max(largest, self.peak) if status is not None else 0,
            "sandbox": self.launch.level,
            "at": time.time(),
        }
        write_durably(self.folder / "exit.json", json.dumps(said).encode())


def _told(status: int | None, wrapped: bool) -> tuple[int | None, int | None]:
    """(exit code, signal) of a wait status; bubblewrap tells a signal as a shell does, 128 above its number."""
    if status is None:
        return None, None
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return None, -code
    if wrapped and code > 128:
        return None, code - 128
    return code, None


def _make_durable(folder: str) -> None:
    """Force what the job left to the disk: after a power cut, the word that it succeeded must not outlive its results."""
    found: list[str] = []
    waiting = [folder]
    while waiting and len(found) < _SINGLE_SYNCS:
        at = waiting.pop()
        found.append(at)
        with contextlib.suppress(OSError), os.scandir(at) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found.append(entry.path)
    if len(found) >= _SINGLE_SYNCS:
        os.sync()
        return
    for path in found:
        with contextlib.suppress(OSError):
            _sync(path)


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _bytes_in(folder: str) -> int:
    """Bytes on disk beneath a hostile folder: no links followed, no recursion that its depth could break."""
    total = 0
    waiting = [folder]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total
