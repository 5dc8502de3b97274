"""Serving's verbs, one function each, and what the floor starts with."""

from lilong.floors.serving.contract import Serving
from lilong.floors.serving.service.asking import ask
from lilong.floors.serving.service.deployments import deploy, job_finished, job_ready, listed, reconsider, shown, stop
from lilong.floors.serving.service.plane import Plane
from lilong.floors.serving.service.receipts import Receipts, evidence_of, receipt, recent, settle, usage, verify_seals
from lilong.ground.house import House

__all__ = ["ask", "deploy", "evidence_of", "listed", "receipt", "recent", "settle", "shown", "start", "stop", "usage", "verify_seals"]

SETTLE_SECONDS = 60.0


def start(house: House) -> None:
    """Called once for each house: the port, the subscriptions, the chore; with a running server also the gateway."""
    house.provide(Serving, Receipts(house))  # type: ignore[type-abstract]
    house.subscribe("serving.ready", ("compute.job-ready",), job_ready)
    house.subscribe("serving.finished", ("compute.job-finished",), job_finished)
    house.subscribe("serving.revoked", ("statement.revoked",), reconsider)
    house.checks.append(verify_seals)
    house.chore("serving.settle", SETTLE_SECONDS, settle)
    if house.background:
        plane = Plane(house)
        house.provide(Plane, plane)
        house.closing.append(plane.close)
        house.metrics.append(plane.metrics)
        house.starting.append(plane.start)
