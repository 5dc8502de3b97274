"""The real `lilong` command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)


def lilong(*words: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None, wrapper: tuple[str, ...] = ()) -> Said:
    own = {key: value for key, value in os.environ.items() if not key.startswith("LILONG_")}
    argv = [*wrapper, sys.executable, "-m", "lilong.cli", *map(str, words)]
    done = subprocess.run(argv, check=False, env=own | (env or {}), cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    return Said(done.returncode, done.stdout, done.stderr)


def refused(*words: str | Path, saying: tuple[str, ...] = (), **how: Any) -> Said:
    """The command fails with one clear message: no traceback, one line, a status that is not 0, and these words in it."""
    said = lilong(*words, **how)
    assert said.code != 0, said
    assert "Traceback" not in said.err + said.out, said
    told = [line for line in said.err.splitlines() if line.strip()]
    assert len(told) == 1 or told[0].startswith("Usage:"), said
    for word in saying:
        assert word in said.err, (word, said)
    return said
