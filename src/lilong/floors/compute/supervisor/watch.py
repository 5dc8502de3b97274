"""The life of one attempt, or of one rank of it, from its order to its exit file."""

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

from lilong.floors.compute.supervisor import cgroup, files, tree
from lilong.floors.compute.supervisor.left import make_durable, too_much
from lilong.floors.compute.supervisor.log import Log
from lilong.floors.compute.supervisor.meeting import meet
from lilong.floors.compute.supervisor.plan import SOCKET_NAME, Meeting, planned
from lilong.floors.compute.supervisor.probe import Probe
from lilong.ground.errors import LilongError
from lilong.ground.sandbox.levels import Launch
from lilong.ground.sandbox.start import Started, limit_self, start

TICK = 0.25  # seconds between two looks at limits and the cancel file
CALM_TICK = 0.5
FIRST_TICK = 0.05  # a program that has ended by then is told of once
GRACE = 1.0  # seconds between the polite and the certain end; "within two seconds" is promised
WAKE = signal.SIGUSR1
"""Means: look at the marks in the run folder now. It may come late, when the same process has another attempt, and does no harm there."""
FOR_EVER_S = 10 * 365 * 86400
_FOLDER_LOOK = 5.0
_A_LOOK_S, _LOOKS = 0.05, 100  # tries to take the lock, which the house has for a moment whenever it looks
_USAGE_LOOK = (1.0, 5.0)  # seconds until the first word of what was used, and between two
_PIECES = 64  # of the program's output in one go: a program that never stops writing must not keep us from looking


def supervise(
    folder: Path,
    *,
    rank: int | None = None,
    lock: int | None = None,
    secrets: int | None = None,
    host: str | None = None,
    address: str | None = None,
) -> bool:
    """Carry out the order in `folder`, all of it or one rank; whether nothing of it is left in this process, which may carry out others.

    `lock`: the descriptor of its lock, already held; taken here otherwise. It is for the caller to close. `secrets`: a descriptor that
    holds them as JSON.
    """
    order: dict[str, Any] = json.loads((folder / "start.json").read_text())
    if int(order["task"]["tasks"]) == 1:
        rank = None
    own = folder if rank is None else folder / "tasks" / str(rank)
    own.mkdir(parents=True, exist_ok=True)
    if lock is None:
        lock = _taken(own)
    os.set_inheritable(lock, False)
    if (own / "exit.json").exists() or (own / "running.json").exists():
        return False
    with contextlib.closing(Watch(folder, own, order, rank)) as watch:
        if (folder / "cancel").exists():
            watch.leave_word("cancelled", None)
            return False
        watch.listen()  # before anybody can know whom to signal
        if not files.claim(own / "running.json", watch.said):
            return False  # another supervisor was first, where the lock told nothing
        tree.become_subreaper()
        try:
            watch.run(_handed_on(own, secrets), host, address)
            return True
        except (OSError, LilongError, ImportError) as error:
            tree.send(tree.descendants(os.getpid()), signal.SIGKILL)
            watch.log(f"\n[the supervisor failed: {error}]\n".encode())
            watch.leave_word("unable", None, str(error))
            return False


