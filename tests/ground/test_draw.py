"""Pictures' axes."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lilong.ground.draw import Interval, intervals, ticks


def shown(picture: str) -> list[float]:
    return [float(text) for text in re.findall(r'<text class="tick"[^>]*>([^<]+)</text>', picture)]


@given(low=st.floats(0, 99), wide=st.floats(0.5, 50))
def test_an_axis_of_shares_stays_between_nothing_and_all(low: float, wide: float) -> None:
    high = min(low + wide, 100.0)
    row = Interval("all, P90", (low + high) / 2, low, high)
    drawn = intervals([row], title="held", unit="% of jobs", within=(0, 100))
    assert shown(drawn) and min(shown(drawn)) >= 0 and max(shown(drawn)) <= 100
    assert all(200 <= float(x) <= 620 for x in re.findall(r'(?:x1|x2|cx)="([\d.-]+)"', drawn))


def test_an_axis_without_bounds_leaves_room_on_both_sides() -> None:
    drawn = intervals([Interval("a", 0.0, -1.0, 1.0)], title="difference", unit="points", reference=0)
    assert float(re.findall(r'class="interval" x1="([\d.]+)"', drawn)[0]) > 200


def test_the_whole_of_a_share_can_be_read_off_its_axis() -> None:
    drawn = intervals([Interval("a", 95.0, 60.0, 99.9)], title="held", unit="%", within=(0, 100))
    assert 100.0 in shown(drawn)


@given(low=st.integers(-10_000, 10_000), wide=st.integers(1, 100_000))
def test_ticks_are_few_and_round_and_lie_on_the_axis(low: int, wide: int) -> None:
    found = ticks(low, low + wide)
    step = min(b - a for a, b in pairwise(found))
    assert 2 <= len(found) <= 6
    assert low <= found[0] + 1e-9 and found[-1] <= low + wide + 1e-9
    assert f"{step:.0e}"[0] in "125" and all(abs(at / step - round(at / step)) < 1e-6 for at in found)
