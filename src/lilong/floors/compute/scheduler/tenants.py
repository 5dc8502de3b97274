# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""Who may hold how much: a tree of tenants with quotas that can be lent and borrowed, as arrays.

A tenant's *nominal* quota of a class is for its whole subtree; one without is bounded by the nearest ancestor that has one (its *home*).
What is not used of it may be used by others under the same parent, up to the lending limit; a tenant may hold its nominal quota and
its borrowing limit, as long as the tree has that much left. These are Kueue's hierarchical cohorts (KEP-79), but for one thing: here a
parent's quota is the total of its subtree, so that parts can be checked against the whole.

What cannot be taken back within the tree's reclaim bound may not borrow: it must fit in the tenant's own quota beside the rest of its
kind. So everything lent can be had back by stopping what borrows it, and none of that runs on for longer than the bound.

Amounts stand in columns: thousandths of a device of each accelerator class, and in the last one thousandths of a core, for tasks
without devices. Several kinds of nodes (the same class at different sites) may share a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lilong.floors.compute.scheduler.compiled import borrowed as lent_out
from lilong.floors.compute.scheduler.compiled import compiled
from lilong.floors.compute.scheduler.jobs import Jobs
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Node, Site, table

UNBOUNDED = 1 << 60
HEAVIEST = 1_000_000  # weight: shares are compared exactly, as products that must fit 64 bits
STEPS = 64  # in which a half-life is counted down
REMAINS = 1062178983  # of 2^30 after one step: round(2^30 · 2^(-1/64))
FORGOTTEN = 60 * STEPS
UNKNOWN = 1000 * WHOLE  # shares are of so much where nobody says how much there is
Amounts = Sequence[int | None]


@dataclass(frozen=True, slots=True)
class Tenant:
    """Quotas by column; None (or a missing one): no bound of its own."""

    name: str
    parent: int = -1  # the one root has none
    nominal: Amounts = ()
    borrow: Amounts = ()  # at most so much above nominal
    lend: Amounts = ()  # at most so much of what it does not use
    weight: int = 1  # among its siblings
    half_life: int = 0  # ticks after which past use counts half; 0: it does not count
    past: Sequence[int] = ()  # what its own jobs used: thousandths times ticks, faded


class Tenants(NamedTuple):
    """n tenants × k columns. Rows n to 2n of `held` and `past` are what a tenant's own jobs hold, without its subtree's."""

    tenant: Any  # see TENANT
    column: Ints  # kind of node -> where its devices are counted
    home: Ints  # the nearest tenant on the way up that has a quota of the column
    above: Ints  # the home of the parent; -1 above the root
    own: Ints  # nominal, less what parts of the subtree keep for themselves
    kept: Ints  # what of it is not lent
    most: Ints  # what may be used of `own` and borrowed
    common: Ints  # nominal that is no part's nominal
    claim: Ints  # row (as of `held`) × column: nominal, and for its own jobs what of it is no part's; -1: it has none
    used: Ints  # of `own`: what its own jobs hold, and what parts hold above what they keep
    loose: Ints  # what is held by jobs whose home it is
    firm: Ints  # the part of it that cannot be taken back
    held: Ints
    past: Ints
    capacity: Ints
    line: Ints  # home × column: 1 + the job that is first in line there (see turns); 0: nobody is
    until: Ints  # when its turn comes; NOT_KNOWN until somebody asks
    beside: Ints  # how much more its home may hold then
    refused: Ints  # row × column: the least that the quota of a home did not allow in this look; from row n on to what cannot be taken back
    terms: Any  # one row, see TERMS


TENANT = ("parent", "weight", "half_life")
TERMS = ("reclaim", "ageing", "aged", "bounds", "root", "turns")


