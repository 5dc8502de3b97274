"""A server is killed again and again while jobs run: nothing runs twice, nothing is lost, nothing is reported twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.compute.conftest import ORGANISATION, open_compute

from lilong.floors.compute import service, store
from lilong.floors.compute.backends.conformance import SERVICE
from lilong.floors.compute.contract import PYTHON, JobAsk, JobState
from lilong.floors.compute.work import Dispatcher, run_until_idle
from lilong.ground.access import SYSTEM
from lilong.ground.house import House

SERVER = """
import pathlib, sys, time
sys.path[:0] = [{root!r}, {source!r}]
from tests.compute.conftest import open_compute
from tests.compute.test_crashes import submit
house = open_compute(pathlib.Path({folder!r}), background=True)
print('up', flush=True)
for number in range({first}, {last}):
    submit(house, number)
time.sleep(60)
"""
PROGRAM = (
    "import random, time; from lilong.ground.work import Workspace; w = Workspace.here(); w.progress(1, 1, 'ran');"
    "time.sleep(random.random() * 0.4); w.finish({'number': w.spec['number']})"
)


def submit(house: House, number: int) -> str:
    ask = JobAsk("test.mark", ORGANISATION, (PYTHON, "-c", PROGRAM), memory_mib=128, spec={"number": number}, key=f"mark-{number}")
    return house.db.write(lambda tx: service.port(house).submit(tx, SYSTEM, ask)).id


def server(folder: Path, first: int, last: int) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[2])
    code = SERVER.format(root=root, source=root + "/src", folder=str(folder), first=first, last=last)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def abandon(house: House) -> None:
    """Leave as a killed server does: without stopping anything."""
    house.closing.clear()
    house.port(Dispatcher).halt()
    house.close()


def test_every_job_runs_exactly_once_over_25_kills_of_the_server(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    folder = tmp_path / "house"
    for turn in range(25):
        process = server(folder, 2 * turn, 2 * turn + 2)
        time.sleep(chance.random() * 0.5)
        kill(process)
    house = open_compute(folder)
    for number in range(50):
        submit(house, number)  # a client that got no answer asks again with the same key
    run_until_idle(house)
    jobs = service.jobs(house, SYSTEM, limit=200)
    assert len(jobs) == 50
    for job in jobs:
        assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1), job
        assert len(service.progress(house, SYSTEM, job.id)) == 1, f"{job.id} ran another number of times than once"
        assert json.loads(house.blobs.read(job.output("result.json").digest)) == service.show(house, SYSTEM, job.id).ask.spec
        events = [event.kind for event in house.db.read(lambda tx, job=job: house.events.about(tx, job.id))]
        assert events == ["compute.job-submitted", "compute.job-started", "compute.job-finished"]
    house.close()


def test_a_service_outlives_its_killed_server_and_the_next_one_finds_it(tmp_path: Path) -> None:
    folder = tmp_path / "house"
    house = open_compute(folder, background=True)
    ask = JobAsk("test.service", ORGANISATION, (PYTHON, "-c", SERVICE), memory_mib=128, service=True)
    job = house.db.write(lambda tx: service.port(house).submit(tx, SYSTEM, ask))
    pid = _wait_ready(house, job.id)
    abandon(house)
    house = open_compute(folder, background=True)
    try:
        assert service.show(house, SYSTEM, job.id).state is JobState.READY
        assert _running(house, job.id)["child"][0] == pid
    finally:
        house.close()
    assert not Path(f"/proc/{pid}").exists() or _zombie(pid)


def test_closing_the_house_stops_its_jobs_and_opening_it_begins_them_again(tmp_path: Path) -> None:
    folder = tmp_path / "house"
    house = open_compute(folder, background=True)
    code = "import os, time; p = os.environ['LILONG_STATE'] + '/n'; again = os.path.exists(p); open(p, 'w').close(); time.sleep(0 if again else 600)"
    ask = JobAsk("test.long", ORGANISATION, (PYTHON, "-c", code), memory_mib=128)
    job = house.db.write(lambda tx: service.port(house).submit(tx, SYSTEM, ask))
    state = folder / "jobs" / job.id / "state" / "n"
    _wait(state.exists)
    house.close()
    house = open_compute(folder)
    run_until_idle(house)
    done = service.show(house, SYSTEM, job.id)
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 2)
    house.close()


def test_a_job_whose_supervisor_was_killed_with_the_server_is_lost_and_says_so(tmp_path: Path) -> None:
    house = open_compute(tmp_path / "house", background=True)
    ask = JobAsk("test.long", ORGANISATION, (PYTHON, "-c", "import time; time.sleep(600)"), memory_mib=128)
    job = house.db.write(lambda tx: service.port(house).submit(tx, SYSTEM, ask))
    _wait((house.settings.jobs / job.id / "1" / "running.json").exists)
    _wait(lambda: service.show(house, SYSTEM, job.id).state is JobState.RUNNING)
    pid = _supervisor(house, job.id)
    abandon(house)
    os.kill(pid, signal.SIGKILL)
    house = open_compute(tmp_path / "house")
    run_until_idle(house)
    done = service.show(house, SYSTEM, job.id)
    assert done.state is JobState.LOST
    assert done.exit is not None and "supervisor was killed" in done.exit.reason
    house.close()


def test_an_intended_attempt_that_never_reached_the_site_is_made(tmp_path: Path) -> None:
    house = open_compute(tmp_path / "house")
    ask = JobAsk("test.mark", ORGANISATION, (PYTHON, "-c", PROGRAM), memory_mib=128, spec={"number": 1})
    job = house.db.write(lambda tx: service.port(house).submit(tx, SYSTEM, ask))
    house.db.write(lambda tx: store.intend(tx, job.id, "local", "2026-01-01T00:00:00.000000Z"))  # and then the server died
    run_until_idle(house)
    done = service.show(house, SYSTEM, job.id)
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 1)
    house.close()


def _supervisor(house: House, job_id: str) -> int:
    return int(_running(house, job_id)["supervisor"][0])


def _running(house: House, job_id: str) -> dict[str, Any]:
    running: dict[str, Any] = json.loads((house.settings.jobs / job_id / "1" / "running.json").read_text())
    return running


def _wait_ready(house: House, job_id: str) -> int:
    _wait(lambda: service.show(house, SYSTEM, job_id).state is JobState.READY)
    return int(_running(house, job_id)["child"][0])


def _zombie(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def _wait(good) -> None:
    end = time.monotonic() + 60
    while not good():
        if time.monotonic() > end:
            pytest.fail("waited for a minute")
        time.sleep(0.02)
