"""What other floors may know of compute: jobs, and how to ask for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import IO, Any, ClassVar, Protocol

from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Conflict, Forbidden, NotFound, Refused

PYTHON = "python"  # as argv[0]: the interpreter that runs the house, with the house's packages


class JobState(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    READY = "ready"  # a service that answers its probe
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # the site no longer knows what became of it


FINISHED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST})


@dataclass(frozen=True, slots=True)
class JobAsk:
    """A job that is wanted. `key`: asking twice with one key is one job; with another content it is a Conflict."""

    kind: str  # floor and verb, such as corpus.build
    organisation: str
    argv: tuple[str, ...]
    project: str = "default"
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # folder under LILONG_IN -> {path: blob digest}
    spec: Mapping[str, Any] = field(default_factory=dict)  # LILONG_IN/spec.json
    cpus: int = 1
    memory_mib: int = 1024
    timeout_s: int = 3600
    attempts: int = 1  # how often it may be started in all
    priority: int = 0  # larger goes first
    network: bool = False  # outgoing network; needs the permission jobs.network
    service: bool = False  # runs until it is cancelled; ready when GET /health on `<state>/service.sock` answers 200
    key: str = ""
    title: str = ""  # for people: what it is for


@dataclass(frozen=True, slots=True)
class Output:
    path: str  # relative to LILONG_OUT
    digest: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """How the last attempt ended. `reason` is for people; `code` None when a signal or the site ended it."""

    code: int | None
    signal: int | None
    reason: str
    wall_s: float
    cpu_s: float
    max_rss_mib: float


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    ask: JobAsk
    state: JobState
    attempt: int  # 0 before the first start
    submitted_by: str
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    exit: Exit | None = None
    sandbox: str | None = None  # the level that was really in force
    outputs: tuple[Output, ...] = ()
    address: str | None = None  # of a ready service: unix:/path or host:port
    waits_for: str | None = None  # why it is queued

    def output(self, path: str) -> Output:
        """Raises NotFound."""
        for output in self.outputs:
            if output.path == path:
                return output
        raise NotFound(kind=f"output of job {self.id}", name=path)


def told(job: Job) -> dict[str, Any]:
    """What a statement about a job's result should say of the job: how it was run, on what, at which isolation."""
    shown: dict[str, Any] = {
        "id": job.id,
        "kind": job.ask.kind,
        "argv": list(job.ask.argv),
        "inputs": {name: dict(files) for name, files in job.ask.inputs.items()},
        "spec": dict(job.ask.spec),
        "attempt": job.attempt,
        "sandbox": job.sandbox,
        "network": job.ask.network,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "exit": asdict(job.exit) if job.exit else None,
        "outputs": {output.path: output.digest for output in job.outputs},
    }
    return shown


@dataclass(frozen=True, slots=True)
class JobSubmitted:
    kind: ClassVar[str] = "compute.job-submitted"
    subject: str  # the job's id
    organisation: str
    job_kind: str


@dataclass(frozen=True, slots=True)
class JobStarted:
    kind: ClassVar[str] = "compute.job-started"
    subject: str
    organisation: str
    job_kind: str
    attempt: int
    sandbox: str


@dataclass(frozen=True, slots=True)
class JobReady:
    kind: ClassVar[str] = "compute.job-ready"
    subject: str
    organisation: str
    job_kind: str
    address: str


@dataclass(frozen=True, slots=True)
class JobFinished:
    """Follows only after the outputs are durable blobs."""

    kind: ClassVar[str] = "compute.job-finished"
    subject: str
    organisation: str
    job_kind: str
    state: str


class JobNotFound(NotFound):
    """There is no job '{name}' that you may see."""


class JobTooLarge(Refused):
    """The job asks for {asked}, and the largest site has {largest}. Ask for less, or add a larger site."""


class KeyReused(Conflict):
    """A job with the key '{key}' exists already and asks for something else."""


