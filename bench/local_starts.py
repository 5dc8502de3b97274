"""Starts of trivial jobs a second on the local site, from `submit` to the word of how it ended, and what each costs in CPU time.

    python bench/local_starts.py [--folder DIR] [--jobs 400] [--levels none,landlock,bubblewrap] [--rounds 3] [--json]

Every job is `/usr/bin/true` with a run folder, a lock, a supervisor, limits, a durable word that it began and one of how it ended. Beside
it, on the same machine in turns: the same with a fresh interpreter for each supervisor (what a site without a starter does), and bare
`subprocess.Popen` of the same program, which promises nothing. Submits come from four threads, as the dispatcher's do.

With `--house`, end to end: through a house's queue, from the submit in batches (durable before it is answered) over decisions, the outbox and
the local site to the job's settled row, its events and its emptied folders. Its one node says that it has more cores than the machine,
so that enough programs that do nothing are under way at once; `options.level = "none"` in its settings takes the sandbox away.

CPU time is that of this process and of all that it starts, from a control group where one can be made, else that of the whole machine
meanwhile (the output says which). On a busy machine compare CPU times, not rates: `cpu_bound_rate` is what the cores' CPU time would pay for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import platform
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from lilong.floors.compute import service, store
from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.compute.backends.spawning import Spawner
from lilong.floors.compute.contract import Capacity, JobAsk, Phase, Task
from lilong.floors.compute.store import settings
from lilong.floors.compute.work import Dispatcher
from lilong.floors.compute.work.sites import Sites
from lilong.ground.access import SYSTEM
from lilong.ground.blobs import LocalBlobs
from lilong.ground.config import load
from lilong.ground.house import House, open_house
from lilong.ground.migrations import migrate
from lilong.ground.sandbox import Level, available
from lilong.ground.seams import stamp
from lilong.operations.serve import settle_memory

TRUE = "/usr/bin/true"
CORES = 64  # that the node says it has
WARM = 150
BATCH = 100  # jobs of an array, submitted at once
GROUP = Path("/sys/fs/cgroup/cpuacct")


@dataclass(frozen=True, slots=True)
class Measured:
    rate: float  # jobs a second, submitted to ended
    cpu_ms: float  # of one job, all processes together
    house_cpu_ms: float  # of one job, this process alone
    cpu_bound_rate: float  # jobs a second that the machine's cores could start if they did nothing else


Case = Callable[[Path, int, Callable[[], float]], Measured]


@contextlib.contextmanager
def meter() -> Iterator[tuple[str, Callable[[], float]]]:
    """(what is counted, seconds of CPU time so far)."""
    own = GROUP / f"lilong-bench-{os.getpid()}"
    try:
        own.mkdir()
        (own / "cgroup.procs").write_text("0")
    except OSError:
        yield "the whole machine", lambda: sum(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:4])) / 100
        return
    try:
        yield "this process and what it started", lambda: int((own / "cpuacct.usage").read_text()) / 1e9
    finally:
        (GROUP / "cgroup.procs").write_text("0")
        for pid in (own / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (GROUP / "cgroup.procs").write_text(pid)
        own.rmdir()


def site_starts(folder: Path, level: Level, jobs: int, cpu: Callable[[], float], *, starter: bool) -> Measured:
    site = LocalSite(folder / "jobs", LocalBlobs(folder / "blobs"), Capacity(2, 4096), level=level)
    if not starter:
        site._spawner = _Fresh()
    task = Task((TRUE,), memory_mib=64)
    site.submit("job-warm.1", task)
    while site.find("job-warm.1").phase is not Phase.FINISHED:
        time.sleep(0.01)
    cursor = site.watch("").cursor
    left = {f"job-{number}.1" for number in range(jobs)}

    def work() -> None:
        nonlocal cursor
        with ThreadPoolExecutor(4) as pool:
            waiting = pool.map(lambda token: site.submit(token, task), sorted(left))
            while left:
                watched = site.watch(cursor)
                cursor = watched.cursor
                left.difference_update(token for token, sight in watched.sights.items() if sight.phase is Phase.FINISHED)
                time.sleep(0.02)
            list(waiting)

    try:
        return measured(work, jobs, cpu)
    finally:
        site.stop()


class _Fresh(Spawner):
    def _begun(self) -> socket.socket:
        raise OSError("no starter, to compare")


def house_starts(folder: Path, level: Level, jobs: int, cpu: Callable[[], float]) -> Measured:
    house = made(folder, level)
    sites, dispatcher = house.port(Sites), house.port(Dispatcher)
    ask = JobAsk("bench.start", "lantern-works", (TRUE,), memory_mib=16)

    submitted = 0

    def submit(many: int) -> None:
        nonlocal submitted
        submitted += many
        for first in range(0, many, BATCH):
            array = replace(ask, array=f"0-{min(BATCH, many - first) - 1}")
            house.db.write(lambda tx, array=array: service.port(house).submit(tx, SYSTEM, array))

    def left() -> bool:
        return house.db.read(lambda tx: store.counts(tx).get("succeeded", 0) < submitted or bool(store.untidied(tx)))

    def work() -> None:
        submit(jobs)
        while left():
            time.sleep(0.05)

    sites.refresh()
    dispatcher.start()
    settle_memory()
    for _ in range(2):  # what is loaded once, and the first supervisors; twice, since decisions are compiled meanwhile
        submit(WARM)
        while left() or dispatcher.warming:
            time.sleep(0.05)
    try:
        found = measured(work, jobs, cpu)
        ended = house.db.read(store.counts)
        if ended.get("succeeded") != jobs + 2 * WARM:
            raise RuntimeError(f"not all succeeded: {ended}")
        return found
    finally:
        dispatcher.stop()
        house.close()


def made(folder: Path, level: Level) -> House:
    house = open_house(load(folder, {"cpus": CORES, "memory_mib": 65536}, environment={}))
    migrate(house.db, [("ground", "lilong.ground"), ("compute", "lilong.floors.compute")], house.clock)
    toml = f'[sites.local]\noptions = {{ level = "{level.word}" }}'
    house.db.write(lambda tx: house.access.add_organisation(tx, SYSTEM, "lantern-works", "Lantern Works"))
    house.db.write(lambda tx: settings.add_version(tx, 1, toml, "olga", stamp(house.clock.now())))
    service.start(house)
    return house


def bare_starts(jobs: int, cpu: Callable[[], float]) -> Measured:
    def work() -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: subprocess.Popen([TRUE], stdin=subprocess.DEVNULL).wait(), range(jobs)))

    return measured(work, jobs, cpu)


def measured(work: Callable[[], None], jobs: int, cpu: Callable[[], float]) -> Measured:
    began, used, own = time.perf_counter(), cpu(), time.process_time()
    work()
    seconds, each = time.perf_counter() - began, (cpu() - used) / jobs
    return Measured(
        round(jobs / seconds, 1),
        round(1e3 * each, 2),
        round(1e3 * (time.process_time() - own) / jobs, 2),
        round((os.cpu_count() or 1) / each, 1),
    )


def cases(levels: list[Level], *, house: bool) -> dict[str, Case]:
    found: dict[str, Case] = {}
    for level in levels:
        if house:
            found[f"house, {level.word}"] = lambda folder, jobs, cpu, level=level: house_starts(folder, level, jobs, cpu)
        else:
            found[f"local, {level.word}"] = lambda folder, jobs, cpu, level=level: site_starts(folder, level, jobs, cpu, starter=True)
    if not house:
        found["local, none, no starter"] = lambda folder, jobs, cpu: site_starts(
            folder, Level.NONE, max(10, jobs // 10), cpu, starter=False
        )
    return {**found, "bare Popen": lambda folder, jobs, cpu: bare_starts(jobs, cpu)}


def middle(rounds: list[Measured]) -> Measured:
    """The round of the median CPU time."""
    return next(one for one in rounds if one.cpu_ms == statistics.median_low([each.cpu_ms for each in rounds]))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, help="where run folders lie; the default is the temporary folder")
    options.add_argument("--jobs", type=int, default=400)
    options.add_argument("--levels", default="none,landlock,bubblewrap")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--house", action="store_true", help="end to end through a house, beside bare Popen")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    levels = [Level.parse(word) for word in given.levels.split(",") if Level.parse(word) in available()]
    found: dict[str, list[Measured]] = {}
    with meter() as (counted, cpu):
        for _ in range(given.rounds):
            for name, case in cases(levels, house=given.house).items():
                with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                    found.setdefault(name, []).append(case(Path(folder), given.jobs, cpu))
    told = {name: asdict(middle(rounds)) for name, rounds in found.items()}
    if given.json:
        print(
            json.dumps(
                {"machine": platform.machine(), "cores": os.cpu_count(), "cpu_time_of": counted, "load": os.getloadavg(), "cases": told},
                indent=1,
            )
        )
        return
    print(
        f"CPU time of {counted}; {os.cpu_count()} cores; median of {given.rounds} rounds of {given.jobs} jobs; load {os.getloadavg()[0]:.1f}"
    )
    for name, one in told.items():
        print(
            f"{name:26} {one['rate']:8.1f}/s  {one['cpu_ms']:7.2f} ms CPU a job  {one['house_cpu_ms']:6.2f} in the house  {one['cpu_bound_rate']:8.1f}/s by CPU"
        )


if __name__ == "__main__":
    main()
