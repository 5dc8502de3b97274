"""The child's side: one device in a process of its own, asked by JSON lines on stdin, answering on a pipe of its own.

`python -m lilong.floors.compat.backends.worker STACK ADAPTER ANSWERS_FD SCRATCH`. Arrays travel as .npy files in SCRATCH.
Engines print to stdout as they like; only the pipe is listened to.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from lilong.floors.compat.contract import DeviceRefused, DeviceUnderTest, StackName

PR_SET_PDEATHSIG = 1
OUT_OF_MEMORY = ("bad_alloc", "out of memory", "can't allocate memory", "cannot allocate memory", "failed to allocate", "bad allocation")


def main(argv: Sequence[str]) -> None:
    stack, adapter, answers_fd, scratch = argv
    if sys.platform == "linux":  # a killed parent must not leave a busy device behind
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    module, _, factory = adapter.partition(":")
    with os.fdopen(int(answers_fd), "w") as answers:
        try:
            device: DeviceUnderTest = getattr(importlib.import_module(module), factory)(StackName(stack))
        except ImportError as missing:
            _say(answers, {"refused": f"its software is not installed: {missing}"})
            return
        serve(device, sys.stdin, answers, Path(scratch))


def serve(device: DeviceUnderTest, questions: TextIO, answers: TextIO, scratch: Path) -> None:
    """Answer until the questions end. An exception is an honest refusal; running out of memory is told apart."""
    _say(answers, {"ready": True})
    for line in questions:
        question = json.loads(line)
        try:
            answer = _answer(device, question, scratch)
        except MemoryError as full:
            answer = {"oom": str(full) or "MemoryError"}
        except DeviceRefused as refusal:
            answer = {"refused": str(refusal.details.get("problem", refusal))}
        except Exception as error:  # whatever an engine raises is its answer
            words = f"{type(error).__name__}: {error}"
            answer = {"oom" if any(sign in words.lower() for sign in OUT_OF_MEMORY) else "refused": words[:500]}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _say(answers, {**answer, "cpu": time.process_time(), "peak_mib": peak >> (20 if sys.platform == "darwin" else 10)})


def _answer(device: DeviceUnderTest, question: dict[str, Any], scratch: Path) -> dict[str, Any]:
    import numpy as np

    def keep(logits: Any) -> str:
        path = scratch / "answer.npy"
        np.save(path, np.asarray(logits, dtype=np.float32))
        return str(path)

    def greedy() -> dict[str, Any]:
        tokens, logits = device.greedy(question["tokens"], question["count"])
        return {"tokens": [int(token) for token in tokens], "npy": keep(logits)}

    verbs: dict[str, Callable[[], dict[str, Any]]] = {
        "load": lambda: {"probe": asdict(device.load(Path(question["model"]), question["threads"]))},
        "tokenize": lambda: {"tokens": device.tokenize(question["text"])},
        "logits": lambda: {"npy": keep(device.logits(question["tokens"]))},
        "greedy": greedy,
    }
    return verbs[question["do"]]()


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
