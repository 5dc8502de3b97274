"""The Kubernetes driver against an emulated cluster whose containers are real processes, or a real API server."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from tests.compute.engines import GANG, check_a_house_runs_jobs_there, self_signed, submit_under_kills

from lilong.floors.compute.backends.conformance import finished, fresh, program, run, said, until
from lilong.floors.compute.backends.kubernetes import KubernetesSite, manifests
from lilong.floors.compute.backends.kubernetes.access import from_kubeconfig, in_cluster
from lilong.floors.compute.backends.kubernetes.options import read
from lilong.floors.compute.contract import AlreadySubmitted, Ending, Phase, Placed, SiteDown
from lilong.ground.blobs import LocalBlobs
from lilong.ground.errors import BadInput

LEFT_OUT = {"a_service_becomes_ready_and_answers_at_its_address", "a_closing_house_stops_its_jobs"}

TOO_LARGE = program("print('never')", cpus=10_000)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an API server in a process of its own."""
    pytest.importorskip("kmock")
    folder = tmp_path_factory.mktemp("cluster")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("emulated_cluster.py")), str(folder / "url")], stdout=log, stderr=log
        )
    try:
        while not (folder / "url").exists():
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield (folder / "url").read_text()
    finally:
        process.kill()
        process.wait()


def kubeconfig(folder: Path, url: str, **user: object) -> Path:
    told = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "lantern-works"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": user or {"token": "not-checked"}}],
    }
    folder.mkdir(exist_ok=True)
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(told))
    path.chmod(0o600)
    return path


def site_on(url: str, folder: Path, **options: object) -> KubernetesSite:
    runs = str(folder / "runs")
    told = {
        "folder": runs, "host_path": runs, "image": "python:3.11", "devices": {"h20": "nvidia.com/gpu"},
        "python": sys.executable, "program": str(Path(__file__).parents[2] / "src"), "levels": {"zone": "topology.kubernetes.io/zone"},
    }  # fmt: skip
    access = from_kubeconfig("suzhou", kubeconfig(folder, url))
    return KubernetesSite("suzhou", read("suzhou", {**told, **options}), access, LocalBlobs(folder / "blobs"))


@pytest.fixture
def site(cluster: str, tmp_path: Path) -> Iterator[KubernetesSite]:
    yield site_on(cluster, tmp_path)


def test_the_site_keeps_its_promises(cluster: str, tmp_path: Path) -> None:
    report = run(site_on(cluster, tmp_path), site_on(cluster, tmp_path), at_once=4)
    assert not report.failed, "\n".join(report.failed.values())
    assert set(report.left_out) == LEFT_OUT
    assert len(report.held) >= 25


def test_a_house_killed_20_times_during_100_submits_has_made_exactly_100_jobs(cluster: str, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    tokens = [f"{fresh()}.1" for _ in range(100)]
    too_large = program("print('never')", accelerator="h20", devices=9)
    killed = submit_under_kills(lambda: site_on(cluster, tmp_path), tmp_path / "outbox", tokens, too_large, kills=20, seed=seed)
    site = site_on(cluster, tmp_path)
    assert killed >= 15
    seen = site.watch("").sights
    assert sorted(seen) == sorted(tokens)
    assert {sight.phase for sight in seen.values()} == {Phase.PENDING}
    for token in tokens:
        call(cluster, "DELETE", f"/apis/batch/v1/namespaces/lantern-works/jobs/{manifests.name_of(token)}", None)


def test_a_gang_meets_and_each_rank_knows_its_place(site: KubernetesSite) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program(GANG, tasks=3, accelerator="h20", devices=4))
    sight = until(site, token, finished)
    said = site.logs(token, 0, 1 << 16).text
    assert sight.exit is not None and sight.exit.code == 0, said
    assert len(sight.nodes) == 2
    for rank in range(3):
        assert f"[{rank}] rank {rank} of 3 local 0 node {rank}" in said
    assert said.count("[0] met rank") == 2