def totals(nodes: Sequence[Node], classes: int, column: Sequence[int] | None = None) -> list[int]:
    """What there is, by column: of `classes` classes, then cores. `column`: kind of node -> class, if they are not the same."""
    there = [0] * (classes + 1)
    for node in nodes:
        there[column[node.kind] if column is not None else node.kind] += node.devices * WHOLE
        there[classes] += node.cpu
    return there


def _amounts(of: Amounts, columns: int) -> list[int]:
    return [-1 if k >= len(of) or of[k] is None else of[k] for k in range(columns)]  # type: ignore[misc]


def tenants(
    tree: Sequence[Tenant],
    classes: int,
    capacity: Sequence[int] | None = None,
    *,
    column: Sequence[int] | None = None,
    reclaim: int = 3600,
    ageing: int = 86400,
    aged: int = 0,
) -> Tenants:
    """An empty tree is one tenant without bounds. `capacity`: see `totals`. `reclaim`: ticks within which what is lent can be had back. `ageing`: ticks of waiting
    that count as one step of priority; 0: none. `aged`: when the tenants' past use was worked out.
    """
    tree = tree or [Tenant("")]
    many, columns = len(tree), classes + 1
    there = [*(() if capacity is None else capacity), *[UNBOUNDED] * columns][:columns]
    root, *rest = _downwards(tree)
    past = [[0] * columns] * (2 * many)
    for at in reversed((root, *rest)):
        past[many + at] = [*tree[at].past, *[0] * (columns - len(tree[at].past))]
        past[at] = _sums(past[at], past[many + at])
        if at != root:
            past[tree[at].parent] = _sums(past[tree[at].parent], past[at])
    rows, terms = table(TENANT, many), table(TERMS, 1)
    for name in TENANT:
        rows[name] = [getattr(one, name) for one in tree]
    bounds = any(of is not None for one in tree for of in one.nominal[:columns])
    terms.reclaim, terms.ageing, terms.aged, terms.bounds, terms.root = reclaim, ageing, aged, bounds, root
    nothing = np.zeros((many, columns), np.int64)
    return Tenants(
        **shares(tree, there)._asdict(),
        **{name: nothing.copy() for name in ("used", "loose", "firm", "line", "until", "beside")},
        tenant=rows,
        column=np.array(range(classes) if column is None else column, np.int64),
        held=np.zeros((2 * many, columns), np.int64),
        past=np.array(past, np.int64),
        capacity=np.array([of if of < UNBOUNDED else UNKNOWN for of in there], np.int64),
        refused=np.full((2 * many, columns), UNBOUNDED, np.int64),
        terms=terms,
    )


class Shares(NamedTuple):
    """What follows from the quotas alone (see Tenants)."""

    home: Ints
    above: Ints
    own: Ints
    kept: Ints
    most: Ints
    common: Ints
    claim: Ints


def shares(tree: Sequence[Tenant], there: Sequence[int]) -> Shares:
    """`there`: what there is, by column. Numbers of Python's: with a few columns that is quicker than arrays of them."""
    many, columns, order = len(tree), len(there), _downwards(tree)
    nominal = [_amounts(one.nominal, columns) for one in tree]
    # where nobody has a quota, that a class is full is a matter of room
    all_of_it = [of if any(row[k] >= 0 for row in nominal) else UNBOUNDED for k, of in enumerate(there)]
    nominal[order[0]] = [of if of >= 0 else all_of_it[k] for k, of in enumerate(nominal[order[0]])]
    home, above = [[-1] * columns] * many, [[-1] * columns] * many
    for at in order:
        if tree[at].parent >= 0:
            above[at] = home[tree[at].parent]
        home[at] = [at if of >= 0 else above[at][k] for k, of in enumerate(nominal[at])]
    own, common = [row.copy() for row in nominal], [row.copy() for row in nominal]
    kept, most, reserved = ([[0] * columns for _ in tree] for _ in range(3))  # reserved: nominal that is kept for itself in the subtree
    for at in reversed(order):
        lend, borrow = _amounts(tree[at].lend, columns), _amounts(tree[at].borrow, columns)
        for k in [k for k in range(columns) if home[at][k] == at]:
            free, over = own[at][k] >= UNBOUNDED, above[at][k]
            own[at][k] = UNBOUNDED if free else max(own[at][k] - reserved[at][k], 0)
            common[at][k] = UNBOUNDED if free else max(common[at][k], 0)
            if over < 0:
                most[at][k] = own[at][k]
                continue
            kept[at][k] = max(own[at][k] - lend[k], 0) if lend[k] >= 0 else 0
            most[at][k] = own[at][k] + borrow[k] if borrow[k] >= 0 else UNBOUNDED
            reserved[over][k] += reserved[at][k] + kept[at][k]
            common[over][k] -= nominal[at][k]
    arrays = [np.array(of, np.int64) for of in (home, above, own, kept, most, common)]
    quota = np.arange(many)[:, None] == arrays[0]
    claim = [np.where(quota, np.minimum(of, there), -1) for of in (np.array(nominal, np.int64), arrays[-1])]
    return Shares._make([*arrays, np.concatenate(claim)])


