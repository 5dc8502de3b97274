"""The same promise through the whole house: a real server, its HTTP door, and kill -9."""

from __future__ import annotations

import json
import random
import time

import pytest
from tests.compute.test_crashes import PROGRAM
from tests.conftest import LiveServer

from lilong.client import compute
from lilong.floors.compute.contract import PYTHON, Job, JobAsk, JobState

ORGANISATION = "lantern-works"


@pytest.mark.slow
def test_jobs_asked_for_over_http_run_once_over_kills_of_the_real_server(live: LiveServer) -> None:
    live.client.post("/api/house/organisations", {"name": ORGANISATION, "title": "Lantern Works"})
    chance = random.Random()

    def ask(number: int) -> Job:
        spec = {"number": number}
        return compute.submit(
            live.client, JobAsk("test.mark", ORGANISATION, (PYTHON, "-c", PROGRAM), memory_mib=128, spec=spec, key=f"k{number}")
        )

    acknowledged = []
    for turn in range(4):
        acknowledged += [ask(number) for number in range(3 * turn, 3 * turn + 3)]
        time.sleep(chance.random() * 0.6)
        live.kill_9().start()
    for job in acknowledged:
        done = compute.wait(live.client, job.id, 60)
        assert (done.state, done.attempt) == (JobState.SUCCEEDED, 1), done
        assert len(compute.progress(live.client, job.id)) == 1
        assert json.loads(compute.output(live.client, job.id, "result.json")) == dict(job.ask.spec)
    assert [ask(number).id for number in range(12)] == [job.id for job in acknowledged]
