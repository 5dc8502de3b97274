"""What becomes of a job whose attempt has ended. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from datetime import timedelta

from lilong.floors.compute.contract import Ending, JobState, Phase, Sight
from lilong.ground.errors import BadInput, Refused

FIRST_PAUSE_S = 2
LONGEST_PAUSE_S = 300
_WILL_NOT_CHANGE = {BadInput.exit_code, Refused.exit_code}  # a program that ends so says that what it was given cannot be used


@dataclass(frozen=True, slots=True)
class Verdict:
    state: JobState
    reason: str = ""
    pause: timedelta | None = None  # before the next attempt, for a job that is queued again
    stopped: bool = False  # the attempt was ended by the house and does not count
    kept_s: int = 0  # of its work, in its last checkpoint: the next attempt need not do it again


def settle(
    sight: Sight,
    *,
    service: bool,
    cancelled: bool,
    attempt: int,
    stops: int,
    attempts: int,
    last_line: str = "",
    preempted: bool = False,
    checkpoint_s: int = 0,
) -> Verdict:
    """What becomes of a job when its attempt number `attempt` has ended as `sight` tells.

    A result that was there before a cancellation took hold is kept. An attempt that the house itself stopped, or that made room for
    another job, is made again and does not count.
    """
    verdict = _settled(sight, service, cancelled, attempt, stops, attempts, last_line, preempted)
    if verdict.state is JobState.QUEUED and checkpoint_s and sight.exit is not None:
        return replace(verdict, kept_s=int(sight.exit.wall_s) // checkpoint_s * checkpoint_s)
    return verdict


def _settled(
    sight: Sight, service: bool, cancelled: bool, attempt: int, stops: int, attempts: int, last_line: str, preempted: bool
) -> Verdict:
    reason = _reason(sight, service, last_line)
    if sight.ending is Ending.EXITED and sight.exit is not None and sight.exit.code == 0 and not service:
        return Verdict(JobState.SUCCEEDED, reason)
    if preempted and not cancelled and sight.ending is Ending.CANCELLED:
        return Verdict(JobState.QUEUED, "it made room for another job", None, stopped=True)
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
        return (sight.exit.reason if sight.exit else "") or "the house was closed while it ran"
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
