"""Checks the whole house: every event and node of the log, every checkpoint, statement, link, key and blob.

It reads the database as it is and rebuilds from the events what all else must agree with, so that a changed byte, a row taken out
and a row put in are each found at their place. What it cannot see alone is a history rewritten together with the house's key: for
that, compare a checkpoint kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from lilong.ground import log
from lilong.ground.envelope import REVOCATION, Artifact, BadEnvelope, Claim, contents, open_envelope, statement_id
from lilong.ground.errors import LilongError
from lilong.ground.events import Recorded, origin_of
from lilong.ground.evidence import KeyRegistered, StatementIssued, StatementRevoked, links
from lilong.ground.signing import HOUSE, PublicKey
from lilong.operations.bundles.export import Held
from lilong.operations.bundles.findings import Findings, Notes, Progress, silent

if TYPE_CHECKING:
    from lilong.ground.blobs import Blobs
    from lilong.ground.db import Row, Tx
    from lilong.ground.house import House

_PAGE = 2000
_KEPT = ("answer", "certificate", "deployment", "protocol", "registration", "report", "review")  # artifacts that are blobs of the house


def verify_house(house: House, *, held: Callable[[Tx, str], Held | None] | None = None, progress: Progress = silent) -> Findings:
    """Check everything that the house holds; blobs are read from end to end. Never raises for what it finds.

    `held` answers which files a manifest digest stands for, so that a missing one is noticed.
    """
    audit = _Audit(origin_of(house.settings.name), progress)
    house.db.read(audit.database)
    house.db.read(lambda tx: audit.named_blobs(tx, house.blobs, held))
    audit.blobs(house.blobs)
    for check in house.checks:
        for what in check(house):
            place, _, told = what.partition(": ")
            audit.notes.add(place, told or "it is not sound")
    return Findings(audit.statements, audit.size, audit.blob_count, audit.blob_bytes, house_key(house), tuple(audit.notes))


def house_key(house: House) -> str:
    """The verifier key (name+hash+key) of the house's log, for those who check its bundles and checkpoints."""
    return log.Verifier(origin_of(house.settings.name), house.keys.house().public.raw()).vkey


