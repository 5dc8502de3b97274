"""What sbatch is told: a script that is always the same, and arguments made of checked values only."""

from __future__ import annotations

import math
import re
from pathlib import Path

from lilong.floors.compute.backends.slurm.cli import NotHere
from lilong.floors.compute.backends.slurm.options import Options
from lilong.floors.compute.contract import Task
from lilong.floors.compute.supervisor import devices

PASSED = (
    "SLURM_JOB_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION",
    "LILONG_ACCELERATOR",
    "LILONG_DEVICES",
    *sorted({name for names in devices.VARIABLES.values() for name in names}),
)
"""Variables of the supervisor's environment that its program gets."""
_LATER_S = 90
"""So much later than the supervisor Slurm would end a job at its time limit: the supervisor's word says more."""

SCRIPT = r"""#!/bin/sh
# Starts a supervisor for each task. Which devices Slurm has given is known only here.
if [ "$LILONG_TASKS" -gt 1 ] && [ -z "$LILONG_STARTED" ]; then
  # Each task shall see all that the job has on its node; bound to less by Slurm, some versions leave tasks without any.
  unset SLURM_GPUS_PER_TASK SLURM_TRES_PER_TASK
  export LILONG_STARTED=1 SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
  exec srun --export=ALL sh -c "$LILONG_SCRIPT"
fi
here="${SLURM_STEP_GPUS:-$SLURM_JOB_GPUS}"
[ -n "$CUDA_VISIBLE_DEVICES" ] && here="$CUDA_VISIBLE_DEVICES"
own="$here"
if [ "$LILONG_TASKS" -gt 1 ] && [ -n "$here" ] && [ "$LILONG_EACH" -gt 0 ]; then
  own=$(echo "$here" | cut -d, -f"$((SLURM_LOCALID * LILONG_EACH + 1))-$(((SLURM_LOCALID + 1) * LILONG_EACH))")
fi
[ "$LILONG_EACH" -gt 0 ] && export LILONG_DEVICES="$own"
[ "$LILONG_EACH" -eq 1 ] && own="$here"
for name in $LILONG_VISIBLE; do export "$name=$own"; done
set -- "$LILONG_RUN" --rank "${SLURM_PROCID:-0}" --host "${SLURMD_NODENAME:-$(hostname)}"
[ "${SLURM_PROCID:-0}" = 0 ] && [ -n "$SLURM_LAUNCH_NODE_IPADDR" ] && set -- "$@" --address "$SLURM_LAUNCH_NODE_IPADDR"
exec "$LILONG_PYTHON" -m lilong.floors.compute.supervisor "$@"
"""


def environment(options: Options, folder: Path, task: Task, program: Path) -> dict[str, str]:
    """What the script reads. Nothing of it comes from the job's author: that lies in the run folder."""
    # of a task without devices, those of all classes are hidden
    shown = [task.accelerator] if task.devices else ["", *options.gres]
    return {
        "LILONG_RUN": str(folder),
        "LILONG_PYTHON": options.python,
        "LILONG_TASKS": str(task.tasks),
        "LILONG_EACH": str(task.devices),
        "LILONG_VISIBLE": " ".join(sorted({name for each in shown for name in devices.visible(each, options.vendors, ())})),
        **({"LILONG_ACCELERATOR": task.accelerator} if task.devices else {}),
        "LILONG_SCRIPT": SCRIPT,
        "PYTHONPATH": str(program),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def arguments(site: str, options: Options, token: str, task: Task) -> list[str]:
    """sbatch's, without the place of its log. Raises NotHere for what Slurm cannot do."""
    _check(site, task)
    cpus = max(1, task.cpus)
    told = [
        "--parsable", f"--job-name={token}", f"--comment=lilong {site}", "--no-requeue", "--dependency=singleton", "--chdir=/",
        "--input=/dev/null", "--open-mode=append", "--export=ALL", f"--ntasks={task.tasks}", f"--cpus-per-task={cpus}",
    ]  # fmt: skip
    if not task.service:
        told.append(f"--time={math.ceil((task.timeout_s + _LATER_S) / 60)}")
    told.append(f"--mem={task.memory_mib}M" if task.tasks == 1 else f"--mem-per-cpu={math.ceil(task.memory_mib / cpus)}M")
    if task.tasks == 1:
        told.append("--nodes=1")
    told += _devices(options, task)
    nodes = list(dict.fromkeys(placed.node for placed in task.placed))
    if nodes:
        told.append(f"--nodelist={','.join(nodes)}")
        told += [f"--nodes={len(nodes)}"] if task.tasks > 1 else []
    for name in ("partition", "account", "qos"):
        if value := getattr(options, name):
            told.append(f"--{name}={value}")
    return [*told, *options.arguments]


def _devices(options: Options, task: Task) -> list[str]:
    if not task.devices:
        return []
    resource = options.gres.get(task.accelerator, f"gpu:{task.accelerator}" if task.accelerator else "gpu")
    name, _, kind = resource.partition(":")
    if task.tasks == 1:
        return [f"--gres={resource}:{task.devices}"]
    if name == "gpu":
        return [f"--gpus-per-task={kind}:{task.devices}" if kind else f"--gpus-per-task={task.devices}"]
    # other resources are asked for by node: a node of its own for each task
    return [f"--gres={resource}:{task.devices}", "--ntasks-per-node=1"]


def _check(site: str, task: Task) -> None:
    if task.devices and task.milli != 1000:
        raise NotHere(
            site=site, problem="Slurm gives out whole devices only", way_out="Ask for a whole device, or let it run at another site."
        )
    if task.service:
        problem = "its nodes are not reached by Unix sockets, on which services answer"
        raise NotHere(site=site, problem=problem, way_out="Run services at a local site or on Kubernetes.")
    if task.image:
        raise NotHere(site=site, problem="it runs no container images", way_out="Leave `image` out, or run it on Kubernetes.")
    for placed in task.placed:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", placed.node):
            raise NotHere(
                site=site, problem=f"it has no node {placed.node[:80]!r}", way_out="Place it on a node that its inventory tells of."
            )
    if task.accelerator and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", task.accelerator):
        raise NotHere(site=site, problem=f"it has no class {task.accelerator[:80]!r}", way_out="Name a class that its inventory tells of.")
