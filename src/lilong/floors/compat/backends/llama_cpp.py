"""llama.cpp on a GGUF file: the very library inside `xllamacpp` that also serves, asked through its C interface for full logits."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lilong.floors.compat.backends.llama_h import Library
from lilong.floors.compat.backends.machine import cpu
from lilong.floors.compat.contract import DeviceRefused, Probe, StackName

Logits = NDArray[np.float32]

CONTEXT = 4096
BATCH = 512

# llama.h, enum llama_ftype
FILE_TYPES = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k", 12: "q3_k", 14: "q4_k", 15: "q4_k", 16: "q5_k",
    17: "q5_k", 18: "q6_k", 32: "bf16",
}  # fmt: skip

# ggml turns activations into the type that its dot product with the weights' type wants; quantised weights want 8-bit blocks.
ACTIVATIONS = {"f32": "f32", "f16": "f16", "bf16": "bf16"}


class LlamaCppDevice:
    def __init__(self, stack: StackName) -> None:
        self.stack = stack
        self.lib = Library()
        self.model = self.vocab = self.context = None
        self.words = 0

    def load(self, model: Path, threads: int) -> Probe:
        file = self._file(model)
        self.lib.backend_init()
        self.model = self.lib.load_model(file)
        if not self.model:
            raise DeviceRefused(stack=self.stack, problem=f"llama.cpp could not load {file.name}")
        self.vocab = self.lib.llama_model_get_vocab(self.model)
        self.words = self.lib.llama_vocab_n_tokens(self.vocab)
        self.context = self.lib.new_context(self.model, CONTEXT, BATCH)
        if not self.context or self.lib.llama_n_ctx(self.context) != CONTEXT or self.lib.llama_n_batch(self.context) != BATCH:
            raise DeviceRefused(stack=self.stack, problem="this build of llama.cpp has other parameter structures than those known here")
        self.lib.llama_set_n_threads(self.context, threads, threads)
        kind = self.lib.meta(self.model, "general.file_type")
        weights = FILE_TYPES.get(int(kind) if kind.isdigit() else -1, f"gguf type {kind or 'unknown'}")
        return Probe(
            stack=self.stack,
            name="llama.cpp (xllamacpp)",
            version=f"{version('xllamacpp')}, llama.cpp {self.lib.version()}",
            weights=weights,
            compute=f"{ACTIVATIONS.get(weights, 'q8')} activations in matrix products, f16 cache",
            threads=threads,
            device=cpu(),
            features=self.lib.system_info(),
            file=file.name,
        )

    def tokenize(self, text: str) -> list[int] | None:
        return self.lib.tokenize(self.vocab, text)

    def logits(self, tokens: Sequence[int]) -> Logits:
        self.lib.forget(self.context)
        parts = [self._decode(tokens[start : start + BATCH], start, every=True) for start in range(0, len(tokens), BATCH)]
        return np.concatenate(parts)

    def greedy(self, tokens: Sequence[int], count: int) -> tuple[list[int], Logits]:
        self.lib.forget(self.context)
        chosen: list[int] = []
        rows: list[Logits] = []
        at, fed = 0, list(tokens)
        for _ in range(count):
            row = self._decode(fed, at, every=False)[0]
            at += len(fed)
            rows.append(row)
            chosen.append(int(row.argmax()))
            fed = [chosen[-1]]
        return chosen, np.stack(rows) if rows else np.zeros((0, self.words), np.float32)

    def spent(self) -> float:
        return time.process_time()

    def peak_mib(self) -> int:
        return 0  # its worker process knows

    def close(self) -> None:
        """The process ends with the device; nothing is freed before."""

    def _decode(self, tokens: Sequence[int], start: int, *, every: bool) -> Logits:
        """Logits of every token fed at `start`, or of the last one only."""
        if start + len(tokens) > CONTEXT:
            raise DeviceRefused(stack=self.stack, problem=f"{start + len(tokens)} tokens do not fit its context of {CONTEXT}")
        status = self.lib.decode(self.context, tokens, start, every=every)
        if status:
            raise DeviceRefused(stack=self.stack, problem=f"llama_decode answered {status} for {len(tokens)} tokens at {start}")
        wanted = range(len(tokens)) if every else [len(tokens) - 1]
        rows = [self.lib.llama_get_logits_ith(self.context, index) for index in wanted]
        if not all(rows):
            raise DeviceRefused(stack=self.stack, problem="llama.cpp kept no logits for a token it was asked for")
        return np.stack([np.ctypeslib.as_array(ctypes.cast(row, ctypes.POINTER(ctypes.c_float)), (self.words,)).copy() for row in rows])

    def _file(self, model: Path) -> Path:
        """The GGUF named after the colon; else model-f16.gguf; else the only one."""
        name = self.stack.partition(":")[2]
        files = sorted(path.name for path in model.glob("*.gguf"))
        if name:
            chosen = [name] if name in files else []
        else:
            chosen = ["model-f16.gguf"] if "model-f16.gguf" in files else files
        if len(chosen) != 1:
            wanted = f"no file {name}" if name else "no GGUF file" if not files else "more than one GGUF file and none is model-f16.gguf"
            raise DeviceRefused(stack=self.stack, problem=f"the model has {wanted} ({', '.join(files) or 'none at all'})")
        return model / chosen[0]


def open_device(stack: StackName) -> LlamaCppDevice:
    return LlamaCppDevice(stack)
