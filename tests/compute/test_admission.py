"""What is let into the queue, what waits in it for what, and what a tenant's money covers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.compute.conftest import ORGANISATION
from tests.compute.test_doors import ask, client_of

from lilong.client import Client, ServerError, compute
from lilong.floors.compute.contract import Inventory, JobAsk, JobState, Layout, ReasonCode, SiteNode
from lilong.floors.compute.rules.feasible import groups, impossible, over_quota
from lilong.floors.compute.rules.settings import read
from lilong.floors.compute.work import Dispatcher, run_until_idle
from lilong.ground.house import House


@pytest.fixture
def mei(house: House) -> Client:
    return client_of(house, "mei")


@pytest.fixture
def olga(house: House) -> Client:
    return client_of(house, "olga")


def refused(client: Client, wanted: JobAsk, status: int) -> str:
    with pytest.raises(ServerError) as error:
        compute.submit(client, wanted)
    assert error.value.status_code == status, error.value
    return str(error.value)


# --- what could never run --------------------------------------------------------------------------------------------------


def test_a_job_that_fits_nowhere_is_refused_at_once_with_the_reason_of_each_alternative(mei: Client) -> None:
    said = refused(mei, ask("pass", any_of=(Layout(cpus=64), Layout(memory_mib=1 << 20), Layout(tasks=40))), 409)
    assert "64 cores" in said
    assert "1048576 MiB" in said
    assert "40 tasks of 1 core" in said
    assert said.count("local has room for") == 3


def test_one_alternative_that_fits_is_enough(mei: Client) -> None:
    assert compute.submit(mei, ask("pass", any_of=(Layout(cpus=64), Layout()))).state is JobState.QUEUED


@pytest.mark.parametrize(
    ("given", "saying"),
    [
        ({"any_of": (Layout("h20", 8),)}, "any_of[0].accelerator"),
        ({"sites": ("moon",)}, "no site 'moon'"),
        ({"data_at": "moon"}, "no site 'moon'"),
        ({"within": "rak"}, "Did you mean 'rack'?"),
        ({"within": "rack", "near": "zone"}, "'zone' is wider than 'rack'"),
        ({"within": "node", "near": "site"}, "Name a level below it (there is none), or leave it out."),
        ({"deadline": "2020-01-01T00:00:00Z"}, "2020-01-01T00:00:00Z has passed"),
        ({"secrets": {"TOKEN": ""}}, "secrets.TOKEN"),
        ({"revisions": {"data": "datasets/a/b"}}, "no floor of this house keeps repositories"),
    ],
)
def test_what_names_nothing_is_refused_with_its_field(given: dict[str, object], saying: str, mei: Client) -> None:
    assert saying in refused(mei, ask("pass", **given), 422)


def test_an_operator_submits_for_no_organisation_that_is_not_there(olga: Client) -> None:
    assert "no organisation 'lantern-work'" in refused(olga, replace(ask("pass"), organisation="lantern-work"), 404)


def test_a_job_that_was_taken_before_its_deadline_is_the_same_job_after_it(
    mei: Client, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = house.clock.now() + timedelta(hours=1)
    wanted = ask("pass", key="once", deadline=soon.isoformat())
    first = compute.submit(mei, wanted)
    monkeypatch.setattr(type(house.clock), "now", lambda _: soon + timedelta(hours=1))
    assert compute.submit(mei, wanted).id == first.id
    assert "Give a later time" in refused(mei, replace(wanted, key="again"), 422)


def test_a_container_image_needs_a_site_that_runs_containers(mei: Client) -> None:
    said = refused(mei, ask("pass", image="registry.example/tide:1"), 409)
    assert "container images" in said


def test_what_the_quota_can_never_cover_is_refused_and_says_whose(mei: Client, olga: Client) -> None:
    compute.apply_settings(
        olga,
        f'[tenants.city]\nnominal = {{ cpu = 2 }}\n[tenants.{ORGANISATION}]\nparent = "city"\nnominal = {{ cpu = 1 }}\nborrow = {{ cpu = 0 }}\n',
    )
    assert "lantern-works may never hold more than 1 core" in refused(mei, ask("pass", cpus=2), 409)
    compute.apply_settings(
        olga, f'[tenants.city]\nnominal = {{ cpu = 2 }}\n[tenants.{ORGANISATION}]\nparent = "city"\nnominal = {{ cpu = 1 }}\n'
    )
    compute.submit(mei, ask("pass", cpus=2, timeout_s=60))
    said = refused(mei, ask("pass", cpus=2, timeout_s=7200), 409)
    assert "may never hold more than 1 core with jobs that cannot be preempted" in said
    compute.submit(mei, ask("pass", cpus=2, timeout_s=7200, preemptible=True))


def test_what_others_keep_for_themselves_can_never_be_borrowed() -> None:
    settings = read(
        "[classes.h20]\n[tenants.city]\nnominal = { h20 = 16 }\nborrow = { h20 = 0 }\n"
        '[tenants.lantern-works]\nparent = "city"\nnominal = { h20 = 8 }\n'
        '[tenants.harbour-lab]\nparent = "city"\nnominal = { h20 = 8 }\nlend = { h20 = 2 }\n'
    )
    layouts = [Layout("h20", 10, cpus=1, memory_mib=16, least_tasks=1)]
    assert over_quota(layouts, 60, False, settings, "lantern-works", "default") == []
    (said,) = over_quota([replace(layouts[0], devices=11)], 60, False, settings, "lantern-works", "default")
    assert "lantern-works may never hold more than 10 h20" in said


def test_nodes_of_unknown_racks_are_no_rack_together() -> None:
    nodes = tuple(SiteNode(name, 8, 1024, "h20", 8, {"rack": "r1"} if name == "a" else {}) for name in "abc")
    layout = Layout("h20", 8, tasks=2, least_tasks=2, cpus=1, memory_mib=16)
    sites = {"pudong": groups(Inventory(nodes))}
    assert impossible([layout], "site", sites) == []
    assert impossible([layout], "rack", sites) == ["2 tasks of 8 h20, 1 core and 16 MiB: one rack of pudong has room for 1 of its tasks"]


# --- money -----------------------------------------------------------------------------------------------------------------


def test_a_job_over_its_tenants_allowance_is_refused_and_what_was_not_used_comes_back(house: House, mei: Client, olga: Client) -> None:
    compute.apply_settings(olga, f"[classes.cpu]\nprice = 6.0\n[tenants.{ORGANISATION}]\nallowance = 10\n")
    first = compute.submit(mei, ask("pass", timeout_s=3600))
    assert "may cost 6.00" in refused(mei, ask("pass", timeout_s=3600), 409)
    run_until_idle(house)
    assert compute.job(mei, first.id).state is JobState.SUCCEEDED
    second = compute.submit(mei, ask("pass", timeout_s=3600, hold=True))  # the first took moments, not its hour
    refused(mei, ask("pass", timeout_s=3600), 409)
    compute.cancel(mei, second.id)
    compute.submit(mei, ask("pass", timeout_s=3600))


def test_attempts_and_arrays_count_in_full(mei: Client, olga: Client) -> None:
    compute.apply_settings(olga, f"[classes.cpu]\nprice = 1.0\n[tenants.{ORGANISATION}]\nallowance = 10\n")
    assert "may cost 12.00" in refused(mei, ask("pass", timeout_s=3600, attempts=3, array="0-3"), 409)


def test_an_allowance_above_is_for_all_below_it(house: House, mei: Client, olga: Client) -> None:
    compute.apply_settings(
        olga,
        f'[classes.cpu]\nprice = 1.0\n[tenants.city]\nallowance = 1.5\n[tenants.{ORGANISATION}]\nparent = "city"\n[tenants.other-yard]\nparent = "city"\n',
    )
    compute.submit(mei, ask("pass", timeout_s=3600))
    ada = client_of(house, "ada")
    said = refused(ada, JobAsk("test.run", "other-yard", ("/bin/true",), timeout_s=3600), 409)
    assert "allowance of a tenant above it" in said
    assert ORGANISATION not in said
    assert "city" not in said


# --- jobs that wait for others ---------------------------------------------------------------------------------------------


def test_a_job_starts_after_those_it_needs_and_says_so_until_then(house: House, mei: Client) -> None:
    first = compute.submit(mei, ask("pass", hold=True))
    second = compute.submit(mei, ask("pass", after=(first.id,)))
    assert (second.reason, second.waits_for) == (ReasonCode.AFTER, f"it starts after {first.id}")
    house.port(Dispatcher).step()
    assert compute.job(mei, second.id).state is JobState.QUEUED
    compute.release(mei, first.id)
    run_until_idle(house)
    ended = [compute.job(mei, each.id) for each in (first, second)]
    assert [each.state for each in ended] == [JobState.SUCCEEDED] * 2
    assert ended[1].started_at is not None
    assert ended[0].finished_at is not None
    assert ended[1].started_at >= ended[0].finished_at


def test_a_job_whose_need_fails_is_cancelled_with_all_that_need_it_and_one_that_needs_only_an_end_runs(house: House, mei: Client) -> None:
    first = compute.submit(mei, ask("raise SystemExit(1)", hold=True))
    second = compute.submit(mei, ask("pass", after=(first.id,)))
    third = compute.submit(mei, ask("pass", after=(second.id,)))
    other = compute.submit(mei, ask("pass", after_any=(first.id,)))
    compute.release(mei, first.id)
    run_until_idle(house)
    assert [compute.job(mei, each.id).state for each in (first, second, third, other)] == [
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.CANCELLED,
        JobState.SUCCEEDED,
    ]
    told = compute.job(mei, second.id).exit
    assert told is not None
    assert told.reason == f"{first.id}, which it needed, is failed"


def test_a_need_that_is_met_already_holds_nobody_up_and_one_that_failed_is_refused(house: House, mei: Client) -> None:
    fine, bad = compute.submit(mei, ask("pass")), compute.submit(mei, ask("raise SystemExit(1)"))
    run_until_idle(house)
    assert compute.submit(mei, ask("pass", after=(fine.id,), after_any=(bad.id,))).reason is None
    assert "is failed" in refused(mei, ask("pass", after=(bad.id,)), 409)


def test_a_need_of_another_organisation_is_answered_like_one_that_is_not_there(house: House, mei: Client) -> None:
    foreign = compute.submit(client_of(house, "ada"), JobAsk("test.run", "other-yard", ("/bin/true",)))
    assert refused(mei, ask("pass", after=(foreign.id,)), 404) == refused(mei, ask("pass", after=("job-0",)), 404).replace(
        "job-0", foreign.id
    )


def test_a_job_waits_for_a_whole_array(house: House, mei: Client) -> None:
    array = compute.submit(mei, ask("pass", array="0-2%1"))
    last = compute.submit(mei, ask("pass", after=(str(array.array),)))
    assert last.waits_for == f"it starts after {array.id} and 2 more"
    run_until_idle(house)
    assert compute.job(mei, last.id).state is JobState.SUCCEEDED
    text = f'organisation = "{ORGANISATION}"\nmemory = 128\n[job.a]\ncommand = ["/bin/true"]\narray = "0-2"\nhold = true\n[job.b]\ncommand = ["/bin/true"]\nafter = ["a"]\n'
    assert compute.submit_file(mei, text)[1].waits_for is not None


def test_jobs_of_a_file_are_submitted_all_or_none(mei: Client) -> None:
    text = f'organisation = "{ORGANISATION}"\nmemory = 128\n[job.b]\ncommand = ["/bin/true"]\nafter = ["a"]\n[job.a]\ncommand = ["/bin/true"]\n'
    made = compute.submit_file(mei, text)
    assert made[1].ask.after == (made[0].id,)
    with pytest.raises(ServerError):
        compute.submit_file(mei, text.replace("after", "cpus = 99\nafter"))
    assert len(compute.jobs(mei)) == 2


# --- holds and arrays ------------------------------------------------------------------------------------------------------


def test_a_held_job_waits_for_its_release_and_one_that_has_ended_cannot_be_held(house: House, mei: Client) -> None:
    job = compute.submit(mei, ask("pass"))
    for _ in range(2):
        assert (compute.hold(mei, job.id).held, compute.job(mei, job.id).reason) == (True, ReasonCode.HELD)
    run_until_idle(house)
    assert compute.job(mei, job.id).state is JobState.QUEUED
    for _ in range(2):
        assert (compute.release(mei, job.id).held, compute.job(mei, job.id).reason) == (False, None)
    run_until_idle(house)
    with pytest.raises(ServerError) as ended:
        compute.hold(mei, job.id)
    assert ended.value.status_code == 409


def test_an_array_is_one_submission_whose_jobs_know_their_numbers(house: House, mei: Client) -> None:
    first = compute.submit(mei, ask("import os; print(os.environ['LILONG_ARRAY_INDEX'])", array="0-2,7", key="once"))
    assert compute.submit(mei, ask("import os; print(os.environ['LILONG_ARRAY_INDEX'])", array="0-2,7", key="once")).id == first.id
    assert first.array is not None
    run_until_idle(house)
    done = compute.jobs(mei, array=first.array)
    assert sorted((job.index, compute.logs(mei, job.id).text) for job in done) == [(0, "0\n"), (1, "1\n"), (2, "2\n"), (7, "7\n")]


def test_no_more_of_an_array_may_start_than_it_says(house: House, mei: Client) -> None:
    first = compute.submit(mei, ask("pass", array="0-4%2"))
    assert first.array is not None

    def may_start() -> list[int | None]:
        return sorted(job.index for job in compute.jobs(mei, array=first.array) if job.state is JobState.QUEUED and job.reason is None)

    def number(index: int) -> str:
        return next(job.id for job in compute.jobs(mei, array=first.array) if job.index == index)

    assert may_start() == [0, 1]
    assert compute.job(mei, number(2)).reason is ReasonCode.ARRAY_LIMIT
    compute.cancel(mei, number(0))
    assert may_start() == [1, 2]
    compute.hold(mei, number(1))
    assert may_start() == [2, 3]
    compute.release(mei, number(1))
    assert may_start() == [2, 3]
    run_until_idle(house)
    told = mei.get(f"/api/compute/arrays/{first.array}")
    assert (told["at_once"], told["states"]) == (2, {"cancelled": 1, "succeeded": 4})


def test_a_whole_array_is_held_released_and_cancelled(house: House, mei: Client) -> None:
    first = compute.submit(mei, ask("pass", array="0-3%2"))
    path = f"/api/compute/arrays/{first.array}"
    mei.post(f"{path}/hold")
    assert {job.reason for job in compute.jobs(mei, array=first.array)} == {ReasonCode.HELD}
    mei.post(f"{path}/release")
    assert sorted(str(job.reason) for job in compute.jobs(mei, array=first.array)) == ["None", "None", "array-limit", "array-limit"]
    assert compute.cancel_array(mei, str(first.array))["states"] == {"cancelled": 4}
    assert compute.cancel_array(mei, str(first.array))["states"] == {"cancelled": 4}
    run_until_idle(house)


def test_an_array_of_another_organisation_is_answered_like_one_that_is_not_there(house: House, mei: Client) -> None:
    first = compute.submit(mei, ask("pass", array="0-1"))
    ada = client_of(house, "ada")
    for verb in ("", "/cancel", "/hold", "/release"):
        said = []
        for name in (first.array, "array-0"):
            with pytest.raises(ServerError) as error:
                ada.send("POST" if verb else "GET", f"/api/compute/arrays/{name}{verb}", {} if verb else None)
            assert error.value.status_code == 404
            said.append(str(error.value).replace(str(name), "it"))
        assert said[0] == said[1]
    assert compute.jobs(ada, array=first.array) == []
