"""Texts and source sets."""

from __future__ import annotations

from lilong.floors.compute.contract import Compute, JobAsk
from lilong.floors.corpus import rules, store
from lilong.floors.corpus.alliance import terms
from lilong.floors.corpus.contract import AskedOtherwise, SourcesAsk, SourceSet, SourcesRequested, State, Text, TextNotKept
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.house import House
from lilong.ground.seams import stamp

from .parts import PAGE, PROGRAM, found_set, visible

FETCH = "corpus.fetch"
FETCH_MIB = 1024


def keep_text(house: House, actor: Actor, organisation: str, content: bytes) -> Text:
    """Keep a text for a source set of this organisation. Idempotent. Raises Forbidden."""
    house.db.read(lambda tx: house.access.require(tx, actor, "corpus.build", organisation))
    blob = house.blobs.put(content)

    def write(tx: Tx) -> None:
        house.access.require(tx, actor, "corpus.build", organisation)
        store.keep_text(tx, organisation, blob.digest, blob.size, actor.user, stamp(house.clock.now()))

    house.db.write(write)
    return Text(blob.digest, blob.size)


def fetch(house: House, actor: Actor, ask: SourcesAsk) -> SourceSet:
    """Fetch sources. The same key answers the same set; a failed one is tried again.

    To name another organisation as their contributor, one must be allowed to build for it as well. Raises Forbidden, BadInput,
    TextNotKept, AskedOtherwise; NetworkForbidden for packages without the right to use the network.
    """
    rules.check_key(ask.key)
    rules.check_packages(ask.packages)
    terms.check_conditions(ask.conditions)
    if ask.texts is not None:
        rules.check_texts(ask.texts)
    return house.db.write(lambda tx: _fetch(house, tx, actor, ask))


def _fetch(house: House, tx: Tx, actor: Actor, ask: SourcesAsk) -> SourceSet:
    contributor = ask.contributor or ask.organisation
    for organisation in dict.fromkeys((ask.organisation, contributor)):
        house.access.require(tx, actor, "corpus.build", organisation)
        house.access.organisation(tx, organisation)
    known = store.source_set_by_key(tx, ask.organisation, ask.key)
    if known is not None and known[1] != ask:
        raise AskedOtherwise(key=ask.key)
    if known is not None and known[0].state is not State.FAILED:
        return known[0]
    texts = ask.texts or {}
    missing = store.missing_text(tx, ask.organisation, texts.values())
    if missing is not None:
        path = next(path for path, digest in texts.items() if digest == missing)
        raise TextNotKept(path=path, digest=missing, organisation=ask.organisation)
    identity = known[0].id if known else house.ids.new("sources")
    attempt = known[0].attempt + 1 if known else 1
    job = house.port(Compute).submit(tx, actor, JobAsk(  # type: ignore[type-abstract]
        kind=FETCH, organisation=ask.organisation, argv=(*PROGRAM, "fetch"), inputs={"texts": texts} if texts else {},
        spec={"packages": ask.packages, "fallback": ask.fallback, "contributor": contributor}, memory_mib=FETCH_MIB, timeout_s=1800, attempts=3,
        network=bool(ask.packages) and not texts, key=f"{identity}.{attempt}", title=_title(ask),
    ))  # fmt: skip
    row = SourceSet(
        identity, ask.organisation, ask.key, State.REQUESTED, ask.packages, attempt, job.id, actor.user,
        known[0].created_at if known else stamp(house.clock.now()), contributor=contributor, terms=ask.terms, conditions=ask.conditions,
    )  # fmt: skip
    store.add_source_set(tx, row, ask)
    house.events.append(tx, actor, SourcesRequested(identity, ask.organisation, job.id))
    return row


def _title(ask: SourcesAsk) -> str:
    if ask.texts:
        return f"Pack {len(ask.texts)} texts"
    return (
        f"Fetch {', '.join(ask.packages[:3])}{' …' if len(ask.packages) > 3 else ''}" if ask.packages else "Gather texts of Python packages"
    )


def source_set(house: House, actor: Actor, identity: str) -> SourceSet:
    """Raises SourceSetNotFound."""
    return house.db.read(lambda tx: found_set(house, tx, actor, identity))


def source_sets(house: House, actor: Actor, limit: int = 50) -> list[SourceSet]:
    """Newest first."""
    condition, parameters = visible(house, actor, "corpus_source_sets")
    return house.db.read(lambda tx: store.source_sets(tx, condition, parameters, max(1, min(limit, PAGE))))
