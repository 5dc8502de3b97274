"""Corpus versions: asked for, seen, and followed to their end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lilong.floors.compute.contract import Compute, JobAsk
from lilong.floors.corpus import rules, store
from lilong.floors.corpus.alliance import takedowns, terms
from lilong.floors.corpus.contract import (
    AskedOtherwise,
    BadRecipe,
    BuildAsk,
    Datasheet,
    SourceSet,
    SourcesNotReady,
    SourcesNotShared,
    State,
    Terms,
    Use,
    Version,
    VersionRequested,
    Without,
)
from lilong.floors.corpus.curation import recipe
from lilong.floors.corpus.store import alliance as rows
from lilong.floors.hub.contract import Hub, Kind
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput
from lilong.ground.house import House
from lilong.ground.seams import stamp

from .parts import PAGE, PROGRAM, check_audience, found_set, found_version, has_texts, sees_version, visible

BUILD = "corpus.build"
MOST_SETS = 100


@dataclass(frozen=True, slots=True)
class Shared:
    """What the source sets of a version come to."""

    terms: Terms
    conditions: Use
    contributors: list[str]
    without: Without


def build(house: House, actor: Actor, ask: BuildAsk) -> Version:
    """Make a corpus version of one or several source sets. The same key answers the same one; a failed one is tried again.

    Another organisation's set may be built from where its terms allow it. Raises Forbidden, BadInput, BadRecipe, SourceSetNotFound,
    SourcesNotReady, SourcesNotShared, TermsTooClosed, RepositoryClosed, AskedOtherwise.
    """
    rules.check_key(ask.key)
    rules.organisation_of(ask.repository)
    recipe.parse(ask.recipe)
    if not 0 < len(ask.source_sets) <= MOST_SETS or len(set(ask.source_sets)) < len(ask.source_sets):
        raise BadInput(
            field="sources",
            problem="there are none, too many, or one of them twice",
            way_out=f"Name 1 to {MOST_SETS} different source sets.",
        )
    return house.db.write(lambda tx: requested(house, tx, actor, ask))


def requested(house: House, tx: Tx, actor: Actor, ask: BuildAsk) -> Version:
    """`build` within the caller's transaction."""
    owner = rules.organisation_of(ask.repository)
    house.access.require(tx, actor, "corpus.build", ask.organisation)
    house.access.organisation(tx, ask.organisation)
    house.access.require(tx, actor, "hub.write", owner)
    house.access.organisation(tx, owner)
    known = store.version_by_key(tx, ask.organisation, ask.key)
    if known is not None and known[1] != ask:
        raise AskedOtherwise(key=ask.key)
    if known is not None and known[0].state is not State.FAILED:
        return known[0]
    sets = [found_set(house, tx, actor, each) for each in ask.source_sets]
    shared = _shared(tx, ask, sets)
    recipe.check_sources(recipe.parse(ask.recipe), recipe.names_apart([(source["name"], one.id) for one in sets for source in one.sources]))
    how, tokenizer = _tokenizer(house, tx, actor, ask.recipe)
    check_audience(house, tx, ask.repository, shared.terms, _most_closed(sets, shared.terms))
    return add(house, tx, actor, ask, known[0] if known else None, sets, shared, lambda key: JobAsk(
        kind=BUILD, organisation=ask.organisation, argv=(*PROGRAM, "build"), inputs={"sources": _inputs(tx, ask, sets)} | tokenizer,
        spec=_spec(ask, how, sets, shared), memory_mib=rules.build_memory_mib(sum(one["bytes"] for each in sets for one in each.sources)),
        timeout_s=7200, attempts=2, key=key, title=f"Build {ask.repository}",
    ))  # fmt: skip


def add(
    house: House,
    tx: Tx,
    actor: Actor,
    ask: Any,
    known: Version | None,
    sets: list[SourceSet],
    shared: Shared,
    job_ask: Callable[[str], JobAsk],
) -> Version:
    """The version's row and its job, together or not at all."""
    identity = known.id if known else house.ids.new("corpus")
    attempt = known.attempt + 1 if known else 1
    job = house.port(Compute).submit(tx, actor, job_ask(f"{identity}.{attempt}"))  # type: ignore[type-abstract]
    row = Version(
        identity, ask.organisation, ask.key, State.REQUESTED, [one.id for one in sets], ask.repository,
        ask.recipe if isinstance(ask, BuildAsk) else {}, attempt, job.id, actor.user, known.created_at if known else stamp(house.clock.now()),
        terms=shared.terms, conditions=shared.conditions, contributors=shared.contributors, without=shared.without,
    )  # fmt: skip
    store.add_version(tx, row, ask)
    house.events.append(tx, actor, VersionRequested(identity, ask.organisation, ask.repository, ", ".join(row.sources), job.id))
    return row


def _shared(tx: Tx, ask: BuildAsk, sets: list[SourceSet]) -> Shared:
    members = rows.members(tx)
    for one in sets:
        if one.state is not State.DONE:
            way_out = f"It says: {one.error}" if one.state is State.FAILED else "Wait for it."
            raise SourcesNotReady(name=one.id, state=one.state.value, way_out=way_out)
        refused = terms.may_build_from(ask.organisation, one, members)
        if refused is not None:
            raise SourcesNotShared(
                name=one.id, owner=one.organisation, terms=one.terms.value, organisation=ask.organisation, way_out=refused
            )
    return Shared(
        terms.closest(one.terms for one in sets), terms.together([one.conditions for one in sets]),
        sorted({one.contributor for one in sets}), terms.added(excluded(tx, ask.organisation, sets), ask.without),
    )  # fmt: skip


