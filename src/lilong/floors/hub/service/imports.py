"""Fetching repositories from other hubs: asking for it, watching it, ending it. The work itself is in import_work.py."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lilong.floors.hub import store as hub_store
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.rules import sources
from lilong.floors.hub.rules.sources import Source
from lilong.floors.hub.store import imports as store
from lilong.floors.hub.store.imports import File, Import, Progress
from lilong.ground.access import Actor
from lilong.ground.blobs import write_durably
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Conflict, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import import_work, mirrors, namespaces, outgoing, reading, repositories
from .import_work import clear, token_file, token_of


class ImportNotFound(NotFound):
    """There is no import '{name}' that you may see."""


class ImportRunning(Conflict):
    """The import {id} is fetching into {name} already. Wait for it, or cancel it."""


class ImportOver(Conflict):
    """The import {id} is {state}: there is nothing to {verb}."""


class MirrorTaken(Conflict):
    """The repository {name} is there and is no mirror of {source}. Give the mirror another name."""


class NotAMirror(Conflict):
    """The repository {name} is no mirror: there is nothing to refresh it from."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be fetched and where it goes. `name` empty: the source's own name in the asker's only organisation."""

    url: str
    name: str = ""
    revision: str | None = None
    private: bool = True
    exclude: tuple[str, ...] = ()
    mode: str = "copy"
    token: str = ""


# --- verbs --------------------------------------------------------------------------------------------------------------


def ask(house: House, actor: Actor, wish: Ask) -> Import:
    """Begin an import. Raises BadAddress, NotARepository, AddressRefused, Forbidden, ImportRunning, MirrorTaken."""
    source = sources.parse(outgoing.check_url(wish.url), wish.revision)
    if wish.mode not in ("copy", "mirror"):
        raise BadInput(field="mode", problem=f"{wish.mode[:50]!r} is none", way_out="Give copy or mirror.")
    if len(wish.token) > 4096 or any(not "!" <= c <= "~" for c in wish.token):
        raise BadInput(field="token", problem="it is not a token", way_out="Give it as the other hub has shown it.")
    name = wish.name or f"{namespaces.own(house, actor)}/{source.name.rpartition('/')[2]}"
    repositories.check_name(name)
    namespaces.ready(house, actor, name)
    house.db.read(lambda tx: _authorise(house, tx, actor, source, name, wish.mode))
    outgoing.addresses(source.endpoint, outgoing.allowed_hosts(house))  # a private address is refused to whoever asks, at once
    identity, now = house.ids.new("imp"), stamp(house.clock.now())
    if wish.token:
        write_durably(token_file(house, identity), wish.token.encode(), 0o600)
    new = Import(
        identity, wish.mode, source.kind, name, wish.private, source.endpoint, source.name, source.revision, "", tuple(wish.exclude),
        bool(wish.token), "requested", "resolve", "", "", "", "", actor.user, now, now,
    )  # fmt: skip

    def write(tx: Tx) -> None:
        _authorise(house, tx, actor, source, name, wish.mode)
        running = store.unfinished_of(tx, source.kind, name)
        if running is not None:
            raise ImportRunning(id=running.id, name=name)
        store.add(tx, new)

    try:
        house.db.write(write)
    except BaseException:
        token_file(house, identity).unlink(missing_ok=True)
        raise
    import_work.call()
    return new


def _authorise(house: House, tx: Tx, actor: Actor, source: Source, name: str, mode: str) -> None:
    organisation = name.partition("/")[0]
    house.access.require(tx, actor, "hub.write", organisation)
    house.access.organisation(tx, organisation)
    held = hub_store.repository(tx, source.kind, name)
    if held is None:
        return
    reading.opened(house, tx, actor, source.kind, name, "hub.write")
    mirror = store.mirror(tx, held.id)
    same = mirror is not None and (mirror.endpoint, mirror.source) == (source.endpoint, source.name)
    if (mode == "mirror" and not same) or (mode == "copy" and mirror is not None):
        raise MirrorTaken(name=name, source=source.page)


def get(house: House, actor: Actor, identity: str) -> tuple[Import, Progress]:
    """Raises ImportNotFound."""

    def read(tx: Tx) -> tuple[Import, Progress]:
        found = _seen(house, tx, actor, identity, "hub.read")
        return found, store.progress(tx, identity)

    return house.db.read(read)


def _seen(house: House, tx: Tx, actor: Actor, identity: str, permission: str) -> Import:
    found = store.get(tx, identity)
    if found is None:
        raise ImportNotFound(name=identity[:100])
    house.access.require(tx, actor, permission, found.organisation, hidden=ImportNotFound(name=identity[:100]))
    return found


def files(house: House, actor: Actor, identity: str) -> list[File]:
    """Every file with its digest at the source and here: the record of what was fetched. Raises ImportNotFound."""

    def read(tx: Tx) -> list[File]:
        _seen(house, tx, actor, identity, "hub.read")
        return store.files(tx, identity)

    return house.db.read(read)


def listed(house: House, actor: Actor, limit: int = 100, before: str = "") -> list[tuple[Import, Progress]]:
    """The newest first."""
    seen = house.access.visible(actor, "hub.read", "i.organisation")
    return house.db.read(lambda tx: [(found, store.progress(tx, found.id)) for found in store.listed(tx, seen, limit, before)])


def cancel(house: House, actor: Actor, identity: str) -> Import:
    """What has come of it is thrown away. Raises ImportNotFound, Forbidden, ImportOver."""

    def write(tx: Tx) -> Import:
        found = _seen(house, tx, actor, identity, "hub.write")
        if not store.update(tx, identity, stamp(house.clock.now()), state="cancelled"):
            raise ImportOver(id=identity, state=found.state, verb="cancel")
        return replace(found, state="cancelled")

    cancelled = house.db.write(write)
    clear(house, cancelled)
    return cancelled


def retry(house: House, actor: Actor, identity: str) -> Import:
    """Take up a failed import where it stopped. Raises ImportNotFound, Forbidden, ImportOver, ImportRunning."""

    def write(tx: Tx) -> Import:
        found = _seen(house, tx, actor, identity, "hub.write")
        running = store.unfinished_of(tx, found.kind, found.name)
        if running is not None:
            raise ImportRunning(id=running.id, name=found.name)
        if found.state == "cancelled" or not store.again(tx, identity, stamp(house.clock.now())):
            raise ImportOver(id=identity, state=found.state, verb="try again")
        return replace(found, state="requested", error="")

    found = house.db.write(write)
    import_work.call()
    return found


def refresh(house: House, actor: Actor, kind: Kind, name: str, revision: str | None = None) -> Import:
    """Move a mirror's pin: a new commit, unless its source has not moved. Raises RepositoryNotFound, NotAMirror, Forbidden."""

    def read(tx: Tx) -> tuple[store.Mirror, bool]:
        held = reading.opened(house, tx, actor, kind, name, "hub.write")
        found = store.mirror(tx, held.id)
        if found is None:
            raise NotAMirror(name=name)
        return found, held.repository.private

    mirror, private = house.db.read(read)
    source = Source(mirror.endpoint, kind, mirror.source, mirror.revision)
    return ask(
        house,
        actor,
        Ask(source.page, name, revision or mirror.revision, private, mirror.excluded, "mirror", token_of(house, mirror.import_)),
    )


def start(house: House) -> None:
    mirrors.start(house)
    if house.background:
        workers = import_work.Workers(house)
        house.starting.append(workers.start)
        house.closing.append(workers.stop)
