"""Evidence as verbs: find a thing by the name people have for it, walk from it, take its proof away, check the house."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lilong.floors.governance.contract import RegistrationNotFound, Registrations
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.floors.serving.contract import Serving
from lilong.ground import log
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.blobs import Blob
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, LilongError, NotFound
from lilong.ground.events import SqlNodes, origin_of
from lilong.ground.evidence import Artifact, Statement, Step
from lilong.ground.house import House
from lilong.operations.bundles.audit import house_key, verify_house
from lilong.operations.bundles.export import Files, Held, Package, gather
from lilong.operations.bundles.findings import plain

Direction = Literal["down", "up"]
_IN_REPOSITORIES = ("model", "corpus")
_TELL_EVERY = 0.3  # seconds
_WHOLE = len("sha256:") + 64
_PAGES = 10  # of statements are looked through for those that one may read


@dataclass(frozen=True, slots=True)
class Found:
    """Where a walk begins, and whose it is (None: of the house)."""

    artifact: Artifact
    organisation: str | None


@dataclass(frozen=True, slots=True)
class ArtifactShown:
    """An artifact of a walk. A private one of an organisation whose hub one may not read keeps its digest and kind only."""

    digest: str
    kind: str
    name: str
    depth: int
    hidden: bool


@dataclass(frozen=True, slots=True)
class StepShown:
    id: str
    predicate_type: str
    at: str
    actor: str
    depth: int
    revoked_by: str | None
    subjects: tuple[str, ...]  # digests
    materials: tuple[str, ...]
    told: tuple[str, ...] = ()  # figures worth a line: documents, licences, what was read


@dataclass(frozen=True, slots=True)
class Trace:
    """A walk: `down` to what a thing was made from, or `up` to all that it touched. Nearest first."""

    start: ArtifactShown
    direction: str
    artifacts: tuple[ArtifactShown, ...]
    statements: tuple[StepShown, ...]


@dataclass(frozen=True, slots=True)
class StatementShown:
    id: str
    predicate_type: str
    at: str
    actor: str
    seq: int
    revoked_by: str | None
    signers: tuple[str, ...]  # who holds the keys
    subjects: tuple[Artifact, ...]
    materials: tuple[Artifact, ...]
    predicate: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StatementListed:
    id: str
    predicate_type: str
    at: str
    actor: str
    seq: int
    revoked_by: str | None
    subjects: tuple[str, ...]  # names


@dataclass(frozen=True, slots=True)
class RevokeAsk:
    reason: str


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That event `seq` is in the log of `size` events: its leaf hash, and the audit path (hex, from the leaf upwards)."""

    seq: int
    size: int
    leaf: str
    path: tuple[str, ...]


class NothingSuch(NotFound):
    """There is nothing called '{name}' that you may see. Give a receipt, organisation/name@revision, a registration number, the name of a source or deployment, or a digest."""


# --- finding -----------------------------------------------------------------------------------------------------------------


def find(house: House, actor: Actor, of: str) -> Found:
    """By receipt, `organisation/name@revision`, registration number, statement id, artifact digest or its first digits, or name.

    Raises NothingSuch, or what the floor that knows such names raises.
    """
    if of.startswith("sha256:"):
        return house.db.read(lambda tx: _by_digest(house, tx, actor, of))
    if of.startswith("LL-"):
        return house.db.read(lambda tx: _by_number(house, tx, actor, of))
    if "/" in of:
        return house.db.read(lambda tx: _by_revision(house, tx, actor, of))
    if not of.startswith("rcpt-"):
        return house.db.read(lambda tx: _by_name(house, tx, actor, of))
    evidence = house.port(Serving).evidence_of(actor, of)  # type: ignore[type-abstract]
    return Found(Artifact(of, evidence.digest, "answer"), evidence.receipt.organisation)


def _by_revision(house: House, tx: Tx, actor: Actor, of: str) -> Found:
    name, _, ref = of.partition("@")
    failure: LilongError = NothingSuch(name=of)
    for kind, artifact_kind in ((Kind.MODEL, "model"), (Kind.DATASET, "corpus")):
        try:
            revision = house.port(Hub).revision(tx, actor, kind, name, ref or "main", to_read=False)  # type: ignore[type-abstract]
        except NotFound as problem:
            failure = problem
            continue
        return Found(Artifact(_called(revision), revision.manifest, artifact_kind), revision.repository.organisation)
    raise failure


