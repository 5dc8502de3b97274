"""The compute floor by HTTP, by the client and by the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from click.testing import CliRunner
from fastapi import FastAPI
from starlette.testclient import TestClient

import lilong.client
from lilong.client import Client, ServerError, compute
from lilong.floors.compute.api import routes
from lilong.floors.compute.commands.job import job as job_command
from lilong.floors.compute.contract import PYTHON, JobAsk, JobState
from lilong.floors.compute.work import run_until_idle
from lilong.ground import web
from lilong.ground.access import SYSTEM
from lilong.ground.errors import BadInput
from lilong.ground.house import House

ORGANISATION = "lantern-works"


class AppTransport:
    """The client's way to an app in this process."""

    url = None

    def __init__(self, house: House) -> None:
        app = FastAPI()
        app.state.house = house
        web.install_errors(app)
        app.include_router(routes.router)
        self.client = TestClient(app, raise_server_exceptions=False)

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | IO[bytes] | None
    ) -> tuple[int, Mapping[str, str], Iterator[bytes]]:
        answer = self.client.request(method, path, headers=dict(headers), content=body)
        return answer.status_code, answer.headers, iter([answer.content])

    def close(self) -> None:
        pass


def client_of(house: House, user: str) -> Client:
    return Client(AppTransport(house), house.db.write(lambda tx: house.access.add_token(tx, SYSTEM, user, "test")[1]))


