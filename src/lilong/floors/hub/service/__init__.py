"""The verbs of the hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lilong.floors.hub import store
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.house import House

from . import (
    collecting,
    damage,
    downloads,
    git_fetch,
    imports,
    job_outputs,
    keys,
    lfs_parts,
    mirrors,
    reading,
    rebuilding,
    rechunking,
    repository_bundles,
    trust,
    upgrade,
    viewer,
    webhooks,
    xet_checking,
    xet_read,
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
        self._behind = ThreadPoolExecutor(1, thread_name_prefix="hub-manifests")
        house.closing.append(self._behind.shutdown)

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
        branch: str = "main",
    ) -> T:
        return publish(self._house, actor, kind, name, files, message, then, private=private, replace=replace, branch=branch)

    def revision(self, tx: Tx, actor: Actor, kind: Kind, name: str, ref: str = "main", *, to_read: bool = True) -> Revision:
        held = opened(self._house, tx, actor, kind, name)
        if to_read:
            reading.readable(self._house, tx, actor, held)
            mirrors.check_own(tx, held)
        commit = store.at(tx, held, ref)
        known = store.manifest_of(tx, commit)
        revision = revision_of(tx, held, commit)
        if not known:  # whoever asked will speak of it by its manifest; this transaction may only read
            self._behind.submit(self._house.db.write, lambda tx: store.add_manifest(tx, commit.tree, revision.manifest))
        return revision

    def by_manifest(self, tx: Tx, manifest: str) -> Revision | None:
        found = store.first_with_manifest(tx, manifest)
        return None if found is None else revision_of(tx, *found)


def start(house: House) -> None:
    keys.start(house)
    git_fetch.start(house)
    lfs_parts.start(house)
    house.blobs.beyond(reading.Inline(house))
    xet_read.start(house)
    rebuilding.start(house)
    house.chore("hub-xorbs", 60.0, rechunking.step)
    collecting.start(house)
    xet_checking.start(house)
    damage.start(house)
    upgrade.places(house)
    downloads.start(house)
    trust.start(house)
    viewer.start(house)
    imports.start(house)
    repository_bundles.start(house)
    webhooks.start(house)
    house.checks.append(problems)
    house.provide(Hub, HouseHub(house))  # type: ignore[type-abstract]
    job_outputs.start(house)
