"""The parent's side: a device in a process of its own, so that its crash or hang is an answer like any other."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilong.floors.compat.backends import adapter
from lilong.floors.compat.contract import (
    DeviceCrashed,
    DeviceHung,
    DeviceOutOfMemory,
    DeviceRefused,
    Limits,
    Probe,
    StackName,
)

Logits = NDArray[np.float32]

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONFAULTHANDLER": "1",
    # Threads that wait by spinning cost ten times the CPU seconds as soon as another process wants the cores too.
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
}

DOING = {"start": "start", "load": "load the model", "tokenize": "tokenize", "logits": "compute logits", "greedy": "continue a text"}


class ProcessDevice:
    """Implements DeviceUnderTest over a worker process. The first case of each kind may take `limits.first_seconds`."""

    def __init__(self, stack: StackName, limits: Limits, scratch: Path, now: Callable[[], float]) -> None:
        self._stack, self._limits, self._scratch, self._now = stack, limits, scratch, now
        self._seen: set[str] = set()
        self._cpu, self._peak = 0.0, 0
        self._buffer = b""
        self._words = scratch / "stderr.txt"
        self._errors = self._words.open("wb")
        self._answers, child = os.pipe()
        self._process = self._start(child)
        os.close(child)
        try:
            self._read("start", limits.first_seconds)
        except BaseException:
            self.close()
            raise

    def load(self, model: Path, threads: int) -> Probe:
        answer = self._ask({"do": "load", "model": str(model), "threads": threads})
        return Probe(**answer["probe"])

    def tokenize(self, text: str) -> list[int] | None:
        tokens: list[int] | None = self._ask({"do": "tokenize", "text": text})["tokens"]
        return tokens

    def logits(self, tokens: Sequence[int]) -> Logits:
        return self._array(self._ask({"do": "logits", "tokens": list(tokens)}))

    def greedy(self, tokens: Sequence[int], count: int) -> tuple[list[int], Logits]:
        answer = self._ask({"do": "greedy", "tokens": list(tokens), "count": count})
        return answer["tokens"], self._array(answer)

    def spent(self) -> float:
        return self._cpu

    def peak_mib(self) -> int:
        return self._peak

    def close(self) -> None:
        """End the worker, kindly then not; safe to call twice."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._errors):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1

    def _start(self, child: int) -> subprocess.Popen[bytes]:
        env = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": str(self._limits.threads)}
        argv = [sys.executable, "-m", f"{__package__}.worker", self._stack, adapter(self._stack), str(child), str(self._scratch)]
        # Not through seams.run, which waits for the end: this child is talked to.
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=(child,),
            env=env,
            preexec_fn=self._limit_memory if self._limits.memory_bytes else None,  # noqa: PLW1509
        )

    def _limit_memory(self) -> None:
        import resource

        limit = self._limits.memory_bytes or resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        doing = question["do"]
        limit = self._limits.case_seconds if doing in self._seen else self._limits.first_seconds
        pipe = self._process.stdin
        if pipe is None or pipe.closed or self._answers < 0:
            raise DeviceRefused(stack=self._stack, problem="its process was closed")
        try:
            pipe.write(json.dumps(question).encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            self._died(doing)
        answer = self._read(doing, limit)
        self._seen.add(doing)
        return answer

    def _read(self, doing: str, limit: float) -> dict[str, Any]:
        """One answer line. Raises what the device did instead of answering."""
        until = self._now() + limit
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, until - self._now()))
            if not ready:
                self.close()
                raise DeviceHung(stack=self._stack, limit=limit, doing=DOING[doing])
            part = os.read(self._answers, 1 << 20)
            if not part:
                self._died(doing)
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        self._cpu, self._peak = answer.get("cpu", self._cpu), answer.get("peak_mib", self._peak)
        if "refused" in answer:
            raise DeviceRefused(stack=self._stack, problem=answer["refused"])
        if "oom" in answer:
            raise DeviceOutOfMemory(stack=self._stack, doing=DOING[doing], words=answer["oom"])
        return answer

    def _died(self, doing: str) -> None:
        code = self._process.wait()
        self.close()
        words = self._last_words()
        if code == -signal.SIGKILL:  # nobody here sent it: the kernel ends a process this way when memory is out
            raise DeviceOutOfMemory(stack=self._stack, doing=DOING[doing], words="its process was killed from outside (SIGKILL)")
        if "bad_alloc" in words or "MemoryError" in words:
            raise DeviceOutOfMemory(stack=self._stack, doing=DOING[doing], words=words)
        how = f"of {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
        raise DeviceCrashed(stack=self._stack, how=how, doing=DOING[doing], words=words)

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._words.read_text(errors="replace").splitlines() if line.strip()]
        fatal = [line for line in lines if "Error" in line or "Fatal" in line or "error" in line]
        return ((fatal or lines or ["(none)"])[-1])[:300]

    def _array(self, answer: dict[str, Any]) -> Logits:
        array: Logits = np.load(answer["npy"], allow_pickle=False)
        return array
