"""A finished run of `lilong corpus curate` becomes a version: its tables come by the door of texts, a job counts them anew."""

from __future__ import annotations

from dataclasses import asdict

from lilong.floors.compute.contract import PYTHON, JobAsk
from lilong.floors.corpus import rules, store
from lilong.floors.corpus.alliance import runs, takedowns, terms
from lilong.floors.corpus.contract import AskedOtherwise, PublishAsk, State, TextNotKept, Version
from lilong.floors.corpus.curation import recipe
from lilong.floors.corpus.curation.licences import spdx
from lilong.floors.corpus.store import alliance as rows
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.house import House

from .building import Shared, add
from .parts import check_audience

PUBLISH = "corpus.publish"
_PROGRAM = (PYTHON, "-m", "lilong.floors.corpus.alliance.publishing")


def publish(house: House, actor: Actor, ask: PublishAsk) -> Version:
    """Make a version of a run's tables. The same key answers the same one; a failed one is tried again.

    Raises Forbidden, BadInput, BadRecipe, RunNotUsable, TextNotKept, TermsTooClosed, RepositoryClosed, AskedOtherwise.
    """
    rules.check_key(ask.key)
    rules.organisation_of(ask.repository)
    terms.check_conditions(ask.conditions)
    runs.check_ask(ask)
    runs.check_recipe(recipe.parse(ask.recipe))
    return house.db.write(lambda tx: requested(house, tx, actor, ask))


def requested(house: House, tx: Tx, actor: Actor, ask: PublishAsk) -> Version:
    """`publish` within the caller's transaction."""
    owner = rules.organisation_of(ask.repository)
    for permission, organisation in (("corpus.build", ask.organisation), ("hub.write", owner)):
        house.access.require(tx, actor, permission, organisation)
        house.access.organisation(tx, organisation)
    known = store.version_by_key(tx, ask.organisation, ask.key)
    if known is not None and known[1] != ask:
        raise AskedOtherwise(key=ask.key)
    if known is not None and known[0].state is not State.FAILED:
        return known[0]
    sizes = store.text_sizes(tx, ask.organisation)
    for path, digests in ask.files.items():
        missing = next((digest for digest in digests if digest not in sizes), None)
        if missing is not None:
            raise TextNotKept(path=path, digest=missing, organisation=ask.organisation)
    check_audience(house, tx, ask.repository, ask.terms, "the run")
    without = terms.added(takedowns.of_run(rows.excluded(tx, ask.organisation, builds=True), ask.organisation), ask.without)
    shared = Shared(ask.terms, terms.together([ask.conditions]), [ask.organisation], without)
    whole = sum(sizes[digest] for digests in ask.files.values() for digest in digests)
    return add(house, tx, actor, ask, known[0] if known else None, [], shared, lambda key: JobAsk(
        kind=PUBLISH, organisation=ask.organisation, argv=_PROGRAM, inputs={"run": runs.parts(ask.files)},
        spec={
            "name": ask.repository, "contributor": ask.organisation, "terms": ask.terms.value, "conditions": asdict(shared.conditions),
            "without": asdict(without), "licence": spdx(ask.licence) if ask.licence else "", "recipe": ask.recipe,
        },
        memory_mib=2048 + whole // (4 << 20), timeout_s=7200, attempts=2, key=key, title=f"Publish {ask.repository}",
    ))  # fmt: skip
