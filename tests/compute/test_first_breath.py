"""A supervisor that an engine starts just while the house looks at its folder."""

from __future__ import annotations

import fcntl
import json
import threading
from pathlib import Path

from lilong.floors.compute.backends.folders import lock
from lilong.floors.compute.supervisor.watch import supervise


def test_a_supervisor_waits_until_who_only_looks_has_looked(tmp_path: Path) -> None:
    (tmp_path / "start.json").write_text(json.dumps({"task": {"tasks": 1}}))
    (tmp_path / "exit.json").write_text("{}")  # it is over, so there is nothing to carry out
    looking = lock(tmp_path, fcntl.LOCK_SH)
    assert looking is not None
    threading.Timer(0.2, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
    assert supervise(tmp_path) is False
