"""Worlds of a server, its disk, its clients and its engines, each from one seed: whatever goes wrong, nothing that must not be ever is.

`--seed N` (or LILONG_SIM_SEED=N) plays one world again, LILONG_SIM_SEEDS=N plays N of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from tests.compute.simulation.engine import Broken
from tests.compute.simulation.world import ACTIONS, World, seedbed

from lilong.floors.compute import store
from lilong.floors.compute.contract import JobFinished, Task
from lilong.floors.compute.service import ending
from lilong.floors.compute.store import asking
from lilong.floors.compute.work.attending import Attendant
from lilong.floors.compute.work.deciding import Decider
from lilong.floors.compute.work.dispatcher import Dispatcher
from lilong.ground import chores
from lilong.ground.access import SYSTEM

SEEDS = 50
_QUICK = Path("/dev/shm")  # a disk that is memory: what is proved here needs no other


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--seed", default=None) or os.environ.get("LILONG_SIM_SEED")
        metafunc.parametrize("seed", range(int(os.environ.get("LILONG_SIM_SEEDS", SEEDS))) if chosen is None else [int(chosen)])


@pytest.fixture(scope="module")
def bed() -> Iterator[Path]:
    with TemporaryDirectory(prefix="lilong-simulation-", dir=_QUICK if os.access(_QUICK, os.W_OK) else None) as folder:
        yield seedbed(Path(folder) / "bed")


def played(seed: int, bed: Path, **given: Any) -> str:
    with TemporaryDirectory(dir=bed.parent) as folder:
        return World(seed, Path(folder) / "house", bed, **given).play()


def test_whatever_goes_wrong_each_attempt_starts_once_each_end_is_told_once_and_all_comes_to_its_end(seed: int, bed: Path) -> None:
    played(seed, bed)


AGAIN = """
import pathlib, sys
sys.path[:0] = [{root!r}, {source!r}]
import structlog
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
from tests.compute.simulation.test_simulation import played
from tests.compute.simulation.world import seedbed
print(played({seed}, seedbed(pathlib.Path({folder!r}) / 'bed')))
"""


def test_a_seed_is_the_whole_story_also_in_another_process(bed: Path, tmp_path: Path) -> None:
    seed, root = 12, str(Path(__file__).parents[3])
    code = AGAIN.format(root=root, source=root + "/src", seed=seed, folder=str(tmp_path))
    other = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "4711"}, capture_output=True, text=True, check=False
    )
    assert other.returncode == 0, other.stderr[-2000:]
    assert other.stdout.split()[-1] == played(seed, bed)


def test_another_seed_is_another_story(bed: Path) -> None:
    assert played(3, bed, actions=40) != played(4, bed, actions=40)


# --- that the simulation would see what it looks for: floors with one mistake each ----------------------------------------------


def hands_over_before_it_is_written_down(patch: pytest.MonkeyPatch) -> None:
    decided = Decider._write

    def hasty(self: Decider, tx: Any, view: Any, decision: Any, now: Any) -> Any:
        begun = decided(self, tx, view, decision, now)
        for job in begun[0]:
            entry = store.entry(tx, job)
            site = self._sites.named(entry.job.site or "")
            site.submit(entry.token, Task(entry.job.ask.argv, spec=entry.job.ask.spec, placed=entry.job.placement))
        return begun

    patch.setattr(Decider, "_write", hasty)


def takes_a_lost_answer_for_a_lost_call(patch: pytest.MonkeyPatch) -> None:
    submit = Dispatcher._submit

    def trusting(self: Dispatcher, entry: Any) -> None:
        self._mine.add(entry.token)
        submit(self, entry)

    patch.setattr(Dispatcher, "_submit", trusting)


def tells_an_end_twice(patch: pytest.MonkeyPatch) -> None:
    followed = ending.followed

    def repeated(house: Any, tx: Any, over: Any) -> None:
        for job, state in over.items():
            house.events.append(tx, SYSTEM, JobFinished(job, "lantern-works", "test.run", state.value))
        followed(house, tx, over)

    patch.setattr(ending, "followed", repeated)


def says_it_succeeded_before_its_outputs_are_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Attendant, "_keep", lambda self, file: ("sha256:" + "0" * 64, len(file.read())))


def forgets_those_that_waited_for_another(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(asking, "dependents", lambda tx, jobs: [])


def forgets_what_a_cancelled_job_set_free(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ending, "followed", lambda *given: None)


def lets_a_late_server_end_the_lease_of_another(patch: pytest.MonkeyPatch) -> None:
    class Careless:
        def __init__(self, tx: Any) -> None:
            self._tx = tx

        def run(self, sql: str, **given: Any) -> int:
            return int(self._tx.run(sql.replace(" AND token = :token", ""), **given))

        def row(self, sql: str, **given: Any) -> Any:
            return self._tx.row(sql, **given)

    class Unfenced:
        def __init__(self, house: Any) -> None:
            self._house = house
            self.ids, self.clock, self.db = house.ids, house.clock, self

        def write(self, act: Callable[[Any], Any]) -> Any:
            return self._house.db.write(lambda tx: act(Careless(tx)))

    patch.setitem(ACTIONS, "leases", 100)
    run_chore = chores.run_chore
    patch.setattr("tests.compute.simulation.leases.run_chore", lambda house, chore: run_chore(Unfenced(house), chore))  # type: ignore[arg-type]


MISTAKES: Sequence[Callable[[pytest.MonkeyPatch], None]] = (
    hands_over_before_it_is_written_down,
    takes_a_lost_answer_for_a_lost_call,
    tells_an_end_twice,
    says_it_succeeded_before_its_outputs_are_kept,
    forgets_those_that_waited_for_another,
    forgets_what_a_cancelled_job_set_free,
    lets_a_late_server_end_the_lease_of_another,
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_floor_with_a_mistake_is_found_out(
    mistake: Callable[[pytest.MonkeyPatch], None], bed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    for number in range(25):
        try:
            played(1000 + number, bed, wild=8.0)
        except Broken as found:
            assert f"seed {1000 + number}" in str(found)
            return
    pytest.fail("nobody noticed in 25 worlds")
