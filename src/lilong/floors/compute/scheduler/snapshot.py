"""All that a live decision looks at, by names, and the decision by names.

Deciding live, replaying a decision, asking why a job waits, estimating its start and trying out other settings all begin with a
`Snapshot`. It comes apart into entries, small JSON values under a name of their own, so that a journal may keep only those that
changed; its digest is over all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SnapNode:
    """`name` is site/node. `cpu`: thousandths of a core; `memory`: MiB; `foreign`: cpu, memory, devices that others than the house hold."""

    name: str
    site: str
    accelerator: str = ""
    devices: int = 0
    cpu: int = 0
    memory: int = 0
    domains: Mapping[str, str] = field(default_factory=dict)
    closes: int | None = None  # second from which it is kept for maintenance
    foreign: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class SnapTenant:
    """Amounts by accelerator class ("" for cores): thousandths of device or core; None: no bound. `used`: see compute_usage."""

    name: str
    parent: str | None = None
    weight: int = 1000  # thousandths
    half_life: int = 604800  # s
    nominal: Mapping[str, int] = field(default_factory=dict)
    borrow: Mapping[str, int] = field(default_factory=dict)
    lend: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    used_at: int = 0


@dataclass(frozen=True, slots=True)
class Way:
    """One way to lay a job out at one site. Per task: `devices` of `milli` thousandths, `cpu` thousandths of a core, `memory` MiB.

    `limit`: seconds that it may run so. `price`: of one device (or core) for one second, in millionths.
    """

    site: str
    accelerator: str = ""
    devices: int = 0
    milli: int = 1000
    cpu: int = 0
    memory: int = 0
    tasks: int = 1
    limit: int = 3600
    price: int = 0
    within: str = "site"
    near: str = ""


@dataclass(frozen=True, slots=True)
class SnapJob:
    id: str
    tenant: str
    submit: int  # unix seconds; orders jobs of one tenant and priority, a deadline before it
    ways: tuple[Way, ...]
    place: int = 0  # order of submission, which breaks ties
    priority: int = 0
    user: str = ""
    preemptible: bool = False
    checkpoint: int = 0
    done: int = 0
    predicted: int = 0  # seconds that it is expected to run; 0: nothing is known of its user
    attained: int = 0  # thousandths of device (or core) times seconds that earlier attempts were given
    stops: int = 0  # attempts that were ended for others, or with the house
    started: int | None = None  # of a job that holds its resources now; with
    way: int = 0  # the way in which it is laid out, and
    places: tuple[tuple[str, int], ...] = ()  # per task: node, devices as a bit set


@dataclass(frozen=True, slots=True)
class Snapshot:
    now: int
    policy: str
    seed: int
    levels: tuple[str, ...]  # of the topology, from the site inwards
    reclaim_s: int  # what may not be preempted borrows only if it ends within so many seconds
    nodes: tuple[SnapNode, ...]
    tenants: tuple[SnapTenant, ...]
    jobs: tuple[SnapJob, ...]
    ageing_s: int = 86400  # of waiting that count as one step of priority; 0: none

    def rules(self) -> dict[str, str]:
        told = {name: getattr(self, name) for name in ("policy", "seed", "levels", "reclaim_s", "ageing_s")}
        return {"now": str(self.now), "rules": canonical(told)}

    def texts(self) -> dict[str, str]:
        """The snapshot apart: name of an entry -> canonical JSON. `together` puts it together again."""
        found = self.rules()
        found |= {f"node/{node.name}": text(node) for node in self.nodes}
        found |= {f"tenant/{tenant.name}": text(tenant) for tenant in self.tenants}
        found |= {f"job/{job.id}": text(job) for job in self.jobs}
        return found


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def text(part: SnapNode | SnapTenant | SnapJob) -> str:
    """An entry as canonical JSON."""
    return canonical(asdict(part))


def job_of(value: Mapping[str, Any]) -> SnapJob:
    """Read back from JSON."""
    places = tuple((node, devices) for node, devices in value["places"])
    return SnapJob(**{**value, "ways": tuple(Way(**way) for way in value["ways"]), "places": places})


def together(texts: Mapping[str, str]) -> Snapshot:
    """The snapshot that `texts` came from."""

    def of(kind: str) -> list[Any]:
        return [json.loads(texts[name]) for name in sorted(texts) if name.startswith(kind + "/")]

    nodes = tuple(SnapNode(**{**value, "foreign": tuple(value["foreign"])}) for value in of("node"))
    tenants = tuple(SnapTenant(**value) for value in of("tenant"))
    jobs = tuple(job_of(value) for value in of("job"))
    rules = json.loads(texts["rules"])
    levels = tuple(rules["levels"])
    return Snapshot(int(texts["now"]), rules["policy"], rules["seed"], levels, rules["reclaim_s"], nodes, tenants, jobs, rules["ageing_s"])


def digest(texts: Mapping[str, str]) -> str:
    """Over every entry by its name, in the order of names."""
    told = "".join(f"{name} {texts[name]}\n" for name in sorted(texts))
    return "sha256:" + hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Beginning:
    way: int
    places: tuple[tuple[str, int], ...]  # per task: node, devices as a bit set


@dataclass(frozen=True, slots=True)
class Decision:
    """`reservations`: promised start in unix seconds. `reasons`: words of `decide.Reason`, lower case. `cost`: millionths."""

    starts: Mapping[str, Beginning]
    preemptions: tuple[str, ...]
    reservations: Mapping[str, int]
    reasons: Mapping[str, str]
    cost: int
