"""Jobs from being asked for to being settled, in one process, with the real site."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.compute.conftest import open_compute

from lilong.floors.compute import service, store
from lilong.floors.compute.backends.conformance import SERVICE
from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.compute.contract import (
    PYTHON,
    Job,
    JobAsk,
    JobImpossible,
    JobNotFound,
    JobState,
    KeyReused,
    NetworkForbidden,
    PriorityForbidden,
    ReasonCode,
    SandboxTooWeak,
    told,
)
from lilong.floors.compute.rules.telling import SENTENCES
from lilong.floors.compute.work import Dispatcher, run_until_idle
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.errors import BadInput, Forbidden, NotFound
from lilong.ground.house import House
from lilong.ground.sandbox import Level

ORGANISATION = "lantern-works"
MEI, TOM, ADA, OLGA = (Actor(name) for name in ("mei", "tom", "ada", "olga"))


def ask(code: str = "print('hello')", **given: object) -> JobAsk:
    return replace(JobAsk("test.run", ORGANISATION, (PYTHON, "-c", code), memory_mib=256), **given)


def submitted(house: House, ask: JobAsk, actor: Actor = SYSTEM) -> Job:
    return house.db.write(lambda tx: service.port(house).submit(tx, actor, ask))


def now(house: House, job: Job) -> Job:
    return service.show(house, SYSTEM, job.id)


def kinds(house: House, job: Job) -> list[str]:
    return [event.kind.removeprefix("compute.") for event in house.db.read(lambda tx: house.events.about(tx, job.id))]


def step_until(house: House, job: Job, *states: JobState) -> Job:
    for _ in range(1500):
        house.port(Dispatcher).step()
        if (found := now(house, job)).state in states:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{found}; {service.logs(house, SYSTEM, job.id)}")


RESULT = (
    "from lilong.ground.work import Workspace; w = Workspace.here(); w.progress(1, 1, 'add', n=1); w.finish({'sum': sum(w.spec['of'])})"
)


def test_a_job_runs_and_its_result_is_a_durable_blob(house: House) -> None:
    job = submitted(house, ask(RESULT, spec={"of": [1, 2, 3]}))
    run_until_idle(house)
    done = now(house, job)
    assert done.state is JobState.SUCCEEDED, service.logs(house, SYSTEM, job.id)
    assert json.loads(house.blobs.read(done.output("result.json").digest)) == {"sum": 6}
    assert kinds(house, job) == ["job-submitted", "job-started", "job-finished"]
    assert service.progress(house, SYSTEM, job.id)[0]["doing"] == "add"


def test_a_job_tells_how_it_was_run(house: House) -> None:
    digest = house.blobs.put(b"text").digest
    job = submitted(house, ask(inputs={"texts": {"a.txt": digest}}))
    run_until_idle(house)
    facts = told(now(house, job))
    assert facts["sandbox"] == house.port(LocalSite).sandbox_level().word
    assert facts["inputs"] == {"texts": {"a.txt": digest}}
    assert facts["argv"][:2] == ["python", "-c"]
    assert facts["exit"]["code"] == 0 and facts["exit"]["cpu_s"] > 0 and facts["exit"]["max_rss_mib"] > 0
    json.dumps(facts)


def test_a_failed_job_says_why_with_its_last_line(house: House) -> None:
    job = submitted(house, ask("import sys; print('empty-corpus: nothing is left', file=sys.stderr); sys.exit(2)"))
    run_until_idle(house)
    done = now(house, job)
    assert done.state is JobState.FAILED
    assert done.exit is not None and done.exit.reason == "it ended with status 2: empty-corpus: nothing is left"


def test_a_failed_attempt_is_followed_by_another_that_finds_its_state(house: House) -> None:
    code = "import os, sys; p = os.environ['LILONG_STATE'] + '/n'; n = os.path.exists(p); open(p, 'w'); print('try', n); sys.exit(not n)"
    job = submitted(house, ask(code, attempts=3))
    run_until_idle(house)
    done = now(house, job)
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 2)
    assert service.logs(house, SYSTEM, job.id, attempt=1).text == "try False\n"
    assert service.logs(house, SYSTEM, job.id).text == "try True\n"
    assert kinds(house, job).count("job-finished") == 1


def test_an_input_that_is_not_there_fails_the_job_with_its_digest(house: House) -> None:
    job = submitted(house, ask(inputs={"texts": {"a": "sha256:" + "0" * 64}}))
    run_until_idle(house)
    done = now(house, job)
    assert done.state is JobState.FAILED
    assert done.exit is not None and "0000" in done.exit.reason
    assert kinds(house, job) == ["job-submitted", "job-finished"]


def test_outputs_that_are_links_fail_the_job(house: House) -> None:
    job = submitted(house, ask("import os; os.symlink('/etc/passwd', os.environ['LILONG_OUT'] + '/passwd')"))
    run_until_idle(house)
    done = now(house, job)
    assert done.state is JobState.FAILED
    assert done.exit is not None and "symbolic link" in done.exit.reason


def test_jobs_wait_for_resources_in_their_order_and_say_for_what(house: House) -> None:
    first = submitted(house, ask("import time; time.sleep(1)", cpus=2))
    second = submitted(house, ask(cpus=1, title="second"))
    house.port(Dispatcher).step()
    assert now(house, first).state is not JobState.QUEUED
    assert now(house, second).reason in (ReasonCode.NO_ROOM, ReasonCode.RESERVED)
    assert now(house, second).waits_for == SENTENCES[now(house, second).reason]
    run_until_idle(house)
    assert (now(house, second).started_at or "") > (now(house, first).finished_at or "")


def test_a_queued_job_can_be_cancelled(house: House) -> None:
    job = submitted(house, ask())
    service.cancel(house, MEI, job.id)
    service.cancel(house, MEI, job.id)
    run_until_idle(house)
    assert now(house, job).state is JobState.CANCELLED
    assert kinds(house, job) == ["job-submitted", "job-finished"]


def test_a_running_job_can_be_cancelled(house: House) -> None:
    job = submitted(house, ask("import time; time.sleep(600)", attempts=3))
    step_until(house, job, JobState.RUNNING)
    service.cancel(house, MEI, job.id)
    run_until_idle(house)
    done = now(house, job)
    assert (done.state, done.attempt) == (JobState.CANCELLED, 1)


def test_a_service_becomes_ready_has_an_address_and_ends_when_cancelled(house: House) -> None:
    job = submitted(house, ask(SERVICE, service=True))
    ready = step_until(house, job, JobState.READY)
    assert ready.address is not None and ready.address.startswith("unix:/")
    assert service.port(house).service(job.id) == ready.address
    service.cancel(house, MEI, job.id)
    run_until_idle(house)
    assert now(house, job).state is JobState.CANCELLED
    assert service.port(house).service(job.id) is None
    assert kinds(house, job) == ["job-submitted", "job-started", "job-ready", "job-finished"]


def test_a_service_that_cannot_start_fails(house: House) -> None:
    job = submitted(house, ask("raise SystemExit('no model')", service=True))
    run_until_idle(house)
    done = now(house, job)
    assert done.state is JobState.FAILED
    assert done.exit is not None and "the service ended by itself with status 1: no model" in done.exit.reason


def test_a_log_is_followed_by_offset(house: House) -> None:
    job = submitted(house, ask("import time; print('one', flush=True); time.sleep(600)"))
    step_until(house, job, JobState.RUNNING)
    for _ in range(500):
        part = service.logs(house, SYSTEM, job.id)
        if part.text.endswith("\n"):
            break
        time.sleep(0.02)
    assert (part.text, part.next) == ("one\n", 4)
    assert service.logs(house, SYSTEM, job.id, offset=part.next).text == ""
    service.cancel(house, SYSTEM, job.id)
    run_until_idle(house)


def test_a_finished_job_leaves_no_folders_of_inputs_and_outputs(house: House) -> None:
    job = submitted(house, ask("print('hello');" + RESULT, spec={"of": []}))
    run_until_idle(house)
    house.port(Dispatcher).step()
    left = {path.name for path in (house.settings.jobs / job.id).rglob("*")}
    assert "progress.jsonl" in left and "log" in left
    assert not left & {"in", "out", "spec.json", "result.json"}


# --- asking ----------------------------------------------------------------------------------------------------------------


def test_one_key_is_one_job(house: House) -> None:
    assert submitted(house, ask(key="k")).id == submitted(house, ask(key="k", title="called otherwise")).id


def test_one_key_with_another_content_is_a_conflict(house: House) -> None:
    submitted(house, ask(key="k"))
    with pytest.raises(KeyReused):
        submitted(house, ask(key="k", cpus=2))


def test_the_job_and_the_askers_own_row_come_together_or_not_at_all(house: House) -> None:
    def write(tx):
        service.port(house).submit(tx, SYSTEM, ask())
        raise RuntimeError("the asker's own row could not be written")

    with pytest.raises(RuntimeError):
        house.db.write(write)
    assert service.jobs(house, SYSTEM) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpus": 0},
        {"memory_mib": 1},
        {"argv": ()},
        {"argv": ("ls",)},
        {"timeout_s": 0},
        {"attempts": 0},
        {"priority": 10**30},
        {"argv": ("/bin/x", "a\0b")},
    ],
)
def test_a_job_that_cannot_be_run_is_refused(wrong: dict[str, object], house: House) -> None:
    with pytest.raises(BadInput):
        submitted(house, ask(**wrong))


def test_a_job_larger_than_the_site_is_refused_with_what_there_is(house: House) -> None:
    with pytest.raises(JobImpossible, match=r"64 cores.*local has room for 0"):
        submitted(house, ask(cpus=64))


def test_a_member_may_not_ask_for_the_network(house: House) -> None:
    with pytest.raises(NetworkForbidden):
        submitted(house, ask(network=True), TOM)


def test_only_who_runs_the_house_lets_a_job_go_before_everybodys(house: House) -> None:
    with pytest.raises(PriorityForbidden, match="below 0"):
        submitted(house, ask(priority=1), TOM)
    assert submitted(house, ask(priority=-1), TOM).ask.priority == -1
    assert submitted(house, ask(priority=1)).ask.priority == 1


def test_a_stranger_may_neither_submit_nor_see_nor_cancel(house: House) -> None:
    job = submitted(house, ask())
    with pytest.raises(Forbidden):
        submitted(house, ask(), ADA)
    for verb in (service.show, service.cancel, service.logs, service.progress):
        with pytest.raises(JobNotFound):
            verb(house, ADA, job.id)
    assert service.jobs(house, ADA) == []
    assert [seen.id for seen in service.jobs(house, MEI)] == [job.id]


def test_a_person_brings_a_program_only_where_the_sandbox_is_strong(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalSite, "sandbox_level", lambda self: Level.LANDLOCK)
    with pytest.raises(SandboxTooWeak, match="apt-get install bubblewrap"):
        service.submit(house, MEI, ask())
    assert service.submit(house, OLGA, ask()).state is JobState.QUEUED


def test_a_digest_alone_is_no_right_to_read_what_it_names(house: House) -> None:
    digest = house.blobs.put(b"theirs").digest
    with pytest.raises(Forbidden):
        service.submit(house, MEI, ask(inputs={"a": {"b": digest}}))


def test_the_list_is_paged_from_the_newest(house: House) -> None:
    made = [submitted(house, ask(spec={"n": n})).id for n in range(5)]
    first = service.jobs(house, MEI, limit=2)
    rest = service.jobs(house, MEI, before=first[-1].id)
    assert [job.id for job in (*first, *rest)] == made[::-1]


def test_an_output_is_read_back(house: House) -> None:
    job = submitted(house, ask(RESULT, spec={"of": [4]}))
    run_until_idle(house)
    size, chunks = service.output(house, MEI, job.id, "result.json")
    content = b"".join(chunks)
    assert (json.loads(content), len(content)) == ({"sum": 4}, size)
    with pytest.raises(NotFound):
        service.output(house, MEI, job.id, "another")


def test_the_blobs_that_jobs_need_are_known(house: House) -> None:
    needed = house.blobs.put(b"input").digest
    submitted(house, ask(inputs={"a": {"b": needed}}))
    assert needed in house.db.read(store.digests)


def test_the_site_tells_what_it_has(house: House) -> None:
    facts = service.site(house, MEI)
    assert (facts.name, facts.cpus, facts.memory_mib) == ("local", 2, 4096)


def test_the_queue_works_on_both_databases(database_url: str, tmp_path: Path) -> None:
    house = open_compute(tmp_path / "house", database=database_url)
    job = submitted(house, ask(RESULT, spec={"of": [1]}, key="k", attempts=2))
    assert submitted(house, ask(RESULT, spec={"of": [1]}, key="k", attempts=2)).id == job.id
    cancelled = submitted(house, ask())
    service.cancel(house, MEI, cancelled.id)
    run_until_idle(house)
    assert [(found.id, found.state) for found in service.jobs(house, MEI)] == [
        (cancelled.id, JobState.CANCELLED),
        (job.id, JobState.SUCCEEDED),
    ]
    assert service.jobs(house, MEI, state=JobState.SUCCEEDED)[0].outputs[0].path == "result.json"
    house.close()


def test_a_promised_level_that_is_missing_runs_nothing_and_says_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = open_compute(tmp_path / "house", sandbox="bubblewrap")
    monkeypatch.setattr("lilong.ground.sandbox.problem_with", lambda level: None if level is Level.NONE else "`bwrap` is not installed")
    job = submitted(house, ask())
    run_until_idle(house)
    done = now(house, job)
    assert done.state is JobState.FAILED
    assert done.exit is not None and "apt-get install bubblewrap" in done.exit.reason
    assert "job-started" not in kinds(house, job)
    house.close()


def test_a_setting_that_names_no_level_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="auto, none, landlock, bubblewrap"):
        open_compute(tmp_path / "house", sandbox="bubblewarp")


def test_outputs_that_the_job_put_out_of_reach_fail_it_and_do_not_hold_the_queue_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the lesser sandbox levels a job can take its folder away, or put a link in its place."""

    def gone(_site: LocalSite, _token: str, _keep: object) -> tuple[()]:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(LocalSite, "outputs", gone)
    job = submitted(house, ask())
    run_until_idle(house)
    assert now(house, job).state is JobState.FAILED
    assert "its outputs were refused" in str(now(house, job).exit)


def test_nothing_of_an_earlier_attempt_is_left_behind(house: House) -> None:
    job = submitted(house, ask("raise SystemExit(1)", attempts=2))
    left = house.settings.jobs / job.id / "1" / "out" / "half-written"
    tidy, tidied = LocalSite.tidy, []

    def killed_before(site: LocalSite, token: str, *, last: bool) -> None:
        tidied.append(token)
        if last:
            tidy(site, token, last=last)
        else:
            left.write_bytes(b"x")

    site = house.port(LocalSite)
    site.tidy = killed_before.__get__(site)  # type: ignore[method-assign]
    step_until(house, job, JobState.FAILED)
    run_until_idle(house)
    assert tidied == [f"{job.id}.1", f"{job.id}.2"]
    assert not left.parent.exists()


def test_a_log_has_an_end_wherever_one_looks_beyond_it(house: House) -> None:
    job = submitted(house, ask())
    run_until_idle(house)
    for offset in (1 << 20, 1 << 70):
        assert service.logs(house, SYSTEM, job.id, offset).next == offset
    assert service.logs(house, SYSTEM, job.id, -(1 << 70)).text == "hello\n"
