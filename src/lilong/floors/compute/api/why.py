"""Why a job waits, how well starts were foretold, and what other settings would do."""

from __future__ import annotations

from fastapi import Request

from lilong.floors.compute.service import estimate, whatif, why
from lilong.floors.compute.service.estimate import Estimates
from lilong.floors.compute.service.whatif import Compared, WhatIf
from lilong.floors.compute.service.why import Why
from lilong.ground.web import call

from .door import routes


@routes.get("/compute/jobs/{job_id}/why", allow="jobs.read")
async def explain(request: Request, job_id: str) -> Why:
    """Why a job waits, what would make it start now, and when it will; or how it came to run."""
    return await call(why.why, request, job_id)


@routes.get("/compute/estimates", allow="jobs.read")
async def estimates(request: Request) -> Estimates:
    """How many jobs started by the time that was said."""
    return await call(estimate.estimates_held, request)


@routes.post("/compute/what-if", allow="house.manage")
async def what_if(request: Request, ask: WhatIf) -> Compared:
    """The house's own jobs of some time under the settings as they are, and as they might be."""
    return await call(whatif.what_if, request, ask)
