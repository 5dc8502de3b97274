"""What other floors may know of compute: jobs, and how to ask for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import IO, Any, ClassVar, Protocol

from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Conflict, Forbidden, NotFound, Refused, Unavailable

_EVERY_WORD_KNOWN = {"extra": "forbid"}  # of what comes over HTTP: a misspelt field is refused, not passed over
MOST_DEVICES = 62  # of one node that decisions can tell apart
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


class ReasonCode(StrEnum):
    """Why a job waits. The order is total: of several reasons the first one here is told."""

    HELD = "held"  # somebody holds it
    AFTER = "after"  # for other jobs to end
    PAUSED = "paused"  # an attempt failed; the next begins after a pause
    ARRAY_LIMIT = "array-limit"  # as many of its array run as may at once
    IMPOSSIBLE = "impossible"  # it would not fit if nothing else ran: what it needs is gone since it was taken
    QUOTA = "quota"  # its tenant, or one above, holds all that it may
    SITE_DOWN = "site-down"  # no site that could run it answers
    MAINTENANCE = "maintenance"  # it would run into maintenance
    NO_ROOM = "no-room"  # it goes first; what it needs is held by others
    RESERVED = "reserved"  # a start is reserved for it
    WOULD_DELAY = "would-delay"  # it cannot start without delaying a reserved start
    BEHIND = "behind"  # others go first
    NOT_LOOKED_AT = "not-looked-at"  # it stands further back than decisions look
    ENGINE = "engine"  # handed to an engine, in whose own queue it waits


FINISHED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST})


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to lay a job out: a gang of equal tasks, all or nothing."""

    __pydantic_config__ = _EVERY_WORD_KNOWN

    accelerator: str = ""  # class of device, such as h20; "": cores only
    devices: int = 0  # of each task
    milli: int = 1000  # thousandths of each device; less than 1000 only with one device
    tasks: int = 1  # the most that are of use
    least_tasks: int = 0  # the fewest that will do; 0: as many as `tasks`
    cpus: int = 0  # of each task; 0: as the job says
    memory_mib: int = 0  # of each task; 0: as the job says


@dataclass(frozen=True, slots=True)
class JobAsk:
    """A job that is wanted. `key`: asking twice with one key is one job; with another content it is a Conflict."""

    __pydantic_config__ = _EVERY_WORD_KNOWN

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
    priority: int = 0  # larger goes first; above 0 needs the permission house.manage
    network: bool = False  # outgoing network; needs the permission jobs.network
    service: bool = False  # runs until it is cancelled; ready when GET /health on `<state>/service.sock` answers 200
    key: str = ""
    title: str = ""  # for people: what it is for
    any_of: tuple[Layout, ...] = ()  # alternatives; none: one task of `cpus` and `memory_mib`
    sites: tuple[str, ...] = ()  # only these; none: any
    within: str = ""  # level of the topology in one domain of which all tasks must lie; "": one site
    near: str = ""  # a narrower level that is tried first
    data_at: str = ""  # the site where its data lies: preferred to others
    family: str = ""  # of programs whose speed on each accelerator class is known alike
    preemptible: bool = False  # it may be ended for others, and begins again from its last checkpoint
    checkpoint_s: int = 0  # seconds between two checkpoints; 0: it makes none
    deadline: str | None = None  # RFC 3339; jobs of one tenant and priority go by it, the earliest first
    after: tuple[str, ...] = ()  # jobs that must have succeeded before it starts
    after_any: tuple[str, ...] = ()  # jobs that must have ended, however
    hold: bool = False  # it waits until it is released
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)  # name in the program -> name of the organisation's secret
    image: str = ""  # container image, for sites that run containers
    publish: str = ""  # where its outputs become a revision: models/NAMESPACE/NAME@BRANCH or datasets/…
    revisions: Mapping[str, str] = field(default_factory=dict)  # folder under LILONG_IN -> revision of the hub, written as in `publish`
    array: str = ""  # one job for each of these numbers, such as 0-9,20 or 0-99%4 (four at once); told by LILONG_ARRAY_INDEX
    labels: Mapping[str, str] = field(default_factory=dict)  # for people and programs to find it by


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
class Placed:
    """Where one task of a gang runs. `devices`: their numbers on the node; empty where the engine chooses."""

    node: str
    devices: tuple[int, ...] = ()
    milli: int = 1000


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
    reason: ReasonCode | None = None  # the same as a code
    array: str | None = None  # the array that it is part of, and
    index: int | None = None  # its place there
    held: bool = False
    site: str | None = None  # of the last attempt
    placement: tuple[Placed, ...] = ()  # of the last attempt, task by task
    promised_at: str | None = None  # a start that the last decision reserved for it
    published: str | None = None  # the revision that its outputs became: models/NAMESPACE/NAME@COMMIT
    unpublished: str | None = None  # why they became none

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


