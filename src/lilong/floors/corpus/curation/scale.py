"""What a run over more text than one machine holds takes: core-hours, hours, disk and money, from measured rates by arithmetic alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

HOUR_S = 3_600.0
TB = 1e12


@dataclass(frozen=True, slots=True)
class Text:
    """What is to be curated. `distinct`: share of documents left without exact copies; `passes`: share of these that the policy keeps; `alike`:
    share of those with a near duplicate; `left`: share of those that stay when near duplicates are one each."""

    bytes: float
    document_bytes: float = 4_000.0
    packed: float = 3.3
    distinct: float = 0.7
    passes: float = 0.35
    alike: float = 0.45
    left: float = 0.6


@dataclass(frozen=True, slots=True)
class Rates:
    """CPU seconds of one core, and bytes, as bench/corpus_scale.py measures them. `engine`: CPU time of a run on Ray over that of the functions."""

    measure_mb_s: float = 10.0  # of text
    measured_ratio: float = 0.9  # written to text
    decide_us: float = 3.7  # a document
    decide_moved: float = 675.0  # a document
    decide_bytes: float = 312.0  # a different document
    meet_us: float = 0.29  # a key
    key_moved: float = 22.0
    edges: float = 1.7  # a document that passes
    edge_bytes: float = 7.2
    connect_us: float = 0.7  # an edge and round
    edge_moved: float = 60.0  # and round
    rounds: float = 6.0
    choose_us: float = 3.8  # a document with near duplicates
    choose_moved: float = 286.0
    choose_bytes: float = 47.0
    write_mb_s: float = 380.0  # of text
    write_moved: float = 300.0  # a document, besides the text that passes
    write_bytes: float = 215.0  # a document, besides the text that is kept
    text_ratio: float = 0.55  # text in a bucket's file (lz4) to text
    together_mb_s: float = 53.0  # written
    table_bytes: float = 250.0  # a document, in all tables but the texts
    table_ratio: float = 0.32  # text in documents.parquet (zstd) to text
    engine: float = 1.2


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes of `node_cores`, each with `node_gbit` per second to the others and to the shared disk. Prices in one currency: a core for an hour,
    a TB of that disk for a month of 730 hours. The tables are written as `table_files` files each."""

    cores: int = 1_024
    node_cores: int = 64
    node_gbit: float = 25.0
    table_files: int = 1_024
    core_hour: float = 0.04
    tb_month: float = 20.0


@dataclass(frozen=True, slots=True)
class Stage:
    """`hours` is the longer of computing and moving; bytes are TB, read from and written to the shared disk, and shuffled between nodes."""

    stage: str
    core_hours: float
    read: float
    written: float
    shuffled: float
    computing: float
    moving: float

    @property
    def hours(self) -> float:
        return max(self.computing, self.moving)


@dataclass(frozen=True, slots=True)
class Plan:
    stages: tuple[Stage, ...]
    documents: float
    core_hours: float
    hours: float
    scratch: float  # TB on the shared disk, at most, besides input and result
    result: float  # TB
    compute: float  # money
    storage: float  # money: input, scratch and result for as long as the run takes, twice over

    def rows(self) -> list[dict[str, Any]]:
        """Stage by stage, as a person reads it."""
        named = (*(one.name for one in fields(Stage)), "hours")
        found = [{name: _shown(getattr(stage, name)) for name in named} for stage in self.stages]
        total = {name: _shown(sum(getattr(stage, name) for stage in self.stages)) for name in named if name != "stage"}
        return [*found, {"stage": "in all", **total}]


def plan(text: Text, cluster: Cluster = Cluster(), rates: Rates = Rates()) -> Plan:
    """Stages as `runs.ray_data.run` has them. What is read and written passes a node's network once, what is shuffled twice."""
    documents = text.bytes / text.document_bytes
    different = documents * text.distinct
    passing = different * text.passes
    alike, keys, edges = passing * text.alike, 14 * passing, passing * rates.edges
    passing_text = passing * text.document_bytes
    kept_text = passing_text * text.left
    measured, merged = text.bytes * rates.measured_ratio, different * rates.decide_bytes
    pieces = kept_text * rates.text_ratio + documents * rates.write_bytes
    result = kept_text * rates.table_ratio + documents * rates.table_bytes
    signals = documents * rates.decide_moved / 2  # packed
    rounds = rates.rounds * edges
    costs = {
        "measure": (text.bytes / 1e6 / rates.measure_mb_s, text.bytes / text.packed, measured, 0.0),
        "decide": (documents * rates.decide_us / 1e6, signals, merged, documents * rates.decide_moved),
        "meet": (keys * rates.meet_us / 1e6, merged / 2, edges * rates.edge_bytes, keys * rates.key_moved),
        "connect": (
            rounds * rates.connect_us / 1e6,
            rounds * 2 * rates.edge_bytes,
            rounds * 2 * rates.edge_bytes,
            rounds * rates.edge_moved,
        ),
        "choose": (alike * rates.choose_us / 1e6, merged / 2, alike * rates.choose_bytes, alike * rates.choose_moved),
        "write": (text.bytes / 1e6 / rates.write_mb_s, measured + merged / 2, pieces, passing_text + documents * rates.write_moved),
        "put together": (result / 1e6 / rates.together_mb_s, pieces + merged / 2, result, 0.0),
    }
    found = tuple(_stage(name, cost, cluster, rates) for name, cost in costs.items())
    hours = sum(one.hours for one in found)
    scratch = sum(one.written for one in found[:-1])
    disk = (text.bytes / text.packed + result) / TB + scratch
    core_hours = sum(one.core_hours for one in found)
    return Plan(
        found, documents, core_hours, hours, scratch, result / TB,
        hours * cluster.cores * cluster.core_hour, disk * cluster.tb_month * 2 * hours / 730,
    )  # fmt: skip


def _stage(name: str, cost: tuple[float, float, float, float], cluster: Cluster, rates: Rates) -> Stage:
    cpu_s, read, written, shuffled = cost
    core_hours = cpu_s * rates.engine / HOUR_S
    side_by_side = min(cluster.cores, cluster.table_files) if name == "put together" else cluster.cores
    wires = cluster.cores / cluster.node_cores * cluster.node_gbit * 1e9 / 8
    moving = (read + written + 2 * shuffled) / wires / HOUR_S
    return Stage(name, core_hours, read / TB, written / TB, shuffled / TB, core_hours / side_by_side, moving)


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
