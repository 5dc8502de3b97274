"""From what a job asks for to the ways in which it could be laid out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.compute.contract import Inventory, JobAsk, Layout, Mode, SiteNode
from lilong.floors.compute.rules import settings as declared
from lilong.floors.compute.rules.ways import NEVER, blended, laid_out, place, speeds, ways

ASK = JobAsk("test.run", "lantern-works", ("python",), cpus=2, memory_mib=512, timeout_s=3600)
SETTINGS = declared.read(
    "[classes.h20]\nprice = 10.0\nwatts = 400\n[classes.b910]\nprice = 6.0\nwatts = 300\n[classes.cpu]\nprice = 0.1\n"
    '[sites.north]\ndriver = "slurm"\ntariff = 0.5\n[sites.south]\ndriver = "slurm"\ntariff = 1.0\n[sites.pods]\ndriver = "kubernetes"\n'
)


def site(name: str, *kinds: str, mode: Mode = Mode.DELEGATED):
    nodes = tuple(SiteNode(f"n{at}", 16, 65536, kind, 8 if kind else 0) for at, kind in enumerate(kinds))
    return place(name, mode, Inventory(nodes))


LOCAL = site("local", "", mode=Mode.OWNED)
NORTH, SOUTH = site("north", "h20", "b910"), site("south", "h20")


def chosen(ask: JobAsk, *here, rates=None, back_at=None):
    return [(way.site, way.accelerator, way.tasks) for way in ways(ask, here, SETTINGS, rates or {}, back_at)]


def test_a_plain_job_may_go_anywhere_and_the_cheapest_site_is_first() -> None:
    assert chosen(ASK, SOUTH, LOCAL) == [("south", "", 1), ("local", "", 1)]
    assert {way.cpu for way in ways(ASK, [LOCAL], SETTINGS, {})} == {2000}


def test_devices_are_asked_for_where_they_are_and_cheaper_energy_decides() -> None:
    gang = replace(ASK, any_of=(Layout("h20", devices=8),))
    assert chosen(gang, LOCAL, SOUTH, NORTH) == [("north", "h20", 1), ("south", "h20", 1)]


def test_where_the_data_lies_goes_before_the_price() -> None:
    gang = replace(ASK, any_of=(Layout("h20", devices=8),), data_at="south")
    assert [one[0] for one in chosen(gang, NORTH, SOUTH)] == ["south", "north"]


def test_an_attempt_that_left_a_checkpoint_goes_back_to_it() -> None:
    gang = replace(ASK, any_of=(Layout("h20", devices=8),))
    assert [one[0] for one in chosen(gang, NORTH, SOUTH, back_at="south")] == ["south", "north"]


def test_of_alternatives_the_cheaper_is_first_and_their_order_decides_between_equals() -> None:
    either = replace(ASK, any_of=(Layout("h20", devices=8), Layout("b910", devices=16)))
    assert [one[1] for one in chosen(either, NORTH)] == ["h20", "b910"]
    assert [one[1] for one in chosen(replace(either, any_of=(Layout("h20", devices=8), Layout("b910", devices=8))), NORTH)] == [
        "b910",
        "h20",
    ]
    same = replace(ASK, any_of=(Layout(cpus=2, tasks=2), Layout(cpus=4)))
    assert [one[2] for one in chosen(same, NORTH)] == [2, 1]


def test_a_slower_class_gets_more_time_in_proportion_and_a_faster_one_no_less() -> None:
    either = replace(ASK, family="translator", any_of=(Layout("h20", devices=8), Layout("b910", devices=8)))
    rates = {("translator", "h20"): 3.0, ("translator", "b910"): 1.5}
    limits = {way.accelerator: way.limit for way in ways(either, [NORTH], SETTINGS, rates)}
    assert limits == {"h20": 3600, "b910": 7200}
    turned = replace(either, any_of=either.any_of[::-1])
    assert {way.limit for way in ways(turned, [NORTH], SETTINGS, rates)} == {3600}


def test_where_no_family_is_named_jobs_of_one_kind_are_alike() -> None:
    either = replace(ASK, any_of=(Layout("h20", devices=8), Layout("b910", devices=8)))
    rates = {("test.run", "h20"): 3.0, ("test.run", "b910"): 1.5}
    assert {way.accelerator: way.limit for way in ways(either, [NORTH], SETTINGS, rates)} == {"h20": 3600, "b910": 7200}


def test_measures_go_before_what_is_declared_on_the_scale_of_the_classes_that_have_both() -> None:
    declared = {"translator": {"h20": 2.0, "b910": 1.0, "cpu": 0.01}}
    assert speeds(declared, {("translator", "h20"): 600.0, ("translator", "b910"): 150.0}) == pytest.approx(
        {("translator", "h20"): 2.0 * 2**0.5, ("translator", "b910"): 2.0**0.5 / 2, ("translator", ""): 0.01}
    )
    assert speeds(declared, {("translator", "h20"): 600.0})["translator", "h20"] == pytest.approx(2.0)
    assert speeds({}, {("reader", "h20"): 600.0}) == {("reader", "h20"): 600.0}
    assert speeds(declared, {("translator", "mlu"): 600.0}) == speeds(declared, {})
    several = {("translator", "mlu"): 600.0, ("translator", "dcu"): 300.0}
    assert speeds(declared, several) == several


def test_one_measure_that_is_out_of_line_moves_the_speed_a_little() -> None:
    assert blended(None, 123.456) == 123.0
    assert blended(100.0, 100.0) == 100.0
    assert blended(100.0, 200.0) == 123.0
    assert blended(100.0, 50.0) == pytest.approx(10_000 / 123.0, rel=0.01)


@given(most=st.integers(1, 300), least=st.integers(0, 300))
def test_a_gang_comes_in_sizes_from_the_most_to_the_least(most: int, least: int) -> None:
    least = min(least, most)
    sizes = [one[2] for one in chosen(replace(ASK, any_of=(Layout(tasks=most, least_tasks=least),)), NORTH)]
    assert sizes == sorted(set(sizes), reverse=True)
    assert (sizes[0], sizes[-1]) == (most, least or most)
    assert len(sizes) <= 8


def test_a_service_shares_its_cores_on_this_machine_and_never_ends_by_itself() -> None:
    (way,) = ways(replace(ASK, service=True), [LOCAL], SETTINGS, {})
    assert (way.cpu, way.memory, way.limit) == (0, 512, NEVER)
    (way,) = ways(replace(ASK, service=True), [NORTH], SETTINGS, {})
    assert way.cpu == 2000


def test_a_container_image_runs_only_where_containers_do() -> None:
    assert chosen(replace(ASK, image="python:3.12"), NORTH, site("pods", "")) == [("pods", "", 1)]


def test_a_job_that_names_sites_goes_to_no_other() -> None:
    assert chosen(replace(ASK, sites=("local",)), NORTH, LOCAL) == [("local", "", 1)]


def test_no_site_with_such_devices_is_no_way_unless_one_was_never_seen() -> None:
    gang = replace(ASK, any_of=(Layout("h20", devices=8),))
    assert chosen(gang, LOCAL) == []
    assert chosen(gang, LOCAL, place("south", Mode.DELEGATED, None)) == [("south", "h20", 1)]


def test_whether_a_way_fits_when_nothing_else_runs() -> None:
    (way,) = ways(replace(ASK, any_of=(Layout("h20", devices=4, tasks=2),)), [NORTH], SETTINGS, {})
    assert NORTH.fits(way)
    assert not NORTH.fits(replace(way, tasks=3))
    assert not NORTH.fits(replace(way, memory=70000))
    assert laid_out(way) == Layout("h20", 4, 1000, 2, 2, 2, 512)
