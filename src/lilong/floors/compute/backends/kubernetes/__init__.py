"""Kubernetes clusters: an attempt is a batch/v1 Job whose pods run the supervisor in its run folder; Kueue admits it where there is one.

The Job's name follows from the token, so a second submit meets 409 Conflict. API servers keep Jobs until they are deleted, and no Job
is made to delete itself (ttlSecondsAfterFinished): one that is not there was never made, or somebody took it away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, NoReturn
from urllib.parse import urlencode

from lilong.floors.compute.backends import logs, program
from lilong.floors.compute.backends.folders import Folders, Word
from lilong.floors.compute.backends.kubernetes import manifests
from lilong.floors.compute.backends.kubernetes.access import Access, from_kubeconfig, in_cluster
from lilong.floors.compute.backends.kubernetes.options import Options, read
from lilong.floors.compute.backends.rest import Answer
from lilong.floors.compute.contract import (
    AlreadySubmitted,
    Ending,
    Inventory,
    LogPart,
    Mode,
    Output,
    Phase,
    Sight,
    SiteDown,
    Task,
    Usage,
    Watched,
)
from lilong.floors.compute.supervisor import files
from lilong.ground import seams
from lilong.ground.blobs import Blobs
from lilong.ground.errors import BadInput, NotFound
from lilong.ground.house import House

WATCH_S = 1
_HANDING_S = 60.0  # that a submit takes at most
_NOT_FOUND, _CONFLICT, _GONE = 404, 409, 410
_LOG_BYTES = 1 << 20
_WAY_OUT = "See what `kubectl get jobs,pods` says with the same kubeconfig."
_MERGE = "application/merge-patch+json"


def open_site(name: str, options: Mapping[str, Any], house: House) -> KubernetesSite:
    """Raises BadInput, which names the option."""
    told = read(name, options)
    access = from_kubeconfig(name, told.kubeconfig, told.context) if told.kubeconfig else in_cluster(name)
    return KubernetesSite(name, told, access, house.blobs)


class KubernetesSite:
    """Owned where tasks come with their places: their pods then go to those nodes; which devices of a node, its kubelet chooses."""

    mode = Mode.DELEGATED
    without = frozenset({"services", "stop"})

    def __init__(self, name: str, options: Options, access: Access, blobs: Blobs) -> None:
        self.name = name
        self.folders = Folders(options.folder, blobs)
        self._options = options
        self._rest = access.rest
        self._selector = f"{manifests.SITE}={manifests.owner(name, options)}"
        namespace = options.namespace or access.namespace
        self._jobs, self._pods = f"/apis/batch/v1/namespaces/{namespace}/jobs", f"/api/v1/namespaces/{namespace}/pods"
        self._program = options.program
        self._unsettled: set[str] = set()  # to be looked at again, whether there is news of them or not

    # --- what there is -----------------------------------------------------------------------------------------------------

    def inventory(self) -> Inventory:
        nodes = [manifests.node(node, self._options) for node in self._ask("GET", "/api/v1/nodes").json()["items"]]
        active = urlencode({"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"})
        pods = self._ask("GET", f"/api/v1/pods?{active}").json()["items"]
        return Inventory(tuple(nodes), manifests.held(pods, self.name, self._options))

    def drain(self, node: str, *, on: bool) -> None:
        """As `kubectl cordon` does, so for everybody."""
        answer = self._rest.ask("PATCH", f"/api/v1/nodes/{_name(node)}", {"spec": {"unschedulable": on}}, kind=_MERGE)
        if answer.status == _NOT_FOUND:
            raise NotFound(kind=f"node of the site {self.name}", name=node)
        if not answer.ok:
            self._down(answer)

    # --- start and end -----------------------------------------------------------------------------------------------------

    def submit(self, token: str, task: Task) -> None:
        if task.service:
            way_out = "Run it on this machine (site local)."
            raise BadInput(field="service", problem=f"a service on the site {self.name} could not be reached", way_out=way_out)
        asked = manifests.job(self.name, token, task, self._options, self._pythonpath())
        with self.folders.claimed(token):
            if (self.folders.of(token) / "engine.json").exists() and self._job(token) is not None:
                raise AlreadySubmitted(token=token)  # it waits in the engine's queue: what it will find must not be laid anew
            folder = self.folders.lay(token, task, floor=self._options.sandbox, vendors=dict(self._options.vendors))
            self.folders.lay_secrets(token, task)
            files.say(folder / "engine.json", {"job": asked["metadata"]["name"]})
        if self.folders.cancelled(token):
            self.folders.leave_word(token, Ending.CANCELLED)
            return
        answer = self._rest.ask("POST", self._jobs, asked)
        if answer.status == _CONFLICT:
            raise AlreadySubmitted(token=token)
        if answer.status in (400, 422):
            raise BadInput(field="job", problem=f"Kubernetes does not take it: {_said(answer)}", way_out="Change what it asks for.")
        if not answer.ok:
            self._down(answer)

    def _pythonpath(self) -> str:
        if not self._program:
            self._program = str(program.laid(self._options.folder))
        return self._program

    def cancel(self, token: str) -> None:
        self.folders.cancel(token)
        self._delete(token, "Foreground")  # the Job stays until its pods are gone

    def _delete(self, token: str, how: str) -> None:
        answer = self._rest.ask("DELETE", f"{self._jobs}/{manifests.name_of(token)}?propagationPolicy={how}")
        if not answer.ok and answer.status != _NOT_FOUND:
            self._down(answer)

    def stop(self) -> None:
        """Nothing: the engine goes on."""

    # --- look --------------------------------------------------------------------------------------------------------------

    def find(self, token: str) -> Sight:
        self.folders.of(token)  # refuses what is no token
        job = self._job(token)
        if job is None:
            return self.folders.sight(token, self._unknown(token))
        return self.folders.sight(token, self._word(token, job, self._pods_of(token)))

    def watch(self, cursor: str) -> Watched:
        """The server's watches of jobs and pods, for a second; a list of everything at the beginning, and where the server has forgotten."""
        since = cursor.split("/")
        streams = ((self._jobs, since[0]), (self._pods, since[-1]))
        with ThreadPoolExecutor(len(streams)) as pool:
            changed = list(pool.map(self._changed, *zip(*streams, strict=True))) if len(since) == len(streams) else [None]
        if all(found is not None and not found[0] for found in changed) and not self._unsettled:
            return Watched({}, "/".join(found[1] for found in changed if found is not None))
        jobs, jobs_version = self._list(self._jobs)
        pods, pods_version = self._list(self._pods)
        by_token: dict[str, list[Mapping[str, Any]]] = {}
        for pod in pods:
            by_token.setdefault(_token(pod), []).append(pod)
        told = {_token(job): job for job in jobs}
        wanted = set(told) | set(self.folders.known())
        if None not in changed:
            wanted &= self._unsettled.union(*(found[0] for found in changed if found is not None))
        self._unsettled &= wanted
        sights = {}
        for token in wanted:
            path = self.folders.of(token) / "engine.json"
            if token not in told and not path.exists():
                continue
            word = self._word(token, told[token], by_token.get(token, [])) if token in told else self._unknown(token)
            sight = self.folders.sight(token, word)
            # one that is just being handed over has no Job yet, which is no news; one that is over may have left a word that is late
            fresh = word.phase is Phase.NEVER and time.time() - path.stat().st_mtime < _HANDING_S
            late = word.phase is Phase.FINISHED and sight.phase is Phase.RUNNING
            (self._unsettled.add if fresh or late else self._unsettled.discard)(token)
            if not fresh:
                sights[token] = sight
        return Watched(sights, f"{jobs_version}/{pods_version}")

    def _changed(self, path: str, version: str) -> tuple[set[str], str] | None:
        """Tokens with news since a resource version, and the next one; None if the server no longer knows."""
        asked = {"watch": "true", "labelSelector": self._selector, "resourceVersion": version}
        asked |= {"timeoutSeconds": str(WATCH_S), "allowWatchBookmarks": "true"}
        found: set[str] = set()
        for line in self._rest.lines(f"{path}?{urlencode(asked)}", WATCH_S):
            event = json.loads(line)
            value = event.get("object", event)
            if value.get("kind") == "Status":
                if value.get("code") == _GONE:
                    return None
                self._down(Answer(int(value.get("code", 500)), json.dumps(value).encode()))
            version = value["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                found.add(_token(value))
        return found, version

    def _list(self, path: str) -> tuple[Sequence[Mapping[str, Any]], str]:
        value = self._ask("GET", f"{path}?{urlencode({'labelSelector': self._selector})}").json()
        return value["items"], value["metadata"]["resourceVersion"]

    def _unknown(self, token: str) -> Word:
        """Of an attempt for which there is no Job."""
        if self.folders.cancelled(token) and (self.folders.of(token) / "engine.json").exists():
            return Word(Phase.FINISHED, Ending.CANCELLED)
        return Word(Phase.NEVER)

    def _word(self, token: str, job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Word:
        nodes = tuple(sorted({pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}))
        condition = manifests.over(job)
        if condition is None:
            phases = {pod.get("status", {}).get("phase") for pod in pods}
            if phases - {"Pending", None}:
                return Word(Phase.RUNNING, nodes=nodes)
            return Word(Phase.PENDING, waits_for=manifests.waits_for(job, pods))
        ago = _ago(condition)
        doing = manifests.engines_doing(pods)
        if doing is not None:
            return Word(Phase.FINISHED, *doing, nodes=nodes, ago_s=ago)
        if not self.folders.began(token) and ago > manifests.LATE_S:
            problem = f"its supervisor did not start: {manifests.why_not_begun(condition, pods)}"
            return Word(Phase.FINISHED, Ending.UNABLE, problem, nodes=nodes)
        return Word(Phase.FINISHED, nodes=nodes, ago_s=ago)

    # --- what it left ------------------------------------------------------------------------------------------------------

    def logs(self, token: str, offset: int, limit: int) -> LogPart:
        """The supervisor's log; where none ever began, what the containers said, which is why."""
        part = self.folders.logs(token, offset, limit)
        if part.text or self.folders.began(token) or not (job := self._job(token)) or manifests.over(job) is None:
            return part
        kept = self.folders.of(token) / "engine.log"
        with kept.open("wb") as file:
            for pod in self._pods_of(token):
                answer = self._rest.ask("GET", f"{self._pods}/{pod['metadata']['name']}/log?container=job&limitBytes={_LOG_BYTES}")
                file.write(answer.body if answer.ok else b"")
        return logs.part(kept, offset, limit)

    def usage(self, token: str) -> Usage:
        return self.folders.usage(token)

    def progress(self, job_id: str, after: int) -> list[dict[str, Any]]:
        return self.folders.progress(job_id, after)

    def outputs(self, token: str, keep: Callable[[IO[bytes]], tuple[str, int]]) -> tuple[Output, ...]:
        return self.folders.outputs(token, keep)

    def tidy(self, token: str, *, last: bool) -> None:
        for attempt in self.folders.tidy(token, last=last):
            self._delete(f"{attempt.parent.name}.{attempt.name}", "Background")

    # --- the API server ----------------------------------------------------------------------------------------------------

    def _job(self, token: str) -> Mapping[str, Any] | None:
        answer = self._rest.ask("GET", f"{self._jobs}/{manifests.name_of(token)}")
        if answer.status == _NOT_FOUND:
            return None
        if not answer.ok:
            self._down(answer)
        found: Mapping[str, Any] = answer.json()
        return found

    def _pods_of(self, token: str) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self._ask(
            "GET", f"{self._pods}?{urlencode({'labelSelector': f'job-name={manifests.name_of(token)}'})}"
        ).json()["items"]
        return found

    def _ask(self, method: str, path: str) -> Answer:
        answer = self._rest.ask(method, path)
        if not answer.ok:
            self._down(answer)
        return answer

    def _down(self, answer: Answer) -> NoReturn:
        raise SiteDown(site=self.name, problem=f"it answers with HTTP {answer.status}: {_said(answer)}", way_out=_WAY_OUT)


def _said(answer: Answer) -> str:
    try:
        return str(answer.json()["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return answer.said()


def _token(value: Mapping[str, Any]) -> str:
    return str((value["metadata"].get("labels") or {}).get(manifests.TOKEN, ""))


def _name(node: str) -> str:
    if not node or "/" in node or "?" in node or node.startswith("."):
        raise NotFound(kind="node", name=node[:100])
    return node


def _ago(condition: Mapping[str, Any]) -> float:
    at = condition.get("lastTransitionTime")
    return max(0.0, time.time() - seams.parse_stamp(at).timestamp()) if at else 0.0
