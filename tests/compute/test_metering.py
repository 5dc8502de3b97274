"""What holding devices comes to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.compute.rules.metering import HOUR, Bill, Hold, bill, by_hour, use_by_hour
from lilong.floors.compute.rules.settings import AcceleratorClass, SiteSettings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
H20 = AcceleratorClass("h20", price=12.0, watts=400.0)


def hold(begin: datetime, end: datetime, milli: int = 8000, site: str = "pudong") -> Hold:
    return Hold(site, "h20", milli, 16, begin, end)


def test_a_bill_follows_the_carbon_of_each_hour() -> None:
    site = SiteSettings("pudong", tariff=0.5, kgco2=tuple(1.0 if hour >= 13 else 0.25 for hour in range(24)))
    told = bill(hold(NOON + HOUR / 2, NOON + 2 * HOUR), H20, site)
    assert told.hours == pytest.approx(12)
    assert told.price == pytest.approx(144)
    assert told.kwh == pytest.approx(4.8)
    assert told.energy_cost == pytest.approx(2.4)
    assert told.kgco2 == pytest.approx(1.6 * 0.25 + 3.2)


def test_what_holds_no_device_is_billed_by_the_core() -> None:
    assert bill(hold(NOON, NOON + HOUR, milli=0), AcceleratorClass("", price=0.1), SiteSettings("local")).price == pytest.approx(1.6)


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 10_000))
def test_a_bill_is_the_sum_of_its_parts(start: int, first: int, second: int) -> None:
    site = SiteSettings("pudong", tariff=0.3, kgco2=tuple(hour / 10 for hour in range(24)))
    a = NOON + timedelta(minutes=start)
    b, c = a + timedelta(minutes=first), a + timedelta(minutes=first + second)
    whole, parts = bill(hold(a, c), H20, site), bill(hold(a, b), H20, site) + bill(hold(b, c), H20, site)
    assert isinstance(parts, Bill)
    assert (whole.hours, whole.kwh, whole.kgco2) == pytest.approx((parts.hours, parts.kwh, parts.kgco2))
    assert sum(part for _, part in by_hour(a, c)) == pytest.approx((c - a) / HOUR)


def test_use_is_told_by_hour_and_only_of_what_has_passed() -> None:
    holds = [hold(NOON - HOUR / 2, NOON + HOUR), hold(NOON, NOON + HOUR / 4), hold(NOON, NOON + HOUR, site="gone")]
    told = use_by_hour(holds, {"pudong": (16, 64), "local": (0, 2)}, NOON - HOUR, 4, NOON + HOUR + HOUR / 2)
    assert told["pudong"] == [pytest.approx(0.25), pytest.approx(0.625), pytest.approx(0.0), None]
    assert told["local"] == [0.0, 0.0, 0.0, None]


def test_hours_before_a_site_was_seen_are_unknown_and_not_free() -> None:
    sizes, seen = {"pudong": (16, 64), "local": (0, 2)}, {"pudong": NOON + HOUR / 2, "local": NOON + 3 * HOUR}
    told = use_by_hour([hold(NOON + HOUR / 2, NOON + HOUR)], sizes, NOON - HOUR, 4, NOON + 2.5 * HOUR, seen)
    assert told["pudong"] == [None, pytest.approx(0.5), 0.0, 0.0]
    assert told["local"] == [None] * 4


def test_a_hold_is_known_though_nobody_has_seen_the_site_yet() -> None:
    told = use_by_hour([hold(NOON, NOON + HOUR)], {"pudong": (16, 64)}, NOON - HOUR, 3, NOON + 2 * HOUR, {"pudong": NOON + HOUR})
    assert told["pudong"] == [None, pytest.approx(0.5), 0.0]
