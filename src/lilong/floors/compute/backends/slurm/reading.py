"""What Slurm's commands print, as values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lilong.floors.compute.contract import Ending, Phase, SiteNode

QUEUE_FORMAT = "%i|%j|%T|%r|%N"
PAST_FORMAT = "JobIDRaw,JobName,State,Reason,NodeList"

_WAITING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
_RUNNING = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"})
_ENDINGS: Mapping[str, tuple[Ending, str]] = {
    "CANCELLED": (Ending.STOPPED, "it was cancelled inside Slurm"),
    "PREEMPTED": (Ending.STOPPED, "Slurm took its place back for others"),
    "NODE_FAIL": (Ending.STOPPED, "a node that it ran on failed"),
    "BOOT_FAIL": (Ending.STOPPED, "a node that it was to run on did not come up"),
    "REVOKED": (Ending.STOPPED, "another cluster of the federation took it"),
    "TIMEOUT": (Ending.TIMEOUT, "Slurm ended it at its time limit"),
    "DEADLINE": (Ending.TIMEOUT, "Slurm ended it at its deadline"),
    "OUT_OF_MEMORY": (Ending.MEMORY, "it used more memory than it had asked for"),
}
_REASONS: Mapping[str, str] = {
    "None": "not looked at yet",
    "Resources": "what it needs is in use",
    "Priority": "others go first",
    "Dependency": "another job of its name has not ended",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition is closed",
    "PartitionNodeLimit": "it asks for more nodes than the partition allows: it will never start",
    "PartitionTimeLimit": "it asks for more time than the partition allows: it will never start",
    "ReqNodeNotAvail": "a node that it needs is down, drained or reserved",
    "JobHeldAdmin": "an administrator of the cluster holds it",
    "JobHeldUser": "it is held inside Slurm",
    "Licenses": "a licence is in use",
    "NodeDown": "a node that it needs is down",
    "BeginTime": "its time to begin has not come",
    "Reservation": "its reservation has not begun",
}
_CLOSED = frozenset(
    {"DOWN", "DRAIN", "DRAINED", "DRAINING", "FAIL", "FAILING", "MAINT", "MAINTENANCE", "NOT_RESPONDING", "INVAL", "INVALID_REG", "UNKNOWN",
     "FUTURE", "REBOOT", "REBOOT_ISSUED", "REBOOT_REQUESTED", "BLOCKED", "ERROR"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A job as the queue or the accounts show it."""

    job: int
    state: str
    reason: str
    nodes: tuple[str, ...]

    @property
    def phase(self) -> Phase:
        if self.state in _WAITING:
            return Phase.PENDING
        return Phase.RUNNING if self.state in _RUNNING else Phase.FINISHED

    @property
    def ending(self) -> tuple[Ending, str] | None:
        """Why, where Slurm itself ended it; None where the program ended as it did."""
        return _ENDINGS.get(self.state)

    @property
    def waits_for(self) -> str:
        told = "its nodes are being made ready" if self.state == "CONFIGURING" else _REASONS.get(self.reason, "")
        if self.reason.startswith(("Assoc", "QOS")):
            told = "a limit of the account in Slurm"
        return f"Slurm: {self.reason}" + (f" ({told})" if told else "")


def rows(text: str) -> dict[str, Row]:
    """By job name, from lines of `id|name|state|reason|nodes`. Of twins the earliest counts: a later one finds its run folder taken."""
    found: dict[str, Row] = {}
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) < 5 or not parts[0].isdigit():
            continue
        row = Row(int(parts[0]), parts[2].split(" ")[0], parts[3], hosts(parts[4]))
        before = found.get(parts[1])
        if before is None or row.job < before.job:
            found[parts[1]] = row
    return found


def hosts(text: str) -> tuple[str, ...]:
    """A host list such as `a[1-3,07],b2` name by name."""
    if text in ("", "(null)", "None assigned", "None"):
        return ()
    found: list[str] = []
    for part in _split(text):
        found += _expanded(part)
    return tuple(found)


def _split(text: str) -> list[str]:
    """At commas outside of brackets."""
    return re.findall(r"(?:[^,\[\]()]|\[[^\]]*\]|\([^)]*\))+", text)


def _expanded(text: str) -> list[str]:
    match = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", text)
    if match is None:
        return [text]
    numbers: list[str] = []
    for piece in match[2].split(","):
        first, dash, last = piece.partition("-")
        numbers += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)] if dash else [first]
    return [match[1] + number + rest for rest in _expanded(match[3]) for number in numbers]


_FIELD = re.compile(r"(?:^|\s)([A-Z][A-Za-z0-9_/:]*)=(\S*(?:\s+(?![A-Z][A-Za-z0-9_/:]*=)\S+)*)")