def _sums(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]


def _downwards(tree: Sequence[Tenant]) -> list[int]:
    """Parents before children. Raises ValueError if it is no tree (`check` says why)."""
    below: list[list[int]] = [[] for _ in tree]
    order: list[int] = []
    for at, one in enumerate(tree):
        (below[one.parent] if one.parent >= 0 else order).append(at)
    if len(order) != 1:
        raise ValueError("a tree of tenants has one root")
    for at in order:
        order.extend(below[at])
    if len(order) < len(tree):
        raise ValueError("a tenant is its own ancestor")
    return order


@compiled
def column(T: Tenants, kind: int, devices: int) -> int:
    """Where a task is counted that takes so many devices of a kind of node."""
    return T.column[kind] if devices > 0 else T.capacity.size - 1


@compiled
def may_hold(T: Tenants, tenant: int, kind: int, amount: int, bounded: bool) -> bool:
    """Whether the tree allows the tenant so much more. `bounded`: it can be taken back within the tree's bound (see `bounded`)."""
    at = T.home[tenant, kind]
    if not bounded and T.firm[at, kind] + amount > T.common[at, kind]:
        return False
    while at >= 0 and amount > 0:
        used, kept = T.used[at, kind], T.kept[at, kind]
        if used + amount > T.most[at, kind]:
            return False
        amount = max(used + amount - kept, 0) - max(used - kept, 0)
        at = T.above[at, kind]
    return True


@compiled
def hold(T: Tenants, tenant: int, kind: int, amount: int, sign: int, bounded: bool) -> None:
    """Count what a tenant takes (sign 1) or gives back (sign -1)."""
    change = sign * amount
    T.held[T.tenant.size + tenant, kind] += change
    at = tenant
    while at >= 0:
        T.held[at, kind] += change
        at = T.tenant[at].parent
    if not bounded:
        T.firm[T.home[tenant, kind], kind] += change
    claim(T, tenant, kind, change)


@compiled
def claim(T: Tenants, tenant: int, kind: int, change: int) -> None:
    """Keep so much of what is the tenant's for it, though it holds nothing yet: others find it gone. A negative change gives it up."""
    at = T.home[tenant, kind]
    T.loose[at, kind] += change
    while at >= 0 and change != 0:
        used, kept = T.used[at, kind], T.kept[at, kind]
        T.used[at, kind] = used + change
        change = max(used + change - kept, 0) - max(used - kept, 0)
        at = T.above[at, kind]


@compiled
def borrowed(T: Tenants, tenant: int, kind: int) -> int:
    """What others could claim back here: by how much the jobs of its home exceed what is theirs, or an ancestor exceeds its own."""
    at = T.home[tenant, kind]
    most = max(T.loose[at, kind] - T.common[at, kind], 0)
    while at >= 0:
        most = max(most, T.used[at, kind] - T.own[at, kind])
        at = T.above[at, kind]
    return most


