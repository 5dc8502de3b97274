"""Runs on Ray: the same bytes as on one machine, for any number of blocks and nodes, and whatever is lost on the way."""

from __future__ import annotations

import builtins
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation.dedup import clusters, stars
from lilong.floors.corpus.curation.runs import engine
from lilong.floors.corpus.curation.runs.gather import TABLES
from lilong.floors.corpus.curation.runs.profiles import Setup
from lilong.floors.corpus.curation.runs.progress import Silent
from lilong.floors.corpus.curation.runs.ray_data import cluster as reaching
from lilong.floors.corpus.curation.runs.ray_data import run as on_ray

from .test_runs import digests, prose

SOURCE = Path(engine.__file__).parents[5]
FINE = on_ray.Spread(group_bytes=1, batch_bytes=30_000, bucket_bytes=40_000, parts=5, few_edges=0)
"""Everything in many pieces, and no step in one process."""


# --- connected components ----------------------------------------------------------------------------------------------------


graphs = st.integers(1, 40).flatmap(lambda count: st.lists(st.tuples(st.integers(0, count), st.integers(0, count)), max_size=80))


def edges_of(pairs: list[tuple[int, int]]) -> stars.Edges:
    different = [(max(pair), min(pair)) for pair in pairs if pair[0] != pair[1]]
    return np.array([one for one, _ in different], np.int64), np.array([one for _, one in different], np.int64)


def parted(edges: stars.Edges, star: stars.Star, parts: int, draw: random.Random) -> tuple[stars.Edges, int]:
    """What a shuffle does: edges by the hash of a node, each part in any order."""
    nodes, others = stars.both_ways(edges) if star is stars.large_star else edges
    order = np.array(draw.sample(range(len(nodes)), len(nodes)), np.int64)
    nodes, others = nodes[order], others[order]
    found = [star(nodes[nodes * 7 % parts == part], others[nodes * 7 % parts == part]) for part in range(parts)]
    return (np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])), sum(one[2] for one in found)


@settings(deadline=None)
@given(graphs, st.integers(1, 5), st.sampled_from([0, 5, 1_000]), st.randoms(use_true_random=False))
def test_stars_are_what_union_find_finds(pairs: list[tuple[int, int]], parts: int, few: int, draw: random.Random) -> None:
    edges = edges_of(pairs)
    found = stars.connected(edges, lambda some, star: parted(some, star, parts, draw), lambda some: len(some[0]) <= few, stars.finished)
    parent = np.arange(50)
    parent[found[0]] = found[1]
    assert (parent == clusters.joined(50, *edges)).all()


def test_a_long_chain_needs_few_rounds() -> None:
    draw = random.Random(5)
    nodes = np.array(draw.sample(range(3_000), 3_000), np.int64)
    edges = (np.maximum(nodes[1:], nodes[:-1]), np.minimum(nodes[1:], nodes[:-1]))
    taken: list[stars.Star] = []

    def take(some: stars.Edges, star: stars.Star) -> tuple[stars.Edges, int]:
        taken.append(star)
        return parted(some, star, 3, draw)

    children, parents = stars.connected(edges, take, lambda _: False, stars.finished)
    assert (sorted(set(children.tolist())), set(parents.tolist())) == (list(range(1, 3_000)), {0})
    assert len(taken) <= 24


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), max_size=40))
def test_documents_meet_where_a_key_of_a_band_is_equal(keys: list[tuple[int, int]]) -> None:
    bands, values = np.array([one for one, _ in keys], np.int16), np.array([one for _, one in keys], np.uint64)
    documents = np.arange(len(keys))[::-1].copy()
    children, parents = stars.meeting(bands, values, documents)
    first = {key: min(int(documents[row]) for row, other in enumerate(keys) if other == key) for key in keys}
    expected = {(int(documents[row]), first[key]) for row, key in enumerate(keys) if documents[row] != first[key]}
    assert set(zip(children.tolist(), parents.tolist(), strict=True)) == expected


# --- runs --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five files of about 600 documents: some twice, some alike, some too short, some the same in all but the licence, some broken."""
    folder = tmp_path_factory.mktemp("inputs")
    draw = random.Random(7)
    texts = [prose(draw, draw.choice([1, 8, 20, 30])) for _ in range(500)]
    files = []
    for number in range(4):
        near = [text.replace("harbour", "port", 1) + " And so on." for text in draw.sample(texts, 10)]
        own = texts[number::4] + draw.sample(texts, 15) + near
        rows = [{"text": text, "licence": draw.choice(["MIT", "CC0-1.0"])} for text in own]
        rows += [{"text": texts[number], "url": "https://quay.example/a", "source": "quay", "licence": str(one)} for one in range(3)]
        files.append(folder / f"s{number}.jsonl")
        files[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "broken.jsonl").write_bytes(b"no\n{}\n")
    return [*files, folder / "broken.jsonl"]


