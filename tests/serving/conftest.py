from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lilong.floors.serving.contract import Deployment, Key, Snapshot
from lilong.floors.serving.gateway import snapshots
from lilong.floors.serving.gateway.segments import SegmentReader

TOKEN = "lilong-test-token"
REVISION = "sha256:" + "5" * 64


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def started(*argv: str) -> tuple[subprocess.Popen[str], str]:
    """A program of ours, once it has said that it is ready, and what it said after 'ready'."""
    process = subprocess.Popen([sys.executable, *argv], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready"):
            return process, line[5:].strip()
    raise AssertionError(f"it ended with {process.wait()} before it was ready")


@dataclass
class LiveGateway:
    """A real gateway process over a real snapshot file."""

    folder: Path
    snapshot: Snapshot
    process: subprocess.Popen[str] | None = None
    port: int = 0
    upstreams: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> LiveGateway:
        self.publish()
        module = "lilong.floors.serving.gateway.process"
        self.process, port = started("-m", module, "--folder", str(self.folder / "meter"), "--snapshot", str(self.folder / "snapshot.json"))
        self.port = int(port)
        return self

    def publish(self, **changes: object) -> None:
        self.snapshot = replace(self.snapshot, **changes)  # type: ignore[arg-type]
        snapshots.save(self.folder / "snapshot.json", self.snapshot)

    def kill_9(self) -> LiveGateway:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        return self

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    @property
    def receipts(self) -> SegmentReader:
        return SegmentReader(self.folder / "meter")


def deployment(upstream: str, model: str = "stub", **more: object) -> Deployment:
    given = {
        "id": "dep-1",
        "model": model,
        "upstream": upstream,
        "revision": REVISION,
        "organisation": "org-1",
        "repository": "hall/stub",
        "commit": "c" * 40,
    }
    return Deployment(**{**given, "statement": "st-1", "parallel": 200, **more})  # type: ignore[arg-type]


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[str]:
    """The address of a scripted model server on a Unix socket."""
    socket = tmp_path / "stub.sock"
    process, _ = started(str(Path(__file__).with_name("upstream_stub.py")), "--socket", str(socket))
    yield f"unix:{socket}"
    process.kill()
    process.wait()


@pytest.fixture
def gateway(tmp_path: Path, stub: str) -> Iterator[LiveGateway]:
    snapshot = Snapshot(keys={hashed(TOKEN): Key("ada", "tok-1", ("org-1",))}, deployments={"stub": deployment(stub)})
    live = LiveGateway(tmp_path, snapshot).start()
    yield live
    live.stop()


def until(happened: object, seconds: float = 10.0) -> None:
    """Wait for `happened()` to be true."""
    end = time.monotonic() + seconds
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
