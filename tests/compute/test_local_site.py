"""The local site: the conformance suite at every sandbox level that works here, and what only this site promises."""

# ruff: noqa: PTH109, PTH110 - descriptors and raw paths are the point here
from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lilong.floors.compute.backends.conformance import CHECKS, SERVICE, Report, finished, fresh, program, run, said, until
from lilong.floors.compute.backends.folders import held
from lilong.floors.compute.backends.local import LocalSite, open_site
from lilong.floors.compute.contract import AlreadySubmitted, Capacity, Ending, Mode, Phase
from lilong.floors.compute.supervisor import files, probe, tree
from lilong.ground import sandbox
from lilong.ground.blobs import LocalBlobs
from lilong.ground.errors import BadInput
from lilong.ground.house import House
from lilong.ground.sandbox import Level


@pytest.fixture(scope="module", params=[level.word for level in (Level.BUBBLEWRAP, Level.LANDLOCK, Level.NONE)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSite]:
    level = Level.parse(request.param)
    if sandbox.problem_with(level):
        pytest.skip(f"{level.word}: {sandbox.problem_with(level)}")
    folder = tmp_path_factory.mktemp(level.word)
    site = LocalSite(folder / "jobs", LocalBlobs(folder / "blobs"), Capacity(2, 1024), level=level)
    yield site
    site.stop()


@pytest.fixture
def best(tmp_path: Path) -> Iterator[LocalSite]:
    site = LocalSite(tmp_path / "jobs", LocalBlobs(tmp_path / "blobs"), Capacity(2, 1024))
    yield site
    site.stop()


@pytest.fixture(scope="module")
def report(site: LocalSite) -> Report:
    again = LocalSite(site.root, LocalBlobs(site.root.parent / "blobs"), Capacity(2, 1024), level=site.sandbox_level())
    return run(site, again)


@pytest.mark.parametrize("check", [*(check.__name__.removeprefix("check_") for check in CHECKS), "a_site_opened_anew_finds_what_was_begun"])
def test_the_local_site_conforms(check: str, report: Report) -> None:
    assert check not in report.failed, report.failed[check]
    if check in report.left_out:
        pytest.skip(report.left_out[check])
    assert check in report.held


def test_only_a_site_without_a_sandbox_leaves_checks_out(site: LocalSite, report: Report) -> None:
    without_walls = {"a_program_writes_nowhere_but_into_its_folders"}
    assert set(report.left_out) == (without_walls if site.sandbox_level() is Level.NONE else set())


def test_inputs_are_laid_as_files_of_their_folders_and_cannot_be_written(best: LocalSite, tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = blobs.put(b"four").digest
    token = f"{fresh()}.1"
    code = "import os; p = os.environ['LILONG_IN'] + '/texts/a/b.txt'; print(open(p).read()); open(p, 'w').write('mine')"
    best.submit(token, program(code, inputs={"texts": {"a/b.txt": digest}}))
    until(best, token, finished)
    assert "four" in best.logs(token, 0, 4000).text
    blobs.verify(digest)
    best.tidy(token, last=True)
    blobs.verify(digest)


@pytest.mark.parametrize("path", ["../escape", "/etc/cron.d/x", "a/../../b"])
def test_an_input_cannot_be_laid_outside_its_folder(path: str, best: LocalSite, tmp_path: Path) -> None:
    digest = LocalBlobs(tmp_path / "blobs").put(b"x").digest
    with pytest.raises(BadInput):
        best.submit(f"{fresh()}.1", program("pass", inputs={"texts": {path: digest}}))


@pytest.mark.parametrize("token", ["../../etc.1", "job.0", "job", "job.1/..", "JOB.1", ""])
def test_a_token_that_is_none_never_becomes_a_path(token: str, best: LocalSite) -> None:
    with pytest.raises(BadInput):
        best.find(token)


def test_a_submit_that_died_before_the_supervisor_was_there_may_be_made_again(best: LocalSite) -> None:
    token = f"{fresh()}.1"
    job, attempt = token.split(".")
    folder = best.root / job / attempt
    (folder / "in" / "half").mkdir(parents=True)
    (folder / "start.json").write_text("{")
    assert best.find(token).phase is Phase.NEVER
    best.submit(token, program("print('ran')"))
    assert until(best, token, finished).ending is Ending.EXITED


def test_a_killed_supervisor_takes_its_program_with_it_and_the_attempt_is_lost(site: LocalSite) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("import time; print('up', flush=True); time.sleep(600)"))
    until(site, token, said(site, token, "up"))
    job, attempt = token.split(".")
    running = json.loads((site.root / job / attempt / "running.json").read_text())
    os.kill(running["supervisor"][0], signal.SIGKILL)
    sight = until(site, token, finished)
    assert sight.phase is Phase.LOST
    with pytest.raises(AlreadySubmitted):
        site.submit(token, program("print('twice')"))
    end = time.monotonic() + 5
    while os.path.exists(f"/proc/{running['child'][0]}") and time.monotonic() < end:
        site.find(token)
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{running['child'][0]}")


def test_two_supervisors_never_run_one_attempt(best: LocalSite) -> None:
    token = f"{fresh()}.1"
    go = "import os, time; print('ran', flush=True)\nwhile not os.path.exists(os.environ['LILONG_STATE'] + '/go'): time.sleep(0.01)"
    best.submit(token, program(go))
    job, attempt = token.split(".")
    until(best, token, said(best, token, "ran"))
    folder = str(best.root / job / attempt)
    second = subprocess.run([sys.executable, "-m", "lilong.floors.compute.supervisor", folder], capture_output=True, check=False)
    assert second.returncode != 0
    (best.root / job / "state" / "go").touch()
    until(best, token, finished)
    subprocess.run([sys.executable, "-m", "lilong.floors.compute.supervisor", folder], check=True)
    assert best.logs(token, 0, 4000).text == "ran\n"


def test_attempts_that_follow_one_another_share_a_supervisor_and_nothing_else(site: LocalSite) -> None:
    first, second = f"{fresh()}.1", f"{fresh()}.1"
    site.submit(first, program("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)"))
    assert until(site, first, finished).ending is Ending.EXITED
    while held(site.folders.of(first)):
        time.sleep(0.01)
    site.submit(second, program("import time; print('ran', flush=True); time.sleep(600)"))
    until(site, second, said(site, second, "ran"))
    supervisors = [(files.read(site.folders.of(token) / "running.json") or {})["supervisor"] for token in (first, second)]
    assert supervisors[0] == supervisors[1]
    assert len(tree.descendants(supervisors[0][0])) <= 4, "what the first left is gone"
    os.kill(supervisors[0][0], signal.SIGUSR1)  # a late word about the first
    site.cancel(first)
    assert site.find(second).phase is Phase.RUNNING
    site.cancel(second)
    assert until(site, second, finished).ending is Ending.CANCELLED
    used = until(site, second, finished).exit
    assert used is not None
    assert used.max_rss_mib > 1


def test_a_level_can_be_chosen_for_a_site_but_none_below_the_houses_least(house: House) -> None:
    assert open_site("local", {"level": "none"}, house).sandbox_level() is Level.NONE
    with pytest.raises(BadInput, match="weaker than landlock"):
        open_site("local", {"level": "none", "sandbox": "landlock"}, house)


def test_of_a_log_beyond_its_cap_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    site = LocalSite(tmp_path / "jobs", LocalBlobs(tmp_path / "blobs"), Capacity(2, 1024), log_bytes=1000)
    token = f"{fresh()}.1"
    site.submit(token, program("print('x' * 100_000); raise SystemExit('the real error')"))
    assert until(site, token, finished).ending is Ending.EXITED
    text = site.logs(token, 0, 1 << 20).text
    assert re.fullmatch(r"x{500}\n\[99,\d+ bytes of the log are left out here\]\nx{200,500}\nthe real error\n", text)
    assert 700 < len(text) < 1100
    assert sum(path.stat().st_size for path in site.folders.of(token).glob("log*")) <= 1000


def test_a_service_at_a_long_path_has_an_address_that_fits_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    site = LocalSite(deep / "jobs", LocalBlobs(tmp_path / "blobs"), Capacity(2, 1024))
    token = f"{fresh()}.1"
    site.submit(token, program(SERVICE, service=True))
    sight = until(site, token, lambda sight: sight.address is not None or finished(sight))
    assert sight.address is not None, site.logs(token, 0, 4000).text
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sight.address.removeprefix("unix:"))
    site.stop()
    site.tidy(token, last=True)
    assert not Path(sight.address.removeprefix("unix:")).is_symlink()