def asked(inputs: list[Path], out: Path, **how: Any) -> engine.Ask:
    return engine.Ask([str(path) for path in inputs], Setup("docs"), out, **how)


@pytest.fixture(scope="module")
def here(inputs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("here") / "out"
    engine.curate(asked(inputs, out))
    return out


class Nodes:
    """A Ray cluster of two nodes and three processors on this machine; this process is its driver."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # Ray's sockets need a short path
        self.cluster = Cluster()
        try:
            self.add(num_cpus=2, include_dashboard=False, temp_dir=str(self.folder))
            self.second = self.add(num_cpus=1)
        except BaseException:
            self.stop()
            raise
        self.address: str = self.cluster.address

    def add(self, **how: Any) -> Any:
        return self.cluster.add_node(object_store_memory=80_000_000, **how)

    def stop(self) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)


def started() -> Nodes:
    """Ray gives a node 30 seconds to start, which is little on a busy machine."""
    for _ in range(5):
        try:
            return Nodes()
        except Exception as problem:
            failed = problem
    raise failed


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray", reason="Ray is not installed")
    pytest.importorskip("ray.data", reason="Ray Data is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(SOURCE))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_health_check_period_ms", "1000")  # a lost node should be missed soon
        made = started()
        try:
            yield made
        finally:
            made.stop()


def spread(nodes: Nodes, **how: Any) -> on_ray.Spread:
    from dataclasses import replace

    return replace(FINE, address=nodes.address, **how)


def test_the_result_is_that_of_one_machine(nodes: Nodes, inputs: list[Path], here: Path, tmp_path: Path) -> None:
    own = builtins.print
    on_ray.curate(asked(random.Random(3).sample(inputs, 5), tmp_path / "out"), spread(nodes))
    assert builtins.print is own  # which Ray would put its own in place of
    assert digests(tmp_path / "out") == digests(here)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in here.iterdir())


COARSE = {"group_bytes": 1 << 20, "batch_bytes": 8 << 20, "parts": 1, "few_edges": 1_000}


def test_tables_of_several_files_hold_the_same_rows(nodes: Nodes, inputs: list[Path], here: Path, tmp_path: Path) -> None:
    report = on_ray.curate(asked(inputs, tmp_path / "out"), spread(nodes, **COARSE, table_files=3))
    for name in TABLES[:-1]:
        folder = tmp_path / "out" / f"{name}.parquet"
        assert sorted(path.name for path in folder.iterdir()) == [f"0000{number}.parquet" for number in range(3)]
        assert pq.read_table(folder).equals(pq.read_table(here / f"{name}.parquet"))
    assert {name: told.get("files") for name, told in report["tables"].items()} == {**dict.fromkeys(TABLES, 3), "problems": None}


def test_a_run_that_keeps_nothing_has_its_tables_too(nodes: Nodes, inputs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "short.jsonl").write_text('{"text": "Mind the gap."}\n' * 2)
    files = [inputs[-1], tmp_path / "short.jsonl"]
    engine.curate(asked(files, tmp_path / "here", review=True))
    on_ray.curate(asked(files, tmp_path / "out", review=True), spread(nodes, **COARSE))
    assert digests(tmp_path / "out") == digests(tmp_path / "here")
    assert (tmp_path / "out" / "dropped.parquet").read_bytes() == (tmp_path / "here" / "dropped.parquet").read_bytes()


class Acting(Silent):
    """Does something once, where a run says that it begins a stage, or that it has got on with it."""

    def __init__(self, doing: str, act: Callable[[], None], got_on: bool = False) -> None:
        self.doing, self.act, self.got_on, self.now, self.acted = doing, act, got_on, "", False
        self.measured = 0

    def begin(self, doing: str, total: int) -> None:
        self.now = doing
        if not self.got_on:
            self._look()

    def advance(self, read: int, documents: int) -> None:
        self.measured += documents * (self.now == "measuring")
        if self.got_on:
            self._look()

    def _look(self) -> None:
        if self.now == self.doing and not self.acted:
            self.acted = True
            self.act()


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_after_its_last_stage_and_makes_harmed_files_again(
    nodes: Nodes, inputs: list[Path], here: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        on_ray.curate(asked(inputs, tmp_path / "out"), spread(nodes), Acting("writing", interrupt))
    shutil.copytree(tmp_path / "out", tmp_path / "harmed")
    again = Acting("", interrupt)
    on_ray.curate(asked(inputs, tmp_path / "out"), spread(nodes, few_edges=1_000), again)
    assert again.measured == 0
    assert digests(tmp_path / "out") == digests(here)
    files = sorted((tmp_path / "harmed" / "work" / "ray" / "batches").iterdir())
    for file in files[::3]:
        file.write_bytes(file.read_bytes()[:-1])
    on_ray.curate(asked(inputs, tmp_path / "harmed"), spread(nodes, few_edges=1_000, bucket_bytes=90_000), again)
    assert again.measured > 0
    assert digests(tmp_path / "harmed") == digests(here)


def command(nodes: Nodes, inputs: list[Path], out: Path) -> list[str]:
    program = "from lilong.cli import main; main()"
    more = ["--profile", "docs", "--out", str(out), "--on", "ray", "--ray-address", nodes.address]
    return [sys.executable, "-c", program, "corpus", "curate", *map(str, inputs), *more]


def test_the_command_tells_what_it_does_and_survives_kill_9(nodes: Nodes, inputs: list[Path], here: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(command(nodes, inputs, out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not (out / "work" / "ray" / "measured.json").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "report.json").exists()
    done = subprocess.run(command(nodes, inputs, out), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert [line for line in said if ":" not in line or line.startswith("Ray:")] == [
        "Ray: 2 nodes, 3 processors", "measuring", "deciding", "looking for near duplicates", "connecting near duplicates",
        "choosing among near duplicates", "writing", "putting the tables together",
    ], done.stderr  # fmt: skip
    assert digests(out) == digests(here)


# --- what goes wrong -----------------------------------------------------------------------------------------------------------


def test_a_folder_that_the_nodes_do_not_share_is_named(nodes: Nodes, inputs: list[Path], tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        mine = Path(f"/proc/self/fd/{handle}")  # another process sees something else there, or nothing
        with pytest.raises(reaching.NotShared, match=rf"does not see {mine}/out\. Inputs and --out must be in folders"):
            on_ray.curate(asked(inputs, mine / "out"), spread(nodes))
    finally:
        os.close(handle)


def test_a_lost_worker_and_a_lost_node_change_nothing(nodes: Nodes, inputs: list[Path], here: Path, tmp_path: Path) -> None:
    """The last test of the cluster: one of its two nodes is gone afterwards."""
    import psutil
    import ray

    raylets = {one.node_id: one.all_processes["raylet"][0].process.pid for one in nodes.cluster.list_all_nodes()}

    def kill_a_worker() -> None:
        processes = [one for number in raylets.values() for one in psutil.Process(number).children()]
        named = {one: "".join(one.cmdline()[:1]) for one in processes}
        busy = [one for one, name in named.items() if "measure" in name] or [one for one, name in named.items() if name == "ray::IDLE"]
        busy[0].kill()

    def kill_a_node() -> None:
        mine = ray.get_runtime_context().get_node_id()  # a driver ends with the node that it is on
        other = next(number for name, number in raylets.items() if name != mine)
        threading.Timer(0.5, os.kill, (other, signal.SIGKILL)).start()

    first = Acting("measuring", kill_a_worker, got_on=True)
    second = Acting("deciding", kill_a_node)

    class Both(Silent):
        def begin(self, doing: str, total: int) -> None:
            first.begin(doing, total)
            second.begin(doing, total)

        def advance(self, read: int, documents: int) -> None:
            first.advance(read, documents)

    on_ray.curate(asked(inputs, tmp_path / "out"), spread(nodes), Both())
    assert first.acted and second.acted
    assert digests(tmp_path / "out") == digests(here)


def test_a_wrong_address_is_told_from_a_cluster_that_does_not_answer(inputs: list[Path], tmp_path: Path) -> None:
    for address, error in (("ray://head:10001", reaching.BadAddress), ("head", reaching.BadAddress), ("127.0.0.1:1", reaching.NoCluster)):
        with pytest.raises(error, match=address):
            on_ray.curate(asked(inputs, tmp_path / "out"), on_ray.Spread(address))


def test_ray_that_is_not_installed_is_named_with_the_way_to_it(inputs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(reaching.RayMissing, match=r"pip install 'lilong\[corpus,ray\]'"):
        on_ray.curate(asked(inputs, tmp_path / "out"), on_ray.Spread())
