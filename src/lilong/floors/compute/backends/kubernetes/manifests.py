"""Attempts as Kubernetes objects. Pure: what goes to the API server, and what its objects say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lilong.floors.compute.backends.kubernetes.options import Options
from lilong.floors.compute.contract import Ending, SiteNode, Task
from lilong.ground.errors import BadInput

SITE, TOKEN, TASKS = "lilong/site", "lilong/token", "lilong/tasks"
INDEX = "batch.kubernetes.io/job-completion-index"
QUEUE = "kueue.x-k8s.io/queue-name"
PULL_S = 1800  # that a pod may take to get its image, before its deadline ends it
LATE_S = 10.0  # that a word on a shared disk may be late
GRACE_S = 5  # the supervisor itself takes one second
_TAKEN_BACK = {
    "Evicted",
    "Preempting",
    "Preempted",
    "NodeLost",
    "NodeShutdown",
    "Shutdown",
    "Terminated",
    "NodeAffinity",
    "OutOfcpu",
    "OutOfmemory",
}
_NAME_LENGTH = 52  # a pod's host name is the job's with its index and must not have more than 63 characters
_UNITS = {"": 1, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def name_of(token: str) -> str:
    """The job's name: the same for the same token, so that a second submit meets 409 Conflict."""
    name = token.replace(".", "-")
    return name if len(name) <= _NAME_LENGTH else f"{name[:30]}-{hashlib.sha256(token.encode()).hexdigest()[:20]}"


def owner(site: str, options: Options) -> str:
    """The label by which the site's objects are told from others': other houses may have a site of this name on the same cluster."""
    return f"{site[:50]}-{hashlib.sha256(str(options.folder).encode()).hexdigest()[:10]}"


def quantity(text: object) -> float:
    """Kubernetes' numbers: 500m, 16Gi, 8. Unknown ones are 0: such a resource is not counted on."""
    found = _QUANTITY.fullmatch(str(text))
    return float(found[1]) * _UNITS[found[2] or ""] if found else 0.0


def job(site: str, token: str, task: Task, options: Options, pythonpath: str) -> dict[str, Any]:
    """The Job of an attempt. It is never retried by Kubernetes: an attempt starts at most once.

    The deadline stands on the pods, not on the Job: a Job's would run while its pods wait for room.
    """
    name = name_of(token)
    labels = {SITE: owner(site, options), TOKEN: token, TASKS: str(task.tasks)}
    if options.queue:
        labels[QUEUE] = options.queue
    gang = {"completionMode": "Indexed"} if task.tasks > 1 else {}
    deadline = {} if task.service else {"activeDeadlineSeconds": task.timeout_s + PULL_S}
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        **deadline,
        **_where(task, options),
        "securityContext": {} if options.user is None else {"runAsUser": options.user, "runAsGroup": options.user},
        "containers": [_container(site, token, task, options, pythonpath)],
        "volumes": [{"name": "run", **_volume(options)}],
        **options.pod,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "completions": task.tasks,
            "parallelism": task.tasks,
            "backoffLimit": 0,
            **gang,
            **({"suspend": True} if options.queue else {}),  # Kueue admits it
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _container(site: str, token: str, task: Task, options: Options, pythonpath: str) -> dict[str, Any]:
    amounts = {"cpu": str(task.cpus), "memory": f"{task.memory_mib + 64}Mi"}  # with the supervisor's own
    if task.devices:
        resource = options.devices.get(task.accelerator)
        if resource is None:
            raise BadInput(
                field="accelerator", problem=f"the site {site} has no devices of class {task.accelerator!r}",
                way_out=f"An operator can map it in sites.{site}.options.devices to what the device plugin calls it.",
            )  # fmt: skip
        if task.milli != 1000:
            raise BadInput(field="milli", problem=f"the site {site} gives whole devices only", way_out="Ask for 1000, or for another site.")
        amounts[resource] = str(task.devices)
    folder = str(options.folder / token.replace(".", "/"))
    env: list[dict[str, Any]] = [{"name": "PYTHONPATH", "value": pythonpath}]
    argv = [options.python, "-m", "lilong.floors.compute.supervisor", folder]
    if task.tasks > 1:  # each pod is a host of its own to its rank: it sees its own devices only
        env += [_field("RANK", f"metadata.annotations['{INDEX}']"), _field("POD", "metadata.name"), _field("ADDRESS", "status.podIP")]
        argv += ["--rank", "$(RANK)", "--host", "$(POD)", "--address", "$(ADDRESS)"]
    return {
        "name": "job",
        "image": task.image or options.image,
        "command": argv,
        "env": env,
        "workingDir": "/",
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": _mounts(token, options, pythonpath),
    }


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _volume(options: Options) -> dict[str, Any]:
    if options.claim:
        return {"persistentVolumeClaim": {"claimName": options.claim}}
    return {"hostPath": {"path": options.host_path, "type": "Directory"}}


