"""Alibaba's GPU trace of 2023 (cluster-trace-gpu-v2023, "OpenB"): a list of pods and a list of nodes (Weng et al., ATC'23).

A pod asks for cores, memory and devices or thousandths of one, and perhaps names the device models that will do, as `A|B`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from lilong.floors.compute.contract import MOST_DEVICES
from lilong.floors.compute.scheduler.jobs import ANY_CLASS, NEVER, Job, Option, Shape
from lilong.floors.compute.scheduler.state import WHOLE, Node
from lilong.floors.compute.traces.trace import LATEST_S, MOST_NODES, Trace, UnreadableTrace, index_of, lines, whole, within

PODS = ["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec", "qos"]
TIMES = ["creation_time", "deletion_time", "scheduled_time"]
NODES = ["sn", "cpu_milli", "memory_mib", "gpu", "model"]
MOST_MODELS = 60
MOST_CPU, MOST_MIB = 10**9, 1 << 36  # of one node or pod


def read(file: Path, nodes: Path) -> Trace:
    """Raises UnreadableTrace."""
    trace = Trace(pools=["cluster"])
    models: dict[str, int] = {}
    for number, row in _rows(file=nodes, wanted=NODES, trace=trace):
        try:
            devices = within(row["gpu"], "gpu", MOST_DEVICES)
            cpu, memory = within(row["cpu_milli"], "cpu_milli", MOST_CPU), within(row["memory_mib"], "memory_mib", MOST_MIB)
            node = Node(row["sn"], 0, _class(trace, models, row["model"]) if row["model"] else 0, devices, cpu, memory)
            if len(trace.nodes) >= MOST_NODES:
                raise ValueError(f"more than {MOST_NODES:,} nodes")
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


def _class(trace: Trace, models: dict[str, int], model: str) -> int:
    if model not in models and len(models) >= MOST_MODELS:
        raise ValueError(f"{model[:40]!r} is one model more than {MOST_MODELS}")
    return index_of(trace.classes, models, model)


def _job(row: Mapping[str, str], trace: Trace, models: dict[str, int], tenant: int) -> Job:
    devices, milli = within(row["num_gpu"], "num_gpu", MOST_DEVICES), whole(row["gpu_milli"])
    cpu, memory = within(row["cpu_milli"], "cpu_milli", MOST_CPU), within(row["memory_mib"], "memory_mib", MOST_MIB)
    if (devices and not 0 < milli <= WHOLE) or (devices > 1 and milli != WHOLE):
        raise ValueError(f"{devices} devices of {milli:,} thousandths")
    named = [model for model in row["gpu_spec"].split("|") if model]
    classes = sum(1 << _class(trace, models, model) for model in set(named)) if named else ANY_CLASS
    submit, gone = within(row["creation_time"], "creation_time", LATEST_S), within(row["deletion_time"] or "0", "deletion_time", LATEST_S)
    began = within(row["scheduled_time"], "scheduled_time", LATEST_S) if row["scheduled_time"] else submit
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
        try:
            words = next(csv.reader([line]), [])
        except csv.Error as problem:
            trace.break_at(file, number, str(problem))
            continue
        if len(words) != len(names):
            trace.break_at(file, number, f"{len(words)} columns where {len(names)} are expected")
        else:
            found.append((number, dict(zip(names, words, strict=True))))
    return found
