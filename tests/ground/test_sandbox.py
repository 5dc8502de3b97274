"""No program gets out of bubblewrap, and the lesser levels say what they are."""

# ruff: noqa: PTH109, PTH208 - descriptors and raw paths are the point here
from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pytest

import lilong
from lilong.ground import sandbox
from lilong.ground.sandbox import Bind, Caps, Launch, Level, LevelMissing, Limits, OutputRefused, Sandbox

HOSTILE = Path(__file__).with_name("hostile.py")
ATTEMPTS = re.findall(r"@attempt\ndef (\w+)", HOSTILE.read_text())
MIB = 1 << 20

needs_bubblewrap = pytest.mark.skipif(sandbox.problem_with(Level.BUBBLEWRAP) is not None, reason="bubblewrap does not work here")
needs_landlock = pytest.mark.skipif(sandbox.problem_with(Level.LANDLOCK) is not None, reason="Landlock does not work here")


class House:
    """A house's folder with a secret, two jobs, and services that listen on the host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = "a-secret-of-the-caller-4711"
        self.inputs, self.out = folder / "jobs" / "in", folder / "jobs" / "out"
        other = folder / "jobs" / "other"
        for path in (self.inputs, self.out, other):
            path.mkdir(parents=True)
        (self.inputs.parent / "secret.key").write_text("key")
        (folder / "secret.key").write_text("key")
        (other / "text").write_text("theirs")
        (self.inputs / "spec.json").write_text("{}")
        (self.inputs / "link").symlink_to(folder / "secret.key")
        (self.inputs / "hostile.py").write_text(HOSTILE.read_text())
        self.listeners = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
        self.abstract = f"lilong-test-{os.getpid()}"
        self.listeners[1].bind("\0" + self.abstract)
        here = os.getcwd()
        os.chdir(folder)  # the whole path may be longer than a socket's name can be
        self.listeners[2].bind("s")
        os.chdir(here)
        for listener in self.listeners:
            listener.listen()
            threading.Thread(target=self._greet, args=(listener,), daemon=True).start()
        self.shared_memory = 0x11110000 + os.getpid() % 4096
        self.segment = ctypes.CDLL(None).shmget(self.shared_memory, 16, 0o1666)
        self.bystander = subprocess.Popen(["/bin/sleep", "300"], env={"SECRET": self.token})

    @staticmethod
    def _greet(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.sendall(b"come in")
            connection.close()

    def facts(self, inputs: str, out: str, only: Sequence[str]) -> str:
        return json.dumps(
            {
                "secret": str(self.folder / "secret.key"), "other": str(self.folder / "jobs/other/text"), "house": str(self.folder),
                "in": inputs, "out": out, "home": str(Path.home()), "home_names": os.listdir(Path.home()),
                "package": str(Path(lilong.__file__).parent), "token": self.token, "pid": self.bystander.pid,
                "port": self.listeners[0].getsockname()[1], "abstract": self.abstract, "unix": str(self.folder / "s"),
                "shared_memory": self.shared_memory, "only": only,
            }
        )  # fmt: skip

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()
        ctypes.CDLL(None).shmctl(self.segment, 0, None)
        self.bystander.kill()
        self.bystander.wait()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    os.environ["LILONG_TEST_SECRET"] = "a-secret-of-the-caller-4711"
    house = House(tmp_path_factory.mktemp("house"))
    yield house
    house.close()
    del os.environ["LILONG_TEST_SECRET"]


def attack(house: House, level: Level, only: Sequence[str] = ()) -> dict[str, str]:
    inside = level is Level.BUBBLEWRAP
    inputs, out = ("/job/in", "/job/out") if inside else (str(house.inputs), str(house.out))
    told = sandbox.run(
        sandbox.at_level(
            Sandbox(
                argv=(sys.executable, "-I", f"{inputs}/hostile.py", house.facts(inputs, out, only)),
                binds=(Bind(house.inputs, inputs), Bind(house.out, out, writable=True)),
                cwd=out,
                limits=Limits(processes=64, file_bytes=4 * MIB, tmp_bytes=8 * MIB),
            ),
            level,
        ),
        timeout=60,
    )
    assert told.code == 0, told.output.decode()
    found: dict[str, str] = json.loads(told.output.decode().splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def told(house: House) -> dict[str, str]:
    return attack(house, Level.BUBBLEWRAP)


@needs_bubblewrap
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_program_in_bubblewrap_never(attempt: str, told: dict[str, str]) -> None:
    assert told[attempt].startswith("kept in"), told[attempt]


@needs_bubblewrap
def test_the_attempts_are_real_for_without_a_sandbox_many_succeed(house: House) -> None:
    # only harmless ones: as root the others would succeed on this very machine
    must = ("reads_the_houses_secret", "reaches_a_service_on_the_hosts_loopback", "finds_a_secret_in_some_environment",
            "reaches_an_abstract_socket_of_the_host", "kills_a_host_process", "writes_its_input")  # fmt: skip
    bare = attack(house, Level.NONE, must)
    assert [name for name in must if not bare[name].startswith("ESCAPED")] == []


@needs_landlock
def test_landlock_keeps_files_and_the_network_closed(house: House) -> None:
    must = ("reads_the_houses_secret", "reads_another_jobs_folder", "writes_its_input", "writes_the_system", "reads_the_password_hashes",
            "reaches_a_service_on_the_hosts_loopback", "finds_a_secret_in_some_environment", "opens_a_socket_to_the_hypervisor",
            "makes_a_user_namespace", "puts_a_key_in_the_keyring", "follows_a_link_laid_in_its_input",
            "writes_the_python_installation", "sets_the_core_pattern")  # fmt: skip
    found = attack(house, Level.LANDLOCK, must)
    assert {name: found[name] for name in must if not found[name].startswith("kept in")} == {}


@needs_bubblewrap
def test_root_on_the_host_is_nobody_inside() -> None:
    finished = sandbox.run(sandbox.at_level(Sandbox(("/usr/bin/id", "-u")), Level.BUBBLEWRAP), timeout=20)
    assert finished.output.strip() == b"65534"


@needs_bubblewrap
def test_a_job_sees_only_the_environment_it_was_given() -> None:
    finished = sandbox.run(sandbox.at_level(Sandbox(("/usr/bin/env",), env={"A": "1"}), Level.BUBBLEWRAP), timeout=20)
    assert {line.split("=")[0] for line in finished.output.decode().split()} <= {"A", "PWD"}


@needs_bubblewrap
def test_the_package_and_its_python_work_inside() -> None:
    source = str(Path(lilong.__file__).parents[1])
    program = (sys.executable, "-c", "import lilong.ground.work; print('works')")
    finished = sandbox.run(sandbox.at_level(Sandbox(program, env={"PYTHONPATH": source}), Level.BUBBLEWRAP), timeout=60)
    assert finished.output.strip() == b"works"


@needs_bubblewrap
def test_a_program_that_is_not_there_is_reported() -> None:
    finished = sandbox.run(sandbox.at_level(Sandbox(("/usr/bin/not-there",)), Level.BUBBLEWRAP), timeout=20)
    assert finished.code != 0
    assert b"not-there" in finished.output


@needs_bubblewrap
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_fork_bomb_of_an_ordinary_user_stops_at_the_process_limit(tmp_path: Path) -> None:
    bomb = "n=0; while [ $n -lt 200 ]; do sleep 5 & n=$((n+1)); done; echo all started"
    plan = sandbox.bubblewrap.launch(Sandbox(("/bin/sh", "-c", bomb), limits=Limits(processes=32)), ())
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from lilong.ground.sandbox.levels import Launch;"
        "from lilong.ground.sandbox.start import start; import subprocess;"
        "s = start(Launch.from_json(json.load(sys.stdin)), sys.stdout); s.process.wait(20)"
    )
    copy = tmp_path / "lilong"
    subprocess.run(["cp", "-r", str(Path(lilong.__file__).parent), str(copy)], check=True)
    finished = subprocess.run(
        ["/usr/bin/setpriv", "--reuid=61234", "--regid=61234", "--clear-groups", "/usr/bin/python3", "-c", script, _open_to_all(copy)],
        input=json.dumps(plan.to_json()).encode(), capture_output=True, timeout=30, check=False, cwd="/",
    )  # fmt: skip
    if b"No module named" in finished.stderr or (b"Permission denied" in finished.stderr and b"python" in finished.stderr):
        pytest.skip("no system Python that an ordinary user can run")
    assert b"all started" not in finished.stdout
    assert b"ork" in finished.stdout + finished.stderr, finished  # "Cannot fork"


def _open_to_all(package: Path) -> str:
    at = package
    while at.stat().st_uid == os.getuid() and at != Path("/") and len(at.parts) > 2:
        at.chmod(at.stat().st_mode | 0o055)
        at = at.parent
    return str(package.parent)


def test_a_promised_level_that_is_missing_refuses_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "problem_with", lambda level: None if level is Level.NONE else "the program `bwrap` is not installed")
    with pytest.raises(LevelMissing, match=r"bwrap.*apt-get install bubblewrap"):
        sandbox.launch(Sandbox(("/bin/true",)), floor=Level.BUBBLEWRAP)


def test_without_a_promise_the_level_in_force_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "problem_with", lambda level: None if level is Level.NONE else "not here")
    assert sandbox.launch(Sandbox(("/bin/true",)), floor=Level.NONE).level == "none"


def test_a_launch_survives_json() -> None:
    plan = sandbox.launch(Sandbox(("/bin/true",), limits=Limits(memory_bytes=5)), floor=Level.NONE)
    assert Launch.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_on_macos_the_level_is_none_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert sandbox.problem_with.__wrapped__(Level.NONE) is None
    for level in (Level.LANDLOCK, Level.BUBBLEWRAP):
        assert sandbox.problem_with.__wrapped__(level) == "it needs Linux, and this is darwin"


def test_gvisor_is_not_claimed() -> None:
    assert Level.GVISOR not in sandbox.available()


# --- the collector ---------------------------------------------------------------------------------------------------------


def test_regular_files_are_collected_in_order_of_their_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_text("12")
    (tmp_path / "a").write_text("1")
    assert [(str(left.path), left.size) for left in sandbox.collect(tmp_path)] == [("a", 1), ("b/c", 2)]


@pytest.mark.parametrize("kind", ["link", "link to a folder", "fifo", "socket", "hard link"])
def test_anything_but_regular_files_is_refused(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "secret").write_text("key")
    trap = out / "trap"
    if kind == "link":
        trap.symlink_to(tmp_path / "secret")
    elif kind == "link to a folder":
        trap.symlink_to(tmp_path)
    elif kind == "fifo":
        os.mkfifo(trap)
    elif kind == "hard link":
        os.link(tmp_path / "secret", trap)
    else:
        here = os.getcwd()
        os.chdir(out)
        socket.socket(socket.AF_UNIX).bind("trap")
        os.chdir(here)
    with pytest.raises(OutputRefused, match="trap"):
        sandbox.collect(out)


def test_a_file_swapped_for_a_link_after_the_listing_is_not_followed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    (out / "a" / "text").write_text("mine")
    (tmp_path / "text").write_text("key")
    (found,) = sandbox.collect(out)
    (out / "a" / "text").unlink()
    (out / "a" / "text").symlink_to(tmp_path / "text")
    with pytest.raises(OSError, match="symbolic"), sandbox.opened(out, found.path):
        pass


def test_a_folder_swapped_for_a_link_after_the_listing_is_not_followed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "text").write_text("key")
    (out / "a").symlink_to(tmp_path)
    with pytest.raises(OSError), sandbox.opened(out, PurePosixPath("a/text")):
        pass


@pytest.mark.parametrize("caps", [Caps(files=2), Caps(bytes=2), Caps(depth=1)])
def test_the_caps_on_count_size_and_depth_hold(caps: Caps, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("1")
    (tmp_path / "d" / "e" / "f").mkdir(parents=True)
    with pytest.raises(OutputRefused):
        sandbox.collect(tmp_path, caps)