@compiled
def bounded(T: Tenants, b: Jobs, job: int, option: int) -> bool:
    """Whether what a job takes can be had back in time."""
    return b.job[job].preemptible != 0 or b.option[option].limit <= T.terms[0].reclaim


@compiled
def _hold_place(T: Tenants, s: Site, h: Any, b: Jobs, job: int, k: int, sign: int) -> None:
    need, back = h[b.place[k].need], bounded(T, b, job, b.job[job].option)
    amount = need.devices * need.milli if need.devices > 0 else need.cpu
    hold(T, b.job[job].tenant, column(T, s.node[b.place[k].node].kind, need.devices), amount, sign, back)


@compiled
def hold_job(T: Tenants, s: Site, h: Any, b: Jobs, job: int, sign: int) -> None:
    """Count all that a job, laid out in its `option`, holds: the tasks of one column together."""
    tenant, back, before, total = b.job[job].tenant, bounded(T, b, job, b.job[job].option), -1, 0
    for k in range(b.job[job].room, b.job[job].room + b.job[job].placed):
        need = h[b.place[k].need]
        where = column(T, s.node[b.place[k].node].kind, need.devices)
        if where != before and total > 0:
            hold(T, tenant, before, total, sign, back)
            total = 0
        before = where
        total += need.devices * need.milli if need.devices > 0 else need.cpu
    if total > 0:
        hold(T, tenant, before, total, sign, back)


@compiled
def may_hold_job(T: Tenants, s: Site, h: Any, b: Jobs, job: int) -> bool:
    """Whether the tenant may hold all that a job is laid out on and that is not counted yet."""
    if T.terms[0].bounds == 0:
        return True
    tenant, back, fine = b.job[job].tenant, bounded(T, b, job, b.job[job].option), True
    first, last = b.job[job].room, b.job[job].room
    while fine and last < first + b.job[job].placed:
        need = h[b.place[last].need]
        amount = need.devices * need.milli if need.devices > 0 else need.cpu
        fine = may_hold(T, tenant, column(T, s.node[b.place[last].node].kind, need.devices), amount, back)
        if fine:
            _hold_place(T, s, h, b, job, last, 1)
            last += 1
    for k in range(first, last):
        _hold_place(T, s, h, b, job, k, -1)
    return fine


@compiled
def asked(h: Any, b: Jobs, option: int) -> tuple[int, int, int]:
    """Of devices and of cores for tasks without any, so much for the whole gang; and the kinds of nodes that have the devices, as bits."""
    need, rest = h[b.option[option].need], b.option[option].rest
    devices, cores, classes = 0, 0, need.classes
    if need.devices > 0:
        devices = b.option[option].tasks * need.devices * need.milli
    else:
        cores = b.option[option].tasks * need.cpu
    if rest >= 0 and h[rest].devices > 0:
        classes = classes & h[rest].classes if devices > 0 else h[rest].classes
        devices += h[rest].devices * h[rest].milli
    elif rest >= 0:
        cores += h[rest].cpu
    return devices, cores, classes


@compiled
def open_kinds(T: Tenants, h: Any, b: Jobs, job: int, option: int) -> int:
    """Bit set of the kinds of nodes whose devices the tenant may hold for all of the gang; 0: its quota does not allow it now.

    -1 if it matters not.
    """
    if T.terms[0].bounds == 0:
        return -1
    tenant, back = b.job[job].tenant, bounded(T, b, job, option)
    devices, cores, classes = asked(h, b, option)
    if cores > 0 and not may_hold(T, tenant, T.capacity.size - 1, cores, back):
        _refuse(T, tenant, T.capacity.size - 1, cores, back)
        return 0
    if devices == 0:
        return -1
    found = 0
    for kind in range(T.column.size):
        if (classes >> kind) & 1:
            if may_hold(T, tenant, T.column[kind], devices, back):
                found |= 1 << kind
            else:
                _refuse(T, tenant, T.column[kind], devices, back)
    return found


