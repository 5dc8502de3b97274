"""Signed statements about digests, and the graph they make: what a thing was made from, and all that was made from it.

A statement links its subjects to its materials. Artifacts and statements are the two kinds of node; the walk is SQL. A statement
can itself be a material (a registration names the reports it rests on), so each links to itself as well (role `self`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lilong.ground import envelope as envelopes
from lilong.ground.envelope import REVOCATION, Artifact, Claim
from lilong.ground.errors import BadInput, Conflict, NotFound
from lilong.ground.events import Events
from lilong.ground.seams import Clock, stamp
from lilong.ground.signing import HOUSE, Keyring, PublicKey

__all__ = ["Artifact", "Claim", "Evidence", "Graph", "KeyRegistered", "Statement", "StatementIssued", "StatementRevoked", "Step", "links"]

if TYPE_CHECKING:
    from lilong.ground.access import Actor
    from lilong.ground.db import Row, Tx


@dataclass(frozen=True, slots=True)
class StatementIssued:
    kind: ClassVar[str] = "statement.issued"
    subject: str  # the statement's id
    predicate_type: str
    subjects: tuple[str, ...]  # digests
    signers: tuple[str, ...]  # keyids


@dataclass(frozen=True, slots=True)
class StatementRevoked:
    kind: ClassVar[str] = "statement.revoked"
    subject: str  # the id of the statement that no longer holds
    by: str  # the id of the revocation
    reason: str
    reach: tuple[str, ...]  # digests of all that rests on it


@dataclass(frozen=True, slots=True)
class KeyRegistered:
    kind: ClassVar[str] = "key.registered"
    subject: str  # keyid
    holder: str
    algorithm: str
    public: str  # PEM


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with its place in the house. `id`: sha256 of the envelope's bytes; `seq`: its event in the log."""

    id: str
    claim: Claim
    signers: tuple[str, ...]  # keyids
    at: str  # RFC 3339, UTC
    actor: str
    seq: int
    revoked_by: str | None

    @property
    def predicate_type(self) -> str:
        return self.claim.predicate_type

    @property
    def subjects(self) -> tuple[Artifact, ...]:
        return self.claim.subjects

    @property
    def materials(self) -> tuple[Artifact, ...]:
        return self.claim.materials

    @property
    def predicate(self) -> Mapping[str, Any]:
        return self.claim.predicate

    @classmethod
    def from_row(cls, row: Row) -> Statement:
        claim, signatures = envelopes.contents(row["envelope"].encode())
        keyids = tuple(keyid for keyid, _ in signatures)
        return cls(row["id"], claim, keyids, row["at"], row["actor"], row["seq"], row["revoked_by"])


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of a walk, without its predicate. `depth`: statements between it and the start."""

    id: str
    predicate_type: str
    at: str
    actor: str
    seq: int
    revoked_by: str | None
    subjects: tuple[Artifact, ...]
    materials: tuple[Artifact, ...]
    depth: int


@dataclass(frozen=True, slots=True)
class Graph:
    """What a walk from `start` met, nearest first; `depths` holds the distance of every artifact, the start's being 0."""

    start: str
    steps: tuple[Step, ...]
    artifacts: tuple[Artifact, ...]
    depths: Mapping[str, int]

    def of_kind(self, *kinds: str) -> list[Artifact]:
        return [artifact for artifact in self.artifacts if artifact.kind in kinds]

    @property
    def revoked(self) -> list[Step]:
        return [step for step in self.steps if step.revoked_by is not None]

    def undone(self, digest: str) -> Step | None:
        """Of a walk down: the revoked statement by which an artifact or statement of it no longer holds; None if it does."""
        makings = {step.id: (step.subjects, step.materials) for step in self.steps if step.predicate_type != REVOCATION}
        cause = envelopes.fallen(makings, {step.id for step in self.revoked}).get(digest)
        return None if cause is None else next(step for step in self.steps if step.id == cause)


