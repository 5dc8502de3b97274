"""`hf jobs` of the unmodified Hugging Face CLI, and huggingface_hub's own functions, against a real server over a socket."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, Volume
from huggingface_hub.errors import HfHubHTTPError
from tests.conftest import ORGANISATION, LiveServer

OTHER = "harbour-lab"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("hf-jobs") / "house").start()
    for name in (ORGANISATION, OTHER):
        server.client.post("/api/house/organisations", {"name": name, "title": name})
    for user, organisation in (("mei", ORGANISATION), ("ada", OTHER)):
        server.client.post("/api/house/users", {"name": user})
        server.client.post("/api/house/grants", {"user": user, "role": "member", "organisation": organisation})
    yield server
    server.stop()


def token(server: LiveServer, user: str) -> str:
    return str(server.client.post("/api/house/tokens", {"title": "hf", "user": user})["secret"])


@pytest.fixture(scope="module")
def mei(server: LiveServer) -> HfApi:
    return HfApi(server.url, token=token(server, "mei"))


@pytest.fixture(scope="module")
def hf(server: LiveServer, tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("hf-home")
    secret = token(server, "mei")

    def run(*words: str | Path, check: bool = True) -> str:
        own = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "LILONG_", "HUGGING"))}
        env = {
            **own,
            "HF_ENDPOINT": server.url,
            "HF_TOKEN": secret,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_COLOR": "1",
            "COLUMNS": "240",
        }
        argv = [sys.executable, "-m", "huggingface_hub.cli.hf", *map(str, words)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=False)
        assert (done.returncode == 0) is check, done
        return done.stdout + done.stderr

    return run


def test_the_command_runs_a_program_and_prints_what_it_prints(hf) -> None:
    said = hf("jobs", "run", "--env", "TIDE=high", "python:3.12", "python", "-c", "import os; print('it is', os.environ['TIDE'])")
    assert "it is high" in said
    assert "completed" in said


def test_the_command_fails_when_the_job_does_and_says_why(hf) -> None:
    said = hf("jobs", "run", "python", "python", "-c", "raise SystemExit('no tide today')", check=False)
    assert "ERROR" in said
    assert "no tide today" in said


def test_a_detached_job_is_listed_inspected_followed_and_ended(hf, mei: HfApi) -> None:
    program = "import time; print('begun', flush=True); time.sleep(600)"
    job = mei.run_job(image="python:3.12", command=["python", "-c", program], labels={"tide": "low"}, timeout="20m")
    assert (job.owner.name, job.flavor, job.docker_image) == (ORGANISATION, "cpu-basic", "python:3.12")
    assert next(iter(mei.fetch_job_logs(job_id=job.id, follow=True))) == "begun"
    while mei.inspect_job(job_id=job.id).status.stage != "RUNNING":  # it writes before the house has heard of its start
        time.sleep(0.1)
    assert [each.id for each in mei.list_jobs(namespace="mei", status="RUNNING", labels={"tide": "low"})] == [job.id]
    assert list(mei.list_jobs(namespace="mei", labels={"tide": "high"})) == []
    assert job.id in hf("jobs", "ps")
    assert json.loads(hf("jobs", "inspect", job.id, "--format", "json"))[0]["status"]["stage"] == "RUNNING"
    figures = next(iter(mei.fetch_job_metrics(job_id=job.id)))
    assert figures["memory_total_bytes"] > figures["memory_used_bytes"] >= 0
    hf("jobs", "cancel", f"{ORGANISATION}/{job.id}")
    ended = mei.wait_for_job(job_id=job.id)
    assert (ended.status.stage, ended.status.message) == ("CANCELED", "it was cancelled")
    assert job.id not in hf("jobs", "ps")
    assert job.id in hf("jobs", "ps", "--all", "--namespace", ORGANISATION)


def test_secrets_reach_the_program_and_are_nowhere_else(server: LiveServer, mei: HfApi) -> None:
    program = "import os; print(len(os.environ['TIDE_KEY'])); print('xyzzy' in open('/proc/self/environ').read() + open('/proc/self/cmdline').read())"
    job = mei.run_job(image="python", command=["python", "-c", program.replace("xyzzy", "xyz' + 'zy")], secrets={"TIDE_KEY": "xyzzy-17"})
    assert list(mei.fetch_job_logs(job_id=job.id, follow=True)) == ["8", "False"]
    assert mei.inspect_job(job_id=job.id).secrets == {"TIDE_KEY": None}
    found = [file for file in server.folder.rglob("*") if file.is_file() and b"xyzzy" in file.read_bytes()]
    assert found == []


def test_other_programs_than_python_run_too_and_get_their_secrets(mei: HfApi) -> None:
    job = mei.run_job(image="python", command=["sh", "-c", "echo $TIDE ${#KEY}"], env={"TIDE": "high"}, secrets={"KEY": "abc"})
    assert list(mei.fetch_job_logs(job_id=job.id, follow=True)) == ["high 3"]


def test_the_last_lines_of_a_log_and_a_long_one_whole(mei: HfApi) -> None:
    job = mei.run_job(image="python", command=["python", "-c", "for i in range(150000): print('line', i)"])
    mei.wait_for_job(job_id=job.id)
    assert list(mei.fetch_job_logs(job_id=job.id)) == [f"line {i}" for i in range(150000)]  # more than is read at once
    assert list(mei.fetch_job_logs(job_id=job.id, tail=2)) == ["line 149998", "line 149999"]


def test_lines_are_told_once_whatever_bytes_they_hold(mei: HfApi) -> None:
    program = (
        "import sys, time; say = sys.stdout.buffer; say.write(b'first\\n' + b'\\xff' * 50); say.flush(); time.sleep(3); say.write(b'end')"
    )
    job = mei.run_job(image="python", command=["python", "-c", program])
    assert list(mei.fetch_job_logs(job_id=job.id, follow=True)) == ["first", "\ufffd" * 50 + "end"]
    assert list(mei.fetch_job_logs(job_id=job.id, tail=1)) == ["\ufffd" * 50 + "end"]


def test_a_script_of_uv_runs_with_what_is_here(hf, tmp_path: Path) -> None:
    (tmp_path / "tide.py").write_text("import sys; print('from a script', sys.argv[1:])\n")
    said = hf("jobs", "uv", "run", "--namespace", ORGANISATION, tmp_path / "tide.py", "--height", "3")
    assert "from a script ['--height', '3']" in said
    said = hf("jobs", "uv", "run", "--namespace", ORGANISATION, "--with", "numpy", tmp_path / "tide.py", check=False)
    assert "does not offer installing packages" in said


def test_a_dataset_is_mounted_where_the_program_looks_for_it(mei: HfApi, tmp_path: Path) -> None:
    mei.create_repo(f"{ORGANISATION}/tides", repo_type="dataset", exist_ok=True)
    mei.upload_file(path_or_fileobj=b"high\nlow\n", path_in_repo="years/2026.txt", repo_id=f"{ORGANISATION}/tides", repo_type="dataset")
    volume = Volume(type="dataset", source=f"{ORGANISATION}/tides", mount_path="/data", path="years")
    job = mei.run_job(
        image="python", command=["python", "-c", "import sys; print(open(sys.argv[1]).read().split())", "/data/2026.txt"], volumes=[volume]
    )
    assert list(mei.fetch_job_logs(job_id=job.id, follow=True)) == ["['high', 'low']"]


def test_a_job_is_run_again(mei: HfApi) -> None:
    first = mei.run_job(image="python", command=["python", "-c", "print('again')"])
    second = mei.duplicate_job(job_id=first.id) if hasattr(mei, "duplicate_job") else mei.rerun_job(job_id=first.id)
    assert second.id != first.id
    assert list(mei.fetch_job_logs(job_id=second.id, follow=True)) == ["again"]


def test_labels_are_changed(mei: HfApi) -> None:
    job = mei.run_job(image="python", command=["python", "-c", "pass"], labels={"a": "b"})
    assert mei.update_job_labels(job_id=job.id, labels={"c": "d"}).labels == {"c": "d"}
    with pytest.raises(HfHubHTTPError, match="it holds a NUL"):
        mei.update_job_labels(job_id=job.id, labels={"c": "d\0"})


def test_the_hardware_that_there_is(hf, mei: HfApi) -> None:
    assert "cpu-basic" in [each.name for each in mei.list_jobs_hardware()]
    assert "cpu-basic" in hf("jobs", "hardware")


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (("run", "--flavor", "a100-large", "python", "python", "-c", "1"), "no site has 'a100-large'"),
        (("run", "pytorch/pytorch:2.6.0", "python", "-c", "1"), "container images such as 'pytorch/pytorch:2.6.0'"),
        (("run", "--namespace", OTHER, "python", "python", "-c", "1"), "jobs.submit"),
        (("run", "--expose", "8000", "python", "python", "-c", "1"), "does not offer ports"),
        (("scheduled", "ps"), "does not offer scheduled jobs"),
        (("scheduled", "run", "@hourly", "python", "python", "-c", "1"), "does not offer scheduled jobs"),
    ],
)
def test_what_this_house_does_not_do_is_said(words: tuple[str, ...], saying: str, hf) -> None:
    assert saying in hf("jobs", *words, check=False)


def test_who_may_not_is_told_in_the_header_that_the_clients_read(server: LiveServer, mei: HfApi) -> None:
    with pytest.raises(HfHubHTTPError) as refused:
        mei.run_job(image="python", command=["python", "-c", "pass"], namespace=OTHER)
    answer = refused.value.response
    assert answer.status_code == 403
    assert answer.headers["x-error-message"] == answer.json()["error"]
    assert "jobs.submit" in answer.json()["error"]


def test_a_job_of_another_organisation_is_answered_like_one_that_is_not_there(server: LiveServer, mei: HfApi) -> None:
    job = mei.run_job(image="python", command=["python", "-c", "pass"])
    ada = HfApi(server.url, token=token(server, "ada"))
    for namespace in (ORGANISATION, OTHER, "ada"):
        for verb in (ada.inspect_job, ada.cancel_job):
            said = []
            for name in (job.id, "job-0"):
                with pytest.raises(HfHubHTTPError) as error:
                    verb(job_id=name, namespace=namespace)
                assert error.value.response.status_code == 404
                said.append(error.value.response.json()["error"].replace(name, "it"))
            assert said[0] == said[1]
        assert list(ada.list_jobs(namespace=namespace)) == []


def test_the_guide_s_python_runs(server: LiveServer) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "jobs.md").read_text(encoding="utf-8")
    [source] = re.findall(r"^```python jobs\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    env = {"PATH": os.environ["PATH"], "LILONG_URL": server.url, "LILONG_TOKEN": token(server, "mei")}
    done = subprocess.run([sys.executable, "-c", source], env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout, done.returncode) == ("succeeded high tide\n\n", 0), done
