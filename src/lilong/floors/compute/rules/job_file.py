"""A job file, read and checked. Pure.

    organisation = "lantern-works"
    command = ["python", "-m", "tide.train"]
    accelerator = "h20"
    devices = 8
    timeout = "8h"

    [inputs]
    data = "datasets/lantern-works/tide@main"

A file may hold several jobs, `[job.NAME]`; keys outside them are for all, and `after` may name others of the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from lilong.floors.compute.contract import JobAsk, Layout
from lilong.floors.compute.rules.reading import Reader, mebibytes, moment, nearest
from lilong.ground.errors import BadInput
from lilong.ground.seams import stamp

_MOST = 1000


def read(source: str) -> dict[str, JobAsk]:
    """The jobs of a file by name, each after those it names in `after`; the name of a job that stands alone is "". Raises BadInput."""
    try:
        document = tomllib.loads(source)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise BadInput(field="the job file", problem=f"this is not TOML: {problem}", way_out="Mend the file there.") from problem
    several = document.pop("job", None)
    if several is None:
        return {"": _job(Reader(document))}
    if not isinstance(several, Mapping) or not several or len(several) > _MOST:
        raise BadInput(field="job", problem=f"it does not hold 1 to {_MOST:,} jobs", way_out="Write each as [job.NAME].")
    found = {}
    for name, table in several.items():
        if not isinstance(table, Mapping):
            raise BadInput(field=f"job.{name}", problem="it is not a table", way_out=f"Write it as [job.{name}].")
        found[name] = _job(Reader({"title": name[:500], **document, **table}, f"job.{name}"))
    return ordered(found)


def _job(table: Reader) -> JobAsk:
    ask = JobAsk(
        kind=table.text("kind", "user.program", limit=100),
        organisation=table.text("organisation", limit=100),
        project=table.text("project", "default", limit=100),
        argv=table.texts("command"),
        title=table.text("title", limit=500),
        key=table.text("key", limit=200),
        cpus=table.whole("cpus", 1, 1, 1_000_000),
        memory_mib=mebibytes(table.raw("memory", 1024), table.field("memory")),
        timeout_s=table.seconds("timeout", 3600),
        attempts=table.whole("attempts", 1, 1, 100),
        priority=table.whole("priority", 0, -1000, 1000),
        network=table.flag("network"),
        service=table.flag("service"),
        any_of=_any_of(table),
        sites=table.texts("sites"),
        within=table.text("within"),
        near=table.text("near"),
        data_at=table.text("data_at"),
        family=table.text("family"),
        preemptible=table.flag("preemptible"),
        checkpoint_s=table.seconds("checkpoint", 0),
        deadline=stamp(moment(table.raw("deadline"), table.field("deadline"))) if table.has("deadline") else None,
        after=table.texts("after"),
        after_any=table.texts("after_any"),
        hold=table.flag("hold"),
        array=table.text("array", limit=1000),
        env=table.words("env"),
        secrets=table.words("secrets"),
        revisions=table.words("inputs"),
        publish=table.text("publish", limit=500),
        image=table.text("image", limit=300),
        labels=table.words("labels"),
        spec=_spec(table),
    )
    for key, given in (("organisation", ask.organisation), ("command", ask.argv)):
        if not given:
            raise table.wrong(
                key, "it is missing", 'Write organisation = "…".' if key == "organisation" else 'Write command = ["python", "-m", "…"].'
            )
    table.end()
    return ask


def _any_of(table: Reader) -> tuple[Layout, ...]:
    several = tuple(_layout(each) for each in table.list_of_tables("any_of"))
    asked = [key for key in ("accelerator", "devices", "share", "tasks", "least_tasks") if table.has(key)]
    if not asked:
        return several
    if several:
        raise table.wrong(asked[0], "there is [[any_of]] besides", "Say it in each [[any_of]], or leave [[any_of]] out.")
    return (_layout(table, whole=False),)


def _layout(table: Reader, *, whole: bool = True) -> Layout:
    share = table.number("share", 1.0, 0.001, 1.0)
    accelerator = table.text("accelerator", limit=100)
    found = Layout(
        accelerator=accelerator,
        devices=table.whole("devices", 1 if accelerator else 0, 0, 62),
        milli=round(share * 1000),
        tasks=table.whole("tasks", 1, 1, 100_000),
        least_tasks=table.whole("least_tasks", 0, 0, 100_000),
        cpus=table.whole("cpus", 0, 0, 1_000_000) if whole else 0,
        memory_mib=mebibytes(table.raw("memory", 0), table.field("memory")) if whole else 0,
    )
    if whole:
        table.end()
    return found


def _spec(table: Reader) -> Mapping[str, Any]:
    spec = table.raw("spec", {})
    if not isinstance(spec, Mapping):
        raise table.wrong("spec", "it is not a table", "Write [spec] with keys.")
    return dict(spec)


def ordered(jobs: Mapping[str, JobAsk]) -> dict[str, JobAsk]:
    """Each job after those that it names. Raises BadInput for a circle, and for what is neither a job's id nor in the file."""
    done: dict[str, JobAsk] = {}
    for first in jobs:
        path = {first: _needs(jobs, first)} if first not in done else {}
        while path:
            name = next(reversed(path))
            need = next(path[name], None)
            if need is None:
                done[name] = jobs[name]
                del path[name]
            elif need in path:
                circle = " → ".join((*list(path)[list(path).index(need) :], need))
                raise BadInput(field=f"job.{need}.after", problem=f"the jobs wait for one another: {circle}", way_out="Break the circle.")
            elif need not in done:
                path[need] = _needs(jobs, need)
    return done


def _needs(jobs: Mapping[str, JobAsk], name: str) -> Iterator[str]:
    """The jobs of the file that one names."""
    for field in ("after", "after_any"):
        for need in getattr(jobs[name], field):
            if need in jobs:
                yield need
            elif not need.startswith(("job-", "array-")):
                raise BadInput(
                    field=f"job.{name}.{field}", problem=f"there is no job {need[:100]!r} in the file", way_out=nearest(need, jobs)
                )


def with_ids(ask: JobAsk, ids: Mapping[str, str]) -> JobAsk:
    """With the ids of other jobs of the file in place of their names."""
    return replace(
        ask, after=tuple(ids.get(need, need) for need in ask.after), after_any=tuple(ids.get(need, need) for need in ask.after_any)
    )


_WRITTEN = {"argv": "command", "timeout_s": "timeout", "memory_mib": "memory", "checkpoint_s": "checkpoint", "milli": "share", "revisions": "inputs"}  # fmt: skip


def as_written(name: str, refused: BadInput) -> BadInput:
    """A refusal of what was asked for, with the key as it stands in the file. `name`: of the job, "" of one that stands alone."""
    first, dot, rest = str(refused.details["field"]).partition(".")
    rest = _WRITTEN.get(rest, rest) if first.startswith("any_of") else rest
    place = f"{'job.' + name + '.' if name else ''}{_WRITTEN.get(first, first)}{dot}{rest}"
    return BadInput(field=place, problem=refused.details["problem"], way_out=refused.details["way_out"])
