"""Carries out a chain through the client, one step after another; what is done already is not done again.

The house keeps every step's state and the work itself goes on in the house, so this process may be killed at any moment: the
next run asks for the same work with the same key and finds it finished, or waits for it where it stands.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from lilong.client import Client, NoServer, ServerError
from lilong.ground.errors import LilongError

from . import rules
from .rules import Chain, Step

T = TypeVar("T")

_WORKING = {"requested", "queued", "starting", "running"}
_FAILED = {"failed", "cancelled", "lost", "refused", "suspended"}
_POLL = 0.4  # seconds
_PATIENCE = 120.0  # seconds that the server may be away, as in a restart


class StepFailed(LilongError):
    """Step '{step}' failed: {problem}. Mend that and run the same command again: what is finished is kept."""


class NobodyToAct(LilongError):
    """Step '{step}' is to be carried out by '{name}', whose token was not given. Add --as {name}=TOKEN-FILE."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work of a step is: `step` of `of` units, and seconds to go if that can be told."""

    step: int
    of: int
    doing: str
    eta_s: float | None
    figures: Mapping[str, float]


class Reporter(Protocol):
    """Shows people how the chain goes."""

    def begin(self, step: Step, number: int, of: int) -> None: ...

    def progress(self, step: Step, progress: Progress) -> None: ...

    def done(self, step: Step, outputs: Mapping[str, Any], seconds: float, *, kept: bool) -> None: ...

    def failed(self, step: Step, error: str) -> None: ...

    def notice(self, text: str) -> None: ...

    def close(self) -> None:
        """Leave the terminal as it was, however the chain ended."""


def carry_out(
    chain: Chain, clients: Mapping[str, Client], reporter: Reporter, clock: Callable[[], float] = time.monotonic
) -> dict[str, dict[str, Any]]:
    """Every step's outputs. `clients`: '' for the one who runs the chain, and one for each name that a step's `as` gives.

    Raises StepFailed, NobodyToAct.
    """
    for step in chain.steps:
        if step.acts_as not in clients:
            raise NobodyToAct(step=step.name, name=step.acts_as)
    own = clients[""]
    kept = {step["name"]: step for step in own.put("/api/chains", {"source": chain.source})["steps"]}
    outputs: dict[str, dict[str, Any]] = {}
    for number, step in enumerate(chain.steps, 1):
        began = clock()
        inputs = rules.filled(step, outputs)
        key = rules.key(step, inputs)
        reporter.begin(step, number, len(chain.steps))
        before = kept[step.name]
        if before["state"] == "done" and before["key"] == key:
            outputs[step.name] = before["outputs"]
            reporter.done(step, outputs[step.name], 0.0, kept=True)
            continue
        place = f"/api/chains/{chain.organisation}/{chain.name}/steps/{step.name}"
        own.put(place, {"key": key, "state": "running"})
        try:
            result = _perform(chain, step, inputs, key, clients[step.acts_as], reporter)
        except LilongError as problem:
            reporter.failed(step, str(problem))
            if not isinstance(problem, NoServer):
                own.put(place, {"key": key, "state": "failed", "error": str(problem)})
            raise StepFailed(step=step.name, problem=str(problem).rstrip(".")) from problem
        own.put(place, {"key": key, "state": "done", "outputs": result})
        outputs[step.name] = result
        reporter.done(step, result, clock() - began, kept=False)
    return outputs


def _perform(chain: Chain, step: Step, inputs: dict[str, Any], key: str, client: Client, reporter: Reporter) -> dict[str, Any]:
    if step.uses == "serving.ask":
        return _ask(client, inputs, reporter)
    path = rules.VERBS[step.uses]
    in_path = {name: inputs.pop(name) for name in list(inputs) if "{" + name + "}" in path}
    path = path.format(**in_path)
    row: dict[str, Any] = _patiently(lambda: client.post(path, {**inputs, "organisation": chain.organisation, "key": key}), reporter)
    watch = _Watch(client, step, reporter)
    while row.get("state") in _WORKING:
        watch.look(row)
        time.sleep(_POLL)
        row = _patiently(lambda: client.get(f"{path}/{row['id']}"), reporter)  # noqa: B023 - called at once
    if row.get("state") in _FAILED:
        raise LilongError(str(row.get("error") or f"it ended as {row['state']}"))
    return row


def _ask(client: Client, inputs: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    headers, content = _patiently(lambda: client.send("POST", "/v1/chat/completions", inputs), reporter)
    answer = json.loads(content)
    return {
        "question": inputs["messages"][-1]["content"],
        "answer": answer["choices"][0]["message"]["content"],
        "receipt": headers["x-lilong-receipt"],
        "model": answer["model"],
        "usage": answer.get("usage", {}),
    }


def _patiently(call: Callable[[], T], reporter: Reporter) -> T:
    """Ask again while the server is away, or says that something of it still starts: every request of a chain is idempotent."""
    until = time.monotonic() + _PATIENCE
    told = False
    while True:
        try:
            return call()
        except (NoServer, ServerError) as problem:
            if (isinstance(problem, ServerError) and problem.status_code != 503) or time.monotonic() > until:
                raise
            if not told:
                reporter.notice(f"{str(problem).rstrip('.')}; waiting")
                told = True
            time.sleep(1.0)


class _Watch:
    """Follows the progress lines of a step's job."""

    def __init__(self, client: Client, step: Step, reporter: Reporter) -> None:
        self._client = client
        self._step = step
        self._reporter = reporter
        self._job = ""
        self._seen = 0
        self._first: dict[str, Any] | None = None

    def look(self, row: Mapping[str, Any]) -> None:
        job = row.get("job") or (row.get("jobs") or [""])[-1]
        if not job:
            return
        if job != self._job:
            self._job, self._seen, self._first = job, 0, None
        try:
            lines = self._client.get(f"/api/compute/jobs/{job}/progress", after=self._seen)
        except LilongError:
            return  # only for show
        if not lines:
            return
        self._seen += len(lines)
        self._first = self._first or lines[0]
        last = lines[-1]
        self._reporter.progress(self._step, _progress(self._first, last))


def _progress(first: Mapping[str, Any], last: Mapping[str, Any]) -> Progress:
    done = last["step"] - first["step"]
    passed = last["at"] - first["at"]
    eta = passed / done * (last["of"] - last["step"]) if done > 0 and passed > 0 and last["of"] > last["step"] else None
    figures = {key: value for key, value in last.items() if key not in ("at", "step", "of", "doing") and isinstance(value, int | float)}
    return Progress(last["step"], last["of"], str(last["doing"]), eta, figures)