class _Audit:
    def __init__(self, origin: str, progress: Progress) -> None:
        self.origin, self.progress = origin, progress
        self.notes = Notes()
        self.size = self.statements = self.blob_count = self.blob_bytes = 0
        self.nodes = log.MemoryNodes()
        self.named: dict[str, Artifact] = {}
        self.told: dict[str, dict[str, Recorded]] = {kind: {} for kind in (StatementIssued.kind, StatementRevoked.kind, KeyRegistered.kind)}

    def database(self, tx: Tx) -> None:
        self.events(tx)
        self.stored_nodes(tx)
        keys = self.keys(tx)
        self.checkpoints(tx, keys)
        self.stored_statements(tx, keys)

    # --- the log -----------------------------------------------------------------------------------------------------------

    def events(self, tx: Tx) -> None:
        """Numbers without gaps, bodies that fit; and the tree that these events make."""
        of = tx.value("SELECT COUNT(*) FROM ground_events")

        def lost(seq: int) -> None:
            self.notes.add(f"event {seq}", "it cannot be read")

        for row in _pages(tx, "ground_events", "seq", lost):
            event = Recorded.from_row(row)
            if event.seq != self.size:
                self.notes.add(f"event {self.size}", f"it is missing; the next one is {event.seq}")
                return
            if not event.body_fits:
                self.notes.add(f"event {event.seq}", "its body is not the one that was logged")
                event = replace(event, body_text=None)
            log.append(self.nodes, self.size, event.leaf)
            self.size += 1
            if event.kind in self.told and event.body_text is not None:
                self.told[event.kind][event.subject] = event
            if self.size % _PAGE == 0:
                self.progress("events", self.size, of)

    def stored_nodes(self, tx: Tx) -> None:
        """Every stored node is the one that the events make. A changed event shows at its own leaf."""
        wrong: list[tuple[int, int]] = []
        seen: set[tuple[int, int]] = set()
        for level in sorted({level for level, _ in self.nodes}):
            for row in _pages(tx, "ground_log_nodes", "idx", lambda index, level=level: wrong.append((level, index)), f"level = {level:d}"):  # type: ignore[misc]
                seen.add((level, row["idx"]))
                if dict.get(self.nodes, (level, row["idx"])) != bytes(row["hash"]):
                    wrong.append((level, row["idx"]))
        leaves = [index for level, index in wrong if level == 0]
        for index in leaves:
            self.notes.add(f"event {index}", "it is not the one that was logged")
        for level, index in wrong:
            if level and not any(leaf >> level == index for leaf in leaves):
                self.notes.add(f"log node {level}/{index}", "its hash is not that of the events below it")
        for level, index in self.nodes.keys() - seen:
            self.notes.add(f"log node {level}/{index}", "it is missing")
        if seen - self.nodes.keys() or len(seen) != tx.value("SELECT COUNT(*) FROM ground_log_nodes"):
            self.notes.add("log nodes", "there are nodes beyond the last event")

    def keys(self, tx: Tx) -> Mapping[str, PublicKey]:
        """Every key is the one that the log binds to its holder; those that are."""
        keys: dict[str, PublicKey] = {}
        registered = {event.seq: event for event in self.told[KeyRegistered.kind].values()}

        def lost(seq: int) -> None:
            self.notes.add(f"key {registered[seq].subject if seq in registered else seq}", "it cannot be read")

        for row in _pages(tx, "ground_keys", "seq", lost):
            event = registered.pop(row["seq"], None)
            expected = {"holder": row["holder"], "algorithm": row["algorithm"], "public": row["public"]}
            try:
                key = PublicKey.from_pem(row["holder"], row["public"])
            except LilongError:
                key = None
            if key is None or key.keyid != row["keyid"] or event is None or event.subject != row["keyid"] or event.body != expected:
                self.notes.add(f"key {row['keyid']}", "it is not the key that the log binds to its holder")
            else:
                keys[key.keyid] = key
        for event in registered.values():
            self.notes.add(f"key {event.subject}", "it is missing, though the log says that it was registered")
        return keys

    def checkpoints(self, tx: Tx, keys: Mapping[str, PublicKey]) -> None:
        """Every checkpoint is signed by the house and is what the events still say."""
        verifiers = [log.Verifier(self.origin, key.raw()) for key in keys.values() if key.holder == HOUSE]

        def lost(size: int) -> None:
            self.notes.add(f"checkpoint {size}", "it cannot be read")

        for row in _pages(tx, "ground_checkpoints", "size", lost):
            place = f"checkpoint {row['size']}"
            try:
                names = [log.Verifier(log.Checkpoint.parse(row["note"].rpartition("\n\n")[0] + "\n").origin, each.public) for each in verifiers]
                checkpoint = log.Checkpoint.parse(log.open_note(row["note"], names))
            except LilongError as problem:
                self.notes.add(place, str(problem))
                continue
            if (checkpoint.size, checkpoint.root) != (row["size"], bytes(row["root"])):
                self.notes.add(place, "its columns are not those of its signed note")
            if checkpoint.size > self.size:
                self.notes.add(f"event {self.size}", f"it is missing: {place} signs {checkpoint.size} events")
            elif log.root(self.nodes, checkpoint.size) != checkpoint.root:
                self.notes.add(place, "its root is not that of the events: the log was changed after it was signed")

    # --- statements --------------------------------------------------------------------------------------------------------

    def stored_statements(self, tx: Tx, keys: Mapping[str, PublicKey]) -> None:
        issued, revoked = self.told[StatementIssued.kind], self.told[StatementRevoked.kind]
        of = tx.value("SELECT COUNT(*) FROM ground_statements")
        found: set[str] = set()

        def lost(seq: int) -> None:
            identity = tx.value("SELECT id FROM ground_statements WHERE seq = :seq", seq=seq)
            found.add(identity)
            self.notes.add(f"statement {identity}", "it cannot be read")

        for row in _pages(tx, "ground_statements", "seq", lost):
            self.statements += 1
            found.add(row["id"])
            if self.statements % 100 == 0:
                self.progress("statements", self.statements, of)
            for what in self.statement(tx, row, keys, issued.get(row["id"]), revoked.get(row["id"])):
                self.notes.add(f"statement {row['id']}", what)
        for identity in issued:
            if identity not in found:
                self.notes.add(f"statement {identity}", "it is missing, though the log says that it was issued")
        loose = tx.value("SELECT COUNT(*) FROM ground_links WHERE statement NOT IN (SELECT id FROM ground_statements)")
        if loose:
            self.notes.add("links", f"{loose} belong to no statement")

    def statement(
        self, tx: Tx, row: Row, keys: Mapping[str, PublicKey], issued: Recorded | None, revoked: Recorded | None
    ) -> Iterator[str]:
        """What is wrong with one statement's row; what it names is remembered."""
        content = row["envelope"].encode()
        if statement_id(content) != row["id"]:
            yield "its bytes are not those that its id names"
        try:
            claim, signers = open_envelope(content, keys)
        except BadEnvelope as problem:
            yield str(problem)
            return
        self.named.update({each.digest: each for each in (*claim.materials, *claim.subjects)})
        if row["predicate_type"] != claim.predicate_type:
            yield "its type is not the one that was signed"
        try:
            stored = tx.rows("SELECT statement, role, position, digest, kind, name FROM ground_links WHERE statement = :id", id=row["id"])
        except SQLAlchemyError:
            yield "its links cannot be read"
            return
        if {tuple(sorted(link.items())) for link in stored} != {tuple(sorted(link.items())) for link in links(row["id"], claim)}:
            yield "its links are not those that were signed"
        said = {"predicate_type": claim.predicate_type, "subjects": [each.digest for each in claim.subjects], "signers": [each.keyid for each in signers]}
        if issued is None or (issued.seq, issued.at, issued.actor) != (row["seq"], row["at"], row["actor"]) or issued.body != said:
            yield "the log does not say that it was issued so"
        if (revoked.body["by"] if revoked else None) != row["revoked_by"]:
            yield "whether it is revoked is not what the log says"
        elif row["revoked_by"] and not _revokes(tx, row["revoked_by"], row["id"]):
            yield "the statement that revokes it is missing or is about another"

    # --- blobs -------------------------------------------------------------------------------------------------------------

    def named_blobs(self, tx: Tx, blobs: Blobs, held: Callable[[Tx, str], Held | None] | None) -> None:
        """What statements name as kept by the house is there."""
        for artifact in self.named.values():
            if artifact.kind in _KEPT and artifact.digest not in self.told[StatementIssued.kind]:
                self.present(blobs, artifact.digest, f"{artifact.kind} {artifact.name}")
            elif held is not None and artifact.kind in ("model", "corpus") and (files := held(tx, artifact.digest)) is not None:
                for path, blob in files.files.items():
                    self.present(blobs, blob.digest, f"{files.name}/{path}")

    def present(self, blobs: Blobs, digest: str, what: str) -> None:
        if not blobs.has(digest):
            self.notes.add(f"blob {digest}", f"it is missing, and it is {what}")

    def blobs(self, blobs: Blobs) -> None:
        """Every blob, read and hashed."""
        digests = list(blobs.digests())
        total = sum(blobs.size(digest) for digest in digests)
        for digest in digests:
            try:
                self.blob_bytes += blobs.size(digest)
                blobs.verify(digest)
            except LilongError as problem:
                self.notes.add(f"blob {digest}", str(problem))
            self.blob_count += 1
            self.progress("blobs", self.blob_bytes, total)


