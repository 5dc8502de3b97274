"""What a version's tables tell: who gave what, how good the sources are, and how far two versions lie apart."""

from __future__ import annotations

from typing import Any

from lilong.floors.corpus.alliance import drift as drifting
from lilong.floors.corpus.alliance.shapes import Contribution, Contributions, Drift, NoSuchTable, Quality
from lilong.floors.corpus.contract import State, Version, VersionNotFound
from lilong.ground.access import Actor
from lilong.ground.house import House

from .building import version, versions
from .files import Files

CONTRIBUTIONS, SOURCES, SIGNALS = "tables/contributions.parquet", "tables/sources.parquet", "tables/signals.parquet"


def contributions(house: House, actor: Actor, name: str) -> Contributions:
    """What each contributor gave to a version. Raises VersionNotFound, NoSuchTable."""
    row = _published(house, actor, name)
    return Contributions(row.id, row.repository, row.commit or "", [Contribution(**one) for one in _rows(house, row, CONTRIBUTIONS)])


def contributor(house: House, actor: Actor, organisation: str, limit: int = 50) -> list[Contributions]:
    """The published versions to which an organisation gave texts, the newest first, each with its row only."""
    found: list[Contributions] = []
    for row in versions(house, actor, limit=200):
        if row.state is State.DONE and organisation in row.contributors and len(found) < limit:
            try:
                told = contributions(house, actor, row.id)
            except (NoSuchTable, VersionNotFound):
                continue
            own = [one for one in told.contributions if one.contributor == organisation]
            found.append(Contributions(told.version, told.repository, told.commit, own))
    return found


def quality(house: House, actor: Actor, name: str) -> Quality:
    """The score card of a version's sources. Raises VersionNotFound, NoSuchTable."""
    row = _published(house, actor, name)
    return Quality(row.id, row.repository, row.commit or "", _rows(house, row, SOURCES))


def drift(house: House, actor: Actor, before: str, after: str) -> Drift:
    """How far two versions' kept documents lie apart. Raises VersionNotFound, NoSuchTable."""
    first, second = (_published(house, actor, name) for name in (before, after))
    columns = [drifting.read(files.paths, files.open, SIGNALS) for files in (Files(house, first), Files(house, second))]
    return drifting.between(_called(first), _called(second), *columns)


def _called(row: Version) -> str:
    return f"{row.repository}@{row.commit}"


def _published(house: House, actor: Actor, name: str) -> Version:
    row = version(house, actor, name)
    if row.state is not State.DONE:
        raise VersionNotFound(name=name[:200])
    return row


def _rows(house: House, row: Version, path: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = pq.read_table(Files(house, row).open(path)).to_pylist()
    return found
