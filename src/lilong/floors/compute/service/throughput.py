"""How fast families of programs run on each class of device, as the floors above have measured it."""

from __future__ import annotations

import math

from lilong.floors.compute.contract import WorkMeasured
from lilong.floors.compute.rules.ways import blended
from lilong.floors.compute.store import places
from lilong.ground.db import Tx
from lilong.ground.events import Recorded
from lilong.ground.house import House
from lilong.ground.seams import stamp

LEAST_S = 1.0  # a job that took less tells more of its start than of its work


def start(house: House) -> None:
    house.subscribe("compute.throughput", (WorkMeasured.kind,), follow)


def follow(house: House, recorded: Recorded) -> None:
    """A job's work was measured: its family's speed on the class of device that it had, for each device and second. Twice is once."""
    units, source = float(recorded.body.get("units", 0.0)), f"event {recorded.seq}"

    def write(tx: Tx) -> None:
        ran = places.stint(tx, recorded.subject)
        if ran is None or ran.seconds < LEAST_S or ran.amount <= 0 or not 0 < units < math.inf:
            return
        known = places.rate(tx, ran.family, ran.accelerator)
        if known is not None and known[1] == source:
            return
        speed = blended(None if known is None else known[0], units / ran.amount / ran.seconds)
        places.measured(tx, ran.family, ran.accelerator, speed, source, stamp(house.clock.now()))

    house.db.write(write)
