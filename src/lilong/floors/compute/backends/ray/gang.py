"""Runs inside a Ray cluster, as the entrypoint of a job of several tasks: one bundle of a placement group and one supervisor for each.

`python -P gang.py ATTEMPT_FOLDER`. Standard library and Ray only. The order is `gang.json` in the folder; `gang-nodes.json` is written
there once the group has its places. While it has not, and when this ends, nothing of the attempt runs.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOOK_S = 0.5


def where() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def run_rank(argv: Sequence[str], environment: dict[str, str]) -> int:
    """One rank's supervisor, from its start to its end. It ends with this worker, whatever ends that.

    It gets the worker's environment, in which Ray says which devices are its own; the program gets little of that.
    """
    import ray

    util: Any = ray.util
    here = ["--host", where(), "--address", str(util.get_node_ip_address())]
    return subprocess.call([*argv, *here], env={**os.environ, **environment}, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent)


def _end_with_parent() -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG


def main(folder: Path) -> int:
    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    order: dict[str, Any] = json.loads((folder / "gang.json").read_text())
    ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    bundle, tasks = order["bundle"], order["tasks"]
    group = placement_group([bundle] * tasks, strategy=order["strategy"], bundle_label_selector=order["labels"] or None)
    while not group.wait(LOOK_S):
        if (folder / "cancel").exists():
            return 0

    def at(rank: int, work: Any) -> Any:
        others = {name: amount for name, amount in bundle.items() if name not in ("CPU", "GPU", "memory")}
        return ray.remote(work).options(
            num_cpus=bundle["CPU"],
            num_gpus=bundle.get("GPU", 0),
            memory=bundle["memory"],
            resources=others,
            max_retries=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
        )

    nodes = ray.get([at(rank, where).remote() for rank in range(tasks)])
    part = folder / ".gang-nodes.json"
    part.write_text(json.dumps(nodes))
    part.replace(folder / "gang-nodes.json")
    told = {"PYTHONPATH": order["pythonpath"]}
    argv = [order["python"], "-m", "lilong.floors.compute.supervisor", str(folder), "--rank"]
    ray.get([at(rank, run_rank).remote([*argv, str(rank)], told) for rank in range(tasks)])
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
