"""Jobs as the Hugging Face clients ask for them and read them (huggingface_hub's jobs API), and the same as the house knows them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilong.floors.compute.contract import PYTHON, Exit, Inventory, Job, JobAsk, JobState, Layout
from lilong.floors.compute.rules.reading import Reader, nearest
from lilong.floors.compute.rules.settings import ComputeSettings
from lilong.ground.errors import BadInput, Refused
from lilong.ground.seams import parse_stamp

KIND = "hf.job"
LAUNCH = (PYTHON, "-m", "lilong.floors.compute.supervisor.launch")
DEFAULT_TIMEOUT_S = 1800
_CPU = {"cpu-basic": (1, 2048), "cpu-upgrade": (8, 32768), "cpu-performance": (32, 131072), "cpu-xl": (64, 262144)}  # cores, MiB
_OURS = re.compile(r"(?:docker\.io/)?(?:library/)?python(?::[A-Za-z0-9._-]+)?|ghcr\.io/astral-sh/uv(?::[A-Za-z0-9._-]+)?")
_PYTHON = re.compile(r"python(?:3(?:\.\d+)?)?")
_COUNTED = re.compile(r"(.+?)x([1-9]\d?)")
_STAGES = {
    JobState.QUEUED: "SCHEDULING", JobState.STARTING: "SCHEDULING", JobState.RUNNING: "RUNNING", JobState.READY: "RUNNING",
    JobState.SUCCEEDED: "COMPLETED", JobState.CANCELLED: "CANCELED", JobState.FAILED: "ERROR", JobState.LOST: "ERROR",
}  # fmt: skip
_KINDS = {"model": "models", "dataset": "datasets", "bucket": "buckets"}


class NotOffered(Refused):
    """This house does not offer {what}. {way_out}"""

    status = 400


@dataclass(frozen=True, slots=True)
class Flavor:
    """What a name of hardware stands for. `price` an hour."""

    name: str
    cpus: int
    memory_mib: int
    accelerator: str = ""
    devices: int = 0
    price: float = 0.0


def flavors(settings: ComputeSettings, inventories: Mapping[str, Inventory]) -> dict[str, Flavor]:
    """The client's names for machines without devices, and CLASS and CLASSxN for each class of device that some site has."""
    core = settings.accelerator("").price
    found = {name: Flavor(name, cpus, memory, price=cpus * core) for name, (cpus, memory) in _CPU.items()}
    largest: dict[str, int] = {}
    share: dict[str, tuple[int, int]] = {}  # cores and MiB that go with each device, as the poorest node has them
    for inventory in inventories.values():
        for node in inventory.nodes:
            if node.devices and node.accelerator in settings.classes:
                each = (max(node.cpus // node.devices, 1), max(node.memory_mib // node.devices, 16))
                known = share.get(node.accelerator, each)
                share[node.accelerator] = (min(known[0], each[0]), min(known[1], each[1]))
                largest[node.accelerator] = max(largest.get(node.accelerator, 0), node.devices)
    for name, most in sorted(largest.items()):
        cpus, memory = share[name]
        for many in sorted({1, *(2**at for at in range(1, 7) if 2**at <= most), most}):
            key = name if many == 1 else f"{name}x{many}"
            found[key] = Flavor(key, cpus * many, memory * many, name, many, settings.classes[name].price * many)
    return found


def flavor(name: str, known: Mapping[str, Flavor]) -> Flavor:
    """Raises BadInput."""
    if name in known:
        return known[name]
    counted = _COUNTED.fullmatch(name)
    if counted and counted[1] in known and known[counted[1]].devices == 1:
        one, many = known[counted[1]], int(counted[2])
        return Flavor(name, one.cpus * many, one.memory_mib * many, one.accelerator, many, one.price * many)
    raise BadInput(field="flavor", problem=f"no site has {name[:100]!r}", way_out=nearest(name, known))


@dataclass(frozen=True, slots=True)
class Wanted:
    ask: JobAsk
    secrets: Mapping[str, str]  # values for this job only


def wanted(body: Any, organisation: str, known: Mapping[str, Flavor]) -> Wanted:
    """What a client sent, as a job. Raises BadInput, NotOffered."""
    table = Reader(body)
    for key, what, way_out in (
        ("spaceId", "images of Spaces", "Name an image such as python:3.12."),
        ("expose", "ports of jobs to the outside", "Deploy a model with `lilong deployment create` for a service."),
        ("ssh", "SSH into jobs", "Read what it prints with `hf jobs logs`."),
        ("network", "networks between jobs", "Ask for one job of several tasks in a job file; they find one another."),
    ):
        if table.raw(key):
            raise NotOffered(what=what, way_out=way_out)
    chosen = flavor(table.text("flavor", "cpu-basic", limit=100), known)
    image = table.text("dockerImage", "python", limit=300)
    command = (*table.texts("command"), *table.texts("arguments"))
    if not command:
        raise table.wrong("command", "it is empty", "Give the program and its arguments after the image.")
    mounts, revisions = _volumes(table)
    secrets = table.words("secrets")
    house = _OURS.fullmatch(image) is not None
    labels = table.words("labels")
    timeout = table.raw("timeoutSeconds") or DEFAULT_TIMEOUT_S
    ask = JobAsk(
        kind=KIND,
        organisation=organisation,
        argv=_argv(command, mounts, bool(secrets)) if house else _in_image(command, mounts),
        spec={"hf": {"image": image, "flavor": chosen.name, "command": list(command), "mounts": mounts}},
        cpus=chosen.cpus,
        memory_mib=chosen.memory_mib,
        timeout_s=int(timeout) if isinstance(timeout, int | float) and 0 < timeout < 1e9 else 0,
        attempts=table.whole("attempts", 1, 1, 100),
        title=labels.get("name", "")[:500],
        any_of=(Layout(chosen.accelerator, chosen.devices),) if chosen.devices else (),
        env=_texts(table, "environment"),
        secrets=dict.fromkeys(secrets, ""),
        image="" if house else image,
        revisions=revisions,
        labels=labels,
    )
    return Wanted(ask, secrets)


def _texts(table: Reader, key: str) -> dict[str, str]:
    given = table.raw(key, {})
    if not isinstance(given, Mapping):
        raise table.wrong(key, "it is not a table", "Give names and values.")
    return {str(name): value if isinstance(value, str) else str(value) for name, value in given.items()}


def _volumes(table: Reader) -> tuple[dict[str, str], dict[str, str]]:
    """(mount path -> folder under LILONG_IN, folder -> revision of the hub)."""
    mounts: dict[str, str] = {}
    revisions: dict[str, str] = {}
    for at, volume in enumerate(table.list_of_tables("volumes")):
        kind = volume.one_of("type", _KINDS, "")
        path = volume.text("mountPath", limit=300).rstrip("/")
        if not path.startswith("/") or path in mounts:
            raise volume.wrong("mountPath", f"{path!r} is not an absolute path of its own", "Write it such as /data.")
        folder = f"volume-{at}"
        revision, inner = volume.text("revision") or "main", volume.text("path").strip("/")
        mounts[path] = folder
        revisions[folder] = (
            f"{_KINDS[kind]}/{volume.text('source')}" + (f"@{revision}" if kind != "bucket" else "") + (f":{inner}" if inner else "")
        )
    return mounts, revisions


def _argv(command: Sequence[str], mounts: Mapping[str, str], secrets: bool) -> tuple[str, ...]:
    """With the house's interpreter in place of the image's."""
    if command[0] == "uv":
        command = _uv(command)
    if _PYTHON.fullmatch(command[0]):
        command = (PYTHON, *command[1:])
    if not mounts and not secrets:
        return tuple(command) if command[0] == PYTHON or command[0].startswith("/") else ("/usr/bin/env", *command)
    pairs = [word for path, folder in mounts.items() for word in ("--mount", f"{folder}={path}")]
    return (*LAUNCH, *pairs, "--", *command)


def _uv(command: Sequence[str]) -> tuple[str, ...]:
    """`uv run SCRIPT …` with what the house's interpreter has. Raises NotOffered."""
    words = list(command[2:] if command[1:2] == ["run"] or command[1:2] == ("run",) else [])
    while words[:1] == ["--python"]:
        words = words[2:]
    if words[:1] == ["--with"] or not words:
        way_out = "Take an image that has the packages, or leave --with out: what `pip install 'lilong[all]'` brings is there."
        raise NotOffered(what="installing packages for a job" if words else "uv without `run`", way_out=way_out)
    if words[0].startswith(("http://", "https://")):
        raise NotOffered(what="scripts from the network", way_out="Download the script and give its file.")
    return (PYTHON, *words) if words[0].endswith(".py") else tuple(words)


def _in_image(command: Sequence[str], mounts: Mapping[str, str]) -> tuple[str, ...]:
    if mounts:
        raise NotOffered(what="volumes in container images", way_out="Use the image python, or read $LILONG_IN in a job file's job.")
    return tuple(command)


# --- as the clients read it ------------------------------------------------------------------------------------------------


def shown(job: Job, now: float) -> dict[str, Any]:
    """A JobInfo. `now`: unix seconds."""
    told = job.ask.spec.get("hf", {}) if job.ask.kind == KIND else {}
    created = parse_stamp(job.created_at).timestamp()
    started = parse_stamp(job.started_at).timestamp() if job.started_at else None
    ended = parse_stamp(job.finished_at).timestamp() if job.finished_at else None
    return {
        "id": job.id,
        "createdAt": job.created_at,
        "startedAt": job.started_at,
        "finishedAt": job.finished_at,
        "dockerImage": told.get("image", job.ask.image or "python"),
        "spaceId": None,
        "command": told.get("command", list(job.ask.argv)),
        "arguments": [],
        "environment": dict(job.ask.env),
        "secrets": dict.fromkeys(job.ask.secrets),
        "flavor": told.get("flavor", f"{job.ask.cpus} cores"),
        "labels": dict(job.ask.labels) or None,
        "status": {"stage": _STAGES[job.state], "message": _message(job)},
        "durations": {
            "schedulingSecs": int(started - created) if started is not None else None,
            "runningSecs": int((ended or now) - started) if started is not None else None,
            "totalSecs": int((ended or now) - created),
        },
        "owner": {"id": job.ask.organisation, "name": job.ask.organisation, "type": "org"},
        "initiator": {"type": "user", "id": job.submitted_by, "name": job.submitted_by},
        "retry": job.ask.attempts - 1,
    }


def _message(job: Job) -> str | None:
    if job.state in (JobState.QUEUED, JobState.STARTING):
        return job.waits_for
    ended: Exit | None = job.exit if job.state in (JobState.FAILED, JobState.LOST, JobState.CANCELLED) else None
    return ended.reason if ended else None


def states(stages: Sequence[str]) -> frozenset[JobState]:
    """Those that the clients' stages stand for."""
    return frozenset(state for state, stage in _STAGES.items() if stage in stages)


def hardware(each: Flavor, settings: ComputeSettings) -> dict[str, Any]:
    """A JobHardwareInfo; the price in the house's own money, under the client's names."""
    kind = settings.accelerator(each.accelerator) if each.accelerator else None
    return {
        "name": each.name,
        "prettyName": f"{each.devices} × {each.accelerator}" if kind else f"{each.cpus} cores",
        "cpu": f"{each.cpus} vCPU",
        "ram": f"{each.memory_mib / 1024:g} GB",
        "accelerator": {
            "type": "gpu", "model": each.accelerator, "quantity": str(each.devices), "vram": f"{kind.memory_gib * each.devices:g} GB", "manufacturer": kind.vendor,
        } if kind else None,
        "unitCostMicroUSD": round(each.price / 60 * 1_000_000),
        "unitCostUSD": each.price / 60,
        "unitLabel": "minute",
    }  # fmt: skip
