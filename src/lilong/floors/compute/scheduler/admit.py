"""What could never start is refused at once: a job must fit on its pool, and in its tenant's quota, when nothing else runs there.

Maintenance refuses nothing: it ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from lilong.floors.compute.scheduler.compiled import borrowed, compiled, plainly
from lilong.floors.compute.scheduler.fragmentation import Typical
from lilong.floors.compute.scheduler.jobs import REFUSED, Job, Jobs, Option, Shape
from lilong.floors.compute.scheduler.place import lay, lift
from lilong.floors.compute.scheduler.score import CONSOLIDATED
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Node, Site
from lilong.floors.compute.scheduler.tenants import Tenants, column, may_hold


@compiled
def refuse_impossible(s: Site, h: Any, b: Jobs, t: Typical, most: Ints) -> int:
    """`s` is empty. How many jobs were refused. `most`: per shape, the tasks that are known to fit; zeros at first."""
    s, h, b, t = borrowed(s), borrowed(h), borrowed(b), borrowed(t)
    refused = 0
    for job in range(b.job.size - 1):
        possible = False
        for option in range(b.job[job].first, b.job[job + 1].first):
            shape, tasks = b.option[option].need, b.option[option].tasks
            if b.option[option].rest < 0 and tasks <= most[shape]:
                possible = True
                break
            if b.job[job].pool < s.bounds.size - 1 and lay(s, h, b, t, CONSOLIDATED, job, option, False, -1, -1):
                lift(s, h, b, job)
                b.job[job].placed = 0
                most[shape] = max(most[shape], tasks)
                possible = True
                break
        if not possible:
            b.job[job].state = REFUSED
            refused += 1
    return refused


def impossible(
    nodes: Sequence[Node], classes: Sequence[str], job: Job, empty: Tenants, tenant: str, levels: Sequence[str] = ()
) -> list[str]:
    """Why each of the job's options could never start, a sentence for each; nothing if one of them could.

    `classes`: names of the kinds of nodes; `empty`: the tenants while nobody holds anything; `tenant`: the job's, by name; `levels`:
    names of the topology's. Costs by the number of different nodes and domains.
    """
    told = []
    for option in job.options:
        alike = Counter(replace(node, name="", closes=0) for node in nodes if node.pool == option.shape.pool)
        problem = _misfit(alike, classes, option, levels) or _over_quota(classes, job, option, empty, tenant)
        if not problem:
            return []
        told.append(problem)
    return told


def _misfit(alike: Counter[Node], classes: Sequence[str], option: Option, levels: Sequence[str]) -> str:
    for need in (option.shape, *([option.rest] if option.rest else [])):
        if problem := _too_large(alike, classes, need):
            return problem
    parts: dict[tuple[int, ...] | Node, Counter[Node]] = {}
    for node, count in alike.items():
        known = len(node.domains) >= option.level
        part = parts.setdefault(node.domains[: option.level] if known else node, Counter())
        part[node] += count if known else 1  # a node that is in no known domain is one by itself
    most = max(_room(part.items(), option) for part in parts.values())
    if most >= option.tasks:
        return ""
    many = f"{option.tasks} tasks" + (" and a smaller one" if option.rest else "")
    if not option.level:
        return f"It has {many}, of {_words(option.shape, classes)} each, and all nodes together have room for {most}."
    level = levels[option.level - 1] if option.level <= len(levels) else "node"
    return f"It has {many}, of {_words(option.shape, classes)} each, that must be in one {level}; the largest {level} has room for {most}."


def _too_large(alike: Iterable[Node], classes: Sequence[str], need: Shape) -> str:
    """What one task asks for that no node has."""
    asks, left = _words(need, classes), [node for node in alike if need.classes >> node.kind & 1]
    if not any(node.devices for node in left) and need.devices:
        return f"There is no node with {_class(need, classes)}."
    if not left:
        return "There is no node that it may run on."
    for own, what, unit in (
        ("devices", "devices on one node are", 1),
        ("cpu", "cores on such a node are", WHOLE),
        ("memory", "MiB on such a node are", 1),
    ):
        fitting = [node for node in left if getattr(node, own) >= getattr(need, own)]
        if not fitting:
            most = max(getattr(node, own) for node in left)
            return f"A task asks for {asks}; the most {what} {most / unit:g}."
        left = fitting
    return ""


def _tasks(node: Node, need: Shape, devices: int, shared: int, cpu: int, memory: int) -> int:
    """How many tasks fit on a node with so many whole devices left, and so many thousandths of another."""
    if not need.classes >> node.kind & 1:
        return 0
    most = [1 << 40]
    if need.devices:
        fractions = devices * (WHOLE // need.milli) + shared // need.milli
        most.append(fractions if need.devices == 1 else devices // need.devices)
    if need.cpu:
        most.append(cpu // need.cpu)
    if need.memory:
        most.append(memory // need.memory)
    return max(min(most), 0)


def _room(part: Iterable[tuple[Node, int]], option: Option) -> int:
    """How many of the equal tasks fit, beside the smaller one if there is one."""
    need, rest = option.shape, option.rest
    total, least = 0, None if rest else 0
    for node, count in part:
        each = _tasks(node, need, node.devices, 0, node.cpu, node.memory)
        total += each * count
        if rest and _tasks(node, rest, node.devices, 0, node.cpu, node.memory):
            shared = WHOLE - rest.milli if rest.devices == 1 else 0
            beside = _tasks(node, need, node.devices - rest.devices, shared, node.cpu - rest.cpu, node.memory - rest.memory)
            least = each - beside if least is None else min(least, each - beside)
    return -1 if least is None else total - least


def _over_quota(classes: Sequence[str], job: Job, option: Option, empty: Tenants, tenant: str) -> str:
    bounded = job.preemptible or (job.limit if option.limit is None else option.limit) <= int(empty.terms.reclaim[0])
    needs = [(option.shape, option.tasks)] + ([(option.rest, 1)] if option.rest else [])
    for devices in (True, False):
        amount = sum(tasks * (need.devices * need.milli if devices else need.cpu) for need, tasks in needs if bool(need.devices) == devices)
        kinds = [at for at in range(len(classes)) if any(need.classes >> at & 1 for need, _ in needs if need.devices)] if devices else [0]
        if amount == 0 or not kinds:
            continue
        with plainly():
            columns = [column(empty, kind, int(devices)) for kind in kinds]
            if any(may_hold(empty, job.tenant, at, amount, bounded) for at in columns):
                continue
            most = max(_most(empty, job.tenant, at, amount, bounded) for at in columns)
            in_time = not bounded and any(may_hold(empty, job.tenant, at, amount, True) for at in columns)
        of = " or ".join(dict.fromkeys(classes[kind] for kind in kinds)) if devices else "cores"
        told = f"It asks for {amount / WHOLE:g} {of}, and {tenant} may never hold more than {most / WHOLE:g}"
        if in_time:
            return f"{told} with jobs that run for longer than {int(empty.terms.reclaim[0])} s and cannot be preempted."
        return f"{told}."
    return ""


def _most(empty: Tenants, tenant: int, at: int, above: int, bounded: bool) -> int:
    low, high = 0, above  # it may hold `low`, and not `high`
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if may_hold(empty, tenant, at, middle, bounded) else (low, middle)
    return low


def _class(need: Shape, classes: Sequence[str]) -> str:
    return " or ".join(name for at, name in enumerate(classes) if need.classes >> at & 1) or "a device of its class"


def _words(need: Shape, classes: Sequence[str]) -> str:
    """In few words, such as `8 h20, 16 cores and 65536 MiB`."""
    parts = [f"{need.devices * need.milli / WHOLE:g} {'devices' if need.classes == -1 else _class(need, classes)}"] if need.devices else []
    parts += [f"{need.cpu / WHOLE:g} cores"] if need.cpu or not need.devices else []
    parts += [f"{need.memory} MiB"] if need.memory else []
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
