"""How much an organisation may keep: asked before bytes are taken, not after."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from lilong.floors.hub import store
from lilong.ground.db import Tx
from lilong.ground.errors import Forbidden
from lilong.ground.house import House


class QuotaExceeded(Forbidden):
    """{organisation} keeps {used} of the {quota} bytes that it may keep; {more} more do not fit. Delete large files, or ask the house for more."""


@dataclass(frozen=True, slots=True)
class Quota:
    used: int  # bytes of large files
    limit: int | None  # bytes; None: no limit


_COUNTED: list[Callable[[Tx, str], int]] = [store.used_by_namespace]


def counts(used: Callable[[Tx, str], int]) -> None:
    """Count these bytes of an organisation as well."""
    if used not in _COUNTED:
        _COUNTED.append(used)


def limit(house: House, tx: Tx, organisation: str) -> int | None:
    """Bytes; None where there is no limit."""
    own: int | None = tx.value("SELECT quota_bytes FROM hub_namespaces WHERE organisation = :o", o=organisation)
    return own if own is not None else house.settings.quota_mib << 20 or None


def of(house: House, tx: Tx, organisation: str) -> Quota:
    return Quota(sum(used(tx, organisation) for used in _COUNTED), limit(house, tx, organisation))


def check(house: House, tx: Tx, organisation: str, more_bytes: int) -> None:
    """Raises QuotaExceeded where so many more bytes of large files would not fit."""
    quota = of(house, tx, organisation)
    if quota.limit is not None and quota.used + more_bytes > quota.limit:
        raise QuotaExceeded(organisation=organisation, used=quota.used, quota=quota.limit, more=more_bytes)


def check_sizes(house: House, tx: Tx, organisation: str, repository: str, sizes: Collection[int]) -> None:
    """Like `check`, for large files of which only the sizes are known: one may be there already, but only where one of its size is."""
    check(house, tx, organisation, 1 if sizes else 0)
    quota = of(house, tx, organisation)
    if quota.limit is not None and quota.used + sum(sizes) > quota.limit:
        check(house, tx, organisation, sum(set(sizes) - store.sizes_in(tx, repository)))