class NetworkForbidden(Forbidden):
    """A job with network access needs the permission 'jobs.network', which {actor} does not have in {scope}. Ask an owner of {scope}."""


class AlreadySubmitted(Conflict):
    """The attempt '{token}' was handed to the site before; it is not started twice."""


class SandboxTooWeak(Refused):
    """This house runs jobs at the sandbox level '{level}', which does not keep a program that you bring away from the house's own files. {way_out}"""


class Compute(Protocol):
    def submit(self, tx: Tx, actor: Actor, ask: JobAsk) -> Job:
        """Queue a job in the caller's transaction, so that the caller's own row and the job exist together or not at all."""

    def job(self, tx: Tx, actor: Actor, job_id: str) -> Job:
        """Raises JobNotFound."""

    def cancel(self, tx: Tx, actor: Actor, job_id: str) -> Job:
        """Ask for its end; idempotent. All of its descendants end within seconds."""

    def progress(self, job_id: str, after: int = 0) -> list[dict[str, Any]]:
        """The job's progress lines (see ground.work.Workspace.progress) from line number `after` on."""

    def service(self, job_id: str) -> str | None:
        """The address of a service job that is ready now."""


# --- what a site promises (see backends/; conformance.py is the suite that each of them passes) ----------------------------


class Phase(StrEnum):
    NEVER = "never"  # no attempt with this token was started, and none will start by itself
    RUNNING = "running"
    FINISHED = "finished"
    LOST = "lost"  # it was started, and is not running any more, and left no word of how it ended


class Ending(StrEnum):
    EXITED = "exited"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    MEMORY = "memory"
    PROCESSES = "processes"
    DISK = "disk"
    STOPPED = "stopped"  # by the house that closed, or the machine that went down: not the job's doing
    UNABLE = "unable"  # the program could not be started at all


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt as a site starts it."""

    argv: tuple[str, ...]
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # folder -> {path: blob digest}
    spec: Mapping[str, Any] = field(default_factory=dict)
    cpus: int = 1
    memory_mib: int = 1024
    timeout_s: int = 3600
    network: bool = False
    service: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """What a site knows of an attempt. Phases only move forward."""

    phase: Phase
    sandbox: str | None = None
    address: str | None = None  # of a service that has answered its probe
    ending: Ending | None = None
    exit: Exit | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    cpus: int
    memory_mib: int

    def __str__(self) -> str:
        return f"{self.cpus} cores and {self.memory_mib} MiB"


@dataclass(frozen=True, slots=True)
class LogPart:
    """Bytes of a log from `offset` to `next`, read as UTF-8; a multi-byte character is never cut in two."""

    offset: int
    next: int
    text: str


class Site(Protocol):
    """A place that runs attempts. `token` is the job's id, a dot, and the attempt's number; an attempt starts at most once."""

    name: str

    def capacity(self) -> Capacity: ...

    def submit(self, token: str, task: Task) -> None:
        """Start it. Raises AlreadySubmitted. If the caller dies at any moment, `find` tells what came of it."""

    def find(self, token: str) -> Sight: ...

    def cancel(self, token: str) -> None:
        """Idempotent; sticks even if it overtakes `submit`. All descendants end within two seconds."""

    def logs(self, token: str, offset: int, limit: int) -> LogPart:
        """From byte `offset` on; a negative one counts from the end."""

    def progress(self, job_id: str, after: int) -> list[dict[str, Any]]:
        """The progress lines of all attempts of a job, from line number `after` on."""

    def outputs(self, token: str, keep: Callable[[IO[bytes]], tuple[str, int]]) -> tuple[Output, ...]:
        """Hand each file of LILONG_OUT to `keep`, which answers with its digest and size. Raises OutputRefused."""

    def tidy(self, token: str, *, last: bool) -> None:
        """Drop what is not needed once an attempt has been settled; with `last`, what was kept between attempts too."""

    def stop(self) -> None:
        """End every attempt with Ending.STOPPED; waits for it."""
