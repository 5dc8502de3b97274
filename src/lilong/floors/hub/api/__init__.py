"""The doors: the public Hub's HTTP API as its clients use it, Git LFS, and the house's own few routes."""

from . import (  # noqa: F401 - each declares its routes
    access_requests,
    attachments,
    buckets,
    collections,
    content,
    discussions,
    git,
    history,
    imports,
    likes,
    oauth,
    own,
    past,
    repositories,
    storage,
    transfer,
    trust,
    users,
    viewer,
    webhooks,
    xet_tokens,
)
from .elsewhere import routes  # after all others: it answers what they do not take

__all__ = ["routes"]
