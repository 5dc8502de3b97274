"""What is kept in, kept apart and kept going: gangs, devices, secrets, control groups, clocks, and who may be killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lilong.floors.compute.backends.changes import Changes
from lilong.floors.compute.backends.conformance import finished, fresh, program, said, until
from lilong.floors.compute.backends.folders import Folders, Word
from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.compute.backends.nodes import Nodes
from lilong.floors.compute.contract import AlreadySubmitted, Capacity, Ending, Phase, Placed, Task
from lilong.floors.compute.supervisor import cgroup, devices, files, tree
from lilong.ground import sandbox
from lilong.ground.blobs import LocalBlobs
from lilong.ground.errors import BadInput, NotFound
from lilong.ground.sandbox import Level, Sandbox

SOURCE = str(Path(__file__).parents[2] / "src")
NODES = [{"name": "a", "count": 2, "cpus": 4, "memory_gib": 8, "accelerator": "h20", "devices": 4, "domains": {"rack": "r1"}}]


def make(folder: Path, **options: Any) -> LocalSite:
    return LocalSite(folder / "jobs", LocalBlobs(folder / "blobs"), Capacity(2, 4096), **options)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LocalSite]:
    made = make(tmp_path, nodes=Nodes.declared(NODES))
    yield made
    made.stop()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[LocalSite]:
    made = make(tmp_path, nodes=Nodes.declared(NODES), level=Level.NONE)
    yield made
    made.stop()


def eventually(good: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not good():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.02)


def told(site: LocalSite, token: str) -> dict[str, str]:
    """The environment that a program which prints it as JSON had."""
    assert until(site, token, finished).ending is Ending.EXITED, site.logs(token, 0, 4000).text
    environment: dict[str, str] = json.loads(site.logs(token, 0, 1 << 16).text)
    return environment


TELL = "import json, os; print(json.dumps(dict(os.environ)))"

# --- virtual nodes, devices, gangs -----------------------------------------------------------------------------------------


def test_virtual_nodes_are_told_as_declared(site: LocalSite) -> None:
    nodes = site.inventory().nodes
    assert [(node.name, node.cpus, node.memory_mib, node.accelerator, node.devices, dict(node.domains)) for node in nodes] == [
        ("a1", 4, 8192, "h20", 4, {"rack": "r1"}),
        ("a2", 4, 8192, "h20", 4, {"rack": "r1"}),
    ]
    assert site.nodes.virtual


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"name": "../a"}, "options.nodes[0].name"),
        ({"name": "a", "gpus": 8}, "options.nodes[0].gpus"),
        ({"name": "a", "cpus": 0}, "options.nodes[0].cpus"),
        ({"name": "a", "devices": 8}, "options.nodes[0].accelerator"),
        ({"name": "a", "memory_gib": "8"}, "options.nodes[0].memory_gib"),
        ({"name": "a", "domains": "r1"}, "options.nodes[0].domains"),
    ],
)
def test_a_wrong_declaration_names_the_field(bad: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        Nodes.declared([bad])
    assert caught.value.details["field"] == field


def test_a_task_is_not_placed_where_nothing_is(site: LocalSite) -> None:
    with pytest.raises(NotFound):
        site.submit(f"{fresh()}.1", program("pass", placed=(Placed("b1"),)))
    with pytest.raises(BadInput):
        site.submit(f"{fresh()}.1", program("pass", placed=(Placed("a1", (4,)),)))


@pytest.mark.parametrize(
    ("vendor", "name"), [("nvidia", "CUDA_VISIBLE_DEVICES"), ("huawei", "ASCEND_RT_VISIBLE_DEVICES"), ("amd", "ROCR_VISIBLE_DEVICES")]
)
def test_devices_are_told_in_the_variable_of_their_vendor(vendor: str, name: str, tmp_path: Path) -> None:
    site = make(tmp_path, nodes=Nodes.declared(NODES), vendors={"h20": vendor}, level=Level.NONE)
    token = f"{fresh()}.1"
    site.submit(token, program(TELL, accelerator="h20", devices=2, placed=(Placed("a1", (1, 3)),)))
    environment = told(site, token)
    assert environment[name] == environment["LILONG_DEVICES"] == "1,3"
    token = f"{fresh()}.1"
    site.submit(token, program(TELL, placed=(Placed("a1"),)))
    assert told(site, token)[name] == "", "a task without devices sees none"
    token = f"{fresh()}.1"
    site.submit(token, program(TELL, accelerator="h20", devices=1, milli=250, placed=(Placed("a1", (2,), 250),)))
    environment = told(site, token)
    assert (environment[name], environment["LILONG_DEVICE_MILLI"]) == ("2", "250")
    site.stop()


def test_a_class_without_a_told_vendor_is_guessed_by_its_name() -> None:
    assert [devices.vendor_of(name, {}) for name in ("h20", "910b", "mi300x", "dcu-z100", "mlu370")] == [
        "nvidia", "huawei", "amd", "hygon", "cambricon",
    ]  # fmt: skip
    assert devices.vendor_of("h20", {"h20": "Moore Threads"}) == "moorethreads"


def test_ranks_see_their_nodes_devices_as_torchrun_would_have_it(bare: LocalSite) -> None:
    token = f"{fresh()}.1"
    code = "import json, os; open(os.environ['LILONG_STATE'] + '/' + os.environ['RANK'], 'w').write(json.dumps(dict(os.environ)))"
    placed = (Placed("a1", (1,)), Placed("a1", (2,)), Placed("a2", (0,)))
    bare.submit(token, program(code, tasks=3, accelerator="h20", devices=1, placed=placed))
    assert until(bare, token, finished).ending is Ending.EXITED
    state = bare.folders.of(token).parent / "state"
    ranks = [json.loads((state / str(rank)).read_text()) for rank in range(3)]
    names = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "LILONG_NODE", "CUDA_VISIBLE_DEVICES", "LILONG_DEVICES")
    assert [tuple(rank[name] for name in names) for rank in ranks] == [
        ("0", "2", "0", "a1", "1,2", "1"),
        ("1", "2", "0", "a1", "1,2", "2"),
        ("0", "1", "1", "a2", "0", "0"),
    ]


def test_torch_adds_up_over_the_ranks_of_a_gang_without_any_network(site: LocalSite) -> None:
    pytest.importorskip("torch")
    code = (
        "import torch, torch.distributed as group\n"
        "group.init_process_group('gloo')\n"
        "mine = torch.tensor([float(group.get_rank() + 1)]); group.all_reduce(mine); print('sum', mine.item())"
    )
    token = f"{fresh()}.1"
    site.submit(token, program(code, tasks=2, memory_mib=1024, timeout_s=300))
    until(site, token, finished, patience=300)
    text = site.logs(token, 0, 1 << 16).text
    assert "[0] sum 3.0" in text and "[1] sum 3.0" in text, text


def test_ranks_of_one_attempt_do_not_hear_another_attempt(site: LocalSite) -> None:
    if site.sandbox_level() is Level.NONE:
        pytest.skip("without a sandbox all programs share the machine's loopback")
    door, caller = f"{fresh()}.1", f"{fresh()}.1"
    code = (
        "import os, socket, time\n"
        "if os.environ['RANK'] == '0':\n"
        "    listener = socket.create_server(('127.0.0.1', 40000)); print('open', flush=True); time.sleep(600)\n"
        "time.sleep(600)"
    )
    site.submit(door, program(code, tasks=2))
    until(site, door, said(site, door, "open"))
    site.submit(caller, program("import socket; socket.create_connection(('127.0.0.1', 40000), 5); print('reached')", tasks=2))
    until(site, caller, finished)
    assert "reached" not in site.logs(caller, 0, 4000).text
    site.cancel(door)
    until(site, door, finished)


# --- a supervisor for each rank, as engines start them ------------------------------------------------------------------------


def supervisors(folders: Folders, token: str, hosts: list[str]) -> list[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "lilong.floors.compute.supervisor", str(folders.of(token))]
    return [
        subprocess.Popen(
            [*command, "--rank", str(rank), "--host", host, "--address", "127.0.0.1"],
            env={"PATH": os.defpath, "PYTHONPATH": SOURCE, "CUDA_VISIBLE_DEVICES": str(rank)},
        )
        for rank, host in enumerate(hosts)
    ]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "shared", LocalBlobs(tmp_path / "blobs"))


def lay(folders: Folders, task: Task) -> str:
    token = f"{fresh()}.1"
    with folders.claimed(token):
        folders.lay(token, task, level="none")
        folders.lay_secrets(token, task)
    return token


def test_ranks_with_supervisors_of_their_own_meet_through_the_run_folder(folders: Folders) -> None:
    code = (
        "import os; from lilong.ground.work import Workspace\n"
        "names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'NODE_RANK', 'MASTER_ADDR', 'GLOO_SOCKET_IFNAME', 'CUDA_VISIBLE_DEVICES')\n"
        "print(*(os.environ[name] for name in names), Workspace.here().secrets()['WORD'])"
    )
    token = lay(folders, program(code, tasks=3, secrets={"WORD": "hush"}))
    assert folders.sight(token, Word(Phase.PENDING, waits_for="priority")).phase is Phase.PENDING
    for process in supervisors(folders, token, ["n1", "n2", "n1"]):
        assert process.wait(60) == 0
    sight = folders.sight(token, Word(Phase.FINISHED, nodes=("n1", "n2")))
    assert (sight.phase, sight.ending, sight.nodes) == (Phase.FINISHED, Ending.EXITED, ("n1", "n2"))
    text = folders.logs(token, 0, 4000).text
    assert sorted(text.splitlines()) == ["[0] 0 3 0 0 127.0.0.1 lo 0 hush", "[1] 1 3 0 1 127.0.0.1 lo 1 hush", "[2] 2 3 1 0 127.0.0.1 lo 2 hush"]
    assert folders.logs(token, 0, 4000).text == text, "what was read once stays where it was"
    assert not list(folders.root.rglob("secrets")), "the secrets' files are gone"
    for process in supervisors(folders, token, ["n1", "n2", "n1"]):
        process.wait(60)
    assert folders.logs(token, 0, 4000).text == text, "an engine that starts them again starts nothing"


def test_a_rank_that_fails_ends_those_on_other_nodes(folders: Folders) -> None:
    token = lay(folders, program("import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(9)\ntime.sleep(600)", tasks=2))
    for process in supervisors(folders, token, ["n1", "n2"]):
        process.wait(60)
    sight = folders.sight(token, Word(Phase.LOST))
    assert sight.exit is not None and (sight.ending, sight.exit.code) == (Ending.EXITED, 9)


def test_a_rank_whose_others_never_come_hears_a_cancel(folders: Folders) -> None:
    token = lay(folders, program("print('ran')", tasks=2))
    (alone,) = supervisors(folders, token, ["n1"])
    eventually((folders.of(token) / "tasks" / "0" / "here.json").exists)
    folders.cancel(token)
    alone.wait(60)
    assert folders.sight(token, Word(Phase.FINISHED, Ending.STOPPED)).ending is Ending.CANCELLED


@pytest.mark.parametrize(
    ("word", "began", "expected"),
    [
        (Word(Phase.NEVER), False, Phase.NEVER),
        (Word(Phase.LOST), False, Phase.LOST),
        (Word(Phase.NEVER), True, Phase.LOST),
        (Word(Phase.RUNNING), False, Phase.RUNNING),
        (Word(Phase.PENDING), True, Phase.RUNNING),
        (Word(Phase.FINISHED, ago_s=1.0), True, Phase.RUNNING),
        (Word(Phase.FINISHED), True, Phase.LOST),
        (Word(Phase.FINISHED, Ending.STOPPED, "preempted"), True, Phase.FINISHED),
    ],
)
def test_files_and_the_engines_word_come_to_one_answer(word: Word, began: bool, expected: Phase, folders: Folders) -> None:
    token = lay(folders, program("pass"))
    if began:
        files.claim(folders.of(token) / "running.json", {})
    assert folders.sight(token, word).phase is expected


# --- secrets -------------------------------------------------------------------------------------------------------------------


def test_a_secret_is_in_no_file_argument_environment_or_log(site: LocalSite) -> None:
    token, secret = f"{fresh()}.1", f"hush-{fresh()}"
    code = "from lilong.ground.work import Workspace; assert Workspace.here().secrets()['WORD']; import time; print('up', flush=True); time.sleep(600)"
    site.submit(token, program(code, secrets={"WORD": secret}))
    until(site, token, said(site, token, "up"))
    found = [path for path in site.root.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("environ", "cmdline"):
            try:
                if secret.encode() in (process / name).read_bytes():
                    found.append(process / name)
            except OSError:
                continue
    assert found == []
    site.cancel(token)
    until(site, token, finished)
    assert secret not in site.logs(token, 0, 1 << 16).text


@pytest.mark.parametrize("level", [Level.LANDLOCK, Level.BUBBLEWRAP])
def test_what_a_task_puts_into_its_environment_never_reaches_the_process_that_shuts_it_in(level: Level) -> None:
    if sandbox.problem_with(level):
        pytest.skip(f"{level.word}: {sandbox.problem_with(level)}")
    assert sandbox.plan(Sandbox(("/usr/bin/true",), env={"LD_PRELOAD": "/job/in/mine.so"}), level).env == {}


# --- control groups and clocks -----------------------------------------------------------------------------------------------


@pytest.fixture
def groups() -> None:
    probe = cgroup.make("probe", 1 << 28, 64, 1)
    probe.remove()
    if probe.missing:
        pytest.skip(f"no control groups can be made here: {', '.join(probe.missing)}")


@pytest.mark.usefixtures("groups")
def test_a_job_is_in_a_group_of_its_own_which_goes_with_it(bare: LocalSite) -> None:
    token = f"{fresh()}.1"
    bare.submit(token, program("print(open('/proc/self/cgroup').read(), flush=True); import time; time.sleep(600)"))
    until(bare, token, said(bare, token, f"lilong-{token}"))
    told = files.read(bare.folders.of(token) / "running.json") or {}
    assert told["groups"] and all(Path(folder).is_dir() for folder in told["groups"])
    assert bare.find(token).sandbox == "none"
    bare.cancel(token)
    until(bare, token, finished)
    assert not any(Path(folder).exists() for folder in told["groups"])


@pytest.mark.usefixtures("groups")
def test_the_group_of_a_killed_supervisor_is_cleared_up(bare: LocalSite) -> None:
    token = f"{fresh()}.1"
    bare.submit(token, program("print('up', flush=True); import time; time.sleep(600)"))
    until(bare, token, said(bare, token, "up"))
    told = files.read(bare.folders.of(token) / "running.json") or {}
    os.kill(told["supervisor"][0], signal.SIGKILL)
    assert until(bare, token, finished).phase is Phase.LOST
    eventually(lambda: bare.find(token).phase is Phase.LOST and not any(Path(folder).exists() for folder in told["groups"]))


def test_where_no_group_can_be_made_the_attempt_says_so_and_is_watched(tmp_path: Path) -> None:
    site = make(tmp_path, level=Level.NONE, control_groups=False)
    token = f"{fresh()}.1"
    code = "import time\nkept = []\nfor _ in range(60):\n    kept.append(bytearray(b'x' * (20 << 20))); time.sleep(0.05)"
    site.submit(token, program(code, memory_mib=100))
    sight = until(site, token, finished)
    assert sight.ending is Ending.MEMORY
    assert sight.sandbox == "none (memory, pids, cpu: watched)"
    site.stop()


JUMPING = """
import itertools, sys, time
from pathlib import Path
real, jumps = time.time, itertools.cycle((0.0, 30 * 86400.0, -30 * 86400.0))
time.time = lambda: real() + next(jumps)
from lilong.floors.compute.supervisor.watch import supervise
supervise(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(("timeout", "ending"), [(600, Ending.EXITED), (1, Ending.TIMEOUT)])
def test_a_clock_that_jumps_by_a_month_neither_ends_nor_prolongs_a_job(timeout: int, ending: Ending, folders: Folders) -> None:
    (folders.root / ".alive").touch()
    lasts = 1.5 if ending is Ending.EXITED else 600
    task = program(f"import time; time.sleep({lasts})", timeout_s=timeout)
    token = f"{fresh()}.1"
    with folders.claimed(token):
        folder = folders.lay(
            token, replace(task, service=ending is Ending.EXITED), level="none", alive=str(folders.root / ".alive"), alive_s=900
        )
    subprocess.run([sys.executable, "-c", JUMPING, str(folder)], env={"PATH": os.defpath, "PYTHONPATH": SOURCE}, check=True)
    sight = folders.ended(token)
    assert sight is not None and sight.exit is not None
    assert sight.ending is ending
    assert 0 < sight.exit.wall_s < 86400


SMALL_DISK = """
import os, sys
from pathlib import Path
real, left = os.statvfs, int(sys.argv[3])
def statvfs(path):
    told = list(real(path))
    told[{"bytes": 4, "files": 7}[sys.argv[2]]] = left // (told[1] if sys.argv[2] == "bytes" else 1)
    return os.statvfs_result(told)
os.statvfs = statvfs
from lilong.floors.compute.supervisor import watch
watch._FOLDER_LOOK = 0.1
watch.supervise(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("what", "left", "code", "saying"),
    [
        ("bytes", 64 << 20, "open(out + '/a', 'wb').write(bytes(100 << 20))", "and left 64 MiB free on their disk"),
        ("files", 50, "[open(f'{out}/{n}', 'w') for n in range(200)]", "and left room for 50 on their disk"),
    ],
)
def test_a_program_may_not_take_more_of_the_disk_than_it_leaves(what: str, left: int, code: str, saying: str, folders: Folders) -> None:
    token = lay(folders, program(f"import os, time; out = os.environ['LILONG_OUT']; {code}; time.sleep(600)", memory_mib=512))
    command = [sys.executable, "-c", SMALL_DISK, str(folders.of(token)), what, str(left)]
    subprocess.run(command, env={"PATH": os.defpath, "PYTHONPATH": SOURCE}, check=True, timeout=60)
    sight = folders.ended(token)
    assert sight is not None
    assert sight.exit is not None
    assert (sight.ending, saying in sight.exit.reason) == (Ending.DISK, True), sight


# --- who may be killed -------------------------------------------------------------------------------------------------------


def submit_all(folder: Path, said: int) -> None:
    """What a house does: whatever was never started is submitted. A byte is said for each."""
    site = make(folder)
    task = Task(("/bin/sh", "-c", "cat /proc/self/fd/$LILONG_SECRETS_FD >> $LILONG_STATE/ran"), memory_mib=64, secrets={"WORD": "hush"})
    for number in range(100):
        if site.find(f"job-{number}.1").phase is Phase.NEVER:
            with contextlib.suppress(AlreadySubmitted):
                site.submit(f"job-{number}.1", task)
            os.write(said, b".")


def test_a_hundred_jobs_run_once_each_over_20_kills_of_the_house(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(20):
        read, write = os.pipe()
        house = os.fork()
        if house == 0:
            try:
                submit_all(tmp_path, write)
            finally:
                os._exit(0)
        os.close(write)
        for _ in range(chance.randrange(1, 6)):
            os.read(read, 1)
        time.sleep(chance.random() * 0.005)
        os.kill(house, signal.SIGKILL)
        os.waitpid(house, 0)
        os.close(read)
    with Path(os.devnull).open("wb") as nobody:
        submit_all(tmp_path, nobody.fileno())
    site = make(tmp_path)
    for number in range(100):
        sight = until(site, f"job-{number}.1", finished)
        assert sight.ending is Ending.EXITED and sight.exit is not None and sight.exit.code == 0, sight
        assert (site.root / f"job-{number}" / "state" / "ran").read_text() == '{"WORD": "hush"}', number
    assert len(site.watch("").sights) == 100
    site.stop()


def starter() -> int | None:
    """The process of this test's starter: a child of this process, by its command."""
    for process in tree.children(os.getpid()):
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"lilong.floors.compute.supervisor.starter" in words:
            return process
    return None


def test_a_killed_starter_takes_nothing_with_it_and_another_takes_its_place(bare: LocalSite) -> None:
    first, second = f"{fresh()}.1", f"{fresh()}.1"
    bare.submit(first, program("import time; print('up', flush=True); time.sleep(600)"))
    until(bare, first, said(bare, first, "up"))
    first_starter = starter()
    assert first_starter is not None
    os.kill(first_starter, signal.SIGKILL)
    bare.submit(second, program("print('ran')"))
    assert until(bare, second, finished).ending is Ending.EXITED
    assert bare.find(first).phase is Phase.RUNNING
    assert starter() not in (None, first_starter)
    bare.cancel(first)
    assert until(bare, first, finished).ending is Ending.CANCELLED


def test_jobs_run_once_each_while_the_starter_is_killed_again_and_again(bare: LocalSite) -> None:
    done = threading.Event()

    def kill() -> None:
        while not done.wait(0.05):
            if (pid := starter()) is not None:
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    tokens = [f"{fresh()}.1" for _ in range(40)]
    task = Task(("/bin/sh", "-c", "echo x >> $LILONG_STATE/ran"), memory_mib=64)
    try:
        for token in tokens:
            while bare.find(token).phase is Phase.NEVER:
                try:
                    bare.submit(token, task)
                except AlreadySubmitted:
                    break
    finally:
        done.set()
        killer.join()
    for token in tokens:
        assert until(bare, token, finished).ending is Ending.EXITED
        assert (bare.folders.of(token).parent / "state" / "ran").read_text() == "x\n"


def test_the_starter_ends_with_its_site(tmp_path: Path) -> None:
    site = make(tmp_path, level=Level.NONE)
    site.submit("job-a.1", program("pass"))
    until(site, "job-a.1", finished)
    assert starter() is not None
    site.stop()
    eventually(lambda: starter() is None)


# --- watching and logs --------------------------------------------------------------------------------------------------------


def test_a_killed_supervisor_is_seen_by_watching(bare: LocalSite) -> None:
    cursor = bare.watch("").cursor
    token = f"{fresh()}.1"
    bare.submit(token, program("import time; print('up', flush=True); time.sleep(600)"))
    until(bare, token, said(bare, token, "up"))
    os.kill((files.read(bare.folders.of(token) / "running.json") or {})["supervisor"][0], signal.SIGKILL)
    seen: list[Phase] = []

    def lost() -> bool:
        nonlocal cursor
        watched = bare.watch(cursor)
        cursor = watched.cursor
        seen.extend([watched.sights[token].phase] if token in watched.sights else [])
        return Phase.LOST in seen

    eventually(lost)
    assert bare.watch(cursor).sights == {}, "what is over is told once"


def test_nothing_that_changed_gets_lost_when_the_file_of_changes_takes_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lilong.floors.compute.backends import changes

    monkeypatch.setattr(changes, "_TURN_BYTES", 500)
    watched = Changes(tmp_path / "events")
    cursor, seen = watched.now(), []
    for number in range(200):
        files.append(str(watched.path), f"job-{number}.1 ended\n")
        if number % 7 == 0:
            found = watched.since(cursor)
            assert found is not None
            seen += found[0]
            cursor = found[1]
    while (found := watched.since(cursor)) and (found[0] or found[1] != cursor):
        seen += found[0]
        cursor = found[1]
    assert seen == [f"job-{number}.1" for number in range(200)]
    assert watched.since("1:99") is None and watched.since("nonsense") is None


def test_reading_a_large_log_takes_little_memory(bare: LocalSite) -> None:
    token = f"{fresh()}.1"
    bare.submit(token, program("import sys\nfor _ in range(300): sys.stdout.write('x' * 99_999 + '\\n')"))
    until(bare, token, finished)
    tracemalloc.start()
    at = 0
    while (part := bare.logs(token, at, 1 << 16)).text:
        at = part.next
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert at == 300 * 100_000
    assert peak < 4 << 20
