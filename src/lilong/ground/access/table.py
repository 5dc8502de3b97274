"""The table of permissions: which role may do what. A permission is floor.verb; reading is a permission like any other."""

from __future__ import annotations

HOUSE = "house"  # the scope that covers every organisation
PUBLIC = "public"  # a route that needs no sign-in
SIGNED_IN = "signed-in"  # a route that any user may call; what it shows is filtered

_READ = frozenset({"jobs.read", "hub.read", "corpus.read", "training.read", "evaluation.read", "compat.read", "serving.read", "governance.read", "evidence.read", "chain.read", "organisations.read"})  # fmt: skip
_WORK = _READ | {"jobs.submit", "jobs.cancel", "hub.write", "hub.discuss", "corpus.build", "training.run", "evaluation.run", "compat.run", "serving.deploy", "serving.use", "governance.request", "evidence.export", "chain.run"}  # fmt: skip
ROLES: dict[str, frozenset[str]] = {
    "reader": _READ | {"serving.use", "hub.discuss"},
    "keeper": frozenset(
        {"hub.read", "hub.write", "hub.discuss", "hub.manage", "organisations.read"}
    ),  # what everyone is in their own namespace
    "member": _WORK,
    "owner": _WORK | {"organisations.manage", "hub.manage", "jobs.network", "secrets.manage", "corpus.steward"},
    "steward": _READ | {"corpus.steward"},  # takes texts down and answers people whose data stands in a corpus; of the house: for all
    "reviewer": _READ | {"governance.review"},
    "operator": _WORK
    | {"organisations.manage", "hub.manage", "jobs.network", "secrets.manage", "corpus.steward", "house.manage", "house.read", "governance.revoke", "evidence.revoke"},
}
PERMISSIONS = frozenset().union(*ROLES.values())
OF_THE_HOUSE = PERMISSIONS - frozenset().union(*(ROLES[role] for role in ("reader", "keeper", "member", "owner")))  # no role in an organisation has them
# The first parts of the house's own addresses: no namespace has such a name.
PATHS = frozenset({
    "admin", "api", "buckets", "chains", "collections", "compute", "corpora", "datasets", "evidence", "healthz", "house", "jobs", "kernels", "metrics", "models", "new", "oauth",
    "organisations", "organizations", "preferences", "readyz", "reports", "settings", "sign-in", "sign-out", "spaces", "static", "uploads", "users", "v1", "xet",
})  # fmt: skip