@dataclass(frozen=True, slots=True)
class WorkMeasured:
    """A floor tells how much work a job of its own has done, so that the house learns how fast such jobs run on each class of device.

    `units`: of a size that is the same for all jobs of the family (their `family`, or else their kind), such as bytes of weights times tokens.
    """

    kind: ClassVar[str] = "compute.work-measured"
    subject: str  # the job's id; it has ended
    organisation: str
    units: float
    source: str  # digest of what tells so: a report, a certificate


@dataclass(frozen=True, slots=True)
class SettingsApplied:
    kind: ClassVar[str] = "compute.settings-applied"
    subject: str  # the version
    digest: str  # of the document


@dataclass(frozen=True, slots=True)
class NodeDrained:
    """A node takes no new work, or again some."""

    kind: ClassVar[str] = "compute.node-drained"
    subject: str  # site/node
    drained: bool


@dataclass(frozen=True, slots=True)
class SecretChanged:
    kind: ClassVar[str] = "compute.secret-changed"
    subject: str  # organisation/name
    organisation: str
    change: str  # set | removed


class JobNotFound(NotFound):
    """There is no job '{name}' that you may see."""


class JobImpossible(Refused):
    """No site of this house could ever run this job: {reasons}. {way_out}"""


class OverBudget(Refused):
    """{reason} Ask for less, or ask an operator for a larger allowance."""


class UseRefused(Refused):
    """{reason}"""


class NeedFailed(Refused):
    """The job {name}, which must have succeeded before this one starts, is {state}. Leave it out of 'after', or name it in 'after_any'."""


class KeyReused(Conflict):
    """A job with the key '{key}' exists already and asks for something else."""


class NetworkForbidden(Forbidden):
    """A job with network access needs the permission 'jobs.network', which {actor} does not have in {scope}. Ask an owner of {scope}."""


class PriorityForbidden(Forbidden):
    """A priority above 0 goes before everybody's jobs, and needs the permission 'house.manage', which {actor} does not have. Leave it out, give those of your jobs that may wait one below 0, or ask who runs the house."""


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

    def published(self, tx: Tx, job_id: str, revision: str | None, problem: str | None = None) -> bool:
        """Note what became of a job's outputs, once; False if that was noted before."""

    def progress(self, job_id: str, after: int = 0) -> list[dict[str, Any]]:
        """The job's progress lines (see ground.work.Workspace.progress) from line number `after` on."""

    def service(self, job_id: str) -> str | None:
        """The address of a service job that is ready now."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A revision of the hub, by its commit. `files`: path -> digest of a blob that the asker may read."""

    reference: str  # models/NAMESPACE/NAME@COMMIT
    files: Mapping[str, str]


class Shelf(Protocol):
    """Where jobs take their inputs from and put their outputs; the floor that keeps repositories provides it."""

    def pinned(self, tx: Tx, actor: Actor, reference: str) -> Pinned:
        """`reference` as in JobAsk.revisions. Raises BadInput; NotFound also for what the actor may not see."""

    def check_target(self, tx: Tx, actor: Actor, reference: str) -> str:
        """That the actor may write there; the reference in full. Raises BadInput, Forbidden, NotFound."""


# --- what a site promises (see backends/; conformance.py is the suite that each of them passes) ----------------------------


class Mode(StrEnum):
    OWNED = "owned"  # the house chooses nodes and devices
    DELEGATED = "delegated"  # the house admits and chooses the site; the engine places


