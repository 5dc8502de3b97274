"""`lilong compute simulate`: its answers, and what it says to what it cannot read."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
PHILLY = ["--trace", str(DATA / "philly-5vc.csv.gz"), "--format", "philly"]
OPENB = ["--trace", str(DATA / "openb-default-pods.csv.gz"), "--format", "openb"]
KTH = ["--trace", str(DATA / "KTH-SP2-first-4000.swf.gz"), "--format", "swf"]
TOP = {
    "jobs", "mean_completion_s", "median_completion_s", "p99_completion_s", "mean_queue_s", "p99_queue_s", "avg_bounded_slowdown",
    "utilisation", "jain", "allocated_pct", "device_hours", "cost", "kwh", "kgco2", "cpu_s", "by_tenant", "by_size",
}  # fmt: skip


def simulate(*words: str) -> tuple[int, str, str]:
    from click.testing import CliRunner

    from lilong.floors.compute.commands.compute import compute
    from lilong.ground.errors import LilongError

    try:
        done = CliRunner().invoke(compute, ["simulate", *words], catch_exceptions=False)
    except LilongError as problem:
        return problem.exit_code, "", str(problem)
    return done.exit_code, done.stdout, done.stderr


def test_the_answer_has_every_figure_in_all_by_tenant_and_by_size(tmp_path: Path) -> None:
    out = tmp_path / "starts.csv"
    told = json.loads(simulate(*PHILLY, "--policy", "easy", "--vc", "11cb48,103959", "--starts", str(out), "--json")[1])
    assert told.keys() >= TOP
    assert (
        sum(part["jobs"] for part in told["by_tenant"].values())
        == sum(part["jobs"] for part in told["by_size"].values())
        == told["jobs"]
        == 2137
    )
    assert told["kwh"] == pytest.approx(told["device_hours"] * 0.3)
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == told["jobs"]
    assert {name.rsplit("-", 1)[0] for row in rows for name in row["nodes"].split()} == {"11cb48", "103959"}
    assert all(int(row["end"]) > int(row["start"]) >= 0 for row in rows)


def test_dates_include_their_last_day() -> None:
    told = json.loads(simulate(*PHILLY, "--policy", "sjf", "--from", "2017-10-09", "--to", "2017-10-10", "--json")[1])
    assert told["jobs"] + sum(told["left_out"].values()) == 2638
    assert told["jobs"] == json.loads(simulate(*PHILLY, "--policy", "sjf", "--from", "2017-10-09", "--json")[1])["jobs"] > 100


def test_a_pod_that_names_models_runs_on_one_of_them(tmp_path: Path) -> None:
    pods, nodes, out = tmp_path / "pods.csv", tmp_path / "nodes.csv", tmp_path / "starts.csv"
    head = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time,scheduled_time\n"
    pods.write_text(head + "a,1000,10,1,1000,T4|A10,LS,0,50,5\nb,1000,10,1,500,P100,LS,1,50,5\nc,1000,10,1,1000,H800,LS,2,50,5\n")
    nodes.write_text("sn,cpu_milli,memory_mib,gpu,model\none,8000,100,2,P100\ntwo,8000,100,2,A10\n")
    words = ("--trace", str(pods), "--nodes", str(nodes), "--format", "openb", "--policy", "fgd", "--starts", str(out), "--json")
    assert json.loads(simulate(*words)[1])["refused"] == 1
    assert out.read_text().splitlines()[1:] == ["a,0,45,two", "b,1,46,one"]


def test_the_processors_of_a_log_can_be_said() -> None:
    told = json.loads(simulate(*KTH, "--policy", "easy", "--procs", "50", "--json")[1])
    assert told["devices"] == 50
    assert told["refused"] > 0
    assert told["finished"] + told["refused"] == told["jobs"] == 4000


def test_broken_lines_are_counted_and_named(tmp_path: Path) -> None:
    trace = tmp_path / "log.swf"
    good = "1 0 -1 10 4 -1 -1 4 20 -1 1 1 -1 -1 -1 -1 -1 -1\n"
    trace.write_text("; MaxProcs: 8\n" + good + "2 nonsense\n" + good.replace(" 10 ", " ten ") + good.replace(" 10 ", " 0 "))
    code, out, err = simulate("--trace", str(trace), "--format", "swf", "--policy", "easy", "--json")
    told = json.loads(out)
    assert (code, told["jobs"], told["broken_lines"], told["left_out"]) == (0, 1, 2, {"never ran": 1})
    assert "log.swf:3: 2 columns where 18 are expected" in err
    assert "log.swf:4:" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*PHILLY, "--policy", "fifoo"), "There are bestfit, clustering"),
        ((*PHILLY, "--policy", "fifo", "--procs", "4"), "it is for swf traces"),
        ((*PHILLY, "--policy", "fifo", "--vc", "11cb48,nowhere"), "the trace has no nowhere"),
        ((*PHILLY, "--policy", "fifo", "--nodes-per-vc", "1,2"), "2 numbers for 5 virtual clusters"),
        ((*PHILLY, "--policy", "fifo", "--nodes-per-vc", "1,2,3,4,0"), "numbers from 1"),
        ((*PHILLY, "--policy", "fifo", "--nodes-per-vc", "11cb48=2"), "it must name 103959, 11cb48"),
        ((*PHILLY, "--policy", "fifo", "--from", "2017-10-05", "--to", "2017-10-01"), "is before"),
        ((*PHILLY, "--policy", "fifo", "--from", "2031-01-01"), "no job is left"),
        ((*OPENB, "--policy", "fgd"), "Name it with --nodes"),
        ((*OPENB, "--policy", "fgd", "--nodes", str(DATA / "philly-5vc.csv.gz")), "it has no column sn"),
        ((KTH[0], KTH[1], "--format", "philly", "--policy", "easy"), "is no philly trace"),
        ((PHILLY[0], PHILLY[1], "--format", "swf", "--policy", "easy"), "none of its lines can be read"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_way_out(words: tuple[str, ...], says: str) -> None:
    code, _, message = simulate(*words)
    assert code == 2
    assert says in message


def test_a_truncated_archive_is_no_trace(tmp_path: Path) -> None:
    half = tmp_path / "half.swf.gz"
    half.write_bytes(gzip.compress(b"; MaxProcs: 8\n" * 999)[:40])
    code, _, message = simulate("--trace", str(half), "--format", "swf", "--policy", "easy")
    assert code == 2
    assert "cannot be unpacked" in message


def test_help_loads_no_numbers() -> None:
    check = "import sys, lilong.floors.compute.commands.compute; sys.exit(bool({'numpy', 'numba'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
