"""The Ray driver on a real Ray: everything that a site must do, and what only Ray does."""

from __future__ import annotations

import http.server
import random
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.compute.engines import GANG, check_a_house_runs_jobs_there, self_signed, submit_under_kills
from tests.compute.ray_cluster import RayCluster, cluster, ray_cluster

from lilong.floors.compute.backends.conformance import finished, fresh, program, run, said, until
from lilong.floors.compute.backends.ray import RaySite, shapes
from lilong.floors.compute.backends.ray.options import read
from lilong.floors.compute.contract import Ending, Phase, Placed, SiteDown
from lilong.ground.blobs import LocalBlobs
from lilong.ground.errors import BadInput, NotFound

__all__ = ["ray_cluster"]

LEFT_OUT = {
    "a_service_becomes_ready_and_answers_at_its_address",
    "a_closing_house_stops_its_jobs",
    "a_drained_node_takes_no_new_work_until_it_is_opened",
}


def site_on(cluster: RayCluster, folder: Path, **options: object) -> RaySite:
    source = str(Path(__file__).parents[2] / "src")
    told = {"url": cluster.url, "folder": str(folder / "runs"), "devices": {"h20": "gpu_h20"}, "python": sys.executable, "program": source}
    return RaySite("pudong", read("pudong", {**told, **options}), LocalBlobs(folder / "blobs"))


@pytest.fixture
def site(ray_cluster: RayCluster, tmp_path: Path) -> Iterator[RaySite]:
    yield site_on(ray_cluster, tmp_path)


def test_the_site_keeps_its_promises(ray_cluster: RayCluster, tmp_path: Path) -> None:
    report = run(site_on(ray_cluster, tmp_path), site_on(ray_cluster, tmp_path), at_once=4)
    assert not report.failed, "\n".join(report.failed.values())
    assert set(report.left_out) == LEFT_OUT
    assert len(report.held) >= 25


def test_a_job_that_is_too_large_waits_in_rays_queue_and_says_so(site: RaySite) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("print('never')", accelerator="h20", devices=9))
    sight = until(site, token, lambda sight: sight.waits_for is not None)
    assert sight.phase is Phase.PENDING
    assert "waiting for resources" in (sight.waits_for or "")
    site.cancel(token)
    assert site.find(token).ending is Ending.CANCELLED
    assert site.watch("").sights[token].ending is Ending.CANCELLED


def test_a_gang_gets_a_placement_group_and_its_ranks_meet(ray_cluster: RayCluster, tmp_path: Path) -> None:
    site = site_on(ray_cluster, tmp_path, spread=True)
    nodes = {node.name for node in site.inventory().nodes}
    token = f"{fresh()}.1"
    site.submit(token, program(GANG, tasks=2, accelerator="h20", devices=3))
    sight = until(site, token, finished)
    said = site.logs(token, 0, 1 << 16).text
    assert sight.exit is not None and sight.exit.code == 0, said
    assert set(sight.nodes) == nodes and len(nodes) == 2
    for rank in range(2):
        assert f"[{rank}] rank {rank} of 2 local 0 node {rank}" in said
    assert "[0] met rank 1" in said


def test_a_gang_that_finds_no_room_waits_and_can_be_cancelled(site: RaySite) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("print('never')", tasks=3, accelerator="h20", devices=3))
    sight = until(site, token, lambda sight: "placement group" in (sight.waits_for or ""))
    assert sight.phase is Phase.PENDING
    site.cancel(token)
    assert site.find(token).ending is Ending.CANCELLED


def test_the_inventory_tells_nodes_devices_and_what_others_hold(ray_cluster: RayCluster, site: RaySite) -> None:
    found = site.inventory()
    assert [(node.cpus, node.memory_mib, node.accelerator, node.devices, node.open) for node in found.nodes] == [
        (8, 7629, "h20", 4, True)
    ] * 2
    other = site_on(ray_cluster, site.folders.root.parent / "other")
    token = f"{fresh()}.1"
    other.submit(token, program("import time; print('up', flush=True); time.sleep(600)", cpus=2, accelerator="h20", devices=1))
    until(other, token, said(other, token, "up"))
    until_true(lambda: sorted(site.inventory().foreign.values()) == [(2, 256, 1)])
    until_true(lambda: other.inventory().foreign == {})
    other.cancel(token)
    until(other, token, finished)


