"""`lilong job …`"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lilong.cli_kit import common, show

if TYPE_CHECKING:
    from lilong.client import Client

_ENDED = ("succeeded", "failed", "cancelled", "lost")
_CONTROL = re.compile(r"\x1b(?!\[[0-9;]{0,20}m)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_COLUMNS = (("ID", "id"), ("STATE", "state"), ("KIND", "ask.kind"), ("TITLE", "ask.title"), ("ATTEMPT", "attempt"), ("SUBMITTED", "created_at"), ("WAITS FOR", "waits_for"))  # fmt: skip


@click.group()
def job() -> None:
    """Submit, follow and cancel jobs."""


@job.command("submit", context_settings={"ignore_unknown_options": True})
@click.option("--organisation", required=True, help="On whose behalf.")
@click.option("--kind", default="user.program", show_default=True)
@click.option("--title", default="", help="What it is for, for people.")
@click.option("--cpus", default=1, show_default=True)
@click.option("--memory-mib", default=1024, show_default=True)
@click.option("--timeout", "timeout_s", default=3600, show_default=True, help="Seconds.")
@click.option("--attempts", default=1, show_default=True)
@click.option("--priority", default=0, show_default=True)
@click.option("--spec", type=click.Path(path_type=Path, exists=True), help="JSON file that the job reads as spec.json.")
@click.option("--key", default="", help="The same key twice is one job.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@common
def submit(client: Client, as_json: bool, spec: Path | None, **ask: Any) -> None:
    """Queue a program: an absolute path, or `python` with its arguments, after `--`."""
    show(client.post("/api/compute/jobs", {**ask, "spec": json.loads(spec.read_text()) if spec else {}}), as_json)


@job.command("list")
@click.option("--state", help="Only jobs in this state.")
@click.option("--kind", help="Only jobs of this kind.")
@click.option("--limit", default=50, show_default=True)
@common
def list_(client: Client, as_json: bool, **query: Any) -> None:
    """Jobs, newest first."""
    show(client.get("/api/compute/jobs", **query), as_json, _COLUMNS)


@job.command("show")
@click.argument("job_id")
@common
def show_(client: Client, as_json: bool, job_id: str) -> None:
    """Everything about one job."""
    show(client.get(f"/api/compute/jobs/{job_id}"), as_json)


@job.command("logs")
@click.argument("job_id")
@click.option("--follow", "-f", is_flag=True, help="Until the job has ended.")
@click.option("--attempt", type=int, help="Another attempt than the last.")
@common
def logs(client: Client, as_json: bool, job_id: str, follow: bool, attempt: int | None) -> None:
    """What a job printed."""
    text = "".join(_parts(client, job_id, follow, attempt, quiet=as_json))
    if as_json:
        show({"job": job_id, "text": text}, as_json)


def _parts(client: Client, job_id: str, follow: bool, attempt: int | None, *, quiet: bool) -> list[str]:
    offset, parts = 0, []
    while True:
        over = not follow or client.get(f"/api/compute/jobs/{job_id}")["state"] in _ENDED
        part = client.get(f"/api/compute/jobs/{job_id}/logs", offset=offset, attempt=attempt)
        if part["text"]:
            click.echo("" if quiet else _harmless(part["text"]), nl=False)
            parts.append(part["text"])
            offset = part["next"]
        elif over:
            return parts
        else:
            time.sleep(0.3)


def _harmless(text: str) -> str:
    """Colours may stay; other control sequences could make a terminal show, or do, what the job wants."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


@job.command("cancel")
@click.argument("job_id")
@common
def cancel(client: Client, as_json: bool, job_id: str) -> None:
    """End a job with all that it started. Saying so twice is no error."""
    show(client.post(f"/api/compute/jobs/{job_id}/cancel"), as_json)
