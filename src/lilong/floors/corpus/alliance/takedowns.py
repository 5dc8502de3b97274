"""What a takedown may ask for, and what its order says. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from lilong.floors.corpus.alliance.shapes import TakedownAsk
from lilong.floors.corpus.contract import SourceSet, Version, Without
from lilong.ground.errors import BadInput

_ID = re.compile(r"[0-9a-f]{64}")
_LONGEST = 2_000


def check(ask: TakedownAsk) -> None:
    """Raises BadInput."""
    given = [name for name in ("document", "source", "contributor") if getattr(ask, name)]
    if len(given) != 1:
        problem = "nothing is named" if not given else f"{' and '.join(given)} are named at once"
        raise BadInput(field="document", problem=problem, way_out="Name one document, one source or one contributor.")
    if ask.document and not _ID.fullmatch(ask.document):
        raise BadInput(field="document", problem=f"{ask.document[:80]!r} is no id of a document", way_out="Give its 64 hexadecimal digits.")
    if not 0 < len(ask.reason.strip()) <= _LONGEST:
        raise BadInput(field="reason", problem=f"it is empty or longer than {_LONGEST:,} characters", way_out="Say why it is taken down.")


def thing(what: Without) -> tuple[str, str]:
    """What is taken down, and its name."""
    for kind, names in (("document", what.documents), ("source", what.sources), ("contributor", what.contributors)):
        if names:
            return kind, names[0]
    raise ValueError("nothing is taken down")


def exclusions(what: Without, organisation: str, sets: Iterable[SourceSet]) -> Without:
    """What stays out from now on. Source names are not unique, so each is kept as `organisation/name`, by whose set it is of; by the one that
    asks where there are no sets."""
    given = list(sets)
    owners = {name: {one.organisation for one in given if name in _names(one)} or {organisation} for name in what.sources}
    return Without(what.documents, sorted(f"{owner}/{name}" for name, found in owners.items() for owner in found), what.contributors)


def in_version(what: Without, kept_out: Without, organisation: str, sets: Sequence[SourceSet]) -> Without:
    """What is taken down, as a version calls it that this organisation made of these sets. `kept_out`: what `exclusions` answers."""
    owned = [(owner, name) for owner, _, name in (each.partition("/") for each in kept_out.sources)]
    if not sets:
        return replace(what, sources=sorted(name for owner, name in owned if owner == organisation))
    names: set[str] = set()
    every = [(source["name"], one) for one in sets for source in one.sources]
    for name, one in every:
        if any(owner == one.organisation and asked in (name, f"{name}.{one.id}") for owner, asked in owned):
            alone = sum(each == name for each, _ in every) == 1
            names |= {f"{name}.{one.id}", name} if alone else {f"{name}.{one.id}"}
    return replace(what, sources=sorted(names))


def _names(one: SourceSet) -> set[str]:
    """What its sources may be called in a version: where names would be the same, with the set's id behind them."""
    return {name for source in one.sources for name in (source["name"], f"{source['name']}.{one.id}")}


def givers(one: SourceSet) -> set[str]:
    """Whose stewards may take down what stands in it, wherever it is built from."""
    return {one.organisation, one.contributor}


def stands_in(what: Without, one: SourceSet) -> bool | None:
    """Whether what is taken down stands in a source set; None for a document: only the files of a version know these."""
    if what.documents:
        return None
    return one.contributor in what.contributors or bool(_names(one) & set(what.sources))


def names_in(sets: Iterable[SourceSet]) -> set[str]:
    """All that sources of these sets may be called in a version."""
    return set().union(*map(_names, sets))


def of_sets(standing: Mapping[str, Without], builder: str, sets: Iterable[SourceSet]) -> Without:
    """Standing exclusions (by organisation) as a build of these sets takes them: all of the builder's, and of those who gave sets what stands
    in their own sets. Sources are called `name.<set id>`; so is what a contributor gave, where another than the builder took that down."""
    given = list(sets)
    documents, sources, contributors = set[str](), set[str](), set[str]()
    for organisation, one in standing.items():
        documents |= set(one.documents)
        if organisation == builder:
            contributors |= set(one.contributors)
            sources |= _called(one.sources, given)
            continue
        theirs = [each for each in given if organisation in givers(each)]
        sources |= _called(one.sources, theirs)
        sources |= {f"{source['name']}.{each.id}" for each in theirs if each.contributor in one.contributors for source in each.sources}
    return Without(sorted(documents), sorted(sources), sorted(contributors))


def _called(sources: Iterable[str], sets: Iterable[SourceSet]) -> set[str]:
    """Sources that are kept as `organisation/name`, as these sets have them: `name.<set id>`."""
    given = list(sets)
    return {
        name if name.endswith(f".{one.id}") else f"{name}.{one.id}"
        for owner, name in (each.split("/", 1) for each in sources) for one in given if one.organisation == owner and name in _names(one)
    }  # fmt: skip


def of_run(standing: Without, organisation: str) -> Without:
    """Standing exclusions as the publication of a run of this organisation takes them."""
    found = [name for owner, name in (each.split("/", 1) for each in standing.sources) if owner == organisation]
    return Without(standing.documents, sorted(found), standing.contributors)


def order(ask: TakedownAsk, organisation: str, leaving: Sequence[tuple[Version, int | None]]) -> bytes:
    """The order to one organisation, whose digest its statement is about. It names that organisation's versions and nobody else's.

    `leaving`: the versions of that organisation, and how many documents of each are taken down (None: its files are gone)."""
    said = {
        "asked_of": organisation, "taken_down": asdict(ask.without), "reason": ask.reason.strip(),
        "versions": [
            {"id": row.id, "repository": row.repository, "commit": row.commit, "documents": number}
            for row, number in sorted(leaving, key=lambda one: one[0].id)
        ],
    }  # fmt: skip
    return json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
