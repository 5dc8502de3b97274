"""What was made from versions: up the graph of evidence, and the jobs that read them. Names go only to those who may read of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from lilong.floors.compute.contract import Compute
from lilong.floors.corpus import store
from lilong.floors.corpus.alliance.shapes import Reach, ReachedJob, ReachedThing, ReachedVersion
from lilong.floors.corpus.store import alliance as rows
from lilong.floors.hub.contract import Hub
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.evidence import Artifact
from lilong.ground.house import House

from .parts import found_version, sees_version

_NAMED = frozenset({"model", "deployment", "registration", "certificate", "report", "corpus"})
_IN_REPOSITORIES = ("model", "corpus")
_MOST_JOBS = 1_000


def reach(house: House, tx: Tx, actor: Actor, held: Mapping[str, int | None]) -> Reach:
    """`held`: id of a version -> documents of it that are taken down (None: nobody can say). Answers, receipts and statements are counted, not named."""
    hidden: Counter[str] = Counter()
    versions, manifests = [], {}
    for row in store.by_ids(tx, sorted(held)):
        if row.manifest:
            manifests[row.manifest] = row
        if sees_version(house, tx, actor, row):
            gone, following = row.superseded is not None, row.superseded.next if row.superseded else None
            versions.append(ReachedVersion(row.id, row.organisation, row.repository, row.commit or "", held[row.id], gone, following))
        else:
            hidden["version"] += 1
    things: dict[str, ReachedThing] = {}
    unnamed: dict[str, str] = {}
    for manifest in manifests:
        graph = house.evidence.up(tx, manifest)
        for artifact in graph.artifacts:
            if artifact.digest in manifests or artifact.kind in ("statement", "review"):
                continue
            if artifact.kind in _NAMED and _may_read(house, tx, actor, artifact):
                depth = graph.depths[artifact.digest]
                known = things.get(artifact.digest)
                if known is None or depth < known.depth:
                    things[artifact.digest] = ReachedThing(artifact.kind, artifact.name, artifact.digest, depth)
            else:
                unnamed[artifact.digest] = artifact.kind
    hidden.update(kind for digest, kind in unnamed.items() if digest not in things)
    jobs = _jobs(house, tx, actor, held, hidden)
    return Reach(versions, jobs, sorted(things.values(), key=lambda one: (one.depth, one.kind, one.name)), dict(sorted(hidden.items())))


def reach_of(house: House, actor: Actor, name: str) -> Reach:
    """What was made from a version. Raises VersionNotFound."""

    def read(tx: Tx) -> Reach:
        row = found_version(house, tx, actor, name)
        return reach(house, tx, actor, {row.id: int(row.figures.get("documents", {}).get("kept", 0))})

    return house.db.read(read)


def _jobs(house: House, tx: Tx, actor: Actor, held: Mapping[str, int | None], hidden: Counter[str]) -> list[ReachedJob]:
    found: list[ReachedJob] = []
    for identity in dict.fromkeys(job for version in sorted(held) for job in rows.uses(tx, version)):
        try:
            job = house.port(Compute).job(tx, SYSTEM, identity)  # type: ignore[type-abstract]
        except NotFound:
            continue
        if len(found) < _MOST_JOBS and house.access.allowed(tx, actor, "jobs.read", job.ask.organisation):
            found.append(ReachedJob(job.id, job.ask.kind, job.ask.title, job.state.value))
        else:
            hidden["job"] += 1
    return found


def _may_read(house: House, tx: Tx, actor: Actor, artifact: Artifact) -> bool:
    """As a walk over the evidence shows names: to readers of all evidence, and to those of the nearest models or corpora below a thing."""
    if house.access.allowed(tx, actor, "evidence.read"):
        return True
    hub = house.port(Hub)  # type: ignore[type-abstract]
    graph = house.evidence.down(tx, artifact.digest)
    groups = [[artifact.digest] if artifact.kind in _IN_REPOSITORIES else []]
    for depth in sorted({step.depth for step in graph.steps}):
        here = [step for step in graph.steps if step.depth == depth]
        groups.append([each.digest for step in here for each in step.subjects if each.kind in _IN_REPOSITORIES])
        groups += [[each.digest for step in here for each in step.materials if each.kind == kind] for kind in _IN_REPOSITORIES]
    for group in groups:
        owners = {found.repository.organisation for found in (hub.by_manifest(tx, each) for each in group) if found is not None}
        if owners:
            return any(house.access.allowed(tx, actor, "evidence.read", owner) for owner in owners)
    return False