class Phase(StrEnum):
    NEVER = "never"  # no attempt with this token was started, and none will start by itself
    PENDING = "pending"  # the engine has it in a queue of its own
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
    STOPPED = "stopped"  # by the house that closed, the machine that went down, or the engine that took its place back: not the job's doing
    UNABLE = "unable"  # the program could not be started at all


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt as a site starts it: `tasks` equal processes, each with the resources told here.

    With more than one, each learns RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, so that torchrun and MPI programs find
    one another. `placed`: where each goes; empty where the engine places.
    """

    argv: tuple[str, ...]
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # folder -> {path: blob digest}
    spec: Mapping[str, Any] = field(default_factory=dict)
    cpus: int = 1
    memory_mib: int = 1024
    timeout_s: int = 3600
    network: bool = False
    service: bool = False
    tasks: int = 1
    accelerator: str = ""
    devices: int = 0
    milli: int = 1000
    placed: tuple[Placed, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)  # name -> value: handed over by file descriptor, never by argv or environment
    image: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a site knows of an attempt. Phases only move forward."""

    phase: Phase
    sandbox: str | None = None
    address: str | None = None  # of a service that has answered its probe
    ending: Ending | None = None
    exit: Exit | None = None
    waits_for: str | None = None  # what the engine says of a pending attempt
    nodes: tuple[str, ...] = ()  # where an engine that places has put it


@dataclass(frozen=True, slots=True)
class Capacity:
    cpus: int
    memory_mib: int

    def __str__(self) -> str:
        return f"{self.cpus} cores and {self.memory_mib} MiB"


@dataclass(frozen=True, slots=True)
class SiteNode:
    """One node as its site tells of it, when nothing runs there."""

    name: str
    cpus: int
    memory_mib: int
    accelerator: str = ""  # class of its devices; "": it has none
    devices: int = 0
    domains: Mapping[str, str] = field(default_factory=dict)  # level of the topology below the site -> domain, such as {"rack": "r7"}
    open: bool = True  # takes new work


@dataclass(frozen=True, slots=True)
class Inventory:
    nodes: tuple[SiteNode, ...]
    foreign: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)  # node -> cores, MiB, devices that others than the house hold


@dataclass(frozen=True, slots=True)
class Watched:
    """What has changed since a cursor; at least once, and each attempt's phases only forward."""

    sights: Mapping[str, Sight]
    cursor: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt has used so far; None where the site cannot tell."""

    cpu_s: float | None = None
    max_rss_mib: float | None = None
    energy_wh: float | None = None


@dataclass(frozen=True, slots=True)
class LogPart:
    """Bytes of a log from `offset` to `next`, read as UTF-8; a multi-byte character is never cut in two.

    Where bytes are not kept any more, a line in their place says how many.
    """

    offset: int
    next: int
    text: str


class SiteDown(Unavailable):
    """The site '{site}' does not answer: {problem}. {way_out}"""


class Site(Protocol):
    """A place that runs attempts. `token` is the job's id, a dot, and the attempt's number; an attempt starts at most once.

    Every method may raise SiteDown, which says nothing about any attempt.
    """

    name: str
    mode: Mode

    def inventory(self) -> Inventory: ...

    def submit(self, token: str, task: Task) -> None:
        """Start it, or hand it to the engine. Raises AlreadySubmitted. If the caller dies at any moment, `find` tells what came of it."""

    def find(self, token: str) -> Sight:
        """The certain answer, for after a crash. NEVER only where it is known that the engine's memory covers the attempt."""

    def watch(self, cursor: str) -> Watched:
        """What may have changed since `cursor`; "" is the beginning: everything that the site still knows of."""

    def cancel(self, token: str) -> None:
        """Idempotent; sticks even if it overtakes `submit`. All descendants end within two seconds of the engine's hearing of it."""

    def logs(self, token: str, offset: int, limit: int) -> LogPart:
        """From byte `offset` on; a negative one counts from the end."""

    def usage(self, token: str) -> Usage: ...

    def drain(self, node: str, *, on: bool) -> None:
        """Let a node take no new work (or again some). What runs there goes on. Raises NotFound."""

    def progress(self, job_id: str, after: int) -> list[dict[str, Any]]:
        """The progress lines of all attempts of a job, from line number `after` on."""

    def outputs(self, token: str, keep: Callable[[IO[bytes]], tuple[str, int]]) -> tuple[Output, ...]:
        """Hand each file of LILONG_OUT to `keep`, which answers with its digest and size. Raises OutputRefused."""

    def tidy(self, token: str, *, last: bool) -> None:
        """Drop what is not needed once an attempt has been settled; with `last`, what was kept between attempts too."""

    def stop(self) -> None:
        """The house closes. A site of the house's own ends every attempt with Ending.STOPPED and waits for it; engines go on."""
