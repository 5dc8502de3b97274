"""Jobs on this machine: a sandboxed process with a supervisor of its own for each attempt (see folders, ..supervisor)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lilong.floors.compute.backends.changes import Changes
from lilong.floors.compute.backends.folders import LOG_BYTES, Folders, held, lock
from lilong.floors.compute.backends.nodes import Nodes
from lilong.floors.compute.backends.spawning import Spawner
from lilong.floors.compute.contract import (
    Capacity,
    Ending,
    Inventory,
    LogPart,
    Mode,
    Output,
    Phase,
    Sight,
    Task,
    Usage,
    Watched,
)
from lilong.floors.compute.supervisor import cgroup, files, tree
from lilong.floors.compute.supervisor.plan import SOCKET_NAME
from lilong.ground import sandbox
from lilong.ground.blobs import Blobs
from lilong.ground.errors import BadInput
from lilong.ground.sandbox import Level, Sandbox

if TYPE_CHECKING:
    from lilong.ground.house import House

ORPHANED_S = 900
"""A service ends this long after the last sign of life of a server (see `alive`)."""
_SOCKET_PATH_BYTES = 100  # sockaddr_un has 108, 104 on macOS
_STOP_S = 10
_SWEEP_S = 2.0
"""Between two looks at whether supervisors were killed: those leave no line in the file of changes."""
_OPTIONS = frozenset({"nodes", "vendors", "sandbox", "level", "log_mib", "control_groups"})


def open_site(name: str, options: Mapping[str, Any], house: House) -> LocalSite:
    """A local site as the settings document describes it. Raises BadInput.

    Options: `nodes` (virtual nodes, see nodes.Nodes.declared), `vendors` {accelerator class: vendor}, `sandbox` (the least level: the
    strongest that works here is taken), `level` (this one and no other: a weaker one starts sooner, for a site of programs that may do
    as they like), `log_mib` (a log's cap), `control_groups` (false: limits are only watched). Everything has a default.
    """
    for key in options:
        if key not in _OPTIONS:
            raise BadInput(
                field=f"options.{key}", problem="the local driver has no such option", way_out=f"It has {', '.join(sorted(_OPTIONS))}."
            )
    floor = _level("sandbox", options.get("sandbox", house.settings.sandbox))
    level = _level("level", options.get("level"))
    if level is not None and floor is not None and level < floor:
        problem = f"{level.word} is weaker than {floor.word}, the least that this house was set to run jobs at"
        raise BadInput(field="options.level", problem=problem, way_out="Give a stronger one, or lower `sandbox`.")
    capacity = Capacity(house.settings.cpus, house.settings.memory_mib)
    root = house.settings.jobs if name == "local" else house.settings.jobs / f".{name}"
    return LocalSite(
        root,
        house.blobs,
        capacity,
        name=name,
        floor=floor or Level.NONE,
        level=level,
        nodes=_nodes(options.get("nodes")),
        vendors=_typed(options, "vendors", Mapping, {}, 'a table such as { h20 = "nvidia" }'),
        log_bytes=max(1, _typed(options, "log_mib", int, LOG_BYTES >> 20, "a whole number")) << 20,
        control_groups=_typed(options, "control_groups", bool, True, "true or false"),
    )


def _level(field: str, word: object) -> Level | None:
    if word is None or word == "auto":
        return None
    try:
        return Level.parse(str(word))
    except KeyError:
        levels = ", ".join(["auto", *(level.word for level in Level)])
        raise BadInput(field=field, problem=f"{word!r} is no level", way_out=f"Give one of: {levels}.") from None


def _typed(options: Mapping[str, Any], key: str, kind: type, usual: Any, like: str) -> Any:
    value = options.get(key, usual)
    if not isinstance(value, kind):
        raise BadInput(field=f"options.{key}", problem=f"{value!r} is not what belongs there", way_out=f"Give {like}.")
    return value


def _nodes(told: object) -> Nodes | None:
    if told is None:
        return None
    if not isinstance(told, Sequence) or isinstance(told, str):
        raise BadInput(field="options.nodes", problem="it is not a list", way_out="Write nodes = [{ name = …, cpus = … }, …].")
    return Nodes.declared(told)


class LocalSite:
    """The built-in site. `floor` is the least sandbox level that a task may run at; `level` fixes one (tests of the lesser ones)."""

    mode = Mode.OWNED

    def __init__(
        self,
        root: Path,
        blobs: Blobs,
        capacity: Capacity,
        *,
        name: str = "local",
        floor: Level = Level.NONE,
        level: Level | None = None,
        log_bytes: int = LOG_BYTES,
        nodes: Nodes | None = None,
        vendors: Mapping[str, str] | None = None,
        control_groups: bool = True,
    ) -> None:
        self.name = name
        self.root = root
        self.nodes = nodes or Nodes.this_machine(capacity)
        self.folders = Folders(root, blobs, log_bytes=log_bytes)
        self._floor = floor
        self._level = level
        self._found: Level | None = None
        self._vendors = dict(vendors or {})
        self._control_groups = control_groups
        self._spawner = Spawner()
        self._changes = Changes(root / ".events")
        self._running: set[str] = set()  # attempts whose supervisors may be killed without a word
        self._surveyed = False
        self._swept = 0.0

    @property
    def without(self) -> frozenset[str]:
        """What it cannot promise (see conformance.NEEDS)."""
        return frozenset({"walls"}) if self.sandbox_level() is Level.NONE else frozenset()

    def inventory(self) -> Inventory:
        return self.nodes.inventory(self.root / ".drained")

    def drain(self, node: str, *, on: bool) -> None:
        mark = self.root / ".drained" / self.nodes.node(node).name
        if on:
            mark.parent.mkdir(exist_ok=True)
            mark.touch()
        else:
            mark.unlink(missing_ok=True)

    def capacity(self) -> Capacity:
        """Of all nodes together."""
        return Capacity(sum(node.cpus for node in self.nodes.nodes), sum(node.memory_mib for node in self.nodes.nodes))

    def sandbox_level(self) -> Level:
        """The level that a task gets here. Raises LevelMissing."""
        if self._found is None:
            nothing = Sandbox(("true",))
            plan = sandbox.launch(nothing, self._floor) if self._level is None else sandbox.at_level(nothing, self._level)
            self._found = Level.parse(plan.level)
            if self._found is Level.NONE:
                self.folders.reuse()
        return self._found

    def alive(self) -> None:
        """Say that a server looks after this site: services whose house was left for good end by themselves."""
        (self.root / ".alive").touch()

    # --- start -------------------------------------------------------------------------------------------------------------

    def submit(self, token: str, task: Task) -> None:
        self.nodes.check(task)
        level = self.sandbox_level()
        with self.folders.claimed(token) as lock:
            # a hard link is as good as a copy where the sandbox, not the file's mode, keeps the program from writing
            folder = self.folders.lay(token, task, copy=level is Level.NONE, **self._terms(task, level))
            if task.service:
                self.alive()
                (folder.parent / "state" / SOCKET_NAME).unlink(missing_ok=True)  # an earlier attempt's
            if self.folders.cancelled(token):
                self.folders.leave_word(token, Ending.CANCELLED)
                files.append(str(self._changes.path), f"{token} ended\n")
                return
            secrets = files.nameless(json.dumps(dict(task.secrets)).encode()) if task.secrets else None
            try:
                self._spawner.spawn(folder, [lock, secrets.fileno()] if secrets else [lock])
            finally:
                if secrets:
                    secrets.close()
        self._running.add(token)

    def _terms(self, task: Task, level: Level) -> dict[str, Any]:
        return {
            "level": level.word,
            "events": str(self._changes.path),
            "alive": str(self.root / ".alive") if task.service else None,
            "alive_s": ORPHANED_S,
            "vendors": self._vendors,
            "accelerators": sorted({node.accelerator for node in self.nodes.nodes if node.devices}),
            "virtual": self.nodes.virtual,
            "control_groups": self._control_groups,
        }

    # --- look --------------------------------------------------------------------------------------------------------------

    def find(self, token: str) -> Sight:
        folder = self.folders.of(token)
        self._spawner.reap()
        ended = self.folders.ended(token)
        if ended is not None:
            return ended
        if not folder.exists():
            return Sight(Phase.NEVER)
        handle = lock(folder)
        if handle is None:
            return self._runs(token, folder)
        try:
            ended = self.folders.ended(token)  # it may have ended between the two looks
            if ended is not None:
                return ended
            if not self.folders.began(token):
                return Sight(Phase.NEVER)
            # the supervisor was killed: the kernel has ended the child with it; make sure
            said = files.read(folder / "running.json") or {}
            pid, started = said.get("child") or (0, None)
            if tree.same(pid, started):
                tree.send([*tree.descendants(pid), pid], signal.SIGKILL)
            cgroup.remove(said.get("groups") or ())
            return Sight(Phase.LOST, said.get("sandbox"))
        finally:
            os.close(handle)

    def _runs(self, token: str, folder: Path) -> Sight:
        running = self.folders.running(token)
        ready = (folder / "ready.json").exists()
        return Sight(Phase.RUNNING, running.sandbox, f"unix:{self._short(folder / 'socket')}" if ready else None)

    def watch(self, cursor: str) -> Watched:
        changed = self._changes.since(cursor) if cursor else None
        if changed is None or not self._surveyed:
            following = changed[1] if changed else self._changes.now()
            tokens = set(self.folders.known())
            self._surveyed = True
        else:
            tokens, following = set(changed[0]), changed[1]
            if time.monotonic() - self._swept > _SWEEP_S:
                self._swept = time.monotonic()
                tokens |= {token for token in list(self._running) if not held(self.folders.of(token))}
        sights = {token: sight for token in sorted(tokens) if (sight := self.find(token)).phase is not Phase.NEVER}
        # in place: other threads submit meanwhile
        self._running.difference_update(token for token, sight in sights.items() if sight.phase is not Phase.RUNNING)
        self._running.update(token for token, sight in sights.items() if sight.phase is Phase.RUNNING)
        return Watched(sights, following)

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

    def usage(self, token: str) -> Usage:
        return self.folders.usage(token)

    def logs(self, token: str, offset: int, limit: int) -> LogPart:
        return self.folders.logs(token, offset, limit)

    def progress(self, job_id: str, after: int) -> list[dict[str, Any]]:
        return self.folders.progress(job_id, after)

    def outputs(self, token: str, keep: Callable[[IO[bytes]], tuple[str, int]]) -> tuple[Output, ...]:
        return self.folders.outputs(token, keep)

    # --- end ---------------------------------------------------------------------------------------------------------------

    def cancel(self, token: str) -> None:
        self._wake(self.folders.cancel(token))

    @staticmethod
    def _wake(folder: Path) -> bool:
        """Have the supervisor look, if that process is still the one that wrote its number down: it finds the mark by itself, but later."""
        said = files.read(folder / "running.json") or {}
        pid, started = said.get("supervisor") or (0, None)
        if tree.same(pid, started) or (started is None and pid and held(folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, said.get("wake", signal.SIGTERM))  # an earlier release's have no other, and one attempt only
                return True
        return False

    def stop(self) -> None:
        left = [self.folders.of(token) for token in self.folders.known()]
        woken: set[Path] = set()
        for folder in left:
            if held(folder):
                (folder / "stop").touch()
        end = time.monotonic() + _STOP_S
        while (left := [folder for folder in left if folder.exists() and held(folder)]) and time.monotonic() < end:
            woken |= {folder for folder in left if folder not in woken and self._wake(folder)}
            time.sleep(0.03)
        self._spawner.close()

    def tidy(self, token: str, *, last: bool) -> None:
        for attempt in self.folders.tidy(token, last=last):
            _short_link(attempt / "socket").unlink(missing_ok=True)


def _short_link(socket: Path) -> Path:
    return Path(tempfile.gettempdir()) / f"lilong-{os.getuid()}" / hashlib.sha256(os.fsencode(socket)).hexdigest()[:24]
