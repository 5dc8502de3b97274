"""Ray clusters: an attempt is a submitted job whose entrypoint is the supervisor in its run folder.

The token is Ray's submission id, which Ray takes only once. Ray keeps jobs in the memory of its head: what it no longer knows after
its head began anew is told from the run folder, or LOST. Several tasks are a placement group (see gang.py).
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import IO, Any, NoReturn
from urllib.parse import quote

from lilong.floors.compute.backends import logs, program
from lilong.floors.compute.backends.folders import Folders, Word
from lilong.floors.compute.backends.ray import shapes
from lilong.floors.compute.backends.ray.options import Options, read
from lilong.floors.compute.backends.rest import Answer, Rest, bearer
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
from lilong.ground.blobs import Blobs
from lilong.ground.errors import BadInput, NotFound, Refused
from lilong.ground.house import House

_SETTLED_S = 60.0  # an end is told again for as long: the clock of Ray's head is not the only one; a submit takes no longer
_NEVER_STARTED = {"JOB_SUPERVISOR_ACTOR_START_TIMEOUT", "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE"}
_OVER = {"SUCCEEDED", "FAILED", "STOPPED"}
_NOT_FOUND = 404
_WAY_OUT = "Look whether the cluster's head and its dashboard run (`ray status`), and at the site's url, token_file and ca_file."


class EngineChooses(Refused):
    """The engine of the site '{site}' places jobs itself and offers no way to {what}. {way_out}"""


def open_site(name: str, options: Mapping[str, Any], house: House) -> RaySite:
    """Raises BadInput, which names the option."""
    told = read(name, options)
    floor = house.settings.sandbox if house.settings.sandbox != "auto" else "none"
    return RaySite(name, replace(told, sandbox=told.sandbox or floor), house.blobs)


class RaySite:
    """Owned where tasks come with their places: Ray then puts them on those nodes; which devices of a node, it chooses itself."""

    mode = Mode.DELEGATED
    without = frozenset({"services", "stop", "drain"})

    def __init__(self, name: str, options: Options, blobs: Blobs) -> None:
        self.name = name
        self.folders = Folders(options.folder, blobs)
        self._options = options
        tls = partial(ssl.create_default_context, cafile=options.ca_file)
        self._rest = Rest(name, options.url, credential=bearer(options.token_file), tls=tls, way_out=_WAY_OUT)
        self._program = options.program
        self._owner = f"{name} {options.folder}"  # other houses may have a site of this name on the same cluster
        self._names: dict[str, str] = {}  # of nodes, by Ray's ids

    # --- what there is -----------------------------------------------------------------------------------------------------

    def inventory(self) -> Inventory:
        nodes = self._ask("GET", "/api/v0/nodes?detail=1&limit=10000").json()["data"]["result"]["result"]
        used = self._ask("GET", "/api/cluster_status").json()["data"]["clusterStatus"] or {}
        found = shapes.nodes(nodes, self._options)
        self._names = {node_id: node.name for node_id, node in found.items()}
        by_node = (used.get("loadMetricsReport") or {}).get("usageByNode") or {}
        return Inventory(tuple(found.values()), shapes.foreign(by_node, found, self._held(), self._options))

    def _held(self) -> list[tuple[str, Mapping[str, str]]]:
        """(node, what it asked for) of each task of the house's that runs, or ended so short ago that Ray's figures still have it."""
        held = []
        for token, job in self._ours().items():
            if job["status"] == "RUNNING" or _ago(job) < shapes.STALE_S:
                for node in self._places(token, job):
                    held.append((node, job["metadata"]))
        return held

    def drain(self, node: str, *, on: bool) -> None:
        if not on or self.mode is Mode.OWNED:
            return  # where decisions choose the nodes, it is enough that they heed it
        way_out = f"Run `ray drain-node` for {node} on the cluster's head, or declare maintenance for it."
        raise EngineChooses(site=self.name, what="keep it from a node", way_out=way_out)

    # --- start and end -----------------------------------------------------------------------------------------------------

    def submit(self, token: str, task: Task) -> None:
        self._check(task)
        session, pins = self._session(), self._pins(task)
        with self.folders.claimed(token):
            if (self.folders.of(token) / "engine.json").exists() and self._ask_job(token) is not None:
                raise AlreadySubmitted(token=token)  # it waits in Ray's queue: what it will find must not be laid anew
            folder = self.folders.lay(token, task, floor=self._options.sandbox or "none", vendors=dict(self._options.vendors))
            self.folders.lay_secrets(token, task)
            asked = shapes.submission(token, folder, task, self._owner, self._options, self._pythonpath(), pins)
            if task.tasks > 1:
                files.say(folder / "gang.json", shapes.gang(task, self._options, self._pythonpath(), pins), durable=False)
            files.say(folder / "engine.json", {"session": session})
        if self.folders.cancelled(token):
            self.folders.leave_word(token, Ending.CANCELLED)
            return
        answer = self._rest.ask("POST", "/api/jobs/", asked)
        if answer.ok:
            return
        # Ray refuses a second submission under one id with a traceback, as its own error (HTTP 500)
        if f"submission_id {token} already exists" in answer.body.decode("utf-8", errors="replace"):
            raise AlreadySubmitted(token=token)
        if answer.status in (400, 422):
            raise BadInput(field="job", problem=f"Ray does not take it: {answer.said()}", way_out="Change what it asks for.")
        self._down(answer)

    def _check(self, task: Task) -> None:
        if task.image:
            raise BadInput(field="image", problem=f"the site {self.name} runs no containers", way_out="Leave it out, or name another site.")
        if task.service:
            way_out = "Run it on this machine (site local)."
            raise BadInput(field="service", problem=f"a service on the site {self.name} could not be reached", way_out=way_out)
        shapes.amounts(task, self._options)

    def _pins(self, task: Task) -> list[str]:
        """Ray's ids of the nodes that the house has chosen, task by task; none where Ray chooses. Raises NotFound."""
        wanted = [placed.node for placed in task.placed]
        if not set(wanted) <= set(self._names.values()):
            self.inventory()
        ids = {name: node_id for node_id, name in self._names.items()}
        for name in wanted:
            if name not in ids:
                raise NotFound(kind=f"node of the site {self.name}", name=name)
        return [ids[name] for name in wanted]

    def _pythonpath(self) -> str:
        if not self._program:
            self._program = str(program.laid(self._options.folder))
        return self._program

    def cancel(self, token: str) -> None:
        self.folders.cancel(token)
        answer = self._rest.ask("POST", f"/api/jobs/{quote(token)}/stop")
        if not answer.ok and answer.status != _NOT_FOUND:
            self._down(answer)

    def stop(self) -> None:
        """Nothing: the engine goes on."""

    # --- look --------------------------------------------------------------------------------------------------------------

    def find(self, token: str) -> Sight:
        self.folders.of(token)  # refuses what is no token
        job = self._ask_job(token)
        return self.folders.sight(token, self._word(token, job) if job is not None else self._unknown(token, self._session()))

    def watch(self, cursor: str) -> Watched:
        """One list: what goes on, and what ended since the cursor. If the head began anew, everything that is not tidied."""
        since_session, _, since = cursor.partition("/")
        session, now = self._session(), time.time()
        ours, known = self._ours(), set(self.folders.known())
        for token in ours.keys() - known:
            self._forget(token)
        told = {
            token: self._word(token, job)
            for token, job in ours.items()
            if not job["end_time"] or since_session != session or job["end_time"] / 1000 > float(since or 0) - _SETTLED_S
            if token in known
        }
        for token in known - ours.keys():
            word, path = self._unknown(token, session), self.folders.of(token) / "engine.json"
            # one that is just being handed over is not yet in the list, and no news
            if path.exists() and (word.phase is not Phase.NEVER or now - path.stat().st_mtime > _SETTLED_S):
                told[token] = word
        return Watched({token: self.folders.sight(token, word) for token, word in told.items()}, f"{session}/{now:.3f}")

    def _unknown(self, token: str, session: str) -> Word:
        """Of an attempt that Ray does not list: it knows all that were submitted since its head began."""
        said = files.read(self.folders.of(token) / "engine.json")
        return Word(Phase.NEVER if said is None or said.get("session") == session else Phase.LOST)

    def _word(self, token: str, job: Mapping[str, Any]) -> Word:
        status, message = job["status"], str(job.get("message") or "")[:500]
        nodes = tuple(self._names.get(node, node) for node in self._places(token, job))
        if status == "PENDING" or (status == "RUNNING" and self._gathers(token)):
            if self.folders.cancelled(token) and not self.folders.began(token):
                self.folders.leave_word(token, Ending.CANCELLED)  # Ray itself would only hear of it once it had started the job
            return Word(Phase.PENDING, waits_for=message if status == "PENDING" else "its placement group waits for room")
        if status == "RUNNING":
            return Word(Phase.RUNNING, nodes=nodes)
        if job.get("error_type") in _NEVER_STARTED:
            return Word(Phase.FINISHED, Ending.STOPPED, message, nodes=nodes)
        if self.folders.cancelled(token):
            # where it had begun, its own word may be on its way; Ray kills what has not ended within three seconds
            return Word(Phase.FINISHED, Ending.CANCELLED, nodes=nodes, ago_s=_ago(job) if self.folders.began(token) else float("inf"))
        if not self.folders.began(token) and _ago(job) > shapes.LATE_S:
            last = message.strip().splitlines()[-1:] or [status]
            return Word(Phase.FINISHED, Ending.UNABLE, f"its supervisor did not start: {last[0]}", nodes=nodes)
        return Word(Phase.FINISHED, nodes=nodes, ago_s=_ago(job))

    def _gathers(self, token: str) -> bool:
        folder = self.folders.of(token)
        return (folder / "gang.json").exists() and not (folder / "gang-nodes.json").exists()

    def _places(self, token: str, job: Mapping[str, Any]) -> list[str]:
        path = self.folders.of(token) / "gang-nodes.json"
        if path.exists():
            found: list[str] = json.loads(path.read_text())
            return found
        return [job["driver_node_id"]] if job.get("driver_node_id") else []

    # --- what it left ------------------------------------------------------------------------------------------------------

    def logs(self, token: str, offset: int, limit: int) -> LogPart:
        """The supervisor's log; where none ever began and the job is over, Ray's own, which says why."""
        part = self.folders.logs(token, offset, limit)
        if part.text or self.folders.began(token) or (self._ask_job(token) or {}).get("status") not in _OVER:
            return part
        answer = self._rest.ask("GET", f"/api/jobs/{quote(token)}/logs")
        if not answer.ok:
            return part
        kept = self.folders.of(token) / "engine.log"
        kept.write_text(answer.json()["logs"])
        return logs.part(kept, offset, limit)

    def usage(self, token: str) -> Usage:
        return self.folders.usage(token)

    def progress(self, job_id: str, after: int) -> list[dict[str, Any]]:
        return self.folders.progress(job_id, after)

    def outputs(self, token: str, keep: Callable[[IO[bytes]], tuple[str, int]]) -> tuple[Output, ...]:
        return self.folders.outputs(token, keep)

    def tidy(self, token: str, *, last: bool) -> None:
        """Ray's own record goes too, or its list would grow for ever."""
        for attempt in self.folders.tidy(token, last=last):
            self._forget(f"{attempt.parent.name}.{attempt.name}")

    def _forget(self, token: str) -> None:
        """Ray forgets only what is over, in its own eyes too: if that is not so yet, the next watch asks again."""
        self._rest.ask("DELETE", f"/api/jobs/{quote(token)}")

    # --- Ray ---------------------------------------------------------------------------------------------------------------

    def _ask_job(self, token: str) -> Mapping[str, Any] | None:
        answer = self._rest.ask("GET", f"/api/jobs/{quote(token)}")
        if answer.status == _NOT_FOUND:
            return None
        if not answer.ok:
            self._down(answer)
        found: Mapping[str, Any] = answer.json()
        return found

    def _ours(self) -> dict[str, Mapping[str, Any]]:
        jobs: Iterable[Mapping[str, Any]] = self._ask("GET", "/api/jobs/").json()
        return {job["submission_id"]: job for job in jobs if (job.get("metadata") or {}).get(shapes.OWNER) == self._owner}

    def _session(self) -> str:
        """Which life of the cluster's head this is."""
        return str(self._ask("GET", "/api/version").json()["session_name"])

    def _ask(self, method: str, path: str) -> Answer:
        answer = self._rest.ask(method, path)
        if not answer.ok:
            self._down(answer)
        return answer

    def _down(self, answer: Answer) -> NoReturn:
        raise SiteDown(site=self.name, problem=f"it answers with HTTP {answer.status}: {answer.said()}", way_out=_WAY_OUT)


def _ago(job: Mapping[str, Any]) -> float:
    """Seconds since it ended, by the clocks of two machines."""
    return max(0.0, time.time() - job["end_time"] / 1000) if job.get("end_time") else 0.0