def test_a_service_of_an_abandoned_house_ends_by_itself(best: LocalSite, monkeypatch: pytest.MonkeyPatch) -> None:
    from lilong.floors.compute.backends import local

    monkeypatch.setattr(local, "ORPHANED_S", 1)
    token = f"{fresh()}.1"
    best.submit(token, program(SERVICE, service=True))
    assert until(best, token, finished).ending is Ending.STOPPED


def test_a_job_cannot_lend_the_house_another_socket_of_the_host(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        here = os.getcwd()
        os.chdir(tmp_path)
        other.bind("other")
        os.chdir(here)
        (tmp_path / "service.sock").symlink_to(tmp_path / "other")
        assert not probe.adopt(tmp_path / "service.sock", tmp_path / "ours")


@pytest.mark.parametrize("network", [True, False])
def test_a_job_reaches_the_network_only_if_it_was_asked_for(network: bool, best: LocalSite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        token = f"{fresh()}.1"
        best.submit(token, program(f"import socket; socket.create_connection(('127.0.0.1', {port}), 5); print('reached')", network=network))
        until(best, token, finished)
        assert ("reached" in best.logs(token, 0, 4000).text) == network, best.logs(token, 0, 4000).text


def test_many_may_look_at_once_and_see_the_same(best: LocalSite) -> None:
    token = f"{fresh()}.1"
    job, attempt = token.split(".")
    (best.root / job / attempt).mkdir(parents=True)
    with ThreadPoolExecutor(8) as pool:
        assert {sight.phase for sight in pool.map(best.find, [token] * 400)} == {Phase.NEVER}


def test_what_a_job_left_can_always_be_removed(best: LocalSite) -> None:
    token = f"{fresh()}.1"
    code = "import os\nos.chdir(os.environ['LILONG_OUT'])\nfor _ in range(400): os.mkdir('d'); os.chdir('d')\nos.chmod('..', 0)"
    best.submit(token, program(code))
    until(best, token, finished)
    with pytest.raises((sandbox.OutputRefused, PermissionError)):
        best.outputs(token, lambda file: ("", 0))
    best.tidy(token, last=True)
    job, attempt = token.split(".")
    assert not (best.root / job / attempt / "out").exists()


def test_a_local_site_is_opened_as_its_settings_say(house: House) -> None:
    nodes = [{"name": "a", "count": 3, "cpus": 8, "memory_gib": 64, "accelerator": "h20", "devices": 8, "domains": {"rack": "r1"}}]
    site = open_site("demo", {"nodes": nodes, "vendors": {"h20": "nvidia"}}, house)
    assert [node.name for node in site.inventory().nodes] == ["a1", "a2", "a3"]
    assert (site.name, site.mode, site.capacity().cpus) == ("demo", Mode.OWNED, 24)
    token = f"{fresh()}.1"
    site.submit(token, program("print('ran')"))
    assert until(site, token, finished).ending is Ending.EXITED
    site.stop()


def test_a_wrong_option_names_its_field(house: House) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"node": []}, "options.node"),
        ({"nodes": "a"}, "options.nodes"),
        ({"nodes": []}, "options.nodes"),
        ({"nodes": [{"name": "a"}, {"name": "a"}]}, "options.nodes"),
        ({"sandbox": "steel"}, "sandbox"),
        ({"level": "steel"}, "level"),
        ({"log_mib": "x"}, "options.log_mib"),
        ({"vendors": "nvidia"}, "options.vendors"),
        ({"control_groups": 1}, "options.control_groups"),
    ]
    for options, field in wrong:
        with pytest.raises(BadInput) as caught:
            open_site("demo", options, house)
        assert caught.value.details["field"] == field
