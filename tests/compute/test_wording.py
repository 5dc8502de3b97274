"""One of a thing is not several of it, in every sentence about a waiting job."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from markupsafe import escape
from tests.compute.snapshots import houses, node, snapshot, way

from lilong.floors.compute.pages.telling import telling
from lilong.floors.compute.rules.counterfactuals import amount
from lilong.floors.compute.rules.explaining import explained
from lilong.floors.compute.rules.scene import Scene
from lilong.floors.compute.scheduler.compiled import plainly
from lilong.floors.compute.scheduler.snapshot import SnapJob, Snapshot, SnapTenant
from lilong.floors.compute.scheduler.supposing import Supposing

ONE_OF_MANY = re.compile(r"(?<![\w.,/-])1 (?:h20 |910b )?(?:cores|devices|jobs|tasks|nodes)\b")


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    with plainly():
        yield


def sentences(found: Snapshot) -> list[str]:
    """All that is told of each job that waits there."""
    seen = Supposing(found)
    scene = Scene(seen.snapshot, seen.decision, seen.order)
    said = []
    for job in seen.order[:4]:
        why = explained(scene, job, set(seen.order[:2]))
        said += [why.says, *why.needs, *why.free, *(one.holds for one in why.held_by)]
        said += [change.says for change in seen.counterfactuals(job)]
    return said


def test_a_house_of_single_things_is_told_in_the_singular() -> None:
    holds = SnapJob("job-1", "lantern-works", 0, (way("here", "", 0, cpu=1000, limit=9000),), started=0, places=(("here/n", 0),))
    waits = SnapJob("job-2", "harbour-lab", 5, (way("here", "", 0, cpu=2000, limit=9000),))
    tenants = (SnapTenant("harbour-lab", nominal={"": 1000}),)
    said = " ".join(sentences(snapshot((node("n", "here", "", 0, cpu=2000),), (holds, waits), tenants, policy="drf-tree")))
    assert "1 core at here" in said and "its quota of 1 core" in said
    assert "2 cores and 1000 MiB" in said
    roomy = " ".join(sentences(snapshot((node("n", "here", "", 0, cpu=4000),), (holds, waits), tenants, policy="drf-tree")))
    assert "a quota of 2 instead of 1 core for harbour-lab" in roomy
    assert not ONE_OF_MANY.search(said + roomy), said + roomy
    assert amount(way(accelerator="", devices=0, memory=0)) == "1 core"


@settings(max_examples=30, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck), derandomize=True)
@given(found=houses(("easy", "drf-tree")))
def test_no_sentence_says_one_of_several(found: Snapshot) -> None:
    assert [one for one in sentences(found) if ONE_OF_MANY.search(one)] == []
    assert [one for one in sentences(found) if telling(str, "zh")(one) != escape(one)] == []  # nothing is a quotation