def test_secrets_reach_the_program_by_descriptor_and_are_nowhere_else(site: RaySite) -> None:
    token = f"{fresh()}.1"
    code = "import json, os, sys; told = json.load(os.fdopen(int(os.environ['LILONG_SECRETS_FD']))); print(len(told['key']), 'xyzzy' in str(os.environ) + str(sys.argv))"
    site.submit(token, program(code, secrets={"key": "xyzzy-1"}))
    until(site, token, finished)
    assert site.logs(token, 0, 1000).text.strip() == "7 False"
    for path in site.folders.root.rglob("*"):
        assert not path.is_file() or b"xyzzy-1" not in path.read_bytes(), path


def test_a_python_that_is_missing_on_the_node_is_told_with_rays_own_log(
    ray_cluster: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "LATE_S", 0.0)  # nothing is late on this disk
    site = site_on(ray_cluster, tmp_path, python="/there/is/no/python")
    token = f"{fresh()}.1"
    site.submit(token, program("print('never')"))
    sight = until(site, token, finished)
    assert sight.ending is Ending.UNABLE
    assert sight.exit is not None and "did not start" in sight.exit.reason
    assert "/there/is/no/python" in site.logs(token, 0, 10_000).text


def test_a_watch_tells_of_each_attempt_and_its_phases_only_go_forward(site: RaySite) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("print('ran')"))
    order = [Phase.PENDING, Phase.RUNNING, Phase.FINISHED]
    seen, cursor = [], ""
    while not seen or seen[-1] is not Phase.FINISHED:
        watched = site.watch(cursor)
        cursor = watched.cursor
        if token in watched.sights:
            seen.append(watched.sights[token].phase)
        time.sleep(0.05)
    assert seen == sorted(seen, key=order.index)