_Direction = Literal["down", "up"]
# From a digest, the statements that it enters by one of the first roles, and on to what these name in one of the second.
_ROLES: dict[_Direction, tuple[str, str]] = {"down": ("'subject', 'self'", "'material'"), "up": ("'material', 'self'", "'subject', 'self'")}
# SQLite keeps the order of a CROSS JOIN; left to itself it scans every link to save the sorting for DISTINCT.
_WALK = """
WITH RECURSIVE reached (digest) AS (
    SELECT CAST(:start AS TEXT)
    UNION
    SELECT onward.digest FROM reached
    JOIN ground_links entry ON entry.digest = reached.digest AND entry.role IN ({enter})
    JOIN ground_links onward ON onward.statement = entry.statement AND onward.role IN ({leave})
), met (statement) AS (
    SELECT DISTINCT link.statement FROM reached CROSS JOIN ground_links link WHERE link.digest = reached.digest AND link.role IN ({enter})
)
SELECT s.id, s.predicate_type, s.at, s.actor, s.seq, s.revoked_by, l.role, l.digest, l.kind, l.name
FROM met JOIN ground_statements s ON s.id = met.statement JOIN ground_links l ON l.statement = met.statement
ORDER BY s.seq, l.role, l.position
"""


class Evidence:
    """The door to statements for all who issue or read them. Every function takes the transaction it runs in."""

    def __init__(self, keys: Keyring, events: Events, clock: Clock) -> None:
        self._keys = keys
        self._events = events
        self._clock = clock

    def enrol(self, tx: Tx, public: PublicKey) -> None:
        """Make a public key known: a row, and an event that binds it to its holder in the log. Idempotent."""
        if tx.row("SELECT 1 FROM ground_keys WHERE keyid = :keyid", keyid=public.keyid) is not None:
            return
        seq = self._events.append(tx, _house(), KeyRegistered(public.keyid, public.holder, public.algorithm, public.pem))
        tx.run(
            "INSERT INTO ground_keys (keyid, holder, algorithm, public, seq) VALUES (:keyid, :holder, :algorithm, :public, :seq)",
            keyid=public.keyid, holder=public.holder, algorithm=public.algorithm, public=public.pem, seq=seq,
        )  # fmt: skip

    def keys(self, tx: Tx) -> dict[str, PublicKey]:
        """Every key the house has ever known, by keyid."""
        rows = tx.rows("SELECT keyid, holder, algorithm, public FROM ground_keys ORDER BY seq")
        return {row["keyid"]: PublicKey(row["keyid"], row["holder"], row["algorithm"], row["public"]) for row in rows}

    def issue(
        self,
        tx: Tx,
        actor: Actor,
        *,
        predicate_type: str,
        subjects: Sequence[Artifact],
        materials: Sequence[Artifact] = (),
        predicate: Mapping[str, Any],
        signers: Sequence[str] = (HOUSE,),
    ) -> Statement:
        """Sign and record a statement, its links and its event. `signers` are holders of keys: `house`, a user, an `@organisation`.

        The same claim by the same signers is the same statement: it is returned, not recorded twice. Raises BadInput.
        """
        keys = [self._keys.of(holder) for holder in signers]
        claim = Claim(predicate_type, tuple(subjects), tuple(materials), dict(predicate))
        envelope = envelopes.seal(claim, keys)
        identity = envelopes.statement_id(envelope)
        row = tx.row("SELECT * FROM ground_statements WHERE id = :id", id=identity)
        if row is not None:
            return Statement.from_row(row)
        for key in keys:
            self.enrol(tx, key.public)
        keyids = tuple(key.keyid for key in keys)
        issued = StatementIssued(identity, predicate_type, tuple(subject.digest for subject in subjects), keyids)
        seq = self._events.append(tx, actor, issued)
        at = self._events.get(tx, seq).at
        tx.run(
            "INSERT INTO ground_statements (id, predicate_type, envelope, at, actor, seq)"
            " VALUES (:id, :predicate_type, :envelope, :at, :actor, :seq)",
            id=identity, predicate_type=predicate_type, envelope=envelope.decode(), at=at, actor=actor.user, seq=seq,
        )  # fmt: skip
        tx.many(
            "INSERT INTO ground_links (statement, role, position, digest, kind, name)"
            " VALUES (:statement, :role, :position, :digest, :kind, :name)",
            links(identity, claim),
        )
        claim = envelopes.contents(envelope)[0]  # as a reader will see it, plain JSON throughout
        return Statement(identity, claim, keyids, at, actor.user, seq, None)

    def revoke(self, tx: Tx, actor: Actor, statement: str, reason: str, signers: Sequence[str] = (HOUSE,)) -> Statement:
        """Take a statement back, with a statement that says why and lists all that rests on it. Raises NotFound, Conflict.

        Nothing is deleted. What rests on it is found by `up`; a walk down shows it as revoked.
        """
        if not reason.strip():
            raise BadInput(field="reason", problem="it is empty", way_out="Say why the statement no longer holds.")
        revoked = self.get(tx, statement)
        if revoked.revoked_by is not None:
            raise Conflict(problem=f"The statement {statement} was revoked before, by {revoked.revoked_by}.")
        if revoked.predicate_type == REVOCATION:
            raise Conflict(problem="A revocation cannot be revoked. Issue the statement anew.")
        reach = self.up(tx, statement).artifacts
        made = self.issue(
            tx, actor, predicate_type=REVOCATION, signers=signers,
            subjects=[Artifact(revoked.predicate_type, statement, "statement")],
            predicate={"reason": reason.strip(), "at": stamp(self._clock.now()), "reach": [artifact.descriptor() for artifact in reach]},
        )  # fmt: skip
        tx.run("UPDATE ground_statements SET revoked_by = :by WHERE id = :id", by=made.id, id=statement)
        self._events.append(tx, actor, StatementRevoked(statement, made.id, reason.strip(), tuple(artifact.digest for artifact in reach)))
        return made

    def get(self, tx: Tx, statement: str) -> Statement:
        """Raises NotFound."""
        row = tx.row("SELECT * FROM ground_statements WHERE id = :id", id=statement)
        if row is None:
            raise NotFound(kind="statement", name=statement)
        return Statement.from_row(row)

    def envelope(self, tx: Tx, statement: str) -> bytes:
        """The DSSE envelope's bytes, as signed. Raises NotFound."""
        text = tx.value("SELECT envelope FROM ground_statements WHERE id = :id", id=statement)
        if text is None:
            raise NotFound(kind="statement", name=statement)
        return str(text).encode()

    def about(self, tx: Tx, digest: str, role: Literal["subject", "material"] | None = None, predicate_type: str | None = None) -> list[Statement]:
        """The statements that made a thing (subject) or rest on it (material); None: either. Oldest first, revoked ones included."""
        rows = tx.rows(
            "SELECT s.* FROM ground_statements s WHERE s.id IN (SELECT l.statement FROM ground_links l WHERE l.digest = :digest"
            " AND l.role IN (:first, :second)) ORDER BY s.seq",
            digest=digest, first=role or "subject", second=role or "material",
        )  # fmt: skip
        return [Statement.from_row(row) for row in rows if predicate_type in (None, row["predicate_type"])]

    def named(self, tx: Tx, digest: str) -> Artifact | None:
        """What an artifact's digest was last called, or None where no statement speaks of it."""
        row = tx.row(
            "SELECT l.name, l.digest, l.kind FROM ground_links l JOIN ground_statements s ON s.id = l.statement"
            " WHERE l.digest = :digest AND l.role IN ('subject', 'material') ORDER BY s.seq DESC LIMIT 1",
            digest=digest,
        )
        return None if row is None else Artifact(row["name"], row["digest"], row["kind"])

    def versions(self, tx: Tx, repository: str, kind: str) -> list[Artifact]:
        """The artifacts of a kind that are called `repository`, or `repository@` and a revision."""
        rows = tx.rows(
            "SELECT DISTINCT name, digest, kind FROM ground_links WHERE kind = :kind AND role <> 'self'"
            " AND (name = :repository OR substr(name, 1, :length) = :prefix)",
            kind=kind, repository=repository, length=len(repository) + 1, prefix=f"{repository}@",
        )  # fmt: skip
        return [Artifact(row["name"], row["digest"], row["kind"]) for row in rows]

    def recent(self, tx: Tx, limit: int = 100, before: int | None = None) -> list[Statement]:
        """The newest statements first; `before` a seq, for the next page."""
        rows = tx.rows(
            "SELECT * FROM ground_statements WHERE seq < :before ORDER BY seq DESC LIMIT :limit", before=2**62 if before is None else before, limit=limit
        )
        return [Statement.from_row(row) for row in rows]

    def down(self, tx: Tx, digest: str) -> Graph:
        """What a thing (or a statement, by its id) was made from, and what that was made from, to the sources."""
        return self._walk(tx, digest, "down")

    def up(self, tx: Tx, digest: str) -> Graph:
        """All that was made from a thing (or rests on a statement), and from that, to the last answer."""
        return self._walk(tx, digest, "up")

    def _walk(self, tx: Tx, start: str, direction: _Direction) -> Graph:
        enter, leave = _ROLES[direction]
        rows = tx.rows(_WALK.format(enter=enter, leave=leave), start=start)
        heads: dict[str, Row] = {}
        found: dict[str, dict[str, list[Artifact]]] = {}
        for row in rows:
            heads.setdefault(row["id"], row)
            found.setdefault(row["id"], {"subject": [], "material": [], "self": []})[row["role"]].append(Artifact(row["name"], row["digest"], row["kind"]))
        onward = ("material",) if direction == "down" else ("subject", "self")
        depths, order = _distances(start, found, ("subject", "self") if direction == "down" else ("material", "self"), onward)
        known = {artifact.digest: artifact for links in found.values() for role in ("material", "subject") for artifact in links[role]}
        steps = tuple(
            Step(
                **{column: heads[key][column] for column in ("id", "predicate_type", "at", "actor", "seq", "revoked_by")},
                subjects=tuple(found[key]["subject"]), materials=tuple(found[key]["material"]), depth=depth,
            )
            for key, depth in order
        )  # fmt: skip
        artifacts = tuple(known[digest] for digest in depths if digest in known and (digest not in found or digest == start))
        return Graph(start, steps, artifacts, depths)


