"""What an operator declares of a Slurm cluster, under `[sites.NAME.options]`."""

from __future__ import annotations

import getpass
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lilong.floors.compute.rules.reading import Reader
from lilong.ground.sandbox import Level

ALLOWED = frozenset(
    {"--constraint", "--exclude", "--reservation", "--switches", "--licenses", "--network", "--gres-flags", "--hint", "--core-spec",
     "--threads-per-core", "--exclusive", "--nice", "--wckey", "--cpu-freq", "--tmp", "--power", "--bb", "--clusters"}
)  # fmt: skip
"""What `arguments` may say: where and beside whom a job runs, never what runs, as whom, or how its end is told."""
_WORD = re.compile(r"[A-Za-z0-9_.@+-]{0,64}")
_GRES = re.compile(r"[a-z0-9_]{1,32}(:[A-Za-z0-9_.-]{1,64})?")
_COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sacct", "sdiag")


@dataclass(frozen=True, slots=True)
class Options:
    folder: Path  # of the run folders, at the same place on the house's machine and on every node
    conf: str = ""  # slurm.conf; "": as the commands find it
    bin: str = ""  # folder of Slurm's commands; "": the search path
    partition: str = ""
    account: str = ""
    qos: str = ""
    user: str = ""  # as whom the house submits; it must run as that one
    python: str = sys.executable  # on the nodes: 3.11 or later
    gres: Mapping[str, str] = field(default_factory=dict)  # accelerator class -> name or name:type; a class that is not here: gpu:CLASS
    vendors: Mapping[str, str] = field(default_factory=dict)  # accelerator class -> vendor, where its name does not tell
    sandbox: str = "none"  # the least level on the nodes
    levels: tuple[str, ...] = ("rack", "zone")  # names of Slurm's levels of switches, from the nodes upwards
    arguments: tuple[str, ...] = ()  # further ones of sbatch
    look_s: float = 2.0  # least time between two looks at the queue
    timeout_s: float = 30.0  # for each command

    @classmethod
    def read(cls, site: str, options: Mapping[str, Any]) -> Options:
        """Raises BadInput, which names the key."""
        table = Reader(options, f"sites.{site}.options")
        folder = Path(table.text("folder"))
        if not folder.is_absolute() or "%" in str(folder) or "\\" in str(folder):
            problem = f"{str(folder)!r} is no absolute path" if options.get("folder") else "it is missing"
            raise table.wrong("folder", problem, "Name a folder that the house and all nodes see at the same place, without '%'.")
        found = cls(
            folder=folder,
            conf=_existing(table, "conf"),
            bin=_existing(table, "bin"),
            partition=_word(table, "partition"),
            account=_word(table, "account"),
            qos=_word(table, "qos"),
            user=_word(table, "user"),
            python=table.text("python", sys.executable),
            gres=_gres(table),
            vendors=table.words("vendors"),
            sandbox=table.one_of("sandbox", [level.word for level in Level], "none"),
            levels=table.texts("levels", ("rack", "zone")),
            arguments=_arguments(table),
            look_s=table.number("look_s", 2.0, 0.0, 3600.0),
            timeout_s=table.number("timeout_s", 30.0, 1.0, 3600.0),
        )
        table.end()
        if found.user and found.user != getpass.getuser():
            raise table.wrong("user", f"the house runs as {getpass.getuser()!r}", f"Run the house as {found.user!r}, or leave the key out.")
        missing = [command for command in _COMMANDS if shutil.which(command, path=found.bin or None) is None]
        if missing:
            raise table.wrong(
                "bin" if found.bin else "driver",
                f"Slurm's commands are not on this machine: {', '.join(missing)}",
                "Install them (Debian: slurm-client), or name their folder in `bin`.",
            )
        return found


def _existing(table: Reader, key: str) -> str:
    text = table.text(key)
    if text and not (text.startswith("/") and Path(text).exists()):
        raise table.wrong(key, f"there is no {text!r}", "Give an absolute path that exists on the house's machine.")
    return text


def _word(table: Reader, key: str) -> str:
    text = table.text(key)
    if not _WORD.fullmatch(text):
        raise table.wrong(key, f"{text[:80]!r} is no name in Slurm", "Use letters, digits and _ . @ + -.")
    return text


def _gres(table: Reader) -> dict[str, str]:
    found = table.words("gres")
    for accelerator, name in found.items():
        if not _GRES.fullmatch(name):
            raise table.wrong(f"gres.{accelerator}", f"{name[:80]!r} is no generic resource", 'Write its name and type, such as "gpu:h20".')
    return found


def _arguments(table: Reader) -> tuple[str, ...]:
    found = table.texts("arguments")
    for argument in found:
        name = argument.partition("=")[0]
        if name not in ALLOWED:
            raise table.wrong("arguments", f"{argument[:80]!r} is not allowed here", f"Of sbatch's, use: {', '.join(sorted(ALLOWED))}.")
    return found