def test_a_house_runs_jobs_on_a_cluster_that_its_settings_declare(cluster: str, tmp_path: Path) -> None:
    told = {
        "kubeconfig": kubeconfig(tmp_path, cluster),
        "folder": tmp_path / "runs",
        "host_path": tmp_path / "runs",
        "image": "x",
        "python": sys.executable,
    }
    options = "".join(f'{key} = "{value}"\n' for key, value in told.items()) + 'devices = { h20 = "nvidia.com/gpu" }\n'

    def kept() -> set[str]:
        return {one["metadata"]["name"] for one in call(cluster, "GET", "/apis/batch/v1/jobs", None)["items"]}

    before = kept()
    check_a_house_runs_jobs_there(tmp_path, "suzhou", "kubernetes", options)
    assert kept() == before


def test_one_failing_rank_ends_the_gang(site: KubernetesSite) -> None:
    token = f"{fresh()}.1"
    code = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(7)\ntime.sleep(600)"
    site.submit(token, program(code, tasks=2))
    sight = until(site, token, finished)
    assert sight.exit is not None and sight.exit.code == 7


def test_a_pod_that_finds_no_room_waits_with_the_schedulers_own_words_and_can_be_cancelled(cluster: str, site: KubernetesSite) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("print('never')", accelerator="h20", devices=9))
    sight = until(site, token, lambda sight: "Insufficient nvidia.com/gpu" in (sight.waits_for or ""))
    assert sight.phase is Phase.PENDING
    site.cancel(token)
    assert until(site, token, finished).ending is Ending.CANCELLED
    assert jobs(cluster, site) == []


def test_tasks_that_come_with_their_places_go_to_those_nodes(site: KubernetesSite) -> None:
    one, gang = f"{fresh()}.1", f"{fresh()}.1"
    site.submit(one, program("print('ran')", placed=(Placed("worker-1"),)))
    site.submit(gang, program("print('ran')", tasks=2, accelerator="h20", devices=8, placed=(Placed("worker-0"), Placed("worker-1"))))
    assert until(site, one, finished).nodes == ("worker-1",)
    assert until(site, gang, finished).nodes == ("worker-0", "worker-1")


def test_kueue_admits_where_a_queue_is_declared(cluster: str, tmp_path: Path) -> None:
    site = site_on(cluster, tmp_path, queue="lantern-works")
    token = f"{fresh()}.1"
    site.submit(token, program("print('ran')"))
    assert "Kueue" in (site.find(token).waits_for or "")
    (job,) = jobs(cluster, site)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "lantern-works"
    call(cluster, "PATCH", f"/apis/batch/v1/namespaces/lantern-works/jobs/{job['metadata']['name']}", {"spec": {"suspend": False}})
    assert until(site, token, finished).exit.code == 0  # type: ignore[union-attr]


def test_a_watch_goes_on_from_its_cursor_and_begins_anew_where_the_server_has_forgotten(cluster: str, site: KubernetesSite) -> None:
    first, second = f"{fresh()}.1", f"{fresh()}.1"
    site.submit(first, program("print('ran')"))
    until(site, first, finished)
    watched = site.watch("")
    assert watched.sights[first].phase is Phase.FINISHED
    while watched.sights:  # the job itself is over a little later than the supervisor's word
        watched = site.watch(watched.cursor)
    cursor = watched.cursor
    site.submit(second, program("print('ran')"))
    seen: list[Phase] = []
    while not seen or seen[-1] is not Phase.FINISHED:
        watched = site.watch(cursor)
        cursor = watched.cursor
        assert first not in watched.sights
        seen += [watched.sights[second].phase] if second in watched.sights else []
    assert seen == sorted(seen, key=[Phase.PENDING, Phase.RUNNING, Phase.FINISHED].index)
    call(cluster, "POST", "/emulator/forget", {})
    assert set(site.watch(cursor).sights) == {first, second}


