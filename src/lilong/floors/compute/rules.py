"""Which jobs start now and why the others wait; what becomes of a job whose attempt has ended. Pure."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from lilong.floors.compute.contract import PYTHON, Capacity, Ending, JobAsk, JobState, Phase, Sight
from lilong.ground.errors import BadInput, Refused

FIRST_PAUSE_S = 2
LONGEST_PAUSE_S = 300
_WILL_NOT_CHANGE = {BadInput.exit_code, Refused.exit_code}  # a program that ends so says that what it was given cannot be used


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job."""

    id: str
    place: int
    priority: int
    cpus: int
    memory_mib: int
    service: bool
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """A job that has been given its resources and has not ended."""

    id: str
    cpus: int
    memory_mib: int
    service: bool
    title: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    starts: tuple[str, ...]
    reasons: Mapping[str, str]  # of every job that does not start


def decide(waiting: Sequence[Waiting], holding: Sequence[Holding], capacity: Capacity, now: datetime) -> Plan:
    """Larger priority first, then the order of submission; nobody is overtaken by a job that comes after it in that order.

    Two exceptions, for what would else wait for nothing: a job that pauses after a failed attempt holds nobody up, and neither
    does one that waits for memory that services hold, since a service ends only when somebody ends it.

    Memory is held by every running job. Cores are shared by time: services, idle for most of it, hold theirs against other
    services only, and the rest against the rest.
    """
    running = list(holding)
    starts: list[str] = []
    reasons: dict[str, str] = {}
    head: str | None = None
    for job in sorted(waiting, key=lambda job: (-job.priority, job.place)):
        if job.not_before is not None and job.not_before > now:
            reasons[job.id] = f"an attempt failed; the next one begins at {job.not_before:%H:%M:%S} UTC"
        elif head is not None:
            reasons[job.id] = f"{head} goes first"
        elif lacking := _lacking(job, running, capacity):
            reasons[job.id] = lacking
            if not _held_by_services_alone(job, running, capacity):
                head = job.id
        else:
            starts.append(job.id)
            running.append(Holding(job.id, job.cpus, job.memory_mib, job.service))
    return Plan(tuple(starts), reasons)


def _lacking(job: Waiting, running: Sequence[Holding], capacity: Capacity) -> str | None:
    """What the job needs and cannot have now, and who has it; None if it fits."""
    memory = capacity.memory_mib - sum(other.memory_mib for other in running)
    if job.memory_mib > memory:
        return f"needs {job.memory_mib} MiB of memory, {max(memory, 0)} are free; {_holders(running)}"
    beside = [other for other in running if other.service == job.service]
    cpus = capacity.cpus - sum(other.cpus for other in beside)
    if job.cpus > cpus:
        return f"needs {job.cpus} cores, {max(cpus, 0)} are free; {_holders(beside)}"
    return None


def _holders(running: Sequence[Holding]) -> str:
    if not running:
        return "there is no more at this site"
    named = [f"{other.id} ({other.title})" if other.title else other.id for other in running[:3]]
    more = f" and {len(running) - 3} more" if len(running) > 3 else ""
    return "held by " + ", ".join(named) + more


def _held_by_services_alone(job: Waiting, running: Sequence[Holding], capacity: Capacity) -> bool:
    """Whether the job would not fit even after every job that ends by itself has ended."""
    return _lacking(job, [other for other in running if other.service], capacity) is not None


# --- after an attempt ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    state: JobState
    reason: str = ""
    pause: timedelta | None = None  # before the next attempt, for a job that is queued again
    stopped: bool = False  # the attempt was ended by the house and does not count


def settle(sight: Sight, *, service: bool, cancelled: bool, attempt: int, stops: int, attempts: int, last_line: str = "") -> Verdict:
    """What becomes of a job when its attempt number `attempt` has ended as `sight` tells.

    A result that was there before a cancellation took hold is kept. An attempt that the house itself stopped is made again.
    """
    reason = _reason(sight, service, last_line)
    if sight.ending is Ending.EXITED and sight.exit is not None and sight.exit.code == 0 and not service:
        return Verdict(JobState.SUCCEEDED, reason)
    if cancelled or sight.ending is Ending.CANCELLED:
        return Verdict(JobState.CANCELLED, "it was cancelled")
    if sight.ending is Ending.STOPPED:
        return Verdict(JobState.QUEUED, reason, None, stopped=True)
    counted = attempt - stops
    refused = sight.exit is not None and sight.exit.code in _WILL_NOT_CHANGE and not service
    if counted < attempts and not refused:
        return Verdict(JobState.QUEUED, reason, pause(counted))
    return Verdict(JobState.LOST if sight.phase is Phase.LOST else JobState.FAILED, reason)


def pause(failures: int) -> timedelta:
    """2 s after the first failure, doubling, five minutes at most."""
    return timedelta(seconds=min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 20)))


def _reason(sight: Sight, service: bool, last_line: str) -> str:
    if sight.phase is Phase.LOST:
        return "its supervisor was killed or the machine went down; nothing is known of how it ended"
    if sight.ending is Ending.STOPPED:
        return "the house was closed while it ran"
    told = sight.exit
    if told is None:
        return "it left no word of how it ended"
    if told.reason:
        return told.reason
    said = f": {last_line}" if last_line else ""
    if told.signal is not None:
        return f"{_signal_name(told.signal)} ended it{said}"
    if service:
        return f"the service ended by itself with status {told.code}{said}"
    return "it finished" if told.code == 0 else f"it ended with status {told.code}{said}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# --- asking ----------------------------------------------------------------------------------------------------------------


def check(ask: JobAsk) -> None:
    """Raises BadInput for a job that could not be run anywhere."""
    problems = {
        "argv": "it is empty" if not ask.argv or not ask.argv[0] else "it holds a NUL" if any("\0" in word for word in ask.argv) else None,
        "cpus": "a job needs at least one core" if ask.cpus < 1 else None,
        "memory_mib": "a job needs at least 16 MiB" if ask.memory_mib < 16 else None,
        "timeout_s": "it must be at least a second" if ask.timeout_s < 1 else None,
        "priority": "it must be between -1000 and 1000" if not -1000 <= ask.priority <= 1000 else None,
        "attempts": "it must be between 1 and 100" if not 1 <= ask.attempts <= 100 else None,
        "kind": "it must be given, up to 100 characters" if not 0 < len(ask.kind) <= 100 else None,
        "key": "it is longer than 200 characters" if len(ask.key) > 200 else None,
        "title": "it is longer than 500 characters" if len(ask.title) > 500 else None,
    }
    if ask.argv and ask.argv[0] != PYTHON and not ask.argv[0].startswith("/"):
        problems["argv"] = f"{ask.argv[0][:100]!r} is neither '{PYTHON}' nor an absolute path"
    for field, problem in problems.items():
        if problem:
            raise BadInput(field=field, problem=problem, way_out="Correct the job and submit it again.")


def ask_json(ask: JobAsk) -> str:
    return json.dumps(asdict(ask), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def ask_digest(ask: JobAsk) -> str:
    """Of everything that was asked for, but not of how it is called."""
    told = {name: value for name, value in asdict(ask).items() if name not in ("key", "title")}
    canonical = json.dumps(told, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
