"""`curate`: from inputs to a folder of tables, in as many processes as are wanted, resumed where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from lilong.floors.corpus.curation.policies.policy import Policy
from lilong.floors.corpus.curation.reading import again, cutting, inputs
from lilong.floors.corpus.curation.runs import batch, durable, gather, processes, profiles
from lilong.floors.corpus.curation.runs.progress import Progress, Silent
from lilong.ground.errors import BadInput, Conflict, LilongError, Unavailable

_HERE = Path(__file__).parent.parent
_BUCKET_BYTES = 16 << 20
_MOST_BUCKETS = 4_096
_ALL_FAIL = 8  # where so many fail and none has gone well, more would only say the same
_WORK = "work"
_RUN = "run.json"
REPORT = "report.json"
INPUTS = "inputs.json"
"""Where the texts were read: for people who ask after one that was dropped. No part of the result."""


class AnotherRun(Conflict):
    """The folder {folder} holds another run: its {differs} differ. Give another --out, or remove the folder."""


class NotARun(Conflict):
    """The folder {folder} is not empty and holds no curation run. Give another --out."""


class NoRoom(Unavailable):
    """There is no room left in {folder}: {what} could not be written. All else that was done is kept: make room and give the same command again."""


class NothingInIt(BadInput):
    """There is nothing in the input {inputs}: its files are empty. Give files with texts."""


class Incomplete(LilongError):
    """{failed} of {batches} batches failed, the first one at {first}: {problem}. The others are kept; the same command tries these again."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What to curate. The result depends on nothing else: not on `workers`, nor on the order of the inputs. With `review`, the texts that are
    not kept are written too."""

    inputs: Sequence[str] | cutting.Reading
    setup: profiles.Setup
    out: Path
    policy: Path | Policy | None = None
    workers: int = 1
    review: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that is to be done, in a folder that is its own. `run` is what the report calls so; `work` is for what is in the making."""

    ask: Ask
    run: dict[str, Any]
    reading: cutting.Reading
    work: Path
    profile: profiles.Profile
    policy: Policy


@dataclass(slots=True)
class _State:
    journal: durable.Journal
    task: batch.Task
    progress: Progress
    keys: dict[str, None] = field(default_factory=dict)  # of this run's batches, in order
    failed: list[batch.Failed] = field(default_factory=list)


def curate(ask: Ask, progress: Progress | None = None, how: Callable[[Plan, Progress], None] | None = None) -> dict[str, Any]:
    """Carry out a run; answers what stands in its report.json. Where the same run is finished already, nothing is done again.

    `how`: another way to do it than by processes of this machine (see `ray_data`); it leaves the same tables and report.

    Raises NoSuchInput, NothingToRead, NothingInIt, SameName, UnknownProfile, BadPolicy, AnotherRun, NotARun, AlreadyRunning, NoRoom, Incomplete.
    """
    progress = progress or Silent()
    profile = profiles.profile(ask.setup)
    policy = ask.policy if isinstance(ask.policy, Policy) else profile.policy(ask.policy)
    reading = ask.inputs if isinstance(ask.inputs, cutting.Reading) else cutting.LocalFiles(inputs.find(ask.inputs, besides=ask.out))
    run = identity(ask.setup, profile, policy, reading) | ({"review": True} if ask.review else {})
    ask.out.mkdir(parents=True, exist_ok=True)
    with durable.alone(ask.out):
        _claim(ask.out, run)
        work = ask.out / _WORK
        if not (ask.out / REPORT).exists():
            if not isinstance(ask.inputs, cutting.Reading):
                durable.write_json(ask.out / INPUTS, again.absolute(ask.inputs))
            work.mkdir(exist_ok=True)
            (how or _measure)(Plan(ask, run, reading, work, profile, policy), progress)
        shutil.rmtree(work, ignore_errors=True)
    report: dict[str, Any] = json.loads((ask.out / REPORT).read_bytes())
    return report


def code_digest() -> str:
    """sha256 over every module and data file of the engine: a batch that other code measured is measured again."""
    files = sorted(
        path for path in _HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".nbi", ".nbc")
    )
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(_HERE).as_posix()}\n" for path in files)
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def identity(setup: profiles.Setup, profile: profiles.Profile, policy: Policy, reading: cutting.Reading) -> dict[str, Any]:
    """All that decides about a run's result: what its report calls `run`."""
    return {
        "profile": profile.name,
        "classifiers": {name: _file_digest(path) for name, path in sorted(setup.classifiers)},
        "mask": sorted(setup.mask),
        "policy": {**policy.as_json(), "digest": policy.digest()},
        "near": {**asdict(setup.near), "characters": setup.characters},
        "inputs": reading.identity(),
        "code": code_digest(),
    }


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _claim(out: Path, run: dict[str, Any]) -> None:
    """The folder belongs to this run from here on. Raises AnotherRun, NotARun."""
    path = out / _RUN
    if path.exists():
        before = json.loads(path.read_bytes())
        differs = [key for key in run if before.get(key) != run[key]]
        if differs:
            raise AnotherRun(folder=out, differs=", ".join(differs))
        return
    durable.sweep(out)
    if any(out.iterdir()):
        raise NotARun(folder=out)
    durable.write_json(path, run)


