# mypy: disable-error-code="no-any-return"
# (rows of record arrays have no types that mypy could see)
"""Making room for a job by stopping others: whole gangs, the least of a loss first, none in vain.

Victims are lifted one after another until the job fits. Those whose places it did not take are put back, the dearest first, so nobody
is stopped for nothing; if it does not fit with all of them gone, all are put back and nothing has happened.

*Reclaim* takes from jobs of tenants that hold more than is theirs, on every level up to where they meet the claimant (Kueue's
hierarchical cohorts, KEP-79), for a job that stays within its tenant's own; and within one tenant from lower priorities.
"""

from __future__ import annotations

from typing import Any

from lilong.floors.compute.scheduler.compiled import borrowed, compiled
from lilong.floors.compute.scheduler.fragmentation import Typical
from lilong.floors.compute.scheduler.jobs import NEVER, RUNNING, WAITING, Jobs
from lilong.floors.compute.scheduler.order import (
    CPU,
    DEVICES,
    FIRST,
    KIND,
    MEMORY,
    NEXT,
    PRIORITY,
    TENANT,
    Queues,
    enqueue,
    goes_before,
    leave_out_ended,
    put_last,
    sort_by,
    strike_running,
)
from lilong.floors.compute.scheduler.place import lift, take
from lilong.floors.compute.scheduler.policy import ATTAINED, BORROWERS, FAIR, LATER, REMAINING, Rules
from lilong.floors.compute.scheduler.start import FITS, begin, start_now
from lilong.floors.compute.scheduler.state import WHOLE, Ints, Site
from lilong.floors.compute.scheduler.tenants import Tenants, claim, forget_refusals, hold_job, open_kinds
from lilong.floors.compute.scheduler.turns import waits_for_turns

SECOND = 1 << 48  # keys of the second queue; in each queue whoever entered it first goes first
MOST = 1 << 50
DOUBLINGS = 6


@compiled
def work(b: Jobs, job: int, ran: int) -> int:
    """What a running job does of its work in so many ticks, in the way that it is laid out in."""
    own, limit = b.job[job].limit, b.option[b.job[job].option].limit
    return ran if own == limit or own >= NEVER or limit >= NEVER or limit <= 0 else ran * own // limit


@compiled
def remains(b: Jobs, job: int, now: int) -> int:
    ran = work(b, job, now - b.job[job].start) if b.job[job].state == RUNNING else 0
    return max(b.job[job].limit - b.job[job].done - ran, 1)


