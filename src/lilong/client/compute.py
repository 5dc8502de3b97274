"""Jobs, through a client."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from lilong.client import Client
from lilong.floors.compute.contract import FINISHED, Job, JobAsk, JobState, LogPart


def submit(client: Client, ask: JobAsk) -> Job:
    """Queue a job. With `ask.key`, asking again is safe: it is the same job."""
    return client.post("/api/compute/jobs", asdict(ask), Job)


def jobs(client: Client, state: JobState | None = None, kind: str | None = None, before: str | None = None, limit: int = 50) -> list[Job]:
    """Newest first."""
    return client.get("/api/compute/jobs", list[Job], state=state.value if state else None, kind=kind, before=before, limit=limit)


def job(client: Client, job_id: str) -> Job:
    return client.get(f"/api/compute/jobs/{quote(job_id, safe='')}", Job)


def cancel(client: Client, job_id: str) -> Job:
    return client.post(f"/api/compute/jobs/{quote(job_id, safe='')}/cancel", None, Job)


def logs(client: Client, job_id: str, offset: int = 0, attempt: int | None = None) -> LogPart:
    """From byte `offset` on; follow it by asking again from `next`."""
    return client.get(f"/api/compute/jobs/{quote(job_id, safe='')}/logs", LogPart, offset=offset, attempt=attempt)


def progress(client: Client, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    return client.get(f"/api/compute/jobs/{quote(job_id, safe='')}/progress", list[dict[str, Any]], after=after)


def output(client: Client, job_id: str, path: str) -> bytes:
    """A file that the job left."""
    return client.download(f"/api/compute/jobs/{quote(job_id, safe='')}/outputs/{quote(path)}")


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
