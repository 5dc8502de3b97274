"""ONNX Runtime on the CPU, on a graph of the model's architecture built here node by node (no exporter stands between)."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lilong.floors.compat.backends.llama_onnx import Architecture, build, weights
from lilong.floors.compat.backends.machine import cpu
from lilong.floors.compat.contract import DeviceRefused, Probe, StackName

Logits = NDArray[np.float32]


class OnnxRuntimeDevice:
    def __init__(self, stack: StackName) -> None:
        self.stack = stack
        self.session: Any = None
        self.shape: Architecture | None = None
        self._kept: dict[str, NDArray[np.float32]] = {}

    def load(self, model: Path, threads: int) -> Probe:
        try:
            self.shape = Architecture.read(json.loads((model / "config.json").read_text()))
        except ValueError as unsupported:
            raise DeviceRefused(stack=self.stack, problem=str(unsupported)) from unsupported
        self._kept = weights(model)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in self._kept.values()]
        options.add_external_initializers(list(self._kept), values)
        graph = build(self.shape, {name: array.shape for name, array in self._kept.items()})
        self.session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return Probe(
            stack=self.stack,
            name="ONNX Runtime",
            version=ort.__version__,
            weights="f32",
            compute="f32",
            threads=threads,
            device=cpu(),
            features=", ".join(self.session.get_providers()),
            file="model.safetensors",
        )

    def tokenize(self, text: str) -> list[int] | None:
        return None

    def logits(self, tokens: Sequence[int]) -> Logits:
        return self._run(tokens, 0, self._nothing_past())[0]

    def greedy(self, tokens: Sequence[int], count: int) -> tuple[list[int], Logits]:
        chosen: list[int] = []
        rows: list[Logits] = []
        past, at, fed = self._nothing_past(), 0, list(tokens)
        for _ in range(count):
            answer, past = self._run(fed, at, past)
            at += len(fed)
            rows.append(answer[-1])
            chosen.append(int(answer[-1].argmax()))
            fed = [chosen[-1]]
        return chosen, np.stack(rows) if rows else np.zeros((0, self._architecture().vocabulary), np.float32)

    def spent(self) -> float:
        return time.process_time()

    def peak_mib(self) -> int:
        return 0  # its worker process knows

    def close(self) -> None:
        self.session = None

    def _run(self, tokens: Sequence[int], start: int, past: list[Logits]) -> tuple[Logits, list[Logits]]:
        """Logits [n, vocabulary] of tokens fed at positions from `start`, and the keys and values grown by them."""
        fed = {
            "tokens": np.asarray(tokens, np.int64),
            "positions": np.arange(start, start + len(tokens), dtype=np.int64),
            **{f"past.{index}": array for index, array in enumerate(past)},
        }
        logits, *grown = self.session.run(None, fed)
        return logits, grown

    def _nothing_past(self) -> list[Logits]:
        shape = self._architecture()
        return [np.zeros((shape.kv_heads, 0, shape.head), np.float32) for _ in range(2 * shape.layers)]

    def _architecture(self) -> Architecture:
        if self.shape is None:
            raise DeviceRefused(stack=self.stack, problem="no model is loaded")
        return self.shape


def open_device(stack: StackName) -> OnnxRuntimeDevice:
    return OnnxRuntimeDevice(stack)
