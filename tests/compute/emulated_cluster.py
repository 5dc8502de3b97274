"""A Kubernetes for tests: kmock's API server, and on top of it what the control plane and the nodes' kubelets do with Jobs.

`python tests/compute/emulated_cluster.py FILE` writes the server's address into FILE and serves until it is killed. Containers run as
processes of this machine. Of a real server it does not have: authentication, admission, images, cgroups, and network names of pods
(their volumes are this machine's own folders, their addresses its own).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any
from uuid import uuid4

import kmock

JOBS, PODS, NODES = (kmock.resource(group, "v1", plural) for group, plural in (("batch", "jobs"), ("", "pods"), ("", "nodes")))
NODE_COUNT = 2
NODE_HAS = {"cpu": "8", "memory": "16Gi", "nvidia.com/gpu": "8", "pods": "110"}


class Cluster(kmock.KubernetesEmulator):
    """kmock's emulator with resource versions, label selectors, and watches that begin and end where they are asked to."""

    def begin(self) -> None:
        self.version = 100
        self.forgotten = 0  # watches from before this version are answered with 410
        self.history: list[tuple[int, Any, str, dict[str, Any]]] = []
        self.news = asyncio.Condition()
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.made: dict[Any, list[Any]] = {}  # pods of jobs
        self.waiting: dict[Any, None] = {}  # pods without a node
        self.running: dict[Any, dict[str, Any]] = {}
        self.background: set[asyncio.Task[None]] = set()
        self.folder = Path(tempfile.mkdtemp(prefix="lilong-kubelet-"))
        for resource in (JOBS, PODS, NODES):
            self.resources[resource] = {"kind": resource.plural, "namespaced": resource is not NODES}
        for number in range(NODE_COUNT):
            name = f"worker-{number}"
            self.objects[NODES, None, name] = {
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"z{number}"}},
                "spec": {},
                "status": {"allocatable": NODE_HAS, "conditions": [{"type": "Ready", "status": "True"}]},
            }
        self["post /emulator/forget"] << self._forget
        self["get", re.compile(r"/api/v1/namespaces/[^/]+/pods/[^/]+/log")] << self._log
        self["list"] << self._list
        self["watch"] << self._watch

    # --- the API ------------------------------------------------------------------------------------------------------------

    async def _handle(self, request: Any) -> Any:
        resource, action = request.resource, request.action
        if action == kmock.action.CREATE:
            meta = request.data.setdefault("metadata", {})
            meta.setdefault("namespace", request.namespace)
            key = (resource, request.namespace, meta["name"])
            if key not in self.objects or self.objects[key].deleted:
                self.version += 1
                meta.update(uid=str(uuid4()), creationTimestamp=_now(), resourceVersion=str(self.version))
                answer = await super()._handle(request)
                await self._tell(resource, "ADDED", request.data)
                return answer
        elif action == kmock.action.UPDATE and request.data is not None:
            self.version += 1
            request.data.setdefault("metadata", {})["resourceVersion"] = str(self.version)
            answer = await super()._handle(request)
            await self._tell(resource, "MODIFIED", self.objects[resource, request.namespace, request.name].raw)
            return answer
        elif action == kmock.action.DELETE and request.name and resource in (JOBS, PODS):
            return await self._delete(request)
        return await super()._handle(request)

    async def _delete(self, request: Any) -> Any:
        key = (request.resource, request.namespace, request.name)
        if key in self.objects and not self.objects[key].deleted:
            meta = self.objects[key].raw["metadata"]
            if not meta.get("deletionTimestamp"):
                await self.write(key, {"metadata": {"deletionTimestamp": _now(), "finalizers": ["foregroundDeletion"]}})
                self._go(self._end_job(key) if request.resource == JOBS else self._end_pod(key))
        return await super()._handle(request)

    async def write(self, key: Any, change: dict[str, Any]) -> None:
        self.version += 1
        change.setdefault("metadata", {})["resourceVersion"] = str(self.version)
        self.objects[key].patch(change)
        await self._tell(key[0], "MODIFIED", self.objects[key].raw)

    async def make(self, key: Any, value: dict[str, Any]) -> None:
        self.version += 1
        value["metadata"].update(uid=str(uuid4()), creationTimestamp=_now(), resourceVersion=str(self.version), namespace=key[1])
        if key in self.objects:
            self.objects[key].create(value)
        else:
            self.objects[key] = value
        await self._tell(key[0], "ADDED", value)

    async def remove(self, key: Any) -> None:
        last = self.objects[key].last.raw
        self.version += 1
        self.objects[key].delete()
        await self._tell(key[0], "DELETED", {**last, "metadata": {**last["metadata"], "resourceVersion": str(self.version)}})

    async def _tell(self, resource: Any, kind: str, value: dict[str, Any]) -> None:
        self.history.append((self.version, resource, kind, json.loads(json.dumps(value))))
        async with self.news:
            self.news.notify_all()

    def _forget(self, request: Any) -> dict[str, Any]:
        self.forgotten = self.version + 1
        return {}

    def _fits(self, request: Any, value: dict[str, Any]) -> bool:
        meta = value.get("metadata", {})
        if request.namespace is not None and meta.get("namespace") != request.namespace:
            return False
        for term in filter(None, request.params.get("labelSelector", "").split(",")):
            name, _, wanted = term.partition("=")
            if meta.get("labels", {}).get(name) != wanted:
                return False
        unwanted = [term.partition("!=")[2] for term in filter(None, request.params.get("fieldSelector", "").split(","))]
        return value.get("status", {}).get("phase") not in unwanted

    def _list(self, request: Any) -> dict[str, Any]:
        found = [value.raw for (resource, _, _), value in self.objects.items() if resource == request.resource and not value.deleted]
        return {"metadata": {"resourceVersion": str(self.version)}, "items": [value for value in found if self._fits(request, value)]}

    async def _watch(self, request: Any) -> Any:
        yield b""
        since, seen = int(request.params.get("resourceVersion") or 0), 0
        if since < self.forgotten:
            yield {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}}
            return
        end = time.monotonic() + float(request.params.get("timeoutSeconds") or 300)
        while True:
            for version, resource, kind, value in self.history[seen:]:
                if version > since and resource == request.resource and self._fits(request, value):
                    yield {"type": kind, "object": value}
            seen = len(self.history)
            left = end - time.monotonic()
            if left <= 0:
                return
            async with self.news:
                if seen == len(self.history):
                    try:
                        await asyncio.wait_for(self.news.wait(), left)
                    except TimeoutError:
                        return

    def _log(self, request: Any) -> bytes:
        name = urllib.parse.urlsplit(str(request.url)).path.split("/")[-2]
        path = self.folder / f"{name}.log"
        return path.read_bytes() if path.exists() else b""

    # --- the control plane ------------------------------------------------------------------------------------------------

    def _go(self, what: Any) -> None:
        task = asyncio.ensure_future(what)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    async def control(self) -> None:
        """Each change moves its job on; room that becomes free moves the pods on that wait for it."""
        seen = 0
        while True:
            async with self.news:
                if seen == len(self.history):
                    await self.news.wait()
            news, seen = self.history[seen:], len(self.history)
            room = False
            for _, resource, kind, value in news:
                meta = value["metadata"]
                if resource == JOBS:
                    await self._look_after((JOBS, meta["namespace"], meta["name"]))
                elif resource == PODS:
                    await self._look_after((JOBS, meta["namespace"], meta["labels"].get("job-name")))
                    room = room or kind == "DELETED" or value["status"]["phase"] in ("Succeeded", "Failed")
                    if kind == "ADDED":
                        self.waiting[PODS, meta["namespace"], meta["name"]] = None
                        await self._schedule((PODS, meta["namespace"], meta["name"]))
                else:
                    room = True
            for key in list(self.waiting) if room else ():
                await self._schedule(key)

    def _pods_of(self, key: Any) -> list[dict[str, Any]]:
        keys = self.made.get(key, ())
        return [self.objects[pod].raw for pod in keys if pod in self.objects and not self.objects[pod].deleted]

    async def _look_after(self, key: Any) -> None:
        if key not in self.objects or self.objects[key].deleted or self.objects[key].raw["metadata"].get("deletionTimestamp"):
            return
        job = self.objects[key].raw
        spec, status = job["spec"], job.get("status", {})
        if spec.get("suspend") or status.get("conditions"):
            return
        pods = self._pods_of(key)
        if not status.get("startTime"):
            await self.write(key, {"status": {"startTime": _now(), "active": spec["parallelism"]}})
            for index in range(spec["completions"]):
                template = json.loads(json.dumps(spec["template"]))
                labels = {**template["metadata"]["labels"], "job-name": key[2]}
                told = {"batch.kubernetes.io/job-completion-index": str(index)}
                name = f"{key[2]}-{index}-{uuid4().hex[:5]}"
                pod = {"metadata": {"name": name, "labels": labels, "annotations": told}, "spec": template["spec"]}
                self.made.setdefault(key, []).append((PODS, key[1], name))
                await self.make((PODS, key[1], name), {**pod, "status": {"phase": "Pending"}})
            return
        phases = [pod["status"]["phase"] for pod in pods]
        counts = {
            "active": sum(phase in ("Pending", "Running") for phase in phases),
            "succeeded": phases.count("Succeeded"),
            "failed": phases.count("Failed"),
        }
        if any(status.get(name, 0) != count for name, count in counts.items()):
            kind = "Failed" if counts["failed"] else "Complete" if counts["succeeded"] == spec["completions"] else ""
            reason = "BackoffLimitExceeded" if kind == "Failed" else ""
            told = {"conditions": [{"type": kind, "status": "True", "reason": reason, "lastTransitionTime": _now()}]} if kind else {}
            await self.write(key, {"status": {**counts, **told}})
            if kind == "Failed":
                for pod in pods:
                    if pod["status"]["phase"] in ("Pending", "Running") and not pod["metadata"].get("deletionTimestamp"):
                        pod_key = (PODS, key[1], pod["metadata"]["name"])
                        await self.write(pod_key, {"metadata": {"deletionTimestamp": _now()}})
                        self._go(self._end_pod(pod_key))

    async def _schedule(self, key: Any) -> None:
        if key not in self.objects or self.objects[key].deleted or self.objects[key].raw["metadata"].get("deletionTimestamp"):
            self.waiting.pop(key, None)
            return
        pod = self.objects[key].raw
        asks = pod["spec"]["containers"][0]["resources"]["requests"]
        held: dict[str, dict[str, float]] = {}
        for other in self.running.values():
            for name, amount in other["spec"]["containers"][0]["resources"]["requests"].items():
                of_node = held.setdefault(other["spec"]["nodeName"], {})
                of_node[name] = of_node.get(name, 0.0) + _amount(amount)
        lacks: set[str] = set()
        for number in range(NODE_COUNT):
            node = f"worker-{number}"
            if node not in _wanted(pod) or self.objects[NODES, None, node].raw["spec"].get("unschedulable"):
                continue
            short = {
                name
                for name, amount in asks.items()
                if _amount(amount) + held.get(node, {}).get(name, 0.0) > _amount(NODE_HAS.get(name, "0"))
            }
            if not short:
                await self.write(key, {"spec": {"nodeName": node}, "status": {"phase": "Running", "startTime": _now()}})
                self.waiting.pop(key, None)
                self.running[key] = self.objects[key].raw
                self._go(self._run(key))
                return
            lacks |= short
        message = f"0/{NODE_COUNT} nodes are available: {NODE_COUNT} Insufficient {', '.join(sorted(lacks))}."
        told = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
        if pod["status"].get("conditions") != told:
            await self.write(key, {"status": {"conditions": told}})

    # --- the nodes ----------------------------------------------------------------------------------------------------------

    async def _run(self, key: Any) -> None:
        pod = self.objects[key].raw
        container = pod["spec"]["containers"][0]
        name = key[2]
        env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        for entry in container.get("env", []):
            field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            env[entry["name"]] = entry["value"] if "value" in entry else self._field(pod, field)
        log = await asyncio.to_thread((self.folder / f"{name}.log").open, "wb")
        try:
            argv = [re.sub(r"\$\((\w+)\)", lambda found: env.get(found[1], found[0]), word) for word in container["command"]]
            self.processes[name] = process = await asyncio.create_subprocess_exec(
                *argv,
                env=env,
                cwd=container.get("workingDir", "/"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            code = await process.wait()
        except OSError as problem:
            log.write(str(problem).encode())
            code = 127
        log.close()
        self.running.pop(key, None)
        if not self.objects[key].deleted:
            await self.write(
                key,
                {
                    "status": {
                        "phase": "Failed" if code else "Succeeded",
                        "containerStatuses": [{"name": "job", "state": {"terminated": {"exitCode": code}}}],
                    }
                },
            )

    @staticmethod
    def _field(pod: dict[str, Any], path: str) -> str:
        return {
            "status.podIP": "127.0.0.1",
            "spec.nodeName": pod["spec"].get("nodeName", ""),
            "metadata.name": pod["metadata"]["name"],
        }.get(path, pod["metadata"]["annotations"].get(path.partition("'")[2].rstrip("']"), ""))

    async def _end_pod(self, key: Any) -> None:
        process = self.processes.get(key[2])
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), self.objects[key].raw["spec"].get("terminationGracePeriodSeconds", 30))
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        await self.remove(key)

    async def _end_job(self, key: Any) -> None:
        for pod in self._pods_of(key):
            if not pod["metadata"].get("deletionTimestamp"):
                await self.write((PODS, key[1], pod["metadata"]["name"]), {"metadata": {"deletionTimestamp": _now()}})
                self._go(self._end_pod((PODS, key[1], pod["metadata"]["name"])))
        while self._pods_of(key):
            async with self.news:
                await self.news.wait()
        await self.remove(key)


def _wanted(pod: dict[str, Any]) -> list[str]:
    rules = pod["spec"].get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if rules is None:
        return [f"worker-{number}" for number in range(NODE_COUNT)]
    return [term["matchFields"][0]["values"][0] for term in rules["nodeSelectorTerms"]]


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _amount(text: str) -> float:
    units = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    assert found is not None
    return float(found[1]) * units.get(found[2], 1)


async def main(file: Path) -> None:
    async with Cluster() as cluster, kmock.Server(cluster) as server:
        cluster.begin()
        partial = file.with_suffix(".part")
        partial.write_text(str(server.url))
        partial.rename(file)
        await cluster.control()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
