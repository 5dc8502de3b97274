"""The settings that operators apply, sites, and nodes that take no new work."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from lilong.floors.compute.service import settings
from lilong.floors.compute.service.settings import Applied, NodeShown, SettingsShown, SiteShown
from lilong.ground.web import call

from .door import routes


@dataclass(frozen=True, slots=True)
class Document:
    """`toml`: the text of a settings file."""

    toml: str
    dry_run: bool = False


@routes.post("/compute/settings", allow="house.manage")
async def apply(request: Request, document: Document) -> Applied:
    """Put a settings file in force, or say what it would change."""
    return await call(settings.apply, request, document.toml, dry_run=document.dry_run)


@routes.get("/compute/settings", allow="house.manage")
async def shown(request: Request, version: int | None = None) -> SettingsShown:
    """The settings in force, or a version of before."""
    return await call(settings.shown, request, version)


@routes.get("/compute/sites", allow="jobs.read")
async def sites(request: Request) -> list[SiteShown]:
    """Where jobs may run."""
    return await call(settings.sites, request)


@routes.get("/compute/sites/{site}/nodes", allow="jobs.read")
async def nodes(request: Request, site: str) -> list[NodeShown]:
    """The nodes of a site."""
    return await call(settings.nodes, request, site)


@routes.put("/compute/sites/{site}/nodes/{node}/drain", allow="house.manage")
async def drain(request: Request, site: str, node: str) -> list[NodeShown]:
    """Let a node take no new work; idempotent."""
    return await call(settings.drain, request, site, node, on=True)


@routes.delete("/compute/sites/{site}/nodes/{node}/drain", allow="house.manage")
async def undrain(request: Request, site: str, node: str) -> list[NodeShown]:
    """Let a node take work again; idempotent."""
    return await call(settings.drain, request, site, node, on=False)