def test_the_inventory_tells_nodes_devices_and_what_others_hold(cluster: str, tmp_path: Path) -> None:
    site, other = site_on(cluster, tmp_path / "a"), site_on(cluster, tmp_path / "b")
    nodes = site.inventory().nodes
    assert [(node.name, node.cpus, node.memory_mib, node.accelerator, node.devices, dict(node.domains)) for node in nodes] == [
        (f"worker-{number}", 8, 16384, "h20", 8, {"zone": f"z{number}"}) for number in range(2)
    ]
    token = f"{fresh()}.1"
    other.submit(
        token,
        program(
            "import time; print('up', flush=True); time.sleep(600)", cpus=2, accelerator="h20", devices=3, placed=(Placed("worker-1"),)
        ),
    )
    until(other, token, said(other, token, "up"))
    assert site.inventory().foreign == {"worker-1": (2, 320, 3)}
    assert other.inventory().foreign == {}
    other.cancel(token)
    until(other, token, finished)


def test_a_container_that_cannot_start_is_told_with_its_log(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "LATE_S", 0.0)  # nothing is late on this disk
    site = site_on(cluster, tmp_path, python="/there/is/no/python")
    token = f"{fresh()}.1"
    site.submit(token, program("print('never')"))
    sight = until(site, token, finished)
    assert sight.ending is Ending.UNABLE
    assert sight.exit is not None and "exit code 127" in sight.exit.reason
    assert "/there/is/no/python" in site.logs(token, 0, 10_000).text


def test_a_job_that_somebody_deletes_is_never_told_as_never_once_it_ran(cluster: str, site: KubernetesSite) -> None:
    token, waiting = f"{fresh()}.1", f"{fresh()}.1"
    site.submit(token, program("import time; print('up', flush=True); time.sleep(600)"))
    site.submit(waiting, program("print('never')", accelerator="h20", devices=9))
    until(site, token, said(site, token, "up"))
    for job in jobs(cluster, site):
        call(cluster, "DELETE", f"/apis/batch/v1/namespaces/lantern-works/jobs/{job['metadata']['name']}", None)
    assert until(site, token, finished).ending is Ending.STOPPED
    assert until(site, waiting, lambda sight: sight.phase is not Phase.PENDING).phase is Phase.NEVER


def test_a_server_that_does_not_answer_is_down_and_says_the_way_out(tmp_path: Path) -> None:
    site = site_on("http://127.0.0.1:9", tmp_path)
    for ask in (site.inventory, lambda: site.watch(""), lambda: site.find("job-1.1"), lambda: site.submit("job-1.1", program("print(1)"))):
        with pytest.raises(SiteDown) as caught:
            ask()
        assert "kubectl" in str(caught.value)


def test_the_manifest_of_an_attempt_is_as_documented() -> None:
    told = {
        "folder": "/srv/runs",
        "claim": "lilong",
        "sub_path": "runs",
        "image": "base:1",
        "devices": {"910b": "huawei.com/Ascend910"},
        "user": 1000,
    }
    labels, pod = {"910b": "node.kubernetes.io/npu=910b"}, {"tolerations": [{"operator": "Exists"}], "priorityClassName": "low"}
    options = read("suzhou", {**told, "labels": labels, "pod": pod})
    task = program(
        "x", tasks=2, accelerator="910b", devices=8, cpus=4, memory_mib=1000, image="mine:2", timeout_s=60, secrets={"key": "xyzzy"}
    )
    made = manifests.job("suzhou", "job-1.2", task, options, "/srv/runs/.program/abc")
    spec, pod_spec = made["spec"], made["spec"]["template"]["spec"]
    container = pod_spec["containers"][0]
    assert made["metadata"]["name"] == "job-1-2"
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"], spec["completionMode"]) == (0, 2, 2, "Indexed")
    assert "ttlSecondsAfterFinished" not in spec and "activeDeadlineSeconds" not in spec
    assert pod_spec["activeDeadlineSeconds"] == 60 + manifests.PULL_S
    assert pod_spec["nodeSelector"] == {"node.kubernetes.io/npu": "910b"}
    assert pod_spec["securityContext"] == {"runAsUser": 1000, "runAsGroup": 1000}
    assert pod_spec["tolerations"] == [{"operator": "Exists"}] and pod_spec["priorityClassName"] == "low"
    assert container["image"] == "mine:2"
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "1064Mi", "huawei.com/Ascend910": "8"}
    assert container["volumeMounts"] == [
        {"name": "run", "mountPath": "/srv/runs/job-1", "subPath": "runs/job-1"},
        {"name": "run", "mountPath": "/srv/runs/.program/abc", "subPath": "runs/.program/abc", "readOnly": True},
    ]
    assert "xyzzy" not in str(made)