@compiled
def rank(q: Queues, b: Jobs, r: Rules, pool: int, now: int) -> None:
    """Give the running jobs of a pool the keys that they would have if they waited; and say when the next one's falls behind."""
    next_time = NEVER
    leave_out_ended(q, b, pool)
    for k in range(q.base[pool], q.base[pool] + q.runs[pool]):
        job = q.running[k]
        if r.order == REMAINING:
            b.job[job].key = remains(b, job, now)
        elif r.order == ATTAINED and b.job[job].key < SECOND:
            lacks = r.threshold - b.job[job].attained - (now - b.job[job].start) * b.job[job].width
            if lacks <= 0:
                b.job[job].key = SECOND + now
            else:
                next_time = min(next_time, now + max(-(-lacks // max(b.job[job].width, 1)), 1))
    q.wake[pool] = next_time if r.order == ATTAINED and q.waits[pool] > 0 else NEVER


@compiled
def may_be_stopped(b: Jobs, r: Rules, job: int, now: int) -> bool:
    ran, turns = now - b.job[job].start, (1 << min(b.job[job].stops, DOUBLINGS)) - 1
    # what has no end of its own, a service or what others than the house hold of a node, gives way only if it says so
    willing = b.job[job].preemptible != 0 or (r.preempts == LATER and b.job[job].limit < NEVER)
    return b.job[job].state == RUNNING and willing and ran > 0 and ran >= r.least_run + r.backoff * turns


@compiled
def lost(b: Jobs, r: Rules, job: int, now: int) -> int:
    """Device-ticks (in thousandths) since the last checkpoint, that would have to be done again."""
    ran = now - b.job[job].start
    if r.preempts == LATER:
        return 0
    return b.job[job].width * (ran % b.job[job].checkpoint if b.job[job].checkpoint > 0 else ran)


@compiled
def list_victims(s: Site, h: Any, b: Jobs, q: Queues, r: Rules, pool: int, now: int) -> int:
    """Those that may be stopped, the first to go first: of the lowest priority, then the last in the order or the least of a loss; and
    in `worth`, from then on, their tenants.
    """
    many = 0
    leave_out_ended(q, b, pool)
    for k in range(q.base[pool], q.base[pool] + q.runs[pool]):
        job = q.running[k]
        if may_be_stopped(b, r, job, now):
            last = MOST - b.job[job].key if r.preempts == LATER else lost(b, r, job, now)
            priority = min(max(b.job[job].priority, -1000), 1000)
            q.victims[many], q.worth[job] = job, priority * (MOST << 1) + min(max(last, 0), MOST)
            many += 1
    sort_by(q.victims, many, q.worth)
    for k in range(many):
        q.worth[k] = b.job[q.victims[k]].tenant
    if r.preempts == BORROWERS:
        _herd(s, h, b, q, now, many)
    return many


@compiled
def _herd(s: Site, h: Any, b: Jobs, q: Queues, now: int, victims: int) -> None:
    """Count what the first `victims` of the list hold, by tenant, kind of node and priority: all of such a herd give way to a job, or none."""
    herd = q.herd
    herd[0, 0] = 0
    for k in range(victims):
        herd[_slot(q, b.job[q.victims[k]].tenant), FIRST] = 0
    for k in range(victims):
        if b.job[q.victims[k]].start < now:
            _count_in(s, h, b, q, q.victims[k], 1)


@compiled
def _slot(q: Queues, tenant: int) -> int:
    return 1 + tenant % (q.herd.shape[0] - 1)


@compiled
def _count_in(s: Site, h: Any, b: Jobs, q: Queues, victim: int, sign: int) -> None:
    herd, place = q.herd, b.place[b.job[victim].room]
    kind = s.node[place.node].kind if h[place.need].devices > 0 else -1
    tenant, priority = b.job[victim].tenant, b.job[victim].priority
    first = _slot(q, tenant)
    at = herd[first, FIRST]
    while at > 0 and not (herd[at, TENANT] == tenant and herd[at, KIND] == kind and herd[at, PRIORITY] == priority):
        at = herd[at, NEXT]
    if at == 0:
        herd[0, 0] += 1
        at = herd[0, 0]
        herd[at, TENANT], herd[at, KIND], herd[at, PRIORITY] = tenant, kind, priority
        herd[at, CPU] = herd[at, MEMORY] = herd[at, DEVICES] = 0
        herd[at, NEXT], herd[first, FIRST] = herd[first, FIRST], at
    for k in range(b.job[victim].room, b.job[victim].room + b.job[victim].placed):
        need = h[b.place[k].need]
        herd[at, CPU] += sign * need.cpu
        herd[at, MEMORY] += sign * need.memory
        herd[at, DEVICES] += sign * need.devices * need.milli


@compiled
def _could_suffice(
    s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, r: Rules, job: int, now: int, victims: int, classes: int, own: bool
) -> bool:
    """Whether there would be enough in all, wherever it is, with everybody gone who gives way."""
    pool, herd = b.job[job].pool, q.herd
    cpu, memory, devices = s.spare[pool, 0], s.spare[pool, 1], s.spare[pool, 2]
    for k in range(victims if r.preempts == LATER else 0):
        victim = q.victims[k]
        if b.job[victim].state == RUNNING and b.job[victim].start < now and _gives_way(s, h, b, T, r, victim, job, classes, own):
            for place in range(b.job[victim].room, b.job[victim].room + b.job[victim].placed):
                need = h[b.place[place].need]
                cpu, memory, devices = cpu + need.cpu, memory + need.memory, devices + need.devices * need.milli
            if _enough(h, b, job, cpu, memory, devices):
                return True
    if r.preempts == LATER or herd[0, 0] == 0:
        return False
    at = herd[0, 0] if own else herd[_slot(q, b.job[job].tenant), FIRST]
    while 0 < at <= herd[0, 0]:  # what is said of a tenant without victims may be of an earlier look
        if _herd_gives_way(b, q, T, at, job, classes, own):
            cpu, memory, devices = cpu + herd[at, CPU], memory + herd[at, MEMORY], devices + herd[at, DEVICES]
            if _enough(h, b, job, cpu, memory, devices):
                return True
        at = at - 1 if own else herd[at, NEXT]
    return False


@compiled
def _herd_gives_way(b: Jobs, q: Queues, T: Tenants, at: int, job: int, classes: int, own: bool) -> bool:
    kind, debtor = q.herd[at, KIND], q.herd[at, TENANT]
    if kind >= 0 and not (classes >> kind) & 1:
        return False
    if debtor == b.job[job].tenant and q.herd[at, PRIORITY] < b.job[job].priority:
        return True
    return own and owes(T, debtor, b.job[job].tenant, T.column[kind] if kind >= 0 else T.capacity.size - 1)


@compiled
def own_part(T: Tenants, h: Any, b: Jobs, job: int) -> tuple[int, int]:
    """Column and amount of the first way in which the job asks for no more than its tenant's own quota has left; 0 of it if none does."""
    if T.terms[0].bounds == 0:
        return 0, 0
    for at in range(b.job[job].first, b.job[job + 1].first):
        need, tasks = h[b.option[at].need], b.option[at].tasks
        amount = tasks * (need.devices * need.milli if need.devices > 0 else need.cpu)
        for kind in range(T.column.size):
            if need.devices > 0 and not (need.classes >> kind) & 1:
                continue
            where = T.column[kind] if need.devices > 0 else T.capacity.size - 1
            home = T.home[b.job[job].tenant, where]
            first = T.line[home, where] in (0, 1 + job)  # who has others before it in line takes nothing from anybody
            if first and T.above[home, where] >= 0 and T.loose[home, where] + amount <= T.common[home, where]:
                return where, amount
    return 0, 0


@compiled
def within_own(T: Tenants, h: Any, b: Jobs, job: int) -> bool:
    return own_part(T, h, b, job)[1] > 0


@compiled
def keep_its_own(T: Tenants, h: Any, b: Jobs, job: int, claims: Ints) -> bool:
    """Who asks for no more than is left of its own quota, which others have borrowed, keeps what has come back of it until all of it has:
    for the rest of this look nobody else borrows that. `claims`: how many there are in [0, 0]; from row 1 on job and column in one, and
    amount. False for others.
    """
    where, amount = own_part(T, h, b, job)
    if amount > 0:
        claim(T, b.job[job].tenant, where, amount)
        claims[0, 0] += 1
        claims[claims[0, 0], 0], claims[claims[0, 0], 1] = job * T.capacity.size + where, amount
    return bool(amount > 0)


@compiled
def let_go(T: Tenants, b: Jobs, claims: Ints) -> None:
    for at in range(1, claims[0, 0] + 1):
        job, where = claims[at, 0] // T.capacity.size, claims[at, 0] % T.capacity.size
        claim(T, b.job[job].tenant, where, -claims[at, 1])


@compiled
def owes(T: Tenants, debtor: int, claimant: int, kind: int) -> bool:
    """Whether a tenant's jobs hold more than is theirs, and so does every subtree they stand in up to where it meets the claimant."""
    at = T.home[debtor, kind]
    if T.loose[at, kind] <= T.common[at, kind]:
        return False
    while at >= 0 and not _over(T, claimant, at, kind):
        if T.used[at, kind] <= T.own[at, kind]:
            return False
        at = T.above[at, kind]
    return bool(at >= 0)


@compiled
def _over(T: Tenants, tenant: int, at: int, kind: int) -> bool:
    """Whether the tenant stands in the subtree of `at`."""
    up = T.home[tenant, kind]
    while up >= 0 and up != at:
        up = T.above[up, kind]
    return bool(up == at)


@compiled
def _gives_way(s: Site, h: Any, b: Jobs, T: Tenants, r: Rules, victim: int, job: int, classes: int, own: bool) -> bool:
    place = b.place[b.job[victim].room]
    kind = s.node[place.node].kind
    if h[place.need].devices > 0 and not (classes >> kind) & 1:
        return False
    if r.preempts == LATER:
        return goes_before(b, job, victim)
    if b.job[victim].tenant == b.job[job].tenant and b.job[victim].priority < b.job[job].priority:
        return True
    where = T.column[kind] if h[place.need].devices > 0 else T.capacity.size - 1
    return own and owes(T, b.job[victim].tenant, b.job[job].tenant, where)


@compiled
def put_back(s: Site, h: Any, b: Jobs, job: int) -> bool:
    """Give a job the places that it had, or none if one of them is taken."""
    pool, base = b.job[job].pool, b.job[job].room
    for k in range(b.job[job].placed):
        place = b.place[base + k]
        need = h[place.need]
        fits = s.node[place.node].cpu >= need.cpu and s.node[place.node].memory >= need.memory
        devices, d = place.devices, 0
        while devices and fits:
            if devices & 1 and s.free[place.node, d] < need.milli:
                fits = False
            devices >>= 1
            d += 1
        if not fits:
            for back in range(k):
                take(s, h, pool, b.place[base + back].node, b.place[base + back].need, b.place[base + back].devices, -1)
            return False
        take(s, h, pool, place.node, place.need, place.devices, 1)
    return True


@compiled
def _lift_victim(s: Site, h: Any, b: Jobs, T: Tenants, victim: int) -> None:
    if T.tenant.size > 1:
        hold_job(T, s, h, b, victim, -1)
    lift(s, h, b, victim)


@compiled
def _restore(s: Site, h: Any, b: Jobs, T: Tenants, victim: int, fits: bool) -> bool:
    if fits and T.terms[0].bounds != 0 and open_kinds(T, h, b, victim, b.job[victim].option) == 0:
        return False
    if not put_back(s, h, b, victim):
        return False
    if T.tenant.size > 1:
        hold_job(T, s, h, b, victim, 1)
    return True


@compiled
def stopped(q: Queues, b: Jobs, r: Rules, job: int, now: int, to: int) -> None:
    """A job was taken off its nodes: it keeps what it may of its work, and waits again."""
    strike_running(q, b, job)
    ran = now - b.job[job].start
    kept = ran
    if r.preempts == BORROWERS:
        kept = ran // b.job[job].checkpoint * b.job[job].checkpoint if b.job[job].checkpoint > 0 else 0
    overhead = r.overhead if b.job[job].width <= 8 * WHOLE else r.overhead_large
    gain = work(b, job, kept)
    if r.preempts == LATER:  # or two who take turns more often than starting again costs would never end
        gain = max(gain - overhead, min(gain, 1))
    else:
        gain -= overhead
    b.job[job].done = max(b.job[job].done + gain, 0)
    b.job[job].attained += b.job[job].width * ran
    b.job[job].stops += 1
    b.job[job].placed, b.job[job].end = 0, NEVER
    q.stopped[q.cycles[3]], q.stopped_for[q.cycles[3]] = job, to
    q.cycles[3] += 1
    b.job[job].state = WAITING
    if r.order == REMAINING:
        b.job[job].key = remains(b, job, now)
    if r.order == FAIR:
        put_last(q, b, job)
    else:
        enqueue(q, b, job, False)


@compiled
def move_out(s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, r: Rules, job: int, now: int) -> None:
    """Stop a job for nobody: it should go elsewhere."""
    s, h, b, q, T = borrowed(s), borrowed(h), borrowed(b), borrowed(q), borrowed(T)
    _lift_victim(s, h, b, T, job)
    stopped(q, b, r, job, now, -1)


@compiled
def make_room(s: Site, h: Any, b: Jobs, q: Queues, t: Typical, T: Tenants, r: Rules, job: int, now: int, victims: int) -> bool:
    """Start a job in the place of the first `victims` of the list. Changes nothing if they do not suffice."""
    own = r.preempts == BORROWERS and within_own(T, h, b, job)
    to = -1 if r.preempts == LATER else b.job[job].tenant * 2 + own
    if denied(h, b, q, job, to) or waits_for_turns(T, h, b, job, now):
        return False
    classes = 0
    for at in range(b.job[job].first, b.job[job + 1].first):
        classes |= h[b.option[at].need].classes
    fits, lifted = False, 0
    base = q.cycles[3]  # those lifted are listed behind those that are stopped for good
    for k in range(victims if _could_suffice(s, h, b, q, T, r, job, now, victims, classes, own) else 0):
        victim = q.victims[k]
        if r.preempts == BORROWERS and not own and q.worth[k] != b.job[job].tenant:
            continue  # who does not stay within its own has only its tenant's lower priorities to take from
        if not (b.job[victim].state == RUNNING and b.job[victim].start < now and _gives_way(s, h, b, T, r, victim, job, classes, own)):
            continue
        _lift_victim(s, h, b, T, victim)
        b.job[victim].state = WAITING
        q.stopped[base + lifted] = victim
        lifted += 1
        spare = s.spare[b.job[job].pool]
        if _enough(h, b, job, spare[0], spare[1], spare[2]) and start_now(s, h, b, q, t, T, r, job, now, NEVER) == FITS:
            fits = True
            begin(s, h, b, q, T, job, now)
            break
    _settle_victims(s, h, b, q, T, r, job, now, base, lifted, fits)
    if fits:
        forget_refusals(T)
    else:
        deny(h, b, q, job, to)
    return fits


@compiled
def _enough(h: Any, b: Jobs, job: int, cpu: int, memory: int, devices: int) -> bool:
    for at in range(b.job[job].first, b.job[job + 1].first):
        need, tasks = h[b.option[at].need], b.option[at].tasks
        if tasks * need.cpu <= cpu and tasks * need.memory <= memory and tasks * need.devices * need.milli <= devices:
            return True
    return False


@compiled
def _settle_victims(
    s: Site, h: Any, b: Jobs, q: Queues, T: Tenants, r: Rules, job: int, now: int, base: int, lifted: int, fits: bool
) -> None:
    """Put back who was lifted in vain, all if the job did not fit; the others are stopped."""
    for k in range(lifted - 1, -1, -1):
        victim = q.stopped[base + k]
        if _restore(s, h, b, T, victim, fits):
            b.job[victim].state = RUNNING
            q.stopped[base + k] = -1
    for k in range(lifted):
        victim = q.stopped[base + k]
        if victim >= 0:
            if r.preempts == BORROWERS:
                _count_in(s, h, b, q, victim, -1)
            stopped(q, b, r, victim, now, job)


@compiled
def _asks(h: Any, b: Jobs, job: int) -> tuple[int, int]:
    """The shape that a denial is noted at, and how many tasks; -1 for a job with several ways or unequal tasks."""
    at = b.job[job].first
    if b.job[job + 1].first - at > 1 or b.option[at].rest >= 0:
        return -1, 0
    return b.option[at].need, b.option[at].tasks


@compiled
def denied(h: Any, b: Jobs, q: Queues, job: int, to: int) -> bool:
    """Whether as much was already denied in this cycle to one who went before this one and had as much to take from."""
    shape, tasks = _asks(h, b, job)
    return shape >= 0 and h[shape].denied_in == q.cycles[0] and h[shape].denied_to == to and tasks >= h[shape].denied_tasks


@compiled
def deny(h: Any, b: Jobs, q: Queues, job: int, to: int) -> None:
    shape, tasks = _asks(h, b, job)
    if shape >= 0:
        h[shape].denied_in, h[shape].denied_to, h[shape].denied_tasks = q.cycles[0], to, tasks