@compiled
def _refuse(T: Tenants, tenant: int, kind: int, amount: int, bounded: bool) -> None:
    row = T.home[tenant, kind] + (0 if bounded else T.tenant.size)
    T.refused[row, kind] = min(T.refused[row, kind], amount)


@compiled
def was_refused(T: Tenants, tenant: int, kind: int, amount: int, bounded: bool) -> bool:
    """Whether no more than that was not allowed to one of the same home, earlier in this look: nothing was given back since."""
    row = T.home[tenant, kind]
    return bool(amount >= T.refused[row, kind] or (not bounded and amount >= T.refused[T.tenant.size + row, kind]))


@compiled
def forget_refusals(T: Tenants) -> None:
    """Something was given back, or a look begins."""
    T.refused[:] = UNBOUNDED


@compiled
def age(T: Tenants, now: int) -> None:
    """Add what was held since the last time to the past, and let that fade. To be called before anything changes at `now`."""
    T = lent_out(T)
    before = T.terms[0].aged
    if now <= before:
        return
    T.terms[0].aged = now
    many = T.tenant.size
    for row in range(2 * many):
        half_life = T.tenant[row % many].half_life
        if half_life == 0:
            continue
        for kind in range(T.capacity.size):
            if T.held[row, kind] or T.past[row, kind]:
                T.past[row, kind] = faded(T.past[row, kind], T.held[row, kind], before, now, half_life)


