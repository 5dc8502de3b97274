"""Houses to test in: one opened in this process, one served by a real server process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lilong.app import open_house_with_floors
from lilong.client import Client, HttpTransport, read_secret
from lilong.ground import logs
from lilong.ground.access import SYSTEM
from lilong.ground.chores import deliver
from lilong.ground.config import load
from lilong.ground.house import House
from lilong.ground.presence import running
from tests import postgres as postgres_server
from tests.chain.small import Demo, small_chain

ORGANISATION = "lantern-works"


FINISHED_CHAIN = ("tests/chain/test_demo.py", "tests/console/test_pages.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run side by side, those of one file stay together, and so do all that look at the one finished chain."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return FINISHED_CHAIN[0] if file in FINISHED_CHAIN else file

    return Together(config, log)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    if postgres_server.programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres_server.cluster() as sockets:
        yield sockets


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of each kind: what runs on it must behave the same on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return postgres_server.new_database(request.getfixturevalue("postgres"))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An open house with all floors, one organisation and one member of it (`mei`); nothing runs in the background."""
    opened = open_house_with_floors(load(tmp_path / "house", environment={}))
    opened.db.write(lambda tx: furnish(opened, tx))
    yield opened
    opened.close()


def furnish(house: House, tx: object) -> None:
    house.access.add_organisation(tx, SYSTEM, ORGANISATION, "Lantern Works")  # type: ignore[arg-type]
    house.access.add_user(tx, SYSTEM, "mei", "Mei")  # type: ignore[arg-type]
    house.access.grant(tx, SYSTEM, "mei", "owner", ORGANISATION)  # type: ignore[arg-type]


def deliver_all(house: House) -> int:
    """Hand every waiting event to its subscribers, until none is left; how many there were."""
    total = 0
    while handed := sum(deliver(house, subscription) for subscription in house.subscriptions):
        total += handed
    return total


@dataclass
class LiveServer:
    """A real server process that tests may kill and start again."""

    folder: Path
    options: tuple[str, ...] = ()
    url: str = ""
    process: subprocess.Popen[bytes] | None = None
    clients: list[Client] = field(default_factory=list)

    def start(self) -> LiveServer:
        self.folder.mkdir(parents=True, exist_ok=True)
        log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        port = () if "--port" in self.options else ("--port", "0")
        argv = [sys.executable, "-m", "lilong.cli", "up", "--house", str(self.folder), *port, *self.options]
        self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        for _ in range(1200):
            server = running(self.folder)
            if server is not None and server.pid == self.process.pid:
                self.url = server.url
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError((self.folder.parent / f"{self.folder.name}.log").read_text()[-3000:])

    @property
    def operator_token(self) -> str:
        return read_secret(self.folder / "keys" / "operator.token")

    @property
    def client(self) -> Client:
        """A client of the operator's, on a connection of its own."""
        return self.client_of(self.operator_token)

    def client_of(self, token: str | None) -> Client:
        made = Client(HttpTransport(self.url), token)
        self.clients.append(made)
        return made

    def kill_9(self) -> LiveServer:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        return self

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path / "house").start()
    yield server
    server.stop()


@dataclass(frozen=True)
class FinishedDemo:
    """A house in which the whole chain was carried out, with a server on it."""

    server: LiveServer
    said: str  # what the last run of the demo printed
    outputs: dict[str, dict[str, Any]]  # of each step
    mei: str  # her token


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedDemo]:
    """The demo, killed with `kill -9` at three different steps and started again each time."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "chain.toml").write_text(small_chain())
    run = Demo(folder / "house", folder / "chain.toml")
    run.kill_9_during("corpus", after=1.5)
    run.kill_9_during("training", after=6.0)
    run.kill_9_during("evaluation", after=3.0)
    said = run.finish()
    server = LiveServer(run.house).start()
    steps = server.client.get("/api/chains/lantern-works/first-chain")["steps"]
    yield FinishedDemo(server, said, {step["name"]: step["outputs"] for step in steps}, read_secret(run.house / "run" / "mei.token"))
    server.stop()


logs.configure("critical")


@pytest.fixture(autouse=True)
def quiet_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads at most in each numeric library: tests share the machine."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "2"))
