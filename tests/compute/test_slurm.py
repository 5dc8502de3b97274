"""The Slurm driver, on a real cluster of eight virtual nodes (see slurm_cluster)."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.compute import slurm_cluster
from tests.compute.slurm_cluster import Cluster

from lilong.floors.compute.backends.conformance import finished, fresh, program, run, said, until
from lilong.floors.compute.backends.slurm import NotHere, Options, SlurmRefused, SlurmSite, cli, reading
from lilong.floors.compute.backends.slurm import site as driver
from lilong.floors.compute.contract import AlreadySubmitted, Ending, Mode, Phase, Placed, Sight, SiteDown, Task
from lilong.floors.compute.supervisor import tree
from lilong.ground import seams
from lilong.ground.blobs import LocalBlobs
from lilong.ground.errors import BadInput, NotFound

slurm = slurm_cluster.slurm  # the fixture
SLEEPS = "import time; print('up', flush=True); time.sleep(600)"


def site_of(cluster: Cluster, folder: Path, **options: Any) -> SlurmSite:
    told = {"account": "lantern-works", "partition": "all", "look_s": 0.05, **options}
    code = folder / "jobs" / ".program"  # the house's code is laid once for all tests
    if not code.is_symlink():
        code.parent.mkdir(parents=True, exist_ok=True)
        (cluster.folder / "program").mkdir(exist_ok=True)
        code.symlink_to(cluster.folder / "program")
    site = SlurmSite("harbour", Options(folder=folder / "jobs", conf=str(cluster.conf), **told), LocalBlobs(folder / "blobs"))
    site.mode = Mode.OWNED  # where a test says no place, Slurm chooses here too
    return site


@pytest.fixture(scope="module")
def site(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> SlurmSite:
    return site_of(slurm, tmp_path_factory.mktemp("site"))


@pytest.fixture
def parked(slurm: Cluster, tmp_path: Path) -> Iterator[SlurmSite]:
    """A site whose partition starts nothing."""
    yield site_of(slurm, tmp_path, partition="parked")
    slurm.run("scancel", "--partition=parked")


def submitted(site: SlurmSite, code: str = "print('ran')", **asks: Any) -> str:
    token = f"{fresh()}.1"
    site.submit(token, program(code, **{"memory_mib": 100, **asks}))
    return token


def running(site: SlurmSite, **asks: Any) -> str:
    token = submitted(site, SLEEPS, **asks)
    until(site, token, said(site, token, "up"))
    return token


def engine_jobs(cluster: Cluster, *tokens: str) -> Counter[str]:
    """How many jobs of these names Slurm has in its queue, or lately had."""
    names = cluster.run("squeue", "--noheader", "--states=all", "--format=%j").split()
    return Counter(name for name in names if name in tokens)


def queued_as(cluster: Cluster, token: str) -> str:
    return cluster.run("squeue", "--noheader", "--states=all", f"--name={token}", "--format=%i").strip()


def eventually(good: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not good():
        assert time.monotonic() < end, what
        time.sleep(0.05)


# --- what every site does ---------------------------------------------------------------------------------------------------


def test_slurm_conforms(site: SlurmSite, slurm: Cluster) -> None:
    report = run(site, again=site_of(slurm, site.folders.root.parent))
    assert not report.failed, "\n".join(report.failed.values())
    assert set(report.left_out) == {"a_service_becomes_ready_and_answers_at_its_address", "a_closing_house_stops_its_jobs"}


def test_what_slurm_cannot_do_is_said_at_once(site: SlurmSite) -> None:
    for asks, word in (({"service": True}, "sockets"), ({"devices": 1, "milli": 500}, "whole devices"), ({"image": "tide:1"}, "images")):
        token = f"{fresh()}.1"
        with pytest.raises(NotHere, match=word):
            site.submit(token, program("pass", **asks))
        assert site.find(token).phase is Phase.NEVER


# --- gangs, devices, places -------------------------------------------------------------------------------------------------

TELLS = "import json, os; print(json.dumps(dict(os.environ)))"


def environments(site: SlurmSite, token: str) -> dict[int, dict[str, str]]:
    sight = until(site, token, finished)
    assert sight.exit is not None and sight.exit.code == 0, (sight, site.logs(token, 0, 1 << 16).text)
    lines = (line.partition("] ") for line in site.logs(token, 0, 1 << 20).text.splitlines())
    return {int(rank[1:]): json.loads(told) for rank, _, told in lines}


def test_a_gang_over_two_nodes_finds_itself_and_its_devices(site: SlurmSite) -> None:
    told = environments(site, submitted(site, TELLS, tasks=4, devices=4, accelerator="h20"))
    assert [told[rank]["WORLD_SIZE"] for rank in range(4)] == ["4"] * 4
    assert len({(one["MASTER_ADDR"], one["MASTER_PORT"]) for one in told.values()}) == 1
    assert sorted((one["NODE_RANK"], one["LOCAL_RANK"], one["CUDA_VISIBLE_DEVICES"]) for one in told.values()) == [
        ("0", "0", "0,1,2,3"),
        ("0", "1", "4,5,6,7"),
        ("1", "0", "0,1,2,3"),
        ("1", "1", "4,5,6,7"),
    ]


def test_places_that_the_house_chose_are_kept(site: SlurmSite) -> None:
    places = (Placed("a1", (0,)), Placed("a1", (1,)), Placed("a3", (0,)))
    told = environments(site, submitted(site, TELLS, tasks=3, devices=1, accelerator="a100", placed=places))
    assert sorted(one["LILONG_NODE"] for one in told.values()) == ["a1", "a1", "a3"]
    assert all(one["LILONG_DEVICES"] in one["CUDA_VISIBLE_DEVICES"].split(",") for one in told.values())


def test_where_slurm_places_a_place_is_not_asked_for(slurm: Cluster, tmp_path: Path) -> None:
    site = site_of(slurm, tmp_path, partition="parked")
    site.mode = Mode.DELEGATED
    token = submitted(site, placed=(Placed("a1"),))
    assert slurm.run("squeue", "--noheader", f"--name={token}", "--Format=ReqNodes").strip() in ("", "(null)")
    site.cancel(token)


def test_a_task_without_devices_sees_none(site: SlurmSite) -> None:
    token = submitted(site, "import os; print('sees', repr(os.environ['CUDA_VISIBLE_DEVICES']))")
    until(site, token, finished)
    assert "sees ''" in site.logs(token, 0, 4000).text


def test_one_rank_that_fails_ends_the_gang(site: SlurmSite) -> None:
    code = "import os, time; time.sleep(0.2); os._exit(3) if os.environ['RANK'] == '1' else time.sleep(600)"
    sight = until(site, token := submitted(site, code, tasks=2), finished)
    assert sight.ending is Ending.EXITED and sight.exit is not None and sight.exit.code == 3, site.logs(token, 0, 4000).text


# --- the queue --------------------------------------------------------------------------------------------------------------


def test_a_pending_attempt_tells_slurms_reason_and_a_cancel_takes_it_out(parked: SlurmSite, slurm: Cluster) -> None:
    token = submitted(parked)
    sight = until(parked, token, lambda sight: "PartitionDown" in (sight.waits_for or ""))
    assert sight.phase is Phase.PENDING
    parked.cancel(token)
    sight = until(parked, token, finished)
    assert sight.ending is Ending.CANCELLED
    assert slurm.run("squeue", "--noheader", f"--name={token}") == ""


def test_one_call_watches_all_and_tells_only_what_is_new(parked: SlurmSite, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = {submitted(parked) for _ in range(20)}
    calls: list[str] = []
    real = seams.run
    monkeypatch.setattr(seams, "run", lambda argv, **options: (calls.append(argv[0]), real(argv, **options))[1])
    first = parked.watch("")
    assert set(first.sights) == tokens
    assert {sight.phase for sight in first.sights.values()} == {Phase.PENDING}
    eventually(lambda: not parked.watch(parked.watch("").cursor).sights, "reasons still change")
    assert set(calls) == {"squeue"}
    assert set(parked.watch("").sights) == tokens
    assert set(parked.watch("another-house.7").sights) == tokens
    gone = min(tokens)
    cursor = parked.watch("").cursor
    parked.cancel(gone)
    eventually(lambda: gone in parked.watch(cursor).sights, "the cancelled one was not told")
    assert parked.watch(cursor).sights[gone].ending is Ending.CANCELLED
    parked.tidy(gone, last=True)
    time.sleep(0.05)
    assert set(parked.watch("").sights) == tokens - {gone}


def test_watch_follows_an_attempt_to_its_end(site: SlurmSite) -> None:
    token = submitted(site, "print('ran')", devices=2, accelerator="h20")
    seen: list[Sight] = []
    cursor = site.watch("").cursor

    def ended() -> bool:
        nonlocal cursor
        watched = site.watch(cursor)
        cursor = watched.cursor
        seen.extend(sight for name, sight in watched.sights.items() if name == token)
        return bool(seen) and finished(seen[-1])

    eventually(ended, "the end was not told")
    order = [Phase.PENDING, Phase.RUNNING, Phase.FINISHED]
    assert [sight.phase for sight in seen] == sorted((sight.phase for sight in seen), key=order.index)
    assert seen[-1].nodes and seen[-1].nodes[0].startswith("h")


@pytest.mark.parametrize(
    "asked, word", [({"account": "no-such-account"}, "sacctmgr"), ({"partition": "no-such"}, "sinfo"), ({"qos": "no-such"}, "qos")]
)
def test_what_slurm_refuses_comes_with_the_way_out(asked: dict[str, str], word: str, slurm: Cluster, tmp_path: Path) -> None:
    site = site_of(slurm, tmp_path, **asked)
    token = f"{fresh()}.1"
    with pytest.raises(SlurmRefused, match=word):
        site.submit(token, program("pass"))
    assert site.find(token).phase is Phase.NEVER


def test_a_device_that_no_node_has_is_refused(site: SlurmSite) -> None:
    with pytest.raises(SlurmRefused, match=r"gres|node configuration"):
        submitted(site, devices=1, accelerator="b300")


# --- the engine takes its place back ------------------------------------------------------------------------------------------


def test_a_place_that_slurm_takes_back_is_stopped_and_not_requeued(site: SlurmSite, slurm: Cluster) -> None:
    token = running(site, devices=8, accelerator="h20", placed=(Placed("h4", tuple(range(8))),))
    urgent = slurm.run(
        "sbatch",
        "--parsable",
        "-A",
        "other-yard",
        "-p",
        "urgent",
        "--gres=gpu:8",
        "--output=/dev/null",
        "--wrap",
        "true",
        "-A",
        "lantern-works",
    ).strip()
    sight = until(site, token, finished)
    assert sight.ending is Ending.STOPPED and sight.exit is not None and "took its place back" in sight.exit.reason
    slurm.run("scancel", urgent)
    assert engine_jobs(slurm, token) == {token: 1}


def test_a_node_that_fails_stops_what_ran_there(site: SlurmSite, slurm: Cluster) -> None:
    token = running(site, placed=(Placed("h3"),))
    slurm.kill("h3")
    slurm.run("scontrol", "update", "NodeName=h3", "State=DOWN", "Reason=test")
    sight = until(site, token, finished)
    assert sight.ending is Ending.STOPPED and sight.exit is not None and "node" in sight.exit.reason
    slurm.node("h3")
    slurm.run("scontrol", "update", "NodeName=h3", "State=RESUME")
    supervisor, started = json.loads((site.folders.of(token) / "running.json").read_text())["supervisor"]
    eventually(lambda: not tree.same(supervisor, started), "it runs on, although Slurm has given it up")


def test_an_administrator_who_requeues_an_attempt_does_not_run_it_twice(site: SlurmSite, slurm: Cluster) -> None:
    token = running(site)
    job = queued_as(slurm, token)
    slurm.run("scontrol", "update", f"JobId={job}", "Requeue=1")
    slurm.run("scontrol", "requeue", job)
    assert until(site, token, finished).ending is Ending.STOPPED
    eventually(lambda: slurm.run("squeue", "--noheader", f"--name={token}") == "", "it is still queued")
    assert site.logs(token, 0, 4000).text == "up\n"


def test_a_job_that_an_administrator_cancels_is_stopped_not_failed(site: SlurmSite, parked: SlurmSite, slurm: Cluster) -> None:
    for where, token in ((site, running(site)), (parked, submitted(parked))):
        slurm.run("scancel", queued_as(slurm, token))
        sight = until(where, token, finished)
        assert sight.ending is Ending.STOPPED and sight.exit is not None and "inside Slurm" in sight.exit.reason


def test_a_node_without_the_interpreter_says_so(slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lilong.floors.compute.backends import folders

    monkeypatch.setattr(folders, "_LATE_S", 0.2)
    site = site_of(slurm, tmp_path, python="/opt/no-such/python")
    sight = until(site, submitted(site), finished)
    assert sight.ending is Ending.UNABLE and sight.exit is not None and "no-such" in sight.exit.reason


# --- the cluster --------------------------------------------------------------------------------------------------------------


def test_the_inventory_tells_classes_topology_and_what_others_hold(site: SlurmSite, slurm: Cluster) -> None:
    other = slurm.run(
        "sbatch", "--parsable", "-A", "lantern-works", "-w", "a2", "-c", "2", "--mem=500", "--gres=gpu:a100:3", "--output=/dev/null", "--wrap", "sleep 600"
    ).strip()  # fmt: skip
    token = running(site, devices=2, accelerator="a100", placed=(Placed("a2"),))
    eventually(lambda: site.inventory().foreign == {"a2": (2, 500, 3)}, f"{site.inventory().foreign}")
    node = next(node for node in site.inventory().nodes if node.name == "a2")
    assert (node.cpus, node.memory_mib, node.accelerator, node.devices) == (8, 16000, "a100", 8)
    assert node.domains == {"rack": "r1", "zone": "core"}
    slurm.run("scancel", other)
    site.cancel(token)
    until(site, token, finished)


def test_a_drained_node_takes_nothing_new(site: SlurmSite) -> None:
    def is_open() -> bool:
        return next(node.open for node in site.inventory().nodes if node.name == "a4")

    site.drain("a4", on=True)
    assert not is_open()
    site.drain("a4", on=False)
    eventually(is_open, "a4 stays closed")
    site.drain("a4", on=False)
    for name in ("a9", "a4 State=DOWN", ""):
        with pytest.raises(NotFound):
            site.drain(name, on=True)


# --- exactly once -------------------------------------------------------------------------------------------------------------


def hand_all_over(cluster: Path, folder: Path, up: Connection) -> None:
    """A house's dispatcher in small: a row on the disk before the call, another word after it."""
    site = site_of(Cluster(cluster), folder, partition="parked")
    outbox = sqlite3.connect(folder / "outbox", isolation_level=None)
    outbox.execute("CREATE TABLE IF NOT EXISTS outbox (token TEXT PRIMARY KEY, handed INTEGER)")
    for number in range(100):
        token = f"mark-{number}.1"
        row = outbox.execute("SELECT handed FROM outbox WHERE token = ?", (token,)).fetchone()
        if row is None:
            outbox.execute("INSERT INTO outbox VALUES (?, 0)", (token,))
        if row != (1,):
            recovered(site, token, known=row is not None)
            outbox.execute("UPDATE outbox SET handed = 1 WHERE token = ?", (token,))
            up.send("one more")
    up.send("all")


