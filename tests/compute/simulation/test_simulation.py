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
from tests.compute.simulation.world import World, seedbed

from lilong.floors.compute import store
from lilong.floors.compute.contract import Phase, Sight, Task
from lilong.floors.compute.service import ending
from lilong.floors.compute.store import asking, attempts
from lilong.floors.compute.work.attending import Attendant
from lilong.floors.compute.work.deciding import Decider
from lilong.floors.compute.work.dispatcher import Dispatcher
from lilong.floors.compute.work.sites import Sites
from lilong.ground import chores

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


def played(seed: int, bed: Path, **given: int) -> str:
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
    other = subprocess.run(  # noqa: S603 - ourselves
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


def asks_nobody_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    """What a server finds in the outbox when it starts it hands over, as if nobody could have done so before."""

    def trusting(self: Dispatcher) -> None:
        self._mine |= self._house.db.read(attempts.open_tokens) - self._handed

    patch.setattr(Dispatcher, "_sweep", trusting)


def takes_silence_for_an_end(patch: pytest.MonkeyPatch) -> None:
    down = Sites.down

    def hasty(self: Sites, name: str, problem: Any) -> bool:
        attendant = self._house.port(Dispatcher)._attendant
        for token in sorted(self._house.db.read(lambda tx: attempts.open_at(tx, name))):
            entry = attendant.current(token)
            if entry is not None and entry.job.state.value == "running":
                self._house.db.write(lambda tx, entry=entry: _lost(self, attendant, tx, entry))
        return down(self, name, problem)

    def _lost(self: Sites, attendant: Attendant, tx: Any, entry: Any) -> None:
        from lilong.floors.compute.contract import Exit, JobState
        from lilong.floors.compute.rules import Verdict

        attendant._settled(tx, entry, Verdict(JobState.LOST), Sight(Phase.LOST), Exit(None, None, "", 0.0, 0.0, 0.0), (), None)

    patch.setattr(Sites, "down", hasty)


def starts_before_others_have_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attempts, "stopping", lambda tx, site: set())


def tells_an_end_once_more(patch: pytest.MonkeyPatch) -> None:
    settled = attempts.settled
    patch.setattr(attempts, "settled", lambda *given, **named: settled(*given, **named) or True)


def says_it_succeeded_before_its_outputs_are_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Attendant, "_keep", lambda self, file: ("sha256:" + "0" * 64, len(file.read())))


def forgets_those_that_waited_for_another(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(asking, "dependents", lambda tx, job: [])


def gives_slots_of_an_array_that_there_are_not(patch: pytest.MonkeyPatch) -> None:
    slots = asking.give_slots
    patch.setattr(asking, "give_slots", lambda tx, array, freed: slots(tx, array, freed + 1))


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

    run_chore = chores.run_chore
    patch.setattr("tests.compute.simulation.leases.run_chore", lambda house, chore: run_chore(Unfenced(house), chore))  # type: ignore[arg-type]


MISTAKES: Sequence[Callable[[pytest.MonkeyPatch], None]] = (
    hands_over_before_it_is_written_down,
    asks_nobody_after_a_crash,
    takes_silence_for_an_end,
    starts_before_others_have_left,
    tells_an_end_once_more,
    says_it_succeeded_before_its_outputs_are_kept,
    forgets_those_that_waited_for_another,
    gives_slots_of_an_array_that_there_are_not,
    forgets_what_a_cancelled_job_set_free,
    lets_a_late_server_end_the_lease_of_another,
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_floor_with_a_mistake_is_found_out(mistake: Callable[[pytest.MonkeyPatch], None], bed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake(monkeypatch)
    for number in range(12):
        try:
            played(1000 + number, bed)
        except Broken as found:
            assert f"seed {1000 + number}" in str(found)
            return
    pytest.fail("nobody noticed in 12 worlds")
