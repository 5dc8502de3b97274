"""The dataset viewer: one question is one short program in the house's sandbox, which sees one file and leaves one answer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import msgspec

from lilong.floors.hub import store
from lilong.floors.hub.contract import EntryNotFound, Kind
from lilong.floors.hub.git import trees
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.store import Commit, Held
from lilong.floors.hub.viewer import shapes
from lilong.floors.hub.viewer.shapes import Page, Question, Schema, Statistics, TableFile
from lilong.ground import sandbox
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, LilongError, NotFound
from lilong.ground.house import House
from lilong.ground.sandbox import Bind, Level, Limits, OutputRefused, Sandbox

from . import mirrors, reading

T = TypeVar("T")

_SECONDS = 20.0  # of one question
_WAITING = 15.0  # seconds for a free place
_AT_ONCE = 2
_ANSWERS = 2000  # that are kept
_REBUILT = 8 << 30  # bytes of files that were laid down to be looked into
_LARGEST = 32 << 30  # bytes of a file that is looked into at all
_ANSWER = 32 << 20  # bytes
_LISTED = 1000  # files of one revision
_KEPT = 24 * 3600  # seconds that nobody needs to ask for something before it goes
_VERSION = "1"  # counts up when the same question gets another answer
_OFFSET = 1 << 40
# Limits of the machine that DuckDB reads when it starts: it ends where it sees that they are there and may not open them (Landlock).
_GROUPS = tuple(Bind(path) for path in (Path("/sys/fs/cgroup"),) if path.is_dir())
_places = threading.BoundedSemaphore(_AT_ONCE)
_laying = threading.Lock()


class NotATable(BadInput):
    """The file '{path}' cannot be shown as a table: {problem}."""


class ViewerLimit(BadInput):
    """Looking into '{path}' took more than {limit}. Ask for less, or download the file."""


class TooManyQuestions(LilongError):
    """All places for looking into files are taken. Ask again in a few seconds."""

    status = 429
    exit_code = 7


class ViewerMissing(BadInput):
    """This server has no {package} and cannot look into files. Whoever runs it can install it: pip install {package}."""

    status = 404


# --- what can be asked --------------------------------------------------------------------------------------------------


def files(house: House, actor: Actor, name: str, word: str) -> list[TableFile]:
    """The files of a revision that can be shown as tables. Raises RepositoryNotFound, RevisionNotFound, GatedRepository."""
    _, commit = _opened(house, actor, name, word)
    return house.db.read(lambda tx: list(islice(_tables(tx, commit), _LISTED)))


def _tables(tx: Tx, commit: Commit) -> Iterator[TableFile]:
    if commit.tree == trees.EMPTY:
        return
    for path, entry in trees.walk(reading.loader(tx), commit.tree, prefix="", recursive=True, after=""):
        if not entry.folder and (format_ := shapes.format_of(path)):
            yield TableFile(path, entry.size, format_)


def schema(house: House, actor: Actor, name: str, word: str, path: str) -> Schema:
    """Raises RepositoryNotFound …, EntryNotFound, NotATable, ViewerLimit, TooManyQuestions."""
    return _asked(house, actor, name, word, path, Question("schema", "", 0), Schema)


def rows(house: House, actor: Actor, name: str, word: str, path: str, offset: int = 0, limit: int = shapes.ROWS, sort: str = "") -> Page:
    """At most 100 at a time; `sort` is a column's name, with `-` before it from the largest down."""
    return _asked(house, actor, name, word, path, Question("rows", "", 0, *_window(offset, limit), sort=sort[:1000]), Page)


def search(
    house: House, actor: Actor, name: str, word: str, path: str, query: str, offset: int = 0, limit: int = shapes.ROWS, sort: str = ""
) -> Page:
    """The rows in which a text has these words, upper and lower case alike."""
    if not query or len(query) > shapes.SEARCHED:
        raise BadInput(field="q", problem=f"it must have 1 to {shapes.SEARCHED} characters", way_out="Give the words to look for.")
    return _asked(house, actor, name, word, path, Question("search", "", 0, *_window(offset, limit), query=query, sort=sort[:1000]), Page)


def statistics(house: House, actor: Actor, name: str, word: str, path: str) -> Statistics:
    return _asked(house, actor, name, word, path, Question("statistics", "", 0), Statistics)


def _window(offset: int, limit: int) -> tuple[int, int]:
    if not 0 <= offset < _OFFSET or not 1 <= limit <= shapes.ROWS:
        raise BadInput(field="offset or limit", problem="it is out of range", way_out=f"Ask for 1 to {shapes.ROWS} rows from row 0 on.")
    return offset, limit


def _opened(house: House, actor: Actor, name: str, word: str) -> tuple[Held, Commit]:
    def read(tx: Tx) -> tuple[Held, Commit]:
        held = reading.opened(house, tx, actor, Kind.DATASET, name)
        reading.readable(house, tx, actor, held)
        return held, store.at(tx, held, word)

    return house.db.read(read)


def _asked(house: House, actor: Actor, name: str, word: str, path: str, question: Question, shape: type[T]) -> T:
    held, commit = _opened(house, actor, name, word)
    entry = reading.entry_at(house, held, commit, path)
    if entry.folder or not path:
        raise EntryNotFound(revision=commit.id, repository=held.name, path=path[:300])
    format_ = shapes.format_of(path)
    if not format_:
        raise NotATable(path=path[:300], problem="its name is none of Parquet, JSON lines, CSV")
    if entry.large:  # a mirror's file is its own only once its source has sent it
        mirrors.fetch(house, held, entry.digest)
    if entry.size > (_REBUILT if house.blobs.path(entry.digest) is None else _LARGEST):
        raise NotATable(path=path[:300], problem=f"it has more than {_REBUILT >> 30} GiB")
    whole = replace(question, format=format_, size=entry.size)
    found = _kept(house, held.id, entry, path, whole)
    if "refused" in found:
        raise NotATable(path=path[:300], problem=found["refused"])
    return msgspec.convert({**found["answer"], "file": path}, shape, strict=False)