def test_an_unknown_class_an_image_and_a_service_are_refused(site: RaySite) -> None:
    for asks, field in (({"accelerator": "b300", "devices": 1}, "accelerator"), ({"image": "x"}, "image"), ({"service": True}, "service")):
        with pytest.raises(BadInput) as caught:
            site.submit(f"{fresh()}.1", program("print('never')", **asks))
        assert caught.value.details["field"] == field


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"folder": "/runs"}, "url"),
        ({"url": "http://x"}, "folder"),
        ({"url": "http://x", "folder": "/runs", "devises": {}}, "devises"),
        ({"url": "http://x", "folder": "/runs", "token_file": "/there/is/none"}, "token_file"),
    ],
)
def test_options_that_are_wrong_are_named(options: dict[str, object], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        read("pudong", options)
    assert caught.value.details["field"] == f"sites.pudong.options.{field}"


@pytest.mark.parametrize("url", ["http://mei:kept-secret@head:8265", "mei:kept-secret@head:8265", "http://head:8265/?token=kept-secret"])
def test_a_secret_in_the_address_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        read("pudong", {"url": url, "folder": "/runs"})
    assert caught.value.details["field"] == "sites.pudong.options.url"
    assert "token_file" in str(caught.value) and "kept-secret" not in str(caught.value)


def test_a_token_file_that_others_may_read_is_refused_with_the_way_out(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("kept-secret")
    token.chmod(0o644)
    told = {"url": "http://head:8265", "folder": "/runs", "token_file": str(token)}
    with pytest.raises(BadInput) as caught:
        read("pudong", told)
    assert caught.value.details["field"] == "sites.pudong.options.token_file"
    assert f"Run `chmod 600 {token}`." in str(caught.value)
    token.chmod(0o600)
    assert read("pudong", told).token_file == token


def test_what_a_head_forgets_is_lost_or_told_from_the_run_folder_and_never_submitted_again(tmp_path: Path) -> None:
    """One cluster's story: a hundred submits under twenty kills, a head that is gone, and one that begins anew with a token."""
    with cluster() as mine:
        mine.start_head()
        site = site_on(mine, tmp_path)
        done = f"{fresh()}.1"
        site.submit(done, program("print('ran')"))
        until(site, done, finished)

        seed = random.randrange(1 << 30)
        print("seed", seed)
        tokens = [f"{fresh()}.1" for _ in range(100)]
        too_large = program("print('never')", accelerator="h20", devices=9)
        killed = submit_under_kills(lambda: site_on(mine, tmp_path), tmp_path / "outbox", tokens, too_large, kills=20, seed=seed)
        assert killed >= 15
        assert sorted(job["submission_id"] for job in mine.jobs()) == sorted([done, *tokens])
        assert {site.watch("").sights[token].phase for token in tokens} == {Phase.PENDING}
        site.cancel(tokens[1])

        mine.stop()
        for ask in (site.inventory, lambda: site.watch(""), lambda: site.find(tokens[0])):
            with pytest.raises(SiteDown) as caught:
                ask()
            assert "ray status" in str(caught.value)

        mine.start_head(token="a-token-of-the-cluster-that-is-long-enough")
        with pytest.raises(SiteDown) as caught:
            site.find(tokens[0])
        assert "HTTP 401" in str(caught.value)
        site = site_on(mine, tmp_path, token_file=str(mine.folder / "token"))
        assert site.find(done).phase is Phase.FINISHED
        assert site.find(tokens[0]).phase is Phase.LOST
        assert site.find(tokens[1]).ending is Ending.CANCELLED
        assert site.watch("").sights[tokens[2]].phase is Phase.LOST
        assert site.find(f"{fresh()}.1").phase is Phase.NEVER


def until_true(good: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not good():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_house_runs_jobs_on_a_cluster_that_its_settings_declare(ray_cluster: RayCluster, tmp_path: Path) -> None:
    told = {"url": ray_cluster.url, "folder": tmp_path / "runs", "python": sys.executable}
    options = "".join(f'{key} = "{value}"\n' for key, value in told.items()) + 'devices = { h20 = "gpu_h20" }\n'
    check_a_house_runs_jobs_there(tmp_path, "pudong", "ray", options)
    site = site_on(ray_cluster, tmp_path)

    def forgotten() -> bool:
        site.watch("")
        return not any(str(tmp_path) in job["entrypoint"] for job in ray_cluster.jobs())

    until_true(forgotten)  # Ray refuses to while it has not seen yet that a job is over


def test_tasks_that_come_with_their_places_go_to_those_nodes(site: RaySite) -> None:
    first, second = (node.name for node in site.inventory().nodes)
    one, gang = f"{fresh()}.1", f"{fresh()}.1"
    site.submit(one, program("print('ran')", placed=(Placed(second),)))
    site.submit(gang, program("print('ran')", tasks=3, placed=(Placed(second), Placed(first), Placed(second))))
    assert until(site, one, finished).nodes == (second,)
    assert until(site, gang, finished).nodes == (second, first, second)
    with pytest.raises(NotFound):
        site.submit(f"{fresh()}.1", program("print('never')", placed=(Placed("there-is-no-such-node"),)))


def test_a_dashboard_behind_tls_is_trusted_by_its_ca_file_only(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dashboard)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told = {"url": f"https://localhost:{server.server_port}", "folder": str(tmp_path / "runs")}
    try:
        trusted = RaySite("pudong", read("pudong", {**told, "ca_file": str(certificate)}), LocalBlobs(tmp_path / "blobs"))
        assert trusted.find(f"{fresh()}.1").phase is Phase.NEVER
        stranger = RaySite("pudong", read("pudong", told), LocalBlobs(tmp_path / "blobs"))
        with pytest.raises(SiteDown) as caught:
            stranger.find(f"{fresh()}.1")
        assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    finally:
        server.shutdown()
        server.server_close()


class Dashboard(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/api/version"
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(b'{"session_name": "one"}' if known else b"")

    def log_message(self, *_: object) -> None:
        pass