def test_names_of_jobs_fit_and_differ() -> None:
    long = "job-" + "a" * 57
    names = {manifests.name_of(f"{long}.{number}") for number in range(1, 50)} | {
        manifests.name_of("job-1.2"),
        manifests.name_of("job-1.21"),
    }
    assert len(names) == 51
    assert all(len(name) <= 52 for name in names)


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        ({"reason": "Evicted", "message": "the node was low on memory"}, Ending.STOPPED),
        ({"conditions": [{"type": "DisruptionTarget", "status": "True", "message": "preempted"}]}, Ending.STOPPED),
        ({"reason": "DeadlineExceeded"}, Ending.TIMEOUT),
        ({"containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}, Ending.MEMORY),
        ({"containerStatuses": [{"state": {"terminated": {"reason": "Error", "exitCode": 1}}}]}, None),
    ],
)
def test_what_the_engine_did_is_told_as_the_engines_doing(status: dict[str, object], ending: Ending | None) -> None:
    found = manifests.engines_doing([{"status": status}])
    assert (found[0] if found else None) is ending


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"folder": "runs"}, "folder"),
        ({"image": ""}, "image"),
        ({"claim": "x"}, "claim"),
        ({"labels": {"h20": "no label"}}, "labels.h20"),
        ({"pod": {"volumes": []}}, "pod"),
        ({"namespaces": "x"}, "namespaces"),
    ],
)
def test_options_that_are_wrong_are_named(change: dict[str, object], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        read("suzhou", {"folder": "/runs", "host_path": "/runs", "image": "x", **change})
    assert caught.value.details["field"] == f"sites.suzhou.options.{field}"


def test_a_kubeconfig_signs_in_by_token_file_or_by_a_program_and_else_says_what_it_lacks(cluster: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    with pytest.raises(BadInput, match=r"chmod 600 .*/token"):
        from_kubeconfig("suzhou", kubeconfig(tmp_path, cluster, tokenFile="token"))
    (tmp_path / "token").chmod(0o600)
    rest = from_kubeconfig("suzhou", kubeconfig(tmp_path, cluster, tokenFile="token")).rest
    assert rest._credential() == "Bearer one"
    (tmp_path / "token").write_text("two\n")
    assert rest._credential() == "Bearer two"

    program_ = tmp_path / "sign-in"
    program_.write_text('#!/bin/sh\necho \'{"status": {"token": "\'$NAME\'", "expirationTimestamp": "2020-01-01T00:00:00Z"}}\'\n')
    program_.chmod(0o755)
    asked = {"exec": {"command": str(program_), "env": [{"name": "NAME", "value": "three"}]}}
    assert from_kubeconfig("suzhou", kubeconfig(tmp_path, cluster, **asked)).rest._credential() == "Bearer three"
    with pytest.raises(SiteDown):
        from_kubeconfig("suzhou", kubeconfig(tmp_path, cluster, exec={"command": "/there/is/none"})).rest.ask("GET", "/api")

    for user, context in (({"username": "u", "password": "p"}, ""), ({"token": "t"}, "elsewhere")):
        with pytest.raises(BadInput):
            from_kubeconfig("suzhou", kubeconfig(tmp_path, cluster, **user), context)
    with pytest.raises(BadInput):
        from_kubeconfig("suzhou", tmp_path / "there-is-none")


def test_a_kubeconfig_with_a_credential_that_others_may_read_is_refused_and_one_without_is_not(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "http://cluster.example:6443")
    path.chmod(0o644)
    with pytest.raises(BadInput, match=r"its mode is 644.* Run `chmod 600"):
        from_kubeconfig("suzhou", path)
    path = kubeconfig(tmp_path, "http://cluster.example:6443", exec={"command": "/bin/true"})
    path.chmod(0o644)
    assert from_kubeconfig("suzhou", path).namespace == "lantern-works"
    with pytest.raises(BadInput) as caught:
        from_kubeconfig("suzhou", kubeconfig(tmp_path, "https://mei:kept-secret@cluster.example:6443"))
    assert "kept-secret" not in str(caught.value)


def test_inside_a_pod_its_service_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(BadInput):
        in_cluster("suzhou", tmp_path)
    certificate, _ = self_signed(tmp_path)
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("harbour-lab")
    certificate.rename(tmp_path / "ca.crt")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert in_cluster("suzhou", tmp_path).namespace == "harbour-lab"


@pytest.fixture
def real(tmp_path: Path) -> KubernetesSite:
    """A site on a real API server; docs/guides/kubernetes.md says how to have one."""
    place = os.environ.get("LILONG_TEST_KUBECONFIG")
    if not place:
        pytest.skip("LILONG_TEST_KUBECONFIG names no kubeconfig")
    runs, path = str(tmp_path / "runs"), os.environ.get("LILONG_TEST_KUBERNETES")
    options = tomllib.loads(Path(path).read_text()) if path else {"folder": runs, "host_path": runs, "image": "python:3.11"}
    return KubernetesSite(
        "real-test", read("real-test", options), from_kubeconfig("real-test", Path(place)), LocalBlobs(tmp_path / "blobs")
    )


def test_on_a_real_server_a_job_waits_is_watched_is_made_once_and_is_cancelled(real: KubernetesSite) -> None:
    token = f"{fresh()}.1"
    cursor = real.watch("").cursor
    real.submit(token, TOO_LARGE)
    with pytest.raises(AlreadySubmitted):
        real.submit(token, TOO_LARGE)
    assert until(real, token, lambda sight: "nodes are available" in (sight.waits_for or "")).phase is Phase.PENDING
    assert real.watch(cursor).sights[token].phase is Phase.PENDING
    real.cancel(token)
    assert until(real, token, finished).ending is Ending.CANCELLED
    real.tidy(token, last=True)


def test_on_a_real_server_100_submits_under_20_kills_make_exactly_100_jobs(real: KubernetesSite, tmp_path: Path) -> None:
    tokens = [f"{fresh()}.1" for _ in range(100)]
    submit_under_kills(lambda: real, tmp_path / "outbox", tokens, TOO_LARGE, kills=20, seed=random.randrange(1 << 30))
    try:
        assert {token for token, sight in real.watch("").sights.items() if sight.phase is Phase.PENDING} == set(tokens)
    finally:
        for token in tokens:
            real.tidy(token, last=True)


def test_on_a_real_cluster_the_site_keeps_its_promises(real: KubernetesSite) -> None:
    if not os.environ.get("LILONG_TEST_KUBERNETES"):
        pytest.skip("LILONG_TEST_KUBERNETES names no file with the site's options")
    report = run(real)
    assert not report.failed, "\n".join(report.failed.values())


def jobs(url: str, site: KubernetesSite) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call(
        url, "GET", f"/apis/batch/v1/namespaces/lantern-works/jobs?labelSelector={quote(site._selector)}", None
    )["items"]
    return found


def call(url: str, method: str, path: str, body: object) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
