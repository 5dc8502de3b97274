"""A repository made from another one's files: no byte is copied, and nothing is sent."""

from __future__ import annotations

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git import trees
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.rules import names
from lilong.floors.hub.store import Commit, Held
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Conflict
from lilong.ground.house import House

from . import audience, commits, namespaces, reading, repositories
from .commits import Draft


class NotAllHere(Conflict):
    """The repository '{name}' mirrors another hub, and some of its files have not come yet. Import it, or download it first."""


def duplicate(house: House, actor: Actor, kind: Kind, name: str, new: str, *, private: bool | None = None) -> Held:
    """The files of `main` as the first commit of a new repository. A gate goes with them; what was private stays so unless it is said.

    Raises RepositoryNotFound, GatedRepository, RepositoryExists, Forbidden, QuotaExceeded, NotAllHere, MayNotBePublic, MayNotStandHere,
    BadInput.
    """
    repositories.check_name(new)

    def read(tx: Tx) -> tuple[Commit, dict[str, Entry]]:
        _, head = _source(house, tx, actor, kind, name)
        return head, trees.files(reading.loader(tx), head.tree)

    seen, files = house.db.read(read)
    contents = {entry.digest: entry.size for entry in files.values() if entry.large}
    first = Draft(None, seen.tree, {}, list(files), contents, {entry.digest: path for path, entry in files.items()})

    def write(tx: Tx) -> Held:
        held, _ = _source(house, tx, actor, kind, name)  # rights may have changed since the files were read
        if not all(store.in_repository(tx, held, digest) for digest in contents):
            raise NotAllHere(name=name)
        if private is False and held.repository.private:
            audience.check_repository(house, tx, held)
        hidden = held.repository.private or namespaces.private_by_default(tx, new.partition("/")[0]) if private is None else private
        made = repositories.add(house, tx, actor, kind, new, private=hidden)
        store.set_gated(tx, made, held.gated)
        commits.record(house, tx, actor, made, names.MAIN, first, f"Duplicate from {name}")
        return made

    return house.db.write(write)


def _source(house: House, tx: Tx, actor: Actor, kind: Kind, name: str) -> tuple[Held, Commit]:
    held = reading.opened(house, tx, actor, kind, name)
    reading.readable(house, tx, actor, held)
    return held, store.at(tx, held, "main")
