"""What a house says of starts while a burst of short jobs goes through it, and how well that holds."""

from __future__ import annotations

import random
from pathlib import Path

from tests.compute.memory_site import MemorySite, TestClock, opened, program, submitted

from lilong.floors.compute.contract import SiteNode
from lilong.floors.compute.service import estimate
from lilong.floors.compute.work import Dispatcher
from lilong.ground.access import Actor


def test_estimates_of_short_jobs_in_a_burst_hold_about_as_often_as_they_say(tmp_path: Path) -> None:
    chance, clock = random.Random(3), TestClock()
    site = MemorySite("local", clock, (SiteNode("here", 2, 40960),))
    house = opened(tmp_path / "house", clock, [site], 'policy = "easy"\n')
    come, told_at = [0.0], 0.0
    while len(come) < 60:
        come.append(come[-1] + chance.expovariate(0.2))
    while clock.at < 1100:
        while come and come[0] <= clock.at:
            run = min(20 * chance.lognormvariate(-0.32, 0.8), 600)
            submitted(house, program(round(run, 2), timeout_s=600))
            come.pop(0)
        house.port(Dispatcher).step()
        if clock.at >= told_at + 60:
            told_at = clock.at
            estimate.say_starts(house)
        clock.sleep(1)
    held = estimate.estimates_held(house, Actor("mei")).all
    house.close()
    assert held.by_p50.n > 30 and held.pending == 0
    assert held.by_p50.share is not None and 0.3 < held.by_p50.share < 0.8
    assert held.by_p90.share is not None and held.by_p90.share > 0.75
