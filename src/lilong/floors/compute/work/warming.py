"""Compiled decisions without the wait: another process compiles them, while this one goes on deciding plainly.

Compiling takes half a minute or more, once on a machine for each policy and release; what was compiled is kept in numba's cache, and loading
it takes half a second. The plans are the same either way (see scheduler.compiled).

`python -m lilong.floors.compute.work.warming POLICY` decides once about a little of everything, and leaves the cache behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import structlog

import lilong
from lilong.floors.compute.scheduler.snapshot import SnapJob, SnapNode, Snapshot, SnapTenant, Way
from lilong.ground import seams

log = structlog.get_logger("lilong.compute")

_SMALL = 64
"""Nodes and jobs together up to which deciding plainly is quick: such a house does without what compiled decisions take of memory."""
_VARIABLE = "NUMBA_CACHE_DIR"


class Warming:
    """`cache`: a folder for what was compiled, where the installed package's own cannot be written."""

    def __init__(self, cache: Path) -> None:
        if not os.access(Path(lilong.__file__).parent, os.W_OK):
            os.environ.setdefault(_VARIABLE, str(cache))  # before numba is loaded, which reads it then
        self._child: tuple[str, subprocess.Popen[bytes]] | None = None
        self._warm: dict[str, bool] = {}

    def compiled(self, snapshot: Snapshot) -> bool:
        """Whether to decide this compiled. Where that would be quicker and nothing is compiled yet, it is begun."""
        if len(snapshot.nodes) + len(snapshot.jobs) <= _SMALL:
            return False
        self._look()
        if snapshot.policy not in self._warm and self._child is None:
            self._begin(snapshot.policy)
        return self._warm.get(snapshot.policy, False)

    @property
    def busy(self) -> bool:
        self._look()
        return self._child is not None

    def _begin(self, policy: str) -> None:
        if find_spec("numba") is None:
            self._warm[policy] = False
            return
        names = ("PATH", "HOME", "XDG_CACHE_HOME", "LANG", "LD_LIBRARY_PATH", "LILONG_PLAIN_KERNELS", _VARIABLE)
        env = {name: os.environ[name] for name in names if name in os.environ}
        env["PYTHONPATH"] = str(Path(lilong.__file__).parents[1])
        argv = ["nice", sys.executable, "-m", "lilong.floors.compute.work.warming", policy]
        try:
            self._child = policy, seams.start(argv, cwd=Path("/"), env=env)
        except OSError as problem:
            self._warm[policy] = False
            log.warning("decisions are not compiled", policy=policy, problem=str(problem))

    def _look(self) -> None:
        if self._child is None:
            return
        policy, process = self._child
        status = process.poll()
        if status is None:
            return
        self._close()
        self._warm[policy] = status == 0
        if status:
            log.warning("decisions are not compiled", policy=policy, status=status)

    def stop(self) -> None:
        if self._child is not None:
            self._child[1].kill()
            self._close()

    def _close(self) -> None:
        assert self._child is not None
        process, self._child = self._child[1], None
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def sample(policy: str) -> Snapshot:
    """A little of everything that a snapshot may hold, so that deciding about it goes through every kernel that the policy calls."""
    devices = tuple(SnapNode(f"a/n{at}", "a", "h20", 8, 64000, 1 << 19, {"rack": f"r{at % 2}"}) for at in range(2))
    nodes = (*devices, SnapNode("b/m", "b", cpu=8000, memory=1 << 18, foreign=(4000, 1024, 0), closes=20_000))
    whole, part = Way("a", "h20", 2, cpu=4000, memory=4096, tasks=2, near="rack"), Way("a", "h20", 1, 300, cpu=1000, memory=1024)
    cores = Way("b", cpu=1000, memory=512, limit=600, price=5)
    tenants = (
        SnapTenant("city", nominal={"h20": 16000}, borrow={"h20": 4000}, lend={"h20": 4000}, used={"h20": 1000}, used_at=900),
        SnapTenant("lantern-works", "city", nominal={"h20": 8000}),
        SnapTenant("harbour-lab", "city", nominal={"h20": 8000}),
    )
    running = [
        SnapJob(
            f"run-{at}", "lantern-works", 500, (whole,), at, user="mei", preemptible=True, checkpoint=60, predicted=50, started=900,
            places=(("a/n0", 3 << 4 * at), ("a/n1", 3 << 4 * at)),
        )
        for at in range(2)
    ]  # fmt: skip
    running.append(SnapJob("run-part", "harbour-lab", 500, (part,), 3, started=950, places=(("a/n1", 4),)))
    waiting = [
        SnapJob(f"job-{at}", ("lantern-works", "harbour-lab")[at % 2], 900 + at, ((whole, part), (part,), (cores,), (cores, part))[at % 4], 10 + at, at % 3, user="tom")
        for at in range(24)
    ]  # fmt: skip
    return Snapshot(1000, policy, 1, ("rack",), 3600, nodes, tenants, (*running, *waiting))


def main(policy: str) -> None:
    from lilong.floors.compute.scheduler.by_name import decide

    decide(sample(policy), compiled=True)


if __name__ == "__main__":
    main(sys.argv[1])
