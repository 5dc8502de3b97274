"""The doors: the public Hub's HTTP API as its clients use it, Git LFS, and the house's own few routes."""

from . import content, history, own, repositories, transfer  # noqa: F401 - each declares its routes
from .door import routes

__all__ = ["routes"]
