"""Jobs, through a client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from lilong.client import Client
from lilong.floors.compute.contract import FINISHED, Job, JobAsk, JobState, Layout, LogPart

__all__ = [
    "Job", "JobAsk", "JobState", "Layout", "LogPart", "apply_settings", "cancel", "cancel_array", "follow", "hold", "job", "jobs", "logs", "output",
    "progress", "release", "settings", "sites", "submit", "submit_file", "wait", "why",
]  # fmt: skip


def submit(client: Client, ask: JobAsk) -> Job:
    """Queue a job; of an array, its first job is returned, and `job.array` names it. With `ask.key`, asking again is safe: it is the same job."""
    return client.post("/api/compute/jobs", asdict(ask), Job)


def submit_file(client: Client, text: str) -> list[Job]:
    """Queue what a job file says (the text of it, in TOML): all of its jobs, or none."""
    return client.post("/api/compute/job-files", {"toml": text}, list[Job])


def jobs(
    client: Client,
    state: JobState | None = None,
    kind: str | None = None,
    before: str | None = None,
    limit: int = 50,
    array: str | None = None,
    organisation: str | None = None,
) -> list[Job]:
    """Newest first, in short: without specs and inputs, which `job` tells."""
    chosen = state.value if state else None
    query = {"state": chosen, "kind": kind, "before": before, "limit": limit, "array": array, "organisation": organisation}
    return client.get("/api/compute/jobs", list[Job], **query)


def job(client: Client, job_id: str) -> Job:
    return client.get(_place(job_id), Job)


def cancel(client: Client, job_id: str) -> Job:
    return client.post(f"{_place(job_id)}/cancel", None, Job)


def hold(client: Client, job_id: str) -> Job:
    """Keep a waiting job from starting."""
    return client.post(f"{_place(job_id)}/hold", None, Job)


def release(client: Client, job_id: str) -> Job:
    """Let a held job start."""
    return client.post(f"{_place(job_id)}/release", None, Job)


def cancel_array(client: Client, array: str) -> dict[str, Any]:
    """End all jobs of an array. Answers with how many are in which state."""
    told: dict[str, Any] = client.post(f"/api/compute/arrays/{quote(array, safe='')}/cancel")
    return told


def why(client: Client, job_id: str) -> dict[str, Any]:
    """Why a job waits, what would let it start, and when it will."""
    told: dict[str, Any] = client.get(f"{_place(job_id)}/why")
    return told


def logs(client: Client, job_id: str, offset: int = 0, attempt: int | None = None) -> LogPart:
    """From byte `offset` on; follow it by asking again from `next`."""
    return client.get(f"{_place(job_id)}/logs", LogPart, offset=offset, attempt=attempt)


def follow(client: Client, job_id: str) -> Iterator[str]:
    """What a job prints, as it prints it, until it has ended."""
    offset = 0
    while True:
        over = job(client, job_id).state in FINISHED
        part = logs(client, job_id, offset)
        offset = part.next
        if part.text:
            yield part.text
        elif over:
            return
        else:
            time.sleep(0.3)


def progress(client: Client, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    return client.get(f"{_place(job_id)}/progress", list[dict[str, Any]], after=after)


def output(client: Client, job_id: str, path: str) -> bytes:
    """A file that the job left."""
    return client.download(f"{_place(job_id)}/outputs/{quote(path)}")


def wait(client: Client, job_id: str, patience_s: float = 3600.0) -> Job:
    """The job once it has ended, or is a service that is ready. Raises TimeoutError."""
    end = time.monotonic() + patience_s
    while True:
        found = job(client, job_id)
        if found.state in FINISHED or found.state is JobState.READY:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{job_id} is still {found.state.value} after {patience_s:g} s")
        time.sleep(0.3)


def _place(job_id: str) -> str:
    return f"/api/compute/jobs/{quote(job_id, safe='')}"


# --- for operators ---------------------------------------------------------------------------------------------------------


def apply_settings(client: Client, text: str, *, dry_run: bool = False) -> dict[str, Any]:
    """Put a settings file (its text, in TOML) in force. Answers with version and changes."""
    told: dict[str, Any] = client.post("/api/compute/settings", {"toml": text, "dry_run": dry_run})
    return told


def settings(client: Client, version: int | None = None) -> dict[str, Any]:
    """The settings in force, or a version of before: version, applied_by, applied_at, toml, settings."""
    told: dict[str, Any] = client.get("/api/compute/settings", version=version)
    return told


def sites(client: Client) -> list[dict[str, Any]]:
    """Where jobs may run, and what is there."""
    return client.get("/api/compute/sites", list[dict[str, Any]])
