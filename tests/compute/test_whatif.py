"""Other settings tried out on a trace, and how two runs are compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lilong.floors.compute.commands.compute import compute
from lilong.floors.compute.contract import Inventory, SiteNode
from lilong.floors.compute.rules.changing import World, changed, inline, resized
from lilong.floors.compute.rules.settings import parse
from lilong.floors.compute.scheduler.jobs import Job, Option, Shape
from lilong.floors.compute.scheduler.policy import policies
from lilong.floors.compute.scheduler.simulation.comparing import Bill, Case, compared
from lilong.floors.compute.scheduler.state import Node
from lilong.ground.errors import BadInput, LilongError

DATA = Path(__file__).parent / "data"
PHILLY = ["--trace", str(DATA / "philly-5vc.csv.gz"), "--format", "philly", "--vc", "11cb48,6c71a0"]


def what_if(*words: str) -> tuple[int, str, str]:
    try:
        done = CliRunner().invoke(compute, ["what-if", *words], catch_exceptions=False)
    except LilongError as problem:
        return problem.exit_code, "", str(problem)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def world() -> World:
    document = {
        "classes": {"h20": {}, "910b": {}},
        "sites": {"pudong": {"driver": "slurm"}},
        "tenants": {"lantern-works": {"nominal": {"h20": 8}}},
    }
    inventory = Inventory(tuple(SiteNode(f"a{at}", 32, 1000, "h20", 8) for at in range(2)))
    return World(document, {"pudong": inventory}, frozenset({"harbour-lab"}))


def test_settings_are_changed_where_the_key_says_and_nowhere_else(world: World) -> None:
    found = changed(
        world,
        ["quota.lantern-works=64", "weight.harbour-lab=2", "half_life.lantern-works=3d", "policy=easy", "nodes.pudong=5", "reclaim=2h"],
    )
    settings = parse(found.document)
    assert settings.tenants["lantern-works"].nominal == {"h20": 64_000}
    assert (settings.tenants["harbour-lab"].weight, settings.tenants["lantern-works"].half_life_s) == (2.0, 3 * 86_400)
    assert (settings.policy, settings.reclaim_s) == ("easy", 7200)
    assert [node.name for node in found.sites["pudong"].nodes] == ["a0", "a1", "more-3", "more-4", "more-5"]
    assert parse(world.document).tenants["lantern-works"].nominal == {"h20": 8000}
    assert "nominal" not in changed(world, ["quota.lantern-works.h20=none"]).document["tenants"]["lantern-works"]["nominal"]


def test_a_site_may_be_added_in_one_line_and_taken_away(world: World) -> None:
    found = changed(world, add=[inline("name=lingang,nodes=3,class=910b,devices=16,price=4,tariff=0.5")], remove=["pudong"])
    assert list(found.sites) == ["lingang"]
    assert {(node.accelerator, node.devices) for node in found.sites["lingang"].nodes} == {("910b", 16)}
    settings = parse(found.document)
    assert (settings.classes["910b"].price, settings.sites["lingang"].tariff) == (4.0, 0.5)
    assert len(resized(found.sites["lingang"], 1).nodes) == 1


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["quota.lantern=1"], "Did you mean 'lantern-works'?"),
        (["quota.harbour-lab=1", "quota.lantern-works.cpu=-1"], "'-1' is no number"),
        (["nodes.pudong=1.5"], "'1.5' is no whole number"),
        (["price.tpu=1"], "no class 'tpu'"),
        (["weight=2"], "There are policy, quota.TENANT"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_way_out(world: World, sets: list[str], words: str) -> None:
    with pytest.raises(BadInput) as refused:
        changed(world, sets)
    assert words in str(refused.value)


def test_carbon_and_money_follow_the_hour_and_the_place() -> None:
    """Two devices for two hours each: from 23:30 to 01:30 where the night is clean, and where it is not."""
    night = (0.1, *(1.0,) * 22, 0.3)
    nodes = [Node("a", kind=0, devices=1), Node("b", kind=1, devices=1)]
    jobs = [Job(str(kind), (Option(Shape(1, classes=1 << kind)),), 84_600, 7200, 7200) for kind in (0, 1)]
    bills = {0: Bill(10.0, 500.0, 2.0, night), 1: Bill(1.0, 1000.0, 1.0, (0.5,) * 24)}
    case = Case(nodes, jobs, policies()["fifo"], ["x"], bills=bills)
    told = compared(case, replace(case, zero=3600))
    before, after = told["before"], told["after"]
    assert (before["device_hours"], before["cost"], before["kwh"], before["energy_cost"]) == (4.0, 22.0, 3.0, 4.0)
    assert before["kgco2"] == pytest.approx(1 * (0.25 * 0.3 + 0.5 * 0.1 + 0.25 * 1.0) + 2 * 0.5)
    assert after["kgco2"] == pytest.approx(1 * (0.25 * 0.1 + 0.75 * 1.0) + 2 * 0.5)
    assert told["change"]["kwh"] == 0.0
    curves = told["curves"]
    assert max(curves["before"]["used"]) == 2.0 and curves["before"]["used"][-1] == 0.0
    assert not any(curves["before"]["waiting"])
    assert np.all(np.diff(curves["at_s"]) > 0)


def test_a_trace_with_nothing_changed_gives_equal_figures_and_with_more_nodes_shorter_queues() -> None:
    same = json.loads(what_if(*PHILLY, "--policy", "fifo", "--json")[1])
    assert same["before"] == same["after"] and {row["verdict"] for row in same["tenants"]} == {"same"}
    more = json.loads(what_if(*PHILLY, "--policy", "fifo", "--set", "nodes.11cb48=20", "--json")[1])
    assert more["before"] == same["before"]
    verdicts = {row["tenant"]: row["verdict"] for row in more["tenants"]}
    assert verdicts == {"11cb48": "gains", "6c71a0": "same"}
    code, text, _ = what_if(*PHILLY, "--set", "policy=fifo", "--set", "pools=one")
    assert code == 0 and "mean_queue_s" in text and "6c71a0" in text


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--set", "colour=red"), "For a trace there are policy, pools, nodes.POOL"),
        (("--set", "nodes.mars=2"), "the trace has no pool 'mars'"),
        (("--set", "quota.mars=2"), "the trace has no tenant 'mars'"),
        (("--set", "policy=best"), "there is no 'best'"),
        (("--add-site", "name=mars"), "no other site"),
        (("--add-site", "/nowhere.toml"), "cannot be read"),
    ],
)
def test_what_a_trace_cannot_be_asked_is_said(words: tuple[str, ...], problem: str) -> None:
    code, _, said = what_if(*PHILLY, *words)
    assert code == 2 and problem in said
