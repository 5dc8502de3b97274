"""A live decision, in names: the one way in which a snapshot becomes a plan, live and in replay."""

from __future__ import annotations

from lilong.floors.compute.scheduler.snapshot import Decision, Snapshot, canonical, digest

SMALL = 64  # nodes up to which it is quicker to decide without compiling


def decide(snapshot: Snapshot, *, compiled: bool | None = None) -> Decision:
    """The plan is the same, `compiled` or not; left open, it is by the number of nodes."""
    from lilong.floors.compute.scheduler.compiled import plainly  # numpy: a house that never runs a job does without
    from lilong.floors.compute.scheduler.opening import decided

    with plainly(len(snapshot.nodes) <= SMALL if compiled is None else not compiled):
        return decided(snapshot)


def plan_text(decision: Decision) -> str:
    """A decision in canonical form, as the journal keeps it; of the many reasons only the digest."""
    told = {
        "starts": {job: [begin.way, [list(place) for place in begin.places]] for job, begin in decision.starts.items()},
        "preemptions": sorted(decision.preemptions),
        "reservations": dict(decision.reservations),
        "reasons": digest(decision.reasons),
        "cost": decision.cost,
    }
    return canonical(told)
