"""The git program: where it is, the settings it runs with, and bare repositories for it to work on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO

from lilong.ground.blobs import write_durably
from lilong.ground.errors import Unavailable
from lilong.ground.seams import run, start

# Threads and memory of one fetch are bounded; whatever is in the cache of a repository, its readers may have.
_CONFIG = """[core]
\trepositoryformatversion = 0
\tbare = true
\tlogAllRefUpdates = false
[uploadpack]
\tallowFilter = true
\tallowAnySHA1InWant = true
[http]
\treceivepack = false
[pack]
\tthreads = 1
\twindowMemory = 64m
[gc]
\tauto = 0
"""


class GitMissing(Unavailable):
    """git is not available: {problem}. Install git 2.34 or newer on the server."""


def environment() -> dict[str, str]:
    """Nothing of the server's own user reaches git; the folders are the house's, whoever owns them on the disk."""
    return {
        "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
    }  # fmt: skip


@lru_cache(maxsize=1)
def backend() -> str:
    """git's own CGI program for smart HTTP. Raises GitMissing."""
    try:
        said = run(["git", "--exec-path"], env=environment())
    except FileNotFoundError as problem:
        raise GitMissing(problem="there is no program of that name") from problem
    program = Path(said.stdout.decode().strip()) / "git-http-backend"
    if not program.is_file():
        raise GitMissing(problem=f"{program} is not there")
    return str(program)


def lay_out(folder: Path) -> None:
    """An empty bare repository. `HEAD` comes last: a folder that has it is complete."""
    for name in ("objects/pack", "objects/info", "refs/heads", "refs/tags"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "config").write_text(_CONFIG)
    write_durably(folder / "HEAD", b"ref: refs/heads/main\n")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program and whatever it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.wait()


class Objects:
    """Reads objects of a repository one by one, through `git cat-file --batch`."""

    def __init__(self, folder: Path) -> None:
        self._process = start(["git", "cat-file", "--batch"], cwd=folder, env=environment(), stdin=subprocess.PIPE)

    def __enter__(self) -> Objects:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        stop(self._process)

    def get(self, identity: str) -> tuple[str, bytes] | None:
        """(type, content), or None where there is no such object."""
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None and answered is not None
        asked.write(identity.encode() + b"\n")
        asked.flush()
        words = answered.readline().split()
        if len(words) != 3:
            return None
        content = _exactly(answered, int(words[2]) + 1)[:-1]
        return words[1].decode(), content


def _exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) != count:
        raise GitMissing(problem="git cat-file ended early")
    return content