@compiled
def faded(past: int, held: int, before: int, now: int, half_life: int) -> int:
    """Past use at `now`, when so much was held since `before`. Steps lie on a fixed grid of time: it makes no difference how often one asks."""
    step, last, at = before * STEPS // half_life, now * STEPS // half_life, before
    if last - step > FORGOTTEN:
        step, past = last - FORGOTTEN, 0
        at = -(-step * half_life // STEPS)
    while step < last:
        step += 1
        border = -(-step * half_life // STEPS)
        past = min(past + held * (border - at), 1 << 52)
        at = border
        past = ((past >> 20) * REMAINS >> 10) + ((past & 0xFFFFF) * REMAINS >> 30)
    return min(past + held * (now - at), 1 << 52)


@compiled
def usage(T: Tenants, row: int, kind: int) -> int:
    """What it holds, and what it held on the average of the past that counts. `row`: see Tenants."""
    half_life = T.tenant[row % T.tenant.size].half_life
    if half_life == 0:
        return T.held[row, kind]
    return T.held[row, kind] + T.past[row, kind] // max(half_life * 1443 // 1000, 1)  # the mean life: half-life / ln 2


def lent(T: Tenants) -> Ints:
    """Tenant × column: how much of each one's own quota, without its parts', is in others' hands. In every subtree as much is lent as
    is borrowed, but for what the subtree as a whole lends or borrows. Who lends is nobody's choice: each in proportion to what it could.
    """
    many, columns = T.home.shape
    found = np.zeros((many, columns), np.int64)
    for kind in range(columns):
        parts: dict[int, list[int]] = {at: [] for at in range(many) if T.home[at, kind] == at}
        for at in parts:
            if T.above[at, kind] >= 0:
                parts[int(T.above[at, kind])].append(at)
        root = next(at for at in parts if T.above[at, kind] < 0)
        waiting = [(root, 0)]
        while waiting:
            at, outside = waiting.pop()
            idle = [max(int(T.common[at, kind] - T.loose[at, kind]), 0)]
            taken = max(int(T.loose[at, kind] - T.common[at, kind]), 0)
            for part in parts[at]:
                has = int(T.own[part, kind] - T.kept[part, kind])
                uses = max(int(T.used[part, kind] - T.kept[part, kind]), 0)
                idle.append(max(has - uses, 0))
                taken += max(uses - has, 0)
            gives = outside + taken - max(int(T.used[at, kind] - T.own[at, kind]), 0)
            total, before, share = sum(idle), 0, 0
            for who, much in zip([at, *parts[at]], idle, strict=True):
                before += much
                upto = gives * before // total if total else 0
                if who == at:
                    found[at, kind] += upto - share
                else:
                    waiting.append((who, upto - share))
                share = upto
    return found


def check(tree: Sequence[Tenant], capacity: Sequence[int] | None, classes: Sequence[str]) -> list[str]:
    """What is wrong with a tree, as sentences; nothing, if all is well. `classes`: their names."""
    problems = []
    names = [one.name for one in tree]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"There are {names.count(name)} tenants called {name}; give each a name of its own.")
    for one in tree:
        problems += _check_alone(one, len(tree), classes)
    roots = [one.name for one in tree if one.parent < 0]
    if len(roots) != 1:
        problems.append(f"A tree has one tenant without a parent; here are {len(roots)}{': ' + ', '.join(roots) if roots else ''}.")
    lost = [one.name for one in tree if not _reaches_a_root(tree, one)]
    if lost:
        problems.append(f"The parents of {', '.join(lost)} lead in a circle; one of them must stand under a tenant outside of it.")
    if problems:
        return problems
    order = _downwards(tree)
    for k, name in enumerate(classes):
        whole = np.array([_amounts(one.nominal, len(classes))[k] for one in tree], np.int64)
        parts = np.zeros(len(tree), np.int64)  # of the subtree, where a tenant says nothing itself
        for at in reversed(order):
            if whole[at] >= 0 and parts[at] > whole[at]:
                problems.append(
                    f"The parts of {tree[at].name} have a nominal quota of {_said(parts[at])} of {name} together, more than its own {_said(whole[at])}."
                    " Raise its quota or lower theirs."
                )
            if at != order[0]:
                parts[tree[at].parent] += whole[at] if whole[at] >= 0 else parts[at]
        all_of_it = max(whole[order[0]], parts[order[0]])
        if capacity is not None and all_of_it > capacity[k]:
            problems.append(f"The tenants have a nominal quota of {_said(all_of_it)} of {name} in all, but there are {_said(capacity[k])}.")
    return problems


def _check_alone(one: Tenant, many: int, classes: Sequence[str]) -> list[str]:
    problems = []
    if not -1 <= one.parent < many:
        problems.append(f"{one.name} stands under a tenant that is not there (number {one.parent}).")
    if not 1 <= one.weight <= HEAVIEST:
        problems.append(f"The weight of {one.name} is {one.weight}; it must be from 1 to {HEAVIEST}.")
    if one.half_life < 0:
        problems.append(f"The half-life of {one.name} is {one.half_life}; it cannot be negative. Zero means that the past does not count.")
    for word, amounts in (("nominal quota", one.nominal), ("borrowing limit", one.borrow), ("lending limit", one.lend)):
        if len(amounts) > len(classes):
            problems.append(f"{one.name} has a {word} of {len(amounts)} classes, but there are {len(classes)}.")
        for k, amount in enumerate(amounts[: len(classes)]):
            if amount is not None and amount < 0:
                problems.append(f"The {word} of {one.name} of {classes[k]} is {_said(amount)}; it cannot be negative.")
            if amount is not None and word != "nominal quota" and (k >= len(one.nominal) or one.nominal[k] is None):
                problems.append(f"{one.name} has a {word} of {classes[k]}, but no nominal quota of it that could be lent or exceeded.")
    return problems


def _reaches_a_root(tree: Sequence[Tenant], one: Tenant) -> bool:
    for _ in tree:
        if not 0 <= one.parent < len(tree):
            return True
        one = tree[one.parent]
    return False


def _said(amount: int) -> str:
    return f"{amount / WHOLE:g}"
