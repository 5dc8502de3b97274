"""The Ray cluster: reached, and its nodes asked whether they can do this run together."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lilong.floors.corpus.curation.runs import durable
from lilong.ground.errors import BadInput, Refused, Unavailable

_ANSWER_S = 10.0


class RayMissing(Unavailable):
    """Ray Data is not available: {problem}. Install it on this machine and on every node: pip install 'lilong[corpus,ray]'."""


class NoCluster(Unavailable):
    """No Ray cluster answers at {address}: {problem}. Start one with `ray start --head`, or give its host:port; without --ray-address, one is started on this machine for the run."""


class BadAddress(BadInput):
    """The Ray address '{address}' cannot be used: {problem}. Run this command on a node of the cluster and give the head's host:port (6379 unless it was started otherwise)."""


class NotShared(Refused):
    """The node {node} of the Ray cluster does not see {path}. Inputs and --out must be in folders that all nodes mount at the same place."""


class OtherNode(Refused):
    """The node {node} of the Ray cluster cannot work on this run: {problem}. Install the same versions on every node."""


@contextmanager
def reached(address: str | None, workers: int) -> Iterator[Any]:
    """Ray, connected: to the cluster at `address`, else to one of `workers` processors that is started here and ends with the run. A
    program that is connected already stays so. Raises RayMissing, BadAddress, NoCluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_TQDM_PATCH_PRINT", "0")  # the caller's `print` stays Python's own
    try:
        ray = import_module("ray")
        import_module("ray.data")
    except ImportError as problem:
        raise RayMissing(problem=problem) from None
    if ray.is_initialized():
        yield ray
        return
    if address:
        _answers(address)
    how: dict[str, Any] = {"address": address} if address else {"address": "local", "num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(**how, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as problem:  # a start that takes too long is a bare Exception
        raise NoCluster(address=address or "this machine", problem=_short(problem)) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    if "://" in address:
        raise BadAddress(address=address, problem="it is not host:port")
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise BadAddress(address=address, problem="it is not host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except OSError as problem:
        raise NoCluster(address=address, problem=problem.strerror or problem) from None


def check(ray: Any, out: Path, models: Sequence[Path], inputs: Sequence[Path]) -> int:
    """Every node has this engine and sees the output folder, the models and the inputs (a few are looked for); answers how many nodes there are.
    Raises OtherNode, NotShared."""
    from lilong.floors.corpus.curation.runs.engine import code_digest

    probe = out / f".part-seen-by-all-{os.getpid()}"
    durable.write(probe, lambda file: file.write(probe.name.encode()))
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        strategy = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        remote = ray.remote(num_cpus=0, max_retries=0)(look)
        some = inputs[:: max(1, len(inputs) // 8)]
        asked = [remote.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote(probe, [*models, *some]) for node in nodes]
        mine = {"lilong's engine": code_digest(), **versions()}
        for node, answer in zip(nodes, asked, strict=True):
            _agree(ray, f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", answer, mine)
    finally:
        probe.unlink(missing_ok=True)
    return len(nodes)


def _agree(ray: Any, name: str, answer: Any, mine: dict[str, str]) -> None:
    try:
        theirs, unseen = ray.get(answer)
    except Exception as problem:  # whatever keeps a node from answering is told as it is
        raise OtherNode(node=name, problem=_short(problem)) from None
    if unseen:
        raise NotShared(node=name, path=unseen)
    for what, value in mine.items():
        if theirs[what] != value:
            raise OtherNode(node=name, problem=f"{what} is {theirs[what]} there and {value} here")


def versions() -> dict[str, str]:
    """What a table's bytes depend on besides the engine's code."""
    return {name: version(name) for name in ("numpy", "pyarrow")}


def look(probe: Path, inputs: Sequence[Path]) -> tuple[dict[str, str], str]:
    """On a node: its versions, and what it does not see ('' where it sees all)."""
    from lilong.floors.corpus.curation.runs.engine import code_digest

    unseen = "" if probe.is_file() and probe.read_bytes() == probe.name.encode() else str(probe.parent)
    unseen = unseen or next((str(path) for path in inputs if not path.exists()), "")
    return {"lilong's engine": code_digest(), **versions()}, unseen


def _short(problem: BaseException) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()] or [type(problem).__name__]
    return lines[-1][:300]
