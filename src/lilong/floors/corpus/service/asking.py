"""Is this text in a version? Answered from an index that a job makes when somebody asks first."""

from __future__ import annotations

import os
import shutil
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lilong.floors.compute.contract import PYTHON, Compute, JobAsk, JobState
from lilong.floors.corpus import rules, store
from lilong.floors.corpus.alliance.shapes import Contained, ContainsAsk, Found, NoIndex, NotPublished
from lilong.floors.corpus.contract import State, TakenOutOfUse, Version
from lilong.floors.corpus.store import alliance as rows
from lilong.floors.hub.contract import Hub, Kind
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput
from lilong.ground.house import House

from .parts import found_version
from .uses import successor

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.contamination import Index

INDEX = "corpus.index"
_PROGRAM = (PYTHON, "-m", "lilong.floors.corpus.alliance.indexing")
_LONGEST = 4 << 20  # characters of a question
_OPEN = 16  # indexes that are kept mapped
_LAID_DOWN = 8 << 30  # bytes of indexes that are kept laid down

_mapped: OrderedDict[Path, Index] = OrderedDict()
_mapping = threading.Lock()


def contains(house: House, actor: Actor, ask: ContainsAsk) -> Contained:
    """Whether a text stands in a published version, whole or in part. A version that was put out of use answers no more.

    Raises VersionNotFound, GatedRepository, TakenOutOfUse, BadInput; NoIndex while the index is being made, for which this call asks.
    """
    if not 0 < len(ask.text) <= _LONGEST:
        raise BadInput(field="text", problem=f"it has {len(ask.text):,} characters", way_out=f"Give 1 to {_LONGEST:,}.")
    row, index = house.db.read(lambda tx: _look(house, tx, actor, ask.version))
    if index is None or index.state is State.FAILED:
        index = house.db.write(lambda tx: _requested(house, tx, actor, row))
    if index.state is not State.DONE:
        raise NoIndex(version=row.id, state="being made", way_out="Ask again in a moment.")
    said = _opened(house, index).ask(ask.text)
    found = [Found(document, share) for document, share in said.documents]
    return Contained(row.id, row.repository, row.commit or "", said.asked, round(said.share, 6), list(said.copies), found)


def _look(house: House, tx: Tx, actor: Actor, name: str) -> tuple[Version, rows.Index | None]:
    row = found_version(house, tx, actor, name)
    if row.state is not State.DONE:
        raise NotPublished(version=row.id, state=row.state.value)
    if not house.access.allowed(tx, actor, "corpus.read", row.organisation):  # of a gated repository it would tell what it holds
        house.port(Hub).revision(tx, actor, Kind.DATASET, row.repository)  # type: ignore[type-abstract]
    if row.superseded is not None:
        following = successor(tx, row)
        raise TakenOutOfUse(
            version=row.id,
            takedown=row.superseded.takedown,
            way_out=f"Ask {following}." if following else "Wait for the version without it.",
        )
    return row, rows.index(tx, row.id)


def _requested(house: House, tx: Tx, actor: Actor, row: Version) -> rows.Index:
    """The house asks for the job, on behalf of the organisation whose version it is; one that failed is tried again for its builders."""
    known = rows.index(tx, row.id)
    if known is not None and known.state is not State.FAILED:
        return known
    if known is not None and not house.access.allowed(tx, actor, "corpus.build", row.organisation):
        raise NoIndex(version=row.id, state="not there: making it has failed", way_out=f"Ask {row.organisation} to look into {known.job}.")
    job = house.port(Compute).submit(tx, SYSTEM, JobAsk(  # type: ignore[type-abstract]
        kind=INDEX, organisation=row.organisation, argv=_PROGRAM, inputs={"data": {path: digest for path, digest in store.files(tx, row.id).items() if path.endswith(".parquet")}}, memory_mib=2048, timeout_s=7200,
        attempts=2, key=f"{row.id}.index.{known.job if known else ''}", title=f"Index {row.repository}",
    ))  # fmt: skip
    made = rows.Index(row.id, job.id, State.REQUESTED)
    rows.put_index(tx, made)
    return made


def followed(house: House, job_id: str) -> None:
    """The job that makes an index has ended."""

    def write(tx: Tx) -> None:
        known = rows.index_of_job(tx, job_id)
        if known is None or known.state in (State.DONE, State.FAILED):
            return
        job = house.port(Compute).job(tx, SYSTEM, job_id)  # type: ignore[type-abstract]
        if job.state is JobState.SUCCEEDED:
            files = {output.path: output.digest for output in job.outputs if output.path != "result.json"}
            rows.put_index(tx, rows.Index(known.version, job_id, State.DONE, files))
        else:
            reason = rules.reason(job.exit.reason) if job.exit else f"the job {job_id} was {job.state.value}"
            rows.put_index(tx, rows.Index(known.version, job_id, State.FAILED, {}, reason))

    house.db.write(write)


def _opened(house: House, index: rows.Index) -> Index:
    """The index, laid down once beside the house's other running files, by links where the disk allows, and mapped."""
    from lilong.floors.corpus.curation.contamination import Index as Mapped

    folder = house.settings.run / "corpus-indexes" / index.job
    with _mapping:
        new = folder not in _mapped
        if new:
            folder.mkdir(parents=True, exist_ok=True)
            for name, digest in index.files.items():
                if not (folder / name).exists():
                    partial = folder / f".{name}.{os.getpid()}"
                    partial.unlink(missing_ok=True)
                    house.blobs.place(digest, partial, share=True)
                    partial.replace(folder / name)
            _mapped[folder] = Mapped.open(folder)
            while len(_mapped) > _OPEN:
                _mapped.popitem(last=False)
            _trim(folder.parent, folder)
        _mapped.move_to_end(folder)
        with suppress(FileNotFoundError):  # another process of the house has taken it away; what is mapped stays
            os.utime(folder)
        return _mapped[folder]


def _trim(place: Path, newest: Path) -> None:
    """Take away the indexes that were asked longest ago. Whoever has one mapped goes on with it; asked again, it is laid down again."""
    known = sorted((one for one in place.iterdir() if one != newest), key=lambda one: one.stat().st_mtime, reverse=True)
    total = 0
    for folder in (newest, *known):
        total += sum(file.stat().st_size for file in folder.iterdir())
        if total > _LAID_DOWN and folder != newest:
            _mapped.pop(folder, None)
            shutil.rmtree(folder, ignore_errors=True)