def _mounts(token: str, options: Options, pythonpath: str) -> list[dict[str, Any]]:
    """A job sees its own run folders and the program, and nothing of others."""
    base = f"{options.sub_path}/" if options.sub_path else ""
    job_id = token.rpartition(".")[0]
    mounts: list[dict[str, Any]] = [{"name": "run", "mountPath": str(options.folder / job_id), "subPath": base + job_id}]
    if not options.program:
        inside = str(Path(pythonpath).relative_to(options.folder))
        mounts.append({"name": "run", "mountPath": pythonpath, "subPath": base + inside, "readOnly": True})
    return mounts


def _where(task: Task, options: Options) -> dict[str, Any]:
    """The nodes that the house has chosen, or those of the class; which of the devices of a node, its kubelet chooses."""
    if task.placed:
        nodes = sorted({each.node for each in task.placed})
        terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]} for name in nodes]
        return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}
    if task.devices and task.accelerator in options.labels:
        label, _, value = options.labels[task.accelerator].partition("=")
        return {"nodeSelector": {label: value}}
    return {}


def node(value: Mapping[str, Any], options: Options) -> SiteNode:
    """A node as it is when nothing runs there. Its class is the one whose resource it has, and whose label where one is declared."""
    meta, spec, status = value["metadata"], value.get("spec", {}), value.get("status", {})
    labels = meta.get("labels", {})
    has = status.get("allocatable") or {}
    accelerator = next((name for name in options.devices if _is_of(name, labels, has, options)), "")
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))
    return SiteNode(
        name=meta["name"],
        cpus=int(quantity(has.get("cpu", 0))),
        memory_mib=int(quantity(has.get("memory", 0)) / (1 << 20)),
        accelerator=accelerator,
        devices=int(quantity(has[options.devices[accelerator]])) if accelerator else 0,
        domains={level: labels[label] for level, label in options.levels.items() if label in labels},
        open=ready and not spec.get("unschedulable", False),
    )


def _is_of(name: str, labels: Mapping[str, str], has: Mapping[str, str], options: Options) -> bool:
    label, _, value = options.labels.get(name, "").partition("=")
    return quantity(has.get(options.devices[name], 0)) > 0 and (not label or labels.get(label) == value)


def held(pods: Iterable[Mapping[str, Any]], site: str, options: Options) -> dict[str, tuple[int, int, int]]:
    """What pods of others hold, node by node: cores (rounded up), MiB, devices."""
    sums: dict[str, list[float]] = {}
    resources, mine = set(options.devices.values()), owner(site, options)
    for pod in pods:
        where = pod.get("spec", {}).get("nodeName")
        if (
            not where
            or pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
            or pod["metadata"].get("labels", {}).get(SITE) == mine
        ):
            continue
        total = sums.setdefault(where, [0.0, 0.0, 0.0])
        for container in pod["spec"].get("containers", []):
            asks = container.get("resources", {}).get("requests") or {}
            total[0] += quantity(asks.get("cpu", 0))
            total[1] += quantity(asks.get("memory", 0)) / (1 << 20)
            total[2] += sum(quantity(asks.get(resource, 0)) for resource in resources)
    return {name: (int(-(-cpus // 1)), int(-(-memory // 1)), int(devices)) for name, (cpus, memory, devices) in sums.items()}


def waits_for(job_: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str:
    """Why it does not run yet, as the engine says it."""
    if job_["spec"].get("suspend"):
        return "it is suspended: Kueue has not admitted it yet"
    for pod in pods:
        status = pod.get("status", {})
        for condition in status.get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition.get("message") or condition.get("reason") or "its pod is not scheduled yet")[:500]
        for container in status.get("containerStatuses", []):
            waiting = container.get("state", {}).get("waiting")
            if waiting:
                return f"{waiting.get('reason', 'waiting')}: {waiting.get('message', '')}".rstrip(": ")[:500]
    return "its pods are being made" if pods else "it has no pods yet"


def over(job_: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The condition that says that the job is over; None while it is not."""
    for condition in job_.get("status", {}).get("conditions") or []:
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            found: Mapping[str, Any] = condition
            return found
    return None


def engines_doing(pods: Sequence[Mapping[str, Any]]) -> tuple[Ending, str] | None:
    """Why the engine ended it, where it was the engine that did."""
    for pod in pods:
        status = pod.get("status", {})
        reason, message = status.get("reason", ""), status.get("message", "")
        if reason == "DeadlineExceeded":
            return Ending.TIMEOUT, message or reason
        disrupted = [each for each in status.get("conditions", []) if each["type"] == "DisruptionTarget" and each["status"] == "True"]
        if disrupted or reason in _TAKEN_BACK:
            return Ending.STOPPED, (disrupted[0].get("message") if disrupted else message) or reason
        for container in status.get("containerStatuses", []):
            ended = container.get("state", {}).get("terminated") or {}
            if ended.get("reason") == "OOMKilled":
                return Ending.MEMORY, "the node's kernel ended it for its memory"
    return None


def why_not_begun(condition: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str:
    """What is known of a job that ended before its supervisor began."""
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses", []):
            ended = container.get("state", {}).get("terminated") or {}
            if ended:
                return f"{ended.get('reason', 'Error')} (exit code {ended.get('exitCode')}): {ended.get('message', '')}".rstrip(": ")[:500]
    return str(condition.get("message") or condition.get("reason") or condition["type"])[:500]
