"""What-if over another cluster's trace: the same jobs under a policy as the trace's cluster is, and as it might be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lilong.floors.compute.rules.changing import MOST_NODES, assignment, number
from lilong.floors.compute.rules.reading import nearest
from lilong.floors.compute.scheduler.jobs import Job, Option, Shape
from lilong.floors.compute.scheduler.policy import policies
from lilong.floors.compute.scheduler.simulation.comparing import Bill, Case, compared
from lilong.floors.compute.scheduler.state import WHOLE, Node
from lilong.floors.compute.scheduler.tenants import Tenant, Tenants, tenants, totals
from lilong.floors.compute.traces.playing import Ask, read
from lilong.floors.compute.traces.trace import Trace
from lilong.ground.errors import BadInput

KEYS = ("policy", "pools", "nodes.POOL", "quota.TENANT", "weight.TENANT")
UNIT = 1000  # weights are thousandths


def try_trace(
    ask: Ask, sets: Sequence[str], add: Sequence[Mapping[str, Any]], remove: Sequence[str], tell: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """Figures before and after. A trace's pools are its sites. Raises BadInput, UnreadableTrace."""
    trace = read(ask)
    before = _case(ask, trace, ask.policy, {}, {})
    told = compared(before, _changed(ask, trace, sets, add, remove), tell)
    return told | {
        "jobs": len(trace.jobs),
        "set": list(sets),
        "broken_lines": trace.broken_count,
        "broken": trace.broken,
        "left_out": dict(trace.left_out),
    }


def _case(ask: Ask, trace: Trace, policy: str, quotas: Mapping[str, int], weights: Mapping[str, float]) -> Case:
    found = policies().get(policy)
    if found is None:
        raise BadInput(field="policy", problem=f"there is no {policy!r}", way_out=f"There are {', '.join(policies())}.")
    bill = Bill(ask.price, ask.watts, 0.0, (ask.kgco2,) * 24)
    bills = dict.fromkeys({node.kind for node in trace.nodes}, bill)
    case = Case(trace.nodes, trace.jobs, found, trace.tenants, bills=bills, seed=ask.seed)
    if found.order != "fair" and not quotas and not weights:
        return case
    # A tenant's place in the tree is one after its number: the first is the root.
    jobs = [replace(job, tenant=job.tenant + 1) for job in trace.jobs]
    return replace(case, jobs=jobs, tenants=["(root)", *trace.tenants], tree=_tree(trace.nodes, trace.tenants, quotas, weights))


def _tree(nodes: Sequence[Node], names: Sequence[str], quotas: Mapping[str, int], weights: Mapping[str, float]) -> Tenants:
    classes = 1 + max((node.kind for node in nodes), default=0)
    devices = any(node.devices for node in nodes)
    tree = [Tenant("(root)")]
    for name in names:
        nominal: list[int | None] = [quotas.get(name)] * classes if devices else [*[None] * classes, quotas.get(name)]
        tree.append(Tenant(name, 0, nominal, weight=max(round(UNIT * weights.get(name, 1.0)), 1)))
    return tenants(tree, classes, totals(nodes, classes))


def _changed(ask: Ask, trace: Trace, sets: Sequence[str], add: Sequence[Mapping[str, Any]], remove: Sequence[str]) -> Case:
    if add:
        raise BadInput(
            field="--add-site", problem="the jobs of a trace know no other site", way_out="Give a site more nodes: --set nodes.POOL=N."
        )
    policy, quotas, weights, counts, pools = ask.policy, dict[str, int](), dict[str, float](), dict[str, int](), trace.pools
    for name in remove:
        counts[_one_of(name, pools, "--remove-site", "pool")] = 0
    one_queue = False
    for text in sets:
        key, value = assignment(text)
        word, _, rest = key.partition(".")
        if key == "policy":
            policy = value
        elif key == "pools" and value == "one":
            one_queue = True
        elif word == "nodes" and rest:
            counts[_one_of(rest, pools, f"--set {key}", "pool")] = int(number(key, value, whole=True, high=MOST_NODES))
        elif word == "quota" and rest:
            quotas[_one_of(rest, trace.tenants, f"--set {key}", "tenant")] = round(WHOLE * number(key, value))
        elif word == "weight" and rest:
            weights[_one_of(rest, trace.tenants, f"--set {key}", "tenant")] = number(key, value, low=0.001, high=1000)
        else:
            way_out = f"For a trace there are {', '.join(KEYS)}; the value of pools is `one`, which puts all of them into one queue."
            raise BadInput(field="--set", problem=f"nothing is called {key!r}", way_out=way_out)
    nodes = [node for at, name in enumerate(pools) for node in _resized(trace.nodes, at, counts.get(name))]
    jobs = trace.jobs
    if one_queue:
        nodes, jobs = [replace(node, pool=0) for node in nodes], [_in_one(job) for job in jobs]
    changed = Trace(jobs, nodes, trace.tenants, trace.pools, trace.classes)
    return _case(ask, changed, policy, quotas, weights)


def _one_of(name: str, known: Sequence[str], field: str, what: str) -> str:
    if name not in known:
        raise BadInput(field=field, problem=f"the trace has no {what} {name!r}", way_out=nearest(name, known))
    return name


def _resized(nodes: Sequence[Node], pool: int, many: int | None) -> list[Node]:
    here = [node for node in nodes if node.pool == pool]
    if many is None or not here:
        return here
    more = [replace(here[-1], name=f"{here[-1].name}+{at + 1}") for at in range(many - len(here))]
    return here[:many] + more


def _in_one(job: Job) -> Job:
    def moved(shape: Shape) -> Shape:
        return replace(shape, pool=0)

    options = [
        Option(moved(one.shape), one.tasks, moved(one.rest) if one.rest else None, one.limit, one.level, one.near, one.price)
        for one in job.options
    ]
    return replace(job, options=tuple(options))
