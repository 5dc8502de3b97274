"""What the commands of jobs and traces say to people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.compute.test_doors import ask, client_of, inside

from lilong.client import Client, ServerError, compute
from lilong.floors.compute.commands.compute import compute as compute_commands
from lilong.floors.compute.commands.job import job as job_commands
from lilong.ground.errors import BadInput
from lilong.ground.house import House

DATA = Path(__file__).parent / "data"
Run = Callable[..., Result]


@pytest.fixture
def mei(house: House) -> Client:
    return client_of(house, "mei")


@pytest.fixture
def run(mei: Client, monkeypatch: pytest.MonkeyPatch) -> Run:
    inside(mei, monkeypatch)
    return lambda *words, group=job_commands: CliRunner().invoke(group, list(map(str, words)))


def refused(result: Result) -> BadInput:
    assert isinstance(result.exception, BadInput), result.output
    return result.exception


def test_a_job_is_shown_as_it_was_asked_for_and_without_what_is_not_said_of_it(mei: Client, run: Run) -> None:
    job = compute.submit(mei, ask("print('high tide')", hold=True, title="Tide"))
    said = run("show", job.id).output
    assert "python -c 'print('\"'\"'high tide'\"'\"')'" in said
    assert "1 core, 128 MiB" in said
    for absent in ("least_tasks", "sandbox", " -\n", "{"):
        assert absent not in said


def test_an_array_is_named_when_it_is_submitted_and_its_jobs_by_their_numbers(mei: Client, run: Run) -> None:
    job = compute.submit(mei, ask("pass", array="3-4", hold=True, title="Tide"))
    assert job.array is not None
    assert job.array in run("show", job.id).output
    listed = run("list", "--array", job.array).output
    assert "Tide [3]" in listed
    assert "Tide [4]" in listed
    for command in ("why", "logs"):
        assert f"--array {job.array}" in str(refused(run(command, job.array)))


def test_lengths_of_time_and_memory_are_written_as_in_a_job_file(run: Run) -> None:
    words = ("submit", "--organisation", "lantern-works", "--hold", "--json")
    said = json.loads(run(*words, "--timeout", "8h", "--checkpoint", "10m", "--memory", "2G", "--", "python", "-c", "pass").output)["ask"]
    assert (said["timeout_s"], said["checkpoint_s"], said["memory_mib"]) == (28_800, 600, 2048)
    assert "--timeout" in str(refused(run(*words, "--timeout", "8x", "--", "python", "-c", "pass")))


def test_an_id_is_never_a_path(run: Run) -> None:
    result = run("show", "../sites")
    assert isinstance(result.exception, ServerError)
    assert result.exception.status_code == 404


def test_what_others_wrote_does_nothing_to_a_terminal(mei: Client, run: Run) -> None:
    job = compute.submit(mei, ask("pass", hold=True, title="\x1b]0;evil\x07Tide", env={"A": "\x1b[2J"}))
    for command in (("list",), ("show", job.id)):
        said = run(*command).output
        assert "Tide" in said
        assert "\x1b" not in said


def test_a_wrong_option_before_the_program_is_told_as_one(run: Run) -> None:
    assert refused(run("submit", "--organisation", "lantern-works", "--cpsu", "3", "--", "python")).details["field"] == "--cpsu"


@pytest.mark.parametrize("word", ["h20:0", "h20:0.0", "h20:8x0", "h20", "h20:2.5"])
def test_an_amount_of_no_devices_is_refused_by_its_option(run: Run, word: str) -> None:
    assert refused(run("submit", "--organisation", "lantern-works", "--on", word, "--", "python")).details["field"] == "--on"


def test_who_holds_a_job_that_has_ended_is_not_told_to_cancel_it(mei: Client) -> None:
    job = compute.submit(mei, ask("pass", hold=True))
    compute.cancel(mei, job.id)
    with pytest.raises(ServerError, match=r"is cancelled; only one that waits can be held or released\. Submit it again"):
        compute.hold(mei, job.id)


@pytest.mark.parametrize("policies", ["fifo,esy", ","])
def test_policies_are_checked_before_the_first_is_played(run: Run, policies: str) -> None:
    trace = DATA / "KTH-SP2-first-4000.swf.gz"
    result = run("compare", "--trace", trace, "--format", "swf", "--policies", policies, group=compute_commands)
    assert "easy-sjbf" in str(refused(result))
    assert "playing" not in result.output


def test_an_option_of_a_driver_is_named_by_its_place_once(house: House) -> None:
    olga = client_of(house, "olga")
    for driver in ("slurm", "kubernetes"):
        with pytest.raises(ServerError) as error:
            compute.apply_settings(olga, f'[sites.north]\ndriver = "{driver}"\n', dry_run=True)
        assert str(error.value).count("sites.north.options") == 1
