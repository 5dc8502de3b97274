"""The Standard Workload Format of the Parallel Workloads Archive (Feitelson et al., JPDC 2014): 18 columns a line, `;` comments.

A job's size is the number of processors that it asked for, or else the number that it got; the whole machine is one pool of
processors, because the format does not say which node had what. A job is planned with the time it asked for, never with less than it
ran (the archive's sites let some run over), or with its true run time (`clairvoyant`).
"""

from __future__ import annotations

import re
from pathlib import Path

from lilong.floors.compute.scheduler.jobs import Job, Option, Shape
from lilong.floors.compute.scheduler.state import WHOLE, Node
from lilong.floors.compute.traces.trace import LATEST_S, LONGEST_RUN_S, MOST_PROCESSORS, Trace, UnreadableTrace, lines, whole, within

COLUMNS = 18
REQUEST, CLAIRVOYANT = "request", "clairvoyant"


def read(file: Path, processors: int | None, estimate: str) -> Trace:
    """Raises UnreadableTrace."""
    trace, declared = Trace(), None
    rows: list[tuple[int, int, int, int, int, int]] = []
    for number, line in lines(file, "swf"):
        if not line or line[0] == ";":
            found = re.match(r";\s*MaxProcs:\s*(\d+)", line)
            declared = int(found.group(1)) if found else declared
            continue
        words = line.split()
        if len(words) != COLUMNS:
            trace.break_at(file, number, f"{len(words)} columns where {COLUMNS} are expected")
            continue
        try:
            values = [whole(word) for word in words[:12]]
        except ValueError as problem:
            trace.break_at(file, number, str(problem))
            continue
        job, submit, run = values[0], values[1], values[3]
        size = values[7] if values[7] > 0 else values[4]
        asked = values[8] if values[8] > 0 else run
        if run <= 0 or size <= 0:
            trace.left_out["never ran"] += 1
            continue
        try:
            for what, value, most in (
                ("submit", submit, LATEST_S),
                ("size", size, MOST_PROCESSORS),
                ("run", max(asked, run), LONGEST_RUN_S),
            ):
                within(str(value), what, most)
        except ValueError as problem:
            trace.break_at(file, number, str(problem))
            continue
        rows.append((submit, job, size, run, max(asked, run), values[11]))
    if not rows:
        raise UnreadableTrace(file=file, format="swf", problem=_what(trace), way_out="Give the log itself, as the archive has it.")
    machine = processors or declared
    if machine is None:
        raise UnreadableTrace(
            file=file, format="swf", problem="its header has no MaxProcs", way_out="Say how many processors there are with --procs."
        )
    rows.sort(key=lambda row: row[:2])
    users: dict[int, int] = {}
    for submit, job, size, run, limit, user in rows:
        tenant = users.setdefault(user, len(users))
        planned = run if estimate == CLAIRVOYANT else limit
        trace.jobs.append(Job(str(job), (Option(Shape(cpu=size * WHOLE)),), submit, planned, run, tenant, user=tenant))
    trace.tenants = [f"user {user}" for user in users]
    trace.pools, trace.classes = ["machine"], ["processor"]
    trace.nodes = [Node("machine", cpu=machine * WHOLE)]
    return trace


def _what(trace: Trace) -> str:
    if trace.broken:
        return f"none of its lines can be read, beginning with {trace.broken[0]}"
    return "it has no job that ran" if trace.left_out else "it is empty"
