"""`python -m lilong.floors.compute.supervisor.launch [--mount FOLDER=PATH …] -- PROGRAM ARGUMENTS`: for programs made for another place.

Arguments below a mounted path are read from that input folder instead, and the job's secrets, which it is handed by file descriptor, are
put where such programs look for them: in the environment, but only of the program itself, once it runs. A Python program runs in this
process, so that its secrets never were in any environment that a process began with.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def main(words: Sequence[str]) -> None:
    mounts: dict[str, str] = {}
    words = list(words)
    while words[:1] == ["--mount"]:
        folder, _, path = words[1].partition("=")
        mounts[path] = str(Path(os.environ["LILONG_IN"]) / folder)
        words = words[2:]
    command = [_moved(word, mounts) for word in words[1:]]
    from lilong.ground.work import Workspace

    os.environ.update(Workspace.here().secrets())
    sys.excepthook = sys.__excepthook__
    if command[0] != "python":
        os.execvp(command[0], command)  # noqa: S606 - the job's own program
    _python(command[1:])


def _moved(word: str, mounts: Mapping[str, str]) -> str:
    for path, folder in mounts.items():
        if word == path or word.startswith(path + "/"):
            return folder + word[len(path) :]
    return word


def _python(words: list[str]) -> None:
    """What the interpreter itself would do with these words."""
    while words and words[0] in ("-u", "-B", "-s", "-E"):
        words = words[1:]
    if words[:1] == ["-c"]:
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})  # noqa: S102 - the job's own program
    elif words[:1] == ["-m"]:
        sys.argv = words[1:]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words:
        sys.argv = words
        sys.path[0] = str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
