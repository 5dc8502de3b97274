"""The Slurm driver.

An attempt's token is the name of its job in Slurm. What makes it one job, whenever the house dies:

1. `engine.json` is on the disk before sbatch is called: without it, Slurm never heard of the attempt.
2. sbatch inherits the lock `engine.lock`: while it is held, a submit is under way, whoever began it. Once it is free, sbatch has had its
   answer, so whatever it submitted is in Slurm's queue.
3. The queue shows all that waits and runs, and for MinJobAge what has ended; the accounts show it after that, as soon as the queue of
   messages to them is empty. What is in neither is not there.
4. Should a message that was thought lost arrive late after all, the twin waits for the first (`--dependency=singleton`), then finds the
   run folder taken and ends at once. The same holds for a job that Slurm's controller forgets because it is killed in the seconds before it
   saves its state: the first supervisor that claims the run folder runs the program, no other does.

A job is never requeued by Slurm (`--no-requeue`): a node that failed or a place taken back ends the attempt, and the house makes another.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from lilong.floors.compute.backends import program
from lilong.floors.compute.backends.folders import Folders, Word
from lilong.floors.compute.backends.slurm import reading
from lilong.floors.compute.backends.slurm.cli import Commands, SlurmRefused, Unanswered
from lilong.floors.compute.backends.slurm.options import Options
from lilong.floors.compute.backends.slurm.order import PASSED, SCRIPT, arguments, environment
from lilong.floors.compute.contract import (
    AlreadySubmitted,
    Ending,
    Exit,
    Inventory,
    LogPart,
    Mode,
    Output,
    Phase,
    Sight,
    SiteDown,
    Task,
    Usage,
    Watched,
)
from lilong.floors.compute.supervisor import files
from lilong.ground.blobs import Blobs
from lilong.ground.errors import NotFound

_HANDED = "engine.json"  # {at, job, doubt}: handed to Slurm; the job's number once it is known; until when it may still arrive
_IN_FLIGHT_S = 30.0
_CANCEL_AGAIN_S = 5.0
_RESUME_LOOKS = 50
_NAMES = 1000  # asked for in one call: an argument has room for 128 KiB
_SIGNALS = (9, 15)  # with which Slurm ends a job's processes
_OVER = (Phase.FINISHED, Phase.LOST)


class SlurmSite:
    without = frozenset({"services", "stop"})  # see conformance.NEEDS

    def __init__(self, name: str, options: Options, blobs: Blobs) -> None:
        self.name = name
        self.mode = Mode.DELEGATED
        self.folders = Folders(options.folder, blobs)
        self._options = options
        self._user = getpass.getuser()
        self._commands = Commands(name, options, self._user)
        self._guard = threading.Lock()
        self._instance = uuid.uuid4().hex[:12]
        self._number = 0  # of the last change that was seen
        self._seen: dict[str, tuple[int, Sight]] = {}
        self._rows: dict[str, reading.Row] = {}
        self._looked = float("-inf")
        self._ended: dict[str, float] = {}  # when an end was first seen: its word may come a little later
        self._cancelled: dict[str, float] = {}
        self._config: dict[str, str] = {}
        self._domains: dict[str, dict[str, str]] | None = None
        self._program: Path | None = None

    # --- start -------------------------------------------------------------------------------------------------------------

    def submit(self, token: str, task: Task) -> None:
        """Raises AlreadySubmitted, SlurmRefused, NotHere, BadInput; SiteDown where Slurm gave no answer: then `find` tells."""
        if self.mode is Mode.DELEGATED:
            task = replace(task, placed=())
        asked = arguments(self.name, self._options, token, task)
        folder = self.folders.of(token)
        folder.mkdir(parents=True, exist_ok=True)
        with self._handing_over(token) as lock:
            if (folder / _HANDED).exists() and self._placed(token).phase is not Phase.NEVER:
                raise AlreadySubmitted(token=token)
            with self.folders.claimed(token):
                self.folders.lay(
                    token, replace(task, placed=()), floor=self._options.sandbox, vendors=dict(self._options.vendors), passed=PASSED
                )
                self.folders.lay_secrets(token, task)
                if self.folders.cancelled(token):
                    self.folders.leave_word(token, Ending.CANCELLED)
                    return
            files.say(folder / _HANDED, {"at": time.time()})
            self._hand_over(token, folder, [*asked, f"--output={folder}/engine.log"], task, lock)
        if self.folders.cancelled(token):
            self._scancel(token)

    def _hand_over(self, token: str, folder: Path, asked: Sequence[str], task: Task, lock: int) -> None:
        told = environment(self._options, folder, task, self._laid_program())
        try:
            said = self._commands.ask("sbatch", *asked, stdin=SCRIPT.encode(), environment=told, keep=[lock])
        except SlurmRefused:
            (folder / _HANDED).unlink()
            raise
        except Unanswered:
            now = time.time()
            files.say(folder / _HANDED, {"at": now, "doubt": now + _IN_FLIGHT_S})
            raise
        job = said.strip().partition(";")[0]
        files.say(folder / _HANDED, {"at": time.time(), "job": int(job) if job.isdigit() else None}, durable=False)

    @contextmanager
    def _handing_over(self, token: str) -> Iterator[int]:
        handle = os.open(self.folders.of(token) / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for _ in range(20):  # whoever only looks holds it for a moment
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.05)
            else:
                raise AlreadySubmitted(token=token)
            yield handle
        finally:
            os.close(handle)

    def _under_way(self, token: str) -> bool:
        """Whether a submit is: somebody's sbatch has had no answer yet."""
        try:
            handle = os.open(self.folders.of(token) / "engine.lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def _laid_program(self) -> Path:
        self._program = self._program or program.laid(self.folders.root)
        return self._program

    # --- look --------------------------------------------------------------------------------------------------------------

    def find(self, token: str) -> Sight:
        ended = self.folders.ended(token)
        if ended is not None and not _perhaps_by_slurm(ended):
            return ended
        if self._under_way(token):
            return Sight(Phase.PENDING, waits_for="it is being handed to Slurm")
        return self._placed(token)

    def _placed(self, token: str) -> Sight:
        """What files and Slurm say, when no submit is under way."""
        handed = files.read(self.folders.of(token) / _HANDED)
        if handed is None:
            return self.folders.sight(token, Word(Phase.NEVER))
        text = self._commands.ask(
            "squeue", "--noheader", "--states=all", f"--user={self._user}", f"--name={token}", f"--format={reading.QUEUE_FORMAT}"
        )
        row = reading.rows(text).get(token) or self._past({token: handed}).get(token)
        return self._sight(token, row, handed)

    def _past(self, handed: Mapping[str, Mapping[str, Any]]) -> dict[str, reading.Row]:
        """From the accounts, what the queue no longer shows. Raises SiteDown if they may not be complete."""
        now = time.time()
        oldest = min(float(told.get("at") or 0.0) for told in handed.values())
        if 0 <= now - oldest < self._memory_s():
            return {}
        since = datetime.fromtimestamp(max(0.0, oldest - 86400), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        found: dict[str, reading.Row] = {}
        names = sorted(handed)
        for at in range(0, len(names), _NAMES):
            text = self._commands.ask(
                "sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", f"--user={self._user}", f"--starttime={since}",
                f"--name={','.join(names[at : at + _NAMES])}", f"--format={reading.PAST_FORMAT}",
            )  # fmt: skip
            found |= reading.rows(text)
        if len(found) < len(handed):
            behind = re.search(r"DBD Agent queue size:\s*(\d+)", self._commands.ask("sdiag"))
            if behind is None or int(behind[1]) > 0:
                problem = (
                    f"slurmdbd is {behind[1] if behind else 'some'} messages behind, so what the accounts do not show may still have been"
                )
                raise SiteDown(site=self.name, problem=problem, way_out="See whether slurmdbd and its database are up: `sdiag`.")
        return found

    def _memory_s(self) -> float:
        """For how long the queue shows what has ended, with a margin; for ever where there are no accounts to ask."""
        if not self._config:
            text = self._commands.ask("scontrol", "show", "config")
            self._config = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in text.splitlines())}
        if self._config.get("AccountingStorageType", "accounting_storage/none").endswith("/none"):
            return float("inf")
        age = re.match(r"\d+", self._config.get("MinJobAge", ""))
        return 0.8 * int(age[0]) if age else 0.0

    def _sight(self, token: str, row: reading.Row | None, handed: Mapping[str, Any]) -> Sight:
        """What Slurm's row and the run folder come to."""
        if row is None:
            if float(handed.get("doubt") or 0.0) > time.time():
                return Sight(Phase.PENDING, waits_for="Slurm did not answer when it was handed over; in half a minute it is certain")
            return self.folders.sight(token, Word(Phase.NEVER))
        ended = self.folders.ended(token)
        if ended is not None and row.phase is Phase.PENDING:
            self._scancel(token)  # somebody has requeued it by hand; it would find its run folder taken
            return self._told(token, ended, Ending.STOPPED, "it was requeued inside Slurm") if _perhaps_by_slurm(ended) else ended
        if row.phase is not Phase.FINISHED:
            if ended is not None and _perhaps_by_slurm(ended):
                return replace(self.folders.running(token), nodes=row.nodes)  # Slurm says in a moment whether it ended it
            return self.folders.sight(token, Word(row.phase, waits_for=row.waits_for, nodes=row.nodes))
        if ended is not None and _perhaps_by_slurm(ended) and row.ending is not None:
            return replace(self._told(token, ended, *row.ending), nodes=row.nodes)
        return self.folders.sight(token, self._word(token, row))

    def _told(self, token: str, ended: Sight, ending: Ending, reason: str) -> Sight:
        """An end of which Slurm knows better than the supervisors why it came."""
        used = ended.exit or Exit(None, None, "", 0.0, 0.0, 0.0)
        return replace(ended, ending=Ending.CANCELLED if self.folders.cancelled(token) else ending, exit=replace(used, reason=reason))

    def _word(self, token: str, row: reading.Row) -> Word:
        """Of a job that has ended in Slurm and of which the run folder has no word, or not yet."""
        ago = time.monotonic() - self._ended.setdefault(token, time.monotonic())
        began = self.folders.began(token)
        if row.state == "NODE_FAIL" or (not began and row.ending is not None and not row.nodes):
            ago = float("inf")  # no word will come
        ending, reason = row.ending or (None, "")
        if ending is None and not began:
            ending, reason = Ending.UNABLE, f"Slurm could not start it ({row.state}, {row.reason}): {self._engine_said(token)}"
        return Word(Phase.FINISHED, ending, reason, nodes=row.nodes, ago_s=ago)

    def _engine_said(self, token: str) -> str:
        with contextlib.suppress(OSError), (self.folders.of(token) / "engine.log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 500))
            lines = file.read().decode(errors="replace").strip().splitlines()
            return lines[-1] if lines else "it said nothing"
        return "it left no log; see slurmd's log on the node"

    def watch(self, cursor: str) -> Watched:
        """One look at the queue for all attempts, at most every `look_s`; nothing new in between."""
        instance, _, number = cursor.partition(".")
        since = int(number) if instance == self._instance and number.isdigit() else 0
        with self._guard:
            if time.monotonic() - self._looked >= self._options.look_s:
                self._look()
                self._looked = time.monotonic()
            return Watched({token: sight for token, (at, sight) in self._seen.items() if at > since}, f"{self._instance}.{self._number}")

    def _look(self) -> None:
        known = set(self.folders.known())
        for gone in self._seen.keys() - known:
            del self._seen[gone]
        self._ended = {token: at for token, at in self._ended.items() if token in known}
        self._cancelled = {token: at for token, at in self._cancelled.items() if token in known}
        open_ = [token for token in known if token not in self._seen or self._seen[token][1].phase not in _OVER]
        handed = {
            token: told
            for token in open_
            if (told := files.read(self.folders.of(token) / _HANDED)) is not None and not self._under_way(token)
        }
        text = self._commands.ask("squeue", "--noheader", "--states=all", f"--user={self._user}", f"--format={reading.QUEUE_FORMAT}")
        rows, before = reading.rows(text), self._rows
        missing = {token: told for token, told in handed.items() if token not in rows}
        past = self._past(missing) if missing else {}
        self._rows = rows
        for token in open_:
            row = rows.get(token) or past.get(token)
            if token not in handed:
                sight = self.folders.ended(token)  # cancelled before it was handed over
            elif row is not None and row == before.get(token) and self._as_before(token, row):
                continue
            else:
                sight = self._sight(token, row, handed[token])
            if sight is not None and sight.phase is not Phase.NEVER:  # that is for `find` to say
                self._note(token, sight)

    def _as_before(self, token: str, row: reading.Row) -> bool:
        """Whether a look into the run folder could tell nothing new."""
        seen = self._seen.get(token)
        if seen is None or row.phase is Phase.FINISHED or self.folders.cancelled(token):
            return False
        return seen[1].phase is row.phase and (row.phase is Phase.PENDING or seen[1].sandbox is not None)

    def _note(self, token: str, sight: Sight) -> None:
        seen = self._seen.get(token)
        if seen is None or seen[1] != sight:
            self._number += 1
            self._seen[token] = (self._number, sight)

    # --- end ---------------------------------------------------------------------------------------------------------------

    def cancel(self, token: str) -> None:
        folder = self.folders.cancel(token)
        if (folder / _HANDED).exists() and self.folders.ended(token) is None:
            self._scancel(token)

    def _scancel(self, token: str) -> None:
        """SIGTERM to all that it runs, and after Slurm's KillWait SIGKILL; from the queue at once."""
        if time.monotonic() - self._cancelled.get(token, float("-inf")) < _CANCEL_AGAIN_S:
            return
        with contextlib.suppress(SlurmRefused):  # it has ended meanwhile
            self._commands.ask("scancel", f"--user={self._user}", f"--name={token}")
        self._cancelled[token] = time.monotonic()

    def tidy(self, token: str, *, last: bool) -> None:
        self.folders.tidy(token, last=last)

    def stop(self) -> None:
        """Jobs inside Slurm go on."""

    # --- the cluster -------------------------------------------------------------------------------------------------------

    def inventory(self) -> Inventory:
        found = reading.nodes(self._commands.ask("scontrol", "--oneliner", "--detail", "show", "node"))
        partition = self._options.partition
        ours = reading.held_by(self._commands.ask("scontrol", "--oneliner", "--detail", "show", "job"), self.folders.known())
        domains = self._topology()
        nodes, foreign = [], {}
        for node in found:
            if partition and partition not in node.partitions:
                continue
            shown, resource = reading.site_node(node, self._options.gres, domains.get(node.name, {}))
            nodes.append(shown)
            own = ours.get(node.name, reading.Held())
            taken = (
                max(0, node.held.cpus - own.cpus),
                max(0, node.held.memory_mib - own.memory_mib),
                max(0, dict(node.held.gres).get(resource, 0) - dict(own.gres).get(resource, 0)),
            )
            if any(taken):
                foreign[node.name] = taken
        return Inventory(tuple(nodes), foreign)

    def _topology(self) -> dict[str, dict[str, str]]:
        if self._domains is None:
            try:
                text = self._commands.ask("scontrol", "--oneliner", "show", "topology")
            except SlurmRefused:  # no plugin that knows of switches
                text = ""
            self._domains = reading.switches(text, self._options.levels)
        return self._domains

    def drain(self, node: str, *, on: bool) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", node):
            raise NotFound(kind=f"node of site {self.name}", name=node[:80])
        state = ("State=DRAIN", "Reason=drained by the house") if on else ("State=RESUME",)
        try:
            self._commands.ask("scontrol", "update", f"NodeName={node}", *state)
        except SlurmRefused as problem:
            said = str(problem.details.get("said", "")).lower()
            if "invalid node name" in said:
                raise NotFound(kind=f"node of site {self.name}", name=node) from None
            if on or "invalid node state" not in said:  # it was not drained
                raise
        for _ in range(0 if on else _RESUME_LOOKS):  # until slurmctld has heard of the node again
            (shown,) = reading.nodes(self._commands.ask("scontrol", "--oneliner", "--detail", "show", "node", node))
            if shown.open:
                return
            time.sleep(0.1)

    def usage(self, token: str) -> Usage:
        """Cores and memory as the supervisors tell them; energy from the accounts, where Slurm measures it."""
        used = self.folders.usage(token)
        job = (files.read(self.folders.of(token) / _HANDED) or {}).get("job")
        self._memory_s()  # reads the configuration
        if job is None or self._config.get("AcctGatherEnergyType", "none").endswith("none"):
            return used
        command = ("sacct", "--allocations") if self.folders.ended(token) is not None else ("sstat", "--allsteps")
        with contextlib.suppress(SlurmRefused):
            text = self._commands.ask(*command, "--noheader", "--parsable2", f"--jobs={job}", "--format=ConsumedEnergyRaw")
            joules = [float(line) for line in text.splitlines() if re.fullmatch(r"\d+(\.\d+)?", line)]
            return replace(used, energy_wh=round(sum(joules) / 3600, 3)) if any(joules) else used
        return used

    def logs(self, token: str, offset: int, limit: int) -> LogPart:
        return self.folders.logs(token, offset, limit)

    def progress(self, job_id: str, after: int) -> list[dict[str, Any]]:
        return self.folders.progress(job_id, after)

    def outputs(self, token: str, keep: Callable[[IO[bytes]], tuple[str, int]]) -> tuple[Output, ...]:
        return self.folders.outputs(token, keep)


def _perhaps_by_slurm(ended: Sight) -> bool:
    """Whether Slurm may have ended it: it signals the program as well as its supervisor, and the program may die of it first."""
    signalled = ended.exit is not None and (ended.exit.signal in _SIGNALS or ended.exit.code in [128 + number for number in _SIGNALS])
    return ended.ending is Ending.STOPPED or (ended.ending is Ending.EXITED and signalled)
