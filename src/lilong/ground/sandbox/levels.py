"""What a sandbox is asked to be, and what starting it takes. Imports on every system."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lilong.ground.errors import Refused

MIB = 1 << 20
# Under /etc, for jobs with network: names, certificates, and where the package tools find their registries. Not apt's auth.conf.d.
ETC_NETWORK = (
    "resolv.conf", "hosts", "ssl", "ca-certificates", "pki", "services", "protocols", "gai.conf", "pip.conf", "xdg/pip",
    *(f"apt/{name}" for name in ("apt.conf", "apt.conf.d", "sources.list", "sources.list.d", "preferences.d", "trusted.gpg.d", "keyrings")),
)  # fmt: skip


class Level(enum.IntEnum):
    """How strongly a program is kept in; a higher level keeps in all that a lower one does."""

    NONE = 0
    """Resource limits and a clean environment only: what a macOS laptop gives."""
    LANDLOCK = 1
    """The kernel's Landlock rules on files, sockets and signals, plus the system call filter. Sees the host's processes."""
    BUBBLEWRAP = 2
    """Own mount, process, user, network and IPC namespaces by bubblewrap, plus the system call filter."""
    GVISOR = 3
    """A kernel of its own in user space. Not built in yet."""

    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, word: str) -> Level:
        return cls[word.upper()]


class LevelMissing(Refused):
    """The sandbox level '{level}' does not work on this machine: {problem}. {way_out}"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard limits of one program with all of its descendants. `None` = no limit."""

    memory_bytes: int | None = None
    """Resident memory of the whole tree."""
    processes: int | None = 512
    """Processes of the whole tree."""
    file_bytes: int | None = None
    """Largest single file (RLIMIT_FSIZE)."""
    folder_bytes: int | None = None
    """Bytes in all writable folders together."""
    tmp_bytes: int = 1 << 30
    """Size of the private /tmp."""
    cpu_seconds: int | None = None
    """CPU seconds of one process (RLIMIT_CPU)."""
    open_files: int = 4096


@dataclass(frozen=True, slots=True)
class Bind:
    """A host path that the program may see at `target` (the same path where `target` is None)."""

    source: Path
    target: str | None = None
    writable: bool = False

    @property
    def seen_at(self) -> str:
        return self.target or str(self.source)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A program, what it may see, and what it may use."""

    argv: tuple[str, ...]
    binds: tuple[Bind, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/tmp"  # noqa: S108 - inside the sandbox /tmp is private
    network: bool = False
    limits: Limits = Limits()
    loopback: bool = False
    """Without a network: its processes may still reach one another over a loopback of their own (bubblewrap gives one always)."""
    devices: tuple[str, ...] = ()
    """Files under /dev that it may use; those that are not there are left out."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything needed to start a sandboxed program from a process that knows nothing of sandboxes; goes through JSON.

    `{fd:NAME}` in `argv` stands for the number of an open descriptor: for a name in `data` one that reads those bytes
    (base64), `info` and `block` are bubblewrap's pipes of these names.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    level: str
    limits: Limits
    data: Mapping[str, str] = field(default_factory=dict)
    held: bool = False
    """The program is held until the starter has set the limits that only make sense inside its namespaces."""
    cwd: str | None = None
    watched: tuple[str, ...] = ()
    """Host folders whose bytes count against `limits.folder_bytes`."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Launch:
        named = dict(value)
        named["limits"] = Limits(**named["limits"])
        named["argv"] = tuple(named["argv"])
        named["watched"] = tuple(named["watched"])
        return cls(**named)