# --- answers, kept by content and question ------------------------------------------------------------------------------


def _folder(house: House, *parts: str) -> Path:
    folder = house.settings.run.joinpath("viewer", *parts)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _kept(house: House, repository: str, entry: Entry, path: str, question: Question) -> dict[str, Any]:
    # By repository as well: how fast an answer comes must not tell what others have.
    words = json.dumps([_VERSION, repository, entry.digest, shapes.suffix_of(path), asdict(question)], sort_keys=True)
    file = _folder(house, "answers") / f"{hashlib.sha256(words.encode()).hexdigest()}.json"
    with contextlib.suppress(FileNotFoundError, ValueError):
        found: dict[str, Any] = json.loads(file.read_bytes())
        os.utime(file)
        return found
    made = _worked_out(house, repository, entry, path, question)
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix="new-", delete=False) as new:
        new.write(json.dumps(made, ensure_ascii=False).encode(errors="replace"))
    os.replace(new.name, file)
    _trim(file.parent, _ANSWERS, 1 << 62)
    return made


def _last_used(facts: os.stat_result) -> float:
    """Seconds since 1970. A link to a blob has the blob's own times, but for the one at which the link was made; and takes no room."""
    return facts.st_mtime if facts.st_nlink == 1 else facts.st_ctime


def _trim(folder: Path, most: int, most_bytes: int) -> None:
    """Take away what was not used for longest."""
    listed = []
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            facts = file.stat()
            listed.append((_last_used(facts), facts.st_size if facts.st_nlink == 1 else 0, file))
    count, total = len(listed), sum(size for _, size, _ in listed)
    for _, size, file in sorted(listed)[:-1]:
        if count <= most and total <= most_bytes:
            return
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
        count, total = count - 1, total - size


def _laid_down(house: House, repository: str, entry: Entry, path: str) -> Path:
    """The bytes as one plain file under a name of ours; what is kept as Xet is rebuilt once and held for a while."""
    folder = _folder(house, "files")
    file = folder / f"{repository}-{entry.digest.removeprefix('sha256:')}{shapes.suffix_of(path)}"
    with _laying:
        if not file.exists():
            new = folder / f"new-{os.getpid()}-{threading.get_ident()}"
            new.unlink(missing_ok=True)
            try:
                house.blobs.place(entry.digest, new, share=True)
                os.replace(new, file)
            finally:
                new.unlink(missing_ok=True)
        if file.stat().st_nlink == 1:
            os.utime(file)
        _trim(folder, 1000, max(_REBUILT, entry.size + 1))
    return file


# --- the program --------------------------------------------------------------------------------------------------------


def _worked_out(house: House, repository: str, entry: Entry, path: str, question: Question) -> dict[str, Any]:
    import importlib.util

    if importlib.util.find_spec("duckdb") is None:
        raise ViewerMissing(package="duckdb")
    if not _places.acquire(timeout=_WAITING):
        raise TooManyQuestions()
    try:
        try:
            file = _laid_down(house, repository, entry, path)
        except NotFound as missing:
            raise NotATable(path=path[:300], problem="its bytes have not arrived yet") from missing
        folder = Path(tempfile.mkdtemp(dir=_folder(house), prefix="asked-"))
        try:
            folder.chmod(0o777)  # the program has a user of its own
            return _run(house, folder, file, path, question)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        _places.release()


def _run(house: House, folder: Path, file: Path, path: str, question: Question) -> dict[str, Any]:
    (folder / "question.json").write_text(json.dumps(asdict(question)))
    box = Sandbox(
        argv=(sys.executable, "-I", "-m", "lilong.floors.hub.viewer.worker", str(folder), str(file)),
        binds=(Bind(folder, writable=True), Bind(file), *_GROUPS),
        env={"LANG": "C.UTF-8", "HOME": str(folder), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "2"},
        cwd=str(folder),
        limits=Limits(processes=64, file_bytes=_ANSWER, tmp_bytes=16 << 20, cpu_seconds=2 * int(_SECONDS) + 2, open_files=256),
    )
    word = house.settings.sandbox
    plan = sandbox.launch(box, floor=Level.NONE if word == "auto" else Level.parse(word))
    try:
        finished = sandbox.run(plan, _SECONDS)
    except subprocess.TimeoutExpired:
        raise ViewerLimit(path=path[:300], limit=f"{_SECONDS:g} seconds") from None
    try:
        with sandbox.opened(folder, PurePosixPath("answer.json")) as answer:
            made: dict[str, Any] = json.loads(answer.read(_ANSWER))
            return made
    except (OSError, ValueError, OutputRefused):
        if finished.code in (-6, -9, -24, 134, 137, 152):  # aborted without memory, killed, out of CPU seconds
            raise ViewerLimit(path=path[:300], limit="the memory or time that there is for it") from None
        raise NotATable(path=path[:300], problem="reading it ended with an error of the reader itself") from None


def tidy(house: House) -> None:
    """Answers and files that nobody asked for since yesterday, and what questions left behind when the server ended in the middle."""
    oldest = house.clock.now().timestamp() - _KEPT
    for left in (house.settings.run / "viewer").glob("*/*"):
        with contextlib.suppress(OSError):
            if _last_used(left.stat()) < oldest:
                left.unlink()
    for left in (house.settings.run / "viewer").glob("asked-*"):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < oldest:
                shutil.rmtree(left, ignore_errors=True)


def start(house: House) -> None:
    house.chore("hub.viewer", 3600.0, tidy)
