"""What `job why` says in words, submitted as it is worded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from tests.compute.snapshots import houses, node, snapshot, way

from lilong.floors.compute.contract import JobAsk, Layout, Mode
from lilong.floors.compute.rules import settings as declared
from lilong.floors.compute.rules.asking import layouts
from lilong.floors.compute.rules.counterfactuals import Change
from lilong.floors.compute.rules.ways import Place, elsewhere, ways
from lilong.floors.compute.scheduler.compiled import plainly
from lilong.floors.compute.scheduler.opening import decided
from lilong.floors.compute.scheduler.snapshot import SnapJob, Snapshot
from lilong.floors.compute.scheduler.supposing import Supposing, after

SETTINGS = declared.read(
    "[classes.h20]\nprice = 10.0\n[classes.910b]\nprice = 6.0\n[classes.cpu]\nprice = 0.1\n"
    '[sites.pudong]\ndriver = "slurm"\n[sites.lingang]\ndriver = "slurm"\ntariff = 1.0\n'
)
SPEEDS = {("tide", "h20"): 3.0, ("tide", "910b"): 2.0}
POLICIES = ("easy", "fifo", "drf-tree", "drf-tree", "fgd", "sjf", "conservative")
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
MINE = "job-mine"


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    with plainly():
        yield


def places(found: Snapshot) -> list[Place]:
    here: dict[str, dict[tuple[str, int, int, int], int]] = {}
    for one in found.nodes:
        kind = (one.accelerator, one.devices, one.memory, one.cpu // 1000)
        here.setdefault(one.site, {})[kind] = here.setdefault(one.site, {}).get(kind, 0) + 1
    return [Place(name, Mode.OWNED, nodes) for name, nodes in here.items()]


def waiting(found: Snapshot, ask: JobAsk, priority: int = 0, preemptible: bool = False) -> SnapJob:
    return SnapJob(MINE, "lantern-works", 950, ways(ask, places(found), SETTINGS, SPEEDS), 99, priority, preemptible=preemptible)


def queued(found: Snapshot, job: SnapJob) -> Snapshot:
    return replace(found, jobs=(*(one for one in found.jobs if one.id != MINE), job))


def told(found: Snapshot, ask: JobAsk) -> list[Change]:
    kinds = {one.accelerator for one in found.nodes if one.devices}
    others = elsewhere(ask, places(found), SETTINGS, SPEEDS, kinds)
    return Supposing(queued(found, waiting(found, ask))).counterfactuals(MINE, others, ask.timeout_s)


# --- from words to a job ---------------------------------------------------------------------------------------------------


def seconds(words: str) -> int:
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+) (s|min|h|d)\b", words))


def tasks(words: str | None) -> tuple[int, int]:
    least, _, most = (words or "1").partition("–")
    return int(most or least), int(least)


def alone(ask: JobAsk, words: str) -> list[Layout]:
    """Of its alternatives the one that is named."""
    named = re.fullmatch(
        r"(?:([\d–]+) × )?(?:(?:(\d+)|([\d.]+) of a) (h20|910b)(?: with (\d+) cores? and (\d+) MiB each)?|(\d+) cores? and (\d+) MiB)", words
    )
    assert named, words
    many, devices, share, kind, cores, memory, *plain = named.groups()
    most, least = tasks(many)
    found = Layout(kind or "", int(devices or (1 if share else 0)), round(1000 * float(share or 1)), most, least)
    of = layouts(ask)[0]
    return [replace(found, cpus=int(cores or plain[0] or of.cpus), memory_mib=int(memory or plain[1] or of.memory_mib))]


def worded(ask: JobAsk, says: str) -> JobAsk:
    """The job as somebody would ask for it who has read the sentence."""
    if found := re.search(r"time limit of at most (.+) instead", says):
        return replace(ask, timeout_s=seconds(found[1]))
    if found := re.search(r"with the priority (-?\d+)", says):
        return replace(ask, priority=int(found[1]))
    if "may be preempted" in says:
        return replace(ask, preemptible=True)
    if found := re.match(
        r"It starts now on (.+) at (\w+?)(?:, where it may run for ([^,]+?))?(?: at the same price|, \d+ % \w+)?\.$", says
    ):
        return replace(
            ask, any_of=tuple(alone(ask, found[1])), sites=(found[2],), timeout_s=seconds(found[3]) if found[3] else ask.timeout_s
        )
    if found := re.match(r"It starts now at (\w+)", says):
        return replace(ask, sites=(found[1],))
    if found := re.search(r", asking for (.+) and nothing else", says):
        ask = replace(ask, any_of=tuple(alone(ask, found[1])))
    found = re.match(r"It starts now with (\d+) (.+) instead of", says)
    assert found, says
    many, what = int(found[1]), found[2]
    if what.startswith("task"):
        return replace(ask, any_of=tuple(replace(one, tasks=many, least_tasks=0) for one in layouts(ask)))
    name = "cpus" if what.startswith("core") else "memory_mib" if what.startswith("MiB") else "devices"
    return replace(ask, any_of=tuple(replace(one, **{name: min(getattr(one, name), many)}) for one in layouts(ask)))


# --- what is stated is so --------------------------------------------------------------------------------------------------


@st.composite
def asks(draw: st.DrawFn) -> JobAsk:
    any_of = []
    for kind in draw(st.lists(st.sampled_from(["h20", "910b", ""]), min_size=1, max_size=3)):
        most = draw(st.integers(1, 4))
        devices = draw(st.integers(1, 4)) if kind else 0
        milli = draw(st.sampled_from([1000, 1000, 500])) if devices == 1 else 1000
        any_of.append(Layout(kind, devices, milli, most, draw(st.integers(1, most))))
    return JobAsk(
        "test.run", "lantern-works", ("python",), cpus=draw(st.integers(1, 4)), memory_mib=draw(st.integers(16, 300)), family="tide",
        timeout_s=draw(st.integers(10, 5000)), any_of=tuple(dict.fromkeys(any_of)), sites=draw(st.sampled_from([(), (), ("pudong",)])),
    )  # fmt: skip


@given(found=houses(POLICIES), ask=asks())
@settings(
    max_examples=30, deadline=None, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink takes minutes
)  # fmt: skip
def test_a_job_that_is_asked_for_again_as_the_sentence_says_starts(found: Snapshot, ask: JobAsk) -> None:
    mine = waiting(found, ask)
    assume(mine.ways)
    found = queued(found, mine)
    for _ in range(4):
        decision = decided(found)
        assume(MINE not in decision.starts)
        if not decision.starts and not decision.preemptions:
            break
        found = after(found, decision)
    assume(not decision.starts and not decision.preemptions)
    for change in told(found, ask):
        if change.at is None and change.dimension not in ("quota", "maintenance"):
            again = worded(ask, change.says)
            job = waiting(found, again, again.priority, again.preemptible)
            assert MINE in decided(queued(found, job)).starts, (change.says, again)


# --- known cases -----------------------------------------------------------------------------------------------------------


def full(kind: str, name: str) -> SnapJob:
    return SnapJob(f"job-{name}", "harbour-lab", 0, (way("pudong", kind, limit=36_000),), started=0, places=((f"pudong/{name}", 255),))


def half(name: str) -> SnapJob:
    return SnapJob(f"job-{name}", "harbour-lab", 0, (way(devices=4, limit=36_000),), started=0, places=((f"pudong/{name}", 15),))


def says(jobs: Sequence[SnapJob], ask: JobAsk) -> dict[str, str]:
    found = snapshot((node("a0", accelerator="910b"), node("b0"), node("b1")), tuple(jobs))
    return {change.dimension: change.says for change in told(found, ask)}


EITHER = JobAsk("test.run", "lantern-works", ("python",), timeout_s=18_000, any_of=(Layout("910b", 8), Layout("h20", 8, tasks=2)))


def test_of_alternatives_the_one_that_would_start_is_named() -> None:
    found = says([full("910b", "a0"), half("b0"), half("b1")], EITHER)
    assert found == {
        "devices": "It starts now with 4 h20 devices for each of its 2 tasks instead of 8, asking for 2 × 4 h20 and nothing else."
    }
    assert says([full("910b", "a0"), full("h20", "b0")], EITHER)["tasks"] == (
        "It starts now with 1 task of 8 h20 instead of 2, asking for 8 h20 and nothing else."
    )


def test_a_time_limit_is_told_as_it_is_asked_for_where_a_slower_class_gets_more() -> None:
    ask = replace(EITHER, family="tide", any_of=(Layout("h20", 8), Layout("910b", 8)), timeout_s=6000)
    found = snapshot((node("b0"), node("a0", accelerator="910b", closes=4000)), (full("h20", "b0"),))
    [change] = [one for one in told(found, ask) if one.dimension == "limit"]
    assert change.value == 2000  # of h20; 3000 s on devices that are a third slower
