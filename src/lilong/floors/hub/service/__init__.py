"""The verbs of the hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from lilong.floors.hub import store
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.house import House

from . import (
    collecting,
    downloads,
    git_fetch,
    imports,
    lfs_parts,
    reading,
    rechunking,
    repository_bundles,
    transfer,
    trust,
    upgrade,
    viewer,
    webhooks,
    xet_checking,
    xet_read,
    xet_tokens,
)
from .checking import problems
from .commits import commit, create, kept, publish
from .namespaces import own as namespace
from .reading import ANONYMOUS, Signature, listed, opened, revision_of, show, signature
from .refs import add_branch, add_tag, delete_branch, delete_tag
from .repositories import delete

T = TypeVar("T")

__all__ = [
    "ANONYMOUS",
    "HouseHub",
    "Signature",
    "add_branch",
    "add_tag",
    "commit",
    "create",
    "delete",
    "delete_branch",
    "delete_tag",
    "kept",
    "listed",
    "namespace",
    "problems",
    "publish",
    "show",
    "signature",
    "start",
]  # fmt: skip


class HouseHub:
    """The port of this house that other floors use."""

    def __init__(self, house: House) -> None:
        self._house = house

    def publish(
        self,
        actor: Actor,
        kind: Kind,
        name: str,
        files: Mapping[str, str],
        message: str,
        then: Callable[[Tx, Revision], T],
        *,
        private: bool = True,
        replace: bool = True,
    ) -> T:
        return publish(self._house, actor, kind, name, files, message, then, private=private, replace=replace)

    def revision(self, tx: Tx, actor: Actor, kind: Kind, name: str, ref: str = "main") -> Revision:
        held = opened(self._house, tx, actor, kind, name)
        return revision_of(tx, held, store.at(tx, held, ref))

    def by_manifest(self, tx: Tx, manifest: str) -> Revision | None:
        found = store.first_with_manifest(tx, manifest)
        return None if found is None else revision_of(tx, *found)


def start(house: House) -> None:
    transfer.make_key(house)
    git_fetch.start(house)
    lfs_parts.start(house)
    xet_tokens.make_key(house)
    house.blobs.beyond(reading.Inline(house))
    xet_read.start(house)
    house.chore("hub-xorbs", 60.0, rechunking.step)
    collecting.start(house)
    xet_checking.start(house)
    upgrade.places(house)
    downloads.start(house)
    trust.start(house)
    viewer.start(house)
    imports.start(house)
    repository_bundles.start(house)
    webhooks.start(house)
    house.checks.append(problems)
    house.provide(Hub, HouseHub(house))  # type: ignore[type-abstract]
