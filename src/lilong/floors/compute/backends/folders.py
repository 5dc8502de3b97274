"""Run folders: what all drivers share. A folder for each attempt on a disk that the house and the nodes of the site see alike.

<root>/<job>/state/            LILONG_STATE, kept between the attempts
<root>/<job>/<attempt>/in,out  LILONG_IN, LILONG_OUT
<root>/<job>/<attempt>/…       the run folder (see ..supervisor)
<root>/.open/<token>           attempts that are not tidied yet: all that a site has to know of after a crash
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from lilong.floors.compute.backends import logs
from lilong.floors.compute.backends.spares import SPEC, Spares
from lilong.floors.compute.contract import AlreadySubmitted, Ending, Exit, LogPart, Output, Phase, Sight, Task, Usage
from lilong.floors.compute.supervisor import files
from lilong.ground import intake, sandbox, seams
from lilong.ground.blobs import Blobs, write_durably
from lilong.ground.errors import BadInput

LOG_BYTES = 32 << 20
_TOKEN = re.compile(r"(?P<job>[a-z0-9][a-z0-9-]{0,60})\.(?P<attempt>[1-9][0-9]{0,5})")
_PROGRESS_BYTES = 64 << 20
_LATE_S = 15.0
"""A word that a node has written is seen by other machines this much later at most (attribute caches of network file systems)."""
_NETWORK_ENVIRONMENT = (
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_DEFAULT_TIMEOUT",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Word:
    """What an engine says of an attempt.

    `phase`: NEVER only if it does not know the attempt and would; LOST if it does not know it and might have forgotten; FINISHED if it
    was there and is over. `ending`: why, where the engine itself ended it. `ago_s`: how long ago it ended.
    """

    phase: Phase
    ending: Ending | None = None
    reason: str = ""
    waits_for: str | None = None
    nodes: tuple[str, ...] = ()
    ago_s: float = float("inf")


class Folders:
    def __init__(self, root: Path, blobs: Blobs, *, log_bytes: int = LOG_BYTES) -> None:
        self.root = root
        self._blobs = blobs
        self._log_bytes = log_bytes
        self._spares: Spares | None = None
        (root / ".open").mkdir(parents=True, exist_ok=True)

    def reuse(self) -> None:
        """Keep what attempts leave empty for others: where no walls are promised between them."""
        self._spares = Spares(self.root / ".spare")

    def of(self, token: str) -> Path:
        """The run folder of an attempt. Raises BadInput: a token that is none never becomes a path."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise BadInput(field="token", problem=f"{token[:100]!r} is not a job and an attempt", way_out="Give <job>.<attempt>.")
        return self.root / match["job"] / match["attempt"]

    def known(self) -> list[str]:
        """All attempts that were claimed and are not tidied."""
        return sorted(path.name for path in (self.root / ".open").iterdir() if _TOKEN.fullmatch(path.name))

    # --- before the start --------------------------------------------------------------------------------------------------

    @contextmanager
    def claimed(self, token: str) -> Iterator[int]:
        """Hold the attempt's lock while it is laid and handed over. Raises AlreadySubmitted if it ever began or is being laid.

        The lock's descriptor may be handed on: it stays held until its last holder ends.
        """
        folder = self.of(token)
        folder.mkdir(parents=True, exist_ok=True)
        lock = _own(folder)
        if lock is None:
            raise AlreadySubmitted(token=token)
        try:
            with contextlib.suppress(FileExistsError):
                os.link(folder / "lock", self.root / ".open" / token)  # a further name is many times cheaper than a file
            if self.began(token):
                raise AlreadySubmitted(token=token)
            yield lock
        finally:
            os.close(lock)

    def began(self, token: str) -> bool:
        """Whether a supervisor has ever taken it up (or the house has left word of it)."""
        folder = self.of(token)
        if (folder / "running.json").exists() or (folder / "exit.json").exists():
            return True
        ranks = folder / "tasks"
        return ranks.is_dir() and any((rank / "running.json").exists() for rank in ranks.iterdir())

    def lay(self, token: str, task: Task, *, copy: bool = True, **terms: Any) -> Path:
        """Inputs, folders and the order, under `claimed`. `copy`: inputs are copies; else further names of the blobs themselves.

        `terms` of the order: `level` (the sandbox's, if it is settled) or `floor` (the least: the node finds its best), `events`,
        `alive`, `alive_s`, `vendors` {class: vendor}, `accelerators`, `virtual`, `control_groups`, `passed` (what the program
        has of its supervisor's environment). Secrets are not part of it.
        """
        folder = self.of(token)
        self._lay_inputs(folder / "in", task, share=not copy)
        for path in (folder / "out", folder / "tmp"):
            if self._spares is not None and not path.exists():
                self._spares.take(path)
        for path in (folder / "out", folder.parent / "state"):
            path.mkdir(exist_ok=True)
        told = {name: value for name, value in _plain(task).items() if name not in ("inputs", "spec", "secrets")}
        network = {key: value for key in _NETWORK_ENVIRONMENT if (value := os.environ.get(key)) and "@" not in value}
        order = {"token": token, "task": told, "log_bytes": self._log_bytes, "network_environment": network, **terms}
        files.say(folder / "start.json", order, durable=False, mode=0o600)
        return folder

    def lay_secrets(self, token: str, task: Task) -> None:
        """For sites whose nodes cannot be handed a descriptor: a private file for each rank, which its supervisor removes as it opens it."""
        folder = self.of(token)
        for own in [folder] if task.tasks == 1 else [folder / "tasks" / str(rank) for rank in range(task.tasks)]:
            own.mkdir(parents=True, exist_ok=True)
            if task.secrets:
                files.say(own / "secrets", dict(task.secrets), durable=False, mode=0o600)

    def _lay_inputs(self, folder: Path, task: Task, *, share: bool) -> None:
        if folder.exists():
            remove(folder)  # what an earlier, interrupted submit of this very attempt left
        if self._spares is None or not self._spares.take(folder):
            folder.mkdir()
        for name, content in task.inputs.items():
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", name) or name == SPEC:
                raise BadInput(
                    field="inputs", problem=f"{name[:100]!r} is not a folder's name", way_out="Use letters, digits, '-', '_' and '.'."
                )
            for path, digest in content.items():
                self._blobs.place(digest, folder / name / intake.path(path), share=share)
        spec = os.open(folder / SPEC, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(spec, "w", encoding="utf-8") as file:
            file.write(json.dumps(task.spec, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
            file.truncate()  # afterwards: what is cut to nothing first gives its block back, and asks for it again

    # --- cancelling --------------------------------------------------------------------------------------------------------

    def cancel(self, token: str) -> Path:
        """Lay the mark down: it sticks, even if it overtakes the submit. Supervisors that run see it within a quarter of a second."""
        folder = self.of(token)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "cancel").exists():
            write_durably(folder / "cancel", b"")
        return folder

    def cancelled(self, token: str) -> bool:
        return (self.of(token) / "cancel").exists()

    def leave_word(self, token: str, ending: Ending, reason: str = "") -> None:
        """How an attempt ended that no supervisor took up, or none can tell of."""
        said = {"ending": ending.value, "code": None, "signal": None, "problem": reason, "wall_s": 0.0, "cpu_s": 0.0, "max_rss_bytes": 0}
        files.say(self.of(token) / "exit.json", {**said, "sandbox": None, "at": time.time()})

    # --- looking -----------------------------------------------------------------------------------------------------------

    def ended(self, token: str) -> Sight | None:
        """How it ended, if all of its supervisors have left word."""
        folder = self.of(token)
        said = files.read(folder / "exit.json")
        if said:
            return _finished([said])
        ranks = self._ranks(folder)
        words = [files.read(rank / "exit.json") for rank in ranks]
        return _finished([word for word in words if word]) if ranks and all(words) else None

    def running(self, token: str) -> Sight:
        """What there is to say of an attempt that runs."""
        folder = self.of(token)
        first = next(iter(self._ranks(folder)), folder)
        said = files.read(first / "running.json") or {}
        return Sight(Phase.RUNNING, said.get("sandbox"))

    def sight(self, token: str, word: Word) -> Sight:
        """What the files and the engine's word come to. The files are believed first: a supervisor knows what it did.

        An end that the engine tells of and no file does is LOST if a supervisor had begun: unless the engine itself says why.
        """
        ended = self.ended(token)
        if ended is not None:
            return Sight(Phase.FINISHED, ended.sandbox, None, ended.ending, ended.exit, nodes=word.nodes)
        if word.phase is Phase.PENDING and not self.began(token):
            return Sight(Phase.PENDING, waits_for=word.waits_for)
        if word.phase in (Phase.PENDING, Phase.RUNNING) or word.ago_s < _LATE_S:
            # an engine that starts a job before its supervisor is up says RUNNING; one that takes it back into its queue, PENDING
            running = self.running(token)
            return Sight(Phase.RUNNING, running.sandbox, nodes=word.nodes)
        if word.phase is Phase.NEVER and not self.began(token):
            return Sight(Phase.NEVER)
        partly = self._partly(token)
        if word.ending is not None:
            told = Exit(None, None, word.reason, *(partly if partly else (0.0, 0.0, 0.0)))
            ending = Ending.CANCELLED if self.cancelled(token) else word.ending
            return Sight(Phase.FINISHED, self.running(token).sandbox, None, ending, told, nodes=word.nodes)
        if self.cancelled(token) and not self.began(token):
            return Sight(Phase.FINISHED, ending=Ending.CANCELLED, exit=Exit(None, None, word.reason, 0.0, 0.0, 0.0))
        return Sight(Phase.LOST, self.running(token).sandbox, nodes=word.nodes)

    def _ranks(self, folder: Path) -> list[Path]:
        """The folders of the ranks that have supervisors of their own, in the ranks' order."""
        order = files.read(folder / "start.json") if (folder / "tasks").is_dir() else None
        return [folder / "tasks" / str(rank) for rank in range(int(order["task"]["tasks"]))] if order else []

    def _partly(self, token: str) -> tuple[float, float, float] | None:
        usage = self.usage(token)
        return (0.0, usage.cpu_s or 0.0, usage.max_rss_mib or 0.0) if usage.cpu_s is not None else None

    def usage(self, token: str) -> Usage:
        """What the supervisors last said: some seconds old while it runs; what it came to in all once it has ended."""
        ended = self.ended(token)
        if ended is not None and ended.exit is not None:
            return Usage(ended.exit.cpu_s, ended.exit.max_rss_mib)
        folder = self.of(token)
        said = [word for own in self._ranks(folder) or [folder] if (word := files.read(own / "usage.json"))]
        if not said:
            return Usage()
        return Usage(round(sum(word["cpu_s"] for word in said), 3), round(sum(word["max_rss_bytes"] for word in said) / (1 << 20), 1))

    def logs(self, token: str, offset: int, limit: int) -> LogPart:
        """Of a gang with a supervisor for each rank: their logs in one, line by line as they are read, each line with its [rank]."""
        folder = self.of(token)
        ranks = self._ranks(folder)
        if ranks:
            logs.merge(folder, ranks, self._log_bytes * len(ranks), done=self.ended(token) is not None)
        return logs.part(folder / "log", offset, limit)

    def progress(self, job_id: str, after: int) -> list[dict[str, Any]]:
        state = self.of(f"{_part(job_id)}.1").parent / "state"
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
        folder = self.of(token) / "out"
        found = []
        for left in sandbox.collect(folder):
            with sandbox.opened(folder, left.path) as file:
                found.append(Output(str(left.path), *keep(file)))
        return tuple(found)

    # --- after the end -----------------------------------------------------------------------------------------------------

    def tidy(self, token: str, *, last: bool) -> list[Path]:
        """Remove what a settled attempt no longer needs; with `last`, of all attempts of its job. Answers with their folders."""
        folder = self.of(token)
        # of an earlier attempt something is left where the server was killed between its end and this
        attempts = [path for path in folder.parent.iterdir() if path.name.isdigit()] if last and folder.parent.is_dir() else [folder]
        for attempt in attempts:
            own = f"{folder.parent.name}.{attempt.name}"
            for path in (attempt, *self._ranks(attempt)):
                for name in ("in", "out", "tmp", "socket", "secrets"):
                    if path is not attempt or self._spares is None or not self._spares.give(path / name, own):
                        remove(path / name)
            (self.root / ".open" / own).unlink(missing_ok=True)
        state = folder.parent / "state"
        for entry in list(state.iterdir()) if last and state.is_dir() else []:
            if entry.name != "progress.jsonl":
                remove(entry)
        return attempts


def remove(path: Path) -> None:
    """Remove what a job left, however deep, and whatever modes it set. Links are removed, not followed."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        path.unlink(missing_ok=True)
    else:
        with contextlib.suppress(OSError, RecursionError):
            shutil.rmtree(path)
            return
        if seams.run(["rm", "-rf", "--", str(path)]).returncode != 0:
            # Only what a job could write can be in the way, and no blob has a second name there.
            seams.run(["chmod", "-R", "u+rwX", "--", str(path)])
            seams.run(["rm", "-rf", "--", str(path)])


def lock(folder: Path, how: int = fcntl.LOCK_SH) -> int | None:
    """The folder's lock, or None while a supervisor (or a submit) holds it. Those who only look share it with one another."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def held(folder: Path) -> bool:
    handle = lock(folder)
    if handle is not None:
        os.close(handle)
    return handle is None


def _own(folder: Path) -> int | None:
    """The folder's lock for oneself alone; None if it is held for longer than a look takes."""
    for _ in range(20):
        handle = lock(folder, fcntl.LOCK_EX)
        if handle is not None or (folder / "running.json").exists():
            return handle
        time.sleep(0.05)
    return None


def _plain(task: Task) -> dict[str, Any]:
    told = {name: getattr(task, name) for name in Task.__dataclass_fields__}
    return {**told, "argv": list(task.argv), "env": dict(task.env), "placed": [asdict(placed) for placed in task.placed]}


def _part(job_id: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", job_id):
        raise BadInput(field="job", problem=f"{job_id[:100]!r} is not a job's id", way_out="Give the id as the house printed it.")
    return job_id


def _finished(words: list[Mapping[str, Any]]) -> Sight:
    """One ending of one or many ranks: that of the first which failed, if any did."""
    told = sorted((word for word in words if word["ending"] != "gang"), key=lambda word: float(word["at"])) or list(words)
    failed = [word for word in told if word["ending"] != "exited" or word["code"] != 0]
    said = (failed or told)[0]
    ending = Ending.STOPPED if said["ending"] == "gang" else Ending(said["ending"])
    told_exit = Exit(
        code=said["code"],
        signal=said["signal"],
        reason=said["problem"],
        wall_s=max(word["wall_s"] for word in words),
        cpu_s=round(sum(word["cpu_s"] for word in words), 3),
        max_rss_mib=round(sum(word["max_rss_bytes"] for word in words) / (1 << 20), 1),
    )
    return Sight(Phase.FINISHED, said["sandbox"], None, ending, told_exit)
