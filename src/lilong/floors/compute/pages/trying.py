"""What-if as its page asks for it and tells it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from lilong.floors.compute.pages import pictures
from lilong.floors.compute.rules.changing import inline
from lilong.floors.compute.service.whatif import Compared, WhatIf

# Figure -> its name, and how its value is shown: as a time, a share or a number.
FIGURES: Mapping[str, tuple[str, str]] = {
    "jobs": ("Jobs", "number"),
    "finished": ("Jobs finished", "number"),
    "refused": ("Jobs refused", "number"),
    "mean_completion_s": ("Mean time to completion", "time"),
    "median_completion_s": ("Median time to completion", "time"),
    "p99_completion_s": ("99 % complete within", "time"),
    "mean_queue_s": ("Mean wait", "time"),
    "p99_queue_s": ("99 % wait no longer than", "time"),
    "avg_bounded_slowdown": ("Mean bounded slowdown", "number"),
    "jain": ("Jain's index of fairness", "number"),
    "utilisation": ("Utilisation", "share"),
    "nodes": ("Nodes", "number"),
    "devices": ("Devices", "number"),
    "device_hours": ("Device-hours", "number"),
    "cost": ("Cost", "number"),
    "energy_cost": ("Cost of the energy", "number"),
    "kwh": ("Energy in kWh", "number"),
    "kgco2": ("Carbon in kg CO₂", "number"),
    "span_s": ("From the first to the last", "time"),
}
_ADD, _REMOVE = "add-site ", "remove-site "


def asked(since: str, text: str) -> WhatIf:
    """One change a line: KEY=VALUE, `add-site name=…,nodes=…` or `remove-site NAME`. Raises BadInput."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return WhatIf(
        since,
        tuple(line for line in lines if not line.startswith((_ADD, _REMOVE))),
        tuple(inline(line.removeprefix(_ADD)) for line in lines if line.startswith(_ADD)),
        tuple(line.removeprefix(_REMOVE).strip() for line in lines if line.startswith(_REMOVE)),
    )


def chart(told: Compared, _: Callable[[str], str]) -> Markup:
    """Jobs that wait and devices in use, before and after."""
    moments: Sequence[int] = told.curves["at_s"]
    name, size = _unit(moments[-1] - moments[0], _)
    at = [(moment - moments[0]) / size for moment in moments]
    lines = [
        pictures.Series(words, list(zip(at, told.curves[side][which], strict=True)))
        for words, which, side in (
            (_("waiting, now"), "waiting", "before"),
            (_("waiting, changed"), "waiting", "after"),
            (_("devices, now"), "used", "before"),
            (_("devices, changed"), "used", "after"),
        )
    ]
    return pictures.curves(lines, title=_("The queue and the devices, before and after"), x_label=name, y_label=_("jobs, devices"))


def _unit(seconds: int, _: Callable[[str], str]) -> tuple[str, int]:
    """The largest unit of which there are at least two, and how many seconds it has."""
    if seconds >= 2 * 86_400:
        return _("days"), 86_400
    if seconds >= 7200:
        return _("hours"), 3600
    return (_("minutes"), 60) if seconds >= 120 else (_("seconds"), 1)
