"""What the routes share."""

from __future__ import annotations

from lilong.ground.web import Routes

routes = Routes(prefix="/api", tag="compute")
