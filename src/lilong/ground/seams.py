"""The house's openings to the world: clock, ids, randomness, subprocesses, outgoing HTTP.

All of the house goes through here, so that a simulator or a test can drive it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, in UTC, with a time zone."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back."""

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds: sorts as text in the order of time."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_stamp(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Ids(Protocol):
    def new(self, prefix: str) -> str:
        """A fresh id such as `job-01j9…`: a ULID (48 bits of milliseconds, 80 random bits) in lower-case Crockford base 32."""

    def secret(self, bits: int = 256) -> str: ...


class SystemIds:
    def new(self, prefix: str) -> str:
        number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        digits = []
        for _ in range(26):
            digits.append(_CROCKFORD[number & 31])
            number >>= 5
        return f"{prefix}-{''.join(reversed(digits))}"

    def secret(self, bits: int = 256) -> str:
        return secrets.token_urlsafe(bits // 8)


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    stdin: bytes | None = None,
    stdout: IO[bytes] | None = None,
    keep: Sequence[int] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end with a short environment of its own. Never raises for its exit status. `stdout`: a file for what it writes
    there, which the answer then lacks. `keep`: descriptors that it inherits."""
    return subprocess.run(
        list(argv),
        cwd=cwd,
        env=dict(env) if env is not None else {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
        timeout=timeout,
        input=stdin,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        check=False,
        pass_fds=tuple(keep),
    )


def start(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program that is talked to while it runs, in a session of its own; whoever starts it waits for it or kills it."""
    return subprocess.Popen(list(argv), cwd=cwd, env=dict(env), stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True)
