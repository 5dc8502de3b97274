"""What a version's tables tell: who gave what, how good the sources are, and how far two versions lie apart."""

from __future__ import annotations

from typing import Any

from lilong.floors.corpus.alliance import drift as drifting
from lilong.floors.corpus.alliance.shapes import Contribution, Contributions, Drift, FilesGone, NoSuchTable, NotPublished, Quality
from lilong.floors.corpus.contract import State, Version
from lilong.ground.access import Actor
from lilong.ground.house import House

from .building import version, versions_with
from .files import Files

CONTRIBUTIONS, SOURCES = "tables/contributions.parquet", "tables/sources.parquet"
SIGNALS, DECISIONS = "tables/signals.parquet", "tables/decisions.parquet"


def contributions(house: House, actor: Actor, name: str) -> Contributions:
    """What each contributor gave to a version. Raises VersionNotFound, FilesGone, NoSuchTable."""
    row = _published(house, actor, name)
    return Contributions(row.id, row.repository, row.commit or "", [Contribution(**one) for one in _rows(house, row, CONTRIBUTIONS)])


def contributor(house: House, actor: Actor, organisation: str, limit: int = 50) -> list[Contributions]:
    """The published versions to which an organisation gave texts, the newest first, each with its row only."""
    found: list[Contributions] = []
    for row in versions_with(house, actor, organisation, limit):
        try:
            told = contributions(house, actor, row.id)
        except (NoSuchTable, FilesGone):
            continue
        own = [one for one in told.contributions if one.contributor == organisation]
        found.append(Contributions(told.version, told.repository, told.commit, own))
    return found


def quality(house: House, actor: Actor, name: str) -> Quality:
    """The score card of a version's sources. Raises VersionNotFound, FilesGone, NoSuchTable."""
    row = _published(house, actor, name)
    return Quality(row.id, row.repository, row.commit or "", _rows(house, row, SOURCES))


def drift(house: House, actor: Actor, before: str, after: str) -> Drift:
    """How far two versions' kept documents lie apart; kept for the next who asks. Raises VersionNotFound, FilesGone, NoSuchTable."""
    from lilong.floors.corpus.curation.exploring.tables import KEPT

    first, second = (_published(house, actor, name) for name in (before, after))
    return KEPT.get(("drift", first.id, second.id), lambda: (_drift(house, first, second), 1 << 16))


def _drift(house: House, first: Version, second: Version) -> Drift:
    kept = [drifting.read(files.paths, files.open, SIGNALS, DECISIONS) for files in (Files(house, first), Files(house, second))]
    return drifting.between(_called(first), _called(second), *kept)


def _called(row: Version) -> str:
    return f"{row.repository}@{row.commit}"


def _published(house: House, actor: Actor, name: str) -> Version:
    row = version(house, actor, name)
    if row.state is not State.DONE:
        raise NotPublished(version=row.id, state=row.state.value)
    return row


def _rows(house: House, row: Version, path: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = pq.read_table(Files(house, row).open(path)).to_pylist()
    return found