def excluded(tx: Tx, builder: str, sets: list[SourceSet]) -> Without:
    """What stays out of a version: what was taken down by who builds it, and by who owns or gave its sources as far as it stands in these."""
    organisations = {builder}.union(*map(takedowns.givers, sets))
    return takedowns.of_sets({one: rows.excluded(tx, one, builds=one == builder) for one in organisations}, builder, sets)


def _most_closed(sets: list[SourceSet], closest: Terms) -> str:
    return next(f"the source set {one.id}" for one in sets if one.terms is closest)


def _inputs(tx: Tx, ask: BuildAsk, sets: list[SourceSet]) -> dict[str, str]:
    """The files of all sets, each in a folder by its id."""
    return {f"{one.id}/{path}": digest for one in sets for path, digest in store.tree(tx, one.id).items()}


def _tokenizer(house: House, tx: Tx, actor: Actor, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The recipe with the commit of the model whose tokenizer it names, and the job's input that holds the tokenizer. Raises BadRecipe,
    RepositoryNotFound, RevisionNotFound."""
    name, _, ref = recipe.parse(given).tokenise.partition("@")
    if not name:
        return given, {}
    found = house.port(Hub).revision(tx, actor, Kind.MODEL, name, ref)  # type: ignore[type-abstract]
    digest = found.tree().get("tokenizer.json")
    if digest is None:
        raise BadRecipe(field="tokenise", problem=f"{name}@{ref} has no tokenizer.json", way_out="Name a model that has one.")
    return {**given, "tokenise": f"{name}@{found.commit}"}, {"tokenizer": {"tokenizer.json": digest}}


def _spec(ask: BuildAsk, how: dict[str, Any], sets: list[SourceSet], shared: Shared) -> dict[str, Any]:
    of_sets = {one.id: {"contributor": one.contributor, "terms": one.terms.value, "conditions": asdict(one.conditions)} for one in sets}
    return {
        "name": ask.repository, "recipe": how, "sets": of_sets, "terms": shared.terms.value, "conditions": asdict(shared.conditions),
        "without": asdict(shared.without),
    }  # fmt: skip


def version(house: House, actor: Actor, name: str) -> Version:
    """By id, organisation/name or organisation/name@commit. Raises VersionNotFound."""
    return house.db.read(lambda tx: found_version(house, tx, actor, name))


def versions(house: House, actor: Actor, repository: str | None = None, limit: int = 50) -> list[Version]:
    """Newest first; `repository`: only versions published there."""
    if repository is None:
        return listed(house, actor, "1 = 1", {}, limit)
    return listed(house, actor, "v.repository = :repository", {"repository": repository}, limit)


def versions_with(house: House, actor: Actor, contributor: str, limit: int = 50) -> list[Version]:
    """Published ones to which an organisation gave texts, newest first."""
    named = "v.contributors LIKE :named OR (v.contributors IS NULL AND v.organisation = :contributor)"
    parameters = {"named": f"%{json.dumps(contributor, ensure_ascii=False)}%", "contributor": contributor}
    return [one for one in listed(house, actor, f"v.state = 'done' AND ({named})", parameters, limit) if contributor in one.contributors]


def listed(house: House, actor: Actor, condition: str, parameters: Mapping[str, Any], limit: int) -> list[Version]:
    """The newest versions for which a condition in SQL holds, as many as were asked for of those that the actor may see."""
    seen, whose = visible(house, actor, "v")
    most = max(1, min(limit, PAGE))

    def read(tx: Tx) -> list[Version]:
        found: list[Version] = []
        readable: dict[tuple[str, str], bool] = {}  # of public versions, by organisation and repository
        behind = 0
        while len(found) < most:
            rows = store.versions(tx, f"{seen} AND {condition}", {**whose, **parameters}, PAGE, behind)
            for one in rows:
                where = one.organisation, one.repository
                if one.terms is Terms.PUBLIC and where not in readable:
                    readable[where] = sees_version(house, tx, actor, one)
                if one.terms is not Terms.PUBLIC or readable[where]:
                    found.append(one)
            behind += len(rows)
            if len(rows) < PAGE:
                break
        return found[:most]

    return house.db.read(read)


def datasheet(house: House, actor: Actor, name: str) -> Datasheet:
    """A version with its sources, licences, drop reasons and sample documents. Raises VersionNotFound."""

    def read(tx: Tx) -> tuple[Version, str | None, bool]:
        row = found_version(house, tx, actor, name)
        digest = store.result(tx, row.id) if row.superseded is None and has_texts(house, tx, actor, row) else None
        return row, digest, house.access.allowed(tx, actor, "corpus.read", row.organisation)

    row, digest, own = house.db.read(read)
    samples: dict[str, Any] = json.loads(house.blobs.read(digest))["samples"] if digest else {}
    return rules.datasheet(row, samples if own else {**samples, "dropped": []})
