"""The port that other floors use."""

from __future__ import annotations

from typing import Any

from lilong.floors.compute import store
from lilong.floors.compute.contract import Compute, Job, JobAsk, JobState
from lilong.floors.compute.rules.settings import LOCAL
from lilong.floors.compute.service import holding, submitting
from lilong.floors.compute.store import asking
from lilong.floors.compute.work.sites import Sites
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.house import House


class Jobs:
    def __init__(self, house: House) -> None:
        self._house = house

    def submit(self, tx: Tx, actor: Actor, ask: JobAsk) -> Job:
        """Raises Forbidden, BadInput, JobImpossible, KeyReused, and what else `submitting.submit` says."""
        return submitting.submit(self._house, tx, actor, ask)

    def job(self, tx: Tx, actor: Actor, job_id: str) -> Job:
        condition, parameters = self._house.access.visible(actor, "jobs.read", "organisation")
        return store.job(tx, job_id, condition, parameters)

    def cancel(self, tx: Tx, actor: Actor, job_id: str) -> Job:
        return holding.cancel(self._house, tx, actor, job_id)

    def published(self, tx: Tx, job_id: str, revision: str | None, problem: str | None = None) -> bool:
        return asking.published(tx, job_id, revision, problem)

    def progress(self, job_id: str, after: int = 0) -> list[dict[str, Any]]:
        job = self._house.db.read(lambda tx: store.job(tx, job_id))
        return self._house.port(Sites).named(job.site or LOCAL).progress(job_id, after)

    def service(self, job_id: str) -> str | None:
        job = self._house.db.read(lambda tx: store.job(tx, job_id))
        return job.address if job.state is JobState.READY else None


def port(house: House) -> Compute:
    return house.port(Compute)  # type: ignore[type-abstract]