def recovered(site: SlurmSite, token: str, *, known: bool) -> None:
    """Hand an attempt over as the dispatcher does: one of which a row was found is looked for first."""
    while known and (sight := site.find(token)).phase is not Phase.NEVER:
        if "handed" not in (sight.waits_for or ""):
            return
        time.sleep(0.01)
    site.submit(token, Task(("true",), memory_mib=10))


def test_twenty_kills_during_a_hundred_submits_leave_a_hundred_jobs(slurm: Cluster, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    processes = multiprocessing.get_context("forkserver")  # each a process of its own, without the seconds that imports take
    processes.set_forkserver_preload(["tests.compute.test_slurm"])
    for kill in [True] * 20 + [False]:
        here, there = processes.Pipe(duplex=False)
        process = processes.Process(target=hand_all_over, args=(slurm.folder, tmp_path, there))
        process.start()
        there.close()
        for _ in range(chance.randrange(1, 9) if kill else 0):
            if here.recv() == "all":
                break
        if kill:
            time.sleep(chance.random() * 0.05)  # within one of the next submits
            process.kill()
        else:
            while here.recv() != "all":
                pass
        process.join()
    tokens = [f"mark-{number}.1" for number in range(100)]
    assert engine_jobs(slurm, *tokens) == dict.fromkeys(tokens, 1)
    slurm.run("scancel", "--partition=parked")


def test_a_submit_that_died_before_slurm_heard_of_it_may_be_made_again(
    parked: SlurmSite, slurm: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    token = f"{fresh()}.1"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(parked, "_hand_over", dies)
        parked.submit(token, program("pass"))
    assert parked.find(token).phase is Phase.NEVER
    parked.submit(token, program("pass"))
    with pytest.raises(AlreadySubmitted):
        parked.submit(token, program("pass"))
    assert engine_jobs(slurm, token) == {token: 1}


def test_a_twin_that_slurm_got_all_the_same_runs_nothing(site: SlurmSite, slurm: Cluster) -> None:
    token = submitted(site, "open(__import__('os').environ['LILONG_STATE'] + '/n', 'a').write('x')")
    (site.folders.of(token) / "engine.json").unlink()
    site_again = site_of(slurm, site.folders.root.parent)
    with pytest.raises(AlreadySubmitted):  # the run folder itself knows, once a supervisor has begun
        until(site, token, lambda _: site.folders.began(token))
        site_again.submit(token, program("pass"))
    line = driver.environment(site._options, site.folders.of(token), program("pass"), site._laid_program())
    slurm_environment = slurm.environment | line
    subprocess.run(
        ["sbatch", "-A", "lantern-works", f"--job-name={token}", "--dependency=singleton", "--output=/dev/null", "--wait"],
        env=slurm_environment, input=driver.SCRIPT.encode(), check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    assert engine_jobs(slurm, token) == {token: 2}
    assert (site.folders.of(token).parent / "state" / "n").read_text() == "x"


# --- the engine is away -------------------------------------------------------------------------------------------------------


def test_while_slurm_is_away_nothing_is_lost_and_then_it_goes_on(site: SlurmSite, slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_IN_FLIGHT_S", 1.0)
    token = submitted(site, "import time; print('up', flush=True); time.sleep(1)")
    waiting = f"{fresh()}.1"
    until(site, token, said(site, token, "up"))
    slurm.end("slurmctld")
    hasty = site_of(slurm, site.folders.root.parent, timeout_s=1.0)  # Slurm's commands themselves try for longer
    try:
        for ask in (
            lambda: hasty.watch(""),
            hasty.inventory,
            lambda: hasty.submit(waiting, program("print('ran')", memory_mib=100)),
            lambda: hasty.find(waiting),
        ):
            with pytest.raises(SiteDown, match=r"sdiag|slurmctld"):
                ask()
    finally:
        slurm.controller()
    eventually(slurm.answers, "slurmctld does not come back")
    assert until(site, token, finished).ending is Ending.EXITED
    until(site, waiting, lambda sight: sight.phase is Phase.NEVER)
    site.submit(waiting, program("print('ran')", memory_mib=100))
    assert until(site, waiting, finished).ending is Ending.EXITED
    assert engine_jobs(slurm, waiting) == {waiting: 1}


def test_what_a_killed_controller_has_forgotten_is_made_good(parked: SlurmSite, slurm: Cluster) -> None:
    """It saves its state some seconds after it has said yes."""
    tokens = [submitted(parked) for _ in range(5)]
    slurm.kill("slurmctld")
    slurm.controller()
    eventually(slurm.answers, "slurmctld does not come back")
    for token in tokens:
        if parked.find(token).phase is Phase.NEVER:
            parked.submit(token, program("pass"))
    assert engine_jobs(slurm, *tokens) == dict.fromkeys(tokens, 1)


def test_a_submit_without_an_answer_is_in_doubt_until_it_is_certain(
    slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_IN_FLIGHT_S", 3.0)
    site = site_of(slurm, tmp_path, timeout_s=1.0)
    token = f"{fresh()}.1"
    slurm.signal("slurmctld", signal.SIGSTOP)
    try:
        with pytest.raises(cli.Unanswered):
            site.submit(token, program("print('ran')", memory_mib=100))
    finally:
        slurm.signal("slurmctld", signal.SIGCONT)
    eventually(slurm.answers, "slurmctld does not come back")
    patient = site_of(slurm, tmp_path)
    if until(patient, token, lambda sight: sight.phase is not Phase.PENDING).phase is Phase.NEVER:
        patient.submit(token, program("print('ran')", memory_mib=100))
    until(patient, token, finished)
    assert patient.logs(token, 0, 4000).text == "ran\n"
    assert engine_jobs(slurm, token) == {token: 1}


def test_what_the_queue_has_forgotten_the_accounts_still_know(parked: SlurmSite, slurm: Cluster) -> None:
    """Slurm's controller loses its whole state. What is not in the accounts while they lag is not taken for never submitted."""
    cancelled, never = submitted(parked), f"{fresh()}.1"
    slurm.run("scancel", queued_as(slurm, cancelled))
    eventually(lambda: "CANCELLED" in slurm.run("sacct", "-nPX", f"--name={cancelled}", "--format=State"), "not in the accounts")
    slurm.kill("slurmctld")
    slurm.controller("-c")
    eventually(slurm.answers, "slurmctld does not come back")
    folder = parked.folders.of(never)
    folder.mkdir(parents=True)
    for token in (cancelled, never):
        (parked.folders.of(token) / "engine.json").write_text(json.dumps({"at": time.time() - 1000}))
    sight = until(parked, cancelled, lambda sight: True)
    assert sight.ending is Ending.STOPPED
    eventually(lambda: settled(parked, never), "the accounts still lag")
    assert parked.find(never).phase is Phase.NEVER
    slurm.kill("slurmdbd")
    try:
        with pytest.raises(SiteDown, match="slurmdbd"):
            parked.find(never)
    finally:
        slurm.accounts()


def settled(site: SlurmSite, token: str) -> bool:
    try:
        site.find(token)
    except SiteDown:
        return False
    return True


# --- options and words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told, field",
    [
        ({}, "folder"),
        ({"folder": "jobs"}, "folder"),
        ({"folder": "/srv/a%j"}, "folder"),
        ({"folder": "/srv/jobs", "conf": "/no/such/slurm.conf"}, "conf"),
        ({"folder": "/srv/jobs", "partition": "a b"}, "partition"),
        ({"folder": "/srv/jobs", "user": "somebody-else"}, "user"),
        ({"folder": "/srv/jobs", "gres": {"h20": "gpu:h20 --uid=0"}}, "gres.h20"),
        ({"folder": "/srv/jobs", "arguments": ["--uid=0"]}, "arguments"),
        ({"folder": "/srv/jobs", "look": 3}, "look"),
        ({"folder": "/srv/jobs", "bin": "/tmp"}, "bin"),
    ],
)
def test_a_wrong_option_is_named(told: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=f"sites.harbour.options.{field}"):
        Options.read("harbour", told)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=20), st.sampled_from(["a", "node-", "r1n"]), st.integers(1, 5))
def test_a_host_list_comes_apart(numbers: list[int], prefix: str, width: int) -> None:
    text = f"{prefix}[{','.join(str(number).zfill(width) for number in numbers)}],login1"
    assert reading.hosts(text) == (*(f"{prefix}{str(number).zfill(width)}" for number in numbers), "login1")


def test_ranges_keep_their_zeros() -> None:
    assert reading.hosts("a[08-11],b[1-2]-ib") == ("a08", "a09", "a10", "a11", "b1-ib", "b2-ib")
    assert reading.hosts("(null)") == ()


def test_values_with_spaces_stay_whole() -> None:
    line = "NodeName=a1 OS=Linux 6.1 #1 SMP CfgTRES=cpu=8,gres/gpu=8 State=IDLE+DRAIN Reason=fan broken [root@2026-11-22T10:00:00]"
    told = dict(reading.fields(line))
    assert (told["OS"], told["CfgTRES"], told["Reason"]) == (
        "Linux 6.1 #1 SMP",
        "cpu=8,gres/gpu=8",
        "fan broken [root@2026-11-22T10:00:00]",
    )
    assert not reading.nodes(line)[0].open


def test_amounts_of_typed_resources() -> None:
    assert reading.amounts("gpu:h20:8(IDX:0-3,6),shard:16") == {"gpu:h20": 8, "shard": 16}
