"""A real Ray cluster of two nodes on this machine: its head with the dashboard, and a worker; free ports, and gone with the tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HEAD = {"gpu_h20": 4}
WORKER = {"gpu_h20": 4}
PATIENCE_S = 120.0


@dataclass
class RayCluster:
    folder: Path
    port: int
    gcs: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_head(self, token: str = "") -> None:
        ports = _free_ports(3)
        self._start(
            ["--head", f"--port={self.gcs}", "--dashboard-host=127.0.0.1", f"--dashboard-port={self.port}", "--include-dashboard=true",
             f"--dashboard-agent-listen-port={ports[0]}", f"--ray-client-server-port={ports[1]}", "--num-cpus=8", f"--temp-dir={self.folder}"],
            HEAD, token,
        )  # fmt: skip
        self._until(lambda: bool(self.get("/api/version", token)))

    def start_worker(self) -> None:
        self._start([f"--address=127.0.0.1:{self.gcs}", "--num-cpus=8"], WORKER, "")
        self._until(lambda: self.get("/api/v0/nodes")["data"]["result"]["num_after_truncation"] == 2)

    def _start(self, options: list[str], resources: dict[str, int], token: str) -> None:
        command = [
            str(Path(sys.executable).with_name("ray")), "start", *options, f"--resources={json.dumps(resources)}", "--memory=8000000000",
            "--object-store-memory=80000000", "--disable-usage-stats", "--include-log-monitor=false", "--block",
        ]  # fmt: skip
        env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(self.folder), "RAY_USAGE_STATS_ENABLED": "0"}
        if token:
            (self.folder / "token").write_text(token)
            (self.folder / "token").chmod(0o600)
            env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "token")}
        with (self.folder / "start.log").open("ab") as log:
            self.processes.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True))

    def get(self, path: str, token: str = "") -> Any:
        request = urllib.request.Request(self.url + path, headers={"authorization": f"Bearer {token}"} if token else {})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def jobs(self) -> list[dict[str, Any]]:
        return [job for job in self.get("/api/jobs/") if job["type"] == "SUBMISSION"]

    def _until(self, good: Any) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                if good():
                    return
            except (OSError, urllib.error.URLError, KeyError, TypeError):
                pass
            if time.monotonic() > end:
                raise AssertionError((self.folder / "start.log").read_text())
            time.sleep(0.1)

    def stop(self) -> None:
        """End all of it at once, as a power cut does, and wait until the ports are free."""
        import psutil

        trees = []
        for process in self.processes:
            try:
                trees += [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
            except psutil.NoSuchProcess:
                continue
        mine = str(self.folder)
        for process in psutil.process_iter():
            try:
                if process not in trees and any(mine in word for word in process.cmdline()):
                    trees.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        for process in trees:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(trees, timeout=30)
        for process in self.processes:
            process.wait()
        self.processes.clear()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def cluster() -> Iterator[RayCluster]:
    """An address that is free, and nothing there yet."""
    pytest.importorskip("ray")
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # Ray's sockets need a short path
    made = RayCluster(folder, *_free_ports(2))
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    with cluster() as made:
        made.start_head()
        made.start_worker()
        yield made
