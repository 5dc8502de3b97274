"""Repositories as the shelf of jobs: their inputs by revision, and what they leave as a commit with a statement of where it came from."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import lilong
from lilong.floors.compute.contract import Compute, Job, JobFinished, JobState, Pinned, Shelf, told
from lilong.floors.hub import store
from lilong.floors.hub.contract import Hub, Kind, RefExists, Revision
from lilong.floors.hub.rules import names
from lilong.floors.hub.store import buckets as bucket_store
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, LilongError, NotFound
from lilong.ground.events import Recorded
from lilong.ground.evidence import Artifact
from lilong.ground.house import House

from . import buckets, reading, refs, repositories

PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://lilong.dev/job/v1"
_KINDS = {"models": Kind.MODEL, "datasets": Kind.DATASET}
_ARTIFACTS = {Kind.MODEL: "model", Kind.DATASET: "corpus"}  # what statements call them
_MOST_OF_A_BUCKET = 100_000
_WAY_OUT = "Write it as models/NAMESPACE/NAME@main or datasets/NAMESPACE/NAME@main."


def start(house: House) -> None:
    house.provide(Shelf, Repositories(house))  # type: ignore[type-abstract]
    house.subscribe("hub.job-outputs", (JobFinished.kind,), follow)


@dataclass(frozen=True, slots=True)
class _Reference:
    kind: Kind | None  # None: a bucket
    name: str
    ref: str
    folder: str  # within it; "" for all

    @classmethod
    def parse(cls, text: str, field: str) -> _Reference:
        """models/NAMESPACE/NAME@REF:FOLDER; REF is main and FOLDER all of it if not told. Raises BadInput."""
        place, _, folder = text.partition(":")
        path, _, ref = place.partition("@")
        parts = path.split("/")
        if len(parts) != 3 or parts[0] not in (*_KINDS, "buckets") or not all(parts) or len(text) > 500:
            raise BadInput(field=field, problem=f"{text[:100]!r} names no revision", way_out=_WAY_OUT)
        return cls(_KINDS.get(parts[0]), f"{parts[1]}/{parts[2]}", ref or "main", folder.strip("/"))

    def at(self, commit: str) -> str:
        word = "buckets" if self.kind is None else f"{self.kind.value}s"
        return f"{word}/{self.name}" + (f"@{commit}" if commit else "") + (f":{self.folder}" if self.folder else "")


class Repositories:
    """What compute asks of the floor that keeps repositories."""

    def __init__(self, house: House) -> None:
        self._house = house

    def pinned(self, tx: Tx, actor: Actor, reference: str) -> Pinned:
        wanted = _Reference.parse(reference, "inputs")
        if wanted.kind is None:
            return self._bucket(tx, actor, wanted)
        hub = self._house.port(Hub)  # type: ignore[type-abstract]
        revision = hub.revision(tx, actor, wanted.kind, wanted.name, wanted.ref)
        return Pinned(wanted.at(revision.commit), _below(revision.tree(), wanted.folder))

    def _bucket(self, tx: Tx, actor: Actor, wanted: _Reference) -> Pinned:
        """What a bucket holds now: it has no revisions, so its files are pinned one by one."""
        held = buckets.opened(self._house, tx, actor, wanted.name)
        found = bucket_store.below(tx, held, wanted.folder, "", _MOST_OF_A_BUCKET + 1)
        if len(found) > _MOST_OF_A_BUCKET:
            raise BadInput(
                field="inputs", problem=f"the bucket has more than {_MOST_OF_A_BUCKET:,} files there", way_out="Name a folder of it."
            )
        return Pinned(wanted.at(""), _below({file.path: file.digest for file in found}, wanted.folder))

    def check_target(self, tx: Tx, actor: Actor, reference: str) -> str:
        wanted = _Reference.parse(reference, "publish")
        if wanted.kind is None or wanted.folder:
            raise BadInput(field="publish", problem=f"{reference[:100]!r} is not a branch of a repository", way_out=_WAY_OUT)
        names.check(wanted.ref)
        repositories.check_name(wanted.name)
        if wanted.ref != "main" or store.repository(tx, wanted.kind, wanted.name) is not None:
            reading.opened(self._house, tx, actor, wanted.kind, wanted.name, "hub.write")
        else:
            organisation, _, short = wanted.name.partition("/")
            self._house.access.require(tx, actor, "hub.write", organisation, name=short)
            self._house.access.organisation(tx, organisation)
        return wanted.at(wanted.ref)


def _below(files: dict[str, str], folder: str) -> dict[str, str]:
    if not folder:
        return files
    found = {path.removeprefix(f"{folder}/"): digest for path, digest in files.items() if path.startswith(f"{folder}/")}
    if not found:
        raise BadInput(
            field="inputs",
            problem=f"there is nothing in the folder {folder[:100]!r}",
            way_out="Name a folder that the revision has, or leave it out.",
        )
    return found


# --- what jobs leave -------------------------------------------------------------------------------------------------------


def follow(house: House, recorded: Recorded) -> None:
    """A job ended: commit what it left where it said, in its submitter's name. Told twice, there is one commit and one statement."""
    compute = house.port(Compute)  # type: ignore[type-abstract]
    job = house.db.read(lambda tx: compute.job(tx, SYSTEM, recorded.subject))
    if not job.ask.publish or job.published or job.unpublished:
        return
    if job.state is not JobState.SUCCEEDED:
        _give_up(house, job, f"the job is {job.state.value}")
        return
    if not job.outputs:
        _give_up(house, job, "the job left no files")
        return
    try:
        _publish(house, job)
    except LilongError as problem:
        if problem.status >= 500:
            raise  # the house's trouble: the event is handed over again
        _give_up(house, job, str(problem))


