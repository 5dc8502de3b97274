"""What the public Hub has and this house has none of: clients are told so in the way that they understand.

These routes come after all others, and take what no other did.
"""

from __future__ import annotations

from fastapi import Request, Response

from lilong.floors.hub.contract import RepositoryNotFound
from lilong.ground.access import PUBLIC

from .door import routes, sent_path

__all__ = ["routes"]


async def _missing(request: Request) -> Response:
    kind = sent_path(request).strip("/").removeprefix("api/").partition("/")[0].removesuffix("s")
    parts = [str(request.path_params[key]) for key in ("organisation", "name") if key in request.path_params]
    raise RepositoryNotFound(kind=kind, name="/".join(parts)[:200])


for _kind in ("spaces", "kernels"):
    for _method in ("GET", "POST", "PUT", "DELETE"):
        for _path in (f"/api/{_kind}/{{organisation}}/{{name}}", f"/api/{_kind}/{{organisation}}/{{name}}/{{rest:path}}"):
            routes.route(_method, _path, allow=PUBLIC)(_missing)
    for _method in ("GET", "HEAD"):
        routes.route(_method, f"/{_kind}/{{organisation}}/{{name}}/resolve/{{rest:path}}", allow=PUBLIC)(_missing)

# Names without an organisation, such as `gpt2`.
for _verb in ("revision", "tree", "commits"):
    routes.both("GET", f"/api/{{kinds}}/{{name}}/{_verb}/{{rest:path}}", allow=PUBLIC)(_missing)
for _verb in ("paths-info", "preupload", "commit", "branch", "tag", "super-squash"):
    routes.both("POST", f"/api/{{kinds}}/{{name}}/{_verb}/{{rest:path}}", allow=PUBLIC)(_missing)
routes.both("DELETE", "/api/{kinds}/{name}/like", allow=PUBLIC)(_missing)
routes.delete("/api/buckets/{name}", allow=PUBLIC)(_missing)
