"""Starts servers that have all their code loaded already: each line is the arguments of one `lilong up`, answered by its process id."""

from __future__ import annotations

import os
import signal
import sys

import lilong.operations.serve  # noqa: F401 - loaded here, once, instead of by every server
from lilong.cli import main
from lilong.floors import declared
from lilong.ground.floor import load

for floor in declared():
    for door in (floor.start, floor.api, floor.pages, *(place for _, place in floor.mounts)):
        if door:
            load(door)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who was killed is gone at once
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(2, 1)  # the answers of this process are not to be mixed with what a server prints
        sys.argv = ["lilong", *line.rstrip("\n").split("\t")]
        main()
    print(child, flush=True)