def _by_number(house: House, tx: Tx, actor: Actor, number: str) -> Found:
    registration = house.port(Registrations).numbered(tx, number)  # type: ignore[type-abstract]
    hidden = RegistrationNotFound(kind="registration", name=number)
    if registration is None or registration.artifact is None:
        raise hidden
    house.access.require(tx, actor, "governance.read", registration.organisation, hidden=hidden)
    return Found(Artifact(number, registration.artifact, "registration"), registration.organisation)


def _by_name(house: House, tx: Tx, actor: Actor, name: str) -> Found:
    """By the name that statements give a thing, such as a source's or a deployment's; the newest that the actor may read of."""
    # Floors write `name (id)` where a name alone is not unique; ')' is the character after '('.
    rows = tx.rows(
        "SELECT l.digest, MAX(s.seq) AS newest FROM ground_links l JOIN ground_statements s ON s.id = l.statement "
        "WHERE l.role <> 'self' AND (l.name = :name OR (l.name >= :start AND l.name < :end)) GROUP BY l.digest ORDER BY newest DESC LIMIT 20",
        name=name, start=f"{name} (", end=f"{name} )",
    )  # fmt: skip
    for row in rows:
        try:
            return _by_digest(house, tx, actor, row["digest"])
        except NotFound:
            continue
    raise NothingSuch(name=name)


def _by_digest(house: House, tx: Tx, actor: Actor, digest: str) -> Found:
    if len(digest) < _WHOLE:
        digest = _completed(tx, digest)
    known = house.evidence.named(tx, digest)
    if known is None:
        try:
            known = Artifact(house.evidence.get(tx, digest).predicate_type, digest, "statement")
        except NotFound:
            raise NothingSuch(name=digest) from None
    return Found(known, _readable(house, tx, actor, digest))


def _completed(tx: Tx, start: str) -> str:
    """The one digest that begins so. Raises NothingSuch for none, for several, and for fewer than eight digits."""
    digits = start.removeprefix("sha256:")
    if len(digits) < 8 or not set(digits) <= set("0123456789abcdef"):
        raise NothingSuch(name=start)
    found = {row["digest"] for row in tx.rows("SELECT DISTINCT digest FROM ground_links WHERE digest LIKE :start LIMIT 2", start=start + "%")}
    found |= {row["id"] for row in tx.rows("SELECT id FROM ground_statements WHERE id LIKE :start LIMIT 2", start=start + "%")}
    if len(found) != 1:
        raise NothingSuch(name=start)
    return str(found.pop())


def _readable(house: House, tx: Tx, actor: Actor, digest: str) -> str | None:
    """The organisation by which the actor may read of a digest; None for the house's own readers. Raises NothingSuch."""
    if house.access.allowed(tx, actor, "evidence.read"):
        return None
    for owner in sorted(_owners(house, tx, digest)):
        if house.access.allowed(tx, actor, "evidence.read", owner):
            return owner
    raise NothingSuch(name=digest)


def _owners(house: House, tx: Tx, digest: str) -> set[str]:
    """Whose a thing is: the organisations of the nearest models or corpora on its way down, what was made before what it was made of.

    That a model learned from a corpus gives the corpus's readers no right to read about the model.
    """
    groups: list[list[str]] = [[digest]]
    steps = house.evidence.down(tx, digest).steps
    for depth in sorted({step.depth for step in steps}):
        here = [step for step in steps if step.depth == depth]
        groups.append([each.digest for step in here for each in step.subjects if each.kind in _IN_REPOSITORIES])
        groups += [[each.digest for step in here for each in step.materials if each.kind == kind] for kind in _IN_REPOSITORIES]
    for group in groups:
        found = [house.port(Hub).by_manifest(tx, each) for each in group]  # type: ignore[type-abstract]
        if owners := {revision.repository.organisation for revision in found if revision is not None}:
            return owners
    return set()


def _called(revision: Revision) -> str:
    return f"{revision.repository.name}@{revision.commit[:12]}"


# --- walking -----------------------------------------------------------------------------------------------------------------


def trace(house: House, actor: Actor, of: str, direction: Direction = "down") -> Trace:
    found = find(house, actor, of)

    def read(tx: Tx) -> Trace:
        walk = house.evidence.down if direction == "down" else house.evidence.up
        graph = walk(tx, found.artifact.digest)
        everything = direction == "down" or house.access.allowed(tx, actor, "evidence.read")
        shown = tuple(_shown(house, tx, actor, artifact, graph.depths[artifact.digest], everything) for artifact in graph.artifacts)
        start = next((each for each in shown if each.digest == found.artifact.digest), None)
        first = start or ArtifactShown(found.artifact.digest, found.artifact.kind, found.artifact.name, 0, False)
        hidden = {each.digest for each in shown if each.hidden}
        return Trace(first, direction, shown, tuple(_step(step, _told(house, tx, step, hidden)) for step in graph.steps))

    return house.db.read(read)


