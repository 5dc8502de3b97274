"""The settings document: what it says, what it refuses, and how it is put in force."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.compute.test_doors import client_of, inside

from lilong.client import Client, ServerError, compute
from lilong.floors.compute.commands.compute import compute as compute_command
from lilong.floors.compute.rules import settings as rules
from lilong.floors.compute.work.sites import Sites
from lilong.ground.errors import BadInput
from lilong.ground.house import House

DOCUMENT = """
policy = "easy"
look = 500
reclaim = "30m"

[classes.h20]
vendor = "nvidia"
memory_gib = 96
link = "nvlink"
price = 12.0
watts = 400

[classes.cpu]
price = 0.1

[sites.pudong]
driver = "slurm"
tariff = 0.8
kgco2 = 0.6
options = { partition = "h20" }

[tenants.city]
nominal = { h20 = 32, cpu = 200 }

[tenants.lantern-works]
parent = "city"
weight = 2.0
half_life = "7d"
nominal = { h20 = 16, cpu = 64 }
borrow = { h20 = 8 }
lend = { h20 = 16 }
allowance = 5000

[tenants."lantern-works/tide"]
nominal = { h20 = 4 }

[tenants.harbour-lab]
parent = "city"
nominal = { h20 = 16 }

[throughput.tide]
h20 = 1.5

