"""Taking a job in: whether it may be asked for, whether it could ever run, and its rows, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lilong.floors.compute import rules, store
from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.compute.contract import (
    FINISHED,
    Inventory,
    Job,
    JobAsk,
    JobImpossible,
    JobNotFound,
    JobState,
    JobSubmitted,
    KeyReused,
    NeedFailed,
    NetworkForbidden,
    OverBudget,
    PriorityForbidden,
    Shelf,
    UseRefused,
)
from lilong.floors.compute.rules import asking, feasible
from lilong.floors.compute.rules.reading import nearest
from lilong.floors.compute.rules.settings import LOCAL, ComputeSettings
from lilong.floors.compute.service import budget, secrets
from lilong.floors.compute.service.spending import month
from lilong.floors.compute.store import asking as rows
from lilong.floors.compute.store import money
from lilong.floors.compute.store import settings as declared
from lilong.floors.compute.work.sites import Sites
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput
from lilong.ground.house import House
from lilong.ground.seams import stamp

MAY_BE_USED = "may-be-used"
_MOST_NEEDS = 100_000
_WAY_OUT = "Ask for less, or for other devices; `lilong compute sites` shows what there is."


def submit(house: House, tx: Tx, actor: Actor, ask: JobAsk, given: Mapping[str, str] | None = None) -> Job:
    """Queue a job, or all jobs of an array, of which the first is returned. `given`: values for its secrets, for this job only.

    Raises Forbidden, NotFound, NetworkForbidden, BadInput, JobNotFound, NeedFailed, JobImpossible, OverBudget, UseRefused, KeyReused,
    SecretNotFound, and what the hub says of its inputs and of where its outputs are to go.
    """
    given = dict(given or {})
    house.access.require(tx, actor, "jobs.submit", ask.organisation)
    house.access.organisation(tx, ask.organisation)
    if ask.network and not house.access.allowed(tx, actor, "jobs.network", ask.organisation):
        raise NetworkForbidden(actor=actor.user, scope=ask.organisation)
    if ask.priority > 0 and not house.access.allowed(tx, actor, "house.manage"):
        raise PriorityForbidden(actor=actor.user)
    rules.check(ask)
    digest = rules.ask_digest(ask)
    if ask.key:
        known = store.by_key(tx, ask.organisation, ask.key)
        if known is not None:
            if known[1] != digest:
                raise KeyReused(key=ask.key)
            return store.job(tx, known[0])
    if asking.passed(ask, house.clock.now()):
        raise BadInput(field="deadline", problem=f"{ask.deadline} has passed", way_out="Give a later time, or leave it out.")
    _, settings = declared.current(tx)
    _possible(ask, settings, _seen(house, settings))
    for name, kept in ask.secrets.items():
        if kept == secrets.ONCE and name not in given:
            raise BadInput(field=f"secrets.{name}", problem="no secret is named", way_out="Name one that `lilong secret list` shows.")
    secrets.check_named(tx, ask)
    numbers, at_once = asking.indices(ask.array) if ask.array else ((), 0)
    cost = asking.worst_case(ask, {"": settings.accelerator("").price, **{name: each.price for name, each in settings.classes.items()}})
    answer = house.gates.ask(budget.GATE, tx=tx, organisation=ask.organisation, project=ask.project, cost=cost * (len(numbers) or 1))
    if not answer.allowed:
        raise OverBudget(reason=answer.reason)
    needs, first = _needs(tx, ask, len(numbers) or 1)
    pinned = _pinned(house, tx, actor, ask)
    _may_use(house, tx, actor, pinned)
    made = _rows(house, tx, actor, pinned, _New(digest, numbers, at_once, cost, len(needs), first), settings)
    rows.add(tx, made, needs)
    money.spend(tx, ask.organisation, ask.project, month(house.clock.now()), cost * len(made))
    for row in made if given else ():
        secrets.give_once(house, tx, row["id"], given, actor.user)
    house.events.append_all(tx, actor, [JobSubmitted(row["id"], ask.organisation, ask.kind) for row in made])
    return store.job(tx, made[0]["id"])


@dataclass(frozen=True, slots=True)
class _New:
    digest: str
    numbers: tuple[int, ...]  # of an array's jobs; none: one job
    at_once: int
    cost: int  # of each
    needs: int
    first_need: str | None

    @property
    def many(self) -> int:
        return len(self.numbers) or 1


def _rows(house: House, tx: Tx, actor: Actor, ask: JobAsk, new: _New, settings: ComputeSettings) -> list[dict[str, Any]]:
    array = house.ids.new("array") if ask.array else None
    slots = new.at_once if new.at_once and not ask.hold else new.many
    if array is not None:
        rows.add_array(tx, array, ask.organisation, new.at_once, 0 if ask.hold else min(slots, new.many))
    place, now = rows.next_place(tx), stamp(house.clock.now())
    made = []
    texts = asking.array_json(ask, new.numbers) if array else [rules.ask_json(ask)]
    for at, text in enumerate(texts):
        held = rows.BY_SOMEBODY if ask.hold else 0
        if new.at_once and (ask.hold or at >= slots):
            held |= rows.BY_ARRAY
        reason, words = rows.told(held, new.needs, new.first_need)
        made.append({
            "id": house.ids.new("job"), "place": place + at, "organisation": ask.organisation, "project": ask.project, "kind": ask.kind,
            "request_key": ask.key if at == 0 else "", "digest": new.digest, "ask": text, "priority": ask.priority, "rank": asking.rank(ask),
            "cpus": ask.cpus, "memory_mib": ask.memory_mib, "service": int(ask.service), "state": JobState.QUEUED.value, "attempt": 0, "stops": 0,
            "cancel_requested": 0, "waits_for": words, "reason": reason, "submitted_by": actor.user, "created_at": now, "tidied": 0, "held": held,
            "array_id": array, "array_index": new.numbers[at] if array else None, "needs_left": new.needs, "cost": new.cost,
        })  # fmt: skip
    return made


def _needs(tx: Tx, ask: JobAsk, many: int) -> tuple[dict[str, bool], str | None]:
    """The jobs that have to end first, of the same organisation, and the first of them. Those that ended as they should are left out.

    An array stands for all of its jobs. `many`: how many jobs there are that need them.
    """
    needs: dict[str, bool] = {}
    for name in (*ask.after, *ask.after_any):
        found = rows.named(tx, name, ask.organisation)
        if not found:
            raise JobNotFound(name=name[:100])
        success = name in ask.after
        for row in found:
            state = JobState(row["state"])
            if state not in FINISHED:
                needs[row["id"]] = success or needs.get(row["id"], False)
            elif success and state is not JobState.SUCCEEDED:
                raise NeedFailed(name=row["id"], state=state.value)
    if len(needs) * many > _MOST_NEEDS:
        problem = f"{many:,} jobs would each wait for {len(needs):,} others"
        raise BadInput(
            field="after", problem=problem, way_out="Put one job between them that waits for the first and is waited for by the rest."
        )
    return needs, next(iter(needs), None)


def _pinned(house: House, tx: Tx, actor: Actor, ask: JobAsk) -> JobAsk:
    """With its revisions by their commits and their files as inputs, and where its outputs go in full."""
    if not ask.revisions and not ask.publish:
        return ask
    try:
        shelf = house.port(Shelf)  # type: ignore[type-abstract]
    except KeyError:
        raise BadInput(
            field="inputs", problem="no floor of this house keeps repositories", way_out="Leave revisions and publish out."
        ) from None
    found = {folder: shelf.pinned(tx, actor, reference) for folder, reference in ask.revisions.items()}
    return replace(
        ask,
        inputs={**ask.inputs, **{folder: pinned.files for folder, pinned in found.items()}},
        revisions={folder: pinned.reference for folder, pinned in found.items()},
        publish=shelf.check_target(tx, actor, ask.publish) if ask.publish else "",
    )


def _may_use(house: House, tx: Tx, actor: Actor, ask: JobAsk) -> None:
    """Whoever gave the texts that a job reads may have said who uses them, and for what. Raises UseRefused."""
    if not ask.inputs or actor == SYSTEM:
        return
    digests = {digest for files in ask.inputs.values() for digest in files.values()}
    reason = house.gates.objection(
        MAY_BE_USED, tx=tx, actor=actor, organisation=ask.organisation, job_kind=ask.kind, labels=ask.labels, digests=digests
    )
    if reason is not None:
        raise UseRefused(reason=reason)


# --- whether it could ever run ---------------------------------------------------------------------------------------------


def _possible(ask: JobAsk, settings: ComputeSettings, inventories: Mapping[str, Inventory]) -> None:
    for field, name in (*(("sites", one) for one in ask.sites), *([("data_at", ask.data_at)] if ask.data_at else [])):
        if name not in settings.sites:
            raise BadInput(field=field, problem=f"there is no site {name[:100]!r}", way_out=nearest(name, settings.sites))
    levels = ("site", *settings.levels, "node")
    for field, level in (("within", ask.within), ("near", ask.near)):
        if level and level not in levels:
            raise BadInput(field=field, problem=f"the topology has no level {level[:100]!r}", way_out=nearest(level, levels))
    if ask.within and ask.near and levels.index(ask.near) < levels.index(ask.within):
        raise BadInput(
            field="near",
            problem=f"{ask.near!r} is wider than {ask.within!r}, in one of which its tasks must lie all the same",
            way_out=f"Name a level below it ({', '.join(levels[levels.index(ask.within) + 1 :]) or 'there is none'}), or leave it out.",
        )
    layouts = asking.layouts(ask)
    for at, layout in enumerate(layouts):
        if layout.accelerator and layout.accelerator not in settings.classes:
            problem = f"there is no class of device {layout.accelerator[:100]!r}"
            raise BadInput(field=f"any_of[{at}].accelerator", problem=problem, way_out=nearest(layout.accelerator, settings.classes))
    chosen = [name for name in settings.sites if not ask.sites or name in ask.sites]
    if ask.image:
        chosen = [name for name in chosen if settings.sites[name].driver == "kubernetes"]
        if not chosen:
            raise JobImpossible(
                reasons=f"no site that it may use runs container images such as {ask.image[:100]!r}",
                way_out="Leave the image out, or add a site that runs containers.",
            )
    if all(name in inventories for name in chosen):  # of a site that was never seen nobody knows what it has
        reasons = feasible.impossible(layouts, ask.within, {name: _groups(name, inventories[name]) for name in chosen})
        if reasons:
            raise JobImpossible(reasons=" · ".join(reasons), way_out=_WAY_OUT)
    reasons = feasible.over_quota(layouts, ask.timeout_s, ask.preemptible and not ask.service, settings, ask.organisation, ask.project)
    if reasons:
        way_out = "Ask for less, make it preemptible or shorter, or ask an operator for a larger quota."
        raise JobImpossible(reasons=" · ".join(reasons), way_out=way_out)


_grouped: dict[str, tuple[Inventory, tuple[feasible.Group, ...]]] = {}  # what was last seen of a site, put together once


def _groups(site: str, inventory: Inventory) -> tuple[feasible.Group, ...]:
    known = _grouped.get(site)
    if known is None or known[0] is not inventory:
        known = _grouped[site] = (inventory, feasible.groups(inventory))
    return known[1]


def inventories(house: House) -> Mapping[str, Inventory]:
    """What the sites have that take new jobs, where that is known."""
    found = dict(house.port(Sites).inventories())
    if LOCAL not in found:  # it was not looked at yet, and can be asked at no cost
        found[LOCAL] = house.port(LocalSite).inventory()
    return found


def _seen(house: House, settings: ComputeSettings) -> Mapping[str, Inventory]:
    """Without sites that were declared otherwise when they were looked at: what they have since then nobody has seen."""
    known = house.port(Sites).known()
    return {name: one for name, one in inventories(house).items() if name in known and known[name].spec == settings.sites.get(name)}
