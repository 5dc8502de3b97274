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


MAXIMUM = 2**63 - 1
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time,scheduled_time"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("2017-10-03T00:00:00+08:00,60,1,60,11cb48", "zone"),
        ("2017-10-03 00:00:00,60,1000000000,60,11cb48", "num_gpus"),
        (f"2017-10-03 00:00:00,{2**62},1,60,11cb48", "duration"),
        ("2017-10-03 00:00:00,9999999999999,1,60,11cb48", "duration"),
        ("2017-10-03 00:00:00,-1,1,60,11cb48", "duration"),
    ],
)
def test_lines_of_philly_beyond_all_bounds_are_counted_and_named(line: str, names: str, tmp_path: Path) -> None:
    file = tmp_path / "philly.csv"
    file.write_text(f"timestamp,duration,num_gpus,gpu_time,cluster\n{line}\n2017-10-03 00:00:00,60,1,60,11cb48\n")
    told = json.loads(simulate("--trace", str(file), "--format", "philly", "--policy", "fifo", "--json")[1])
    assert (told["jobs"], told["broken_lines"]) == (1, 1)
    assert told["broken"][0].startswith("philly.csv:2: ")
    assert names in told["broken"][0]


def test_a_load_that_would_take_more_nodes_than_a_trace_may_have_asks_for_their_number(tmp_path: Path) -> None:
    file, day = tmp_path / "philly.csv", "2017-10-03 00:00:0"
    file.write_text(f"timestamp,duration,num_gpus,gpu_time,cluster\n{day}0,300000000,1,60,a\n{day}1,60,1,60,a\n")
    code, _, said = simulate("--trace", str(file), "--format", "philly", "--policy", "fifo")
    assert code == 2
    assert "--nodes-per-vc" in said
    assert "a=N" in said


@pytest.mark.parametrize("at", [1, 3, 4, 8])
def test_lines_of_swf_beyond_all_bounds_are_counted_and_named(at: int, tmp_path: Path) -> None:
    usual = [1, 0, 0, 60, 4, -1, -1, -1, -1, -1, 1, 7, 1, -1, -1, -1, -1, -1]
    wrong = [*usual[:at], MAXIMUM, *usual[at + 1 :]]
    file = tmp_path / "log.swf"
    file.write_text("; MaxProcs: 8\n" + "".join(" ".join(map(str, row)) + "\n" for row in (wrong, usual)))
    told = json.loads(simulate("--trace", str(file), "--format", "swf", "--policy", "easy", "--json")[1])
    assert (told["jobs"], told["broken_lines"]) == (1, 1)
    assert told["broken"][0].startswith("log.swf:2: ")


@pytest.mark.parametrize(
    "wrong",
    [f"p,{MAXIMUM},1,1,1000,,LS,0,9,0", f"p,1,{MAXIMUM},1,1000,,LS,0,9,0", f"p,1,1,{MAXIMUM},1000,,LS,0,9,0", f"p,1,1,1,1000,,LS,{MAXIMUM},9,0",
     f"p,1,1,1,1000,,LS,0,{MAXIMUM},0", "p,1,1,1,1000,,LS,-1,9,0", "p,1,1,1,1000," + "|".join(f"m{at}" for at in range(70)) + ",LS,0,9,0"],
)  # fmt: skip
def test_pods_beyond_all_bounds_are_counted_and_named(wrong: str, tmp_path: Path) -> None:
    pods, nodes = tmp_path / "pods.csv", tmp_path / "nodes.csv"
    pods.write_text(f"{PODS}\n{wrong}\nq,1,1,1,1000,,LS,0,9,0\n")
    nodes.write_text(f"sn,cpu_milli,memory_mib,gpu,model\nn0,8000,8000,2,T4\nn1,{MAXIMUM},8000,2,T4\n")
    told = json.loads(simulate("--trace", str(pods), "--format", "openb", "--nodes", str(nodes), "--policy", "fgd", "--json")[1])
    assert (told["jobs"], told["nodes"], told["broken_lines"]) == (1, 1, 2)
    assert [line.split(" ")[0] for line in told["broken"]] == ["nodes.csv:3:", "pods.csv:2:"]


def test_who_gets_how_many_nodes_is_said_where_only_numbers_are_given() -> None:
    _, _, said = simulate(*PHILLY, "--policy", "fifo", "--vc", "6c71a0,11cb48", "--nodes-per-vc", "3,2")
    assert "nodes: 11cb48=3, 6c71a0=2" in said


def test_what_groups_had_of_the_devices_sums_up_to_what_all_had() -> None:
    told = json.loads(simulate(*PHILLY, "--policy", "easy", "--vc", "11cb48,103959", "--json")[1])
    for groups in (told["by_tenant"], told["by_size"]):
        assert sum(part["utilisation"] for part in groups.values()) == pytest.approx(told["utilisation"])
    assert 0 < told["by_size"]["≤1"]["jain"] <= 1