[[maintenance]]
site = "pudong"
nodes = ["a1"]
from = 2026-12-01T22:00:00Z
to = 2026-12-02T06:00:00+08:00
"""


def test_a_document_says_what_it_says() -> None:
    found = rules.read(DOCUMENT.replace("2026-12-02T06:00:00+08:00", "2026-12-02T16:00:00+08:00"))
    assert (found.policy, found.look, found.reclaim_s) == ("easy", 500, 1800)
    assert found.accelerator("h20").price == 12.0
    assert found.accelerator("").price == 0.1
    tenant = found.tenants["lantern-works"]
    assert (tenant.nominal, tenant.borrow, tenant.half_life_s) == ({"h20": 16000, "": 64000}, {"h20": 8000}, 7 * 86400)
    assert found.sites["pudong"].kgco2 == (0.6,) * 24
    assert found.sites["pudong"].mode == "delegated"
    assert found.maintenance[0].end.isoformat() == "2026-12-02T08:00:00+00:00"


def test_a_project_is_under_its_organisation() -> None:
    found = rules.read(DOCUMENT.replace("06:00:00+08:00", "16:00:00+08:00"))
    assert [tenant.name for tenant in found.above(found.tenant("lantern-works", "tide"))] == ["lantern-works/tide", "lantern-works", "city"]
    assert found.tenant("lantern-works", "other") == "lantern-works"
    assert found.tenant("nobody", "other") is None


def test_a_house_that_nobody_told_anything_is_this_machine_alone() -> None:
    found = rules.default()
    assert (found.policy, list(found.sites), dict(found.tenants)) == ("drf-tree", ["local"], {})


@pytest.mark.parametrize(
    ("document", "field", "saying"),
    [
        ('polcy = "easy"', "polcy", "Did you mean 'policy'?"),
        ('policy = "eazy"', "policy", "Did you mean 'easy'?"),
        ("look = 0", "look", "whole number"),
        ("look = true", "look", "whole number"),
        ('reclaim = "soon"', "reclaim", '"30m"'),
        ('reclaim = "-3h"', "reclaim", "length of time"),
        ("[classes.h20]\nprice = -1", "classes.h20.price", "number from 0"),
        ('[classes.h20]\nprize = 1', "classes.h20.prize", "Did you mean 'price'?"),
        ("classes = 3", "classes", "not a table"),
        ('[classes."../x"]\n', "classes.../x", "not a name"),
        ('[sites.north]\ndriver = "slrum"', "sites.north.driver", "Did you mean 'slurm'?"),
        ("[sites.north]\nwindow = 3", "sites.north.driver", "Known: kubernetes, local, ray, slurm"),
        ('[sites.local]\nmode = "delegated"', "sites.local.mode", "no engine on this machine"),
        ('[sites.north]\ndriver = "slurm"\nkgco2 = [1, 2]', "sites.north.kgco2", "24 of them"),
        ('[tenants.a]\nparent = "b"\n[tenants.bb]\n', "tenants.a.parent", "Did you mean 'bb'?"),
        ('[tenants.a]\nparent = "b"\n[tenants.b]\nparent = "a"\n', "tenants.a.parent", "a → b → a"),
        ('[tenants.a]\nparent = "a"\n', "tenants.a.parent", "a → a"),
        ("[tenants.a]\nnominal = { h21 = 1 }\n[classes.h20]\n", "tenants.a.nominal.h21", "Did you mean 'h20'?"),
        ("[tenants.a]\nnominal = { cpu = -1 }\n", "tenants.a.nominal.cpu", "number from 0"),
        ("[tenants.a]\nborrow = { cpu = 1 }\n", "tenants.a.borrow.cpu", "no nominal quota"),
        ("[tenants.a]\nnominal = { cpu = 1 }\nlend = { cpu = 2 }\n", "tenants.a.lend.cpu", "more than the tenant's nominal"),
        ('[tenants.a]\nnominal = { cpu = 3 }\n[tenants.b]\nparent = "a"\nnominal = { cpu = 2 }\n[tenants.c]\nparent = "a"\nnominal = { cpu = 2 }\n', "tenants.a.nominal.cpu", "its parts have 4 in all (b 2, c 2), and it has 3"),
        ('[tenants.a]\nnominal = { cpu = 1 }\n[tenants.m]\nparent = "a"\n[tenants.b]\nparent = "m"\nnominal = { cpu = 2 }\n', "tenants.a.nominal.cpu", "parts have 2"),
        ('[tenants."a/b/c"]\n', "tenants.a/b/c", "organisation/project"),
        ("[tenants.a]\nweight = 0\n", "tenants.a.weight", "number from 0.001"),
        ('[[maintenance]]\nsite = "nort"\nfrom = 2026-01-01T00:00:00Z\nto = 2026-01-02T00:00:00Z\n', "maintenance[0].site", "no site 'nort'"),
        ('[[maintenance]]\nsite = "local"\nfrom = 2026-01-02T00:00:00Z\nto = 2026-01-01T00:00:00Z\n', "maintenance[0].to", "not after its start"),
        ('[[maintenance]]\nsite = "local"\nfrom = 2026-01-02T00:00:00\nto = 2026-01-03T00:00:00Z\n', "maintenance[0].from", "with a zone"),
        ('[[maintenance]]\nsite = "local"\nfrom = 2026-01-01\nto = 2026-01-03T00:00:00Z\n', "maintenance[0].from", "2026-01-01 is no time"),
        ('[[maintenance]]\nsite = "local"\nto = 2026-01-03T00:00:00Z\n', "maintenance[0].from", "with a zone"),
        ('levels = ["rack", "rack"]', "levels", "different names"),
        ("[throughput.tide]\nh20 = 1.0\n", "throughput.tide.h20", "no key has that name"),
        ("policy = ", "the settings", "not TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_the_way_out(document: str, field: str, saying: str) -> None:
    with pytest.raises(BadInput) as refused:
        rules.read(document)
    assert refused.value.details["field"] == field
    assert saying in str(refused.value)


def test_what_changes_is_told_key_by_key() -> None:
    before, after = rules.read("[tenants.a]\nnominal = { cpu = 4 }\n"), rules.read("look = 9\n[tenants.a]\nnominal = { cpu = 8 }\n")
    assert rules.changes(before, after) == [
        {"key": "look", "before": 1000, "after": 9},
        {"key": "tenants.a.nominal.cpu", "before": 4.0, "after": 8.0},
    ]
    assert rules.changes(after, after) == []


def test_changes_are_told_without_what_is_empty_or_said_twice() -> None:
    after = rules.read(
        '[classes.h20]\nprice = 2\n[sites.local]\nkgco2 = 0.5\noptions = { nodes = [{ name = "a", domains = { rack = "r1" } }] }\n'
    )
    assert rules.changes(rules.default(), after) == [
        {"key": "classes.h20.memory_gib", "before": None, "after": 0.0},
        {"key": "classes.h20.price", "before": None, "after": 2.0},
        {"key": "classes.h20.watts", "before": None, "after": 0.0},
        {"key": "sites.local.kgco2", "before": 0.0, "after": 0.5},
        {"key": "sites.local.options.nodes[0]", "before": None, "after": "name = a, domains = {rack = r1}"},
    ]


# --- in force --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def olga(house: House) -> Client:
    return client_of(house, "olga")


def test_settings_are_applied_as_versions_and_a_dry_run_applies_nothing(olga: Client) -> None:
    assert compute.apply_settings(olga, "look = 7\n", dry_run=True)["changes"] == [{"key": "look", "before": 1000, "after": 7}]
    assert compute.settings(olga)["version"] == 0
    assert compute.apply_settings(olga, "look = 7\n")["version"] == 1
    assert compute.apply_settings(olga, "look = 7\n") == {"version": 1, "dry_run": False, "changes": []}
    assert compute.apply_settings(olga, "look = 8\n")["version"] == 2
    assert compute.settings(olga)["settings"]["look"] == 8
    assert compute.settings(olga, 1)["toml"] == "look = 7\n"
    with pytest.raises(ServerError) as absent:
        compute.settings(olga, 9)
    assert absent.value.status_code == 404


def test_only_operators_apply_and_see_settings(house: House) -> None:
    mei = client_of(house, "mei")
    for refused in (
        lambda: compute.apply_settings(mei, "look = 7\n"),
        lambda: compute.settings(mei),
        lambda: mei.put("/api/compute/sites/local/nodes/local/drain"),
    ):
        with pytest.raises(ServerError) as error:
            refused()
        assert error.value.status_code == 403


def test_an_option_that_the_driver_does_not_know_is_refused_before_anything_is_applied(olga: Client) -> None:
    with pytest.raises(ServerError) as refused:
        compute.apply_settings(olga, "[sites.local]\noptions = { nods = [] }\n")
    assert refused.value.status_code == 422
    assert "sites.local.options.nods" in str(refused.value)
    assert compute.settings(olga)["version"] == 0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ('nodes = [{ name = "a" }, { name = "b", accelerator = "h21", devices = 8 }]', "nodes[1].accelerator"),
        ('devices = { h20 = "GPU", h21 = "GPU:H21" }', "devices.h21"),
    ],
)
def test_a_class_that_nobody_declares_is_refused_where_a_site_names_it(options: str, field: str, olga: Client) -> None:
    with pytest.raises(ServerError) as refused:
        compute.apply_settings(olga, f"[classes.h20]\n[sites.local]\noptions = {{ {options} }}\n")
    said = str(refused.value)
    assert (
        f"sites.local.options.{field}" in said
        and "there is no class 'h21'. Did you mean 'h20'? Another is declared with [classes.h21]." in said
    )
    assert compute.settings(olga)["version"] == 0


def test_a_node_is_drained_and_opened_again(olga: Client) -> None:
    [site] = compute.sites(olga)
    assert (site["name"], site["problem"], site["nodes"], site["closed"]) == ("local", None, 1, 0)
    [node] = olga.get("/api/compute/sites/local/nodes")
    path = f"/api/compute/sites/local/nodes/{node['name']}/drain"
    for _ in range(2):
        assert [each["drained"] for each in olga.put(path)] == [True]
    assert compute.sites(olga)[0]["closed"] == 1
    assert [each["drained"] for each in olga.delete(path)] == [False]
    with pytest.raises(ServerError) as refused:
        olga.put("/api/compute/sites/local/nodes/nowhere/drain")
    assert f"'{node['name']}'" in str(refused.value) or node["name"] in str(refused.value)


def test_the_command_line_applies_shows_and_drains(house: House, olga: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside(olga, monkeypatch)

    def run(*words: str) -> Result:
        return CliRunner().invoke(compute_command, words, catch_exceptions=False)

    file = tmp_path / "settings.toml"
    file.write_text("look = 7\n")
    assert "Nothing was applied" in run("apply", str(file), "--dry-run").output
    assert json.loads(run("apply", str(file), "--json").output)["version"] == 1
    assert run("settings").output == "look = 7\n"
    assert json.loads(run("settings", "--json").output)["settings"]["look"] == 7
    assert json.loads(run("sites", "--json").output)[0]["name"] == "local"
    [node] = json.loads(run("sites", "--nodes", "local", "--json").output)
    assert json.loads(run("drain", "local", node["name"], "--json").output)[0]["drained"] is True
    assert json.loads(run("drain", "local", node["name"], "--undo", "--json").output)[0]["drained"] is False


def test_a_job_for_nodes_that_were_declared_a_moment_ago_is_not_called_impossible(house: House, olga: Client) -> None:
    """Nobody has looked at the site since."""
    mei = client_of(house, "mei")
    wanted = compute.JobAsk("test.run", "lantern-works", ("python",), memory_mib=64, any_of=(compute.Layout("h20", devices=2),), hold=True)
    nodes = 'options = { nodes = [{ name = "a", cpus = 8, memory_gib = 8, accelerator = "h20", devices = 2 }] }'
    compute.apply_settings(olga, f"[classes.h20]\n[sites.local]\n{nodes}\n")
    assert compute.submit(mei, wanted).state == "queued"


def test_maintenance_of_a_node_that_is_not_there_is_refused_unless_it_is_over(olga: Client, house: House) -> None:
    house.port(Sites).look("local", at_once=True)
    window = '[[maintenance]]\nsite = "local"\nnodes = ["locl"]\nfrom = {0}-01-01T00:00:00Z\nto = {0}-01-02T00:00:00Z\n'
    with pytest.raises(ServerError, match=r"maintenance\[0\]\.nodes.*no node 'locl'.*Did you mean 'local'"):
        compute.apply_settings(olga, window.format(2999))
    assert compute.apply_settings(olga, window.format(2001))["version"] == 1
