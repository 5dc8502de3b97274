"""From names to numbers and back: a snapshot as the arrays that `decide` takes, and its plan in the names of the snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lilong.floors.compute.scheduler.decide import Plan, Queue, decide
from lilong.floors.compute.scheduler.jobs import NEVER, Job, Option, Shape
from lilong.floors.compute.scheduler.policy import Policy, policies
from lilong.floors.compute.scheduler.simulation.run import Held, opened
from lilong.floors.compute.scheduler.snapshot import Beginning, Decision, SnapJob, SnapNode, Snapshot, SnapTenant, Way
from lilong.floors.compute.scheduler.state import WHOLE, Node, Site, ordered
from lilong.floors.compute.scheduler.tenants import Tenant, Tenants, tenants, totals

FOREIGN = "foreign "  # what others than the house hold of a node is a job with this before the node's name: no id has a blank


@dataclass(frozen=True, slots=True)
class Opened:
    """`nodes`: their names by number; `at`: a job's number in the book by its id. All of a house is one pool."""

    snapshot: Snapshot
    state: Site
    queue: Queue
    policy: Policy
    nodes: tuple[str, ...]
    at: Mapping[str, int]


def opening(snapshot: Snapshot) -> Opened:
    policy = policies()[snapshot.policy]
    words = Words(snapshot)
    nodes = [words.node(node) for node in snapshot.nodes]
    names = tuple(node.name for node in ordered(nodes))
    number = {name: at for at, name in enumerate(names)}
    jobs = sorted(snapshot.jobs, key=lambda job: (job.submit, job.place, job.id))
    waiting = [words.job(job, snapshot.now) for job in jobs if job.started is None]
    held = [words.held(job, number) for job in jobs if job.started is not None]
    held += [words.foreign(node, number[node.name]) for node in snapshot.nodes if any(node.foreign)]
    tree = words.tree(nodes)
    state, queue = opened(nodes, waiting, policy, snapshot.seed, held, snapshot.now, tree)
    return Opened(snapshot, state, queue, policy, names, {name: at for at, name in enumerate(queue.book.names)})


def told(opened: Opened, plan: Plan) -> Decision:
    names, nodes = opened.queue.book.names, opened.nodes
    starts = {
        names[start.job]: Beginning(start.option, tuple((nodes[node], devices) for node, devices in start.places)) for start in plan.starts
    }
    return Decision(
        starts=starts,
        preemptions=tuple(names[one.job] for one in plan.preemptions),
        reservations={names[job]: at for job, at in plan.reservations.items()},
        reasons={names[job]: reason.name.lower() for job, reason in plan.reasons.items()},
        cost=plan.cost,
    )


def decided(snapshot: Snapshot) -> Decision:
    found = opening(snapshot)
    return told(found, decide(found.state, found.queue, found.policy, snapshot.now, snapshot.seed))


class Words:
    """Numbers for the snapshot's names. A kind of node is a pair of site and accelerator class."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.kinds = {pair: at for at, pair in enumerate(sorted({(node.site, node.accelerator) for node in snapshot.nodes}))}
        self.sites = {name: at for at, name in enumerate(sorted({node.site for node in snapshot.nodes}))}
        self.levels = ("site", *(level for level in snapshot.levels if level != "site"))
        paths = sorted({self._path(node, depth) for node in snapshot.nodes for depth in range(len(self.levels))})
        self.domains = {path: at for at, path in enumerate(paths)}
        self.snapshot = snapshot
        self.tenants = {tenant.name: at + 1 for at, tenant in enumerate(snapshot.tenants)}  # 0 is the root
        self.units = (*sorted({accelerator for _, accelerator in self.kinds if accelerator}), "")
        self.users = {user: at for at, user in enumerate(sorted({job.user for job in snapshot.jobs}))}

    def _path(self, node: SnapNode, depth: int) -> tuple[str, ...]:
        return (node.site, *(node.domains.get(level, "") for level in self.levels[1 : depth + 1]))

    def node(self, node: SnapNode) -> Node:
        return Node(
            node.name,
            kind=self.kinds[node.site, node.accelerator],
            devices=node.devices,
            cpu=node.cpu,
            memory=node.memory,
            domains=tuple(self.domains[self._path(node, depth)] for depth in range(len(self.levels))),
            closes=NEVER if node.closes is None else node.closes,
        )

    def option(self, way: Way) -> Option:
        """Cores alone may be taken on any node of the site; devices on those of their class. Kinds are of one site, so level 1 goes without saying."""
        classes = sum(
            1 << at for (site, kind), at in self.kinds.items() if site == way.site and (not way.devices or kind == way.accelerator)
        )
        shape = Shape(way.devices, way.milli if way.devices else WHOLE, way.cpu, way.memory, classes)
        level, near = (self.levels.index(name) + 1 if name in self.levels[1:] else 0 for name in (way.within, way.near))
        return Option(shape, way.tasks, limit=way.limit, level=level, near=near, price=way.price)

    def job(self, job: SnapJob, now: int) -> Job:
        return Job(
            job.id,
            tuple(self.option(way) for way in job.ways),
            submit=min(job.submit, now),
            limit=max(way.limit for way in job.ways),
            tenant=self.tenants.get(job.tenant, 0),
            priority=job.priority,
            user=self.users[job.user],
            preemptible=job.preemptible,
            checkpoint=job.checkpoint,
            done=job.done,
            predicted=job.predicted,
            attained=job.attained,
            stops=job.stops,
        )

    def held(self, job: SnapJob, number: Mapping[str, int]) -> Held:
        assert job.started is not None
        started = min(job.started, self.snapshot.now)  # the clock may have been set back since: it holds what it holds all the same
        return Held(self.job(job, started), started, job.way, tuple((number[node], devices) for node, devices in job.places))

    def foreign(self, node: SnapNode, at: int) -> Held:
        cpu, memory, devices = node.foreign
        option = Option(Shape(devices, WHOLE, cpu, memory))
        job = Job(FOREIGN + node.name, (option,), submit=0, limit=NEVER)
        return Held(job, 0, 0, ((at, ((1 << devices) - 1) << max(node.devices - devices, 0)),))

    def tree(self, nodes: Sequence[Node]) -> Tenants:
        """The root and the snapshot's tenants below it."""
        classes, column = self._columns()
        below, reclaim, ageing = self.snapshot.tenants, self.snapshot.reclaim_s, self.snapshot.ageing_s
        aged = max((tenant.used_at for tenant in below), default=0)
        return tenants(self.listed(), classes, self.size(nodes), column=column, reclaim=reclaim, ageing=ageing, aged=aged)

    def size(self, nodes: Sequence[Node]) -> list[int]:
        """What there is in all, by column."""
        return totals(nodes, *self._columns())

    def _columns(self) -> tuple[int, list[int]]:
        classes = sorted({accelerator for _, accelerator in self.kinds if accelerator})
        return len(classes), [classes.index(accelerator) if accelerator else len(classes) for _, accelerator in self.kinds]

    def listed(self) -> list[Tenant]:
        """The root and those below it, by their numbers."""
        return [Tenant(""), *(self.tenant(one) for one in self.snapshot.tenants)]

    def tenant(self, one: SnapTenant) -> Tenant:
        """Quotas are of accelerator classes, over all sites; the last column is of cores."""
        nominal, borrow, lend = ([of.get(unit) for unit in self.units] for of in (one.nominal, one.borrow, one.lend))
        past = [one.used.get(unit, 0) for unit in self.units]
        parent = 0 if one.parent is None else self.tenants[one.parent]
        return Tenant(one.name, parent, nominal, borrow, lend, one.weight, one.half_life, past)