def _taken(own: Path) -> int:
    """The lock. Whoever only looks has it for a moment. Raises BlockingIOError where another supervisor holds it."""
    lock = os.open(own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_LOOKS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        if (own / "running.json").exists():
            break
        time.sleep(_A_LOOK_S)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _handed_on(own: Path, secrets: int | None) -> int | None:
    """The descriptor of the secrets: given, or of the file that the house laid for an engine's node, which is gone from here on."""
    path = own / "secrets"
    if secrets is None and path.exists():
        secrets = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        path.unlink()
    return secrets


@dataclass(slots=True)
class Wish:
    """An end that somebody or something has asked for."""

    ending: str
    at: float
    killed: bool = False


class Watch:
    def __init__(self, folder: Path, own: Path, order: dict[str, Any], rank: int | None) -> None:
        self.folder = folder
        self.own = own
        self.order = order
        self.rank = rank
        self.launch: Launch | None = None
        self.groups = cgroup.Groups()
        self.sandbox: str | None = None
        me = os.getpid()
        self.said: dict[str, Any] = {"supervisor": [me, tree.start_time(me)], "wake": int(WAKE), "at": time.time()}
        self.began = time.monotonic()
        self.output = Log(own / "log", int(order["log_bytes"]))
        self.wish: Wish | None = None
        self.status: int | None = None
        self.peak = 0
        self.largest = 0  # of one process, as the kernel told at its end
        self.cpu_s = 0.0  # as last seen of those that run
        self.spent = 0.0  # by those that have ended
        self.started: Started | None = None
        self.next_folder_look = self.began + _FOLDER_LOOK
        self.next_usage = self.began + _USAGE_LOOK[0]
        self.sign_of_life = (0.0, self.began)
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
        for number in (WAKE, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def close(self) -> None:
        """Descriptors only: signals are heard, and mean nothing, until the next attempt listens."""
        signal.set_wakeup_fd(-1)
        self.output.close()
        for descriptor in (self.wake_read, self._wake_write):
            os.close(descriptor)

    def _note_stop(self, *_: object) -> None:
        self.stop_asked = True

    def note(self, what: str) -> None:
        """A line for those who watch the whole site."""
        if self.order.get("events"):
            with contextlib.suppress(OSError):
                files.append(self.order["events"], f"{self.order['token']} {what}\n")

    # --- start and loop -----------------------------------------------------------------------------------------------------

    def run(self, secrets: int | None, host: str | None, address: str | None) -> None:
        meeting = None
        if self.rank is not None:
            meeting = meet(self.folder, self.rank, int(self.order["task"]["tasks"]), host, address, self._given_up)
            if meeting is None:
                self.leave_word(self._given_up() or "stopped", None)
                return
        read, write = os.pipe()
        try:
            os.set_blocking(read, False)
            try:
                self.started = self._start(meeting, secrets, write)
            except OSError as error:
                self.log(f"the program could not be started: {error}\n".encode())
                self.leave_word("unable", None, str(error))
                return
            finally:
                os.close(write)
                if secrets is not None:
                    os.close(secrets)
            self._follow(self.started, read)
        finally:
            os.close(read)

    def _follow(self, started: Started, read: int) -> None:
        child = started.process.pid
        self.said |= {"child": [child, tree.start_time(child)], "sandbox": self.sandbox, "groups": self.groups.folders}
        files.amend(self.own / "running.json", self.said)
        self._loop(started, read)
        self._end_everything(started)
        with contextlib.suppress(OSError):
            self._pump(read)
        if self.status == 0:
            make_durable(str(self.folder / "out"))
        # an engine that was told to end it may signal the program before we have seen why
        noticed = self._given_up() if self.status != 0 else None
        self.leave_word(self.wish.ending if self.wish else noticed or "exited", self.status, self.problem)

    def _start(self, meeting: Meeting | None, secrets: int | None, output: int) -> Started:
        launch = planned(self.order, self.folder, self.rank, meeting, secrets)
        self.launch, self.sandbox = launch, launch.level
        task = self.order["task"]
        if self.order.get("control_groups", True):
            count = int(task["tasks"]) if self.rank is None else 1
            name = str(self.order["token"]) + (f"-{self.rank}" if self.rank is not None else "")
            self.groups = cgroup.make(name, launch.limits.memory_bytes, launch.limits.processes, count * int(task["cpus"]))
        if self.groups.missing:
            self.sandbox += f" ({', '.join(self.groups.missing)}: watched)"
        if meeting is not None and not task["network"]:
            self.sandbox += " (a gang over nodes: with their network)"
        limit_self(launch.limits)
        with self.groups.joined():
            return start(launch, output, keep=(secrets,) if secrets is not None else (), limited=True)

    def _loop(self, started: Started, read: int) -> None:
        service = bool(self.order["task"]["service"])
        probe = Probe(self.folder.parent / "state" / SOCKET_NAME, self.own / "socket") if service else None
        with selectors.DefaultSelector() as selector:
            selector.register(read, selectors.EVENT_READ)
            selector.register(self.wake_read, selectors.EVENT_READ)
            tick = FIRST_TICK
            while self.status is None:
                for key, _ in selector.select(tick):
                    if key.fd == self.wake_read:
                        self._drain(self.wake_read)
                    elif not self._pump(read):
                        selector.unregister(read)  # every writer has closed it; the tree may live on
                self._reap(started)
                if self.status is not None:
                    break
                self._look(started)
                if tick == FIRST_TICK:
                    self.note("running")
                tick = CALM_TICK if time.monotonic() - self.began > 60 and self.wish is None else TICK
                if probe is not None and probe.ready.is_set() and self.wish is None:
                    files.say(self.own / "ready.json", {"at": time.time()})
                    self.note("ready")
                    probe = None
        if probe is not None:
            probe.stop()

    @staticmethod
    def _drain(descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(descriptor, 4096):
                pass

    def _pump(self, descriptor: int) -> bool:
        """Move what is there into the log; False at the end of the stream."""
        for _ in range(_PIECES):
            try:
                piece = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                return True
            if not piece:
                return False
            self.log(piece)
        return True

    def log(self, piece: bytes) -> None:
        try:
            self.output.write(piece)
        except OSError as error:  # a full disk must not end the job's guardian
            print(f"log: {error}", file=sys.stderr)

    def _reap(self, started: Started) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._used(used)
            if pid == started.process.pid:
                self.status = status
                started.process.returncode = os.waitstatus_to_exitcode(status)

    def _used(self, used: resource.struct_rusage) -> None:
        """By a process that has ended, and by those whose end it had heard of itself."""
        self.spent += used.ru_utime + used.ru_stime
        self.largest = max(self.largest, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))

    # --- limits -------------------------------------------------------------------------------------------------------------

    def _look(self, started: Started) -> None:
        now = time.monotonic()
        if self.wish is None:
            ending = self._reason_to_end(now)
            if ending is not None:
                self.wish = Wish(ending, now)
                self._ask_to_end(started, self.wish)
        elif not self.wish.killed and now - self.wish.at >= GRACE:
            self.wish.killed = True
            self._kill(started)

    def _given_up(self) -> str | None:
        if (self.folder / "cancel").exists():
            return "cancelled"
        if self.stop_asked or (self.folder / "stop").exists():
            return "stopped"
        if self.rank is not None and (self.folder / "failed").exists():
            return "gang"
        return None

    def _reason_to_end(self, now: float) -> str | None:
        given_up = self._given_up()
        if given_up is not None:
            return given_up
        timeout = self.order["task"]["timeout_s"]
        if not self.order["task"]["service"] and now - self.began > float(timeout):
            self.problem = f"it ran longer than the {timeout} s it had asked for"
            return "timeout"
        if self._nobody_home(now):
            return "stopped"
        return self._too_much(now)

    def _too_much(self, now: float) -> str | None:
        assert self.launch is not None
        limits = self.launch.limits
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
        if self.groups.out_of_memory():
            return self._out_of_memory()
        if now >= self.next_usage:
            self.next_usage = now + _USAGE_LOOK[1]
            self.cpu_s = round(tree.cpu_seconds(pids), 3)
            said = {"cpu_s": self.cpu_s, "max_rss_bytes": self.peak, "at": time.time()}
            files.say(self.own / "usage.json", said, durable=False)
        if limits.folder_bytes is not None and now >= self.next_folder_look:
            problem = too_much(self.launch.watched, limits.folder_bytes)
            self.next_folder_look = time.monotonic() + _FOLDER_LOOK
            if problem is not None:
                self.problem = problem
                return "disk"
        return None

    def _out_of_memory(self) -> str:
        assert self.launch is not None
        asked = (self.launch.limits.memory_bytes or 0) >> 20
        self.peak = max(self.peak, asked << 20)
        self.problem = f"the kernel ended a part of it, because it used more than the {asked} MiB of memory it had asked for"
        return "memory"

    def _nobody_home(self, now: float) -> bool:
        """A service serves nobody when no server has been there for long; it must not outlive an abandoned house for ever.

        By the clock that never jumps: what counts is since when the sign of life has been the same.
        """
        alive = self.order.get("alive")
        if not alive or not self.order["task"]["service"]:
            return False
        try:
            sign = os.stat(alive).st_mtime
        except OSError:
            return True
        if sign != self.sign_of_life[0]:
            self.sign_of_life = (sign, now)
        return now - self.sign_of_life[1] > float(self.order["alive_s"])

    # --- the end ------------------------------------------------------------------------------------------------------------

    def _ask_to_end(self, started: Started, wish: Wish) -> None:
        assert self.launch is not None
        if wish.ending in ("memory", "processes", "disk"):
            wish.killed = True
            self._kill(started)
            return
        # bubblewrap's own two processes would die of the signal and take the rest with them at once
        inside = tree.descendants(started.root)
        tree.send(inside if self.launch.held else [started.root, *inside], signal.SIGTERM)

    @staticmethod
    def _kill(started: Started) -> None:
        tree.send([started.root], signal.SIGKILL)
        tree.send([started.process.pid, *tree.descendants(os.getpid())], signal.SIGKILL)

    def _end_everything(self, started: Started) -> None:
        """Nothing of the tree outlives its root: not daemons, not orphans (they came to us)."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(started.process.pid, signal.SIGKILL)
        while True:
            left = tree.descendants(os.getpid())
            tree.send(left, signal.SIGKILL)
            try:
                pid, _, used = os.wait4(-1, 0 if left else os.WNOHANG)
                while pid:  # all that are there: a look at a thousand processes for each of them would take minutes
                    self._used(used)
                    pid, _, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not left and not tree.children(os.getpid()):
                return

    def leave_word(self, ending: str, status: int | None, problem: str = "") -> None:
        """The last act: how it ended, durably, after everything else is."""
        if ending == "exited" and status != 0 and self.groups.out_of_memory():
            ending, problem = self._out_of_memory(), self.problem
        self.groups.remove()
        self.output.sync()
        code, number = _told(status, self.launch is not None and self.launch.held)
        said = {
            "ending": ending,
            "code": code,
            "signal": number,
            "problem": problem,
            "wall_s": round(time.monotonic() - self.began, 3),
            # of processes that an engine has killed beneath their parents, the kernel tells less than was seen
            "cpu_s": max(self.cpu_s, round(self.spent, 3)),
            "max_rss_bytes": max(self.largest, self.peak) if status is not None else 0,
            "sandbox": self.sandbox,
            "at": time.time(),
        }
        if self.rank is not None and (ending != "exited" or code != 0):
            files.claim(self.folder / "failed", {"rank": self.rank})
        files.say(self.own / "exit.json", said)
        self.note("ended")


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
