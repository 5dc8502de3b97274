"""What people are shown of many jobs and of tenants above others."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.compute.memory_site import MemorySite, TestClock, opened, program, submitted
from tests.compute.test_doors import ask, client_of, inside

from lilong.client import compute
from lilong.floors.compute.commands import job as jobs
from lilong.floors.compute.commands.compute import compute as compute_commands
from lilong.floors.compute.contract import Layout, SiteNode
from lilong.floors.compute.service import usage
from lilong.floors.compute.work import Dispatcher
from lilong.ground.access import SYSTEM
from lilong.ground.errors import BadInput
from lilong.ground.house import House


def test_as_many_jobs_are_listed_as_were_asked_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    mei = client_of(house, "mei")
    inside(mei, monkeypatch)
    compute.submit(mei, ask("pass", hold=True, array="0-6"))
    monkeypatch.setattr(jobs, "_PAGE", 3)  # so that a few make several pages
    for limit, shown in ((2, 2), (3, 3), (5, 5), (7, 7), (100, 7)):
        told = CliRunner().invoke(jobs.job, ["list", "--limit", str(limit)]).output.splitlines()[1:]
        assert len(told) == len({line.split()[0] for line in told}) == shown


def test_the_array_of_a_job_file_is_named_to_whoever_submits_it(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mei, file = client_of(house, "mei"), tmp_path / "tide.toml"
    inside(mei, monkeypatch)
    file.write_text('organisation = "lantern-works"\ncommand = ["python", "-c", "pass"]\narray = "0-2"\nhold = true\n')
    heads, first = CliRunner().invoke(jobs.job, ["submit", "--file", str(file)]).output.splitlines()
    array = first.split()[heads.split().index("ARRAY")]
    assert {one.array for one in compute.jobs(mei)} == {array}
    file.write_text('organisation = "lantern-works"\ncommand = ["python", "-c", "pass"]\nhold = true\n')
    assert "ARRAY" not in CliRunner().invoke(jobs.job, ["submit", "--file", str(file)]).output


def test_where_starts_cannot_be_written_nothing_is_played(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_text("1 0 0 10 1 -1 -1 1 10 -1 1 1 1 1 1 1 -1 -1\n")
    words = ["simulate", "--trace", str(trace), "--format", "swf", "--policy", "fifo", "--starts", str(tmp_path / "none" / "x.csv")]
    refused = CliRunner().invoke(compute_commands, words).exception
    assert isinstance(refused, BadInput) and refused.details["field"] == "--starts"


QUOTAS = """
[classes.h20]
[tenants.city]
nominal = { h20 = 8 }
[tenants.lantern-works]
parent = "city"
[tenants.harbour-lab]
parent = "city"
nominal = { h20 = 8 }
"""


def test_a_tenant_borrows_nothing_of_what_its_parts_lend_one_another(tmp_path: Path) -> None:
    clock = TestClock()
    house = opened(tmp_path / "house", clock, [MemorySite("local", clock, (SiteNode("a", 32, 9000, "h20", 8),))], QUOTAS)
    submitted(house, program(7200, timeout_s=8000, any_of=(Layout("h20", devices=4, cpus=1, memory_mib=100),), preemptible=True))
    house.port(Dispatcher).step()
    [shares] = [one.tenants for one in usage.tenants(house, SYSTEM) if one.accelerator == "h20"]
    told = {row.name: (row.used, row.borrowed, row.lent) for row in shares}
    assert told == {"city": (4, 0, 0), "harbour-lab": (0, 0, 4), "lantern-works": (4, 4, 0)}
    house.close()