def _publish(house: House, job: Job) -> None:
    target = _Reference.parse(job.ask.publish, "publish")
    assert target.kind is not None
    actor = Actor(job.submitted_by)
    if target.ref != "main":
        with contextlib.suppress(RefExists):
            refs.add_branch(house, actor, target.kind, target.name, target.ref)

    def finish(tx: Tx, revision: Revision) -> None:
        subject = Artifact(f"{revision.repository.name}@{revision.commit[:12]}", revision.manifest, _ARTIFACTS[revision.repository.kind])
        house.evidence.issue(
            tx, SYSTEM, predicate_type=PREDICATE, subjects=[subject], materials=_materials(house, tx, job), predicate=_provenance(job, revision)
        )  # fmt: skip
        house.port(Compute).published(tx, job.id, target.at(revision.commit))  # type: ignore[type-abstract]

    files = {output.path: output.digest for output in job.outputs}
    message = job.ask.title or f"What {job.id} left"
    house.port(Hub).publish(actor, target.kind, target.name, files, message, finish, branch=target.ref)  # type: ignore[type-abstract]


def _give_up(house: House, job: Job, problem: str) -> None:
    house.db.write(lambda tx: house.port(Compute).published(tx, job.id, None, problem))  # type: ignore[type-abstract]


def _materials(house: House, tx: Tx, job: Job) -> list[Artifact]:
    """The revisions that the job read, where they are still there."""
    found = []
    for reference in job.ask.revisions.values():
        read = _Reference.parse(reference, "inputs")
        if read.kind is None:
            continue
        with contextlib.suppress(NotFound):
            revision = house.port(Hub).revision(tx, SYSTEM, read.kind, read.name, read.ref, to_read=False)  # type: ignore[type-abstract]
            found.append(Artifact(f"{read.name}@{revision.commit[:12]}", revision.manifest, _ARTIFACTS[read.kind]))
    return found


def _provenance(job: Job, revision: Revision) -> dict[str, object]:
    """The predicate of SLSA Provenance v1 without its resolvedDependencies; fields of our own begin with `lilong_`, as it asks for."""
    shown = told(job)
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "argv": shown["argv"],
                "inputs": dict(job.ask.revisions),
                "publish": job.ask.publish,
                "spec": shown["spec"],
            },
            "internalParameters": {"sandbox": job.sandbox, "network": job.ask.network},
        },
        "runDetails": {
            "builder": {"id": "https://lilong.dev/floors/compute/v1", "version": {"lilong": lilong.__version__}},
            "metadata": {"invocationId": job.id, "startedOn": job.started_at, "finishedOn": job.finished_at},
        },
        "lilong_job": {"submitted_by": job.submitted_by, "commit": revision.commit, "site": job.site, "job": shown},
    }
