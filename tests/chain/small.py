"""The demo's own chain with fewer documents, three training steps and small tests: minutes instead of a quarter of an hour."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lilong.chain.demo import first_chain
from lilong.ground.presence import running

_SMALLER = {
    'packages = ["python3-doc", "postgresql-doc", "manpages", "manpages-zh", "debian-reference-en", "debian-reference-zh-cn"]': 'packages = ["manpages", "debian-reference-en"]',
    'repository = "lantern-works/handbooks"\nrecipe = { }': 'repository = "lantern-works/handbooks"\nrecipe = { limits = { max_documents = 60 }, held_out = 0.2 }',
    "steps = 20, tokens_per_step = 2048": "steps = 3, tokens_per_step = 512, sequence_length = 256, checkpoint_every = 1",
}
_RECIPES = {
    "protocol": "{ documents = 6, most_bytes = 400, questions = 8 }",
    "compatibility": "{ positions = 96, length = 48, prompts = 1, greedy_tokens = 8 }",
}


def small_chain() -> str:
    source = first_chain()
    for old, new in _SMALLER.items():
        assert old in source, old
        source = source.replace(old, new)
    for step, recipe in _RECIPES.items():
        head, _, tail = source.partition(f"[step.{step}.with]")
        assert "recipe = { }" in tail
        source = head + f"[step.{step}.with]" + tail.replace("recipe = { }", f"recipe = {recipe}", 1)
    return source


@dataclass
class Demo:
    """`lilong demo` as a process of its own, on a house of its own."""

    house: Path
    chain: Path

    def start(self) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "lilong.cli", "demo", "--house", str(self.house), "--chain", str(self.chain), "--port", "0"]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "CI": "true"}, start_new_session=True)

    def states(self) -> dict[str, str]:
        try:
            with sqlite3.connect(f"file:{self.house / 'lilong.db'}?mode=ro", uri=True) as connection:
                return dict(connection.execute("SELECT name, state FROM chain_steps ORDER BY position").fetchall())
        except sqlite3.OperationalError:
            return {}

    def kill_9_during(self, step: str, after: float) -> None:
        """Run until `step` has been at work for so many seconds, then kill the command and the server at once."""
        process = self.start()
        while self.states().get(step) != "running":
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        time.sleep(after)
        server = running(self.house)
        assert server is not None
        os.kill(server.pid, signal.SIGKILL)
        process.kill()
        process.communicate()

    def finish(self) -> str:
        """Run to the end; what it printed."""
        process = self.start()
        said = process.communicate(timeout=1200)[0]
        assert process.returncode == 0, said
        return said