def links(statement: str, claim: Claim) -> list[dict[str, Any]]:
    """The rows that join a statement to its artifacts: what it made as subjects, what that rests on as materials."""
    rows = [("self", 0, Artifact(claim.predicate_type, statement, "statement"))]
    rows += [("subject", position, artifact) for position, artifact in enumerate(claim.made)]
    rows += [("material", position, artifact) for position, artifact in enumerate(claim.made_of)]
    return [
        {"statement": statement, "role": role, "position": position, "digest": artifact.digest, "kind": artifact.kind, "name": artifact.name}
        for role, position, artifact in rows
    ]


def _distances(
    start: str, found: Mapping[str, Mapping[str, Sequence[Artifact]]], enter: Sequence[str], leave: Sequence[str]
) -> tuple[dict[str, int], list[tuple[str, int]]]:
    """Breadth first over what the SQL found: the distance of every digest, and the statements in the order in which they were met."""
    entering: dict[str, list[str]] = {}
    for statement, roles in found.items():
        for role in enter:
            for artifact in roles[role]:
                entering.setdefault(artifact.digest, []).append(statement)
    depths, order, met, waiting = {start: 0}, [], set[str](), [start]
    for digest in waiting:
        for statement in entering.get(digest, ()):
            if statement in met:
                continue
            met.add(statement)
            order.append((statement, depths[digest]))
            for role in leave:
                for artifact in found[statement][role]:
                    if artifact.digest not in depths:
                        depths[artifact.digest] = depths[digest] + 1
                        waiting.append(artifact.digest)
    return depths, order


def _house() -> Actor:
    from lilong.ground.access import SYSTEM

    return SYSTEM
