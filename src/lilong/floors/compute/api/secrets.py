"""Secrets of jobs: set and named, never shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import Request

from lilong.floors.compute.service import secrets
from lilong.floors.compute.service.secrets import Secret
from lilong.ground.web import call

from .door import routes


@dataclass(frozen=True, slots=True)
class Value:
    value: str = field(repr=False)


@routes.get("/compute/secrets", allow="jobs.submit")
async def listed(request: Request, organisation: str | None = None) -> list[Secret]:
    """The names of the secrets that one's jobs could use."""
    return await call(secrets.listed, request, organisation)


@routes.put("/compute/secrets/{organisation}/{name}", allow="secrets.manage")
async def put(request: Request, organisation: str, name: str, given: Value) -> Secret:
    """Set or replace a secret."""
    return await call(secrets.put, request, organisation, name, given.value)


@routes.delete("/compute/secrets/{organisation}/{name}", allow="secrets.manage", status=204)
async def remove(request: Request, organisation: str, name: str) -> None:
    """Forget a secret."""
    await call(secrets.remove, request, organisation, name)