def _measure(plan: Plan, progress: Progress) -> None:
    ask, reading, work = plan.ask, plan.reading, plan.work
    total = reading.size
    buckets = 1
    while buckets * _BUCKET_BYTES < total and buckets < _MOST_BUCKETS:
        buckets *= 2
    state = _State(durable.Journal.open(work), batch.Task(ask.setup, work, buckets), progress)
    progress.begin("measuring", total)
    todo = _to_do(state, reading)
    first = list(islice(todo, 2))
    todo = chain(first, todo)
    if ask.workers > 1 and len(first) > 1:  # one batch is done before a second process would have started
        _side_by_side(state, todo, ask.workers)
    else:
        for one, key in todo:
            _finished(state, batch.carry_out(one, key, state.task), one)
    if state.failed:
        give_up(state.failed, len(state.keys), ask.out)
    if not state.keys:
        raise NothingInIt(inputs=", ".join(map(str, ask.inputs)) if isinstance(ask.inputs, Sequence) else "(of a source set)")
    done = [state.journal.done[key] for key in state.keys]
    try:
        gather.gather(gather.Job(work, ask.out, buckets, plan.profile, plan.policy, plan.run, ask.review, ask.workers), done, progress)
    except OSError as problem:
        if problem.errno not in batch.NO_ROOM:
            raise
        raise NoRoom(folder=ask.out, what="the tables of the result") from None


def _to_do(state: _State, reading: cutting.Reading) -> Iterator[tuple[cutting.Batch, str]]:
    """The batches that are not done yet, each once."""
    for one in reading.batches():
        key = one.key()
        if key in state.keys:
            continue
        state.keys[key] = None
        before = state.journal.done.get(key)
        if before is None:
            yield one, key
        else:
            state.progress.advance(one.read, before.documents)


def _finished(state: _State, outcome: durable.Done | batch.Failed, one: cutting.Batch) -> None:
    if isinstance(outcome, durable.Done):
        try:
            state.journal.add(outcome)
            state.progress.advance(one.read, outcome.documents)
            return
        except OSError as problem:
            if problem.errno not in batch.NO_ROOM:
                raise
            outcome = batch.Failed(outcome.key, batch.first_of(one), str(problem.strerror), no_room=True)
    state.failed.append(outcome)
    state.progress.say(f"{outcome.first}: {outcome.problem}")
    if len(state.failed) >= _ALL_FAIL and not state.journal.done:
        give_up(state.failed, len(state.keys), state.task.folder.parent)


def give_up(failed: Sequence[batch.Failed], batches: int, out: Path) -> None:
    """Raise NoRoom or Incomplete."""
    counted: dict[str, Any] = {"failed": len(failed), "batches": batches, "first": failed[0].first}
    if all(one.no_room for one in failed):
        raise NoRoom(folder=out, what=f"{counted['failed']} of {counted['batches']} batches, the first one of {counted['first']},")
    raise Incomplete(problem=next(one.problem for one in failed if not one.no_room), **counted)


def _side_by_side(state: _State, todo: Iterator[tuple[cutting.Batch, str]], workers: int) -> None:
    """Batches in several processes. Where one dies, what it and the others had in hand is tried again, one at a time."""
    suspects: list[tuple[cutting.Batch, str]] = []
    flying: dict[Future[Any], tuple[cutting.Batch, str]] = {}
    batch.measurer(state.task.setup)  # loaded once, and compiled where it has to be, before there are more processes
    while True:
        with processes.pool(workers, batch.begin, copies=True) as pool:
            try:
                for one, key in todo:
                    flying[pool.submit(batch.carry_out, one, key, state.task)] = (one, key)
                    if len(flying) > workers + 1:
                        _collect(state, flying, suspects, FIRST_COMPLETED)
                    if suspects:
                        break
            except BrokenProcessPool:
                suspects.append((one, key))
            _collect(state, flying, suspects, "ALL_COMPLETED")
        if not suspects:
            return
        for one, key in suspects:
            _alone(state, one, key)
        suspects.clear()


def _collect(
    state: _State, flying: dict[Future[Any], tuple[cutting.Batch, str]], suspects: list[tuple[cutting.Batch, str]], until: str
) -> None:
    for future in wait(flying, return_when=until).done:
        one, key = flying.pop(future)
        try:
            _finished(state, future.result(), one)
        except BrokenProcessPool:
            suspects.append((one, key))


def _alone(state: _State, one: cutting.Batch, key: str) -> None:
    with processes.pool(1, batch.begin, copies=True) as pool:
        try:
            _finished(state, pool.submit(batch.carry_out, one, key, state.task).result(), one)
        except BrokenProcessPool:
            problem = "the process that measured it was killed, perhaps for want of memory"
            _finished(state, batch.Failed(key, batch.first_of(one), problem, no_room=False), one)
