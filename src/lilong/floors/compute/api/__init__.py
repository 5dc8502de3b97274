"""The compute floor over HTTP: its own routes, and those by which the `hf jobs` commands of the Hugging Face CLI run jobs here."""

from . import hf_jobs, jobs, replay, secrets, settings, why  # noqa: F401 - each declares its routes
from .door import routes

__all__ = ["routes"]