def _told(house: House, tx: Tx, step: Step, hidden: set[str]) -> tuple[str, ...]:
    """The figures of a statement that a walk should not pass by: which documents and licences a corpus is made of, what a run read."""
    if any(each.digest in hidden for each in step.subjects):
        return ()
    predicate = house.evidence.get(tx, step.id).predicate
    documents, licences = predicate.get("documents"), predicate.get("licences")
    if isinstance(documents, Mapping) and isinstance(licences, Mapping) and step.predicate_type.endswith("/corpus-version/v1"):
        return (
            f"{documents['train']:,} documents to learn from and {documents['held_out']:,} held out, each with its licence in data/*.parquet",
            *(f"licence {name}: {counted['documents']:,} documents" for name, counted in sorted(licences.items())),
        )
    if step.predicate_type == "https://slsa.dev/provenance/v1":
        figures = predicate.get("lilong_run", {}).get("figures") or {}
        if {"tokens", "passages"} <= set(figures):
            return (f"read {figures['tokens']:,} tokens in {figures['passages']:,} passages of the corpus",)
    return ()


def _step(step: Step, told: tuple[str, ...]) -> StepShown:
    subjects, materials = tuple(each.digest for each in step.subjects), tuple(each.digest for each in step.materials)
    return StepShown(step.id, step.predicate_type, step.at, step.actor, step.depth, step.revoked_by, subjects, materials, told)


def _shown(house: House, tx: Tx, actor: Actor, artifact: Artifact, depth: int, everything: bool) -> ArtifactShown:
    """What a thing was made from may be read with it; what others made from it shows its kind, and its name to its own readers."""
    if not everything and not may_read(house, tx, actor, artifact.digest):
        return ArtifactShown(artifact.digest, artifact.kind, f"a private {artifact.kind}", depth, True)
    if artifact.kind in _IN_REPOSITORIES:
        revision = house.port(Hub).by_manifest(tx, artifact.digest)  # type: ignore[type-abstract]
        private = revision is not None and revision.repository.private
        if revision is not None and private and not house.access.allowed(tx, actor, "hub.read", revision.repository.organisation):
            return ArtifactShown(artifact.digest, artifact.kind, f"a private {artifact.kind}", depth, True)
    return ArtifactShown(artifact.digest, artifact.kind, artifact.name, depth, False)


# --- statements --------------------------------------------------------------------------------------------------------------


def statements(house: House, actor: Actor, limit: int = 100, before: int | None = None) -> list[StatementListed]:
    """The newest first, of those that the actor may read."""

    def read(tx: Tx) -> list[StatementListed]:
        found: list[StatementListed] = []
        first, wanted = before, max(1, min(limit, 1000))
        for _ in range(_PAGES):
            page = house.evidence.recent(tx, wanted, first)
            found += [_listed(each) for each in page if may_read(house, tx, actor, each.id)]
            if len(found) >= wanted or len(page) < wanted:
                break
            first = page[-1].seq
        return found[:wanted]

    return house.db.read(read)


def _listed(known: Statement) -> StatementListed:
    names = tuple(subject.name for subject in known.subjects)
    return StatementListed(known.id, known.predicate_type, known.at, known.actor, known.seq, known.revoked_by, names)


def may_read(house: House, tx: Tx, actor: Actor, digest: str) -> bool:
    try:
        _readable(house, tx, actor, digest)
    except NothingSuch:
        return False
    return True


def statement(house: House, actor: Actor, identity: str) -> StatementShown:
    """Raises NothingSuch."""

    def read(tx: Tx) -> StatementShown:
        known = _statement(house, tx, actor, identity)
        keys = house.evidence.keys(tx)
        return StatementShown(
            known.id, known.predicate_type, known.at, known.actor, known.seq, known.revoked_by,
            tuple(keys[keyid].holder for keyid in known.signers), known.subjects, known.materials, known.predicate,
        )  # fmt: skip

    return house.db.read(read)


def envelope(house: House, actor: Actor, identity: str) -> bytes:
    """The DSSE envelope, byte for byte. Raises NothingSuch."""

    def read(tx: Tx) -> bytes:
        return house.evidence.envelope(tx, _statement(house, tx, actor, identity).id)

    return house.db.read(read)


