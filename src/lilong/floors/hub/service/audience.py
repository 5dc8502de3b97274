"""What an upper floor has against bytes that are to be open to everybody."""

from __future__ import annotations

from collections.abc import Mapping

from lilong.floors.hub import store
from lilong.floors.hub.contract import MayNotBePublic, MayNotStandHere
from lilong.floors.hub.store import Held
from lilong.ground.db import Tx
from lilong.ground.house import House

MAY_BE_PUBLIC = "may-be-public"
"""The gate: may a repository with these files be public, or, where `repository` is empty, may they go into one that is?"""


def check_repository(house: House, tx: Tx, held: Held) -> None:
    """That a private repository may be opened, with every large file that it ever held. Raises MayNotBePublic."""
    files = {one.digest: "" for one in store.contents(tx, held)}
    reason = house.gates.objection(MAY_BE_PUBLIC, tx=tx, kind=held.kind.value, repository=held.name, files=files)
    if reason is not None:
        raise MayNotBePublic(name=held.name, reason=reason)


def check_files(house: House, tx: Tx, held: Held, files: Mapping[str, str]) -> None:
    """That files (digest -> path) may go into a repository, which matters where it is public. Raises MayNotStandHere."""
    if not held.repository.private:
        check(house, tx, held.name, files)


def check(house: House, tx: Tx, name: str, files: Mapping[str, str]) -> None:
    """The same, of what is known to be public. Raises MayNotStandHere."""
    if files and (reason := house.gates.objection(MAY_BE_PUBLIC, tx=tx, kind="", repository="", files=files)) is not None:
        raise MayNotStandHere(name=name, reason=reason)
