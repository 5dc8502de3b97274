"""The server process: health, metrics, its log, its secrets, and the whole house on PostgreSQL."""

from __future__ import annotations

import http.client
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lilong.app import open_house_with_floors
from lilong.client import NoServer, ServerError, compute
from lilong.floors.compute.contract import PYTHON, JobAsk, JobState
from lilong.ground.access import SYSTEM, hash_password
from lilong.ground.config import load
from tests import postgres as postgres_server
from tests.command_line import lilong
from tests.conftest import ORGANISATION, LiveServer

PROGRAM = "import json, os; print('counted'); json.dump(1, open(os.environ['LILONG_OUT'] + '/result.json', 'w'))"
ASK = JobAsk("test.program", ORGANISATION, (PYTHON, "-c", PROGRAM), memory_mib=64)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("serving-process") / "house").start()
    server.client.post("/api/house/organisations", {"name": ORGANISATION, "title": "Lantern Works"})
    yield server
    server.stop()


def ask(server: LiveServer, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def log_of(server: LiveServer) -> str:
    return (server.folder.parent / f"{server.folder.name}.log").read_text()


def bearer(server: LiveServer) -> dict[str, str]:
    return {"authorization": f"Bearer {server.operator_token}"}


def test_health_is_public_and_metrics_are_not(served: LiveServer) -> None:
    assert [ask(served, "GET", path)[::2] for path in ("/healthz", "/readyz")] == [(200, b"ok\n"), (200, b"ready\n")]
    assert ask(served, "GET", "/metrics")[0] == 401


@pytest.mark.slow
def test_metrics_are_prometheus_text_with_jobs_gateway_and_requests(served: LiveServer) -> None:
    compute.wait(served.client, compute.submit(served.client, ASK).id, 60)
    status, headers, text = ask(served, "GET", "/metrics", bearer(served))
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    assert {"lilong_requests", "lilong_request_seconds", "lilong_gateway_requests", "lilong_gateway_in_flight"} <= set(families)
    jobs = [sample for name, family in families.items() if "job" in name for sample in family.samples]
    assert any(sample.labels.get("state") == "succeeded" and sample.value >= 1 for sample in jobs), sorted(families)
    assert all(family.documentation for family in families.values())


def test_every_answer_has_a_request_id_that_stands_in_the_log(served: LiveServer) -> None:
    answers = [ask(served, "GET", "/healthz"), ask(served, "GET", "/api/house/status"), ask(served, "GET", "/api/none", bearer(served)),
               ask(served, "POST", "/api/house/users", bearer(served), b"{no json"), ask(served, "GET", "/sign-in")]  # fmt: skip
    identities = [headers["x-request-id"] for _, headers, _ in answers]
    assert len(set(identities)) == len(answers)
    for status, headers, body in answers:
        if status >= 400:
            assert json.loads(body)["request_id"] == headers["x-request-id"]
    end = time.monotonic() + 10
    while identities[-1] not in log_of(served) and time.monotonic() < end:  # the line is written once the answer is on its way
        time.sleep(0.02)
    lines = {line["id"]: line for line in map(json.loads, log_of(served).splitlines()) if line["event"] == "request"}
    assert [lines[identity]["status"] for identity in identities] == [status for status, _, _ in answers]


def test_the_log_is_one_json_object_a_line(served: LiveServer) -> None:
    ask(served, "GET", "/api/house/status")
    for line in log_of(served).splitlines()[:-1]:  # the last one may be in the making
        value = json.loads(line)
        assert {"event", "level", "timestamp"} <= set(value)


@pytest.mark.slow
def test_no_secret_is_ever_in_the_log(tmp_path: Path) -> None:
    """Tokens, passwords, sessions and sign-in links, used rightly and wrongly, in every place where a client may put them."""
    house = open_house_with_floors(load(tmp_path / "house", environment={}))
    password = secrets.token_urlsafe(12)
    house.db.write(lambda tx: house.access.add_user(tx, SYSTEM, "mei", "Mei", password))
    house.close()
    server = LiveServer(tmp_path / "house").start()
    try:
        operator = server.operator_token
        hidden = {password, operator, hash_password(password)}
        form = {"content-type": "application/x-www-form-urlencoded"}
        for number in range(12):
            made = server.client.post("/api/house/tokens", {"title": f"t{number}", "scopes": ["hub.read"]})["secret"]
            link = server.client.post("/api/house/sign-in-links", {"user": "mei"})["url"].rsplit("/", 1)[-1]
            guess = "ll_" + secrets.token_urlsafe(32)
            wrong = secrets.token_urlsafe(12)
            hidden |= {made, link, guess, wrong}
            for secret in (made, guess):
                for path in ("/api/house/who-am-i", "/api/hub/none", "/v1/models", "/metrics", "/api/models"):
                    ask(server, "GET", path, {"authorization": f"Bearer {secret}"})
                    ask(server, "GET", path, {"cookie": f"lilong_session={secret}"})
                ask(server, "POST", "/v1/chat/completions", {"authorization": f"Bearer {secret}"}, b'{"model": "none", "messages": []}')
                ask(server, "GET", f"/sign-in/{secret}")
                ask(server, "POST", f"/sign-in/{secret}")
            for secret in (link, link):
                _, headers, _ = ask(server, "POST", f"/sign-in/{secret}")
                hidden |= set(re.findall(r"lilong_session=([^;]+)", headers.get("set-cookie", "")))
            for secret in (password, wrong):
                _, headers, _ = ask(server, "POST", "/sign-in", form, urlencode({"name": "mei", "password": secret}).encode())
                hidden |= set(re.findall(r"lilong_session=([^;]+)", headers.get("set-cookie", "")))
            ask(server, "POST", "/api/house/users", bearer(server), json.dumps({"nam": made}).encode())
        assert len(hidden) > 60
    finally:
        server.stop()
    log = log_of(server)
    assert log.count('"request"') > 200
    assert [secret for secret in hidden if secret in log] == []


def every_list(server: LiveServer) -> list[tuple[str, int]]:
    """The status of every route and page that needs no parameter."""
    described = json.loads(ask(server, "GET", "/api/openapi.json", bearer(server))[2])["paths"]
    asked = [path for path, verbs in described.items() if "get" in verbs and "{" not in path and not any(each.get("required") for each in verbs["get"].get("parameters", ()))]
    asked += ["/", "/chains", "/jobs", "/datasets", "/models"]
    return [(path, ask(server, "GET", path, {**bearer(server), "accept": "text/html"} if path.count("/") == 1 else bearer(server))[0]) for path in asked]


@pytest.mark.slow
def test_a_whole_house_on_postgresql_keeps_what_it_acknowledged_over_kill_9(tmp_path: Path, postgres: Path) -> None:
    from huggingface_hub import HfApi

    url = postgres_server.new_database(postgres)
    server = LiveServer(tmp_path / "house", ("--database", url)).start()
    server.options = ()  # the house remembers its database
    acknowledged: list[str] = []

    def write() -> None:
        client = server.client
        try:
            for number in range(10_000):
                client.post("/api/house/tokens", {"title": f"t{number}", "scopes": ["hub.read"]})
                acknowledged.append(f"t{number}")
        except (NoServer, ServerError):
            return

    try:
        server.client.post("/api/house/organisations", {"name": ORGANISATION, "title": "Lantern Works"})
        first = compute.wait(server.client, compute.submit(server.client, ASK).id, 60)
        assert (first.state, compute.logs(server.client, first.id).text) == (JobState.SUCCEEDED, "counted\n")
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "README.md").write_text("# Words\n")
        (tmp_path / "model" / "vocabulary.json").write_text('{"lane": 1}')
        api = HfApi(endpoint=server.url, token=server.operator_token)
        api.create_repo(f"{ORGANISATION}/words")
        commit = api.upload_folder(repo_id=f"{ORGANISATION}/words", folder_path=tmp_path / "model").oid
        writer = threading.Thread(target=write)
        writer.start()
        while len(acknowledged) < 30:
            time.sleep(0.02)
        server.kill_9()
        writer.join()
        server.start()
        status = server.client.get("/api/house/status")
        assert (status["database"], status["jobs"]) == ("postgresql", {"succeeded": 1})
        titles = [each["title"] for each in server.client.get("/api/house/tokens")]
        assert set(acknowledged) <= set(titles)
        assert len(titles) == len(set(titles))
        again = HfApi(endpoint=server.url, token=server.operator_token)
        assert again.repo_info(f"{ORGANISATION}/words").sha == commit
        assert compute.output(server.client, first.id, "result.json") == b"1"
        assert lilong("verify", "--house", server.folder, "--json").json["problems"] == []
        walked = every_list(server)
        assert len(walked) > 20
        assert [found for found in walked if found[1] != 200] == []
    finally:
        server.stop()
    assert lilong("status", "--house", server.folder, "--json").json["database"] == "postgresql"
