"""What sites and tenants use, what became of a job, and the pictures of it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compute.memory_site import MemorySite, TestClock, opened, program, submitted

from lilong.floors.compute.contract import Layout, SiteNode
from lilong.floors.compute.pages import _timeline as timeline
from lilong.floors.compute.pages import asked, pictures
from lilong.floors.compute.rules.metering import Bill
from lilong.floors.compute.service import usage
from lilong.floors.compute.work import Dispatcher
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.house import House

TOML = """
[classes.h20]
price = 12.0
watts = 400
[sites.local]
kgco2 = 0.5
[tenants.lantern-works]
nominal = { h20 = 4 }
[tenants.harbour-lab]
nominal = { h20 = 12 }
"""
EIGHT = Layout("h20", devices=8, cpus=1, memory_mib=100)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = TestClock()
    nodes = tuple(SiteNode(f"a{n}", 32, 100_000, "h20", 8, {"rack": f"r{n}"}) for n in range(2))
    made = opened(tmp_path / "house", clock, [MemorySite("local", clock, nodes)], TOML)
    yield made
    made.close()


def step(house: House, seconds: float = 0) -> None:
    house.clock.sleep(seconds)
    house.port(Dispatcher).step()
    house.port(Dispatcher).step()


def test_an_hour_at_half_of_the_devices_is_told_as_half(house: House) -> None:
    submitted(house, program(7200, timeout_s=8000, any_of=(EIGHT,), preemptible=True))
    step(house)
    step(house, 5400)
    told = usage.capacity(house, SYSTEM, hours=3)
    (site,) = told.sites
    assert (site.nodes, dict(site.devices), site.held, site.problem) == (2, {"h20": 16}, 8.0, None)
    assert list(site.by_hour) == [None, pytest.approx(0.5), pytest.approx(0.5)]  # it was founded at midnight
    assert told.hours[-1] == "2026-03-01 01:00"


def test_what_is_borrowed_by_one_is_lent_by_another(house: House) -> None:
    submitted(house, program(7200, timeout_s=8000, any_of=(EIGHT,), preemptible=True))
    step(house)
    shares = {one.accelerator: {row.name: row for row in one.tenants} for one in usage.tenants(house, SYSTEM)}["h20"]
    assert (shares["lantern-works"].used, shares["lantern-works"].borrowed, shares["lantern-works"].nominal) == (8, 4, 4)
    assert (shares["harbour-lab"].used, shares["harbour-lab"].lent) == (0, 4)
    assert [one.tenants for one in usage.tenants(house, Actor("stranger"))] in ([], [[]])


def test_a_jobs_story_tells_its_stretches_its_place_and_what_it_comes_to(house: House) -> None:
    job = submitted(house, program(3600, timeout_s=4000, any_of=(EIGHT,), preemptible=True))
    house.clock.sleep(60)
    step(house)
    step(house, 1800)
    told = usage.story(house, SYSTEM, job.id)
    assert [(one.kind, one.attempt) for one in told.stretches] == [("waiting", None), ("running", 1)]
    assert told.bill.hours == pytest.approx(4)
    assert (told.bill.price, told.bill.kwh, told.bill.kgco2) == pytest.approx((48, 1.6, 0.8))
    assert [(spot.node, set(spot.devices)) for spot in told.spots] == [("a0", {"own"}), ("a1", {"free"})]
    assert asked(job, str) == "8 h20"


@pytest.mark.parametrize(
    "picture",
    [
        pictures.heatmap([("<b>&", [0.0, 0.5, None])], ["2026-03-01 00:00"] * 3, title='a "title" <x>'),
        pictures.curves([pictures.Series("<i>", [(0, 0), (1, 2)]), pictures.Series("none", [])], title="<t>", x_label="<x>", y_label="&"),
        pictures.shares([pictures.Share("<t>", 1, 8, 4, 0, 4), pictures.Share("u", 0, 0, 0, 4, 12)], title="<t>", unit="<u>"),
        pictures.timeline([pictures.Span("<w>", 0, 5, "waiting")], title="<t>", begin="<", end=">"),
        pictures.placement([pictures.Spot("<n>", "<d>", ["own", "other", "free"])], title="<t>"),
    ],
    ids=["heatmap", "curves", "shares", "timeline", "placement"],
)
def test_pictures_escape_what_they_are_given_and_stand_by_themselves(picture: str) -> None:
    drawn = ElementTree.fromstring(pictures.standalone(picture))
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert not {"b", "i", "t", "n", "w"} & {element.tag.rsplit("}", 1)[-1] for element in drawn.iter()}


def test_nothing_to_draw_is_no_picture() -> None:
    assert (
        not pictures.heatmap([], [], title="")
        + pictures.curves([], title="", x_label="", y_label="")
        + pictures.shares([], title="", unit="")
    )


def test_the_picture_of_a_jobs_life_is_in_the_readers_language_and_coloured_by_what_happened() -> None:
    at = [f"2026-01-01T0{hour}:00:00Z" for hour in range(3)]
    stretches = [usage.Stretch("waiting", at[0], at[1]), usage.Stretch("running", at[1], at[2], 1)]
    story = usage.Story([], stretches, Bill(), [])
    drawn = timeline(story, lambda text: {"waiting": "等待", "running": "进行中"}.get(text, text))
    for kind, word in (("waiting", "等待"), ("running", "进行中")):
        assert f'class="{kind}"' in drawn
        assert f">{word}</text>" in drawn


def test_unknown_hours_are_striped_in_one_piece_and_said_in_words() -> None:
    drawn = pictures.heatmap(
        [("pudong", [None, None, 0.0, 0.5])], [f"2026-03-01 0{at}:00" for at in range(4)], title="t", unknown="not known"
    )
    assert drawn.count('class="unknown"') == 1 and drawn.count('class="heat"') == 2
    assert "<title>pudong, 2026-03-01 00:00 – 2026-03-01 01:00: not known</title>" in drawn
    assert "<title>pudong, 2026-03-01 02:00: 0%</title>" in drawn
