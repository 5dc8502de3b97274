"""Who may use a version, asked wherever a job is taken in, a private repository is opened, or one is to become public.

A version is known by its files: a copy of them in another repository, or given to a job by digest, is the same texts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lilong.floors.compute.contract import Compute
from lilong.floors.corpus import store
from lilong.floors.corpus.alliance import terms
from lilong.floors.corpus.contract import State, Terms, Version
from lilong.floors.corpus.store import alliance as rows
from lilong.floors.hub.contract import Hub, Kind
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.events import Recorded
from lilong.ground.gates import Answer
from lilong.ground.house import House
from lilong.ground.seams import stamp

from .files import texts_of, tree
from .parts import sees_version, sets_of, stands

_YES = Answer(True, "")
_OPEN = "Build a version of public sources in a repository of its own, and open that one."


def start(house: House) -> None:
    house.gates.answer("may-be-used", lambda **about: _used(house, **about))
    house.gates.answer("shared-with", lambda **about: _shared(house, **about))
    house.gates.answer("may-be-public", lambda **about: _public(house, **about))
    house.starting.append(lambda: _know_files(house))


def _know_files(house: House) -> None:
    """Versions of before files were noted: note them."""
    for row in house.db.read(store.versions_without_files):
        try:
            found = texts_of(tree(house, row))
        except NotFound:
            continue  # its repository was deleted
        house.db.write(lambda tx, row=row, found=found: store.add_files(tx, row.id, found))  # type: ignore[misc]


def _used(
    house: House, *, tx: Tx, actor: Actor, organisation: str, job_kind: str, labels: Mapping[str, str], digests: Collection[str]
) -> Answer:
    """A job of `organisation` is to read files. Of each, a version that has it must allow it: one that was put out of use and the one
    that followed it share the files in which nothing was changed."""
    wanted = terms.purpose(job_kind, labels)
    asked: dict[str, str | None] = {}
    for versions in store.versions_by_file(tx, digests).values():
        for row in versions:
            if row.id not in asked:
                asked[row.id] = refusal(tx, row, organisation, wanted)
        if all(asked[row.id] is not None for row in versions):
            nearest = min(
                versions,
                key=lambda row: (row.organisation != organisation, not sees_version(house, tx, actor, row), row.superseded is not None, row.id),
            )  # one in use first: that the old one is not does not say why the new one is refused
            return Answer(False, asked[nearest.id] or "")
    return _YES


def refusal(tx: Tx, row: Version, organisation: str, wanted: str) -> str | None:
    """Why an organisation may not use a version for this, and the way out; None where it may."""
    return terms.refusal(row, sets_of(tx, row), organisation, wanted, rows.members(tx), successor(tx, row))


def successor(tx: Tx, row: Version) -> str | None:
    """The version in use that follows one that was put out of use."""
    seen: set[str] = set()
    following: Version | None = row
    while following is not None and following.superseded is not None and following.id not in seen:
        seen.add(following.id)
        following = store.version(tx, following.superseded.next) if following.superseded.next else None
    if following is None or following.state is not State.DONE or following.superseded is not None:
        return None
    return f"{following.repository}@{(following.commit or '')[:12]}"


def _shared(house: House, *, tx: Tx, actor: Actor, kind: str, repository: str) -> Answer:
    """A private repository is open to those who read for a member, where every version in it is meant for the alliance."""
    if kind != Kind.DATASET.value or not actor.user:
        return Answer(False, "")
    found = [one for one in store.versions_in(tx, repository) if one.state is State.DONE]
    terms_here = {one.terms for one in found}
    if Terms.ALLIANCE not in terms_here or Terms.PRIVATE in terms_here:
        return Answer(False, "")
    if not any(house.access.allowed(tx, actor, "hub.read", each) for each in rows.members(tx)):
        return Answer(False, "")
    return Answer(any(stands(house, tx, one) for one in reversed(found)), "")  # not another one that was given the name since


def _public(house: House, *, tx: Tx, kind: str, repository: str, files: Mapping[str, str]) -> Answer:
    """Nothing that is open to everybody may hold a version that is meant for fewer, nor a copy of its texts. `files`: digest -> path; with
    a repository, of all large files that it ever held, else of what is to go into one that is public. Of small files, which no list of a
    repository has, those that stand in it now are looked at."""
    if kind == Kind.DATASET.value:
        closed = next((one for one in store.versions_in(tx, repository) if one.terms is not Terms.PUBLIC), None)
        if closed is not None:
            return Answer(False, f"the terms of the corpus version {closed.id} in it are {closed.terms.value}. {_OPEN}")
    files = {**files, **_standing(house, tx, kind, repository)}
    for digest, versions in store.versions_by_file(tx, files).items():
        if all(one.terms is not Terms.PUBLIC for one in versions):
            named = f"'{files[digest]}'" if files[digest] else f"one with the digest {digest}, which it holds or has held,"
            return Answer(False, f"{named} is a file of the corpus version {versions[0].id}, whose terms are {versions[0].terms.value}. {_OPEN}")
    return _YES


def _standing(house: House, tx: Tx, kind: str, repository: str) -> dict[str, str]:
    """digest -> path of all that a repository holds now."""
    try:
        found = house.port(Hub).revision(tx, SYSTEM, Kind(kind), repository, to_read=False) if repository else None  # type: ignore[type-abstract]
    except NotFound:  # nothing yet
        return {}
    return {file.digest: file.path for file in found.files} if found else {}


def noted(house: House, recorded: Recorded) -> None:
    """A job was taken in that reads a version: remember it, for the day that something in it is taken down. Twice is once."""

    def look(tx: Tx) -> list[tuple[str, str, str]]:
        try:
            job = house.port(Compute).job(tx, SYSTEM, recorded.subject)  # type: ignore[type-abstract]
        except NotFound:
            return []
        digests = {digest for files in job.ask.inputs.values() for digest in files.values()}
        if not digests or job.submitted_by == SYSTEM.user:
            return []
        purpose = terms.purpose(job.ask.kind, job.ask.labels)
        return [(each, job.ask.organisation, purpose) for each in terms.read_versions(store.versions_by_file(tx, digests))]

    found = house.db.read(look)

    def write(tx: Tx) -> None:
        for version, organisation, purpose in found:
            rows.add_use(tx, version, recorded.subject, organisation, purpose, stamp(house.clock.now()))

    if found:
        house.db.write(write)
