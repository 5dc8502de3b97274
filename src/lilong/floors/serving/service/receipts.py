"""Receipts: found, added up, sealed into the house's log, and joined to the graph of statements."""

from __future__ import annotations

import threading

from lilong.floors.serving import rules, store
from lilong.floors.serving.contract import AnswerEvidence, Receipt, ReceiptNotFound, ReceiptShown, SegmentHead, Serving, Usage, UsageSealed
from lilong.floors.serving.gateway.segments import SegmentReader
from lilong.floors.serving.service.plane import folder
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.evidence import Artifact
from lilong.ground.house import House
from lilong.ground.seams import stamp

BATCH = "https://lilong.dev/usage-batch/v1"
ANSWER = "https://lilong.dev/answer/v1"


class Receipts(Serving):
    """The port of this floor, and the one reader of the segments in a house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.reader = SegmentReader(folder(house))
        self.lock = threading.Lock()  # the reader keeps tables of what it has read

    def evidence_of(self, actor: Actor, receipt: str) -> AnswerEvidence:
        return evidence_of(self._house, actor, receipt)

    def usage(self, actor: Actor, organisation: str) -> list[Usage]:
        return usage(self._house, actor, organisation)


def _receipts(house: House) -> Receipts:
    found = house.port(Serving)  # type: ignore[type-abstract]
    assert isinstance(found, Receipts)
    return found


def receipt(house: House, actor: Actor, name: str) -> ReceiptShown:
    """One receipt, for its organisation and for the user who asked. Raises ReceiptNotFound."""
    own = _receipts(house)
    with own.lock:
        found = own.reader.find(name)
        segment = own.reader.segment_of(name)
    house.db.read(lambda tx: _may_see(house, tx, actor, found))
    return ReceiptShown(found, rules.billable(found), segment)


def _may_see(house: House, tx: Tx, actor: Actor, found: Receipt) -> None:
    if not house.access.allowed(tx, actor, "serving.read", found.organisation):
        raise ReceiptNotFound(name=found.id)


def recent(house: House, actor: Actor, limit: int = 50) -> list[Receipt]:
    """The newest receipts that the actor may see, newest first."""
    limit = max(1, min(limit, 500))
    own = _receipts(house)
    found: list[Receipt] = []

    def read(tx: Tx) -> list[Receipt]:
        seen: dict[str, bool] = {}
        with own.lock:
            for segment in reversed(own.reader.segments()[-8:]):
                for each in reversed(list(own.reader.records(segment))):
                    if each.organisation not in seen:
                        seen[each.organisation] = house.access.allowed(tx, actor, "serving.read", each.organisation)
                    if seen[each.organisation]:
                        found.append(each)
                        if len(found) == limit:
                            return found
        return found

    return house.db.read(read)


def settle(house: House) -> None:
    """Add up what was recorded since the last time, and seal it: one statement and one event for each segment that grew.

    The sums, the seal and the statement are one transaction, so a record is counted exactly once whatever happens.
    """
    own = _receipts(house)
    with own.lock:
        sealed = house.db.read(store.seals)
        for segment in own.reader.segments():
            size = own.reader.size(segment)
            before = sealed.get(segment)
            if before is not None and before[1] == size:
                continue
            head = own.reader.head(segment)
            start = before[0].records if before else 0
            if head.records > start:
                fresh = list(own.reader.records(segment, start))[: head.records - start]
                house.db.write(lambda tx, h=head, s=size, f=fresh, n=start: _settle(house, tx, h, s, f, n))  # type: ignore[misc]


def _settle(house: House, tx: Tx, head: SegmentHead, size: int, fresh: list[Receipt], start: int) -> None:
    known = store.seals(tx).get(head.segment)
    if (known[0].records if known else 0) != start:
        return  # another settlement came first
    summed = rules.rolled_up(fresh)
    used = [_deployment(house, tx, statement) for statement in sorted({each.statement for each in fresh if each.statement})]
    statement = house.evidence.issue(
        tx,
        SYSTEM,
        predicate_type=BATCH,
        subjects=[Artifact(f"{head.segment} to record {head.records}", f"sha256:{head.root}", "usage")],
        materials=used,
        predicate={
            "segment": head.segment,
            "from": start,
            "records": head.records,
            "root": head.root,
            "tree": "RFC 6962, SHA-256; a leaf is a record's bytes",
            "first_at": min(each.at for each in fresh),
            "last_at": max(each.at for each in fresh),
            # Of all organisations together: whoever walks down from an answer of theirs comes by here.
            "tokens": {"prompt": sum(each.prompt_tokens for each in summed), "completion": sum(each.completion_tokens for each in summed)},
        },
    )
    store.seal(tx, head, size, statement.id, stamp(house.clock.now()))
    store.count(tx, summed)
    house.events.append(tx, SYSTEM, UsageSealed(head.segment, head.records, head.root, statement.id))


def _deployment(house: House, tx: Tx, statement: str) -> Artifact:
    """What was deployed when the answer was given: the name may have been deployed anew since."""
    return next(each for each in house.evidence.get(tx, statement).subjects if each.kind == "deployment")


def evidence_of(house: House, actor: Actor, name: str) -> AnswerEvidence:
    """Join one receipt to the graph, once: seal its batch if that has not happened yet, keep the record as a blob, and state it.

    Raises ReceiptNotFound.
    """
    shown = receipt(house, actor, name)
    own = _receipts(house)
    with own.lock:
        index = own.reader.record_proof(name).index
    covering = house.db.read(lambda tx: store.seal_over(tx, shown.segment, index))
    if covering is None:
        settle(house)
        covering = house.db.read(lambda tx: store.seal_over(tx, shown.segment, index))
        assert covering is not None
    head, seal = covering
    with own.lock:
        proof = own.reader.record_proof(name, head)
    digest = house.blobs.put(proof.record.encode()).digest

    def write(tx: Tx) -> AnswerEvidence:
        deployment = _deployment(house, tx, shown.receipt.statement)
        statement = house.evidence.issue(
            tx,
            SYSTEM,
            predicate_type=ANSWER,
            subjects=[Artifact(name, digest, "answer")],
            materials=[deployment],
            predicate={
                "segment": head.segment,
                "index": index,
                "records": head.records,
                "root": head.root,
                "path": list(proof.path),
                "seal": seal,
            },
        )
        return AnswerEvidence(shown.receipt, digest, statement.id, deployment.digest, seal, proof)

    return house.db.write(write)


def usage(house: House, actor: Actor, organisation: str = "") -> list[Usage]:
    """Tokens by organisation, day and deployment, newest day first. An empty organisation: all that the actor may see."""
    condition, parameters = house.access.visible(actor, "serving.read", "organisation")
    if organisation:
        condition, parameters = f"organisation = :wanted AND {condition}", {**parameters, "wanted": organisation}
    settle(house)
    return house.db.read(lambda tx: store.usage(tx, condition, parameters))


def verify_seals(house: House) -> list[str]:
    """Check every sealed head against the segments' files: what is wrong, one line each."""
    own = _receipts(house)
    wrong: list[str] = []
    for head in house.db.read(store.all_heads):
        try:
            with own.lock:
                own.reader.verify(head)
        except Exception as problem:
            wrong.append(str(problem))
    return wrong