def _revokes(tx: Tx, revocation: str, statement: str) -> bool:
    text = tx.value("SELECT envelope FROM ground_statements WHERE id = :id", id=revocation)
    if text is None:
        return False
    try:
        claim: Claim = contents(text.encode())[0]
    except BadEnvelope:
        return False
    return claim.predicate_type == REVOCATION and [subject.digest for subject in claim.subjects] == [statement]


def _pages(tx: Tx, table: str, by: str, lost: Callable[[int], None], where: str = "1 = 1") -> Iterator[Row]:
    """All rows of a table in the order of a whole number, a page at a time; `lost` hears of those that cannot be read at all."""
    sql = f"SELECT * FROM {table} WHERE {where} AND {by} >= :first ORDER BY {by} LIMIT :limit"
    first, limit = 0, _PAGE
    while True:
        try:
            rows = tx.rows(sql, first=first, limit=limit)
        except SQLAlchemyError:  # such as text that is no longer UTF-8: find the row
            if limit > 1:
                limit = 1
                continue
            first = tx.value(f"SELECT MIN({by}) FROM {table} WHERE {where} AND {by} >= :first", first=first)
            lost(first)
            first, limit = first + 1, _PAGE
            continue
        if not rows:
            return
        yield from rows
        first = rows[-1][by] + 1
