"""`lilong job …`"""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from lilong.cli_kit import common, harmless, show
from lilong.floors.compute.commands.asking import of_one, why
from lilong.ground.errors import BadInput

if TYPE_CHECKING:
    from lilong.client import Client

_PAGE = 200
_ENDED = ("succeeded", "failed", "cancelled", "lost")
_COLUMNS = (("ID", "id"), ("STATE", "state"), ("KIND", "ask.kind"), ("TITLE", "ask.title"), ("ATTEMPT", "attempt"), ("SUBMITTED", "created_at"), ("WAITS FOR", "waits_for"))  # fmt: skip
_WAY = re.compile(r"(?P<class>[^:]+):(?P<many>\d+(?:\.\d+)?)(?:x(?P<tasks>\d+))?")
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


class _Amount(click.ParamType[int]):
    """An option that takes what the same key of a job file takes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from lilong.floors.compute.rules.reading import mebibytes, seconds

        text, read = str(value), seconds if self.name == "time" else mebibytes
        return read(int(text) if text.isdecimal() else text, param.opts[0] if param else self.name)


@click.group()
def job() -> None:
    """Submit, follow and cancel jobs."""


job.add_command(why)


@job.command("submit", context_settings={"ignore_unknown_options": True})
@click.option("--file", type=_FILE, help="Job file in TOML; no other option goes with it.")
@click.option("--organisation", help="On whose behalf.")
@click.option("--project", default="default", show_default=True)
@click.option("--kind", default="user.program", show_default=True)
@click.option("--title", default="", help="What it is for, for people.")
@click.option("--cpus", default=1, show_default=True, help="Cores of each task.")
@click.option("--memory-mib", "--memory", type=_Amount("memory"), default=1024, show_default=True, help="Of each task, MiB or such as 64G.")
@click.option("--timeout", "timeout_s", type=_Amount("time"), default=3600, show_default=True, help="Seconds, or such as 30m, 8h, 7d.")
@click.option("--attempts", default=1, show_default=True)
@click.option("--priority", default=0, show_default=True)
@click.option(
    "--on",
    "ways",
    multiple=True,
    metavar="CLASS:N[xTASKS]",
    help="Devices of each task, such as h20:8x2 or h20:0.5; again for an alternative.",
)
@click.option("--tasks", default=1, show_default=True, help="Tasks of a job without devices.")
@click.option("--site", "sites", multiple=True, help="Only at this site; again for others.")
@click.option("--within", default="", help="Level of the topology in one domain of which all tasks lie.")
@click.option("--near", default="", help="A narrower level that is tried first.")
@click.option("--preemptible", is_flag=True, help="It may be ended for others and begins again later.")
@click.option("--checkpoint", "checkpoint_s", type=_Amount("time"), default=0, help="Time between two of its checkpoints, such as 10m.")
@click.option("--deadline", help="Such as 2026-12-01T08:00:00Z.")
@click.option("--after", multiple=True, metavar="JOB", help="Start once this job has succeeded.")
@click.option("--after-any", multiple=True, metavar="JOB", help="Start once this job has ended.")
@click.option("--hold", is_flag=True, help="Wait for `lilong job release`.")
@click.option("--array", default="", metavar="0-9[%4]", help="One job for each number; four at once.")
@click.option("--env", multiple=True, metavar="NAME=VALUE")
@click.option("--secret", "secrets", multiple=True, metavar="NAME[=KEPT]", help="A secret of the organisation, under this name.")
@click.option("--input", "revisions", multiple=True, metavar="FOLDER=REVISION", help="Such as data=datasets/lantern-works/tide@main.")
@click.option("--publish", default="", metavar="REVISION", help="Where its outputs go, such as models/lantern-works/tide@main.")
@click.option("--image", default="", help="Container image, where containers run.")
@click.option("--network", is_flag=True, help="Outgoing network; needs the permission jobs.network.")
@click.option("--spec", type=_FILE, help="JSON file that the job reads as spec.json.")
@click.option("--key", default="", help="The same key twice is one job.")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
@common
def submit(client: Client, as_json: bool, file: Path | None, spec: Path | None, **ask: Any) -> None:
    """Queue a program: an absolute path, or `python` with its arguments, after `--`. Or what a job file says."""
    if file is not None:
        jobs = _from_file(client, file, ask["argv"])
        _list(jobs, as_json, (*_COLUMNS[:1], ("ARRAY", "array"), *_COLUMNS[1:]) if any(one["array"] for one in jobs) else _COLUMNS)
        return
    if ask["argv"] and ask["argv"][0].startswith("-"):
        raise BadInput(
            field=ask["argv"][0][:100],
            problem="there is no such option",
            way_out="See `lilong job submit --help`; the program comes after `--`.",
        )
    for key, flag in (("organisation", "--organisation"), ("argv", "the program")):
        if not ask[key]:
            raise BadInput(field=flag, problem="it is missing", way_out="Give it, or a job file with --file.")
    pairs = {key: _pairs(ask[key], flag) for key, flag in (("env", "--env"), ("secrets", "--secret"), ("revisions", "--input"))}
    ways, tasks = [_way(each) for each in ask.pop("ways")], ask.pop("tasks")
    any_of = ways or ([{"tasks": tasks}] if tasks != 1 else [])
    body = {**ask, **pairs, "any_of": any_of, "spec": _spec(spec)}
    _show(client.post("/api/compute/jobs", body), as_json)


def _from_file(client: Client, file: Path, argv: tuple[str, ...]) -> Any:
    given = click.get_current_context()
    others = [
        name for name in given.params if name != "file" and given.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    here = {"house", "url", "token_file", "as_json"}
    if argv or set(others) - here:
        named = ", ".join(sorted(set(others) - here)) or "a program"
        raise BadInput(field="--file", problem=f"{named} was given besides", way_out="Write all of it into the job file.")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInput(field="--file", problem=f"{file} is not UTF-8", way_out="Save it as UTF-8.") from None
    return client.post("/api/compute/job-files", {"toml": text})


def _spec(file: Path | None) -> Any:
    if file is None:
        return {}
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise BadInput(field="--spec", problem=f"{file} is not JSON: {problem}", way_out="Mend the file.") from None


def _pairs(words: tuple[str, ...], flag: str) -> dict[str, str]:
    found = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign and flag != "--secret":
            raise BadInput(field=flag, problem=f"{word[:100]!r} has no '='", way_out="Write it as NAME=VALUE.")
        found[name] = value if sign else name
    return found


def _way(word: str) -> dict[str, Any]:
    parts = _WAY.fullmatch(word)
    if parts is None or not float(parts["many"]) or parts["tasks"] == "0":
        raise BadInput(
            field="--on", problem=f"{word[:100]!r} names no devices", way_out="Write it as CLASS:8, CLASS:8x2 for two tasks, or CLASS:0.5."
        )
    many, tasks = float(parts["many"]), int(parts["tasks"] or 1)
    share = {"devices": 1, "milli": round(many * 1000)} if many < 1 else {"devices": int(many)}
    if many > 1 and many != int(many):
        raise BadInput(field="--on", problem=f"{parts['many']} is neither a whole number nor a part of one", way_out="Give 8, or 0.5.")
    return {"accelerator": parts["class"], "tasks": tasks, **share}


@job.command("list")
@click.option("--state", help="Only jobs in this state.")
@click.option("--kind", help="Only jobs of this kind.")
@click.option("--organisation", help="Only jobs of this organisation.")
@click.option("--array", help="Only jobs of this array.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@common
def list_(client: Client, as_json: bool, limit: int, **query: Any) -> None:
    """Jobs, newest first."""
    found: list[dict[str, Any]] = []
    while len(found) < limit:  # the server answers in pages
        wanted = min(limit - len(found), _PAGE)
        part = client.get("/api/compute/jobs", **query, limit=wanted, before=found[-1]["id"] if found else None)
        found += part
        if len(part) < wanted:
            break
    _list(found, as_json)


def _list(jobs: list[dict[str, Any]], as_json: bool, columns: tuple[tuple[str, str], ...] = _COLUMNS) -> None:
    for told in () if as_json else jobs:
        if told["index"] is not None:
            told["ask"]["title"] = f"{told['ask']['title']} [{told['index']}]".lstrip()
    show(jobs, as_json, columns)


@job.command("show")
@click.argument("job_id")
@common
def show_(client: Client, as_json: bool, job_id: str) -> None:
    """Everything about one job, or how far an array of jobs is."""
    _show(client.get(_place(job_id)), as_json)


def _show(told: dict[str, Any], as_json: bool) -> None:
    """A job, or an array of jobs; for people without what is not said of it."""
    if as_json or "ask" not in told:
        show(told, as_json)
        return
    ask, exit_ = told["ask"], told["exit"] or {}
    page = {
        **{key: told[key] for key in ("id", "array", "index", "state", "waits_for")},
        **{key: ask[key] for key in ("title", "organisation")},
        "command": shlex.join(ask["argv"]),
        "needs": " or ".join(_needs(ask, way) for way in ask["any_of"] or [{}]),
        "time_limit_s": ask["timeout_s"],
        **{key: _listed(value) for key, value in ask.items() if key not in _ELSEWHERE and value != _USUAL.get(key)},
        "submitted_by": told["submitted_by"],
        **{key: value for key, value in told.items() if key not in ("ask", "exit", "reason", "held", "placement", "attempt")},
        "attempt": told["attempt"],
        "nodes": ", ".join(_node(place) for place in told["placement"] or ()),
        "ended": exit_.get("reason"),
        "used": exit_
        and told["started_at"]
        and f"{exit_['wall_s']:g} s, {exit_['cpu_s']:g} s of CPU, at most {exit_['max_rss_mib']:g} MiB",
    }
    show({key: value for key, value in page.items() if value not in (None, "", [], {}, False)}, as_json)


_USUAL = {"kind": "user.program", "project": "default", "attempts": 1, "priority": 0, "checkpoint_s": 0}
_ELSEWHERE = frozenset({"organisation", "title", "argv", "any_of", "cpus", "memory_mib", "timeout_s"})


def _needs(ask: dict[str, Any], way: dict[str, Any]) -> str:
    cpus, memory = way.get("cpus") or ask["cpus"], way.get("memory_mib") or ask["memory_mib"]
    parts = [f"{cpus} core{'' if cpus == 1 else 's'}", f"{memory} MiB"]
    if way.get("devices"):
        many = f"{way['devices']} {way['accelerator']}" if way["milli"] == 1000 else f"{way['milli'] / 1000:g} of a {way['accelerator']}"
        parts.insert(0, many)
    tasks = way.get("tasks", 1)
    least = f"{way['least_tasks']} to " if 0 < way.get("least_tasks", 0) < tasks else ""
    return ", ".join(parts) if tasks == 1 else f"{least}{tasks} tasks of {', '.join(parts)}"


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return [f"{name} ({len(inner)} files)" if isinstance(inner, dict) else f"{name}={inner}" for name, inner in value.items()]


def _node(place: dict[str, Any]) -> str:
    return f"{place['node']}[{','.join(map(str, place['devices']))}]" if place["devices"] else str(place["node"])


@job.command("logs")
@click.argument("job_id")
@click.option("--follow", "-f", is_flag=True, help="Until the job has ended.")
@click.option("--attempt", type=int, help="Another attempt than the last.")
@common
def logs(client: Client, as_json: bool, job_id: str, follow: bool, attempt: int | None) -> None:
    """What a job printed."""
    of_one(job_id)
    text = "".join(_parts(client, job_id, follow, attempt, quiet=as_json))
    if as_json:
        show({"job": job_id, "text": text}, as_json)


def _parts(client: Client, job_id: str, follow: bool, attempt: int | None, *, quiet: bool) -> list[str]:
    offset, parts = 0, []
    while True:
        over = not follow or client.get(_place(job_id))["state"] in _ENDED
        part = client.get(f"{_place(job_id)}/logs", offset=offset, attempt=attempt)
        if part["text"]:
            click.echo("" if quiet else harmless(part["text"]), nl=False)
            parts.append(part["text"])
            offset = part["next"]
        elif over:
            return parts
        else:
            time.sleep(0.3)


def _place(name: str) -> str:
    return f"/api/compute/{'arrays' if name.startswith('array-') else 'jobs'}/{quote(name, safe='')}"


@job.command("cancel")
@click.argument("job_id")
@common
def cancel(client: Client, as_json: bool, job_id: str) -> None:
    """End a job, or all of an array, with all that it started. Saying so twice is no error."""
    _show(client.post(f"{_place(job_id)}/cancel"), as_json)


@job.command("hold")
@click.argument("job_id")
@common
def hold(client: Client, as_json: bool, job_id: str) -> None:
    """Keep a waiting job, or all that wait of an array, from starting."""
    _show(client.post(f"{_place(job_id)}/hold"), as_json)


@job.command("release")
@click.argument("job_id")
@common
def release(client: Client, as_json: bool, job_id: str) -> None:
    """Let a job start that was held, or all such of an array."""
    _show(client.post(f"{_place(job_id)}/release"), as_json)
