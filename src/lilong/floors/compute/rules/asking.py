"""Whether what is asked for can be run at all, and the same in canonical form. Pure."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, fields
from datetime import UTC, date, datetime, time
from typing import Any

from lilong.floors.compute.contract import PYTHON, JobAsk, Layout
from lilong.floors.compute.rules.reading import LONGEST_S, moment
from lilong.ground import intake
from lilong.ground.errors import BadInput

ARRAY_INDEX = "LILONG_ARRAY_INDEX"
MOST_OF_AN_ARRAY = 10_000
MOST_CORES = 1_000_000
MOST_MIB = 1 << 36
DEEPEST = 50  # tables and lists within one another in a spec
_WAY_OUT = "Correct the job and submit it again."
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SPAN = re.compile(r"(\d{1,100})(?:-(\d{1,100}))?")
_LARGEST = 9_999_999  # number in an array
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,299}")
_HALF = re.compile("[\ud800-\udfff]")
_OF_THE_HOUSE = ("LILONG_", "LD_")
_SET_BY_SITES = frozenset(
    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "HOME", "TMPDIR", "PATH", "PYTHONPATH"}
)


def check(ask: JobAsk) -> None:
    """Raises BadInput for a job that could not be run anywhere."""
    for field, problem in _problems(ask):
        if problem:
            raise BadInput(field=field, problem=problem, way_out=_WAY_OUT)
    for at, layout in enumerate(ask.any_of):
        for field, problem in _layout_problems(layout):
            if problem:
                raise BadInput(field=f"any_of[{at}].{field}", problem=problem, way_out=_WAY_OUT)
    intake.name(ask.project, "project")
    if ask.deadline is not None:
        moment(ask.deadline, "deadline")
    if ask.array:
        indices(ask.array)


def _problems(ask: JobAsk) -> Iterator[tuple[str, str | None]]:
    yield "argv", "it is empty" if not ask.argv or not ask.argv[0] else next(filter(None, map(flaw, ask.argv)), None)
    if ask.argv[0] != PYTHON and not ask.argv[0].startswith("/") and not ask.image:
        yield "argv", f"{ask.argv[0][:100]!r} is neither '{PYTHON}' nor an absolute path"
    yield "cpus", "a job needs at least one core" if ask.cpus < 1 else _over(ask.cpus, MOST_CORES)
    yield "memory_mib", "a job needs at least 16 MiB" if ask.memory_mib < 16 else _over(ask.memory_mib, MOST_MIB)
    yield "timeout_s", "it must be at least a second" if ask.timeout_s < 1 else _over(ask.timeout_s, LONGEST_S)
    yield "priority", "it must be between -1000 and 1000" if not -1000 <= ask.priority <= 1000 else None
    yield "attempts", "it must be between 1 and 100" if not 1 <= ask.attempts <= 100 else None
    yield "kind", "it must be given, up to 100 characters" if not 0 < len(ask.kind) <= 100 else None
    yield "key", "it is longer than 200 characters" if len(ask.key) > 200 else None
    for field in ("title", "key", "kind", "project", "organisation", "publish", "within", "near", "data_at", "family"):
        yield field, flaw(getattr(ask, field))
    for name, value in ask.labels.items():
        yield "labels", flaw(name) or flaw(value)
    yield "title", "it is longer than 500 characters" if len(ask.title) > 500 else None
    yield from _unfit("spec", ask.spec)
    yield "checkpoint_s", "it is less than 0" if ask.checkpoint_s < 0 else _over(ask.checkpoint_s, LONGEST_S)
    yield "any_of", "more than 20 alternatives" if len(ask.any_of) > 20 else None
    yield "sites", "more than 100 sites" if len(ask.sites) > 100 else None
    yield "after", "more than 1,000 jobs" if len(ask.after) + len(ask.after_any) > 1000 else None
    yield "labels", "more than 50, or one longer than 200 characters" if not _short(ask.labels) else None
    yield "image", f"{ask.image[:100]!r} is no name of a container image" if ask.image and not _IMAGE.fullmatch(ask.image) else None
    if ask.service and (ask.array or ask.publish or max((layout.tasks for layout in ask.any_of), default=1) > 1):
        yield "service", "a service is one task, not an array, and publishes nothing"
    yield from _names(ask)


def _unfit(field: str, value: Any, depth: int = 0) -> Iterator[tuple[str, str | None]]:
    """What of a spec no JSON file can hold."""
    if depth > DEEPEST:
        yield field[:200], f"it lies more than {DEEPEST} tables and lists deep"
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield field, f"{name!r} holds half a character" if _HALF.search(name) else None
            yield from _unfit(f"{field}.{name}", inner, depth + 1)
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            yield from _unfit(f"{field}[{at}]", inner, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        yield field, f"{value} is no number that JSON has"
    elif isinstance(value, date | time):
        yield field, f"{value.isoformat()} is a time, which JSON does not have; write it as text, in quotes"
    elif isinstance(value, str) and _HALF.search(value):
        yield field, flaw(value)
    elif value is not None and not isinstance(value, str | int | float):
        yield field, f"a {type(value).__name__} is nothing that JSON has"


def _names(ask: JobAsk) -> Iterator[tuple[str, str | None]]:
    for field, names in (("env", ask.env), ("secrets", ask.secrets)):
        yield field, "more than 200 of them" if len(names) > 200 else None
        for name, value in names.items():
            if not _VARIABLE.fullmatch(name):
                yield field, f"{name[:100]!r} is no name of a variable"
            if name.startswith(_OF_THE_HOUSE) or (field == "env" and name in _SET_BY_SITES):
                yield field, f"{name} is set where the job runs"
            yield f"{field}.{name}", flaw(value) or ("it is longer than 32,768 characters" if len(value) > 32768 else None)
    for folder in (*ask.inputs, *ask.revisions):
        yield "inputs", f"{folder[:100]!r} is no name of a folder" if not _FOLDER.fullmatch(folder) else None
    for folder in ask.revisions:
        yield f"revisions.{folder}", "there is an input of the same name" if folder in ask.inputs else None


def _layout_problems(layout: Layout) -> Iterator[tuple[str, str | None]]:
    yield "devices", "it must be between 0 and 62" if not 0 <= layout.devices <= 62 else None
    yield "devices", "a class of device is named, and no number of them" if layout.accelerator and not layout.devices else None
    yield "accelerator", "devices are asked for, and of no class" if layout.devices and not layout.accelerator else None
    yield "milli", "it must be between 1 and 1000 thousandths" if not 1 <= layout.milli <= 1000 else None
    yield "milli", "a part of a device goes with one device only" if layout.milli < 1000 and layout.devices != 1 else None
    yield "tasks", "it must be between 1 and 100,000" if not 1 <= layout.tasks <= 100_000 else None
    yield "least_tasks", "it must be between 0 and the number of tasks" if not 0 <= layout.least_tasks <= layout.tasks else None
    yield "cpus", "it is less than 0" if layout.cpus < 0 else _over(layout.cpus, MOST_CORES)
    yield "memory_mib", "it is less than 0" if layout.memory_mib < 0 else _over(layout.memory_mib, MOST_MIB)


def flaw(text: str) -> str | None:
    """Why a text is none that a program could be given."""
    if "\0" in text:
        return "it holds a NUL"
    return "it holds half a character (a lone surrogate)" if _HALF.search(text) else None


def _over(value: int, most: int) -> str | None:
    """Sums over all jobs must stay within 64 bits."""
    return f"it is more than {most:,}" if value > most else None


def _short(labels: Mapping[str, str]) -> bool:
    return len(labels) <= 50 and all(len(name) <= 200 and len(value) <= 200 for name, value in labels.items())


def indices(array: str) -> tuple[tuple[int, ...], int]:
    """The numbers of an array such as `0-9,20%4`, and how many may run at once (0: any number). Raises BadInput."""
    listed, _, limit = array.partition("%")
    found: dict[int, None] = {}
    for part in listed.split(","):
        span = _SPAN.fullmatch(part.strip())
        if span is None or (span[2] is not None and int(span[2]) < int(span[1])):
            raise BadInput(
                field="array",
                problem=f"{part[:40]!r} is neither a number nor a span such as 0-9",
                way_out="Write it as 0-9, as 1,3,5 or as 0-99%4.",
            )
        last = int(span[2] or span[1])
        if last > _LARGEST:
            raise BadInput(field="array", problem=f"{part[:40]} is beyond {_LARGEST:,}", way_out="Use smaller numbers.")
        if last - int(span[1]) >= MOST_OF_AN_ARRAY or len(found) > MOST_OF_AN_ARRAY:
            raise BadInput(field="array", problem=f"it has more than {MOST_OF_AN_ARRAY:,} jobs", way_out="Submit it in parts.")
        found.update(dict.fromkeys(range(int(span[1]), last + 1)))
    if len(found) > MOST_OF_AN_ARRAY:
        raise BadInput(field="array", problem=f"it has more than {MOST_OF_AN_ARRAY:,} jobs", way_out="Submit it in parts.")
    if "%" in array and (not limit.isdecimal() or len(limit) > 7 or int(limit) == 0):
        raise BadInput(field="array", problem=f"'%{limit[:20]}' does not say how many may run at once", way_out="Write it as 0-99%4.")
    return tuple(sorted(found)), int(limit or 0)


NO_DEADLINE = 1 << 40


def rank(ask: JobAsk) -> int:
    """Among the jobs of one tenant and priority: the deadline in unix seconds, or later than any."""
    return NO_DEADLINE if ask.deadline is None else int(moment(ask.deadline, "deadline").timestamp())


def layouts(ask: JobAsk) -> tuple[Layout, ...]:
    """The alternatives with every number told; a job without any is one task of its cores and memory."""
    given = ask.any_of or (Layout(),)
    return tuple(
        Layout(
            each.accelerator,
            each.devices,
            each.milli,
            each.tasks,
            each.least_tasks or each.tasks,
            each.cpus or ask.cpus,
            each.memory_mib or ask.memory_mib,
        )
        for each in given
    )


def worst_case(ask: JobAsk, price_of: Mapping[str, float]) -> int:
    """Millionths of money that the job costs at most, if it uses its whole time at each attempt. `price_of`: class ("" for cores) -> price an hour."""
    hours = ask.timeout_s * ask.attempts / 3600
    each = max(
        layout.tasks
        * (
            layout.devices * layout.milli / 1000 * price_of.get(layout.accelerator, 0.0)
            if layout.devices
            else layout.cpus * price_of.get("", 0.0)
        )
        for layout in layouts(ask)
    )
    return round(each * hours * 1_000_000)


# --- as text ---------------------------------------------------------------------------------------------------------------

_DEFAULTS: dict[str, Any] = {
    each.name: each.default if each.default is not MISSING else each.default_factory() if each.default_factory is not MISSING else None
    for each in fields(JobAsk)
}
_ALWAYS = frozenset(name for name in _DEFAULTS if name not in (
    "any_of", "sites", "within", "near", "data_at", "family", "preemptible", "checkpoint_s", "deadline", "after", "after_any", "hold", "env", "secrets",
    "image", "publish", "revisions", "array", "labels",
))  # fmt: skip
"""What every digest has counted from the first version on; the rest is counted where it is used, so that old keys keep their digests."""


def ask_json(ask: JobAsk) -> str:
    return json.dumps(asdict(ask), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def array_json(ask: JobAsk, numbers: Iterable[int]) -> Iterator[str]:
    """The same of each job of an array: it is told its number, and the first has the key."""
    told = asdict(ask)
    for at, number in enumerate(numbers):
        own = {"env": {**told["env"], ARRAY_INDEX: str(number)}, "key": ask.key if at == 0 else ""}
        yield json.dumps({**told, **own}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def ask_of(text: str) -> JobAsk:
    """What `ask_json` wrote."""
    given: dict[str, Any] = json.loads(text)
    for name in ("argv", "sites", "after", "after_any"):
        if name in given:
            given[name] = tuple(given[name])
    given["any_of"] = tuple(Layout(**layout) for layout in given.get("any_of", ()))
    return JobAsk(**given)


def ask_digest(ask: JobAsk) -> str:
    """Of everything that was asked for, but not of how it is called."""
    told = {
        name: value
        for name, value in asdict(ask).items()
        if name not in ("key", "title") and (name in _ALWAYS or getattr(ask, name) != _DEFAULTS[name])
    }
    canonical = json.dumps(told, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def passed(ask: JobAsk, now: datetime) -> bool:
    """Whether its deadline has passed."""
    return ask.deadline is not None and moment(ask.deadline, "deadline") <= now.astimezone(UTC)
