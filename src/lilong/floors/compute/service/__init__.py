"""The verbs of the compute floor, and what it offers to the floors above."""

from lilong.floors.compute.service.jobs import cancel, jobs, logs, output, progress, show, submit, submit_file
from lilong.floors.compute.service.opening import start
from lilong.floors.compute.service.port import Jobs, port
from lilong.floors.compute.service.sites import SiteFacts, site

__all__ = ["Jobs", "SiteFacts", "cancel", "jobs", "logs", "output", "port", "progress", "show", "site", "start", "submit", "submit_file"]
