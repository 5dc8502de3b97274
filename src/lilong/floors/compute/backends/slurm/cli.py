"""Slurm's commands: how they are called, and what their failures mean."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lilong.floors.compute.backends.slurm.options import Options
from lilong.floors.compute.contract import SiteDown
from lilong.ground import seams
from lilong.ground.errors import Refused


class SlurmRefused(Refused):
    """Slurm said no: {said}. {way_out}"""


class NotHere(Refused):
    """The site '{site}' cannot run this: {problem}. {way_out}"""


class Unanswered(SiteDown):
    """The site '{site}' did not answer in time: {problem}. {way_out}"""


_DOWN = (
    "unable to contact slurm controller", "connection refused", "connect failure", "socket timed out", "zero bytes were transmitted",
    "transport endpoint", "dns srv lookup failed", "could not establish a configuration source", "munge", "authentication",
    "slurm_persist_conn", "slurm backup controller in standby", "unable to contact the slurmdbd", "sending persistinit msg",
    "problem talking to the database", "communication connection failure", "connection timed out", "incompatible versions",
    "resource temporarily unavailable", "unable to connect to database",
)  # fmt: skip
_WAYS_OUT = (
    ("invalid account or account/partition", "Give the user an association: sacctmgr add user {user} account={account}; or set the option `account`."),
    ("invalid qos", "Set the option `qos` to one that the account has: sacctmgr show assoc user={user} format=qos."),
    ("invalid partition", "Set the option `partition` to one that `sinfo` lists."),
    ("user's group not permitted", "Ask the cluster's administrator for access to the partition, or set the option `partition`."),
    ("accounting/qos policy", "The cluster's own limits refuse it: ask for less, or have the account's limits raised (sacctmgr)."),
    ("node configuration is not available", "No node of the partition has what the job asks for: compare `sinfo -o '%N %c %m %G'` and the option `gres`."),
    ("invalid generic resource", "Map the accelerator class in the option `gres` to a name and type that `sinfo -o %G` lists."),
    ("time limit", "Ask for less time, or use a partition that allows more."),
    ("permission denied", "The user {user} needs operator rights in Slurm for this: sacctmgr modify user {user} set adminlevel=operator."),
    ("invalid node name", "Use a name that `sinfo -N` lists."),
)  # fmt: skip


class Commands:
    """Slurm's commands on one cluster."""

    def __init__(self, site: str, options: Options, user: str) -> None:
        self._site = site
        self._options = options
        self._user = user
        path = os.environ.get("PATH", os.defpath)
        self._environment = {
            "PATH": f"{options.bin}:{path}" if options.bin else path,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "SLURM_TIME_FORMAT": "standard",
            **({"SLURM_CONF": options.conf} if options.conf else {}),
        }

    def ask(self, *argv: str, stdin: bytes | None = None, environment: dict[str, str] | None = None, keep: Sequence[int] = ()) -> str:
        """What a command prints. Raises SiteDown if it got no answer (Unanswered: perhaps one is under way), SlurmRefused if it was a no."""
        try:
            done = seams.run(
                argv, cwd=Path("/"), env=self._environment | (environment or {}), timeout=self._options.timeout_s, stdin=stdin, keep=keep
            )
        except subprocess.TimeoutExpired:
            way_out = "See whether slurmctld is overloaded: `sdiag`. Nothing is lost: the house goes on as soon as it answers."
            raise Unanswered(
                site=self._site, problem=f"{argv[0]} took longer than {self._options.timeout_s:g} s", way_out=way_out
            ) from None
        except OSError as error:
            way_out = "Install Slurm's commands on the house's machine (Debian: slurm-client), or set the option `bin`."
            raise SiteDown(site=self._site, problem=f"{argv[0]}: {error}", way_out=way_out) from error
        if done.returncode == 0:
            return done.stdout.decode(errors="replace")
        raise self._problem(argv[0], (done.stderr or done.stdout).decode(errors="replace"))

    def _problem(self, command: str, text: str) -> SiteDown | SlurmRefused:
        lines = [line.strip().removeprefix(f"{command}: ").removeprefix("error: ") for line in text.splitlines() if line.strip()]
        said = "; ".join(dict.fromkeys(lines))[:400].rstrip(".") or f"{command} failed without a word"
        lower = said.lower()
        if any(mark in lower for mark in _DOWN):
            daemon = "slurmdbd" if command in ("sacct", "sacctmgr") else "slurmctld and munged"
            way_out = f"See whether {daemon} are up (`scontrol ping`). Jobs inside Slurm go on; the house waits for it."
            kind = Unanswered if "timed out" in lower or "zero bytes" in lower else SiteDown
            return kind(site=self._site, problem=said, way_out=way_out)
        account = self._options.account or "ACCOUNT"
        way_out = next((way for mark, way in _WAYS_OUT if mark in lower), "See the cluster's own rules, or ask its administrator.")
        return SlurmRefused(said=said, way_out=way_out.format(user=self._user, account=account))
