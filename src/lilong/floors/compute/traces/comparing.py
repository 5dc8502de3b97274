"""Several policies over one trace: their figures side by side, and what their queues looked like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lilong.floors.compute.scheduler.jobs import FINISHED
from lilong.floors.compute.scheduler.simulation.run import Run
from lilong.floors.compute.scheduler.state import WHOLE
from lilong.floors.compute.traces.playing import Ask, play

_STEPS = 600  # points of a curve over time
_SHARES = 400  # points of a distribution
_SOON_S = 10  # waits below it are drawn as it
Curve = list[tuple[float, float]]


def compare(ask: Ask, names: Sequence[str], tell: Callable[[str], None] | None = None) -> dict[str, dict[str, Any]]:
    """Policy -> its figures (see `play`) with `series`: unfinished jobs and busy devices by day, and the % of jobs
    that waited longer than so many seconds in all.
    """
    found = {}
    for name in names:
        if tell:
            tell(name)
        kept: list[Run] = []
        found[name] = play(replace(ask, policy=name), keep=kept.append)
        found[name]["series"] = series(kept[0])
    return found


def series(run: Run) -> dict[str, Curve]:
    """Times in days since the first submission, waits in seconds. Of a run with preemptions no busy devices are told: a job's row
    knows only its last start.
    """
    rows = run.book.jobs.job[:-1]
    done = rows[rows.state == FINISHED]
    if not done.size:
        return {"unfinished": [], "busy": [], "waits": []}
    submit, start, end = (done[name].astype(np.int64) for name in ("submit", "start", "end"))
    at = np.linspace(int(submit.min()), int(end.max()), _STEPS)
    days = (at - at[0]) / 86400

    def over_time(begin: Any, weights: Any) -> Curve:
        def total(times: Any) -> Any:
            order = np.argsort(times, kind="stable")
            return np.concatenate([[0.0], np.cumsum(weights[order])])[np.searchsorted(times[order], at, side="right")]

        return list(zip(days.tolist(), (total(begin) - total(end)).tolist(), strict=True))

    waits = np.sort(end - submit - done.run)
    soon = int(np.searchsorted(waits, _SOON_S, side="right"))
    steps = np.unique(np.linspace(max(soon - 1, 0), waits.size - 1, min(_SHARES, waits.size - soon + 1)).astype(int))
    return {
        "unfinished": over_time(submit, np.ones(submit.size)),
        "busy": [] if (done.stops > 0).any() else over_time(start, done.width / WHOLE),
        "waits": [(float(max(waits[step], _SOON_S)), 100 * (1 - (step + 1) / waits.size)) for step in steps.tolist()],
    }


def draw(found: dict[str, dict[str, Any]], folder: Path) -> list[Path]:
    """One picture of all, and one of each policy, as SVG files that stand by themselves."""
    from lilong.floors.compute.pages.pictures import Series, curves, standalone

    folder.mkdir(parents=True, exist_ok=True)
    made = []

    def write(name: str, lines: Sequence[Series], **words: Any) -> None:
        made.append(folder / f"{name}.svg")
        made[-1].write_text(standalone(curves(lines, **words)), encoding="utf-8")

    if all(told["allocated_pct"] for told in found.values()):
        lines = [Series(name, [(float(at), part) for at, part in told["allocated_pct"].items()]) for name, told in found.items()]
        write("allocated", lines, title="Devices allocated as jobs arrive", x_label="arrived (% of all devices)", y_label="% allocated")
        return made
    lines = [Series(name, told["series"]["waits"]) for name, told in found.items()]
    write("waits", lines, title="Share of jobs that waited longer", x_label="longer than (s)", y_label="% of jobs", log_x=True)
    for name, told in found.items():
        jobs, busy = Series("unfinished jobs", told["series"]["unfinished"]), Series("busy devices", told["series"]["busy"])
        if busy.points:
            write(name, [jobs, busy], title=f"{name}: the queue and the devices", x_label="days", y_label="jobs, devices")
        else:
            write(name, [jobs], title=f"{name}: the queue", x_label="days", y_label="jobs")
    return made
