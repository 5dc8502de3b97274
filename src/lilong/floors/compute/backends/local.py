"""Jobs on this machine: a sandboxed process with a supervisor of its own for each attempt.

<root>/<job>/state/            LILONG_STATE, kept between the attempts
<root>/<job>/<attempt>/in,out  LILONG_IN, LILONG_OUT
<root>/<job>/<attempt>/…       the run folder (see ..supervisor)
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

import lilong
from lilong.floors.compute.contract import (
    PYTHON,
    AlreadySubmitted,
    Capacity,
    Ending,
    Exit,
    LogPart,
    Output,
    Phase,
    Sight,
    Task,
)
from lilong.floors.compute.supervisor import tree
from lilong.ground import intake, sandbox, seams
from lilong.ground.blobs import Blobs, write_durably
from lilong.ground.errors import BadInput
from lilong.ground.sandbox import Bind, Level, Limits, Sandbox

LOG_BYTES = 32 << 20
ORPHANED_S = 900
"""A service ends this long after the last sign of life of a server (see `alive`)."""
_TOKEN = re.compile(r"(?P<job>[a-z0-9][a-z0-9-]{0,60})\.(?P<attempt>[1-9][0-9]{0,5})")
_SOCKET_NAME = "service.sock"
_SOCKET_PATH_BYTES = 100  # sockaddr_un has 108, 104 on macOS
_PROGRESS_BYTES = 64 << 20
_STOP_S = 10


class LocalSite:
    """The built-in site. `floor` is the least sandbox level that a task may run at; `level` fixes one (tests of the lesser ones)."""

    name = "local"

    def __init__(
        self,
        root: Path,
        blobs: Blobs,
        capacity: Capacity,
        *,
        floor: Level = Level.NONE,
        level: Level | None = None,
        log_bytes: int = LOG_BYTES,
    ) -> None:
        self.root = root
        self._blobs = blobs
        self._capacity = capacity
        self._floor = floor
        self._level = level
        self._log_bytes = log_bytes
        self._supervisors: list[subprocess.Popen[bytes]] = []
        root.mkdir(parents=True, exist_ok=True)

    def capacity(self) -> Capacity:
        return self._capacity

    def sandbox_level(self) -> Level:
        """The level that a task gets here. Raises LevelMissing."""
        return Level.parse(self._plan(Sandbox(("true",))).level)

    def alive(self) -> None:
        """Say that a server looks after this site: services whose house was left for good end by themselves."""
        (self.root / "alive").touch()

    # --- start -------------------------------------------------------------------------------------------------------------

    def submit(self, token: str, task: Task) -> None:
        folder = self._folder(token)
        folder.mkdir(parents=True, exist_ok=True)
        lock = _own(folder)
        if lock is None:
            raise AlreadySubmitted(token=token)
        try:
            if (folder / "running.json").exists() or (folder / "exit.json").exists():
                raise AlreadySubmitted(token=token)
            self._lay_inputs(folder / "in", task)
            for path in (folder / "out", folder / "tmp", folder.parent / "state"):
                path.mkdir(exist_ok=True)
            order = self._order(token, folder, task)
            write_durably(folder / "start.json", json.dumps(order).encode(), 0o600)
            if not (folder / "cancel").exists():
                self._spawn(folder, lock)
            else:
                _leave_word(folder, Ending.CANCELLED, order["launch"]["level"])
        finally:
            # the supervisor has the lock by the same open file: it stays held until that one ends too
            os.close(lock)

    def _lay_inputs(self, folder: Path, task: Task) -> None:
        _remove(folder)  # what an earlier, interrupted submit of this very attempt left
        folder.mkdir()
        # a hard link is as good as a copy where the sandbox, not the file's mode, keeps the program from writing
        share = self._plan(Sandbox(("true",))).level != Level.NONE.word
        for name, files in task.inputs.items():
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", name) or name == "spec.json":
                raise BadInput(
                    field="inputs", problem=f"{name[:100]!r} is not a folder's name", way_out="Use letters, digits, '-', '_' and '.'."
                )
            for path, digest in files.items():
                self._blobs.place(digest, folder / name / intake.path(path), share=share)
        (folder / "spec.json").write_text(json.dumps(task.spec, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

    def _plan(self, wanted: Sandbox) -> sandbox.Launch:
        return sandbox.at_level(wanted, self._level) if self._level is not None else sandbox.launch(wanted, self._floor)

    def _order(self, token: str, folder: Path, task: Task) -> dict[str, Any]:
        limits = Limits(
            memory_bytes=task.memory_mib << 20,
            processes=1024,
            folder_bytes=64 << 30,
            tmp_bytes=max(256, task.memory_mib // 2) << 20,
        )
        own_view = self._plan(Sandbox(("true",))).level == Level.BUBBLEWRAP.word
        state = folder.parent / "state"
        places = {"in": folder / "in", "out": folder / "out", "state": state}
        seen = {name: f"/job/{name}" if own_view else str(path) for name, path in places.items()}
        tmp = "/tmp" if own_view else str(folder / "tmp")  # noqa: S108 - private inside
        binds = [Bind(path, seen[name], writable=name != "in") for name, path in places.items()]
        if not own_view:
            binds.append(Bind(folder / "tmp", writable=True))
        argv = (sys.executable, *task.argv[1:]) if task.argv[0] == PYTHON else task.argv
        plan = self._plan(
            Sandbox(argv=argv, binds=tuple(binds), env=_environment(token, seen, tmp, task), cwd=tmp, network=task.network, limits=limits)
        )
        if task.service:
            (state / _SOCKET_NAME).unlink(missing_ok=True)  # an earlier attempt's
        return {
            "token": token,
            "launch": plan.to_json(),
            "timeout_s": task.timeout_s if not task.service else 10 * 365 * 86400,
            "log_bytes": self._log_bytes,
            "out": str(folder / "out"),
            "socket": str(state / _SOCKET_NAME) if task.service else None,
            "alive": str(self.root / "alive") if task.service else None,
            "alive_s": ORPHANED_S,
        }

    def _spawn(self, folder: Path, lock: int) -> None:
        self.alive()
        with (folder / "supervisor.log").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "lilong.floors.compute.supervisor", str(folder), str(lock)],
                env={"PATH": os.defpath, "PYTHONPATH": str(Path(lilong.__file__).parents[1]), "LC_ALL": "C.UTF-8"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=(lock,),
                start_new_session=True,  # the server's terminal, group and end are not its own
            )
        self._supervisors = [other for other in self._supervisors if other.poll() is None]
        self._supervisors.append(process)

    # --- look --------------------------------------------------------------------------------------------------------------

    def find(self, token: str) -> Sight:
        folder = self._folder(token)
        for other in self._supervisors:
            other.poll()  # no zombies
        said = _read(folder / "exit.json")
        if said is not None:
            return _finished(said)
        if not folder.exists():
            return Sight(Phase.NEVER)
        lock = _lock(folder)
        if lock is None:
            order = _read(folder / "start.json") or {}
            ready = (folder / "ready.json").exists()
            return Sight(Phase.RUNNING, order.get("launch", {}).get("level"), f"unix:{self._short(folder / 'socket')}" if ready else None)
        try:
            said = _read(folder / "exit.json")  # it may have ended between the two looks
            if said is not None:
                return _finished(said)
            running = _read(folder / "running.json")
            if running is None:
                return Sight(Phase.NEVER)
            # the supervisor was killed: the kernel has ended the child with it; make sure
            pid, started = running["child"] or (0, None)
            if tree.same(pid, started):
                tree.send([*tree.descendants(pid), pid], signal.SIGKILL)
            return Sight(Phase.LOST, (_read(folder / "start.json") or {}).get("launch", {}).get("level"))
        finally:
            os.close(lock)

    def _short(self, path: Path) -> str:
        """A name for this socket that fits into a socket's address: its own, or a link in a private folder of the temporary one."""
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
            return str(path)
        link = _short_link(path)
        shelf = link.parent
        shelf.mkdir(mode=0o700, exist_ok=True)
        facts = shelf.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise PermissionError(f"{shelf} is not a private folder of this user")
        if not link.is_symlink():
            with contextlib.suppress(FileExistsError):
                link.symlink_to(path)
        return str(link)

    def logs(self, token: str, offset: int, limit: int) -> LogPart:
        with contextlib.suppress(FileNotFoundError), (self._folder(token) / "log").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if offset >= size:
                return LogPart(offset, offset, "")
            offset = file.seek(max(0, size + offset) if offset < 0 else offset)
            data = file.read(limit)
            whole = _whole_characters(data) if len(data) == limit else data
            return LogPart(offset, offset + len(whole), whole.decode("utf-8", errors="replace"))
        return LogPart(offset, offset, "")

    def progress(self, job_id: str, after: int) -> list[dict[str, Any]]:
        state = self.root / _part(job_id) / "state"
        found: list[dict[str, Any]] = []
        try:
            with sandbox.opened(state, PurePosixPath("progress.jsonl")) as file:
                lines = file.read(_PROGRESS_BYTES).split(b"\n")[:-1]  # the last line may still be in the making
        except (OSError, sandbox.OutputRefused):
            return found
        for line in lines[after:]:
            try:
                value = json.loads(line)
            except ValueError:
                value = {}
            found.append(value if isinstance(value, dict) else {})
        return found

    def outputs(self, token: str, keep: Callable[[IO[bytes]], tuple[str, int]]) -> tuple[Output, ...]:
        folder = self._folder(token) / "out"
        found = []
        for left in sandbox.collect(folder):
            with sandbox.opened(folder, left.path) as file:
                found.append(Output(str(left.path), *keep(file)))
        return tuple(found)

    # --- end ---------------------------------------------------------------------------------------------------------------

    def cancel(self, token: str) -> None:
        folder = self._folder(token)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "cancel").exists():
            write_durably(folder / "cancel", b"")
        self._wake(folder)

    @staticmethod
    def _wake(folder: Path) -> bool:
        """Signal the supervisor, if that process is still the one that wrote its number down."""
        pid, started = (_read(folder / "running.json") or {}).get("supervisor") or (0, None)
        if tree.same(pid, started) or (started is None and pid and _held(folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
                return True
        return False

    def stop(self) -> None:
        left = [order.parent for order in self.root.glob("*/*/start.json") if not (order.parent / "exit.json").exists()]
        woken: set[Path] = set()
        end = time.monotonic() + _STOP_S
        while (left := [folder for folder in left if _held(folder)]) and time.monotonic() < end:
            woken |= {folder for folder in left if folder not in woken and self._wake(folder)}
            time.sleep(0.03)
        for process in self._supervisors:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)

    def tidy(self, token: str, *, last: bool) -> None:
        folder = self._folder(token)
        # of an earlier attempt something is left where the server was killed between its end and this
        for attempt in folder.parent.glob("[0-9]*") if last else (folder,):
            _short_link(attempt / "socket").unlink(missing_ok=True)
            for name in ("in", "out", "tmp", "socket"):
                _remove(attempt / name)
        if last:
            state = folder.parent / "state"
            for entry in list(state.iterdir()) if state.is_dir() else []:
                if entry.name != "progress.jsonl":
                    _remove(entry)

    def _folder(self, token: str) -> Path:
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise BadInput(field="token", problem=f"{token[:100]!r} is not a job and an attempt", way_out="Give <job>.<attempt>.")
        return self.root / match["job"] / match["attempt"]


_NETWORK_ENVIRONMENT = (
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_DEFAULT_TIMEOUT",
)  # fmt: skip


def _environment(token: str, seen: Mapping[str, str], tmp: str, task: Task) -> dict[str, str]:
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": tmp,
        "TMPDIR": tmp,
        "LANG": "C.UTF-8",
        "LILONG_IN": seen["in"],
        "LILONG_OUT": seen["out"],
        "LILONG_STATE": seen["state"],
        "LILONG_JOB": token,
        "OMP_NUM_THREADS": str(task.cpus),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait cost up to ten times the work on a shared machine
        "KMP_BLOCKTIME": "0",
        "NUMBA_CACHE_DIR": f"{tmp}/numba",
        "NUMBA_NUM_THREADS": str(task.cpus),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }
    if task.network:
        # What tells the package tools of proxies, certificates and registries; an address that carries a password stays outside.
        env.update({key: value for key in _NETWORK_ENVIRONMENT if (value := os.environ.get(key)) and "@" not in value})
    else:
        env["HF_HUB_OFFLINE"] = "1"  # else the hub clients spend minutes on finding out that there is no network
    source = str(Path(lilong.__file__).parents[1])
    if not source.startswith((sys.prefix, sys.base_prefix)):
        env["PYTHONPATH"] = source
    return env