def _statement(house: House, tx: Tx, actor: Actor, identity: str) -> Statement:
    try:
        known = house.evidence.get(tx, identity)
    except NotFound:
        raise NothingSuch(name=identity) from None
    _readable(house, tx, actor, identity)
    return known


def revoke(house: House, actor: Actor, identity: str, ask: RevokeAsk) -> StatementShown:
    """Take a statement back. Registrations and deployments that rest on it follow by event. Raises NothingSuch, Conflict, Forbidden."""

    def write(tx: Tx) -> str:
        known = _statement(house, tx, actor, identity)
        house.access.require(tx, actor, "evidence.revoke")
        return house.evidence.revoke(tx, actor, known.id, ask.reason).id

    return statement(house, actor, house.db.write(write))


# --- proofs ------------------------------------------------------------------------------------------------------------------


def bundle(house: House, actor: Actor, of: str, files: Files = "subject") -> Package:
    """The evidence of a thing, ready to be written. Raises what `find` raises, Forbidden."""
    if files not in ("subject", "all", "none"):
        raise BadInput(field="files", problem=f"{files!r} is not a choice", way_out="Take subject, all or none.")
    found = find(house, actor, of)
    house.db.read(lambda tx: house.access.require(tx, actor, "evidence.export", found.organisation))

    return gather(house, found.artifact, lambda tx, digest: _held(house, tx, actor, digest), files=files)


def _held(house: House, tx: Tx, actor: Actor, digest: str) -> Held | None:
    """The files of a revision that the actor may read."""
    hub = house.port(Hub)  # type: ignore[type-abstract]
    revision = hub.by_manifest(tx, digest)
    if revision is None:
        return None
    try:
        revision = hub.revision(tx, actor, revision.repository.kind, revision.repository.name, revision.commit)
    except LilongError:  # private, behind a gate, or a mirror's whose bytes have not come
        return None
    return Held(_called(revision), {file.path: Blob(file.digest, file.size) for file in revision.files})


def checkpoint(house: House) -> str:
    """The newest signed note over the log. A chore signs as the log grows; only the first is made when it is asked for."""
    note = house.db.read(lambda tx: tx.value("SELECT note FROM ground_checkpoints ORDER BY size DESC LIMIT 1"))
    if note is None:
        note = house.db.write(lambda tx: _first_checkpoint(house, tx))
    return str(note)


def _first_checkpoint(house: House, tx: Tx) -> str:
    signer = house.keys.house()
    house.evidence.enrol(tx, signer.public)
    return house.events.checkpoint(tx, signer, origin_of(house.settings.name))


def key(house: House) -> str:
    return house_key(house)


def inclusion(house: House, seq: int, size: int | None = None) -> InclusionProof:
    """Raises NotFound, BadInput."""

    def read(tx: Tx) -> InclusionProof:
        of = house.events.size(tx) if size is None else min(size, house.events.size(tx))
        leaf = house.events.get(tx, seq).leaf
        return InclusionProof(seq, of, leaf.hex(), tuple(each.hex() for each in log.inclusion(SqlNodes(tx), seq, of)))

    return house.db.read(read)


def consistency(house: House, old: int, new: int) -> tuple[str, ...]:
    """The proof (hex) that the log of `new` events begins with that of `old`. Raises BadInput."""

    def read(tx: Tx) -> tuple[str, ...]:
        if new > house.events.size(tx):
            raise BadInput(field="new", problem="the log is not that long", way_out="Give a size that a checkpoint names.")
        return tuple(each.hex() for each in log.consistency(SqlNodes(tx), old, new))

    return house.db.read(read)


Told = Mapping[str, Any]


def verification(house: House) -> Iterator[Told]:
    """Check the whole house: how far it is, now and then, and in the end {'findings': …}."""
    told: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
    last = 0.0

    def progress(doing: str, done: int, of: int) -> None:
        nonlocal last
        now = house.clock.monotonic()
        if now - last > _TELL_EVERY:
            last = now
            told.put({"doing": doing, "done": done, "of": of})

    def check() -> None:
        try:
            findings = verify_house(house, held=lambda tx, digest: _held(house, tx, SYSTEM, digest), progress=progress)
            told.put({"findings": plain(findings)})
        except Exception as problem:
            told.put({"error": f"the check itself failed: {problem!r}"})
        finally:
            told.put(None)

    thread = threading.Thread(target=check, name="verification", daemon=True)
    thread.start()
    while (line := told.get()) is not None:
        yield line
    thread.join()
