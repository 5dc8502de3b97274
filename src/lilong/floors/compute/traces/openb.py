"""Alibaba's GPU trace of 2023 (cluster-trace-gpu-v2023, "OpenB"): a list of pods and a list of nodes (Weng et al., ATC'23).

A pod asks for cores, memory and devices or thousandths of one, and perhaps names the device models that will do, as `A|B`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from lilong.floors.compute.scheduler.jobs import ANY_CLASS, NEVER, Job, Option, Shape
from lilong.floors.compute.scheduler.state import MOST_DEVICES, WHOLE, Node
from lilong.floors.compute.traces.trace import Trace, UnreadableTrace, index_of, lines, whole

PODS = ["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec", "qos"]
TIMES = ["creation_time", "deletion_time", "scheduled_time"]
NODES = ["sn", "cpu_milli", "memory_mib", "gpu", "model"]
MOST_MODELS = 60


def read(file: Path, nodes: Path) -> Trace:
    """Raises UnreadableTrace."""
    trace = Trace(pools=["cluster"])
    models: dict[str, int] = {}
    for number, row in _rows(file=nodes, wanted=NODES, trace=trace):
        try:
            model = index_of(trace.classes, models, row["model"]) if row["model"] else 0
            node = Node(row["sn"], 0, model, whole(row["gpu"]), whole(row["cpu_milli"]), whole(row["memory_mib"]))
            if not (0 <= node.devices <= MOST_DEVICES and node.cpu >= 0 and node.memory >= 0 and len(models) <= MOST_MODELS):
                raise ValueError(f"a node with {node.devices} devices, {node.cpu} cpu_milli, {node.memory} MiB")
        except ValueError as problem:
            trace.break_at(nodes, number, str(problem))
            continue
        trace.nodes.append(node)
    tenants: dict[str, int] = {}
    for number, row in _rows(file=file, wanted=PODS + TIMES, trace=trace):
        try:
            trace.jobs.append(_job(row, trace, models, index_of(trace.tenants, tenants, row["qos"])))
        except ValueError as problem:
            trace.break_at(file, number, str(problem))
    for empty, source in ((not trace.nodes, nodes), (not trace.jobs, file)):
        if empty:
            raise UnreadableTrace(
                file=source, format="openb", problem="none of its lines can be read", way_out="Give the list as published."
            )
    return trace


def _job(row: Mapping[str, str], trace: Trace, models: dict[str, int], tenant: int) -> Job:
    devices, milli = whole(row["num_gpu"]), whole(row["gpu_milli"])
    cpu, memory = whole(row["cpu_milli"]), whole(row["memory_mib"])
    if min(devices, cpu, memory) < 0 or (devices and not 0 < milli <= WHOLE) or (devices > 1 and milli != WHOLE):
        raise ValueError(f"{devices} devices of {milli} thousandths, {cpu} cpu_milli, {memory} MiB")
    named = [model for model in row["gpu_spec"].split("|") if model]
    classes = sum(1 << index_of(trace.classes, models, model) for model in set(named)) if named else ANY_CLASS
    submit, gone = whole(row["creation_time"]), whole(row["deletion_time"])
    began = whole(row["scheduled_time"]) if row["scheduled_time"] else submit
    run = max(gone - began, 1) if gone > 0 else NEVER
    shape = Shape(devices, milli if devices else WHOLE, cpu, memory, classes)
    return Job(row["name"], (Option(shape),), submit, run, run, tenant)


def _rows(file: Path, wanted: list[str], trace: Trace) -> list[tuple[int, dict[str, str]]]:
    source = lines(file, "openb")
    names = next(source, (0, ""))[1].split(",")
    missing = [name for name in wanted if name not in names]
    if missing:
        raise UnreadableTrace(
            file=file, format="openb", problem=f"it has no column {missing[0]}", way_out=f"It must have {', '.join(wanted)}."
        )
    found = []
    for number, line in source:
        words = next(csv.reader([line]), [])
        if len(words) != len(names):
            trace.break_at(file, number, f"{len(words)} columns where {len(names)} are expected")
        else:
            found.append((number, dict(zip(names, words, strict=True))))
    return found