def fields(line: str) -> list[tuple[str, str]]:
    """The pairs of a line of `scontrol --oneliner`; some keys come more than once."""
    return _FIELD.findall(line)


def amounts(text: str) -> dict[str, int]:
    """Generic resources such as `gpu:h20:8(IDX:0-7),gpu:a100:2` as {name or name:type: number}."""
    found: dict[str, int] = {}
    for part in _split(text) if text not in ("", "(null)") else []:
        *name, number = part.partition("(")[0].split(":")
        if name and number.isdigit():
            key = ":".join(name)
            found[key] = found.get(key, 0) + int(number)
    return found


@dataclass(frozen=True, slots=True)
class Held:
    """What is taken of a node: cores, MiB, generic resources."""

    cpus: int = 0
    memory_mib: int = 0
    gres: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterNode:
    name: str
    cpus: int
    memory_mib: int
    gres: Mapping[str, int]
    held: Held
    partitions: tuple[str, ...]
    open: bool


def nodes(text: str) -> list[ClusterNode]:
    """From `scontrol --oneliner --detail show node`."""
    found = []
    for line in text.splitlines():
        told = dict(fields(line))
        if "NodeName" not in told:
            continue
        states = {re.sub(r"[*~#$@^!%-]+$", "", state) for state in told.get("State", "UNKNOWN").split("+")}
        unreachable = "*" in told.get("State", "")
        held = Held(_whole(told, "CPUAlloc"), _whole(told, "AllocMem"), tuple(amounts(told.get("GresUsed", "")).items()))
        found.append(
            ClusterNode(
                name=told["NodeName"],
                cpus=_whole(told, "CPUEfctv") or _whole(told, "CPUTot"),
                memory_mib=_whole(told, "RealMemory") - _whole(told, "MemSpecLimit"),
                gres=amounts(told.get("Gres", "")),
                held=held,
                partitions=tuple(told.get("Partitions", "").split(",")),
                open=not (states & _CLOSED) and not unreachable,
            )
        )
    return found


def held_by(text: str, names: Iterable[str]) -> dict[str, Held]:
    """What the jobs of these names hold, by node, from `scontrol --oneliner --detail show job`."""
    ours = set(names)
    found: dict[str, Held] = {}
    for line in text.splitlines():
        told = fields(line)
        name = next((value for key, value in told if key == "JobName"), "")
        if name not in ours or not any(key == "JobState" and value in _RUNNING for key, value in told):
            continue
        where: tuple[str, ...] = ()
        part: dict[str, str] = {}
        for key, value in [*told, ("Nodes", "")]:
            if key == "Nodes":
                for node in where:
                    found[node] = _plus(found.get(node, Held()), part)
                where, part = hosts(value), {}
            elif key in ("CPU_IDs", "Mem", "GRES"):
                part[key] = value
    return found


def _plus(held: Held, part: Mapping[str, str]) -> Held:
    gres = dict(held.gres)
    for name, number in amounts(part.get("GRES", "")).items():
        gres[name] = gres.get(name, 0) + number
    cpus = sum(
        1 + int(last or first) - int(first)
        for first, _, last in (piece.partition("-") for piece in part.get("CPU_IDs", "").split(",") if piece)
    )
    return Held(held.cpus + cpus, held.memory_mib + int(part.get("Mem", "0") or 0), tuple(gres.items()))


def switches(text: str, levels: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """{node: {level: switch}} from `scontrol --oneliner show topology`; levels beyond those named are left out."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        told = dict(fields(line))
        if "SwitchName" not in told or "Nodes" not in told:
            continue
        level = _whole(told, "Level")
        for node in hosts(told["Nodes"]) if level < len(levels) else ():
            found.setdefault(node, {})[levels[level]] = told["SwitchName"]
    return found


def site_node(node: ClusterNode, classes: Mapping[str, str], domains: Mapping[str, str]) -> tuple[SiteNode, str]:
    """As the house sees a node, and the name of the generic resource that its devices are. `classes`: {accelerator: name[:type]}."""
    accelerator, devices, resource = "", 0, ""
    for name, number in node.gres.items():
        declared = next((known for known, wanted in classes.items() if name == wanted or name.startswith(wanted + ":")), None)
        if declared is None and name.startswith("gpu:") and name.count(":") == 1:
            declared = name.removeprefix("gpu:").lower()
        if declared is not None and number > devices:
            accelerator, devices, resource = declared, number, name
    return SiteNode(node.name, node.cpus, node.memory_mib, accelerator, devices, dict(domains), node.open), resource


def _whole(told: Mapping[str, str], key: str) -> int:
    value = told.get(key, "")
    return int(value) if value.isdigit() else 0