def inside(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands that are run in this process use this client."""

    @contextmanager
    def opened(house: Path | None, url: str | None, token_file: Path | None) -> Iterator[Client]:
        yield client

    monkeypatch.setattr(lilong.client, "opened", opened)


@pytest.fixture
def mei(house: House) -> Client:
    return client_of(house, "mei")


def ask(code: str, **given: object) -> JobAsk:
    return JobAsk("test.run", ORGANISATION, (PYTHON, "-c", code), memory_mib=128, **given)


def test_a_job_is_submitted_followed_and_read_by_the_client(house: House, mei: Client) -> None:
    code = "from lilong.ground.work import Workspace; w = Workspace.here(); w.progress(1, 2, 'add'); print('said'); w.finish({'a': w.spec['a']})"
    job = compute.submit(mei, ask(code, spec={"a": 7}))
    run_until_idle(house)
    done = compute.wait(mei, job.id)
    assert done.state is JobState.SUCCEEDED
    assert compute.logs(mei, job.id).text == "said\n"
    assert compute.progress(mei, job.id)[0]["doing"] == "add"
    assert json.loads(compute.output(mei, job.id, "result.json")) == {"a": 7}
    assert [found.id for found in compute.jobs(mei, state=JobState.SUCCEEDED)] == [job.id]


def test_a_job_of_another_organisation_is_answered_like_one_that_is_not_there(house: House, mei: Client) -> None:
    job = compute.submit(mei, ask("pass"))
    ada = client_of(house, "ada")
    for verb in (compute.job, compute.cancel, compute.logs, compute.progress):
        with pytest.raises(ServerError) as foreign:
            verb(ada, job.id)
        with pytest.raises(ServerError) as absent:
            verb(ada, "job-0")
        assert foreign.value.status_code == absent.value.status_code == 404
        assert str(foreign.value) == str(absent.value).replace("job-0", job.id)
    assert compute.jobs(ada) == []


def test_nobody_comes_in_without_a_token(house: House) -> None:
    with pytest.raises(ServerError) as refused:
        compute.jobs(Client(AppTransport(house), None))
    assert refused.value.status_code == 401


def test_a_token_without_the_scope_is_refused(house: House) -> None:
    secret = house.db.write(lambda tx: house.access.add_token(tx, SYSTEM, "mei", "narrow", ("jobs.read",))[1])
    narrow = Client(AppTransport(house), secret)
    assert compute.jobs(narrow) == []
    with pytest.raises(ServerError) as refused:
        compute.submit(narrow, ask("pass"))
    assert refused.value.status_code == 403


@pytest.mark.parametrize(
    "body", [{}, {"kind": "a.b"}, {"kind": "a.b", "organisation": ORGANISATION, "argv": ["python"], "cpus": "many"}, [1], "text"]
)
def test_a_body_that_is_no_job_is_refused_with_its_field(body: object, mei: Client) -> None:
    with pytest.raises(ServerError) as refused:
        mei.post("/api/compute/jobs", body)
    assert refused.value.status_code == 422


def nested(depth: int) -> list[object]:
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"spec": {"a": nested(900)}}, "spec.a"),
        ({"spec": {"a": "\ud800"}}, "spec.a"),
        ({"title": "a\0b"}, "title"),
        ({"title": "\udfff"}, "title"),
        ({"argv": ["/bin/true", "\ud800"]}, "argv"),
        ({"labels": {"a": "\0"}}, "labels"),
        ({"data_at": "nowhere"}, "data_at"),
        ({"service": True, "tasks": 3}, "tasks"),
        ({"any_of": [{"acelerator": "h20"}]}, "acelerator"),
    ],
)
def test_a_job_that_cannot_be_kept_as_it_was_asked_for_is_refused_by_its_field(given: dict[str, object], field: str, mei: Client) -> None:
    body = {"kind": "a.b", "organisation": ORGANISATION, "argv": ["/bin/true"], **given}
    with pytest.raises(ServerError, match=field) as refused:
        mei.post("/api/compute/jobs", body)
    assert refused.value.status_code == 422


# --- the command line ------------------------------------------------------------------------------------------------------


@pytest.fixture
def lilong_job(mei: Client, monkeypatch: pytest.MonkeyPatch):
    inside(mei, monkeypatch)

    def run(*words: str):
        return CliRunner().invoke(job_command, words, catch_exceptions=False)

    return run


def test_the_command_line_submits_shows_lists_and_prints_logs(house: House, lilong_job) -> None:
    made = json.loads(
        lilong_job("submit", "--organisation", ORGANISATION, "--memory-mib", "128", "--json", "--", "/usr/bin/printf", "-n %s", "hi").output
    )
    run_until_idle(house)
    assert json.loads(lilong_job("show", made["id"], "--json").output)["state"] == "succeeded"
    assert json.loads(lilong_job("list", "--json").output)[0]["id"] == made["id"]
    assert made["id"] in lilong_job("list").output
    assert lilong_job("logs", made["id"], "--follow").output == "-n hi"
    assert json.loads(lilong_job("logs", made["id"], "--json").output) == {"job": made["id"], "text": "-n hi"}


def test_a_log_cannot_play_with_the_terminal(house: House, lilong_job) -> None:
    made = compute.submit(client_of(house, "mei"), ask("print('\\x1b[31mred\\x1b[0m \\x1b]0;title\\x07 \\x9b2J')"))
    run_until_idle(house)
    assert (
        lilong_job("logs", made.id, "--follow").output
        == "red \N{REPLACEMENT CHARACTER}]0;title\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}2J\n"
    )


def test_the_command_line_cancels(house: House, lilong_job) -> None:
    made = json.loads(
        lilong_job("submit", "--organisation", ORGANISATION, "--memory-mib", "128", "--json", "--", "/usr/bin/sleep", "600").output
    )
    lilong_job("cancel", made["id"])
    run_until_idle(house)
    assert json.loads(lilong_job("show", made["id"], "--json").output)["state"] == "cancelled"


FILE = """
organisation = "lantern-works"
command = ["/usr/bin/printf", "%s", "from a file"]
memory = 128
"""


def test_the_command_line_submits_a_job_file_and_names_its_mistakes(house: House, lilong_job, tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text(FILE)
    [made] = json.loads(lilong_job("submit", "--file", str(file), "--json").output)
    run_until_idle(house)
    assert lilong_job("logs", made["id"]).output == "from a file"
    file.write_text(FILE + "memroy = 3\n")
    with pytest.raises(ServerError, match=r"'memroy'.*Did you mean 'memory'"):
        lilong_job("submit", "--file", str(file))
    file.write_bytes(b"\xff")
    with pytest.raises(BadInput, match="UTF-8"):
        lilong_job("submit", "--file", str(file))
    with pytest.raises(BadInput, match="title"):
        lilong_job("submit", "--file", str(file), "--title", "x")
    with pytest.raises(BadInput, match="the program"):
        lilong_job("submit", "--organisation", ORGANISATION)


def test_the_command_line_says_all_that_a_job_file_can(lilong_job) -> None:
    words = (
        "submit --organisation lantern-works --memory-mib 128 --tasks 2 --site local --within site --preemptible --checkpoint 60 --hold --array 0-3%2"
        " --env TIDE=high --deadline 2030-01-01T00:00:00Z --json -- /bin/true"
    )
    ask = json.loads(lilong_job(*words.split()).output)["ask"]
    assert (ask["any_of"][0]["tasks"], ask["sites"], ask["checkpoint_s"], ask["env"]["TIDE"]) == (2, ["local"], 60, "high")


@pytest.mark.parametrize("word", ["h20", "h20:", "h20:1.5", "h20:8y2", ":3"])
def test_devices_that_cannot_be_read_are_named(word: str, lilong_job) -> None:
    with pytest.raises(BadInput, match="--on"):
        lilong_job("submit", "--organisation", ORGANISATION, "--on", word, "--", "/bin/true")


def test_the_command_line_holds_releases_and_cancels_jobs_and_arrays(house: House, lilong_job) -> None:
    words = ("submit", "--organisation", ORGANISATION, "--memory-mib", "128", "--json")
    one = json.loads(lilong_job(*words, "--hold", "--", "/bin/true").output)
    assert json.loads(lilong_job("release", one["id"], "--json").output)["held"] is False
    assert json.loads(lilong_job("hold", one["id"], "--json").output)["held"] is True
    many = json.loads(lilong_job(*words, "--array", "0-3", "--", "/bin/true").output)
    assert json.loads(lilong_job("show", many["array"], "--json").output)["states"] == {"queued": 4}
    lilong_job("hold", many["array"])
    lilong_job("release", many["array"])
    assert json.loads(lilong_job("cancel", many["array"], "--json").output)["states"] == {"cancelled": 4}
    assert len(json.loads(lilong_job("list", "--array", many["array"], "--json").output)) == 4


def test_what_a_job_prints_is_followed_from_python(house: House, mei: Client) -> None:
    job = compute.submit(mei, ask("print('high'); print('low')"))
    run_until_idle(house)
    assert "".join(compute.follow(mei, job.id)) == "high\nlow\n"
