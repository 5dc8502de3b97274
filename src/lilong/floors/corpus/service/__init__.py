"""The corpus floor's verbs: keep texts, fetch sources, build and publish corpus versions, share them, take texts down, look at them."""

from lilong.floors.compute.contract import JobFinished, JobStarted, JobSubmitted
from lilong.floors.hub.contract import RepositoryMoved
from lilong.ground.house import House

from . import following, uses
from .asking import contains
from .building import BUILD, build, datasheet, version, versions
from .fetching import FETCH, fetch, keep_text, source_set, source_sets
from .following import follow
from .membership import admit, join, leave, members
from .publishing import PUBLISH, publish
from .reaching import reach_of as reach
from .reports import contributions, contributor, drift, quality
from .rights import answer_request, forget_request, log_request, rights_request, rights_requests
from .taking_down import preview, takedown, takedown_shown, takedowns

__all__ = [
    "BUILD", "FETCH", "PUBLISH", "admit", "answer_request", "build", "contains", "contributions", "contributor", "datasheet", "drift", "fetch",
    "follow", "forget_request", "join", "keep_text", "leave", "log_request", "members", "preview", "publish", "quality", "reach",
    "rights_request", "rights_requests", "source_set", "source_sets", "start", "takedown", "takedown_shown", "takedowns", "version", "versions",
]  # fmt: skip


def start(house: House) -> None:
    house.subscribe("corpus.jobs", (JobStarted.kind, JobFinished.kind), follow)
    house.subscribe("corpus.uses", (JobSubmitted.kind,), uses.noted)
    house.subscribe("corpus.repositories", (RepositoryMoved.kind,), following.moved)
    uses.start(house)