def _short_link(socket: Path) -> Path:
    return Path(tempfile.gettempdir()) / f"lilong-{os.getuid()}" / hashlib.sha256(os.fsencode(socket)).hexdigest()[:24]


def _part(job_id: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", job_id):
        raise BadInput(field="job", problem=f"{job_id[:100]!r} is not a job's id", way_out="Give the id as the house printed it.")
    return job_id


def _lock(folder: Path, how: int = fcntl.LOCK_SH) -> int | None:
    """The folder's lock, or None while a supervisor (or a submit) holds it. Those who only look share it with one another."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _own(folder: Path) -> int | None:
    """The folder's lock for oneself alone; None if it is held for longer than a look takes."""
    for _ in range(20):
        handle = _lock(folder, fcntl.LOCK_EX)
        if handle is not None or (folder / "running.json").exists():
            return handle
        time.sleep(0.05)
    return None


def _held(folder: Path) -> bool:
    lock = _lock(folder)
    if lock is not None:
        os.close(lock)
    return lock is None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return value


def _finished(said: Mapping[str, Any]) -> Sight:
    ending = Ending(said["ending"])
    told = Exit(
        code=said["code"],
        signal=said["signal"],
        reason=said["problem"],
        wall_s=said["wall_s"],
        cpu_s=said["cpu_s"],
        max_rss_mib=round(said["max_rss_bytes"] / (1 << 20), 1),
    )
    return Sight(Phase.FINISHED, said["sandbox"], None, ending, told)


def _leave_word(folder: Path, ending: Ending, level: str) -> None:
    said = {"ending": ending.value, "code": None, "signal": None, "problem": "", "wall_s": 0.0, "cpu_s": 0.0, "max_rss_bytes": 0}
    write_durably(folder / "exit.json", json.dumps({**said, "sandbox": level, "at": time.time()}).encode())


def _whole_characters(data: bytes) -> bytes:
    """Without a UTF-8 character that is cut off at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return data[:-back] if length > back else data
    return data


def _remove(path: Path) -> None:
    """Remove what a job left, however deep, and whatever modes it set. Links are removed, not followed."""
    if path.is_symlink() or path.is_file() or path.is_socket():
        path.unlink(missing_ok=True)
    elif path.is_dir() and seams.run(["rm", "-rf", "--", str(path)]).returncode != 0:
        # Only what a job could write can be in the way, and no blob has a second name there.
        seams.run(["chmod", "-R", "u+rwX", "--", str(path)])
        seams.run(["rm", "-rf", "--", str(path)])
